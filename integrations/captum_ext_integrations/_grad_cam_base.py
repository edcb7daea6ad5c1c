"""What every CAM class of `grad_cam` has in common: the host's hooks, guarded passes of the model, the upsampling."""

from __future__ import annotations

import operator
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_ext.core.checks import describe
from captum_ext.core.optional import require
from captum_ext.core.output_rows import describe_output, split_rows
from captum_ext.core.target_functions import scored
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, ModelOutputError
from captum_ext.upsampling import Upsampler, make_upsampler, upsample_maps

_host: Any = require("pytorch_grad_cam", "grad-cam")
_targets: Any = require("pytorch_grad_cam.utils.model_targets", "grad-cam")

HALF = (torch.float16, torch.bfloat16)
NOT_IN_NUMPY = (torch.bfloat16,)


class Recorder(_host.ActivationsAndGradients):  # type: ignore[misc]
    """The host's recorder of one CAM, which can pause, and which gives gradients of layers that need none.

    With `protect` it keeps activations as their layer returned them, whatever overwrites them later. `times` says how
    often each layer was called in the last pass.
    """

    activations: list[Any]
    gradients: list[Any]

    def __init__(self, cam: Any, protect: bool) -> None:
        self._protect, self._uses_gradients, self._is_paused = protect, cam.uses_gradients, False
        self.gives_classes = False
        self.times: Counter[nn.Module] = Counter()
        super().__init__(cam.model, cam.target_layers, cam.reshape_transform, cam.detach)

    def __call__(self, x: Tensor) -> Any:
        """The model's outputs; whether they are (N, classes) is noted."""
        self.times.clear()
        outputs = super().__call__(x)
        self.gives_classes = isinstance(outputs, Tensor) and outputs.dim() == 2
        return outputs

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Run passes of the model inside the block without keeping anything of them."""
        before, self._is_paused = self._is_paused, True
        try:
            yield
        finally:
            self._is_paused = before

    def save_activation(self, module: nn.Module, given: Any, output: Any) -> Any:
        """Keep a layer's output, and return what the model goes on with."""
        if self._is_paused:
            return None
        self.times[module] += 1
        if not isinstance(output, Tensor):
            return super().save_activation(module, given, output)
        super().save_activation(module, given, output.detach().clone() if self._protect and self.detach else output)
        if self._uses_gradients and torch.is_grad_enabled() and not output.requires_grad:
            return output.detach().requires_grad_().clone()  # a leaf could not be overwritten by the next layer
        return output.clone() if self._protect and not self.detach else None

    def save_gradient(self, module: nn.Module, given: Any, output: Any) -> None:
        """Keep the gradient of a layer's output, once it is computed."""
        if not self._is_paused:
            super().save_gradient(module, given, output)

    def widen(self, narrow: tuple[torch.dtype, ...]) -> None:
        """Turn what was kept in these dtypes into float32, where the host makes arrays of it."""
        if self.detach:
            self.activations = [wide(one, narrow) for one in self.activations]
            self.gradients = [wide(one, narrow) for one in self.gradients]


@contextmanager
def guarded(model: nn.Module, targets: Any) -> Iterator[None]:
    """Inside the block the model gets copies of its inputs, and gives float32 for bfloat16.

    Where it returns no tensor, it gives a list with the output of each image, of which the host's loops over targets
    and outputs make what they make of a tensor's rows.
    """

    def given_back(_: nn.Module, given: tuple[Any, ...], outputs: Any) -> Any:
        if isinstance(outputs, Tensor):
            return wide(outputs)
        if targets is None:
            raise ModelOutputError(
                f"Expected model to return a tensor of class scores where no targets are given, but got "
                f"{describe_output(outputs)}. Give targets that take one image's output (captum_ext.models.targets)."
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
def inputs_as(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Inside the block the model gets its inputs in this dtype."""
    handle = model.register_forward_pre_hook(lambda _, given: tuple(one.to(dtype) for one in given), prepend=True)
    try:
        yield
    finally:
        handle.remove()


class Redistributing:
    """What a CAM class of the host gets from this module: mixed in before the host's class.

    Args:
        model: as the host's.
        target_layers: as the host's.
        reshape_transform: as the host's.
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

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module],
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        *,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self._configure(upsampler, normalize, as_tensor)
        super().__init__(model, target_layers, reshape_transform)  # type: ignore[call-arg]
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
        self.activations_and_grads = Recorder(self, protect=self.upsampler is not None)

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
        if self.upsampler is not None:
            input_tensor = input_tensor.detach()
            check_targets(targets, len(input_tensor))
        with guarded(self.model, targets):
            return super().forward(input_tensor, targets, eigen_smooth)  # type: ignore[misc]

    def forward_augmentation_smoothing(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool = False) -> Any:
        """Mean over augmentations; with an upsampler of the coarse maps, redistributed once."""
        if self.upsampler is None:
            return super().forward_augmentation_smoothing(input_tensor, targets, eigen_smooth)  # type: ignore[misc]
        input_tensor = input_tensor.detach().to(self.device)
        check_targets(targets, len(input_tensor))
        with guarded(self.model, targets):
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
        if self.upsampler is None:
            self.activations_and_grads.widen(self._narrow)
            return super().compute_cam_per_layer(input_tensor, targets, eigen_smooth)  # type: ignore[misc]
        if input_tensor.dim() not in (4, 5):
            expected = "images (N, C, H, W) and volumes (N, C, D, H, W)"
            raise NotImplementedError(f"Maps of the host are for {expected}, not {tuple(input_tensor.shape)}.")
        self._warn_of_repeated_layers()
        with self.activations_and_grads.paused():
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
        with self.activations_and_grads.paused():
            fine = upsample_maps(upsampler, on_device, images, *self._scored(targets, images.device))
        return torch.cat(fine, 1)

    def _scored(self, targets: Any, device: torch.device) -> tuple[Any, Any, Any]:
        """The host's targets in Captum's terms: forward function, target and forward arguments."""
        classes = _classes(targets)
        if classes is not None and self.activations_and_grads.gives_classes:
            return self.model, torch.tensor(classes, device=device), None
        probability = getattr(self.upsampler, "probability", False)
        return _TargetScores(self.model, targets, probability), 0, torch.arange(len(targets), device=device)

    def _largest(self, input_tensor: Tensor) -> Any:
        """Targets by the host's rule where it is given none: each image's largest output."""
        with self.activations_and_grads.paused(), torch.no_grad():
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


def check_targets(targets: Any, n_images: int) -> None:
    if targets is None:
        return
    if not hasattr(targets, "__len__"):
        raise ArgumentTypeError("targets", f"a list of {n_images} targets, one for each image", describe(targets))
    if len(targets) != n_images:
        raise ArgumentError("targets", f"one for each of the {n_images} images", f"{len(targets)}")


def _classes(targets: Any) -> list[int] | None:
    """The class of every target, or None where a target is more than a class."""
    if any(type(target) is not _targets.ClassifierOutputTarget for target in targets):
        return None
    try:
        classes = [operator.index(target.category) for target in targets]
    except TypeError:
        return None
    return classes if min(classes) >= 0 else None


def _copy_inputs(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return tuple(map(_copied, args)), {name: _copied(value) for name, value in kwargs.items()}


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def wide(value: Any, narrow: tuple[torch.dtype, ...] = NOT_IN_NUMPY) -> Any:
    """A tensor of a narrow dtype in float32, everything else as it is."""
    return value.float() if isinstance(value, Tensor) and value.dtype in narrow else value


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
