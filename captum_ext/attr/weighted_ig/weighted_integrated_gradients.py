"""Weighted Integrated Gradients: references weighted by how soon their own map finds what matters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_ext.attr.paths.integration import PathProblem
from captum_ext.attr.paths.path_attribution import Explanation
from captum_ext.attr.paths.plan import Generators, Plan, generators_for
from captum_ext.attr.paths.points import drawn_paths
from captum_ext.attr.paths.reference_sets import ReferencePathAttribution, ReferencesOfInputs, equal_starts
from captum_ext.attr.paths.starts import Starts
from captum_ext.attr.weighted_ig.fitness import Fitness, ScoreFunc, Search
from captum_ext.core.autocast import own_precision
from captum_ext.core.checks import check_choice, check_number
from captum_ext.core.fills import ConstantFill, Fill, FillWord, corner_mean, corner_mean_of, make_fill
from captum_ext.core.inspection import frozen_parameters
from captum_ext.core.model import compute_gradients
from captum_ext.core.pixels import Pixels, has_space
from captum_ext.core.request import Request
from captum_ext.core.tensors import Sums, accumulation_dtype, as_column, displacement
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors, Tensors
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError
from captum_ext.references import standard_baselines

# The maps of all references of an input are kept until they are weighted: so many bytes of them at once.
_KEPT_BYTES = 256 * 2**20
_ROUNDING = 1e-9
_MOST_NAMED = 10


@dataclass(frozen=True)
class BaselineFitness:
    """How fit each of an input's K references is.

    Attributes:
        weights: (N, K) float64, rows sum to one; zero for references that were left out.
        n_removed: (N, K) pixels that had to be removed, D in the paper; zero for references that had no map, and one,
            unmeasured, where an input has one reference only.
        n_dropped: (N,) references that `keep` left out.
        attributions: the weighted maps, as `attribute` returns them.
        informative: (N,) bool; False where D of every one of several references is the number of pixels, so that their
            equal weights say nothing of them, and in rows that are left out (`captum_ext.on_nonfinite`).
    """

    weights: Tensor
    n_removed: Tensor
    n_dropped: Tensor
    attributions: TensorOrTensors
    informative: Tensor


class WeightedIntegratedGradients(ReferencePathAttribution):
    r"""Weighted Integrated Gradients (Tran Duc Tuan et al., "Enhancing Visual Feature Attribution via Weighted
    Integrated Gradients", 2025).

    https://arxiv.org/abs/2505.03201

    $$\phi(x) = \sum_j w_j(x) \, A_j, \qquad w_j(x) = \frac{1 / D_j}{\sum_k 1 / D_k}$$

    A_j is the Integrated Gradients of x from reference r_j, and D_j the smallest number of pixels, taken in the order
    of A_j (`ranking`, largest first), whose replacement by `fill` brings the score of x to `alpha` times what it was. A
    pixel of an image or a volume is a location with all its channels, of anything else an element. The maps that are
    ranked are those that are summed: fitness costs no gradient.

    Args:
        forward_func: the model. Its outputs should be logits; with probabilities, pass `score=lambda p: p`.
        multiply_by_inputs: multiply the mean gradients by input minus reference, as in Captum. Fitness always ranks the
            product.
        references: (K, ...) or a tuple of such tensors, shared by all inputs; or a function from inputs (N, ...) to
            references (N, K, ...) of their own. None: `references.standard_baselines`, from the input's own range of
            values; for a normalised model pass it as a function with the model's `mean` and `std`. The authors' own:
            `references.weighted_ig_baselines`.
        alpha: share of the score that is left at D, in (0, 1).
        keep: weights below `keep` times the mean weight become zero and the others are scaled up (0.25 in the paper's
            code); None keeps all.
        score: what is to fall. "softmax": the target's probability; "logit": the target's output relative to that of
            the fill; a function of the outputs (P, ...), from whose result the target is selected. None: softmax where
            the model has classes, else logit. Where the target is a function, its scores (P,) are the outputs.
        fill: what replaces removed pixels: "corners" (mean colour of the input's corners, images and volumes),
            "references" (their mean), or a number, tensor or tuple as baselines are given. None: corners for images
            and volumes, references otherwise.
        ranking: the order of pixels by their map: "signed", by its sum over channels; or "absolute", by the sum of
            absolute values over channels. The evaluation script of the authors' code has the first, its program for
            single images the second. "absolute" minus "signed", the authors' baselines, with standard errors: deletion
            +0.005 (0.001) on 200 digits and +0.010 (0.010) on 10 ImageNet images, where lower is better; DiffID -0.001
            (0.006) and +0.071 (0.041), where higher is (`python -m examples.benchmarks.measurements.ranking`). So the
            default stays: nothing is better beyond two standard errors.
        search: "bisection" (ceil(log2 n) forwards a reference at most) or "grid" (16 at a time in equal ratios, which
            takes more forwards but only a few calls in turn, for accelerators).
        rtol: the search stops when D is known to this relative width; 0 for the exact crossing.

    Raises:
        ArgumentError: a setting that cannot be used. `attribute` also raises it for softmax without classes, a corner
            fill without corners, or several references inside Captum's neuron variants, which give no scores; and
            NonFiniteError for a map that is not finite. Inside Captum's layer variant, which passes baselines of its
            own, it raises ArgumentsConflictError: there is `LayerWeightedIntegratedGradients`.

    References that a function gives, the default ones included, are made for all inputs of a call at once: K times the
    size of the inputs. Explain large sets in batches.

    Example:
        >>> import torch
        >>> from captum_ext import WeightedIntegratedGradients
        >>> references = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 2.0, 2.0, 2.0]])
        >>> wg = WeightedIntegratedGradients(lambda x: x[:, 0] * 4 + x.sum(1), references=references, fill=0)
        >>> wg.baseline_weights(torch.tensor([[1.0, 1.0, 1.0, 1.0]]))
        tensor([[0.5000, 0.5000]], dtype=torch.float64)

    Deviations from the paper, of which only the abstract and the authors' code were at hand:
        * The goal is relative to the original score, everything happens in the model's input space, and the search has
          an invariant (their code mixes normalised and raw images and stops at an absolute error).
        * Bisection finds A crossing, not always the first: curves need not fall monotonically.
        * Where no crossing is sure (the filled input itself scores above the goal, or x not above it), D is n. Where
          that is so for all references of an input, a warning names its row.
        * With a probability below 0.001 the logit relative to the fill decides, with a warning.
        * References equal to the input are left out, with a warning.
        * By default `n_steps` gradients are shared by all references (`method="stratified"`). With fewer gradients than
          references only some are drawn; below about three for each, D measures noise.

    The search for D leaves rows out as soon as they are done, so that a model has to score each row by itself.

    Fitness is itself a deletion score, so that a gain in the deletion metric is partly in-sample. Weights depend on the
    model, hence attributions of a sum of models are not the sum of attributions.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        multiply_by_inputs: bool = True,
        *,
        references: TensorOrTensors | ReferencesOfInputs | None = None,
        alpha: float = 0.5,
        keep: float | None = None,
        score: str | ScoreFunc | None = None,
        fill: Baselines | str = None,
        ranking: str = "signed",
        search: str = "bisection",
        rtol: float = 0.02,
    ) -> None:
        super().__init__(forward_func, multiply_by_inputs, references=references)
        self.alpha = check_number("alpha", alpha, "a number between 0 and 1, both excluded", lambda v: 0 < v < 1)
        if keep is not None:
            keep = check_number("keep", keep, "None or a number in (0, 1]", lambda v: 0 < v <= 1)
        self.keep = keep
        if score is not None and (not callable(score) or isinstance(score, type)):
            check_choice("score", score, ("softmax", "logit"))
        self.score = score
        if isinstance(fill, str):
            check_choice("fill", fill, ("corners", "references"))
        self.fill = fill
        self.ranking = check_choice("ranking", ranking, ("signed", "absolute"))
        self.search = check_choice("search", search, ("bisection", "grid"))
        self.rtol = check_number("rtol", rtol, "a number in [0, 1)", lambda v: 0 <= v < 1)

    @own_precision
    def evaluate_baselines(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str | None = None,
        internal_batch_size: int | None = None,
        *,
        generator: Generators | None = None,
        tol: float | None = None,
    ) -> BaselineFitness:
        """Weights, removed pixels and maps from one computation; arguments and errors are those of `attribute`."""
        request = self.request(inputs, baselines, target, additional_forward_args, internal_batch_size)
        plan = Plan(n_steps, method, generators_for(generator, request.n_rows), tol)
        self.check(request, plan)
        with frozen_parameters(self.forward_func):
            problem = PathProblem(request, self.starts(request, baselines), self.multiply_by_inputs)
            weighing = _Weighing(self, problem, plan)
            self.check_inputs_used(problem)
        attributions = request.formatted(weighing.sums.result())
        return BaselineFitness(weighing.weight, weighing.removed, weighing.dropped, attributions, weighing.informative)

    def baseline_weights(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str | None = None,
        internal_batch_size: int | None = None,
        *,
        generator: Generators | None = None,
        tol: float | None = None,
    ) -> Tensor:
        """The weights (N, K) of each input's references; arguments and errors are those of `attribute`."""
        return self.evaluate_baselines(
            inputs,
            baselines,
            target,
            additional_forward_args,
            n_steps,
            method,
            internal_batch_size,
            generator=generator,
            tol=tol,
        ).weights

    def uses_references(self, baselines: Baselines) -> bool:
        """Whether references are weighted: without `baselines`, unless a variant that gives no scores has none."""
        return baselines is None and (self.references is not None or self.gradient_func is compute_gradients)

    @property
    def holds_references(self) -> bool:
        """Whether there are references that baselines would replace: always, `standard_baselines` if no others."""
        return True

    def reference_starts(self, request: Request) -> Starts:
        """Equally weighted paths: fitness decides later."""
        if self.references is None and not all(value.is_floating_point() for value in request.inputs):
            raise ArgumentError("references", "given where inputs are token ids, which have no standard ones", "None")
        references = standard_baselines if self.references is None else self.references
        return equal_starts(references, request.inputs, warn=True)

    def explain(self, problem: PathProblem, plan: Plan) -> Explanation:
        """The maps of all references, weighted by their fitness."""
        weighing = _Weighing(self, problem, plan)
        starts = Starts(problem.starts.values, problem.starts.index, weighing.weight)
        return Explanation(weighing.sums.result(), starts, weighing.n_gradients)

    def fill_for(self, problem: PathProblem) -> Fill:
        """What replaces removed pixels."""
        inputs = problem.inputs
        if self.fill is None:
            means = inputs if all(map(has_space, inputs)) else _reference_means(problem)
            return ConstantFill(
                tuple(
                    corner_mean_of(value) if has_space(value) else mean
                    for value, mean in zip(inputs, means, strict=True)
                )
            )
        words: dict[str, FillWord] = {
            "corners": corner_mean,
            "references": lambda *_: ConstantFill(_reference_means(problem)),
        }
        return make_fill("fill", self.fill, inputs, words)


def _reference_means(problem: PathProblem) -> Tensors:
    """The mean (N, ...) of each input's references."""
    return tuple(
        torch.stack([value[index.to(value.device)].mean(0) for index in problem.starts.index]).to(tensor.device)
        for tensor, value in zip(problem.inputs, problem.starts.values, strict=True)
    )


class _Weighing:
    """One computation: the map of every reference of every input, its fitness, and the weighted sums.

    Inputs are taken in groups whose maps fit into memory; within a group, every round of the search asks for all
    references of all inputs at once.
    """

    def __init__(self, method: WeightedIntegratedGradients, problem: PathProblem, plan: Plan) -> None:
        starts = problem.starts
        if plan.is_shared:
            starts = drawn_paths(starts, plan.n_steps, plan.generators)
        self.method, self.problem, self.starts, self.plan = method, problem, starts, plan
        self.limit = problem.limit
        self.pixels = Pixels(problem.inputs)
        exists = starts.weight > 0
        self.weight = torch.zeros_like(starts.weight)
        self.removed = torch.zeros(exists.shape, dtype=torch.long, device="cpu")
        self.dropped = torch.zeros(len(exists), dtype=torch.long, device="cpu")
        self.n_gradients = torch.zeros(len(exists), dtype=torch.long, device="cpu")
        self.sums = Sums(problem.inputs, len(exists))
        self.fitness: Fitness | None = None  # one reference each: nothing to weigh
        if bool((exists.sum(1) > 1).any()):
            method.check_scores_available("references", "one for each input", "several")
            self.fitness = Fitness(problem.request, method.fill_for(problem), method.score, method.alpha)
        self.search = Search(method.search, method.rtol)
        for rows in self._groups(exists):
            self._weigh(rows)
        self.informative = self._informative()

    def _groups(self, exists: Tensor) -> Iterator[Tensor]:
        row_bytes = sum(value[0].numel() * accumulation_dtype(value.dtype).itemsize for value in self.problem.inputs)
        size = max(1, _KEPT_BYTES // max(1, row_bytes * exists.shape[1]))
        if self.problem.request.fills_batches:  # a batch that has to be whole
            size = len(exists)
        yield from torch.split(torch.arange(len(exists), device="cpu"), size)

    def _weigh(self, rows: Tensor) -> None:
        """Maps, weights and sums of a group of rows."""
        marked = torch.zeros(len(self.weight), dtype=torch.bool, device="cpu")
        marked[rows] = True
        part_of = self.problem
        problem = PathProblem(part_of.request, self.starts.only(marked), part_of.multiply_by_inputs, part_of.on_done)
        row, path = problem.starts.paths()
        outcome = self.plan.integrate_paths(problem)
        gradients = outcome.sums
        self.n_gradients += outcome.n_gradients
        self.removed[row, path] = self._removed(problem, gradients, row, path)
        self.weight[rows], self.dropped[rows] = weights_of(self.removed[rows], self.method.keep)
        for part in _parts(len(row), self.limit.rows):
            maps = self._maps(problem, gradients, row, path, part, problem.multiply_by_inputs)
            shares = self.weight[row[part], path[part]]
            self.sums.add(row[part], tuple(values * as_column(shares, values) for values in maps))

    def _informative(self) -> Tensor:
        """Rows (N,) whose weights say something of their references; a warning names the others."""
        exists, n_pixels = self.starts.weight > 0, self.pixels.count
        says_nothing = (exists.sum(1) > 1) & ((self.removed == n_pixels) | ~exists).all(1)
        left_out = torch.zeros_like(says_nothing)
        left_out[sorted(self.problem.request.left_out.rows)] = True
        rows = (says_nothing & ~left_out).nonzero().squeeze(1).tolist()
        if rows:
            named = ", ".join(map(str, rows[:_MOST_NAMED])) + (", ..." if len(rows) > _MOST_NAMED else "")
            warn_caller(
                f"The order of no reference brings the score of {len(rows)} of {len(exists)} inputs (row {named}) to "
                f"its goal (alpha={self.method.alpha:g}) before all {n_pixels} pixels are replaced: their references "
                "have equal weights, which say nothing of them (`evaluate_baselines(...).informative`). Another "
                "`fill` or `score` may."
            )
        return ~(says_nothing | left_out)

    def _removed(self, problem: PathProblem, gradients: Tensors, row: Tensor, path: Tensor) -> Tensor:
        """D (Q,) of each path; one where an input has one reference only."""
        removed = torch.ones(len(row), dtype=torch.long, device="cpu")
        several = ((self.starts.weight > 0).sum(1) > 1)[row]
        if self.fitness is None or not bool(several.any()):
            return removed
        importance = torch.cat(
            [
                self._importance(self._maps(problem, gradients, row, path, part, True), row[part])
                for part in _parts(len(row), self.limit.rows)
            ]
        )
        importance = _finite(problem.request, importance, row, path)
        removed[several] = self.fitness.fewest_pixels(
            importance[several.to(importance.device)], row[several], self.search
        )
        return removed

    def _importance(self, maps: Tensors, row: Tensor) -> Tensor:
        """By what pixels are ranked, (P, n)."""
        if self.method.ranking == "absolute":
            maps = tuple(values.abs() for values in maps)
        return self.pixels.totals(maps, row)

    @staticmethod
    def _maps(
        problem: PathProblem, gradients: Tensors, row: Tensor, path: Tensor, part: slice, multiply: bool
    ) -> Tensors:
        """Maps of the paths in `part`: mean gradients, times input minus reference unless switched off."""
        chosen = tuple(values[part] for values in gradients)
        if not multiply:
            return chosen
        ends = problem.ends_of(row[part], path[part])
        return tuple(values * displacement(value, start) for values, value, start in zip(chosen, *ends, strict=True))


def weights_of(removed: Tensor, keep: float | None) -> tuple[Tensor, Tensor]:
    """Weights (N, K) in proportion to 1 / D, zero where D is zero, and how many (N,) `keep` set to zero."""
    exists = removed > 0
    fitness = torch.where(exists, 1 / removed.clamp(min=1).double(), 0.0)
    weight = fitness / fitness.sum(1, keepdim=True)
    if keep is None:
        return weight, torch.zeros(len(weight), dtype=torch.long, device="cpu")
    least = keep * (1 - _ROUNDING) / exists.sum(1, keepdim=True).double()  # equal weights are no less than their mean
    kept = weight >= least
    weight = torch.where(kept, weight, 0.0)
    return weight / weight.sum(1, keepdim=True), (exists & ~kept).sum(1)


def _finite(request: Request, importance: Tensor, row: Tensor, path: Tensor) -> Tensor:
    """The importance (Q, n) of pixels along paths (Q,); rows where it is not finite are met."""
    for bad in (~importance.isfinite()).any(1).nonzero().squeeze(1).tolist():
        where = f"the map of row {int(row[bad])} from its reference {int(path[bad])}"
        request.left_out.meet(int(row[bad]), "forward_func", "of finite gradients", f"NaN or infinity in {where}")
    return importance.nan_to_num() if request.left_out.rows else importance


def _parts(length: int, size: int) -> Iterator[slice]:
    for first in range(0, length, size):
        yield slice(first, min(first + size, length))


#: Short name.
WeightedIG = WeightedIntegratedGradients
