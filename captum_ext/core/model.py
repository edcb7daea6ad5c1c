"""The model as everything here sees it: rows in, one score (and one gradient) a row out, nothing left behind."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from captum_ext.core.captum import format_forward_args, run_forward, select_targets
from captum_ext.core.checks import describe
from captum_ext.core.rows import (
    RowLimit,
    check_target,
    follows_rows,
    for_each_chunk,
    select_forward_args,
    select_target,
)
from captum_ext.core.types import ForwardFunc, Target, Tensors
from captum_ext.exceptions import ArgumentError, ModelOutputError


class GradientFunc(Protocol):
    """Captum's seam: the layer and neuron variants put another function of this signature in its place."""

    def __call__(
        self,
        forward_fn: ForwardFunc,
        inputs: Any,
        target_ind: Any = None,
        additional_forward_args: Any = None,
    ) -> tuple[Tensor, ...]: ...


def find_module(forward_func: ForwardFunc) -> nn.Module | None:
    """The module behind a forward function: itself, the owner of a bound method, or inside a partial."""
    while isinstance(forward_func, functools.partial):
        forward_func = forward_func.func
    owner = getattr(forward_func, "__self__", forward_func)
    return owner if isinstance(owner, nn.Module) else None


def device_of(forward_func: ForwardFunc) -> torch.device | None:
    """Where the model's parameters are, if that can be seen: samples are moved there."""
    module = find_module(forward_func)
    parameter = None if module is None else next(module.parameters(), None)
    return None if parameter is None else parameter.device


@contextmanager
def frozen_parameters(forward_func: ForwardFunc) -> Iterator[None]:
    """Switch off gradients of the model's parameters inside the block: autograd then keeps fewer activations.

    Only flags that this block switched off are switched on again, so that nested or concurrent blocks agree. Another
    thread that trains the same module at the same time would miss gradients while the block lasts.
    """
    module = find_module(forward_func)
    parameters = [] if module is None else [p for p in module.parameters() if p.requires_grad and p.is_leaf]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def compute_gradients(
    forward_fn: ForwardFunc,
    inputs: Any,
    target_ind: Any = None,
    additional_forward_args: Any = None,
) -> tuple[Tensor, ...]:
    """Gradient of every row's score with respect to its own row of `inputs`, as Captum's function of this name.

    Unlike Captum's it gives zeros for an input that the score does not depend on, and checks what the model
    returned.

    Raises:
        ModelOutputError: the model returned another number of rows, several values a row, or a constant.
        ArgumentError: a target that the outputs do not have.
    """
    tensors: Tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    return scores_and_gradients(forward_fn, tensors, target_ind, additional_forward_args)[1]


def scores_and_gradients(
    forward_fn: ForwardFunc, inputs: Tensors, target: Target, forward_args: Any
) -> tuple[Tensor, Tensors]:
    """Score (P,) and gradient of every row, from one forward and one backward pass."""
    with torch.enable_grad():
        outputs = run_forward(forward_fn, inputs, format_forward_args(forward_args))
        scores = scores_of(outputs, target, inputs[0].shape[0])
        if not scores.requires_grad:
            raise ModelOutputError(
                "The score of forward_func does not depend on its inputs through autograd (detached, computed "
                "under no_grad, or constant), so it has no gradient."
            )
        gradients = torch.autograd.grad(scores.sum(), inputs, allow_unused=True)
    filled = tuple(
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(inputs, gradients, strict=True)
    )
    return scores.detach(), filled


def check_outputs(outputs: Any, n_rows: int) -> Tensor:
    """Return the model's output if it is a tensor with one entry for each row.

    Raises:
        ModelOutputError: it is not.
    """
    if not isinstance(outputs, Tensor):
        raise ModelOutputError(f"Expected forward_func to return a tensor, but got {describe(outputs)}.")
    if outputs.dim() == 0 or outputs.shape[0] != n_rows:
        raise ModelOutputError(
            f"Expected forward_func to return one row for each of the {n_rows} rows that it was given, "
            f"but got {describe(outputs)}."
        )
    return outputs


def scores_of(outputs: Any, target: Target, n_rows: int) -> Tensor:
    """Select one score for each row (n_rows,) from the model's output.

    Raises:
        ModelOutputError: wrong number of rows, or several values a row.
        ArgumentError: a target that the outputs do not have.
    """
    outputs = check_outputs(outputs, n_rows)
    _check_target_in_range(outputs, target)
    try:
        scores = select_targets(outputs, target)
    except (AssertionError, IndexError, TypeError, RuntimeError) as error:
        raise ArgumentError(
            "target", f"an index into one row's outputs, which have shape {tuple(outputs.shape[1:])}", describe(target)
        ) from error
    if scores.numel() != n_rows:
        raise ModelOutputError(
            f"Expected one score for each row, but the output of shape {tuple(outputs.shape)} has several with "
            f"target {describe(target)}. Pass a target that selects one."
        )
    return scores.reshape(n_rows)


def _check_target_in_range(outputs: Tensor, target: Target) -> None:
    """Refuse a class index outside the outputs here: on CUDA, gathering it would poison the process."""
    if outputs.dim() != 2 or target is None:
        return
    if isinstance(target, Tensor):
        indices = target.reshape(-1).tolist()
    elif isinstance(target, list):
        indices = [entry for entry in target if isinstance(entry, int)]
    else:
        indices = [target] if isinstance(target, int) else []
    n_classes = outputs.shape[1]
    one_for_all = len(indices) == 1 and not isinstance(target, list)
    lowest = -n_classes if one_for_all else 0  # Captum allows counting from the end for a single index only.
    wrong = [index for index in indices if not lowest <= index < n_classes]
    if wrong:
        raise ArgumentError("target", f"an index from 0 to {n_classes - 1}, the model's outputs", str(wrong[0]))


class RowwiseModel:
    """Score and gradient of points that each belong to one of the caller's rows.

    Holds what stays the same during one call: the forward function, the targets and the forward arguments of the
    caller's N rows. A point is evaluated with the target and the arguments of its row.

    With `channels_last` four-dimensional points are passed in that layout (None: on a CPU only, where convolutions are
    faster in it). A model that refuses it (`view` on a convolution's output) gets contiguous points from then on.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        n_rows: int,
        target: Target = None,
        additional_forward_args: Any = None,
        gradient_func: GradientFunc = compute_gradients,
        channels_last: bool | None = None,
    ) -> None:
        self.forward_func = forward_func
        self.n_rows = n_rows
        self.target = check_target(target, n_rows)
        self.forward_args = format_forward_args(additional_forward_args)
        self.gradient_func = gradient_func
        self.channels_last = channels_last

    @property
    def depends_on_row(self) -> bool:
        """Whether a forward argument follows the rows, so that the output at a point depends on its row."""
        return any(follows_rows(arg, self.n_rows) for arg in self.forward_args or ())

    def gradients(self, points: Tensors, rows: Tensor) -> Tensors:
        """Gradient of each point's score at that point, shaped as the points; `rows` (P,) names their rows."""

        def evaluate(laid_out: Tensors) -> Tensors:
            return self.gradient_func(
                forward_fn=self.forward_func,
                inputs=_leaves(laid_out),
                target_ind=select_target(self.target, rows),
                additional_forward_args=select_forward_args(self.forward_args, rows, self.n_rows),
            )

        return cast(Tensors, self._in_best_layout(evaluate, points))

    def scores_and_gradients(self, points: Tensors, rows: Tensor) -> tuple[Tensor, Tensors]:
        """Score (P,) and gradient of each point from the same passes; not through `gradient_func`."""

        def evaluate(laid_out: Tensors) -> tuple[Tensor, Tensors]:
            args = select_forward_args(self.forward_args, rows, self.n_rows)
            return scores_and_gradients(self.forward_func, _leaves(laid_out), select_target(self.target, rows), args)

        return cast("tuple[Tensor, Tensors]", self._in_best_layout(evaluate, points))

    def outputs(self, points: Tensors, rows: Tensor) -> Tensor:
        """The model's whole output at each point, without gradients."""

        def evaluate(laid_out: Tensors) -> Tensor:
            args = select_forward_args(self.forward_args, rows, self.n_rows)
            with torch.no_grad():
                return check_outputs(run_forward(self.forward_func, laid_out, args), len(rows))

        return cast(Tensor, self._in_best_layout(evaluate, points))

    def scores(self, points: Tensors, rows: Tensor) -> Tensor:
        """Score of each point (P,), without gradients."""
        return self.select(self.outputs(points, rows), rows)

    def select(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """The score (P,) that each row's target names in `outputs` (P, ...)."""
        return scores_of(outputs, select_target(self.target, rows), len(rows))

    def _in_best_layout(self, evaluate: Callable[[Tensors], Any], points: Tensors) -> Any:
        try:
            return self._evaluate(evaluate, points)
        except ArgumentError as error:
            if error.argument != "target":
                raise
            raise ArgumentError("target", error.expected, describe(self.target)) from error  # not the chunk's

    def _evaluate(self, evaluate: Callable[[Tensors], Any], points: Tensors) -> Any:
        if not self._wants_channels_last(points):
            return evaluate(tuple(point.contiguous() for point in points))
        laid_out = tuple(
            point.contiguous(memory_format=torch.channels_last) if point.dim() == 4 else point for point in points
        )
        try:
            return evaluate(laid_out)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError:
            pass
        # If the layout was not to blame, this raises the model's own error, as the caller would see it elsewhere.
        result = evaluate(tuple(point.contiguous() for point in points))
        self.channels_last = False
        return result

    def _wants_channels_last(self, points: Tensors) -> bool:
        images = [point for point in points if point.dim() == 4 and point.shape[1] > 1]
        if self.channels_last is None:
            return any(image.device.type == "cpu" for image in images)
        return self.channels_last and bool(images)


def _leaves(points: Tensors) -> Tensors:
    return tuple(point.detach().requires_grad_() for point in points)


def model_outputs(model: RowwiseModel, inputs: Tensors, limit: RowLimit) -> Tensor:
    """Whole outputs (N, ...) at the model's N rows, in chunks."""

    def outputs(part: slice) -> Tensor:
        copies = tuple(v[part].clone() for v in inputs)  # a model may begin with an operation in place
        return model.outputs(copies, torch.arange(part.start, part.stop, device="cpu"))

    return in_chunks(len(inputs[0]), limit, outputs)


def in_chunks(n_points: int, limit: RowLimit, evaluate: Callable[[slice], Tensor]) -> Tensor:
    """What `evaluate` returns for consecutive slices of `range(n_points)`, joined."""
    parts: list[Tensor] = []
    for_each_chunk(n_points, limit, lambda part: parts.append(evaluate(part)))
    return torch.cat(parts)
