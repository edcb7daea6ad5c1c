"""Passes of the model for the host: its inputs and outputs as the host can take them, and errors where it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.checks import check_gradients_possible, describe
from captum_ext.core.inspection import observing
from captum_ext.core.optional import require
from captum_ext.core.output_rows import describe_output, split_rows
from captum_ext.core.target_functions import check_places
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, ModelOutputError
from captum_ext.models import AdaptedModel
from captum_ext_integrations._cam_recorder import wide

_targets: Any = require("pytorch_grad_cam.utils.model_targets", "grad-cam")

_GIVE = (
    "Give targets, one for each image, that take one image's output (captum_ext.models.targets), or the model that "
    "captum_ext.models.adapt makes of it"
)
_BY_KIND = {
    "embedding": "embeddings, of which the largest number is no class: SimilarityTarget is for them",
    "detections": "detections: DetectionTarget is for them",
}


@contextmanager
def guarded(model: nn.Module, targets: Any, reads_targets: bool = True) -> Iterator[None]:
    """Inside the block the model gets copies of its inputs, and gives float32 for bfloat16.

    Where it returns no tensor, it gives a list with the output of each image, of which the host's loops over targets
    and outputs make what they make of a tensor's rows.

    Raises, inside of the block:
        ModelOutputError: outputs that need other targets than those that are given.
    """

    @observing
    def given_back(_: nn.Module, given: tuple[Any, ...], outputs: Any) -> Any:
        _check_kind(model, targets)
        if isinstance(outputs, Tensor):
            if reads_targets and outputs.dim() != 2:
                _check_maps(outputs, targets)
            return wide(outputs)
        if targets is None:
            raise ModelOutputError(
                f"Expected model to return a tensor of class scores where no targets are given, but got "
                f"{describe_output(outputs)}. {_GIVE}, which returns scores."
            )
        return split_rows(outputs, len(given[0]))

    handles = [
        model.register_forward_pre_hook(_copy_inputs, prepend=True, with_kwargs=True),
        model.register_forward_hook(given_back),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def with_gradients(cam: Any) -> Iterator[None]:
    """Inside the block autograd records, if a CAM takes gradients, whatever the caller switched off.

    Raises:
        InferenceModeError: under `torch.inference_mode()`, where it cannot.
    """
    if not cam.uses_gradients:
        yield
        return
    check_gradients_possible()
    with torch.enable_grad():
        yield


@contextmanager
def inputs_as(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Inside the block the model gets its inputs in this dtype."""
    handle = model.register_forward_pre_hook(lambda _, given: tuple(one.to(dtype) for one in given), prepend=True)
    try:
        yield
    finally:
        handle.remove()


def check_images(input_tensor: Any) -> Tensor:
    """The images, apart from the caller's graph.

    Raises:
        ArgumentTypeError: no tensor.
    """
    if not isinstance(input_tensor, Tensor):
        raise ArgumentTypeError("input_tensor", "a tensor of images (N, C, H, W)", describe(input_tensor))
    return input_tensor.detach()


def check_targets(targets: Any, images: Tensor) -> None:
    """Refuse another number of targets than of images, of which the host would leave some out, and places elsewhere.

    Raises:
        ArgumentTypeError, ArgumentError: no list, another number, or a place that is outside of the images.
    """
    if targets is None:
        return
    n_images = len(images)
    if not hasattr(targets, "__len__"):
        raise ArgumentTypeError("targets", f"a list of {n_images} targets, one for each image", describe(targets))
    if len(targets) != n_images:
        raise ArgumentError("targets", f"one for each of the {n_images} images", f"{len(targets)}")
    check_places(list(targets), (images,))


def _check_kind(model: nn.Module, targets: Any) -> None:
    """Refuse an adapted model without classes where no targets are given."""
    if targets is None and isinstance(model, AdaptedModel) and model.kind in _BY_KIND:
        raise ModelOutputError(
            f"Expected targets to be given, as the model returns {_BY_KIND[model.kind]} (captum_ext.models.targets)."
        )


def _check_maps(outputs: Tensor, targets: Any) -> None:
    """Refuse outputs (N, K, ...) without targets, or with targets that are a class of rows (K,)."""
    if targets is None:
        raise ModelOutputError(
            f"Expected model to return class scores (N, K) where no targets are given, but got {describe(outputs)}. "
            f"{_GIVE}: RegionTarget is for maps (N, K, H, W)."
        )
    per_class = outputs[0, :, 0].numel() if outputs.dim() > 2 else 1
    if per_class != 1 and any(type(target) is _targets.ClassifierOutputTarget for target in targets):
        raise ModelOutputError(
            f"Expected model to return class scores (N, K) for ClassifierOutputTarget, but got {describe(outputs)}. "
            f"{_GIVE}: RegionTarget is for maps (N, K, H, W)."
        )


@observing
def _copy_inputs(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tuple(map(_copied, args)), {name: _copied(value) for name, value in kwargs.items()}


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value
