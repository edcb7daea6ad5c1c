"""Images to explain: those that come with packages from PyPI, and real data sets in a user's folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from examples.real_data import Preparation

DIGITS_TRAINED = 1397  # of scikit-learn's 1,797 digits; the rest are explained


class Source(Protocol):
    """Images with labels; torchvision's data sets are such sequences."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Image.Image, int | None]:
        """An image and its label, None where the label is not a class of the network."""
        ...


@dataclass(frozen=True)
class Samples:
    """Chosen images of a source, prepared for a network.

    Attributes:
        name: of the data set.
        source: where the images are.
        indices: which of them, in order.
        preparation: what the network wants.
        n_classes: of its labels; None where they are no classes.
    """

    name: str
    source: Source
    indices: tuple[int, ...]
    preparation: Preparation
    n_classes: int | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def load(self, places: Sequence[int], n_classes: int | None = None) -> tuple[Tensor, list[int | None]]:
        """Images (n, C, H, W) and labels at these places of `indices`.

        With `n_classes`, the outputs of a network, labels are None where they cannot be its classes.
        """
        pairs = [self.source[self.indices[place]] for place in places]
        if n_classes not in (None, self.n_classes):
            pairs = [(image, None) for image, _ in pairs]
        return torch.stack([self.preparation(image) for image, _ in pairs]), [label for _, label in pairs]


@dataclass(frozen=True)
class Files:
    """Images in files; each is opened when it is asked for."""

    paths: tuple[Path, ...]
    labels: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Image.Image, int | None]:
        with Image.open(self.paths[index]) as image:
            image.load()
            return image, self.labels[index]


@dataclass(frozen=True)
class Arrays:
    """Grey images in memory, (N, H, W) of uint8."""

    images: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int | None]:
        return Image.fromarray(self.images[index]), int(self.labels[index])


def _foolbox(prefix: str) -> Source:
    import foolbox

    paths = tuple(sorted((Path(foolbox.__file__).parent / "data").glob(f"{prefix}_*")))
    return Files(paths, tuple(int(path.stem.rsplit("_", 1)[1]) for path in paths))


def _digits(part: slice) -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return Arrays(images[part], digits.target[part])


def _photographs() -> Source:
    from skimage import data

    names = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina")
    return Photographs(tuple(Image.fromarray(getattr(data, name)()) for name in names))


@dataclass(frozen=True)
class Photographs:
    """Images in memory, without labels."""

    images: tuple[Image.Image, ...]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, int | None]:
        return self.images[index], None


#: Data sets that need no download. The CIFAR and MNIST images are 20 of each, from the package foolbox.
OFFLINE: dict[str, Callable[[], Source]] = {
    "imagenet20": lambda: _foolbox("imagenet"),
    "cifar10-20": lambda: _foolbox("cifar10"),
    "cifar100-20": lambda: _foolbox("cifar100"),
    "mnist20": lambda: _foolbox("mnist"),
    "fashion-mnist20": lambda: _foolbox("fashionMNIST"),
    "photographs": _photographs,
    "digits": lambda: _digits(slice(DIGITS_TRAINED, None)),
    "digits-train": lambda: _digits(slice(DIGITS_TRAINED)),
}


def _existing(folder: Path, expected: str) -> Path:
    if not folder.is_dir():
        raise ValueError(f"Expected {expected}, but there is no folder {folder}.")
    return folder


def image_folder(folder: Path) -> Source:
    """A folder of class folders, whatever the classes: no labels."""
    from torchvision.datasets import ImageFolder

    expected = "a folder with one folder of images for each class"
    try:
        dataset = ImageFolder(str(_existing(folder, expected)))
    except FileNotFoundError as error:
        raise ValueError(f"Expected {expected}, but got {folder}: {error}") from error
    return Files(tuple(Path(path) for path, _ in dataset.samples), (None,) * len(dataset))


def imagenet(folder: Path) -> Source:
    """The validation set of ImageNet 2012 as 1,000 folders, named by WordNet id, in `folder` or `folder`/val."""
    from torchvision.datasets import ImageFolder

    expected = (
        "the ImageNet validation set: 1,000 folders (n01440764, ...), one for each class, or a folder val of them"
    )
    root = folder / "val" if (folder / "val").is_dir() else _existing(folder, expected)
    n_classes = sum(entry.is_dir() for entry in root.iterdir())
    if n_classes != 1000:
        raise ValueError(f"Expected {expected}, but got {root} with {n_classes} folders.")
    dataset = ImageFolder(str(root))
    return Files(tuple(Path(path) for path, _ in dataset.samples), tuple(label for _, label in dataset.samples))


def cub200(folder: Path) -> Source:
    """The test images of CUB-200-2011 in the layout of its archive."""
    expected = "the folder CUB_200_2011 with images.txt, image_class_labels.txt, train_test_split.txt and images/"
    root = folder / "CUB_200_2011" if (folder / "CUB_200_2011").is_dir() else folder

    def column(name: str) -> dict[str, str]:
        try:
            lines = (root / name).read_text().splitlines()
        except OSError as error:
            raise ValueError(f"Expected {expected}, but got {folder}: {error}") from error
        return dict(line.split(maxsplit=1) for line in lines if line.strip())

    paths, labels, training = (
        column(name) for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt")
    )
    if not paths.keys() == labels.keys() == training.keys():
        raise ValueError(f"Expected {expected}, all of the same images, but got other ids in {root}.")
    if not (root / "images").is_dir():
        raise ValueError(f"Expected {expected}, but there is no folder {root / 'images'}.")
    chosen = [key for key in paths if training[key] == "0"]
    return Files(tuple(root / "images" / paths[key] for key in chosen), tuple(int(labels[key]) - 1 for key in chosen))


def _torchvision(name: str, **arguments: Any) -> Callable[[Path], Source]:
    def load(folder: Path) -> Source:
        from torchvision import datasets

        expected = f"{name} as torchvision stores it"
        try:
            dataset = getattr(datasets, name)(str(_existing(folder, expected)), download=False, **arguments)
        except RuntimeError as error:
            raise ValueError(f"Expected {expected} in {folder}, but got: {error}") from error
        return dataset  # type: ignore[no-any-return]

    return load


#: Data sets in a user's folder, written KIND:FOLDER.
FOLDERS: dict[str, Callable[[Path], Source]] = {
    "folder": image_folder,
    "imagenet": imagenet,
    "cub200": cub200,
    "cifar10": _torchvision("CIFAR10", train=False),
    "cifar100": _torchvision("CIFAR100", train=False),
    "mnist": _torchvision("MNIST", train=False),
    "fashion-mnist": _torchvision("FashionMNIST", train=False),
}


_CLASSES = {"imagenet": 1000, "cub200": 200, "cifar100": 100, "cifar10": 10, "mnist": 10, "fashion-mnist": 10}
_CLASSES |= {"digits": 10}


def _n_classes(name: str) -> int | None:
    """Number of classes of a data set, of which the offline ones have part of the name."""
    return next((count for start, count in _CLASSES.items() if name.startswith(start)), None)


def load_samples(spec: str, preparation: Preparation, limit: int | None = None, seed: int = 0) -> Samples:
    """Images by name.

    Args:
        spec: a name of `OFFLINE`, or KIND:FOLDER with a kind of `FOLDERS`, such as imagenet:/data/imagenet.
        preparation: what the network wants.
        limit: how many images; of a data set in a folder they are drawn by `seed`, else they are the first.
        seed: see `limit`.

    Raises:
        ValueError: an unknown name, or a folder that is missing or has another layout.
    """
    kind, separator, folder = spec.partition(":")
    if separator and kind in FOLDERS:
        source = FOLDERS[kind](Path(folder))
        drawn = np.random.default_rng(seed).permutation(len(source))[:limit]
        return Samples(kind, source, tuple(sorted(int(index) for index in drawn)), preparation, _n_classes(kind))
    if spec not in OFFLINE:
        kinds = ", ".join(f"{name}:FOLDER" for name in FOLDERS)
        raise ValueError(f"Expected images as one of {', '.join(OFFLINE)} or {kinds}, but got {spec!r}.")
    source = OFFLINE[spec]()
    return Samples(spec, source, tuple(range(len(source)))[:limit], preparation, _n_classes(spec))
