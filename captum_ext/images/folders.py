"""Images in folders, as torchvision's ImageFolder reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import ConcatDataset, Dataset, Subset

from captum_ext.core.checks import describe
from captum_ext.core.regular_files import MAX_MEGAPIXELS, limit_of
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images.files import MOST_PIXELS, open_image
from captum_ext.images.modes import check_channels, image_to_tensor

_IMAGES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
_MOST_NAMED = 5
NO_FOLDERS = '"label" for a folder with one folder for each class only'


class ImageFolder(Dataset[tuple[Any, int]]):
    """Every file of a folder with one folder for each class, or of a flat folder, whose labels are all 0.

    `target="label"` of runs and of `choose` refuses a flat folder, as it has no labels.

    Files that are no images are samples too, which fail when they are read: a run over a data set records them by
    name. Hidden files and folders are left out. Links are followed; of a folder that several links of a class lead to,
    or that links to itself, the files are taken once.

    Attributes:
        root: the folder.
        classes: names of the class folders, sorted as text as torchvision does it; none in a flat folder.
        class_to_idx: their labels.
        samples: path and label of each file.

    Args:
        root: the folder.
        transform: from a Pillow image ("RGB", or "L" with `channels=1`) to what the model takes. None:
            `image_to_tensor`.
        limit: at most so many files, spread evenly over the folder.
        class_to_idx: labels of the class folders. None: their places in `classes`, where "10" is before "2".
        channels: 3, or 1 for grey; see `image_to_pil`.
        keep_depth: give `transform` images of more than eight bits in mode "F"; see `image_to_pil`.
        max_pixels: of an image, see `open_image`.

    Raises:
        ArgumentError: no such folder, nothing in it, or a folder without a label.

    Example:
        >>> import tempfile, pathlib
        >>> from PIL import Image
        >>> from captum_ext.images import ImageFolder
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat", "dog"):
        ...         (pathlib.Path(folder) / name).mkdir()
        ...         Image.new("L", (2, 3), 51).save(pathlib.Path(folder) / name / "a.png")
        ...     image, label = ImageFolder(folder)[1]
        >>> image.shape, float(image.max()), label
        (torch.Size([3, 3, 2]), 0.20000000298023224, 1)
    """

    def __init__(
        self,
        root: str | Path,
        transform: Callable[[Any], Any] | None = None,
        limit: int | None = None,
        *,
        class_to_idx: Mapping[str, int] | None = None,
        channels: int = 3,
        keep_depth: bool = False,
        max_pixels: int | None = None,
    ) -> None:
        check_channels(channels)
        self.root, self.transform = str(root), transform
        self.channels, self.keep_depth = channels, keep_depth or transform is None
        # Of the environment here: that of workers, to which this is sent, may be another.
        self.max_pixels = limit_of(MAX_MEGAPIXELS, MOST_PIXELS, 1_000_000) if max_pixels is None else max_pixels
        folder = Path(root)
        self.classes = class_folders(folder)
        self.class_to_idx = _labels(self.classes, class_to_idx)
        samples = _files_of_classes(folder, self.class_to_idx) if self.classes else _flat(folder)
        if limit is not None and limit < len(samples):
            samples = [samples[k * len(samples) // limit] for k in range(limit)]
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.samples[index]
        image = open_image(path, channels=self.channels, keep_depth=self.keep_depth, max_pixels=self.max_pixels)
        return image_to_tensor(image, channels=self.channels) if self.transform is None else self.transform(
            image
        ), label

    def settings(self) -> dict[str, Any]:
        """What samples depend on beside files and transformation."""
        return {"channels": self.channels, "keep_depth": self.keep_depth}


def class_folders(root: Path) -> list[str]:
    """Names of the class folders, sorted as text; none in a flat folder."""
    return sorted(path.name for path in root.iterdir() if _is_class(path)) if root.is_dir() else []


def check_labels(dataset: Any) -> None:
    """Refuse labels of a flat folder, which has none; warn of numbers sorted as text: folder "10" has the label 2 then.

    Parts of data sets and several in a row are looked into.

    Raises:
        ArgumentError: an `ImageFolder` without folders of classes: all of its labels are 0.
    """
    if isinstance(dataset, Subset):
        check_labels(dataset.dataset)
    elif isinstance(dataset, ConcatDataset):
        for part in dataset.datasets:
            check_labels(part)
    elif isinstance(dataset, ImageFolder) and not dataset.classes:
        raise ArgumentError("target", NO_FOLDERS, f"{dataset.root}, where all labels are 0")
    else:
        _warn_of_numbered(dataset)


def _warn_of_numbered(dataset: Any) -> None:
    classes, labels = getattr(dataset, "classes", None), getattr(dataset, "class_to_idx", None)
    if not isinstance(classes, Sequence) or not isinstance(labels, Mapping) or len(classes) < 2:
        return
    if not all(isinstance(name, str) and name.isdecimal() and name in labels for name in classes):
        return
    as_text, as_numbers = sorted(classes), sorted(classes, key=int)
    if as_text != as_numbers and [labels[name] for name in as_text] == list(range(len(classes))):
        warn_caller(
            "The folders of the classes are numbers, which are labelled in the order of their text as torchvision does "
            f"it: {_beginning(as_text)}. In the order of numbers they are {_beginning(as_numbers)}. If each number is "
            "that of a class of the model, give the labels: class_to_idx, or --labels numbers in the shell."
        )


def _beginning(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")


def _labels(classes: list[str], given: Mapping[str, int] | None) -> dict[str, int]:
    if given is None:
        return {name: label for label, name in enumerate(classes)}
    without = [name for name in classes if name not in given]
    if without:
        received = f"none of {len(without)} folders, such as {without[0]}"
        raise ArgumentError("class_to_idx", "a label for each folder of a class", received)
    labels = {name: given[name] for name in classes}
    for name, label in labels.items():
        if isinstance(label, bool) or not isinstance(label, int) or label < 0:
            raise ArgumentTypeError("class_to_idx", "numbers of classes, from 0 on", f"{describe(label)} of {name}")
    return labels


def _files_of_classes(root: Path, labels: Mapping[str, int]) -> list[tuple[str, int]]:
    """What torchvision's ImageFolder finds, without hidden folders, which would count as classes there."""
    beside = [path.name for path in sorted(root.iterdir()) if path.is_file() and path.suffix.lower() in _IMAGES]
    if beside:
        received = f"{len(beside)} images beside folders in {root}, such as {beside[0]}"
        raise ArgumentError("folder", "images, or one folder of images for each class, not both", received)
    samples = [(path, label) for name, label in labels.items() for path in _below(root, name)]
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
