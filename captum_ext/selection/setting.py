"""What methods that are compared are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.types import ForwardFunc
from captum_ext.images import gaussian_blur
from captum_ext.models import AdaptedModel
from captum_ext.references import standard_baselines


@dataclass(frozen=True)
class Setting:
    """The model, its images, and what a map may cost.

    Attributes:
        forward_func: the model.
        gradients: budget for each image.
        others: some of the images that are explained, (M, C, H, W), for the control that explains another one.
        their_targets: the class of each, or what is explained of it.
        references: images that are not explained, (K, C, H, W); None: there are none.
        mean: of the model's normalisation; None where it is not known.
        std: see `mean`.
        seed: of random maps, masks and weights.
        adapted: the model with its layers; None where it has none that is known.
        why_not_adapted: the reason for that.
    """

    forward_func: ForwardFunc
    gradients: int
    others: Tensor
    their_targets: Sequence[Any]
    references: Tensor | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    seed: int = 0
    adapted: AdaptedModel | None = None
    why_not_adapted: str = ""

    @property
    def standard_baselines(self) -> Any:
        """A function from images to their standard baselines, in the model's input space."""
        if self.mean is None or self.std is None:
            return standard_baselines
        return partial(standard_baselines, value_range=(0.0, 1.0), mean=self.mean, std=self.std)


def baseline(name: str, images: Tensor) -> Tensor:
    """Baselines of the images' shape: zero, mean (each image's own colour) or blur."""
    if name == "zero":
        return torch.zeros_like(images)
    if name == "blur":
        return gaussian_blur(images)
    return images.mean((2, 3), keepdim=True).expand_as(images).contiguous()
