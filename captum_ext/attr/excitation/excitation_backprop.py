"""Excitation Backprop: the probability of each unit to win, passed down from a class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from captum_ext.attr.excitation.operations import is_unit
from captum_ext.attr.excitation.recording import Recording
from captum_ext.core.autocast import callers_autocast, own_precision
from captum_ext.core.captum import format_forward_args, log_usage, run_forward
from captum_ext.core.checks import check_bool, describe
from captum_ext.core.chunks import for_each_chunk
from captum_ext.core.compiled import compiled_parts
from captum_ext.core.inspection import frozen_parameters
from captum_ext.core.model import scores_of
from captum_ext.core.model_search import find_module, modules_behind
from captum_ext.core.output_rows import as_rows, check_row_count
from captum_ext.core.request import Request
from captum_ext.core.targets import check_target
from captum_ext.core.tensors import accumulation_dtype
from captum_ext.core.types import ForwardFunc, Target, TensorOrTensors, Tensors
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, ModelOutputError
from captum_ext.upsampling import Upsampler, make_upsampler, upsample_maps

_TOP = 2.0**14  # what a class is given, so that small probabilities are not lost in half precision


class ExcitationBackprop(Attribution):  # type: ignore[misc]
    r"""Excitation Backprop: marginal winning probabilities, MWP, and contrastive ones, c-MWP (Zhang, Lin, Brandt, Shen
    and Sclaroff, "Top-down Neural Attention by Excitation Backprop", ECCV 2016; with Bargal, IJCV 2018).

    https://arxiv.org/abs/1608.00507

    $$P(a_j) = \sum_i P(a_j \mid a_i) P(a_i), \qquad
      P(a_j \mid a_i) = \frac{a_j \max(w_{ij}, 0)}{\sum_k a_k \max(w_{ik}, 0)}$$

    from the class, whose probability is 1, down to the units of a layer: a unit that wins chooses one of those below it
    in proportion to how much they excite it, or none where nothing does. Of the contrastive map the probabilities are
    subtracted that come from the dual of the class, whose weights are $-w$: what excites the class more than its
    opposite is above zero.

    Args:
        forward_func: the model, or a function; its scores are logits. Operations are seen while it runs: modules may be
            shared, and functions stand beside them.
        layer: the layer whose units are read, a module or its name; the paper reads layers in the middle, as pooling
            layers. None: the inputs.
        contrastive: c-MWP instead of MWP.
        upsampler: with a layer of positions: brings the sum over channels to the size of the images, a name of
            `captum_ext.upsampling.make_upsampler` or an object. None: the layer's own shape.

    Raises:
        ArgumentTypeError, ArgumentError: a setting that cannot be used, a layer that is not in the model, a model that
            is compiled.

    Example:
        >>> import torch
        >>> from captum_ext.attr import ExcitationBackprop
        >>> model = torch.nn.Linear(3, 2)
        >>> _ = model.weight.data.copy_(torch.tensor([[2.0, -1.0, 1.0], [0.0, 0.0, 1.0]]))
        >>> ExcitationBackprop(model).attribute(torch.tensor([[1.0, 1.0, 2.0]]), target=0)  # 2 and 2 of 2 + 2
        tensor([[0.5000, 0.0000, 0.5000]])
        >>> ExcitationBackprop(model, contrastive=True).attribute(torch.tensor([[1.0, 1.0, 2.0]]), target=0)
        tensor([[ 0.5000, -1.0000,  0.5000]])

    Deviations from the paper, whose units are never negative:

    - A unit that may be negative, as after a convolution without activation, or in an image, stands for the difference
      of two that are not: a negative one excites by negative weights. Its own probability is that of both.
    - Batch norm is part of the convolution before it, if nothing else reads that one: its sign turns the weights. Else,
      and for other constant factors and shifts, the input wins where it excites the output.
    - Sums, as in residual networks, are shared in proportion to what is summed.
    - The difference of c-MWP is returned with its sign. To show it, sum the channels and leave out what is below zero.

    Other operations, such as attention, SiLU, layer norm and products of two things that depend on the input, have no
    rule and are refused.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: nn.Module | str | None = None,
        *,
        contrastive: bool = False,
        upsampler: Upsampler | str | None = None,
    ) -> None:
        super().__init__(forward_func)
        self.layer = None if layer is None else _check_layer(forward_func, layer)
        self.contrastive = check_bool("contrastive", contrastive)
        self.upsampler = None if upsampler is None else make_upsampler(upsampler)
        if self.upsampler is not None and self.layer is None:
            raise ArgumentError("upsampler", "None without a layer, as inputs have their own size", describe(upsampler))
        for module in modules_behind(forward_func):
            _check_not_compiled(module)
        _check_not_compiled(forward_func)

    def settings(self) -> dict[str, Any]:
        """What the attributions depend on beside the model and the arguments of `attribute`."""
        return {"layer": self.layer, "contrastive": self.contrastive, "upsampler": self.upsampler}

    @log_usage
    @own_precision
    def attribute(
        self,
        inputs: TensorOrTensors,
        target: Target = None,
        additional_forward_args: Any = None,
        internal_batch_size: int | None = None,
    ) -> Any:
        """Explain inputs: one pass forwards and one backwards for each, two backwards for c-MWP.

        Args:
            inputs: (N, ...) or a tuple of such tensors, floating point.
            target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
            additional_forward_args: as in Captum; see `PathAttribution.attribute`.
            internal_batch_size: rows given to the model at once. None: chosen by device and row size. The result does
                not depend on it.

        Returns:
            Probabilities of the inputs' shapes; with a layer those of its units, in its shape (N, C, h, w) for a layer
            of positions; with an upsampler too, (N, 1, H, W). float32 for half precision, else the inputs' dtype. MWP
            sums to 1 in each row, less what came to units that nothing excites (as those that are active by their bias
            alone), and less what passes the layer by; c-MWP to the difference of two such sums. A warning says
            where nothing arrives and MWP is zero.

        Raises:
            ArgumentTypeError, ArgumentError: arguments that cannot be used; an operation of the model without a rule; a
                layer that is not called once, or with another output than a tensor.
            NonFiniteError: NaN or infinity in inputs or activations; see `captum_ext.on_nonfinite`.
            ModelOutputError: `forward_func` did not return one score for each row.
            InferenceModeError: called under `torch.inference_mode()`.
        """
        request = Request(
            self.forward_func,
            inputs,
            target,
            additional_forward_args,
            internal_batch_size,
            gradient_func=self._won,
        )
        check_target(target, request.n_rows)
        parts: list[Tensors] = []

        def pass_down(part: slice) -> None:
            rows = request.rows[part]
            parts.append(request.model.gradients(tuple(one[part] for one in request.inputs), rows))

        with frozen_parameters(self.forward_func):
            for_each_chunk(request.n_rows, request.limit, pass_down, batches=True)
        won = tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))
        if not self.contrastive:
            _warn_of_nothing(won, request)
        request.is_tuple = request.is_tuple and self.layer is None
        result = request.formatted(won)
        if self.upsampler is None:
            return result
        return self._upsampled(won[0], request, target, additional_forward_args)

    def _won(
        self, forward_fn: ForwardFunc, inputs: Any, target_ind: Any = None, additional_forward_args: Any = None
    ) -> Tensors:
        """Probabilities of the inputs, or of the layer, in Captum's seam for gradients."""
        recording = Recording(modules_behind(forward_fn))
        try:
            with torch.enable_grad():
                given = tuple(one.clone() for one in inputs)  # units; the model may change them in place
                nodes: list[Any] = [one.grad_fn for one in given]
                with self._watched(recording) as seen, recording, callers_autocast():
                    outputs = run_forward(forward_fn, given, format_forward_args(additional_forward_args))
                scores = check_row_count(scores_of(as_rows(outputs, len(inputs[0])), target_ind), len(inputs[0]))
            if not scores.requires_grad:
                raise ModelOutputError("The score of forward_func does not depend on its inputs through autograd.")
            if self.layer is not None:
                inputs = (self._unit_of(seen),)
                nodes = [inputs[0].grad_fn]
            recording.check(scores, nodes)
            sides = [_sizes(scores, inputs, _TOP, again=self.contrastive)]
            if self.contrastive:
                sides.append(_sizes(scores, inputs, -_TOP))
        finally:
            recording.forget()
        return tuple(one - other[0] if other else one for one, *other in zip(*sides, strict=True))

    @contextmanager
    def _watched(self, recording: Recording) -> Iterator[list[Any]]:
        """What the layer returns inside of the block."""
        seen: list[Any] = []

        def keep(_module: nn.Module, _given: Any, output: Any) -> Any:
            seen.append(output)
            return recording.watched(output) if is_unit(output) else None

        handle = None if self.layer is None else self.layer.register_forward_hook(keep)
        try:
            yield seen
        finally:
            if handle is not None:
                handle.remove()

    def _unit_of(self, seen: list[Any]) -> Tensor:
        expected = "one that is called once, returns a tensor and depends on the inputs"
        if len(seen) != 1:
            raise ArgumentError("layer", expected, f"{describe(self.layer)}, which is called {len(seen)} times")
        output: Any = seen[0]
        if not is_unit(output):
            raise ArgumentError("layer", expected, f"{describe(self.layer)}, which returns {describe(output)}")
        return cast(Tensor, output)

    def _upsampled(self, won: Tensor, request: Request, target: Target, additional_forward_args: Any) -> Tensor:
        (images,) = request.inputs
        if won.dim() != 4 or images.dim() != 4:
            received = f"{describe(self.layer)}, which returns {describe(won)}"
            raise ArgumentError(
                "layer", "one of positions (N, C, h, w) of images, where there is an upsampler", received
            )
        upsampler: Any = self.upsampler
        maps = upsample_maps(upsampler, [won.sum(1)], images, self.forward_func, target, additional_forward_args)
        return request.left_out.blanked(maps[0])


def _sizes(scores: Tensor, units: Tensors, top: float, again: bool = False) -> Tensors:
    """The probabilities of the units, as far as they come from the scores."""
    starts = torch.full_like(scores, top)
    try:
        signed = torch.autograd.grad(scores, units, starts, retain_graph=again, allow_unused=True)
    except RuntimeError as error:
        if "inplace operation" not in str(error):
            raise
        expected = "a model that does not overwrite in place what another operation has read"
        raise ArgumentError("forward_func", expected, str(error).partition(":")[0]) from error
    wide = [accumulation_dtype(one.dtype) for one in units]
    return tuple(
        torch.zeros_like(unit, dtype=dtype) if one is None else one.to(dtype).abs() / _TOP
        for one, unit, dtype in zip(signed, units, wide, strict=True)
    )


def _warn_of_nothing(won: Tensors, request: Request) -> None:
    totals = torch.stack([one.flatten(1).sum(1) for one in won]).sum(0).tolist()
    rows = [row for row, total in enumerate(totals) if total == 0 and row not in request.left_out.rows]
    if rows:
        warn_caller(
            f"No winning probability arrives in {len(rows)} of {len(totals)} rows, whose maps are zero: {rows[:5]}. "
            "Nothing excites the class there, or what leads to it."
        )


def _check_layer(forward_func: ForwardFunc, layer: Any) -> nn.Module:
    """The layer, by itself or by its name."""
    if isinstance(layer, str):
        model = find_module(forward_func)
        named: dict[str, nn.Module] = {} if model is None else dict(model.named_modules())
        if layer not in named:
            names = ", ".join(name for name in named if name)
            why_not = "None: the model has no named layers" if named else "a module, as it is in the model"
            expected = f"one of {names}" if names else why_not
            raise ArgumentError("layer", expected, repr(layer))
        return named[layer]
    if not isinstance(layer, nn.Module):
        raise ArgumentTypeError("layer", "a module of the model, its name, or None", describe(layer))
    behind = modules_behind(forward_func)
    if behind and all(layer is not part for module in behind for part in module.modules()):
        raise ArgumentError("layer", "a module of the model", f"{describe(layer)}, which is not in it")
    return layer


def _check_not_compiled(model: Any) -> None:
    """Refuse what hides its operations."""
    for label, _ in compiled_parts(model):
        expected = "a model that is not compiled: Excitation Backprop has to see its operations"
        raise ArgumentError("forward_func", expected, label)


#: Short name: what it computes, marginal winning probabilities.
MWP = ExcitationBackprop
