"""From a photograph to what a model takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.optional import require
from captum_ext.images import image_to_pil

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_MOST_RESIZED = 2**24  # pixels of a whole image after the resizing
_WIDEST_FILTER = 3  # Lanczos, in pixels of the smaller scale


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
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.mean, self.std))
        return (images.cpu() * std + mean).clamp(0, 1).expand(-1, 3, -1, -1).permute(0, 2, 3, 1)
