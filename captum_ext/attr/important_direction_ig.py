"""Important Direction Integrated Gradients: only the direction in which the score moved counts."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from captum_ext.attr.paths.integration import PathIntegral
from captum_ext.attr.paths.path_attribution import PathAttribution
from captum_ext.attr.paths.path_method import Call, OnDone
from captum_ext.attr.paths.plan import Generators, Plan
from captum_ext.attr.paths.points import Points, Starts, as_column, interpolate, rule_points
from captum_ext.attr.samp.walk import flat
from captum_ext.core.rows import for_each_chunk
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError, NonFiniteError


class ImportantDirectionIG(PathAttribution):
    r"""IDGI on the path of Integrated Gradients (Yang, Wang and Bilgic, "IDGI: A Framework to Eliminate Explanation
    Noise from Integrated Gradients", CVPR 2023).

    https://arxiv.org/abs/2303.14242

    $$\phi(x) = \sum_{k=0}^{n-1} \frac{g_k \odot g_k}{|g_k|_2^2} \, \big(F(x_{k+1}) - F(x_k)\big), \qquad
    x_k = b + \tfrac{k}{n} (x - b), \quad g_k = \nabla F(x_k)$$

    Each step's change of the score is shared out by the squared gradient, so that attributions sum to F(x) - F(b)
    exactly, however few the steps. Costs n_steps gradients and one forward for F(x): the pass that takes a gradient
    gives the score, too.

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs.
        multiply_by_inputs: only True: the formula has no factor that could be left out.

    Raises:
        ArgumentError: `multiply_by_inputs=False`. `attribute` also raises NonFiniteError for a gradient that is not
            finite, and ArgumentError inside Captum's layer and neuron variants, which give no scores.

    Example:
        >>> import torch
        >>> from captum_ext.attr import ImportantDirectionIG
        >>> idgi = ImportantDirectionIG(lambda x: 2 * x[:, 0] + x[:, 1])
        >>> idgi.attribute(torch.tensor([[1.0, 3.0]]), n_steps=4)
        tensor([[4., 1.]])

    As the example shows, features are credited by the model's sensitivity alone, not by how far they are from their
    baseline (Integrated Gradients gives 2 and 3): a feature equal to its baseline gets a share, too.

    Deviations from the paper: where a gradient vanishes, and the formula divides by zero, the step's change is credited
    to the last gradient before it that does not, or to the first one of the path; so the sum stays complete unless all
    gradients vanish.
    """

    def __init__(self, forward_func: ForwardFunc, multiply_by_inputs: bool = True) -> None:
        if not multiply_by_inputs:
            raise ArgumentError("multiply_by_inputs", "True, as the formula has no such factor", "False")
        super().__init__(forward_func)

    def _begin(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines,
        target: Target,
        additional_forward_args: Any,
        n_steps: int,
        method: str | None,
        internal_batch_size: int | None,
        generator: Generators | None,
        tol: float | None,
    ) -> tuple[Call, Plan]:
        if method not in (None, "riemann_left"):
            raise ArgumentError("method", 'None or "riemann_left", the only rule of this method', repr(method))
        self._check_scores_available("gradient_func", "left as it is for this method", "another function")
        return super()._begin(
            inputs, baselines, target, additional_forward_args, n_steps, method, internal_batch_size, generator, tol
        )

    def _explain(self, call: Call, starts: Starts, plan: Plan, on_done: OnDone | None) -> tuple[Tensors, Starts]:
        problem = PathIntegral(call.model, call.inputs, starts, call.limit, True, on_done)
        scores = call.model.select(call.outputs, torch.arange(call.n_rows, device="cpu")).double().cpu()
        return integrate_directions(problem, rule_points(starts, "riemann_left", plan.n_steps), scores), starts


def integrate_directions(problem: PathIntegral, points: Points, end_scores: Tensor) -> Tensors:
    """Credit each change of the score between neighbouring points of a path to the squared gradient before it.

    `points` are ordered by path and along it; `end_scores` (N,) are the scores at the inputs, where all paths end.
    """
    credited = _Credits(problem)
    new_path = torch.ones(len(points) + 1, dtype=torch.bool, device="cpu")  # also behind the last point
    new_path[1:-1] = (points.row[1:] != points.row[:-1]) | (points.path[1:] != points.path[:-1])

    def add(part: slice) -> None:
        chunk = points[part]
        inputs, starts = problem.ends_of(chunk.row, chunk.path)
        found, gradients = problem.model.scores_and_gradients(interpolate(inputs, starts, chunk.alpha), chunk.row)
        scores, (directions, norm) = found.double().cpu(), _directions(gradients, credited.total)
        _check_finite(norm, chunk)
        moves = norm > 0
        weight = problem.starts.weight[chunk.row, chunk.path]
        begins = new_path[part].nonzero().squeeze(1).tolist()
        bounds = sorted({0, *begins, len(chunk)})
        for first, stop in itertools.pairwise(bounds):
            if new_path[part.start + first]:
                credited.begin(float(scores[first]))
            nodes = first + moves[first:stop].nonzero().squeeze(1)
            row, share = chunk.row[first:stop], float(weight[first])
            credited.go_on(scores[nodes], tuple(values[nodes.to(values.device)] for values in directions), row, share)
            if new_path[part.start + stop]:
                credited.end(float(end_scores[row[0]]), row[:1], share)

    for_each_chunk(len(points), problem.limit, add, problem.on_done)
    return credited.total


class _Credits:
    """Sums of credited changes, with the path under way: up to which score it is credited, and who is credited next."""

    def __init__(self, problem: PathIntegral) -> None:
        self.total = problem.zeros()
        self.score = 0.0
        self.pending: Tensors | None = None

    def begin(self, score: float) -> None:
        """A path begins at this score."""
        self.score, self.pending = score, None

    def go_on(self, scores: Tensor, directions: Tensors, row: Tensor, weight: float) -> None:
        """The next points (P,) of the path whose gradient does not vanish: each change is credited to the one before
        it."""
        if len(scores) == 0:
            return
        if self.pending is None:
            scores = torch.cat([scores.new_tensor([self.score]), scores[1:]])  # the first gets what came before it, too
        else:
            self._credit(self.pending, scores[:1] - self.score, row[:1], weight)
        self._credit(tuple(values[:-1] for values in directions), scores.diff(), row[: len(scores) - 1], weight)
        self.score, self.pending = float(scores[-1]), tuple(values[-1:].clone() for values in directions)

    def end(self, score: float, row: Tensor, weight: float) -> None:
        """The path ends at this score."""
        if self.pending is not None:
            amount = torch.tensor([score - self.score], dtype=torch.float64, device="cpu")
            self._credit(self.pending, amount, row, weight)

    def _credit(self, directions: Tensors, amount: Tensor, row: Tensor, weight: float) -> None:
        for sums, values in zip(self.total, directions, strict=True):
            sums.index_add_(0, row.to(sums.device), values * as_column(amount * weight, values))


def _directions(gradients: Tensors, like: Tensors) -> tuple[Tensors, Tensor]:
    """Squared gradients of every point as shares of their sum over all tensors, and that sum (P,), scaled."""
    largest = torch.stack([flat(g).abs().amax(1).to(like[0]) for g in gradients]).amax(0)
    scale = torch.where(largest > 0, largest, 1.0)  # squares of tiny gradients would vanish
    squares = tuple(
        (g.to(sums.dtype) / as_column(scale, sums)).square() for g, sums in zip(gradients, like, strict=True)
    )
    norm = torch.stack([flat(square).sum(1).to(largest.device) for square in squares]).sum(0)
    shares = tuple(square / as_column(torch.where(norm > 0, norm, 1.0), square) for square in squares)
    return shares, norm.cpu()


def _check_finite(norm: Tensor, points: Points) -> None:
    bad = (~norm.isfinite()).nonzero().squeeze(1)
    if len(bad):
        where = f"alpha {float(points.alpha[bad[0]]):.3g} of the path of row {int(points.row[bad[0]])}"
        raise NonFiniteError("forward_func", "of finite gradients", f"NaN or infinity at {where}")
