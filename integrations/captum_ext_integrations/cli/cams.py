"""CAMs as methods: any class of pytorch-grad-cam, its map upsampled in proportion to its mass."""

from __future__ import annotations

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
        layer: by name; None: the last layer whose output has positions, which a forward pass tells.
        upsampler_name: of the coarse map.
        cam: class of `captum_ext_integrations.grad_cam`.

    Raises:
        ArgumentError: no such layer or class, or none with positions.
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

        offered = [name for name in grad_cam.__all__ if name not in _NOT_OFFERED]
        if cam not in offered:
            raise ArgumentError("cam", "one of " + ", ".join(offered), repr(cam))
        self.forward_func = loaded.model
        self.layer = layer or last_layer_with_positions(loaded)
        modules = dict(loaded.model.named_modules())
        if self.layer not in modules:
            raise ArgumentError("layer", "one of " + ", ".join(name for name in modules if name), repr(self.layer))
        if self.layer == layer:
            _check_layer(loaded, self.layer, modules[self.layer])
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


def _check_layer(loaded: LoadedModel, name: str, module: nn.Module) -> None:
    """Refuse a layer that the model does not call, or whose output has no positions."""
    shapes: list[Any] = []
    side = loaded.preparation.crop
    handle = module.register_forward_hook(lambda *given: shapes.append(getattr(given[-1], "shape", None)))
    try:
        with torch.no_grad():
            loaded.model(torch.zeros(1, 3, side, side, device=loaded.device))
    finally:
        handle.remove()
    if not shapes or shapes[-1] is None or len(shapes[-1]) != 4:
        received = "is not called by the model" if not shapes else f"gives {shapes[-1]}"
        raise ArgumentError("layer", "one whose output is (N, C, h, w)", f"{name!r}, which {received}")


def last_layer_with_positions(loaded: LoadedModel) -> str:
    """Name of the last module, in the order of computation, whose output is (N, C, h, w) with several positions."""
    called: list[str] = []
    handles = []

    def watch(name: str, module: nn.Module) -> Any:
        def note(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or output.dim() < 3:
                return
            if output.dim() == 4 and output.shape[-1] == output.shape[-2] > 1:
                called.append(name)
            elif output.shape[1] * output[0, 0].numel() > output.shape[1]:
                called.append("")  # positions in another order: those of a transformer

        return module.register_forward_hook(note)

    side = loaded.preparation.crop
    try:
        handles = [watch(name, module) for name, module in loaded.model.named_modules() if name]
        with torch.no_grad():
            loaded.model(torch.zeros(1, 3, side, side, device=loaded.device))
    finally:
        for handle in handles:
            handle.remove()
    if not called or not called[-1]:
        raise ArgumentError(
            "layer", "one whose output is (N, C, h, w); the tokens of transformers need a script", "none at the end"
        )
    return called[-1]
