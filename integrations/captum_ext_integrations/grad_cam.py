"""The CAM classes of pytorch-grad-cam under their own names, with `upsampler=None, normalize=True, as_tensor=False`.

    from captum_ext_integrations.grad_cam import GradCAM   # was: from pytorch_grad_cam import GradCAM
    cam = GradCAM(model, target_layers, upsampler=USU())

Without an upsampler a class is the host's, bit for bit. With one, the raw map of each layer (after the host's
max(cam, 0), before its first min-max) is upsampled, layers are averaged, and `normalize=True` divides each image's map
by its maximum for display; `normalize=False` returns the map as it is, which sums to the mass of the coarse one.

Segments are scored after the host has computed its maps, once for all layers, with the host's hooks switched to a list
that forgets: no activation of these passes is kept. Because redistribution is linear in mass, `aug_smooth` averages the
coarse maps and redistributes once, and `FullGrad` sums a layer's channels first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError
from captum_ext.upsampling import InterpolationUpsampler, USUUpsampler

_host: Any = require("pytorch_grad_cam", "grad-cam")
_targets: Any = require("pytorch_grad_cam.utils.model_targets", "grad-cam")

Upsampler = USUUpsampler | InterpolationUpsampler


class _Forgetful(list[Any]):
    """A list that takes activations and keeps none."""

    def append(self, item: Any) -> None:
        """Drop `item`."""


@contextmanager
def _unrecorded(recorder: Any) -> Iterator[None]:
    """Run passes of the model inside the block without the host's hooks keeping anything."""
    kept = recorder.activations, recorder.gradients, recorder.reshape_transform
    recorder.activations, recorder.reshape_transform = _Forgetful(), None
    try:
        yield
    finally:
        recorder.activations, recorder.gradients, recorder.reshape_transform = kept


class _Redistributing:
    """What a CAM class of the host gets from this module: mixed in before the host's class."""

    model: Any
    device: Any
    detach: bool
    target_layers: Any
    tta_transforms: Any
    activations_and_grads: Any
    get_cam_image: Callable[..., Any]

    def __init__(
        self,
        *args: Any,
        upsampler: Upsampler | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
        **kwargs: Any,
    ) -> None:
        self.upsampler: Upsampler | _Coarse | None = upsampler
        self.normalize = normalize
        self.as_tensor = as_tensor
        super().__init__(*args, **kwargs)

    def forward(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool = False) -> Any:
        """Maps (N, H, W), as the host's `forward`."""
        if self.upsampler is not None:
            input_tensor = input_tensor.to(self.device)
            targets = self._resolved(input_tensor, targets)
        return super().forward(input_tensor, targets, eigen_smooth)  # type: ignore[misc]

    def forward_augmentation_smoothing(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool = False) -> Any:
        """Mean over augmentations; with an upsampler of the coarse maps, redistributed once."""
        if self.upsampler is None:
            return super().forward_augmentation_smoothing(input_tensor, targets, eigen_smooth)  # type: ignore[misc]
        input_tensor = input_tensor.to(self.device)
        targets = self._resolved(input_tensor, targets)
        collector = _Coarse()
        upsampler, self.upsampler = self.upsampler, collector
        maps: list[list[Tensor]] = []
        try:
            for transform in self.tta_transforms:
                super().forward(transform.augment_image(input_tensor), targets, eigen_smooth)  # type: ignore[misc]
                maps.append([transform.deaugment_mask(coarse[:, None])[:, 0] for coarse in collector.maps])
        finally:
            self.upsampler = upsampler
        coarse = [torch.stack(layer).mean(0) for layer in zip(*maps, strict=True)]
        return self.aggregate_multi_layers(self._upsampled(coarse, input_tensor, targets))

    def compute_cam_per_layer(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool) -> Any:
        """Maps of every layer, upsampled: a tensor (N, layers, H, W)."""
        if self.upsampler is None:
            return super().compute_cam_per_layer(input_tensor, targets, eigen_smooth)  # type: ignore[misc]
        if input_tensor.dim() != 4:
            raise NotImplementedError(f"Upsamplers are for images (N, C, H, W), not {tuple(input_tensor.shape)}.")
        coarse = self._coarse_maps(input_tensor, targets, eigen_smooth)
        if isinstance(self.upsampler, _Coarse):
            self.upsampler.maps = coarse
            return torch.zeros(len(input_tensor), 1, 1, 1)
        return self._upsampled(coarse, input_tensor, targets)

    def aggregate_multi_layers(self, cam_per_target_layer: Any) -> Any:
        """One map for each image."""
        if self.upsampler is None:
            return super().aggregate_multi_layers(cam_per_target_layer)  # type: ignore[misc]
        return _finished(self._combined(cam_per_target_layer), self.normalize, self.as_tensor)

    def _combined(self, layers: Tensor) -> Tensor:
        return layers.mean(1)

    def _coarse_maps(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool) -> list[Tensor]:
        """Raw map (N, h, w) of every layer, with the host's own weighting, not below zero."""
        recorder = self.activations_and_grads
        activations, gradients = recorder.activations, recorder.gradients
        if self.detach:
            activations, gradients = ([_array(one) for one in parts] for parts in (activations, gradients))
        maps = []
        for i, layer in enumerate(self.target_layers):
            activation = activations[i] if i < len(activations) else None
            gradient = gradients[i] if i < len(gradients) else None
            cam = self.get_cam_image(input_tensor, layer, targets, activation, gradient, eigen_smooth)
            maps.append(torch.as_tensor(np.maximum(np.asarray(cam, dtype=np.float32), 0)))
        return maps

    def _upsampled(self, coarse: list[Tensor], input_tensor: Tensor, targets: Any) -> Tensor:
        """Maps (N, layers, H, W) on the model's device, segments scored once for all layers."""
        images, upsampler = input_tensor.detach(), cast(Upsampler, self.upsampler)
        on_device = [one.to(self.device) for one in coarse]
        if isinstance(upsampler, USUUpsampler):
            rows = torch.arange(len(images), device=images.device)
            with _unrecorded(self.activations_and_grads):
                forward = _TargetScores(self.model, targets, upsampler.probability)
                scores = upsampler.score_map(images, forward, 0, rows)
            fine = [upsampler.redistribute(one, scores) for one in on_device]
        else:
            fine = [upsampler(one, images) for one in on_device]
        return torch.cat(fine, 1)

    def _resolved(self, input_tensor: Tensor, targets: Any) -> Any:
        """Targets by the host's rule: without any, each image's largest output."""
        if targets is not None:
            if len(targets) != len(input_tensor):
                raise ArgumentError("targets", f"one for each of the {len(input_tensor)} images", f"{len(targets)}")
            return targets
        with _unrecorded(self.activations_and_grads), torch.no_grad():
            classes = self.model(input_tensor).argmax(-1).tolist()
        return [_targets.ClassifierOutputTarget(index) for index in classes]


class _Coarse:
    """Stands for the upsampler while coarse maps are collected."""

    maps: list[Tensor]


class _TargetScores:
    """The host's targets as a forward function: the score of each row by the target of the image it belongs to."""

    def __init__(self, model: Any, targets: Any, probability: bool) -> None:
        self.model, self.targets, self.probability = model, targets, probability

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Scores (P, 1) of masked images (P, C, H, W) that belong to the images `rows` (P,)."""
        outputs = self.model(images)
        if self.probability:
            outputs = outputs.softmax(-1)
        scores = [self.targets[row](output) for row, output in zip(rows.tolist(), outputs, strict=True)]
        return torch.stack(scores)[:, None]


def _array(tensor: Tensor) -> Any:
    """The host's conversion, but for half precision, which NumPy has no bfloat16 for."""
    return tensor.detach().cpu().to(torch.promote_types(tensor.dtype, torch.float32)).numpy()


def _finished(maps: Tensor, normalize: bool, as_tensor: bool) -> Any:
    """Maps (N, H, W) for the caller: divided by their maxima on request, as float32 array or tensor."""
    if normalize:
        highest = maps.flatten(1).amax(1)[:, None, None]
        maps = maps / torch.where(highest > 0, highest, torch.ones_like(highest))
    return maps if as_tensor else maps.detach().cpu().to(torch.float32).numpy()


def _adapted(name: str) -> Any:
    """The host's class of this name, with the upsampler mixed in."""
    host_class = getattr(_host, name)
    document = f"`pytorch_grad_cam.{name}` with `upsampler`, `normalize` and `as_tensor`; see the module's text."
    return type(name, (_Redistributing, host_class), {"__doc__": document, "__module__": __name__})


GradCAM = _adapted("GradCAM")
ShapleyCAM = _adapted("ShapleyCAM")
FEM = _adapted("FEM")
HiResCAM = _adapted("HiResCAM")
GradCAMElementWise = _adapted("GradCAMElementWise")
AblationCAM = _adapted("AblationCAM")
XGradCAM = _adapted("XGradCAM")
GradCAMPlusPlus = _adapted("GradCAMPlusPlus")
ScoreCAM = _adapted("ScoreCAM")
LayerCAM = _adapted("LayerCAM")
EigenCAM = _adapted("EigenCAM")
EigenGradCAM = _adapted("EigenGradCAM")
KPCA_CAM = _adapted("KPCA_CAM")
RandomCAM = _adapted("RandomCAM")
SegEigenCAM = _adapted("SegEigenCAM")


class FullGrad(_Redistributing, _host.FullGrad):  # type: ignore[misc]
    """`pytorch_grad_cam.FullGrad`: the bias gradients of every layer, and the input's own gradient at full resolution.

    With an upsampler the channels of a layer are summed on its own grid and redistributed once, and nothing is scaled
    channel by channel, as the host does: the terms keep the proportions of the paper.
    """

    def _coarse_maps(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool) -> list[Tensor]:  # noqa: ARG002
        """The input's term, whose grid is the image itself, and that of every layer."""
        if eigen_smooth:
            raise NotImplementedError("FullGrad with an upsampler has no eigen_smooth.")
        gradients = [torch.from_numpy(_array(one)) for one in self.activations_and_grads.gradients]
        biases = [torch.as_tensor(bias, dtype=torch.float32)[None, :, None, None] for bias in self.bias_data]
        layers = [(bias * gradient).abs().sum(1) for bias, gradient in zip(biases, gradients, strict=True)]
        own = cast(Tensor, input_tensor.grad) * input_tensor.detach()
        return [own.float().abs().sum(1).cpu(), *layers]

    def _combined(self, layers: Tensor) -> Tensor:
        return layers.sum(1)


class FinerCAM(_host.FinerCAM):  # type: ignore[misc]
    """`pytorch_grad_cam.FinerCAM`, whose inner CAM gets the upsampler."""

    def __init__(
        self,
        model: Any,
        target_layers: Any,
        reshape_transform: Any = None,
        base_method: Any = GradCAM,
        *,
        upsampler: Upsampler | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        inner = partial(base_method, upsampler=upsampler, normalize=normalize, as_tensor=as_tensor)
        super().__init__(model, target_layers, reshape_transform, inner)


class RefineCAM(_host.RefineCAM):  # type: ignore[misc]
    """`pytorch_grad_cam.RefineCAM`: the product of layers' CAMs, each upsampled.

    A product keeps no mass; with an upsampler each factor is divided by its maximum, and `normalize` concerns the
    product.
    """

    def __init__(
        self,
        model: Any,
        target_layers: Any,
        reshape_transform: Any = None,
        base_method: Any = GradCAMPlusPlus,
        *,
        upsampler: Upsampler | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
        **kwargs: Any,
    ) -> None:
        self.upsampler, self.normalize, self.as_tensor = upsampler, normalize, as_tensor
        inner = partial(base_method, upsampler=upsampler, as_tensor=upsampler is not None)
        super().__init__(model, target_layers, reshape_transform, inner, **kwargs)

    def forward(self, input_tensor: Tensor, targets: Any = None, eigen_smooth: bool = False) -> Any:
        """Maps (N, H, W), as the host's `forward`."""
        if self.upsampler is None:
            return super().forward(input_tensor, targets, eigen_smooth)
        factors = [cam(input_tensor, targets, eigen_smooth) for cam in self.base_cam_per_layer]
        return _finished(torch.stack(factors).prod(0), self.normalize, self.as_tensor)


class SESS(_host.SESS):  # type: ignore[misc]
    """`pytorch_grad_cam.SESS`: `upsampler` goes to the CAM of every patch; what SESS does with these keeps no mass."""

    def __init__(
        self, model: Any, target_layers: Any, reshape_transform: Any = None, base_method: Any = GradCAM, **kwargs: Any
    ) -> None:
        super().__init__(model, target_layers, reshape_transform, base_method, **kwargs)


__all__ = [
    "FEM",
    "KPCA_CAM",
    "SESS",
    "AblationCAM",
    "EigenCAM",
    "EigenGradCAM",
    "FinerCAM",
    "FullGrad",
    "GradCAM",
    "GradCAMElementWise",
    "GradCAMPlusPlus",
    "HiResCAM",
    "LayerCAM",
    "RandomCAM",
    "RefineCAM",
    "ScoreCAM",
    "SegEigenCAM",
    "ShapleyCAM",
    "XGradCAM",
]
