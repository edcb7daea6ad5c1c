"""Samples as people have them: tensors, images, tuples, dictionaries, rows of Hugging Face data sets, streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, default_collate

from captum_ext.core.checks import check_positive_int, describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images.files import is_encoded, open_encoded, open_image
from captum_ext.images.folders import ImageFolder
from captum_ext.images.modes import check_channels, image_to_pil, is_pil

Prepare = Callable[[Any], Any]
Key = str | int | None

# What columns of images and labels are called in data sets of Hugging Face, torchvision and WebDataset.
_IMAGES = ("image", "img", "pixel_values", "jpg", "jpeg", "png", "webp", "input", "inputs")
_LABELS = ("label", "labels", "cls", "target", "class", "y", "fine_label")
_PIXELS = (torch.uint8, torch.uint16, torch.bool)
_SEVERAL = "images with a `prepare` of theirs, as in captum_ext.images.image_dataset(samples, prepare=...)"


@dataclass(frozen=True)
class SampleFormat:
    """Where in a sample its image and its label are, and how an image becomes what a model takes.

    Attributes:
        prepare: from a Pillow image to the model's input; None where samples hold inputs already.
        image_key: of the image in a dictionary, or its place in a tuple. None: found.
        label_key: of the label; None: found.
        channels: of the Pillow image that `prepare` gets, see `image_to_pil`.
    """

    prepare: Prepare | None = None
    image_key: Key = None
    label_key: Key = None
    channels: int = 3

    def of(self, samples: Any) -> SampleFormat:
        """The same with the keys that a data set of Hugging Face says itself, by the types of its columns."""
        features = getattr(samples, "features", None)
        if not isinstance(features, Mapping):
            return self
        images, labels = (
            [name for name, feature in features.items() if type(feature).__name__ == kind]
            for kind in ("Image", "ClassLabel")
        )
        image = images[0] if self.image_key is None and len(images) == 1 else self.image_key
        label = labels[0] if self.label_key is None and len(labels) == 1 else self.label_key
        return replace(self, image_key=image, label_key=label)

    def is_sample(self, element: Any) -> bool:
        """Whether an element is one sample by its nature, and no batch: it holds a Pillow image, or a file's bytes."""
        values = element.values() if isinstance(element, Mapping) else element
        return _is_whole(element) or (isinstance(element, Mapping | tuple | list) and any(map(_is_whole, values)))

    def located(self, sample: Any) -> Located:
        """A sample by its parts, of which none is read yet.

        Raises:
            ArgumentError, ArgumentTypeError: it cannot be known which part is the image, or what prepares it.
        """
        if is_encoded(sample):
            parts: tuple[Any, ...] = (sample,)
        elif isinstance(sample, Mapping):
            parts = self._of_mapping(sample)
        elif isinstance(sample, tuple | list) and sample:
            parts = self._of_tuple(sample)
        else:
            parts = (sample,)
        is_image = self._is_image(parts[0], alone=not isinstance(sample, Mapping))
        if is_image and self.prepare is None:
            raise ArgumentTypeError("samples", _SEVERAL, describe(parts[0]))
        is_several = isinstance(sample, Mapping | tuple | list) and not is_encoded(sample)
        return Located(parts, self if is_image else None, is_several)

    def read(self, sample: Any) -> Any:
        """The model's input, or a tuple that starts with it; what needs no reading comes back as it is.

        Raises:
            Exception: as `located`, and whatever is wrong with the image or in `prepare`.
        """
        return self.located(sample).read()

    def prepared(self, image: Any) -> Tensor:
        """One image as the model takes it, without a batch dimension, on the CPU."""
        if isinstance(image, str | Path):
            seen = open_image(image, channels=self.channels)
        elif is_encoded(image):
            seen = open_encoded(image, channels=self.channels)
        else:
            seen = image_to_pil(image, channels=self.channels)
        return _tensor_of(self.prepare(seen) if self.prepare is not None else seen)

    def _is_image(self, value: Any, alone: bool) -> bool:
        """Whether a value is still to be read; numbers of other kinds than those of pixels are a model's inputs."""
        if _is_whole(value):
            return True
        if isinstance(value, str | Path):
            return self.prepare is not None
        if isinstance(value, Tensor):
            return value.dtype in _PIXELS and (self.prepare is not None or not alone)
        return isinstance(value, np.ndarray) and value.dtype.kind in "bu" and (self.prepare is not None or not alone)

    def _of_tuple(self, sample: tuple[Any, ...] | list[Any]) -> tuple[Any, ...]:
        if self.image_key is None and self.label_key is None:
            return tuple(sample)
        try:
            image = sample[0 if self.image_key is None else self.image_key]  # type: ignore[index]
            label = sample[1 if self.label_key is None else self.label_key] if len(sample) > 1 else None  # type: ignore[index]
        except (IndexError, TypeError) as error:
            raise ArgumentError("image_key", f"a place in samples of {len(sample)} parts", f"{error}") from error
        return (image,) if label is None else (image, label)

    def _of_mapping(self, sample: Mapping[Any, Any]) -> tuple[Any, ...]:
        key = self._image_of(sample)
        label = self._label_of(sample, key)
        return (sample[key],) if label is None else (sample[key], sample[label])

    def _image_of(self, sample: Mapping[Any, Any]) -> Any:
        keys = list(sample)
        if self.image_key is not None:
            if self.image_key not in sample:
                raise ArgumentError("image_key", f"one of {keys}", repr(self.image_key))
            return self.image_key
        found = [key for key in keys if _is_whole(sample[key])] or [key for key in keys if _is_array(sample[key])]
        named = [key for key in found if key in _IMAGES]
        if not found:
            expected = "of tensors, of tuples of a tensor and a label, or of dictionaries with an image"
            raise ArgumentTypeError("samples", expected, describe(sample))
        if len(found) != 1 and len(named) != 1:
            expected = "given, the key of the image: captum_ext.images.image_dataset(samples, prepare, image_key=...)"
            raise ArgumentError("image_key", expected, f"samples with {keys}")
        return found[0] if len(found) == 1 else named[0]

    def _label_of(self, sample: Mapping[Any, Any], image: Any) -> Any:
        if self.label_key is not None:
            if self.label_key not in sample:
                raise ArgumentError("label_key", f"one of {list(sample)}", repr(self.label_key))
            return self.label_key
        named = [name for name in _LABELS if name in sample]
        numbers = [key for key in sample if key != image and _is_label(sample[key])]
        if named:
            return named[0]
        return numbers[0] if len(numbers) == 1 else None


@dataclass(frozen=True)
class Located:
    """The parts of a sample: its image and what follows; `format` where the image is still to be read."""

    parts: tuple[Any, ...]
    format: SampleFormat | None
    is_several: bool

    def read(self) -> Any:
        """The input, or a tuple that starts with it."""
        parts = self.parts if self.format is None else (self.format.prepared(self.parts[0]), *self.parts[1:])
        return parts if self.is_several else parts[0]


class ImageSamples(Dataset[Any]):
    """Samples by index, read as a format says; see `image_dataset`."""

    def __init__(self, samples: Any, sample_format: SampleFormat) -> None:
        self.samples, self.format = samples, sample_format

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.format.read(self.samples[index])


class ImageStream(IterableDataset[Any]):
    """Samples in order, read as a format says; see `image_dataset`."""

    def __init__(self, samples: Iterable[Any], sample_format: SampleFormat, length: int | None) -> None:
        self.samples, self.format, self.length = samples, sample_format, length

    def __iter__(self) -> Iterator[Any]:
        return map(self.format.read, islice(self.samples, self.length))


def image_dataset(
    samples: Any,
    prepare: Prepare | None = None,
    *,
    image_key: Key = None,
    label_key: Key = None,
    channels: int = 3,
    length: int | None = None,
) -> Dataset[Any]:
    """A data set of model inputs and labels from samples as they are, for fits, runs over data sets and loaders.

    Samples are dictionaries ("image" and "label", as rows of Hugging Face's `datasets` are), tuples that start with
    the image (as those of torchvision and WebDataset), or images alone. An image is a Pillow image, an array or a
    tensor of uint8, uint16 or bool, the path of a file, or a dictionary of "bytes" and "path" (columns of Hugging Face
    with `Image(decode=False)`); it is brought to "RGB" or "L" by its mode (`image_to_pil`)
    and given to `prepare`. Tensors and arrays of floats are the model's inputs already and stay as they are.

    `ReferenceDistribution.fit` and `attribute_dataset` take such samples without this function where they can know
    all of it: where the model has a `prepare` of its own, or where samples hold tensors.

    Args:
        samples: with `len` and an index (a list, a torch data set, one of Hugging Face's); an iterable that can be read
            again and again in one order; or the path of a folder, see `ImageFolder`.
        prepare: from a Pillow image to a tensor (C, H, W): transforms of torchvision or timm, `image_to_tensor`, the
            `prepare` of an adapted model, or a processor of Hugging Face.
        image_key: of the image in a dictionary, or its place in a tuple. None: the column of images that the data set
            declares, or the only image, or the only one with a usual name; in tuples the first.
        label_key: of the label. None: the declared column, one with a usual name ("label", "cls", ...), or the only
            integer; in tuples the second.
        channels: 3, or 1 for networks of grey images.
        length: of an iterable that does not know it: at most so many samples are read. A run over a data set needs it.

    Returns:
        A torch data set, by index where the samples have one, otherwise in order.

    Raises:
        ArgumentTypeError: samples that are read once only (an iterator, a generator), several splits at once, or none.
        ArgumentError: a length of what has one, or channels that are neither 1 nor 3.

    Example:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from captum_ext.images import image_dataset, image_to_tensor
        >>> rows = [{"image": Image.new("CMYK", (2, 2)), "label": 3}, {"image": np.zeros((2, 2), bool), "label": 4}]
        >>> image, label = image_dataset(rows, image_to_tensor)[0]
        >>> image.shape, image.min(), label
        (torch.Size([3, 2, 2]), tensor(1.), 3)
    """
    check_channels(channels)
    if length is not None:
        check_positive_int("length", length)
    if prepare is not None and not callable(prepare):
        raise ArgumentTypeError("prepare", "a function of a Pillow image", describe(prepare))
    if isinstance(samples, str | Path):
        return ImageFolder(samples, prepare, channels=channels)
    sample_format = SampleFormat(prepare, image_key, label_key, channels).of(samples)
    check_splits("samples", samples)
    if is_indexed(samples):
        if length is not None:
            raise ArgumentError("length", "given for an iterable without an index only", str(length))
        return ImageSamples(samples, sample_format)
    if isinstance(samples, Iterable) and not isinstance(samples, Iterator):
        return ImageStream(samples, sample_format, length)
    raise ArgumentTypeError(
        "samples",
        "with len and an index, or an iterable that can be read twice (an iterator or generator cannot: give an object "
        "whose __iter__ begins anew, such as datasets.IterableDataset.from_generator(function) makes one)",
        describe(samples),
    )


def unwrapped(samples: Any, forward_func: Any = None) -> tuple[Any, SampleFormat, int | None]:
    """The samples inside of an `image_dataset`, their format and, of a stream, the length that was given.

    Other samples are prepared by the model, where it can do that.
    """
    if isinstance(samples, ImageSamples | ImageStream):
        return samples.samples, samples.format, getattr(samples, "length", None)
    prepare = getattr(forward_func, "prepare", None)
    return samples, SampleFormat(prepare if callable(prepare) else None).of(samples), None


def check_splits(name: str, samples: Any) -> None:
    """Refuse several data sets in one dictionary, as Hugging Face returns where no split is named.

    Raises:
        ArgumentTypeError: such ones.
    """
    if isinstance(samples, Mapping):
        raise ArgumentTypeError(name, "one data set; of several splits name one", f"those of {list(samples)}")


def is_indexed(samples: Any) -> bool:
    """Whether samples have a length and an index."""
    return (
        hasattr(samples, "__getitem__")
        and hasattr(samples, "__len__")
        and not isinstance(samples, IterableDataset | Mapping | Tensor | str | bytes)
    )


class Grouped(IterableDataset[Any]):
    """Batches of an iterable in which single samples may be: these are read and put together."""

    def __init__(self, elements: Iterable[Any], sample_format: SampleFormat, size: int) -> None:
        self.elements, self.format, self.size = elements, sample_format, size

    def __iter__(self) -> Iterator[Any]:
        group: list[Any] = []
        for element in self.elements:
            is_sample = self.format.is_sample(element)
            if group and (not is_sample or len(group) == self.size):
                yield default_collate(group)
                group = []
            if is_sample:
                group.append(self.format.read(element))
            else:
                yield element
        if group:
            yield default_collate(group)


def _is_whole(value: Any) -> bool:
    """Whether a value is one image by its nature: Pillow's, or the bytes or path of a file as Hugging Face holds it."""
    return is_pil(value) or is_encoded(value)


def _is_array(value: Any) -> bool:
    """Whether a value may be an image or a batch of them, and no label."""
    return isinstance(value, Tensor | np.ndarray) and value.ndim > 1


def _is_label(value: Any) -> bool:
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return value.ndim <= 1 and "int" in str(value.dtype)
    return isinstance(value, int) and not isinstance(value, bool)


def _tensor_of(prepared: Any) -> Tensor:
    """What `prepare` returned as one image; processors of Hugging Face return a dictionary with a batch of one."""
    value = prepared["pixel_values"] if isinstance(prepared, Mapping) and "pixel_values" in prepared else prepared
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if not isinstance(value, Tensor):
        raise ArgumentTypeError("prepare", "a function that returns a tensor (C, H, W)", describe(prepared))
    value = value[0] if value.dim() == 4 and len(value) == 1 else value
    return value.detach().cpu()
