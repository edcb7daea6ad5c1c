"""Images in folders, as torchvision's ImageFolder reads them, and single photographs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError

_IMAGES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}


class Images(Dataset[tuple[Tensor, int]]):
    """Every file of a folder with one folder for each class, or of a flat folder, whose labels are all 0.

    Files that are no images are samples too, which fail when they are read: a run records them by name. Hidden files
    and folders are left out.

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
        return self.transform(open_image(Path(path))), label


def open_image(path: Path) -> Any:
    """A photograph in RGB, turned as its camera says.

    Raises:
        OSError: no such file, or no image.
    """
    image = require("PIL.Image", "cli")
    turned = require("PIL.ImageOps", "cli").exif_transpose
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of very large images and odd palettes
            with image.open(path) as opened:
                return _as_rgb(turned(opened))
    except FileNotFoundError:
        raise
    except Exception as error:  # Pillow's formats raise what they like
        raise OSError(f"{path}: {error}") from error


def _as_rgb(image: Any) -> Any:
    """Eight bits a channel; Pillow would clip the sixteen of others."""
    if image.mode.startswith(("I", "F")):
        pixels = np.asarray(image, dtype=np.float64)
        if pixels.max() > 255:
            pixels = pixels / 257
        image = require("PIL.Image", "cli").fromarray(pixels.clip(0, 255).astype(np.uint8))
    return image.convert("RGB")


def _class_folders(root: Path) -> list[tuple[str, int]]:
    """What torchvision's ImageFolder finds, without hidden folders, which would count as classes there."""
    beside = [path.name for path in sorted(root.iterdir()) if path.is_file() and path.suffix.lower() in _IMAGES]
    if beside:
        received = f"{len(beside)} images beside folders in {root}, such as {beside[0]}"
        raise ArgumentError("folder", "images, or one folder of images for each class, not both", received)
    classes = sorted(path.name for path in root.iterdir() if _is_class(path))
    make_dataset = require("torchvision.datasets.folder", "cli").make_dataset
    places = {name: place for place, name in enumerate(classes)}
    samples = make_dataset(str(root), places, is_valid_file=partial(_is_visible_below, root), allow_empty=True)
    if not samples:
        raise ArgumentError("folder", "a folder of images, or of one folder for each class", f"{root}, which is empty")
    return list(samples)


def _flat(root: Path) -> list[tuple[str, int]]:
    if not root.is_dir():
        raise ArgumentError("folder", "a folder of images, or of one folder for each class", f"no folder {root}")
    samples = [(str(path), 0) for path in sorted(root.iterdir()) if not path.is_dir() and _is_visible(str(path))]
    if not samples:
        raise ArgumentError("folder", "a folder of images, or of one folder for each class", f"{root}, which is empty")
    return samples


def _is_visible_below(root: Path, path: str) -> bool:
    return not any(part.startswith(".") for part in Path(path).relative_to(root).parts)


def _is_visible(path: str) -> bool:
    return not Path(path).name.startswith(".")


def _is_class(path: Path) -> bool:
    return path.is_dir() and _is_visible(str(path))
