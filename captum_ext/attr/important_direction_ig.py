"""Important Direction Integrated Gradients: only the direction in which the score moved counts."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from captum_ext.attr.paths.integration import PathProblem
from captum_ext.attr.paths.path_attribution import Explanation, PathAttribution
from captum_ext.attr.paths.plan import Plan
from captum_ext.attr.paths.points import Points, interpolate, rule_points
from captum_ext.attr.paths.quadrature import own_rule
from captum_ext.core.checks import check_bool
from captum_ext.core.chunks import for_each_chunk
from captum_ext.core.devices import CPU, double, doubles, on_device
from captum_ext.core.request import Request
from captum_ext.core.rows import step_by_step
from captum_ext.core.tensors import Sums, accumulation_dtype, as_column, flat
from captum_ext.core.types import ForwardFunc, Tensors
from captum_ext.exceptions import ArgumentError


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
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

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

    def __init__(
        self, forward_func: ForwardFunc, multiply_by_inputs: bool = True, *, allow_batch_statistics: bool = False
    ) -> None:
        if not check_bool("multiply_by_inputs", multiply_by_inputs):
            raise ArgumentError("multiply_by_inputs", "True, as the formula has no such factor", "False")
        super().__init__(forward_func, allow_batch_statistics=allow_batch_statistics)

    def check(self, request: Request, plan: Plan) -> None:
        """Refuse other rules, and variants that give no scores."""
        expected = "the model itself for this method (at layers use captum_ext.attr.LayerImportantDirectionIG)"
        self.check_scores_available("forward_func", expected, "a layer or neuron of it")
        own_rule(plan.method, ("riemann_left",), "IDGI")
        self.check_random(plan, ("return_standard_error", "tol_map"), "its points are not random")
        super().check(request, plan)

    def explain(self, problem: PathProblem, plan: Plan) -> Explanation:
        """Changes of the score along the path, credited to squared gradients."""
        points = rule_points(problem.starts, "riemann_left", plan.n_steps)
        attributions = integrate_directions(problem, points, double(problem.request.scores).cpu())
        n_gradients = torch.full((problem.request.n_rows,), plan.n_steps, device=CPU)
        return Explanation(attributions, problem.starts, n_gradients)


def integrate_directions(problem: PathProblem, points: Points, end_scores: Tensor) -> Tensors:
    """Credit each change of the score between neighbouring points of a path to the squared gradient before it.

    Every row has one path; its points are in order. `end_scores` (N,) are the scores at the inputs, where paths end.
    """
    credits_ = _Credits(problem)
    order = step_by_step(points.row, problem.request.n_rows)[0]

    def add(part: slice) -> None:
        chunk = points[order[part]]
        inputs, starts = problem.ends_of(chunk.row, chunk.path)
        model_scores, gradients = problem.model.scores_and_gradients(
            interpolate(inputs, starts, chunk.alpha), chunk.row
        )
        directions, norms = _directions(gradients, inputs)
        scores, norm = doubles(model_scores, norms)
        _check_finite(problem, norm, chunk)
        if problem.request.left_out.rows:
            scores, norm = scores.nan_to_num(), norm.nan_to_num(posinf=0)
            directions = tuple(one.nan_to_num() for one in directions)
        for step in _steps(chunk.row):
            here = tuple(values[step] for values in directions)
            credits_.go_on(chunk.row[step], scores[step], norm[step] > 0, here, chunk.alpha[step] == 0)

    for_each_chunk(len(order), problem.limit, add, problem.on_done, batches=True)
    credits_.end(end_scores)
    return credits_.sums.result()


def _steps(row: Tensor) -> list[slice]:
    """The slices of rows (P,), in ascending order within each step, that belong to one step each."""
    begins = [0, *((row[1:] <= row[:-1]).nonzero().squeeze(1) + 1).tolist(), len(row)]
    return [slice(first, stop) for first, stop in itertools.pairwise(begins)]


class _Credits:
    """Sums of credited changes, and of every row up to which score it is credited and who is credited next.

    Attributes:
        score: (N,) float64.
        pending: (N, ...) shares of the last gradient that did not vanish.
        has_pending: (N,) whether there was one.
    """

    def __init__(self, problem: PathProblem) -> None:
        n_rows = problem.request.n_rows
        self.sums = Sums(problem.inputs, n_rows)
        self.score = torch.zeros(n_rows, dtype=torch.float64, device=CPU)
        self.pending = tuple(
            torch.zeros(value.shape, dtype=accumulation_dtype(value.dtype), device=value.device)
            for value in problem.inputs
        )
        self.at_once = problem.limit.rows
        self.has_pending = torch.zeros(n_rows, dtype=torch.bool, device=CPU)

    def go_on(self, row: Tensor, scores: Tensor, moves: Tensor, directions: Tensors, begins: Tensor) -> None:
        """The next point of each of the rows (P,): what the score changed by is credited to the point before, unless
        the gradient here vanishes; then the next one decides. What came before the first gradient is the first's."""
        self.score[row[begins]] = scores[begins]
        kept = moves.nonzero().squeeze(1)
        row, scores, directions = row[kept], scores[kept], tuple(d[on_device(kept, d.device)] for d in directions)
        credited = self.has_pending[row]
        self._credit(row[credited], scores[credited])
        for pending, values in zip(self.pending, directions, strict=True):
            pending[on_device(row, pending.device)] = values.to(pending.dtype)
        self.score[row[credited]] = scores[credited]
        self.has_pending[row] = True

    def end(self, scores: Tensor) -> None:
        """All paths end at these scores (N,)."""
        for rows in torch.split(self.has_pending.nonzero().squeeze(1), self.at_once):
            self._credit(rows, scores[rows])

    def _credit(self, row: Tensor, scores: Tensor) -> None:
        amount = scores - self.score[row]
        shares = tuple(pending[on_device(row, pending.device)] for pending in self.pending)
        self.sums.add(row, tuple(share * as_column(amount, share) for share in shares))


def _directions(gradients: Tensors, like: Tensors) -> tuple[Tensors, Tensor]:
    """Squared gradients of every point as shares of their sum over all tensors, and that sum (P,), scaled."""
    wide = tuple(gradient.to(accumulation_dtype(value.dtype)) for gradient, value in zip(gradients, like, strict=True))
    largest = torch.stack([flat(g).abs().amax(1).to(wide[0]) for g in wide]).amax(0)
    scale = torch.where(largest > 0, largest, 1.0)  # squares of tiny gradients would vanish
    squares = tuple((g / as_column(scale, g)).square() for g in wide)
    norm = torch.stack([flat(square).sum(1).to(largest.device) for square in squares]).sum(0)
    shares = tuple(square / as_column(torch.where(norm > 0, norm, 1.0), square) for square in squares)
    return shares, norm


def _check_finite(problem: PathProblem, norm: Tensor, points: Points) -> None:
    for bad in (~norm.isfinite()).nonzero().squeeze(1).tolist():
        row = int(points.row[bad])
        where = f"alpha {float(points.alpha[bad]):.3g} of the path of row {row}"
        problem.request.left_out.meet(row, "forward_func", "of finite gradients", f"NaN or infinity at {where}")
