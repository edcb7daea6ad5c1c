"""Weighted Integrated Gradients: references weighted by how soon their own map finds what matters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_ext.attr.paths.integration import PathProblem
from captum_ext.attr.paths.path_attribution import Explanation
from captum_ext.attr.paths.place import Place
from captum_ext.attr.paths.plan import Generators, Plan, generators_for
from captum_ext.attr.paths.reference_sets import ReferencePathAttribution, ReferencesOfInputs, equal_starts
from captum_ext.attr.paths.starts import Starts
from captum_ext.attr.weighted_ig.fitness import ScoreFunc, Search
from captum_ext.attr.weighted_ig.weighing import Rule, Weighing
from captum_ext.core.autocast import own_precision
from captum_ext.core.checks import check_choice, check_number
from captum_ext.core.fills import ConstantFill, Fill, FillWord, corner_mean, corner_mean_of, make_fill
from captum_ext.core.inspection import frozen_parameters
from captum_ext.core.model import compute_gradients
from captum_ext.core.pixels import has_space
from captum_ext.core.request import Request
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError
from captum_ext.references import standard_baselines


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
            equal weights say nothing of them: where the score is above its goal with all pixels replaced, D is not
            looked for. Also in rows that are left out (`captum_ext.on_nonfinite`).
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

    $A_j$ is the Integrated Gradients of x from reference $r_j$, and $D_j$ the smallest number of pixels, taken in the
    order of $A_j$ (`ranking`, largest first), whose replacement by `fill` brings the score of x to `alpha` times what
    it was. A pixel of an image or a volume is a location with all its channels, of anything else an element. The maps
    that are ranked are those that are summed: fitness costs no gradient.

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
        * Where no crossing is sure (the filled input itself scores above the goal, or x not above it), D is not looked
          for and is n, also where the curve dips below the goal on its way. A warning names the rows.
        * With a probability below 0.001 the logit relative to the fill decides, with a warning.
        * References equal to the input are left out, with a warning.
        * By default `n_steps` gradients are shared by all references (`method="stratified"`). With fewer gradients than
          references only some are drawn; below about three for each, D measures noise.

    The search for D leaves rows out as soon as they are done, so that a model has to score each row by itself.

    Standard errors are those of the maps at the weights that were found: the points' effect on the weights is not in
    them. They need two points for each reference.

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
            return self.evaluate_at(Place(request), plan, baselines)

    def evaluate_at(self, place: Place, plan: Plan, baselines: Baselines) -> BaselineFitness:
        """What `evaluate_baselines` returns, taken at a place: the inputs, or a layer's activations."""
        problem = place.problem(self.starts(place.request, baselines), self.multiply_by_inputs)
        found = Weighing(self._rule, problem, plan)
        place.check(problem)
        self.check_inputs_used(problem, place)
        attributions = place.formatted(found.sums.result())
        return BaselineFitness(found.weight, found.removed, found.dropped, attributions, found.informative)

    @property
    def _rule(self) -> Rule:
        search = Search(self.search, self.rtol)
        return Rule(self._fill_of_several, self.score, self.alpha, self.keep, self.ranking, search)

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

    def check(self, request: Request, plan: Plan) -> None:
        """Refuse rounds: weights would be measured on what few points say."""
        self.check_random(plan, ("tol_map",), "its weights need the maps of all points")
        super().check(request, plan)

    def explain(self, problem: PathProblem, plan: Plan) -> Explanation:
        """The maps of all references, weighted by their fitness."""
        weighing = Weighing(self._rule, problem, plan)
        starts = Starts(problem.starts.values, problem.starts.index, weighing.weight)
        errors = weighing.errors() if plan.standard_error else None
        return Explanation(weighing.sums.result(), starts, weighing.n_gradients, errors)

    def _fill_of_several(self, problem: PathProblem) -> Fill:
        """What replaces removed pixels where references are compared, for which there have to be scores."""
        self.check_scores_available("references", "one for each input", "several")
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


#: Short name.
WeightedIG = WeightedIntegratedGradients
