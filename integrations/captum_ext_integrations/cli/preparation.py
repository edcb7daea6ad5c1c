"""From a photograph to what a model takes, and where a place of the photograph is in it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from captum_ext.core.optional import require
from captum_ext.images import image_to_pil

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_MOST_RESIZED = 2**24  # pixels of a whole image after the resizing
_WIDEST_FILTER = 3  # Lanczos, in pixels of the smaller scale
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_WHITE = 0.98  # of a white image's pixels, those that are darker were padded
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Placement:
    """Where the pixels of a photograph are in what a model gets: at `scale * x - offset`, for both directions.

    Attributes:
        scale: along x and y, in pixels of the model's image for one of the photograph.
        offset: what a crop leaves out at the left and at the top, or less than zero where it pads, in the same pixels.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]

    def into(self, box: Box) -> Box:
        """A box of the photograph, x0, y0, x1, y1, in the model's image."""
        x0, y0, x1, y1 = (self.scale[k % 2] * value - self.offset[k % 2] for k, value in enumerate(box))
        return x0, y0, x1, y1

    def back(self, box: Box) -> Box:
        """A box of the model's image in the photograph."""
        x0, y0, x1, y1 = ((value + self.offset[k % 2]) / self.scale[k % 2] for k, value in enumerate(box))
        return x0, y0, x1, y1

    def mask(self, mask: Tensor, size: tuple[int, int]) -> Tensor:
        """A mask (H, W) of the photograph as one (h, w) of the model's image; padding is outside of it."""
        places = []
        for axis, (n_given, n_made) in enumerate(zip(mask.shape, size, strict=True)):
            scale, offset = self.scale[1 - axis], self.offset[1 - axis]
            place = ((torch.arange(n_made, dtype=torch.float64) + 0.5 + offset) / scale).floor().long()
            places.append((place.clamp(0, n_given - 1), (place >= 0) & (place < n_given)))
        (rows, seen_rows), (columns, seen_columns) = places
        return mask[rows][:, columns] & seen_rows[:, None] & seen_columns


def normalised_back(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Undo a normalisation: (N, C, H, W) to (N, H, W, 3) in [0, 1]; grey is repeated."""
    means, stds = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return (images.cpu() * stds + means).clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)


@dataclass(frozen=True)
class Preparation:
    """From a photograph to what a model takes.

    Attributes:
        resize: length of the shorter side.
        crop: side of the central crop after that.
        mean: of each channel, for values in [0, 1].
        std: see `mean`.
        interpolation: "bilinear", "bicubic" or another of torchvision's names.
        channels: 3, or 1 for networks of grey images.
    """

    resize: int = 256
    crop: int = 224
    mean: tuple[float, ...] = _IMAGENET["mean"]
    std: tuple[float, ...] = _IMAGENET["std"]
    interpolation: str = "bilinear"
    channels: int = 3

    keep_depth: ClassVar[bool] = True
    is_square: ClassVar[bool] = True

    def __call__(self, image: Any) -> Tensor:
        """A PIL image of any mode as a normalised tensor (channels, crop, crop); more than eight bits are kept.

        Resized and cropped by torchvision. Of an image that is so long that it would have more than 16 million pixels
        after the resizing, only what the crop shows is resized, which may differ by one in 255 from that.
        """
        functional = require("torchvision.transforms.v2.functional", "cli")
        seen = image_to_pil(image, channels=self.channels, keep_depth=True)
        pixels = functional.pil_to_tensor(self._cropped(seen))
        # Floats are in [0, 1], but for what a filter adds at edges, where bytes are cut off, too.
        values = pixels.clamp(0, 1).expand(self.channels, -1, -1) if seen.mode == "F" else pixels.float() / 255
        normalised: Tensor = functional.normalize(values, list(self.mean), list(self.std))
        return normalised

    def _cropped(self, image: Any) -> Any:
        v2 = require("torchvision.transforms.v2", "cli")
        functional = require("torchvision.transforms.v2.functional", "cli")
        short, long = sorted(image.size)
        n_pixels = self.resize * int(self.resize * long / short)
        if n_pixels > max(_MOST_RESIZED, 4 * self.resize**2) and self.crop <= self.resize:
            return self._crop_alone(image)
        resized = functional.resize(
            image, [self.resize], interpolation=v2.InterpolationMode(self.interpolation), antialias=True
        )
        return functional.center_crop(resized, [self.crop, self.crop])

    def _crop_alone(self, image: Any) -> Any:
        """The central crop of the resized image, from the part of the image that it shows."""
        short = min(image.size)
        box = []  # first and last edge of the crop, and of what its filter reaches, in both directions
        for side in image.size:
            resized = self.resize if side == short else int(self.resize * side / short)
            scale = side / resized
            first = round((resized - self.crop) / 2.0) * scale
            last = first + self.crop * scale
            reach = _WIDEST_FILTER * max(scale, 1.0) + 1
            box.append((first, last, max(0, math.floor(first - reach)), min(side, math.ceil(last + reach))))
        (left, right, start, end), (upper, lower, top, bottom) = box
        names = require("PIL.Image", "cli").Resampling.__members__
        return image.crop((start, top, end, bottom)).resize(
            (self.crop, self.crop),
            resample=names[self.interpolation.partition("-")[0].upper()],
            box=(left - start, upper - top, right - start, lower - top),
        )

    def displayable(self, images: Tensor) -> Tensor:
        """Undo the normalisation: (N, C, H, W) to (N, H, W, 3) in [0, 1]; grey is repeated."""
        return normalised_back(images, self.mean, self.std)

    def placement(self, size: tuple[int, int]) -> Placement:
        """Where a photograph of this size (width, height) is in the crop."""
        resized = self._resized(size)
        scale = tuple(made / side for made, side in zip(resized, size, strict=True))
        offset = tuple(float(round((made - self.crop) / 2.0)) for made in resized)
        return Placement((scale[0], scale[1]), (offset[0], offset[1]))

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height after the resizing, as torchvision computes them."""
        short, long = sorted(size)
        other = int(self.resize * long / short)
        return (self.resize, other) if size[0] <= size[1] else (other, self.resize)


@dataclass(frozen=True)
class WholePreparation(Preparation):
    """The whole photograph, for maps and detections; `crop` is only the side of the image that the model is tried with.

    Attributes:
        enlarge: whether a smaller photograph is resized, too.
    """

    enlarge: bool = True

    is_square: ClassVar[bool] = False

    def _cropped(self, image: Any) -> Any:
        if not self.enlarge and min(image.size) <= self.resize:
            return image
        v2 = require("torchvision.transforms.v2", "cli")
        width, height = self._resized(image.size)
        mode = v2.InterpolationMode(self.interpolation)
        return v2.functional.resize(image, [height, width], interpolation=mode, antialias=True)

    def placement(self, size: tuple[int, int]) -> Placement:
        """Where a photograph of this size (width, height) is: all of it."""
        made = size if not self.enlarge and min(size) <= self.resize else self._resized(size)
        return Placement((made[0] / size[0], made[1] / size[1]), (0.0, 0.0))


@dataclass(frozen=True)
class ProcessorPreparation:
    """As the model's own processor makes it, that of transformers or open_clip.

    Attributes:
        transform: from a PIL image to a tensor (C, H, W).
        crop: side of the image that the model is tried with.
        mean: of each channel, for values in [0, 1].
        std: see `mean`.
        channels: 3, or 1 for networks of grey images.
        described: settings of the processor, by which runs know it.
        is_square: whether all photographs are made one size.
    """

    transform: Callable[[Any], Any] = field(repr=False)
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int
    described: Any = None
    is_square: bool = True

    keep_depth: ClassVar[bool] = False

    def __call__(self, image: Any) -> Tensor:
        """A PIL image as a normalised tensor (channels, h, w)."""
        made: Tensor = self.transform(image_to_pil(image, channels=self.channels))
        return made

    def settings(self) -> dict[str, Any]:
        """What the images depend on."""
        described = self.described or _ADDRESS.sub("", repr(self.transform))
        return {"processor": described, "mean": self.mean, "std": self.std, "channels": self.channels}

    def displayable(self, images: Tensor) -> Tensor:
        """Undo the normalisation: (N, C, H, W) to (N, H, W, 3) in [0, 1]; grey is repeated."""
        return normalised_back(images, self.mean, self.std)

    def placement(self, size: tuple[int, int]) -> Placement:
        """Where a photograph of this size (width, height) is, as ramps of grey show that are prepared in its place."""
        width, height = size
        white = self._shown(np.full((height, width), 255.0)) > _WHITE
        scale, offset = [], []
        for axis, side in ((1, width), (0, height)):
            ramp = (np.arange(side) + 0.5) / side
            shown = self._shown(255 * np.broadcast_to(ramp if axis else ramp[:, None], (height, width))) * side
            inner = white & (shown > 0.1 * side) & (shown < 0.9 * side)  # filters bend a ramp at its ends
            slope, start = np.polyfit(np.nonzero(inner)[axis] + 0.5, shown[inner], 1)
            scale.append(float(1 / slope))
            offset.append(float(start / slope))
        return Placement((scale[0], scale[1]), (offset[0], offset[1]))

    def _shown(self, values: Any) -> Any:
        """A grey image (H, W) as it is prepared, (h, w) in [0, 1]."""
        image = require("PIL.Image", "cli").fromarray(np.round(values).astype(np.uint8))
        return self.displayable(self(image)[None])[0, :, :, 0].numpy()
