"""Gaussian blur of image batches: the reference image without details."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

# Standard deviation and radius used on 224 x 224 images in the insertion game of RISE (arXiv:1806.07421), scaled by
# size.
_SIGMA_OF_SIDE = 12 / 224
_RADIUS_OF_SIGMA = 25 / 12


def gaussian_blur(images: Tensor) -> Tensor:
    """Blur (N, C, H, W) with a standard deviation of 12/224 of the shorter side, reflecting at the borders."""
    sigma = _SIGMA_OF_SIDE * min(images.shape[-2:])
    blurred = images.to(torch.float64 if images.dtype == torch.float64 else torch.float32)
    for dim in (-2, -1):
        blurred = _blur_along(blurred, dim, sigma)
    return blurred.to(images.dtype)


def _blur_along(images: Tensor, dim: int, sigma: float) -> Tensor:
    radius = min(max(1, round(_RADIUS_OF_SIGMA * sigma)), images.shape[dim] - 1)
    if radius == 0:
        return images
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    vertical = dim == -2
    padding = (0, 0, radius, radius) if vertical else (radius, radius, 0, 0)
    padded = functional.pad(images, padding, mode="reflect")
    size = (len(kernel), 1) if vertical else (1, len(kernel))
    weight = kernel.reshape(1, 1, *size).repeat(images.shape[1], 1, 1, 1)
    return functional.conv2d(padded, weight, groups=images.shape[1])
