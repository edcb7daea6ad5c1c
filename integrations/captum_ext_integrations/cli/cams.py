"""CAMs as methods: any class of pytorch-grad-cam, its map upsampled in proportion to its mass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.exceptions import AdaptError, ArgumentError
from captum_ext_integrations.cli.models import LoadedModel
from captum_ext_integrations.cli.upsamplers import DEFAULT_UPSAMPLER, upsampler

# They compare classes by themselves, explain no layer, or give maps without their mass.
_NOT_OFFERED = ("FinerCAM", "FullGrad", "RefineCAM", "SESS")


class Cam:
    """A function of inputs and target that returns maps (N, H, W).

    Args:
        loaded: the model.
        layer: by name; None: the one that `captum_ext.models.adapt` finds.
        upsampler_name: of the coarse map.
        cam: class of `captum_ext_integrations.grad_cam`.

    Attributes:
        layer: name of the layer that is explained, also where none was given.

    Raises:
        ArgumentError: no such layer or class, one that is called more than once, or none with positions.
        MissingExtraError: pytorch-grad-cam is not installed.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        layer: str | None = None,
        upsampler_name: str = DEFAULT_UPSAMPLER,
        cam: str = "GradCAM",
    ) -> None:
        from captum_ext_integrations import grad_cam

        offered = [name for name in grad_cam.CAM_CLASSES if name not in _NOT_OFFERED]
        if cam not in offered:
            raise ArgumentError("cam", "one of " + ", ".join(offered), repr(cam))
        self.forward_func = loaded.model
        self.layer = layer or default_layer(loaded)
        modules = loaded.layers
        if self.layer not in modules:
            raise ArgumentError("layer", "one of " + ", ".join(modules), repr(self.layer))
        self._reshape = _reshape_of(loaded, self.layer)
        self._class = getattr(grad_cam, cam)
        self._target_layer = modules[self.layer]
        self._upsampler = upsampler(upsampler_name, loaded.preparation)

    def __call__(self, inputs: Tensor, target: Any) -> Tensor:
        """Maps (N, H, W) that keep the mass of the coarse ones.

        Args:
            inputs: (N, C, H, W).
            target: a class for each image, a function of one image's output, or None: the predicted classes.
        """
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        if callable(target):
            targets: list[Any] | None = [target] * len(inputs)
        else:
            targets = None if target is None else [ClassifierOutputTarget(int(index)) for index in target]
        with self._class(
            model=self.forward_func,
            target_layers=[self._target_layer],
            reshape_transform=self._reshape,
            upsampler=self._upsampler,
            normalize=False,
            as_tensor=True,
        ) as cam:
            maps: Tensor = cam(input_tensor=inputs, targets=targets)
        return maps


def default_layer(loaded: LoadedModel) -> str:
    """Name of the last layer whose features have positions in the image, as it was found when the model was adapted.

    Raises:
        ArgumentError: there is none.
    """
    name = None if loaded.adapted is None else loaded.adapted.layer_name
    if name is None or loaded.adapted is None:
        why = "" if loaded.adapted is None else f": {loaded.adapted.knowledge.why_no_layer}"
        raise ArgumentError("layer", "one that is called once and whose output has positions", f"none{why}")
    return name


def _reshape_of(loaded: LoadedModel, name: str) -> Callable[[Tensor], Tensor] | None:
    """What makes maps (N, C, h, w) of a layer's features; None where they are maps.

    Raises:
        ArgumentError: a layer that is not called once, or whose features have no positions.
    """
    shapes = [shape for called, shape in _calls(loaded) if called == name]
    if len(shapes) > 1:
        other = None if loaded.adapted is None else loaded.adapted.layer_name
        expected = "one that is called once" + (f", such as {other!r}" if other else "")
        raise ArgumentError(
            "layer", expected, f"{name!r}, which is called {len(shapes)} times: it is not clear which call is meant"
        )
    expected = "one whose output is (N, C, h, w), or the tokens of patches"
    if not shapes or not shapes[0]:
        received = "is not called by the model" if not shapes else "gives no tensor"
        raise ArgumentError("layer", expected, f"{name!r}, which {received}")
    if loaded.adapted is None:
        return None
    try:
        maps = loaded.adapted.to_grid(torch.zeros(shapes[0]))
    except (AdaptError, ArgumentError) as error:
        raise ArgumentError("layer", expected, f"{name!r}, which gives {tuple(shapes[0])}") from error
    if maps.shape != shapes[0]:
        return loaded.adapted.to_grid
    # A detector may squash the picture, whose proportions its features then do not have: `to_grid` would refuse them.
    return None if loaded.model is loaded.adapted.model else _as_they_are


def _as_they_are(features: Tensor) -> Tensor:
    return features


def _calls(loaded: LoadedModel) -> list[tuple[str, tuple[int, ...]]]:
    """Names of modules and shapes of their outputs, in the order in which a pass of a blank image returns from them."""
    calls: list[tuple[str, tuple[int, ...]]] = []

    def watch(name: str, module: nn.Module) -> Any:
        def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
            calls.append((name, output.shape if isinstance(output, Tensor) else ()))

        return module.register_forward_hook(note)

    side, channels = loaded.preparation.crop, loaded.preparation.channels
    size = (side, side) if loaded.adapted is None else loaded.adapted.size
    handles = []
    try:
        handles = [watch(name, module) for name, module in loaded.layers.items()]
        with torch.no_grad():
            loaded.model(torch.zeros(1, channels, *size, device=loaded.device))
    finally:
        for handle in handles:
            handle.remove()
    return calls
