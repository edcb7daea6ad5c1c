"""CAMs as methods: any class of pytorch-grad-cam, its map upsampled in proportion to its mass."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.cli.models import LoadedModel
from captum_ext_integrations.cli.upsamplers import DEFAULT_UPSAMPLER, upsampler

# They compare classes by themselves, explain no layer, or give maps without their mass.
_NOT_OFFERED = ("FinerCAM", "FullGrad", "RefineCAM", "SESS")


class Cam:
    """A function of inputs and target that returns maps (N, H, W).

    Args:
        loaded: the model.
        layer: by name; None: see `last_layer_with_positions`.
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
        self.layer = layer or last_layer_with_positions(loaded)
        modules = dict(loaded.model.named_modules())
        if self.layer not in modules:
            raise ArgumentError("layer", "one of " + ", ".join(name for name in modules if name), repr(self.layer))
        if self.layer == layer:
            _check_layer(loaded, self.layer)
        self._class = getattr(grad_cam, cam)
        self._target_layer = modules[self.layer]
        self._upsampler = upsampler(upsampler_name, loaded.preparation)

    def __call__(self, inputs: Tensor, target: Tensor | None) -> Tensor:
        """Maps (N, H, W) that keep the mass of the coarse ones; None: of the predicted classes."""
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        targets = None if target is None else [ClassifierOutputTarget(int(index)) for index in target]
        with self._class(
            model=self.forward_func,
            target_layers=[self._target_layer],
            upsampler=self._upsampler,
            normalize=False,
            as_tensor=True,
        ) as cam:
            maps: Tensor = cam(input_tensor=inputs, targets=targets)
        return maps


def _check_layer(loaded: LoadedModel, name: str) -> None:
    """Refuse a layer that is not called once, or whose output has no positions."""
    calls = _calls(loaded)
    shapes = [shape for called, shape in calls if called == name]
    if len(shapes) > 1:
        other = _last(calls)
        expected = "one that is called once" + (f", such as {other!r}" if other else "")
        raise ArgumentError(
            "layer", expected, f"{name!r}, which is called {len(shapes)} times: it is not clear which call is meant"
        )
    if not shapes or len(shapes[0]) != 4:
        received = "is not called by the model" if not shapes else f"gives {shapes[0] or 'no tensor'}"
        raise ArgumentError("layer", "one whose output is (N, C, h, w)", f"{name!r}, which {received}")


def last_layer_with_positions(loaded: LoadedModel) -> str:
    """Name of the last module, in the order of computation, whose output is (N, C, h, w) with several positions.

    Modules that are called more than once are left out, as one activation or one pooling of many layers: a CAM would
    explain the first of their calls. What holds them, as a block that is called once, is not left out.

    Raises:
        ArgumentError: none, or tokens of a transformer come after it.
    """
    calls = _calls(loaded)
    name = _last(calls)
    if name is None:
        expected = (
            "one that is called once and whose output is (N, C, h, w); the tokens of transformers need a script, and "
            "modules that are called more than once are not taken by themselves"
        )
        raise ArgumentError("layer", expected, "none at the end")
    return name


def _last(calls: list[tuple[str, tuple[int, ...]]]) -> str | None:
    """Of the modules that are called once the last with positions, unless positions in another order come after it."""
    times = Counter(name for name, _ in calls)
    last = None
    for name, shape in calls:
        if len(shape) == 4 and shape[-1] == shape[-2] > 1:
            last = name if times[name] == 1 else last
        elif len(shape) > 2 and math.prod(shape[2:]) > 1:
            last = None  # those of a transformer
    return last


def _calls(loaded: LoadedModel) -> list[tuple[str, tuple[int, ...]]]:
    """Names of modules and shapes of their outputs, in the order in which a pass of a blank image returns from them."""
    calls: list[tuple[str, tuple[int, ...]]] = []

    def watch(name: str, module: nn.Module) -> Any:
        def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
            calls.append((name, output.shape if isinstance(output, Tensor) else ()))

        return module.register_forward_hook(note)

    side, channels = loaded.preparation.crop, loaded.preparation.channels
    handles = []
    try:
        handles = [watch(name, module) for name, module in loaded.model.named_modules() if name]
        with torch.no_grad():
            loaded.model(torch.zeros(1, channels, side, side, device=loaded.device))
    finally:
        for handle in handles:
            handle.remove()
    return calls
