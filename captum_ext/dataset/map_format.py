"""How attributions are stored: fewer channels, fewer pixels, fewer bits, the same mass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_ext.core.checks import check_choice, check_finite, check_positive_int, describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

_MOST_PIXELS = 2**28  # a map of a gigabyte


@dataclass(frozen=True)
class MapFormat:
    """How the attributions of images are stored; those of other inputs keep their shape.

    Attributes:
        size: height and width. A pixel's attribution goes to the cells that it overlaps, in proportion to the
            overlap, so that a map of any size has the sum of the whole map. None: the size of the attributions.
        dtype: "float16", "float32" or "float64". float16 maps are stored divided by their largest absolute value, which
            is the column `map_scale`: a map of probabilities would be lost below float16's smallest number. Their
            relative error is at most 2^-11 from 6e-5 of the largest value on.
        channels: "sum"; "absolute", the sum of absolute values; or "keep".

    Example:
        >>> import torch
        >>> from captum_ext.dataset import MapFormat
        >>> values, scale = MapFormat(size=(1, 2), dtype="float32").encode(torch.ones(1, 3, 4, 4))
        >>> values.tolist(), scale
        ([[[24.0, 24.0]]], None)
    """

    size: tuple[int, int] | None = None
    dtype: str = "float16"
    channels: str = "sum"

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, ("float16", "float32", "float64"))
        check_choice("channels", self.channels, ("sum", "absolute", "keep"))
        if self.size is not None:
            if not isinstance(self.size, tuple | list) or len(self.size) != 2:
                raise ArgumentTypeError("size", "None or (height, width)", describe(self.size))
            sides = tuple(check_positive_int("size", side) for side in self.size)
            if sides[0] * sides[1] > _MOST_PIXELS:
                raise ArgumentError("size", f"of at most {_MOST_PIXELS:,} pixels", f"{sides[0]} x {sides[1]}")
            object.__setattr__(self, "size", sides)

    def encode(self, attributions: Tensor) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Attributions (N, ...) as they are stored, and the scale (N,) of each map where there is one.

        Args:
            attributions: (N, ...) of the inputs' shape.

        Raises:
            ArgumentError: a `size` for attributions that are not (N, C, H, W) or (N, H, W).
            NonFiniteError: NaN or infinity in the attributions.
        """
        maps = attributions.detach()
        if maps.dim() == 4 and self.channels != "keep":
            maps = (maps.abs() if self.channels == "absolute" else maps).sum(1)
        elif self.channels == "absolute":
            maps = maps.abs()
        maps = maps.to("cpu", torch.float64 if maps.dtype == torch.float64 else torch.float32)
        check_finite("attributions", maps)
        if self.size is not None:
            maps = resized(maps, self.size)
        if self.dtype != "float16":
            return maps.numpy().astype(self.dtype), None
        scale = maps.reshape(len(maps), -1).abs().amax(1)
        divisor = torch.where(scale > 0, scale, 1.0).reshape(-1, *(1,) * (maps.dim() - 1))
        return (maps / divisor).numpy().astype(np.float16), scale.numpy()


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (..., H, W) of another size and the same sum.

    Raises:
        ArgumentError: maps that are not images.
    """
    if maps.dim() < 3:
        raise ArgumentError("size", "None for inputs that are not images", f"{size} for {describe(maps)}")
    rows, columns = (overlaps(new, old).to(maps.dtype) for new, old in zip(size, maps.shape[-2:], strict=True))
    return rows @ maps @ columns.T


@lru_cache(maxsize=8)
def overlaps(new: int, old: int) -> Tensor:
    """(new, old) float64: which share of each of `old` equal parts of a line lies in each of `new` equal parts."""
    cells = torch.arange(new, dtype=torch.float64, device="cpu")[:, None] * old
    pixels = torch.arange(old, dtype=torch.float64, device="cpu")[None] * new  # both in units of 1 / (new * old)
    return ((cells + old).minimum(pixels + new) - cells.maximum(pixels)).clamp(min=0) / new
