"""Images in folders, as torchvision's ImageFolder reads them, and single photographs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.cli.files import MAX_MEGAPIXELS, limit_of
from captum_ext_integrations.cli.photographs import MOST_PIXELS, open_image

__all__ = ["Images", "open_image"]

_IMAGES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}


class Images(Dataset[tuple[Tensor, int]]):
    """Every file of a folder with one folder for each class, or of a flat folder, whose labels are all 0.

    Files that are no images are samples too, which fail when they are read: a run records them by name. Hidden files
    and folders are left out. Links are followed; of a folder that several links of a class lead to, or that links to
    itself, the files are taken once.

    Args:
        root: the folder.
        transform: from a PIL image to a tensor.
        limit: at most so many, spread evenly over the folder.
        max_pixels: of an image, see `open_image`.

    Raises:
        ArgumentError: no such folder, or nothing in it.
    """

    def __init__(
        self, root: Path, transform: Callable[[Any], Tensor], limit: int | None = None, *, max_pixels: int | None = None
    ) -> None:
        self.root = str(root)
        self.transform = transform
        # Of the environment here: that of workers, to which this is sent, may be another.
        self.max_pixels = limit_of(MAX_MEGAPIXELS, MOST_PIXELS, 1_000_000) if max_pixels is None else max_pixels
        classes = sorted(path.name for path in root.iterdir() if _is_class(path)) if root.is_dir() else []
        self.n_classes = len(classes)
        samples = _class_folders(root) if classes else _flat(root)
        if limit is not None and limit < len(samples):
            samples = [samples[k * len(samples) // limit] for k in range(limit)]
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        return self.transform(open_image(Path(path), max_pixels=self.max_pixels)), label


def _class_folders(root: Path) -> list[tuple[str, int]]:
    """What torchvision's ImageFolder finds, without hidden folders, which would count as classes there."""
    beside = [path.name for path in sorted(root.iterdir()) if path.is_file() and path.suffix.lower() in _IMAGES]
    if beside:
        received = f"{len(beside)} images beside folders in {root}, such as {beside[0]}"
        raise ArgumentError("folder", "images, or one folder of images for each class, not both", received)
    classes = sorted(path.name for path in root.iterdir() if _is_class(path))
    samples = [(path, label) for label, name in enumerate(classes) for path in _below(root, name)]
    if not samples:
        raise ArgumentError("folder", "a folder of images, or of one folder for each class", f"{root}, which is empty")
    return samples


def _below(root: Path, name: str) -> Iterator[str]:
    """Paths of the files of a class, in ImageFolder's order; no folder is gone into twice."""
    seen = {_identity(root), _identity(root / name)}
    found = []
    for place, folders, files in os.walk(root / name, followlinks=True):
        visible = sorted(folder for folder in folders if _is_visible(folder))
        folders[:] = []
        for folder in visible:
            identity = _identity(Path(place, folder))
            if identity not in seen:
                seen.add(identity)
                folders.append(folder)
        found.append((place, sorted(file for file in files if _is_visible(file))))
    for place, files in sorted(found):
        yield from (os.path.join(place, file) for file in files)


def _identity(folder: Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _flat(root: Path) -> list[tuple[str, int]]:
    if not root.is_dir():
        raise ArgumentError("folder", "a folder of images, or of one folder for each class", f"no folder {root}")
    samples = [(str(path), 0) for path in sorted(root.iterdir()) if not path.is_dir() and _is_visible(str(path))]
    if not samples:
        raise ArgumentError("folder", "a folder of images, or of one folder for each class", f"{root}, which is empty")
    return samples


def _is_visible(path: str) -> bool:
    return not Path(path).name.startswith(".")


def _is_class(path: Path) -> bool:
    return path.is_dir() and _is_visible(str(path))
