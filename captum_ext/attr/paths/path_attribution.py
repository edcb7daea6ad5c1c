"""Methods with straight paths: the call that Captum's users know, around `starts`, which is a method's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, overload

from torch import Tensor

from captum_ext.attr.paths.integration import PathProblem
from captum_ext.attr.paths.path_method import InputsT, PathMethod, gap, progress
from captum_ext.attr.paths.place import Place, Wanted
from captum_ext.attr.paths.plan import Generators, Plan, generators_for
from captum_ext.attr.paths.starts import Starts, baseline_starts
from captum_ext.core.autocast import own_precision
from captum_ext.core.captum import log_usage
from captum_ext.core.checks import check_baselines
from captum_ext.core.inspection import check_rows_independent, frozen_parameters
from captum_ext.core.request import Request
from captum_ext.core.types import Baselines, Target, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError


@dataclass(frozen=True)
class Explanation:
    """What a method makes of a problem.

    Attributes:
        attributions: (N, ...) for each input tensor.
        starts: the starts with the weights with which their paths counted: delta is measured from them.
        n_gradients: (N,) that each row took.
        errors: standard errors of the attributions, where the plan asks for them.
    """

    attributions: Tensors
    starts: Starts
    n_gradients: Tensor
    errors: Tensors | None = None


class PathAttribution(PathMethod):
    r"""Attributions integrated along straight paths from references to the input.

    $$\phi(x) = \sum_j w_j \, (x - r_j) \odot \int_0^1 \nabla F\big(r_j + \alpha (x - r_j)\big) \, d\alpha$$

    A subclass says in `starts` which references $r_j$ every input has and with which weights $w_j$; validation, memory,
    integration and convergence delta are done here. A subclass that sums something else along the paths says so in
    `explain`, and what it refuses in `check`. Captum's `NoiseTunnel` works on every subclass, and its layer and neuron
    variants can put their own `gradient_func` in place. For layers there are classes of this package (`LayerLPI`, ...):
    Captum's always passes `baselines`, so that a method that holds references refuses to be put there.

    Example:
        >>> import torch
        >>> from captum_ext.attr.paths import PathAttribution, Starts
        >>> class FromHalf(PathAttribution):
        ...     def starts(self, request, baselines):
        ...         if baselines is not None:
        ...             return super().starts(request, baselines)
        ...         halves = tuple(value / 2 for value in request.inputs)
        ...         weight = torch.ones(request.n_rows, 1, dtype=torch.float64)
        ...         return Starts(halves, request.rows[:, None], weight)
        >>> FromHalf(lambda x: 2 * x.sum(1)).attribute(torch.tensor([[1.0, 3.0]]))
        tensor([[1., 3.]])
    """

    def starts(self, request: Request, baselines: Baselines) -> Starts:
        """References and weights for every input; `baselines` given by the user win over the object's own."""
        return baseline_starts(check_baselines(baselines, request.inputs), request.n_rows)

    def check(self, request: Request, plan: Plan) -> None:
        """Refuse what the method cannot do; called before anything is computed."""
        if plan.method == "adaptive":
            self.check_scores_available("method", "a rule that needs none", '"adaptive"')
        if plan.method == "adaptive" or plan.tol_map is not None:
            check_rows_independent(self.forward_func)  # whatever is allowed elsewhere: rows part ways
            if request.n_rows > 1:
                request.model.forward_args.check_known()

    def check_random(self, plan: Plan, arguments: tuple[str, ...], reason: str) -> None:
        """Refuse arguments, out of `return_standard_error` and `tol_map`, that the method does not have.

        Raises:
            ArgumentError: names the argument and the reason.
        """
        given = {"return_standard_error": plan.standard_error, "tol_map": plan.tol_map}
        for name in arguments:
            if given[name]:
                expected = f"left out for {type(self).__name__}: {reason}"
                raise ArgumentError(name, expected, repr(given[name]))

    def explain(self, problem: PathProblem, plan: Plan) -> Explanation:
        """Attributions of the problem's rows, with the gradients spent as the plan says."""
        outcome = plan.integrate(problem)
        return Explanation(outcome.sums, problem.starts, outcome.n_gradients, outcome.errors)

    @overload
    def attribute(
        self,
        inputs: InputsT,
        baselines: Baselines = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        return_convergence_delta: Literal[False] = ...,
        *,
        generator: Generators | None = ...,
        tol: float | None = ...,
        tol_map: float | None = ...,
        return_n_gradients: Literal[False] = ...,
        return_standard_error: Literal[False] = ...,
        show_progress: bool = ...,
    ) -> InputsT: ...

    @overload
    def attribute(
        self,
        inputs: InputsT,
        baselines: Baselines = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        *,
        return_convergence_delta: Literal[True],
        generator: Generators | None = ...,
        tol: float | None = ...,
        tol_map: float | None = ...,
        return_n_gradients: Literal[False] = ...,
        return_standard_error: Literal[False] = ...,
        show_progress: bool = ...,
    ) -> tuple[InputsT, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: InputsT,
        baselines: Baselines = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        return_convergence_delta: Literal[False] = ...,
        *,
        generator: Generators | None = ...,
        tol: float | None = ...,
        tol_map: float | None = ...,
        return_n_gradients: Literal[False] = ...,
        return_standard_error: Literal[True, "location"],
        show_progress: bool = ...,
    ) -> tuple[InputsT, InputsT]: ...

    @overload
    def attribute(
        self,
        inputs: InputsT,
        baselines: Baselines = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        return_convergence_delta: bool = ...,
        *,
        generator: Generators | None = ...,
        tol: float | None = ...,
        tol_map: float | None = ...,
        return_n_gradients: Literal[True],
        return_standard_error: bool | str = ...,
        show_progress: bool = ...,
    ) -> tuple[Any, ...]: ...

    @overload
    def attribute(
        self,
        inputs: InputsT,
        baselines: Baselines = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        *,
        return_convergence_delta: Literal[True],
        generator: Generators | None = ...,
        tol: float | None = ...,
        tol_map: float | None = ...,
        return_n_gradients: Literal[False] = ...,
        return_standard_error: Literal[True, "location"],
        show_progress: bool = ...,
    ) -> tuple[InputsT, Tensor, InputsT]: ...

    @log_usage
    @own_precision
    def attribute(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str | None = None,
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        generator: Generators | None = None,
        tol: float | None = None,
        tol_map: float | None = None,
        return_n_gradients: bool = False,
        return_standard_error: bool | str = False,
        show_progress: bool = False,
    ) -> Any:
        r"""Attribute the target's score to the inputs.

        The arguments up to `return_convergence_delta` are those of `captum.attr.IntegratedGradients.attribute`.

        Args:
            inputs: (N, ...) or a tuple of such tensors, floating point.
            baselines: as in Captum: a number, one row (1, ...), one row for each input (N, ...), or a tuple of these.
                When given, they replace the references of the object.
            target: output to explain: an int, a tuple or a one-element tensor for all rows; a 1-D tensor or a list
                with one entry for each row; None for models with one output. Or a function of what the model returns
                for one row, or a list of N functions (`captum_ext.models.targets`): then that may be anything.
            additional_forward_args: further arguments of `forward_func`, tiled as Captum tiles them: tensors whose
                first dimension is N follow their row, others are passed as they are with one whole batch at a time;
                wrap in `captum_ext.Shared` what all rows share.
            n_steps: gradients for EVERY reference's path; with "stratified" gradients for an input in TOTAL.
            method: "gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid",
                "riemann_graded" (ours: closer nodes near the baseline, $((k - 1/2) / n)^2$, for one that shows
                nothing), "stratified" or "adaptive" (whose rows part ways: a model has to score each row by itself).
                None: for each row "gausslegendre" with one reference, "stratified" with several.
            internal_batch_size: at most this many rows are given to the model at once, whatever the number of
                inputs, references and steps; the result does not depend on it. The model gets whole batches, all N
                rows at one step before the next, as many steps at once as fit; only where N itself is larger are rows
                taken out of their batch. None: chosen by device and row size.
            return_convergence_delta: also return the delta.
            generator: source of the random points of "stratified": one generator (rows draw in order), or one for
                each row, which makes a row's result independent of its batch. Where a host repeats rows (NoiseTunnel,
                `sensitivity_max`), give one for each of YOUR rows; `sensitivity_max` copies what it is given, which
                generators allow in newer versions of torch only. None: not repeatable. The global random state is
                neither read nor changed.
            tol: "adaptive" only: stop when the row's completeness gap is at most `tol` times the difference of scores
                that it explains; `n_steps` is then the most that a path takes, and a warning says where that was not
                enough.
            tol_map: random points only ("stratified", None): stop when the largest 5 % of the locations would hardly be
                others, or in another order: when of both another draw of the points is expected to change at most this
                share (`captum_ext.attr.expected_change`). `n_steps` is then the most gradients for a row; points are
                taken in up to ten rounds of at least two for each reference, and rows part ways. A warning says where
                that was not enough.
            return_n_gradients: also return how many gradients each row took.
            return_standard_error: also return standard errors of the attributions, from the passes that make them:
                True for every element, or "location" for the sums over channels of images and volumes, (N, 1, H, W),
                which the errors of their parts do not tell. Random points only ("stratified", or None with several
                references). How they are estimated, and when they are too large, is in `docs/error-bars.md`.
            show_progress: show a bar that counts gradients.

        Returns:
            Attributions of the shape of the inputs (float32 for half precision, else the inputs' dtype), detached.
            Then, if asked for, the delta (N,), in units of the score,
            $\sum_i \phi_i - (F(x) - \sum_j w_j F(r_j))$, the numbers of gradients (N,), and the standard errors: in the
            order in which the arguments stand here.

        Raises:
            ArgumentTypeError: inputs that are not floating tensors, or an argument of a wrong type.
            ArgumentError: shapes, target, method or numbers that do not fit.
            NonFiniteError: NaN or infinity in inputs, baselines, references or what the model gives; see
                `captum_ext.on_nonfinite`.
            ArgumentError: also for batch norm that mixes the rows of a batch, dynamically quantised layers, and an
                argument of unknown role where rows are taken out of their batch.
            ArgumentsConflictError: `tol` without "adaptive"; `tol_map` or `return_standard_error` with a rule whose
                points are not random.
            ModelOutputError: `forward_func` returned no tensor, several scores for a row, or something without a
                gradient; or no gradient reaches an input that moves the score.
            InferenceModeError: called under `torch.inference_mode()`.
        """
        request = self.request(inputs, baselines, target, additional_forward_args, internal_batch_size)
        generators = generators_for(generator, request.n_rows)
        plan = Plan(n_steps, method, generators, tol, tol_map, return_standard_error)
        self.check(request, plan)
        wanted = Wanted(return_convergence_delta, return_n_gradients, show_progress, bool(return_standard_error))
        with frozen_parameters(self.forward_func):
            return self.explain_at(Place(request), plan, baselines, wanted)

    def explain_at(self, place: Place, plan: Plan, baselines: Baselines, wanted: Wanted) -> Any:
        """What `attribute` returns, taken at a place: the inputs, a layer's activations, or the inputs of a neuron."""
        starts = self.starts(place.request, baselines)
        with progress(self.get_name(), plan.n_gradients(starts) if wanted.progress else None) as on_done:
            problem = place.problem(starts, self.multiply_by_inputs, on_done)
            explanation = self.explain(problem, plan)
        place.check(problem)
        self.check_inputs_used(problem, place)
        results: list[Any] = [place.formatted(explanation.attributions)]
        if wanted.delta:
            results.append(gap(explanation.attributions, place.explained(explanation.starts)))
        if wanted.n_gradients:
            results.append(explanation.n_gradients)
        if wanted.standard_error:
            if explanation.errors is None:
                expected = f"False for {type(self).__name__}, which does not estimate any"
                raise ArgumentError("return_standard_error", expected, "True")
            results.append(place.formatted(explanation.errors))
        return results[0] if len(results) == 1 else tuple(results)
