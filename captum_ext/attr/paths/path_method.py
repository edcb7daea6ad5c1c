"""What every path method shares, whatever its paths: validation, the model seen row by row, and the delta."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from captum.attr import GradientAttribution
from torch import Tensor
from tqdm.auto import tqdm

from captum_ext.attr.paths.integration import PathIntegral, starting_scores
from captum_ext.attr.paths.points import Starts, accumulation_dtype
from captum_ext.core.checks import check_gradients_possible, check_tensors
from captum_ext.core.model import RowwiseModel, compute_gradients, model_outputs
from captum_ext.core.rows import RowLimit
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError

OnDone = Callable[[int], object]
InputsT = TypeVar("InputsT", Tensor, tuple[Tensor, ...])


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


class PathMethod(GradientAttribution):  # type: ignore[misc]
    """Attributions from gradients along paths between an input and what it is compared with.

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs.
        multiply_by_inputs: multiply the mean gradients by input minus reference (global attribution), as in Captum.

    Attributes:
        channels_last: whether images are given to the model in channels-last layout, in which convolutions are faster
            on a CPU. None, the default: with a set of references and along manipulation paths, yes on a CPU; on
            straight paths from one baseline the layout stays the caller's, so that float32 maps of deep networks equal
            Captum's to about 1e-7. Another layout moves them by 1e-3 of their maximum, as any change of rounding does
            where a network has kinks; set True to have the speed there, too.
    """

    channels_last: bool | None = None

    def __init__(self, forward_func: ForwardFunc, multiply_by_inputs: bool = True) -> None:
        super().__init__(forward_func)
        self._multiply_by_inputs = multiply_by_inputs
        self.gradient_func = compute_gradients

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

    def _prepare(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines,
        target: Target,
        additional_forward_args: Any,
        internal_batch_size: int | None,
    ) -> Call:
        """Inputs, target and forward arguments, validated; the first step of every public method."""
        check_gradients_possible()
        tensors = tuple(tensor.detach() for tensor in check_tensors("inputs", inputs))
        model = RowwiseModel(
            self.forward_func,
            tensors[0].shape[0],
            target,
            additional_forward_args,
            self.gradient_func,
            self._layout(tensors, baselines),
        )
        return Call(model, tensors, RowLimit(internal_batch_size, tensors))

    def _delta(self, call: Call, starts: Starts, attributions: Tensors) -> Tensor:
        """Sum of the attributions minus the difference of scores that they explain, (N,)."""
        explained = torch.stack(
            [part.reshape(call.n_rows, -1).sum(1).to(attributions[0].device) for part in attributions]
        ).sum(0)
        end = call.model.select(call.outputs, torch.arange(call.n_rows, device="cpu"))
        begin = starting_scores(PathIntegral(call.model, call.inputs, starts, call.limit))
        return explained - (end.to(accumulation_dtype(end.dtype)) - begin).to(explained.device, explained.dtype)

    def _check_scores_available(self, argument: str, expected: str, received: str) -> None:
        """Refuse what needs scores where `gradient_func` is not this package's own."""
        if self.gradient_func is not compute_gradients:
            reason = "gradient_func was replaced (by a layer or neuron variant) and gives no scores"
            raise ArgumentError(argument, f"{expected}, since {reason}", received)


def _any_channels_last(inputs: Tensors) -> bool:
    """Whether an input is in channels-last layout and not, being of one row or channel, in both layouts."""
    return any(
        value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last) and not value.is_contiguous()
        for value in inputs
    )


@contextmanager
def progress(name: str, total: int | None) -> Iterator[OnDone | None]:
    """A bar over `total` gradients, as the function to tell about those that are done; nothing without a total."""
    if total is None:
        yield None
        return
    with tqdm(total=total, desc=name, unit="gradient") as bar:
        yield bar.update
