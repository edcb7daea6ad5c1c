"""Images: without their details, and as they are seen."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_ext.core.blur import gaussian_blur
from captum_ext.core.tensors import double
from captum_ext.exceptions import ArgumentError

__all__ = ["display_range", "gaussian_blur"]

_RANGE_TOLERANCE = 0.02  # of display values: rounding of the normalisation, not another normalisation


def display_range(images: Tensor, mean: Any = None, std: Any = None) -> Tensor:
    """Images as seen, in [0, 1]: the normalisation undone, or each image scaled from its minimum and maximum.

    Raises:
        ArgumentError: only one of mean and std, or images that `mean` and `std` do not bring into [0, 1].
    """
    if (mean is None) != (std is None):
        raise ArgumentError("mean", "given together with std", "only one of them")
    wide = double(images.detach())
    if mean is None:
        low, high = (ends(wide.flatten(1), 1).values[:, None, None, None] for ends in (torch.min, torch.max))
        return (wide - low) / torch.where(high > low, high - low, 1.0)
    center, scale = (torch.as_tensor(value, dtype=wide.dtype, device=wide.device) for value in (mean, std))
    shape = (1, -1, 1, 1)
    seen = wide * scale.reshape(shape) + center.reshape(shape)
    darkest, brightest = float(seen.min()), float(seen.max())
    if darkest < -_RANGE_TOLERANCE or brightest > 1 + _RANGE_TOLERANCE:
        received = f"values from {darkest:.3g} to {brightest:.3g}"
        raise ArgumentError("inputs", "in [0, 1] after mean and std are undone", received)
    return seen.clamp(0, 1)
