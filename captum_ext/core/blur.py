"""Gaussian blur of image batches: the reference image without details."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_ext.core.autocast import own_precision
from captum_ext.core.checks import check_number, check_numbers, describe
from captum_ext.exceptions import ArgumentError

# Standard deviation and radius used on 224 x 224 images in the insertion game of RISE (arXiv:1806.07421), scaled by
# size.
_SIGMA_OF_SIDE = 12 / 224
_RADIUS_OF_SIGMA = 25 / 12


@own_precision
def gaussian_blur(images: Tensor, sigma: float | None = None) -> Tensor:
    """Blur (N, C, H, W) with standard deviation `sigma` in pixels, reflecting at the borders.

    None: 12/224 of the shorter side.

    Raises:
        ArgumentTypeError: images that are no tensor of numbers, a `sigma` that is none.
        ArgumentError: images of another shape, a `sigma` that is not positive.
    """
    check_numbers("images", images)
    if images.dim() != 4 or images.numel() == 0:
        raise ArgumentError("images", "a batch of images (N, C, H, W)", describe(images))
    if sigma is not None:
        check_number("sigma", sigma, "a finite positive number", lambda value: 0 < value < math.inf)
    sigma = _SIGMA_OF_SIDE * min(images.shape[-2:]) if sigma is None else sigma
    wide = images.to(torch.float64 if images.dtype == torch.float64 else torch.float32)
    along_height, along_width = (_blur_matrix(size, sigma, wide) for size in images.shape[-2:])
    return (along_height @ wide @ along_width.T).to(images.dtype)


def _blur_matrix(size: int, sigma: float, like: Tensor) -> Tensor:
    """Weights (size, size) of every pixel in every blurred pixel along one dimension.

    As a matrix, since convolutions with so long a kernel and one channel a group are slow on a CPU.
    """
    radius = min(max(1, round(_RADIUS_OF_SIGMA * sigma)), size - 1)
    offsets = torch.arange(-radius, radius + 1, device="cpu")
    kernel = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2))
    place = torch.arange(size, device="cpu")
    neighbours = (place[:, None] + offsets).abs()  # reflected at the start, then at the end
    neighbours = torch.minimum(neighbours, 2 * (size - 1) - neighbours)
    weights = torch.zeros(size, size, dtype=torch.float64, device="cpu")
    weights.scatter_add_(1, neighbours, (kernel / kernel.sum()).expand(size, -1))
    return weights.to(like.dtype).to(like.device)  # in this order: some devices have no float64
