"""GradCAM of the layer that an adapted model knows, upsampled by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.model import scores_of
from captum_ext.core.target_functions import is_function, scored
from captum_ext.core.types import ForwardFunc
from captum_ext.exceptions import AdaptError
from captum_ext.models import AdaptedModel
from captum_ext.selection.setting import Setting
from captum_ext.upsampling import make_upsampler


class GradCam:
    r"""GradCAM (Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization",
    ICCV 2017), https://arxiv.org/abs/1610.02391, for convolutions and transformers.

    Args:
        forward_func: the model.
        adapted: the same with its layers.
        upsampler: see `captum_ext.upsampling.make_upsampler`.
        mean: of the model's normalisation.
        std: see `mean`.
    """

    def __init__(
        self, forward_func: ForwardFunc, adapted: AdaptedModel, upsampler: str, mean: Any = None, std: Any = None
    ) -> None:
        self.forward_func, self.adapted, self.upsampler = forward_func, adapted, upsampler
        self._upsample = make_upsampler(upsampler, mean=mean, std=std)

    @classmethod
    def of_setting(cls, setting: Setting, upsampler: str) -> GradCam:
        """For a comparison.

        Raises:
            AdaptError: there is no layer that is known.
        """
        if setting.adapted is None:
            raise AdaptError(setting.why_not_adapted)
        setting.adapted.layer  # noqa: B018 (its error says that there is none)
        return cls(setting.forward_func, setting.adapted, upsampler, setting.mean, setting.std)

    def settings(self) -> dict[str, Any]:
        """What the maps depend on beside the model."""
        return {"layer": self.adapted.layer_name, "upsampler": self._upsample}

    def attribute(self, inputs: Tensor, target: Any = None) -> Tensor:
        """Maps (N, 1, H, W)."""
        return self._upsample(self._coarse(inputs, target), inputs, self.forward_func, target)

    def _coarse(self, inputs: Tensor, target: Any) -> Tensor:
        kept: list[Tensor] = []

        def keep(_module: nn.Module, _arguments: Any, output: Tensor) -> Tensor:
            kept.append(output)
            return output.clone()  # what follows may change it in place

        handle = self.adapted.layer.register_forward_hook(keep)
        try:
            with torch.enable_grad():
                leaf = inputs.detach().clone().requires_grad_()
                if is_function(target):
                    functions = target if isinstance(target, list) else [target] * len(inputs)
                    scores = scored(self.forward_func, functions, range(len(inputs)), leaf)
                else:
                    scores = scores_of(self.forward_func(leaf), target)
                (gradients,) = torch.autograd.grad(scores.sum(), kept[-1])
        finally:
            handle.remove()
        size = tuple(inputs.shape[2:])
        features, gradients = (self.adapted.to_grid(one.detach(), size) for one in (kept[-1], gradients))
        weights = gradients.mean(tuple(range(2, gradients.dim())), keepdim=True)
        return (weights * features).sum(1).relu()
