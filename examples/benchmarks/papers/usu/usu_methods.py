"""GradCAM redistributed over segments, as a method among those that explain pixels."""

from __future__ import annotations

from typing import Any

import torch

from captum_ext import USU
from captum_ext_integrations.grad_cam import GradCAM
from examples.benchmarks.engine.explanations import Asked, Explained, Methods, Setting


def usu_cams(setting: Setting) -> Methods:
    """By name."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    network = setting.network
    usu = USU(mean=network.preparation.mean, std=network.preparation.std)
    options: dict[str, Any] = {"upsampler": usu, "normalize": False, "as_tensor": True}
    if network.to_grid is not None:
        options["reshape_transform"] = network.to_grid

    def explain(asked: Asked) -> Explained:
        targets = [ClassifierOutputTarget(target) for target in asked.target]
        maps = GradCAM(network.model, [network.layer], **options)(asked.images, targets)
        return Explained(torch.as_tensor(maps)[:, None].detach())

    return {"GradCAM (USU)": explain}
