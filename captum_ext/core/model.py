"""The model as everything here sees it: rows in, one score (and one gradient) a row out, nothing left behind."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from captum_ext.core.autocast import callers_autocast
from captum_ext.core.captum import format_forward_args, run_forward, select_targets
from captum_ext.core.checks import describe
from captum_ext.core.chunks import RowLimit, in_chunks
from captum_ext.core.devices import on_device
from captum_ext.core.inspection import kept, training_buffers
from captum_ext.core.output_rows import as_rows, check_outputs, check_row_count
from captum_ext.core.rows import ForwardArgs, count_batches
from captum_ext.core.target_functions import is_function, one_for_all, scored
from captum_ext.core.targets import (
    check_target,
    check_target_in_range,
    has_one_for_each_row,
    repeat_target,
    select_target,
)
from captum_ext.core.types import ForwardFunc, Target, Tensors
from captum_ext.exceptions import ArgumentError, ModelOutputError

#: What makes several scores, (P,) each, of the model's outputs (P, ...).
ReadScores = Callable[[Tensor], tuple[Tensor, ...]]


class GradientFunc(Protocol):
    """Captum's seam: the layer and neuron variants put another function of this signature in its place."""

    def __call__(
        self,
        forward_fn: ForwardFunc,
        inputs: Any,
        target_ind: Any = None,
        additional_forward_args: Any = None,
    ) -> tuple[Tensor, ...]:
        """Gradients of the inputs' shapes."""
        ...


def compute_gradients(
    forward_fn: ForwardFunc,
    inputs: Any,
    target_ind: Any = None,
    additional_forward_args: Any = None,
) -> tuple[Tensor, ...]:
    """Gradient of every row's score with respect to its own row of `inputs`, as Captum's function of this name.

    Unlike Captum's it gives zeros for an input that the score does not depend on, lets the model change its input in
    place, and checks what the model returned.

    Raises:
        ModelOutputError: the model returned another number of rows, several values a row, or a constant.
        ArgumentError: a target that the outputs do not have.
    """
    tensors: Tensors = inputs if isinstance(inputs, tuple) else (inputs,)
    scores, gradients = differentiate(forward_fn, tensors, target_ind, format_forward_args(additional_forward_args))
    check_row_count(scores, len(tensors[0]))
    return filled(gradients, tensors)


def differentiate(
    forward_fn: ForwardFunc, inputs: Tensors, target: Target, forward_args: tuple[Any, ...] | None
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Score of every row of the outputs, and gradient of their sum at the inputs, from one pass each way.

    The gradient is None for an input that the score does not depend on.
    """
    with torch.enable_grad():
        leaves, outputs = recorded(forward_fn, inputs, forward_args)
        scores = _with_gradient(scores_of(as_rows(outputs, len(inputs[0])), target))
        gradients = torch.autograd.grad(scores.sum(), leaves, allow_unused=True)
    return scores.detach(), gradients


def differentiate_each(
    forward_fn: ForwardFunc, inputs: Tensors, forward_args: tuple[Any, ...] | None, read: ReadScores
) -> tuple[Tensor, list[Tensors]]:
    """Outputs (P, ...), and the gradient of each of the scores that `read` makes of them, from one pass forwards."""
    with torch.enable_grad():
        leaves, outputs = recorded(forward_fn, inputs, forward_args)
        outputs = check_outputs(outputs, len(inputs[0]))
        scores = [_with_gradient(score) for score in read(outputs)]
        gradients = [
            torch.autograd.grad(score.sum(), leaves, allow_unused=True, retain_graph=score is not scores[-1])
            for score in scores
        ]
    return outputs.detach(), [filled(one, inputs) for one in gradients]


def recorded(forward_fn: ForwardFunc, inputs: Tensors, forward_args: tuple[Any, ...] | None) -> tuple[Tensors, Any]:
    """Leaves at the inputs, and what the model returns of them."""
    leaves = tuple(tensor.detach().requires_grad_() for tensor in inputs)
    given = tuple(leaf.clone() for leaf in leaves)  # the model may change what it is given in place
    with callers_autocast():
        return leaves, run_forward(forward_fn, given, forward_args)


def _with_gradient(scores: Tensor) -> Tensor:
    if not scores.requires_grad:
        raise ModelOutputError(
            "The score of forward_func does not depend on its inputs through autograd (detached, computed "
            "under no_grad, or constant), so it has no gradient."
        )
    return scores


def filled(gradients: tuple[Tensor | None, ...], like: Tensors) -> Tensors:
    """The gradients, zeros where there is none."""
    return tuple(
        torch.zeros_like(tensor) if gradient is None else gradient
        for gradient, tensor in zip(gradients, like, strict=True)
    )


def scores_of(outputs: Tensor, target: Target) -> Tensor:
    """Select one score for each row of outputs (P, ...).

    Raises:
        ModelOutputError: several values a row.
        ArgumentError: a target that the outputs do not have.
    """
    n_rows = len(outputs)
    check_target_in_range(outputs, target)
    if isinstance(target, Tensor):  # one index as a number: Captum would ask the device for it
        target = int(target) if target.numel() == 1 else on_device(target, outputs.device)
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


class BatchedModel:
    """Score and gradient of points that each belong to one of the caller's N rows.

    Holds what stays the same during one call: the forward function, the targets and the forward arguments of the rows.
    Points that are whole batches, step by step, get the arguments as Captum tiles them; points of single rows get the
    target and the arguments of their row (see `core.rows`). The model gets copies: it may change them in place. In
    training mode its buffers are put back after every pass.

    With `channels_last` four-dimensional points are passed in that layout (None: on a CPU only, where convolutions are
    faster in it). A model that refuses it (`view` on a convolution's output) gets contiguous points from then on.

    Where the target is a function, or a list of them, what counts as the model's output here is its score (P,): what
    the model itself returns need not be a tensor, and no index selects from it (see `core.target_functions`).
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
        self.gradient_func = gradient_func
        # In a layer variant the rows are those of the layer, and targets may be those of the original inputs.
        self.target = check_target(target, n_rows if gradient_func is compute_gradients else None)
        if isinstance(self.target, Tensor) and gradient_func is compute_gradients:
            self.target = self.target.cpu()  # where it is compared with the outputs, chunk after chunk
        self.forward_args = ForwardArgs(additional_forward_args, n_rows)
        self.channels_last = channels_last
        self._asked: set[int] = set()
        self._used: set[int] = set()
        self._buffers = training_buffers(forward_func)

    @property
    def unused(self) -> set[int]:
        """Positions of the inputs on which no score of any pass so far depended through autograd."""
        return self._asked - self._used

    @property
    def depends_on_row(self) -> bool:
        """Whether the output at a point depends on its row: a forward argument follows the rows, or rows have functions
        of their own as targets."""
        return self.forward_args.follow_rows or not one_for_all(self.target)

    @property
    def has_functions(self) -> bool:
        """Whether the target is a function, or functions, so that outputs are scores."""
        return is_function(self.target)

    def elsewhere(self, n_rows: int, *, whole: bool = False) -> BatchedModel:
        """The same model at `n_rows` rows that are not the caller's, and on which nothing depends: its outputs, by one
        function for all if the target is that; with `whole`, what it returns itself."""
        target = None
        if self.has_functions and not whole:
            target = self.target[0] if isinstance(self.target, list) else self.target
        return BatchedModel(
            self.forward_func, n_rows, target, self.forward_args.values, channels_last=self.channels_last
        )

    @property
    def keeps_batches(self) -> bool:
        """Whether whole batches have to go one at a time: it is unknown what an argument or the target is to the
        rows."""
        of_other_rows = has_one_for_each_row(self.target) and len(self.target) != self.n_rows  # type: ignore[arg-type]
        return bool(self.forward_args.unknown) or of_other_rows

    def gradients(self, points: Tensors, rows: Tensor) -> Tensors:
        """Gradient of each point's score at that point, shaped as the points; `rows` (P,) names their rows.

        Of one whole batch it is the gradient of the sum of all scores, however many rows the model returns, as in
        Captum.
        """
        if self.gradient_func is compute_gradients:
            return self.scores_and_gradients(points, rows, strict=False)[1]

        def evaluate(laid_out: Tensors) -> Tensors:
            forward_fn, target, args = self._of(rows)  # fresh copies, should this be tried again in another layout
            leaves = tuple(point.detach().requires_grad_() for point in laid_out)
            with callers_autocast():
                return self.gradient_func(
                    forward_fn=forward_fn, inputs=leaves, target_ind=target, additional_forward_args=args
                )

        return cast(Tensors, self._in_best_layout(evaluate, points))

    def scores_and_gradients(self, points: Tensors, rows: Tensor, *, strict: bool = True) -> tuple[Tensor, Tensors]:
        """Score (P,) and gradient of each point from the same passes; not through `gradient_func`.

        Unless `strict`, a model may return another number of scores for one whole batch, as for `gradients`.
        """
        one_score_a_row = strict or count_batches(rows, self.n_rows) != 1
        return self._differentiated(points, rows, one_score_a_row=one_score_a_row)

    def outputs_and_gradients(self, points: Tensors, rows: Tensor, read: ReadScores) -> tuple[Tensor, list[Tensors]]:
        """The model's whole output at each point, and the gradients there of each score that `read` makes of it."""

        def evaluate(laid_out: Tensors) -> tuple[Tensor, list[Tensors]]:
            forward_fn, _, args = self._of(rows)
            return differentiate_each(forward_fn, laid_out, args, read)

        return cast("tuple[Tensor, list[Tensors]]", self._in_best_layout(evaluate, points))

    def outputs(self, points: Tensors, rows: Tensor) -> Tensor:
        """The model's output at each point, (P, ...), without gradients: of functions as targets, their scores (P,)."""

        def evaluate(laid_out: Tensors) -> Tensor:
            forward_fn, _, args = self._of(rows)
            with torch.no_grad(), callers_autocast():
                copies = tuple(point.clone() for point in laid_out)
                return check_outputs(run_forward(forward_fn, copies, args), len(rows))

        return cast(Tensor, self._in_best_layout(evaluate, points))

    def scores(self, points: Tensors, rows: Tensor) -> Tensor:
        """Score of each point (P,), without gradients."""
        return self.select(self.outputs(points, rows), rows)

    def select(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """The score (P,) that each row's target names in `outputs` (P, ...)."""
        if self.has_functions:
            return outputs
        return cast(Tensor, self._naming_target(lambda: scores_of(outputs, select_target(self.target, rows))))

    def select_whole(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """The same of what the model itself returned for the rows, (P, ...), also where targets are functions."""
        if not self.has_functions:
            return self.select(outputs, rows)
        target = select_target(self.target, rows)
        functions: Any = target if isinstance(target, list) else [target] * len(rows)
        with torch.no_grad():
            return scored(lambda: outputs, functions, rows.tolist())

    def _differentiated(self, points: Tensors, rows: Tensor, one_score_a_row: bool) -> tuple[Tensor, Tensors]:

        def evaluate(laid_out: Tensors) -> tuple[Tensor, Tensors]:
            forward_fn, target, args = self._of(rows)
            scores, gradients = differentiate(forward_fn, laid_out, target, args)
            if one_score_a_row:
                check_row_count(scores, len(rows))
            self._used |= {place for place, gradient in enumerate(gradients) if gradient is not None}
            self._asked |= set(range(len(gradients)))
            return scores, filled(gradients, laid_out)

        return cast("tuple[Tensor, Tensors]", self._in_best_layout(evaluate, points))

    def _of(self, rows: Tensor) -> tuple[ForwardFunc, Target, tuple[Any, ...] | None]:
        """Forward function, target and forward arguments of the rows (P,)."""
        n_batches = count_batches(rows, self.n_rows)
        if n_batches is None:
            target, args = select_target(self.target, rows), self.forward_args.of_rows(rows)
        else:
            target, args = repeat_target(self.target, n_batches), self.forward_args.of_batches(n_batches)
        if not is_function(target):
            return self.forward_func, target, args
        functions: Any = target if isinstance(target, list) else [target] * len(rows)
        return functools.partial(scored, self.forward_func, functions, rows.tolist()), None, args

    def _in_best_layout(self, evaluate: Callable[[Tensors], Any], points: Tensors) -> Any:
        with kept(self._buffers):
            return self._naming_target(lambda: self._laid_out(evaluate, points))

    def _naming_target(self, evaluate: Callable[[], Any]) -> Any:
        """The result of a function, whose error about a target is about the caller's, not about the chunk's."""
        try:
            return evaluate()
        except ArgumentError as error:
            if error.argument != "target" or self.has_functions:
                raise
            raise ArgumentError("target", error.expected, describe(self.target)) from error

    def _laid_out(self, evaluate: Callable[[Tensors], Any], points: Tensors) -> Any:
        if not self._wants_channels_last(points):
            return evaluate(tuple(point.contiguous() for point in points))
        laid_out = tuple(
            point.contiguous(memory_format=torch.channels_last) if point.dim() == 4 else point for point in points
        )
        try:
            return evaluate(laid_out)
        except torch.cuda.OutOfMemoryError:
            raise
        except (RuntimeError, ArgumentError):  # the latter of a target that is a function
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


def model_outputs(model: BatchedModel, inputs: Tensors, limit: RowLimit) -> Tensor:
    """Whole outputs (N, ...) at the model's N rows, in chunks."""

    def outputs(part: slice) -> Tensor:
        return model.outputs(tuple(v[part] for v in inputs), torch.arange(part.start, part.stop, device="cpu"))

    return in_chunks(len(inputs[0]), limit, outputs, batches=True)
