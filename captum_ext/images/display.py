"""Images as they are seen: a model's normalisation, and the way back from it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.checks import check_finite, check_numbers, describe
from captum_ext.core.devices import double
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

_RANGE_TOLERANCE = 0.02  # of display values: rounding of the normalisation, not another normalisation


def display_range(images: Tensor, mean: Any = None, std: Any = None) -> Tensor:
    """Images or volumes as seen, in [0, 1]: the normalisation undone, or each scaled from its minimum and maximum.

    Args:
        images: (N, C, H, W), as a model takes them.
        mean: of the normalisation, one number or one for each channel; None: unknown.
        std: see `mean`.

    Raises:
        ArgumentTypeError: images that are no numbers.
        NonFiniteError: NaN or infinity in them.
        ArgumentError: another shape, only one of mean and std, numbers for another number of channels, or images
            that `mean` and `std` do not bring into [0, 1].

    Example:
        >>> import torch
        >>> from captum_ext.images import display_range
        >>> display_range(torch.tensor([[[[-1.0, 1.0]]]]), mean=0.5, std=0.5)
        tensor([[[[0., 1.]]]], dtype=torch.float64)
    """
    if (mean is None) != (std is None):
        raise ArgumentError("mean", "given together with std", "only one of them")
    check_numbers("images", images)
    if images.dim() not in (4, 5) or images.numel() == 0:
        raise ArgumentError("images", "a batch of images (N, C, H, W) or volumes (N, C, D, H, W)", describe(images))
    check_finite("images", images)
    wide = double(images.detach())
    single = (-1, *(1,) * (images.dim() - 1))
    if mean is None:
        low, high = (ends(wide.flatten(1), 1).values.reshape(single) for ends in (torch.min, torch.max))
        return (wide - low) / torch.where(high > low, high - low, 1.0)
    center, scale = (torch.as_tensor(value, dtype=wide.dtype, device=wide.device) for value in (mean, std))
    for name, numbers in (("mean", center), ("std", scale)):
        if numbers.numel() not in (1, images.shape[1]):  # else they would be broadcast
            expected = f"one number, or one for each of the inputs' {images.shape[1]} channels"
            raise ArgumentError(name, expected, f"{numbers.numel()} numbers")
    shape = (1, -1, *(1,) * (images.dim() - 2))
    seen = wide * scale.reshape(shape) + center.reshape(shape)
    darkest, brightest = float(seen.min()), float(seen.max())
    if darkest < -_RANGE_TOLERANCE or brightest > 1 + _RANGE_TOLERANCE:
        received = f"values from {darkest:.3g} to {brightest:.3g}"
        raise ArgumentError("inputs", "in [0, 1] after mean and std are undone", received)
    return seen.clamp(0, 1)


def check_normalisation(mean: Any, std: Any) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return a model's input normalisation as numbers for all channels, or for each.

    Raises:
        ArgumentTypeError: not numbers.
        ArgumentError: only one of both, different lengths, or standard deviations that are not positive.
    """
    if (mean is None) != (std is None):
        missing, given = ("mean", "std") if mean is None else ("std", "mean")
        raise ArgumentError(given, f"given together with {missing}", "only one of them")
    if mean is None:
        return None, None
    centers, scales = _numbers("mean", mean), _numbers("std", std)
    if any(scale <= 0 for scale in scales):
        raise ArgumentError("std", "positive numbers", describe(std))
    if len(centers) != len(scales) and 1 not in (len(centers), len(scales)):
        raise ArgumentError("std", f"of {len(centers)} numbers like mean, or one", f"{len(scales)} numbers")
    return centers, scales


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    """One finite number for each channel, or one for all."""
    expected = "a number, or a finite number for each channel"
    try:
        tensor = torch.as_tensor(value, device=None if isinstance(value, Tensor) else "cpu").detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentTypeError(name, expected, describe(value)) from error
    if tensor.dtype == torch.bool or tensor.is_complex():
        raise ArgumentTypeError(name, expected, describe(value))
    numbers = tensor.cpu().double().flatten().tolist()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise ArgumentError(name, expected, describe(value))
    return tuple(numbers)
