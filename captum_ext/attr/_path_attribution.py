"""What every path method shares: the call that Captum's users know, around `_starts`, which is a method's own."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, overload

import torch
from captum.attr import GradientAttribution
from torch import Tensor
from tqdm.auto import tqdm

from captum_ext._captum import log_usage
from captum_ext._checks import (
    check_baselines,
    check_choice,
    check_gradients_possible,
    check_positive_int,
    check_tensors,
    describe,
)
from captum_ext._model import RowwiseModel, compute_gradients, frozen_parameters
from captum_ext._rows import RowLimit
from captum_ext._types import Baselines, ForwardFunc, Target, TensorOrTensors, Tensors
from captum_ext.attr._adaptive import MINIMAL_STEPS, integrate_adaptively
from captum_ext.attr._integration import PathIntegral, integrate, model_outputs, starting_scores
from captum_ext.attr._paths import (
    Starts,
    accumulation_dtype,
    baseline_starts,
    default_points,
    rule_points,
    stratified_points,
)
from captum_ext.attr._quadrature import RULES
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

METHODS = (*RULES, "stratified", "adaptive")
Generators = torch.Generator | Sequence[torch.Generator]


@dataclass
class Call:
    """One call of `attribute` after validation: the inputs, and the model seen row by row."""

    model: RowwiseModel
    inputs: Tensors
    limit: RowLimit

    @property
    def n_rows(self) -> int:
        """Number of inputs N."""
        return self.inputs[0].shape[0]

    @functools.cached_property
    def outputs(self) -> Tensor:
        """The model's outputs (N, ...) at the inputs, computed once however many parts of the call ask."""
        return model_outputs(self.model, self.inputs, self.limit)


class PathAttribution(GradientAttribution):  # type: ignore[misc]
    r"""Attributions integrated along straight paths from references to the input.

    $$\phi(x) = \sum_j w_j \, (x - r_j) \odot \int_0^1 \nabla F\big(r_j + \alpha (x - r_j)\big) \, d\alpha$$

    A subclass says in `_starts` which references r_j every input has and with which weights w_j; validation, memory,
    integration and convergence delta are done here. Captum's `NoiseTunnel` works on every subclass, and its layer and
    neuron variants can put their own `gradient_func` in place; those always pass `baselines`, which win over
    references.

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs.
        multiply_by_inputs: multiply the mean gradients by input minus reference (global attribution), as in Captum.

    Attributes:
        channels_last: whether images are given to the model in channels-last layout, in which convolutions are faster
            on a CPU. None, the default: with a set of references, yes on a CPU; with one baseline the layout stays the
            caller's, so that float32 maps of deep networks equal Captum's to about 1e-7. Another layout moves them by
            1e-3 of their maximum, as any change of rounding does where a network has kinks; set True to have the speed
            there, too.
    """

    channels_last: bool | None = None

    def __init__(self, forward_func: ForwardFunc, multiply_by_inputs: bool = True) -> None:
        super().__init__(forward_func)
        self._multiply_by_inputs = multiply_by_inputs
        self.gradient_func = compute_gradients

    def _starts(self, call: Call, baselines: Baselines) -> Starts:
        """References and weights for every input; `baselines` given by the user win over the object's own."""
        return baseline_starts(check_baselines(baselines, call.inputs), call.n_rows)

    @overload
    def attribute(
        self,
        inputs: Tensor,
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
    ) -> Tensor: ...

    @overload
    def attribute(
        self,
        inputs: tuple[Tensor, ...],
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
    ) -> tuple[Tensor, ...]: ...

    @overload
    def attribute(
        self,
        inputs: Tensor,
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
    ) -> tuple[Tensor, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: tuple[Tensor, ...],
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
    ) -> tuple[tuple[Tensor, ...], Tensor]: ...

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
        check_gradients_possible()
        tensors = tuple(tensor.detach() for tensor in check_tensors("inputs", inputs))
        n_steps = check_positive_int("n_steps", n_steps)
        self._check_method(method, n_steps, tol)
        model = RowwiseModel(
            self.forward_func,
            tensors[0].shape[0],
            target,
            additional_forward_args,
            self.gradient_func,
            self._layout(tensors, baselines),
        )
        call = Call(model, tensors, RowLimit(internal_batch_size, tensors))
        generators = _generators(generator, call.n_rows)
        with frozen_parameters(self.forward_func):
            starts = self._starts(call, baselines)
            attributions = self._integrate(call, starts, n_steps, method, generators, tol, show_progress)
            delta = self._delta(call, starts, attributions) if return_convergence_delta else None
        formatted = attributions if isinstance(inputs, tuple) else attributions[0]
        return formatted if delta is None else (formatted, delta)

    def attribute_future(self) -> None:
        """Not offered, as in Captum's IntegratedGradients.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"attribute_future is not implemented for {type(self).__name__}")

    def has_convergence_delta(self) -> bool:
        """Whether `return_convergence_delta` is supported: yes."""
        return True

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether gradients are multiplied by input minus reference."""
        return self._multiply_by_inputs

    def _layout(self, inputs: Tensors, baselines: Baselines) -> bool | None:
        """Whether points are channels-last: as asked for, as the inputs, or None to decide by the device."""
        if self.channels_last is None and _any_channels_last(inputs):
            return True
        if self.channels_last is None and not self._uses_references(baselines):
            return False
        return self.channels_last

    def _uses_references(self, baselines: Baselines) -> bool:  # noqa: ARG002 (for subclasses)
        """Whether this call starts from a set of references that the object holds."""
        return False

    def _integrate(
        self,
        call: Call,
        starts: Starts,
        n_steps: int,
        method: str | None,
        generators: Sequence[torch.Generator],
        tol: float | None,
        show_progress: bool,
    ) -> Tensors:
        n_paths = call.n_rows if method in (None, "stratified") else int((starts.weight > 0).sum())
        with _progress(self.get_name(), n_paths * n_steps if show_progress else None) as bar:
            problem = PathIntegral(
                call.model, call.inputs, starts, call.limit, self._multiply_by_inputs, bar.update if bar else None
            )
            if method == "adaptive":
                return integrate_adaptively(problem, n_steps, tol)
            if method is None:
                return integrate(problem, default_points(starts, n_steps, generators))
            if method == "stratified":
                return integrate(problem, stratified_points(starts, n_steps, generators))
            return integrate(problem, rule_points(starts, method, n_steps))

    def _delta(self, call: Call, starts: Starts, attributions: Tensors) -> Tensor:
        """Sum of the attributions minus the difference of scores that they explain, (N,)."""
        explained = torch.stack(
            [part.reshape(call.n_rows, -1).sum(1).to(attributions[0].device) for part in attributions]
        ).sum(0)
        end = call.model.select(call.outputs, torch.arange(call.n_rows, device="cpu"))
        begin = starting_scores(PathIntegral(call.model, call.inputs, starts, call.limit))
        return explained - (end.to(accumulation_dtype(end.dtype)) - begin).to(explained.device, explained.dtype)

    def _check_method(self, method: str | None, n_steps: int, tol: float | None) -> None:
        if method is not None:
            check_choice("method", method, METHODS)
        if method == "adaptive":
            if n_steps < MINIMAL_STEPS:
                raise ArgumentError("n_steps", f'at least {MINIMAL_STEPS} for method "adaptive"', str(n_steps))
            if self.gradient_func is not compute_gradients:
                raise ArgumentError(
                    "method",
                    'one of Captum\'s rule names or "stratified" here, since gradient_func was replaced (by a layer or '
                    "neuron variant) and scores along the path cannot be had from it",
                    '"adaptive"',
                )
        if tol is None:
            return
        if method != "adaptive":
            raise ArgumentError("tol", 'None unless method is "adaptive"', f"{tol} with method {method!r}")
        if not isinstance(tol, int | float) or not tol > 0:
            raise ArgumentError("tol", "a positive number", describe(tol))


def _any_channels_last(inputs: Tensors) -> bool:
    """Whether an input is in channels-last layout and not, being of one row or channel, in both layouts."""
    return any(
        value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last) and not value.is_contiguous()
        for value in inputs
    )


def _generators(generator: Generators | None, n_rows: int) -> Sequence[torch.Generator]:
    """One generator for each row."""
    if generator is None:
        fresh = torch.Generator()
        fresh.seed()
        return [fresh] * n_rows
    if isinstance(generator, torch.Generator):
        given: Sequence[torch.Generator] = [generator] * n_rows
    elif isinstance(generator, Sequence) and all(isinstance(entry, torch.Generator) for entry in generator):
        given = generator
    else:
        raise ArgumentTypeError("generator", "a torch.Generator or a sequence of them", describe(generator))
    if len(given) != n_rows:
        raise ArgumentError("generator", f"one, or one for each of the {n_rows} rows", f"{len(given)} generators")
    if any(entry.device.type != "cpu" for entry in given):
        raise ArgumentError("generator", "on the CPU, where points are planned", str(given[0].device))
    return given


@contextmanager
def _progress(name: str, total: int | None) -> Iterator[Any]:
    if total is None:
        yield None
        return
    with tqdm(total=total, desc=name, unit="gradient") as bar:
        yield bar
