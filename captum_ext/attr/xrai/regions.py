"""Segments ranked by the mean of a map inside of them, until they cover the image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ALGORITHMS = ("full", "fast")
#: What is new in a segment (n,), and its density.
Added: TypeAlias = tuple[NDArray[np.bool_], float]


def ranked_regions(
    attribution: Tensor, masks: Tensor, algorithm: str = "full", min_pixels: int = 50, area: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The map (H, W) that has everywhere the density of its segment, and the segments' ranks (H, W), 1 the densest.

    Args:
        attribution: (H, W).
        masks: segments (S, H, W), which may overlap.
        algorithm: "full" takes, again and again, the segment that is densest where nothing is covered yet; "fast"
            takes them in the order of their own densities.
        min_pixels: segments with fewer new pixels are left out.
        area: "full" ends where a larger share of the image than this is covered.

    What no segment covers gets the mean of what is left, and the last rank.
    """
    values = attribution.detach().cpu().double().numpy().ravel()
    flat = masks.flatten(1).numpy()
    steps = _greedy(values, flat, min_pixels, area) if algorithm == "full" else _sorted(values, flat, min_pixels)
    density, left = np.zeros_like(values), np.ones(len(values), dtype=bool)
    added: list[Added] = []
    for new, gain in steps:
        density[new] = gain
        left &= ~new
        added.append((new, gain))
    added.sort(key=lambda pair: -pair[1])
    if left.any():
        density[left] = values[left].mean()
        added.append((left, 0.0))
    rank = np.zeros(len(values), dtype=np.int64)
    for number, (new, _) in enumerate(added, start=1):
        rank[new] = number
    return tuple(torch.from_numpy(one).reshape(attribution.shape) for one in (density, rank))  # type: ignore[return-value]


def _greedy(values: NDArray[np.float64], masks: NDArray[np.bool_], min_pixels: int, area: float) -> Iterator[Added]:
    """The densest of what is left of every segment, until no segment has enough left.

    How much of each segment is left, and its sum, are kept up to date, so that each pixel is looked at once.
    """
    by_pixel = np.ascontiguousarray(masks.T)
    count, total = masks.sum(1), _sums(values, by_pixel)
    left, is_open = np.ones(len(values), dtype=bool), np.ones(len(masks), dtype=bool)
    while 1 - left.mean() <= area:
        is_open &= count >= min_pixels
        if not is_open.any():
            return
        best = int(np.where(is_open, total / np.maximum(count, 1), -np.inf).argmax())
        new = masks[best] & left
        yield new, float(values[new].mean())
        left &= ~new
        is_open[best] = False
        count = count - by_pixel[new].sum(0)
        total = total - _sums(values[new], by_pixel[new])


def _sums(values: NDArray[np.float64], by_pixel: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Sum (S,) of values (n,) in each segment (n, S), in blocks that are small as numbers."""
    total = np.zeros(by_pixel.shape[1])
    for start in range(0, len(values), 4096):
        total += values[start : start + 4096] @ by_pixel[start : start + 4096]
    return total


def _sorted(values: NDArray[np.float64], masks: NDArray[np.bool_], min_pixels: int) -> Iterator[Added]:
    """Segments in the order of their densities, without what others before them have."""
    densities = [float(values[mask].mean()) if mask.any() else -np.inf for mask in masks]
    left = np.ones(len(values), dtype=bool)
    for number in sorted(range(len(masks)), key=lambda k: -densities[k]):
        new = masks[number] & left
        if int(new.sum()) >= min_pixels:
            yield new, float(values[new].mean())
            left &= ~new
