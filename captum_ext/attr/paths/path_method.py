"""What every path method shares, whatever its paths: validation, the model on its rows, and the delta."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from captum.attr import GradientAttribution
from torch import Tensor
from tqdm.auto import tqdm

from captum_ext.attr.paths.integration import OnDone as OnDone
from captum_ext.attr.paths.integration import PathProblem, explained_scores
from captum_ext.attr.paths.place import Place
from captum_ext.core.checks import check_bool
from captum_ext.core.devices import double
from captum_ext.core.model import compute_gradients, model_outputs
from captum_ext.core.request import Request
from captum_ext.core.tensors import row_sums
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError, ModelOutputError, OutputRowsError

#: What the caller gives, one tensor or a tuple of them, and what comes back in the same form.
InputsT = TypeVar("InputsT", Tensor, tuple[Tensor, ...])
# A score that moves by less than this share of itself may do so by rounding.
_MOVES = 1e-5


class PathMethod(GradientAttribution):  # type: ignore[misc]
    """Attributions from gradients along paths between an input and what it is compared with.

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs.
        multiply_by_inputs: multiply the mean gradients by input minus reference (global attribution), as in Captum.
        allow_batch_statistics: allow batch norm in training mode, or without running statistics, whose scores depend on
            the rows beside a row's own. Running statistics are put back. The "adaptive" rule, Weighted IG and SAMP,
            whose rows part ways, refuse it all the same.

    Attributes:
        channels_last: whether images are given to the model in channels-last layout, in which convolutions are faster
            on a CPU. None, the default: with a set of references and along manipulation paths, yes on a CPU; on
            straight paths from one baseline the layout stays the caller's, so that float32 maps of deep networks equal
            Captum's to about 1e-7. Another layout moves them by 1e-3 of their maximum, as any change of rounding does
            where a network has kinks; set True to have the speed there, too.
        allow_batch_statistics: see above.
    """

    channels_last: bool | None = None

    def __init__(
        self,
        forward_func: ForwardFunc,
        multiply_by_inputs: bool = True,
        *,
        allow_batch_statistics: bool = False,
    ) -> None:
        super().__init__(forward_func)
        self.multiply_by_inputs = check_bool("multiply_by_inputs", multiply_by_inputs)
        self.allow_batch_statistics = allow_batch_statistics
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
        return self.multiply_by_inputs

    def settings(self) -> dict[str, Any]:
        """What the object was made with, the model excepted, by the names of the constructor's arguments.

        Runs over data sets compare it. A subclass that keeps its arguments under their names has nothing to add.
        """
        settings: dict[str, Any] = {"channels_last": self.channels_last}
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name == "forward_func" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if not hasattr(self, name):
                kind = type(self).__name__
                raise AttributeError(
                    f"{kind} does not keep its constructor's argument `{name}` under this name, so that its settings "
                    f"cannot be compared: keep it, or override {kind}.settings."
                )
            settings[name] = getattr(self, name)
        return settings

    def uses_references(self, baselines: Baselines) -> bool:  # noqa: ARG002 (for subclasses)
        """Whether a call with these baselines starts from a set of references that the object holds."""
        return False

    def layout(self, inputs: Tensors, baselines: Baselines) -> bool | None:
        """Whether points are channels-last: as asked for, as the inputs, or None to decide by the device."""
        if self.channels_last is None and _any_channels_last(inputs):
            return True
        if self.channels_last is None and not self.uses_references(baselines):
            return False
        return self.channels_last

    def request(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines,
        target: Target,
        additional_forward_args: Any,
        internal_batch_size: int | None,
    ) -> Request:
        """The arguments of a call, validated; the first step of every public method."""
        request = Request(
            self.forward_func,
            inputs,
            target,
            additional_forward_args,
            internal_batch_size,
            gradient_func=self.gradient_func,
            allow_batch_statistics=self.allow_batch_statistics,
        )
        request.model.channels_last = self.layout(request.inputs, baselines)
        return request

    def check_inputs_used(self, problem: PathProblem, place: type[Place] | Place = Place) -> None:
        """Refuse an input that moves the score and has no gradient: its attributions of zero would be wrong.

        `place` says what the problem's inputs are, in the message.

        Raises:
            ModelOutputError: names the input.
        """
        request, starts = problem.request, problem.starts
        if not request.model.unused or self.gradient_func is not compute_gradients:
            return
        path = starts.weight.argmax(1)
        ends = starts.at(starts.index[request.rows, path], request.inputs)

        def scores(points: Tensors) -> Tensor:
            outputs = model_outputs(request.model, points, request.limit)
            return double(request.model.select(outputs, request.rows)).cpu()

        try:
            at_inputs = scores(request.inputs)
        except OutputRowsError:  # the model's rows are not those of the inputs: there is no score of a row to move
            return
        noise = (scores(request.inputs) - at_inputs).abs()  # of a model that draws random numbers
        pairs = list(zip(request.inputs, ends, strict=True))
        for position in sorted(request.model.unused):
            moved = tuple(end if k == position else value for k, (value, end) in enumerate(pairs))
            change = (scores(moved) - at_inputs).abs()
            if bool(((change > _MOVES * at_inputs.abs()) & (noise == 0)).any()):
                name = place.name if len(request.inputs) == 1 else f"{place.name}[{position}]"
                raise ModelOutputError(
                    f"The score of forward_func moves with {name}, but no gradient reaches it (the model rounds it, "
                    f"turns it into integers or detaches it), so that its attributions would be zero. {place.advice}"
                )

    def delta(self, problem: PathProblem, attributions: Tensors) -> Tensor:
        """Sum of the attributions minus the difference of scores that they explain, (N,)."""
        return gap(attributions, explained_scores(problem))

    def check_scores_available(self, argument: str, expected: str, received: str) -> None:
        """Refuse what needs scores where `gradient_func` is not this package's own.

        Raises:
            ArgumentError: names the argument.
        """
        if self.gradient_func is not compute_gradients:
            reason = "a layer or neuron variant is at work, which gives gradients and no scores"
            raise ArgumentError(argument, f"{expected}, since {reason}", received)


def _any_channels_last(inputs: Tensors) -> bool:
    """Whether an input is in channels-last layout and not, being of one row or channel, in both layouts."""
    return any(
        value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last) and not value.is_contiguous()
        for value in inputs
    )


def gap(attributions: Tensors, explained: Tensor) -> Tensor:
    """Sum of the attributions minus the scores (N,) that they explain, as the attributions are (dtype, device)."""
    first = attributions[0]
    return (row_sums(attributions) - explained).to(first.dtype).to(first.device)


@contextmanager
def progress(name: str, total: int | None) -> Iterator[OnDone | None]:
    """A bar over `total` gradients, as the function to tell about those that are done; nothing without a total."""
    if total is None:
        yield None
        return
    with tqdm(total=total, desc=name, unit="gradient") as bar:
        yield bar.update
