"""The host's recorder of activations and gradients, of a CAM's own passes, safe from what the model does to them."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.checks import describe
from captum_ext.core.fast_path import every_module_runs
from captum_ext.core.inspection import observing
from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations._cam_layers import OwnGrid

_host: Any = require("pytorch_grad_cam", "grad-cam")

HALF = (torch.float16, torch.bfloat16)
NOT_IN_NUMPY = (torch.bfloat16,)


class Recorder(_host.ActivationsAndGradients):  # type: ignore[misc]
    """The host's recorder of one CAM, of the passes that it makes itself: others leave nothing in it.

    Activations are kept as their layer returned them, whatever overwrites them later; each gradient stands at the place
    of its activation, in whatever order they are computed; layers that need no gradients have them all the same.

    Attributes:
        gives_classes: whether the outputs of the last pass are (N, classes).
        times: how often each layer was called in it.
        shapes: of what each layer returned in it.
    """

    activations: list[Any]
    gradients: list[Any]

    def __init__(self, cam: Any) -> None:
        self._uses_gradients, self._is_recording = cam.uses_gradients, False
        self.gives_classes = False
        self.times: Counter[nn.Module] = Counter()
        self.shapes: dict[nn.Module, tuple[int, ...]] = {}
        self._with_gradients: list[nn.Module] = []
        self._layers, self._skips = list(cam.target_layers), cam._skips_layers
        super().__init__(cam.model, cam.target_layers, cam.reshape_transform, cam.detach)

    def __call__(self, x: Tensor) -> Any:
        """The model's outputs; whether they are (N, classes) is noted.

        Raises:
            ArgumentError: a target layer was not called.
        """
        self.clear()  # gradients that keep their graph are in the hooks of that graph: dropped, or they stay for ever
        self.times.clear()
        self.shapes.clear()
        self._with_gradients = []
        if isinstance(self.reshape_transform, OwnGrid):
            self.reshape_transform.size = tuple(x.shape[2:])
        self._is_recording = True
        try:
            with every_module_runs():
                outputs = super().__call__(x)
        finally:
            self._is_recording = False
        for layer in self._layers:
            if not (self.times[layer] or self._skips):
                expected = "layers that the model calls"
                raise ArgumentError("target_layers", expected, f"{self.label(layer)}, which it does not call")
        self.gives_classes = isinstance(outputs, Tensor) and outputs.dim() == 2
        return outputs

    def clear(self) -> None:
        """Drop what was kept; the host detaches it in place, which views do not allow."""
        self.activations.clear()
        self.gradients.clear()

    def label(self, layer: nn.Module) -> str:
        """A layer by its class and its name in the model."""
        names = [name for name, module in self.model.named_modules() if module is layer and name]
        return f"{type(layer).__name__} {names[0]!r}" if names else type(layer).__name__

    @observing
    def save_activation(self, module: nn.Module, given: Any, output: Any) -> Any:
        """Keep a layer's output, and return what the model goes on with."""
        if not self._is_recording:
            return None
        self.times[module] += 1
        if not isinstance(output, Tensor):
            if self.reshape_transform is None:
                received = f"{self.label(module)}, which returns {describe(output)}"
                expected = (
                    "layers that return a tensor, or given with a reshape_transform that makes maps of what they do"
                )
                raise ArgumentError("target_layers", expected, received)
            return super().save_activation(module, given, output)
        self.shapes[module] = tuple(output.shape)
        super().save_activation(module, given, output.detach().clone() if self.detach else output)
        if self._uses_gradients and torch.is_grad_enabled() and not output.requires_grad:
            return output.detach().requires_grad_().clone()  # a leaf could not be overwritten by the next layer
        return None if self.detach else output.clone()

    @observing
    def save_gradient(self, module: nn.Module, given: Any, output: Any) -> None:  # noqa: ARG002
        """Keep the gradient of a layer's output at the place of its activation, once it is computed."""
        has_gradient = isinstance(output, Tensor) and output.requires_grad
        if not (self._is_recording and self._uses_gradients and has_gradient):
            return
        gradients, place = self.gradients, len(self.gradients)
        gradients.append(None)
        self._with_gradients.append(module)

        def keep(gradient: Tensor) -> None:
            if place >= len(gradients) or gradients[place] is not None:  # of an earlier pass, or a second derivative
                return
            if self.detach:
                turned = gradient if self.reshape_transform is None else self.reshape_transform(gradient)
                gradient = turned.cpu().detach()
            gradients[place] = gradient

        output.register_hook(keep)

    def check_gradients(self) -> None:
        """Refuse layers that the score does not depend on, and warn of images whose score does not change with any.

        Raises:
            ArgumentError: names the layer.
        """
        if not self._uses_gradients or not self._layers:
            return
        if not self._skips:
            self._check_reached()
        sizes = [
            gradient.detach().flatten(1).abs().amax(1).cpu() for gradient in self.gradients if gradient is not None
        ]
        flat = [row for row, size in enumerate(torch.stack(sizes).amax(0).tolist()) if size == 0]
        if flat:
            warnings.warn(
                f"The scores of the images {flat} have no gradient at the target layers, so that their maps are zero "
                "everywhere: nothing is found there, or the score does not change with these layers.",
                stacklevel=2,
            )

    def _check_reached(self) -> None:
        for layer in self._layers:
            if layer not in self._with_gradients:
                received = f"{self.label(layer)}, which gives no gradients"
                raise ArgumentError("target_layers", "layers that return a tensor with gradients", received)
        for layer, gradient in zip(self._with_gradients, self.gradients, strict=True):
            if gradient is None:
                received = f"{self.label(layer)}, which no gradient of the targets' scores reaches"
                raise ArgumentError("target_layers", "layers that the scores depend on", received)

    def gradients_by_layer(self, n_images: int) -> list[Tensor]:
        """A gradient for each target layer in the order in which they are given: zero where the score has none."""
        found = dict(zip(self._with_gradients, self.gradients, strict=True))
        gradients = []
        for layer in self._layers:
            gradient = found.get(layer)
            if gradient is None:
                gradient = torch.zeros(self.shapes.get(layer, (n_images, len(layer.bias), 1, 1)), device="cpu")
            gradients.append(gradient)
        return gradients

    def widen(self, narrow: tuple[torch.dtype, ...]) -> None:
        """Turn what was kept in these dtypes into float32, where the host makes arrays of it."""
        if self.detach:
            self.activations = [wide(one, narrow) for one in self.activations]
            self.gradients = [wide(one, narrow) for one in self.gradients]


def wide(value: Any, narrow: tuple[torch.dtype, ...] = NOT_IN_NUMPY) -> Any:
    """A tensor of a narrow dtype in float32, everything else as it is."""
    return value.float() if isinstance(value, Tensor) and value.dtype in narrow else value
