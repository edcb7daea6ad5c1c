"""Masks of the objects in a folder of images, where the model sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from captum_ext.exceptions import ArgumentError
from captum_ext.images import ImageFolder, open_image
from captum_ext_integrations.cli.preparation import Placement

_SUFFIXES = (".png", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".jpg", ".jpeg")


class FolderMasks(Sequence[Tensor | None]):
    """The mask of each image of a folder, (h, w) of the model's image; None where there is none, or none of it is seen.

    A mask has the name of its image but for the suffix, below `root` where the image is below its folder; what is not
    black is the object.

    Args:
        images: the folder, with its preparation as the transform.
        root: folder of masks.

    Raises:
        ArgumentError: no image has a mask.
    """

    def __init__(self, images: ImageFolder, root: Path) -> None:
        self.images, self.root = images, root
        self._files = [self._file(Path(path)) for path, _ in images.samples]
        if not any(self._files):
            expected = f"a folder with masks under the names of the images in {images.root}"
            raise ArgumentError("masks", expected, f"{root}, which has none")

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, index: int) -> Tensor | None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensor | None]: ...
    def __getitem__(self, index: int | slice) -> Tensor | Sequence[Tensor | None] | None:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        file = self._files[index]
        if file is None:
            return None
        preparation: Any = self.images.transform
        channels, keep_depth = self.images.channels, self.images.keep_depth
        image = open_image(Path(self.images.samples[index][0]), channels=channels, keep_depth=keep_depth)
        made = tuple(preparation(image).shape[-2:])
        mask = mask_in_view("masks", file, preparation.placement(image.size), image.size, made)
        return mask if bool(mask.any()) else None

    def settings(self) -> dict[str, Any]:
        """What the masks are."""
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(b"none" if file is None else hashlib.sha256(file.read_bytes()).digest())
        return {"masks": digest.hexdigest()[:16]}

    def _file(self, image: Path) -> Path | None:
        inside = self.root / image.relative_to(self.images.root)
        return next((path for path in map(inside.with_suffix, _SUFFIXES) if path.is_file()), None)


def mask_in_view(
    argument: str, file: Path, placement: Placement, size: tuple[int, int], made: tuple[int, int]
) -> Tensor:
    """The mask of a picture of this size (width, height) as one (h, w) of the model's image.

    Raises:
        ArgumentError: a mask of another size.
    """
    mask = open_image(file, channels=1)
    if mask.size != size:
        expected = f"a mask of the picture's size, {size[0]} x {size[1]}"
        raise ArgumentError(argument, expected, f"{file}, {mask.size[0]} x {mask.size[1]}")
    return placement.mask(torch.as_tensor(np.asarray(mask) > 0), made)
