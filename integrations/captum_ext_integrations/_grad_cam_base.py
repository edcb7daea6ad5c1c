"""What every CAM class of `grad_cam` has in common: layers, guarded passes of the model, the upsampling."""

from __future__ import annotations

import operator
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_ext.core.optional import require
from captum_ext.core.target_functions import scored
from captum_ext.exceptions import ArgumentError
from captum_ext.upsampling import Upsampler, make_upsampler, upsample_maps
from captum_ext_integrations._cam_layers import layers_and_reshape
from captum_ext_integrations._cam_passes import check_images, check_targets, guarded, with_gradients
from captum_ext_integrations._cam_recorder import NOT_IN_NUMPY, Recorder

_targets: Any = require("pytorch_grad_cam.utils.model_targets", "grad-cam")


class Redistributing:
    """What a CAM class of the host gets from this module: mixed in before the host's class.

    Args:
        model: as the host's.
        target_layers: as the host's; None: `layer` of an adapted model.
        reshape_transform: as the host's; None: `to_grid` of an adapted model, for images of the CAM's own passes.
        upsampler: a name, an object or a function; None: the host's own map.
        normalize: with an upsampler, divide each map by its maximum.
        as_tensor: return a tensor on the model's device instead of an array.
    """

    model: Any
    device: Any
    detach: bool
    target_layers: Any
    tta_transforms: Any
    activations_and_grads: Any
    get_cam_image: Callable[..., Any]
    _narrow = NOT_IN_NUMPY  # dtypes of which the host can make no map
    _reads_targets = True  # whether the host's map depends on them
    _skips_layers = False  # whether a layer without a gradient adds nothing, and is no mistake

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module] | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        *,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self._configure(upsampler, normalize, as_tensor)
        layers, reshape = layers_and_reshape(model, target_layers, reshape_transform)
        super().__init__(model, layers, reshape)  # type: ignore[call-arg]
        self._record()

    def __del__(self) -> None:
        """Remove the hooks, as the host does, also of an object that could not be made."""
        if hasattr(self, "activations_and_grads"):
            self.activations_and_grads.release()

    def _configure(self, upsampler: Upsampler | str | None, normalize: bool, as_tensor: bool) -> None:
        """Take the options before the host's constructor."""
        self.upsampler = None if upsampler is None else make_upsampler(upsampler)
        self.normalize, self.as_tensor = normalize, as_tensor
        self._collected: list[list[Tensor]] | None = None  # coarse maps, while augmentations are averaged

    def _record(self) -> None:
        """Put our recorder in the place of the host's, after the host's constructor."""
        self.activations_and_grads.release()
        self.activations_and_grads = Recorder(self)

    def __call__(
        self,
        input_tensor: Tensor,
        targets: list[Any] | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> Any:
        """Maps (N, H, W), as the host's call: an array, or a tensor with `as_tensor`."""
        maps = super().__call__(input_tensor, targets, aug_smooth, eigen_smooth)  # type: ignore[misc]
        return as_asked(maps, self.as_tensor, self.device)

    def forward(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool = False) -> Any:
        """Maps (N, H, W), as the host's `forward`."""
        input_tensor = check_images(input_tensor)
        check_targets(targets, input_tensor)
        with self._guarded(targets), with_gradients(self):
            return super().forward(input_tensor, targets, eigen_smooth)  # type: ignore[misc]

    def _guarded(self, targets: Any) -> Any:
        return guarded(self.model, targets, self._reads_targets or self.upsampler is not None)

    def forward_augmentation_smoothing(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool = False) -> Any:
        """Mean over augmentations; with an upsampler of the coarse maps, redistributed once."""
        input_tensor = check_images(input_tensor)
        if self.upsampler is None:
            return super().forward_augmentation_smoothing(input_tensor, targets, eigen_smooth)  # type: ignore[misc]
        input_tensor = input_tensor.to(self.device)
        check_targets(targets, input_tensor)
        with self._guarded(targets), with_gradients(self):
            targets = self._largest(input_tensor) if targets is None else targets
            coarse = self._mean_over_augmentations(input_tensor, targets, eigen_smooth)
            return self.aggregate_multi_layers(self._upsampled(coarse, input_tensor, targets))

    def _mean_over_augmentations(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool) -> list[Tensor]:
        maps: list[list[Tensor]] = []
        self._collected = []
        try:
            for transform in self.tta_transforms:
                super().forward(transform.augment_image(input_tensor), targets, eigen_smooth)  # type: ignore[misc]
                maps.append([transform.deaugment_mask(one[:, None])[:, 0] for one in self._collected.pop()])
        finally:
            self._collected = None
        return [torch.stack(layer).mean(0) for layer in zip(*maps, strict=True)]

    def compute_cam_per_layer(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool) -> Any:
        """Maps of every layer, upsampled: a tensor (N, layers, H, W), of volumes (N, layers, D, H, W)."""
        self.activations_and_grads.check_gradients()
        if self.upsampler is None:
            self.activations_and_grads.widen(self._narrow)
            return super().compute_cam_per_layer(input_tensor, targets, eigen_smooth)  # type: ignore[misc]
        if input_tensor.dim() not in (4, 5):
            expected = "images (N, C, H, W) and volumes (N, C, D, H, W)"
            raise NotImplementedError(f"Maps of the host are for {expected}, not {tuple(input_tensor.shape)}.")
        self._warn_of_repeated_layers()
        coarse = self._coarse_maps(input_tensor, targets, eigen_smooth)
        if self._collected is not None:
            self._collected.append(coarse)
            return torch.zeros(len(input_tensor), 1, 1, 1)
        return self._upsampled(coarse, input_tensor, targets)

    def _repeated_layers(self) -> list[nn.Module]:
        """Target layers that the last pass called more than once, of which the host keeps every call."""
        listed, times = Counter(self.target_layers), self.activations_and_grads.times
        return [layer for layer in listed if times[layer] > listed[layer]]

    def _warn_of_repeated_layers(self) -> None:
        for layer in self._repeated_layers():
            others = " Maps of the other layers may be of other calls, too." if len(self.target_layers) > 1 else ""
            times = self.activations_and_grads.times[layer]
            warnings.warn(
                f"A target layer, {layer}, is called {times} times in a pass, and its map is that of the first call."
                f"{others} Give layers that are called once.",
                stacklevel=2,
            )

    def aggregate_multi_layers(self, cam_per_target_layer: Any) -> Any:
        """One map for each image."""
        if self.upsampler is None:
            return super().aggregate_multi_layers(cam_per_target_layer)  # type: ignore[misc]
        return finished(self._combined(cam_per_target_layer), self.normalize, self.as_tensor)

    def _combined(self, layers: Tensor) -> Tensor:
        return layers.mean(1)

    def _coarse_maps(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool) -> list[Tensor]:
        """Raw map (N, h, w) or (N, d, h, w) of every layer, with the host's own weighting, not below zero."""
        recorder = self.activations_and_grads
        activations, gradients = recorder.activations, recorder.gradients
        if self.detach:
            activations, gradients = ([as_array(one) for one in parts] for parts in (activations, gradients))
        maps = []
        for i, layer in enumerate(self.target_layers):
            activation = activations[i] if i < len(activations) else None
            gradient = gradients[i] if i < len(gradients) else None
            cam = self.get_cam_image(input_tensor, layer, targets, activation, gradient, eigen_smooth)
            maps.append(torch.as_tensor(np.maximum(np.asarray(cam, dtype=np.float32), 0)))
        return maps

    def _upsampled(self, coarse: list[Tensor], input_tensor: Tensor, targets: Any) -> Tensor:
        """Maps (N, layers, H, W) on the model's device, segments scored once for all layers."""
        upsampler: Any = self.upsampler
        on_device = [one.to(self.device) for one in coarse]
        images = input_tensor.detach()
        fine = upsample_maps(upsampler, on_device, images, *self._scored(targets, images.device))
        return torch.cat(fine, 1)

    def _scored(self, targets: Any, device: torch.device) -> tuple[Any, Any, Any]:
        """The host's targets in Captum's terms: forward function, target and forward arguments."""
        classes = _classes(targets)
        if classes is not None and self.activations_and_grads.gives_classes:
            return self.model, torch.tensor(classes, device=device), None
        probability = getattr(self.upsampler, "probability", False)
        if getattr(self.upsampler, "remember", 0) and not probability:
            return self.model, list(targets), None  # whole outputs of the model itself serve all targets
        return _TargetScores(self.model, targets, probability), 0, torch.arange(len(targets), device=device)

    def _largest(self, input_tensor: Tensor) -> Any:
        """Targets by the host's rule where it is given none: each image's largest output."""
        with torch.no_grad():
            classes = self.model(input_tensor).argmax(-1).tolist()
        return [_targets.ClassifierOutputTarget(index) for index in classes]


class _TargetScores:
    """The host's targets as a forward function: the score of each row by the target of the image it belongs to."""

    def __init__(self, model: Any, targets: Any, probability: bool) -> None:
        self.model, self.targets, self.probability = model, targets, probability

    def __call__(self, images: Tensor, rows: Tensor | None = None) -> Tensor:
        """Scores (P, 1) of images (P, C, H, W) that belong to the targets `rows` (P,); None: to all, in order."""
        numbers = list(range(len(self.targets))) if rows is None else rows.tolist()
        return scored(self._outputs, [self.targets[row] for row in numbers], numbers, images)[:, None]

    def _outputs(self, images: Tensor) -> Any:
        outputs = self.model(images)
        if not self.probability:
            return outputs
        if not isinstance(outputs, Tensor):
            expected = 'one with output="logit" where the model returns no tensor, of which there is no softmax'
            raise ArgumentError("upsampler", expected, 'output="probability"')
        return outputs.softmax(-1)


def _classes(targets: Any) -> list[int] | None:
    """The class of every target, or None where a target is more than a class."""
    if any(type(target) is not _targets.ClassifierOutputTarget for target in targets):
        return None
    try:
        classes = [operator.index(target.category) for target in targets]
    except TypeError:
        return None
    return classes if min(classes) >= 0 else None


def as_array(tensor: Tensor) -> Any:
    """The host's conversion, in float32 at least."""
    return tensor.detach().cpu().to(torch.promote_types(tensor.dtype, torch.float32)).numpy()


def finished(maps: Tensor, normalize: bool, as_tensor: bool) -> Any:
    """Maps (N, H, W) for the caller: divided by their maxima on request, as float32 array or tensor."""
    if normalize:
        highest = maps.flatten(1).amax(1).reshape(-1, *(1,) * (maps.dim() - 1))
        maps = maps / torch.where(highest > 0, highest, torch.ones_like(highest))
    return maps if as_tensor else maps.detach().cpu().to(torch.float32).numpy()


def as_asked(maps: Any, as_tensor: bool, device: torch.device) -> Any:
    """Maps as the caller wants them: the array that the host made, or a tensor on the model's device."""
    return torch.as_tensor(maps).to(device) if as_tensor else maps
