"""Images that references are made of: never those that are explained."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from examples.benchmarks.engine.samples import Samples, load_samples

POOL = 500  # images at most
CROPS = 5  # of every image of a pool that is small
_SMALL = 100
_MORE = ("photographs", "cifar10-20", "cifar100-20")


def half_of(n: int, half: int) -> list[int]:
    """Places of every other of n images."""
    return list(range(n))[half::2]


def other_half(samples: Samples, half: int, seed: int, fast: bool = False) -> Tensor:
    """The half that is not explained, prepared; with crops of it, and images of other sets, where it is small."""
    preparation, generator = samples.preparation, np.random.default_rng((seed, half))
    places = half_of(len(samples), 1 - half)
    if len(places) > POOL:
        places = sorted(generator.permutation(places)[:POOL].tolist())
    others = list(_readable(samples, places))
    images = [preparation(image) for image in others]
    if len(others) < _SMALL:
        images += [preparation(_crop(image, generator)) for image in others for _ in range(CROPS)]
        for name in _MORE[:1] if fast else _MORE:
            more = load_samples(name, preparation)
            images += list(more.load(range(len(more)))[0])
    return torch.stack(images)


def _readable(samples: Samples, places: list[int]) -> Iterator[Image.Image]:
    """Images at places; one that cannot be read is no reference, and its own part fails and says so."""
    for place in places:
        try:
            yield samples.source[samples.indices[place]][0]
        except OSError:  # noqa: PERF203 (reading a file costs more)
            continue


def _crop(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """A random part of 40 to 90 % of each side."""
    share = generator.uniform(0.4, 0.9)
    width, height = (int(share * side) for side in image.size)
    left, top = (
        int(generator.integers(0, side - part + 1)) for side, part in zip(image.size, (width, height), strict=True)
    )
    return image.crop((left, top, left + width, top + height))
