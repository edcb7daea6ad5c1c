"""Images in folders, as torchvision's ImageFolder reads them, and single photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from captum_ext._optional import require
from captum_ext.exceptions import ArgumentError


class Images(Dataset[tuple[Tensor, int]]):
    """Every file of a folder with one folder for each class, or of a flat folder, whose labels are all 0.

    Files that are no images are samples too, which fail when they are read: a run records them by name. Hidden files
    are left out.

    Args:
        root: the folder.
        transform: from a PIL image to a tensor.
        limit: at most so many, spread evenly over the folder.

    Raises:
        ArgumentError: no such folder, or nothing in it.
    """

    def __init__(self, root: Path, transform: Callable[[Any], Tensor], limit: int | None = None) -> None:
        self.root = str(root)
        self.transform = transform
        self.has_labels = root.is_dir() and any(_is_class(path) for path in root.iterdir())
        samples = _class_folders(root) if self.has_labels else _flat(root)
        if limit is not None and limit < len(samples):
            samples = [samples[k * len(samples) // limit] for k in range(limit)]
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        return self.transform(open_image(Path(path))), label


def open_image(path: Path) -> Any:
    """A photograph in RGB, turned as its camera says.

    Raises:
        OSError: no such file, or no image.
    """
    image = require("PIL.Image", "cli")
    turned = require("PIL.ImageOps", "cli").exif_transpose
    with image.open(path) as opened:
        return turned(opened).convert("RGB")


def load(images: Images) -> Tensor:
    """All images of a folder as one tensor; for references, of which there are few.

    Raises:
        ArgumentError: one that cannot be read.
    """
    loaded = []
    for path, _ in images.samples:
        try:
            loaded.append(images.transform(open_image(Path(path))))
        except OSError as error:  # noqa: PERF203 (reading a file costs more)
            raise ArgumentError("references", "a folder of images", f"{path}: {error}") from error
    return torch.stack(loaded)


def _class_folders(root: Path) -> list[tuple[str, int]]:
    datasets = require("torchvision.datasets", "cli")
    try:
        found: list[tuple[str, int]] = datasets.ImageFolder(str(root), is_valid_file=_is_visible).samples
    except FileNotFoundError as error:
        raise ArgumentError("folder", "a folder of images, or of one folder for each class", str(error)) from error
    return found


def _flat(root: Path) -> list[tuple[str, int]]:
    if not root.is_dir():
        raise ArgumentError("folder", "a folder of images, or of one folder for each class", f"no folder {root}")
    found = [(str(path), 0) for path in sorted(root.iterdir()) if path.is_file() and _is_visible(str(path))]
    if not found:
        raise ArgumentError("folder", "a folder of images, or of one folder for each class", f"{root}, which is empty")
    return found


def _is_visible(path: str) -> bool:
    return not Path(path).name.startswith(".")


def _is_class(path: Path) -> bool:
    return path.is_dir() and _is_visible(str(path))
