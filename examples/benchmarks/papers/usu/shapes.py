"""Images whose ground truth is known: single shapes and five periodic patterns (the paper's section E).

An image depends on its index and the seed alone, so that smaller sets are the beginnings of larger ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SIDE = 224
SHAPES = ("circle", "triangle", "square")
PATTERNS = ("zigzag", "sine", "spiral", "concentric", "moire")

_Mask = NDArray[np.bool_]
_Grid = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """A set of images.

    Attributes:
        images: (N, 1, 224, 224), values in [0, 1].
        labels: (N,) index of the shape or pattern.
        masks: (N, 1, 224, 224) bool, the ground truth.
    """

    images: Tensor
    labels: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.images)


def draw_shapes(indices: range, seed: int = 0) -> Drawn:
    """A centred circle, triangle or square in each image, in turn; size, brightness and noise are random."""
    return _drawn(indices, seed, [_shape(kind) for kind in SHAPES])


def draw_patterns(indices: range, seed: int = 0) -> Drawn:
    """One of five periodic patterns in each image, in turn; period, phase, angle, brightness and noise are random."""
    return _drawn(indices, seed + 1_000_000, [_pattern(kind) for kind in PATTERNS])


_Draw = Callable[[np.random.Generator], _Mask]


def _drawn(indices: range, seed: int, kinds: list[_Draw]) -> Drawn:
    images, labels, masks = [], [], []
    for index in indices:
        generator = np.random.default_rng((seed, index))
        label = index % len(kinds)
        mask = kinds[label](generator)
        dark, bright = generator.uniform(0.0, 0.3), generator.uniform(0.6, 1.0)
        noise = generator.normal(0, 0.05, (SIDE, SIDE))
        image = np.clip(np.where(mask, bright, dark) + noise, 0, 1)
        images.append(torch.from_numpy(image.astype(np.float32))[None])
        labels.append(label)
        masks.append(torch.from_numpy(mask)[None])
    return Drawn(torch.stack(images), torch.tensor(labels), torch.stack(masks))


def _coordinates(angle: float = 0.0) -> tuple[_Grid, _Grid]:
    """Coordinates (rows, columns) from the centre, in pixels, turned by an angle."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    return np.cos(angle) * rows - np.sin(angle) * columns, np.sin(angle) * rows + np.cos(angle) * columns


def _shape(kind: str) -> _Draw:
    def mask(generator: np.random.Generator) -> _Mask:
        radius = generator.uniform(40, 80)
        y, x = _coordinates()
        if kind == "circle":
            inside = np.hypot(x, y) <= radius
        elif kind == "square":
            inside = np.maximum(np.abs(x), np.abs(y)) <= radius / np.sqrt(2)
        else:  # inside the three sides, each at half the radius from the centre
            sides = [np.sin(turn) * x + np.cos(turn) * y for turn in (0, 2 * np.pi / 3, 4 * np.pi / 3)]
            inside = np.max(sides, axis=0) <= radius / 2
        return np.asarray(inside)

    return mask


def _pattern(kind: str) -> _Draw:
    def mask(generator: np.random.Generator) -> _Mask:
        period, phase = generator.uniform(28, 56), generator.uniform(0, 2 * np.pi)
        y, x = _coordinates(generator.uniform(0, 2 * np.pi))
        frequency = 2 * np.pi / period
        if kind == "zigzag":  # stripes bent by a triangle wave
            bend = np.abs((x / period + phase) % 1 - 0.5) * period
            wave = np.sin(frequency * (y + bend) + phase)
        elif kind == "sine":
            wave = np.sin(frequency * (y + period / 3 * np.sin(frequency * x / 2)) + phase)
        elif kind == "spiral":
            wave = np.sin(frequency * np.hypot(x, y) + 2 * np.arctan2(y, x) + phase)
        elif kind == "concentric":
            wave = np.sin(frequency * np.hypot(x, y) + phase)
        else:  # two gratings of nearly the same period
            other = np.cos(0.2) * x + np.sin(0.2) * y
            wave = np.sin(frequency * x + phase) * np.sin(1.15 * frequency * other)
        return np.asarray(wave > (0.3 if kind != "moire" else 0.15))

    return mask


def coarse_map(fine: Tensor, grid: int) -> Tensor:
    """Means (N, grid, grid) of a map (N, 1, H, W) over its cells."""
    means: Tensor = torch.nn.functional.adaptive_avg_pool2d(fine, grid)[:, 0]
    return means
