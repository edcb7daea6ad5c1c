"""Methods with straight paths: the call that Captum's users know, around `_starts`, which is a method's own."""

from __future__ import annotations

from typing import Any, Literal, overload

from torch import Tensor

from captum_ext.attr.paths.integration import PathIntegral
from captum_ext.attr.paths.path_method import Call, InputsT, OnDone, PathMethod, progress
from captum_ext.attr.paths.plan import Generators, Plan, generators_for
from captum_ext.attr.paths.points import Starts, baseline_starts
from captum_ext.core.captum import log_usage
from captum_ext.core.checks import check_baselines, check_positive_int
from captum_ext.core.model import frozen_parameters
from captum_ext.core.types import Baselines, Target, TensorOrTensors, Tensors


class PathAttribution(PathMethod):
    r"""Attributions integrated along straight paths from references to the input.

    $$\phi(x) = \sum_j w_j \, (x - r_j) \odot \int_0^1 \nabla F\big(r_j + \alpha (x - r_j)\big) \, d\alpha$$

    A subclass says in `_starts` which references r_j every input has and with which weights w_j; validation, memory,
    integration and convergence delta are done here. Captum's `NoiseTunnel` works on every subclass, and its layer and
    neuron variants can put their own `gradient_func` in place; those always pass `baselines`, which win over
    references.
    """

    def _starts(self, call: Call, baselines: Baselines) -> Starts:
        """References and weights for every input; `baselines` given by the user win over the object's own."""
        return baseline_starts(check_baselines(baselines, call.inputs), call.n_rows)

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
        show_progress: bool = ...,
    ) -> tuple[InputsT, Tensor]: ...

    @log_usage
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
        show_progress: bool = False,
    ) -> TensorOrTensors | tuple[TensorOrTensors, Tensor]:
        r"""Attribute the target's score to the inputs.

        The arguments up to `return_convergence_delta` are those of `captum.attr.IntegratedGradients.attribute`.

        Args:
            inputs: (N, ...) or a tuple of such tensors, floating point.
            baselines: as in Captum: a number, one row (1, ...), one row for each input (N, ...), or a tuple of these.
                When given, they replace the references of the object.
            target: output to explain: an int, a tuple or a one-element tensor for all rows; a 1-D tensor or a list
                with one entry for each row; None for models with one output.
            additional_forward_args: further arguments of `forward_func`. Tensors whose first dimension is N
                follow their row, everything else is passed as it is.
            n_steps: with one of Captum's rule names or "adaptive", gradients for EVERY reference's path; with
                "stratified", gradients for an input in TOTAL.
            method: "gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid",
                "stratified" or "adaptive". None: for each row "gausslegendre" with one reference, "stratified" with
                several.
            internal_batch_size: at most this many rows are given to the model at once, whatever the number of
                inputs, references and steps; the result does not depend on it. None: chosen by device and row size.
            return_convergence_delta: also return the delta.
            generator: source of the random points of "stratified": one generator (rows draw in order), or one for
                each row, which makes a row's result independent of its batch. None: not repeatable. The global
                random state is neither read nor changed.
            tol: "adaptive" only: stop when the row's completeness gap is at most `tol` times the difference of scores
                that it explains. The first 40 % of `n_steps` are always spent.
            show_progress: show a bar that counts gradients.

        Returns:
            Attributions of the shape of the inputs (float32 for half precision, else the inputs' dtype), detached.
            With `return_convergence_delta`, a pair with delta (N,), in units of the score:
            $\sum_i \phi_i - (F(x) - \sum_j w_j F(r_j))$.

        Raises:
            ArgumentTypeError: inputs that are not floating tensors, or an argument of a wrong type.
            ArgumentError: shapes, target, method or numbers that do not fit.
            NonFiniteError: NaN or infinity in inputs, baselines or references.
            ModelOutputError: `forward_func` did not return one score for each row.
            InferenceModeError: called under `torch.inference_mode()`.
        """
        call, plan = self._begin(
            inputs, baselines, target, additional_forward_args, n_steps, method, internal_batch_size, generator, tol
        )
        with frozen_parameters(self.forward_func):
            starts = self._starts(call, baselines)
            with progress(self.get_name(), plan.n_gradients(starts) if show_progress else None) as on_done:
                attributions, starts = self._explain(call, starts, plan, on_done)
            delta = self._delta(call, starts, attributions) if return_convergence_delta else None
        formatted = attributions if isinstance(inputs, tuple) else attributions[0]
        return formatted if delta is None else (formatted, delta)

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
        """The arguments of `attribute`, validated."""
        call = self._prepare(inputs, baselines, target, additional_forward_args, internal_batch_size)
        plan = Plan(check_positive_int("n_steps", n_steps), method, generators_for(generator, call.n_rows), tol)
        if method == "adaptive":
            self._check_scores_available("method", "a rule that needs none", '"adaptive"')
        return call, plan

    def _explain(self, call: Call, starts: Starts, plan: Plan, on_done: OnDone | None) -> tuple[Tensors, Starts]:
        """Attributions, and the starts with the weights with which their paths counted."""
        problem = PathIntegral(call.model, call.inputs, starts, call.limit, self._multiply_by_inputs, on_done)
        return plan.carry_out(problem), starts
