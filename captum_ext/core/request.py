"""One call of an attribution or a metric: its arguments, validated once and read everywhere below."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.checks import check_gradients_possible, check_tensors
from captum_ext.core.chunks import RowLimit, all_in_chunks, default_rows
from captum_ext.core.devices import on_device
from captum_ext.core.inspection import check_gradients_right, check_rows_independent
from captum_ext.core.model import BatchedModel, GradientFunc, compute_gradients, model_outputs
from captum_ext.core.nonfinite import LeftOut
from captum_ext.core.rows import count_batches, step_by_step
from captum_ext.core.target_functions import check_places
from captum_ext.core.types import ForwardFunc, Target, TensorOrTensors, Tensors
from captum_ext.exceptions import OutputTypeError


class Request:
    """The arguments that every method and metric takes, validated: inputs, target, forward arguments, rows in flight.

    Args:
        forward_func: the model.
        inputs: (N, ...) or a tuple of such tensors.
        target: in any of Captum's forms, or a function of one row's output, or a list of N of them.
        additional_forward_args: as in Captum; see `core.rows`.
        internal_batch_size: rows in flight; None: chosen by device and row size.
        gradient_func: Captum's seam for layer and neuron variants, where gradients are taken; None where none are.
        channels_last: layout of images; see `BatchedModel`.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.
        allow_ids: allow inputs of token ids (int64, int32), at which no gradient is taken.

    Attributes:
        inputs: a tuple of tensors (N, ...), detached.
        model: the model on these rows.
        limit: rows in flight.
        left_out: rows that are not finite, which get no numbers; see `on_nonfinite`.
        n_rows: N.

    Raises:
        ArgumentTypeError, ArgumentError, NonFiniteError, InferenceModeError: see the checks of `core`.

    Example:
        >>> import torch
        >>> from captum_ext.core.request import Request
        >>> request = Request(lambda x: 2 * x, torch.tensor([[1.0, 2.0]]), target=1)
        >>> request.scores
        tensor([4.])
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        inputs: TensorOrTensors,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
        *,
        gradient_func: GradientFunc | None = None,
        channels_last: bool | None = None,
        allow_batch_statistics: bool = False,
        allow_ids: bool = False,
    ) -> None:
        if gradient_func is not None:
            check_gradients_possible()
            check_gradients_right(forward_func)
        self.left_out = LeftOut()
        tensors = check_tensors("inputs", inputs, finite=False, allow_ids=allow_ids)
        self.inputs: Tensors = self.left_out.stand_ins("inputs", tuple(tensor.detach() for tensor in tensors))
        check_rows_independent(forward_func, allow_batch_statistics)
        self.is_tuple = isinstance(inputs, tuple)
        self.model = BatchedModel(
            forward_func,
            len(self.inputs[0]),
            target,
            additional_forward_args,
            compute_gradients if gradient_func is None else gradient_func,
            channels_last,
        )
        check_places(target, self.inputs)
        self.limit = RowLimit(internal_batch_size, self.inputs)
        self.limit.indivisible = self.model.keeps_batches
        self._roles_uncertain = self.model.forward_args.follow_rows

    def elsewhere(
        self, forward_func: ForwardFunc, name: str, inputs: Tensors, forward_args: Any, target: Target
    ) -> Request:
        """The same rows with another function of other inputs in place of the model: the model from a layer on.

        Args:
            forward_func: called with rows of `inputs` and then `forward_args`.
            name: of these inputs in messages.
            inputs: (N, ...), detached.
            forward_args: what follows them. Tensors with N rows follow the rows.
            target: of what the function returns.

        Raises:
            NonFiniteError: inputs that are not finite, unless such rows are left out.
        """
        other = copy.copy(self)
        for computed in ("outputs", "whole_outputs"):
            other.__dict__.pop(computed, None)
        other.inputs = self.left_out.stand_ins(name, inputs)
        other.model = BatchedModel(
            forward_func, self.n_rows, target, forward_args, self.model.gradient_func, self.model.channels_last
        )
        other.limit = copy.copy(self.limit)
        other.limit.indivisible = self.limit.indivisible or other.model.keeps_batches
        if not self.limit.fixed:
            other.limit.rows = min(self.limit.rows, default_rows(inputs))
        return other

    @property
    def n_rows(self) -> int:
        """Number of inputs N."""
        return len(self.inputs[0])

    @property
    def rows(self) -> Tensor:
        """All rows (N,), in order."""
        return torch.arange(self.n_rows, device="cpu")

    @property
    def fills_batches(self) -> bool:
        """Whether rows with fewer points than others repeat one, so that every batch is whole: where an argument could
        mean something else to rows that are taken out of their batch (two graphs, and their edges (2, E))."""
        return self.limit.indivisible or (self._roles_uncertain and self.n_rows <= self.limit.rows)

    @functools.cached_property
    def outputs(self) -> Tensor:
        """The model's outputs (N, ...) at the inputs, computed once however many parts of the call ask; where the
        target is a function, its scores (N,)."""
        return model_outputs(self.model, self.inputs, self.limit)

    @functools.cached_property
    def whole_outputs(self) -> Tensor | None:
        """What the model itself returns at the inputs, (N, ...), whatever the target; None if that is no tensor."""
        if not self.model.has_functions:
            return self.outputs
        try:
            return model_outputs(self.model.elsewhere(self.n_rows, whole=True), self.inputs, self.limit)
        except OutputTypeError:
            return None

    @property
    def scores(self) -> Tensor:
        """The target's score (N,) at the inputs; NaN in rows that are left out.

        Raises:
            NonFiniteError: a score that is not finite, unless such rows are left out.
        """
        scores = self.model.select(self.outputs, self.rows)
        self.left_out.check(scores, "forward_func", "scores at the inputs")
        return self.left_out.blanked(scores)

    def evaluate(self, rows: Tensor, values: Callable[[Tensor, Tensor], Tensor], *, pad: bool | None = None) -> Tensor:
        """What `values(numbers, rows)` gives for P points of the rows (P,), (P, ...) in the order of `rows`.

        `values` gets the numbers (p,) of points, from 0 to P - 1, and their rows (p,), makes the points itself and asks
        `model.scores` or `model.outputs` about them. The points go step by step, as whole batches where every row has
        as many. `pad` (None: `fills_batches`) fills batches up with points that do not count.
        """
        return self.evaluate_all(rows, lambda numbers, of: (values(numbers, of),), pad=pad)[0]

    def evaluate_all(
        self, rows: Tensor, values: Callable[[Tensor, Tensor], Tensors], *, pad: bool | None = None
    ) -> Tensors:
        """Like `evaluate`, of a function that returns several tensors."""
        pad = self.fills_batches if pad is None else pad
        present = rows
        if pad:  # a row without a point is in its batch all the same, with any point
            absent = (torch.bincount(rows, minlength=self.n_rows) == 0).nonzero().squeeze(1)
            present = torch.cat([rows, absent])
        order, counts = step_by_step(present, self.n_rows, pad=pad)
        counts &= order < len(rows)
        points = order.where(order < len(rows), 0)
        in_order_of_steps = present[order]
        are_batches = count_batches(in_order_of_steps, self.n_rows) is not None
        results = all_in_chunks(
            len(order), self.limit, lambda part: values(points[part], in_order_of_steps[part]), batches=are_batches
        )
        kept = counts.nonzero().squeeze(1)
        return tuple(_put(order[kept], kept, result, len(rows)) for result in results)

    def formatted(self, results: Tensors) -> TensorOrTensors:
        """Results (N, ...) in the form in which the inputs were given, a tuple or a tensor; NaN in rows that are left
        out.

        Raises:
            NonFiniteError: results that are not finite, unless such rows are left out.
        """
        for one in results:
            self.left_out.check(one, "forward_func", "scores and gradients wherever it is asked")
        blanked = tuple(self.left_out.blanked(one) for one in results)
        return blanked if self.is_tuple else blanked[0]


def _put(places: Tensor, kept: Tensor, result: Tensor, length: int) -> Tensor:
    """The entries `kept` of a result at their places among `length`."""
    in_order = torch.empty_like(result[:length])
    in_order[on_device(places, result.device)] = result[on_device(kept, result.device)]
    return in_order
