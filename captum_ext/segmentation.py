"""Segments of images, volumes and signals: the regions whose scores say where a cell's mass goes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_ext.core.checks import (
    MOST_STEPS,
    check_choice,
    check_count,
    check_number,
    check_numbers,
    check_positive_int,
    describe,
)
from captum_ext.core.devices import double
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images import check_normalisation, display_range

#: One image (H, W, C) in [0, 1] to integer labels (H, W); a volume (D, H, W, C) or a signal (T, C) likewise.
Segment = Callable[[NDArray[np.float64]], NDArray[Any]]

METHODS = ("slic", "felzenszwalb", "watershed", "grid")
_N_SEGMENTS = 50


class Segmenter:
    """Segments each image of a batch apart, with labels from zero without gaps; volumes and signals, too.

    Called, it segments images as they are seen, in [0, 1]; `of_inputs` takes images as a model does. A signal (N, C, T)
    is segmented as an image of one row, whose segments are intervals, and a volume of depth 1 as an image. Three
    channels are colours, whose distances SLIC measures as they are seen, but in signals.

    Args:
        method: "slic" (the default of the upsampler), "felzenszwalb" (not of volumes), "watershed" (all scikit-image's,
            with voxels as long as they are wide), "grid" (equal rectangles, boxes or windows), or a function from one
            image (H, W, C) in [0, 1] to integer labels (H, W), from a volume (D, H, W, C) or a signal (T, C) likewise.
        n_segments: how many to ask for; SLIC and watershed return fewer, felzenszwalb as many as its scale gives.
        mean: the model's input normalisation, a number or one for each channel, which `of_inputs` undoes; without it
            (and `std`) each image is scaled from its minimum and maximum. An upsampler has its own.
        std: see `mean`.

    Raises:
        ArgumentError, ArgumentTypeError: a setting that cannot be used, named.

    Example:
        >>> import torch
        >>> from captum_ext.segmentation import Segmenter
        >>> Segmenter("grid", n_segments=4)(torch.rand(1, 3, 4, 4))
        tensor([[[0, 0, 1, 1],
                 [0, 0, 1, 1],
                 [2, 2, 3, 3],
                 [2, 2, 3, 3]]])
    """

    def __init__(
        self, method: str | Segment = "slic", n_segments: int = _N_SEGMENTS, *, mean: Any = None, std: Any = None
    ) -> None:
        if not callable(method) or isinstance(method, type):
            check_choice("method", method, METHODS)
        self.method = method
        self.n_segments = check_positive_int("n_segments", n_segments, MOST_STEPS)
        self.mean, self.std = check_normalisation(mean, std)

    def __call__(self, images: Tensor) -> Tensor:
        """Labels (N, H, W) of images (N, C, H, W) in [0, 1], of volumes and signals likewise, on the images' device.

        Raises:
            ArgumentError: images of another number of dimensions, a method that does not divide volumes.
        """
        check_numbers("images", images)
        if images.dim() not in (3, 4, 5):
            expected = "images (N, C, H, W), volumes (N, C, D, H, W) or signals (N, C, T)"
            raise ArgumentError("images", expected, describe(images))
        arrays = images.detach().movedim(1, -1).cpu().double().numpy()
        labels = np.stack([_relabelled(self._segment(array)) for array in arrays])
        return torch.from_numpy(labels).to(images.device)

    def of_inputs(self, images: Tensor) -> Tensor:
        """Labels (N, H, W) of images (N, C, H, W) in the model's space, of volumes and signals likewise, on the images'
        device.

        Args:
            images: (N, C, H, W), volumes (N, C, D, H, W) or signals (N, C, T), as the model takes them.

        Raises:
            ArgumentError: images that `mean` and `std` do not bring into [0, 1], or of another number of channels.
        """
        return self(seen(images, self.mean, self.std)).to(images.device)

    def _segment(self, image: NDArray[np.float64]) -> NDArray[Any]:
        """Labels of one image, volume or signal, channels last."""
        if callable(self.method):
            return np.asarray(self.method(image))
        size = image.shape[:-1]
        is_colour = image.ndim > 2 and image.shape[-1] == 3
        if len(size) == 1:
            image = image[None]
        elif len(size) == 3 and size[0] == 1:
            image = image[0]
        if self.method == "slic":
            return _slic(image, self.n_segments, is_colour).reshape(size)
        if self.method == "felzenszwalb" and image.ndim == 4:
            others = '"slic", "watershed" or "grid"'
            raise ArgumentError("segmenter", f"{others} for volumes of size {size}", '"felzenszwalb"')
        methods = {"felzenszwalb": _felzenszwalb, "watershed": _watershed, "grid": _grid}
        return methods[self.method](image, self.n_segments).reshape(size)


def seen(images: Tensor, mean: Any, std: Any) -> Tensor:
    """What `display_range` gives, of signals (N, C, T), too."""
    if images.dim() == 3:
        return display_range(images[:, :, None], mean, std).squeeze(2)
    return display_range(images, mean, std)


class MultiScaleSegmenter:
    """Segments of several scales, which overlap, and reach beyond their edges: those that XRAI ranks.

    Each image is scaled from its minimum and maximum to [-1, 1] and resized; Felzenszwalb's method divides it at every
    scale; the segments of all scales, at the image's own size, are then dilated by a disk. Equal arguments give the
    segments of the `saliency` package of XRAI's authors.

    Args:
        scales: of Felzenszwalb's method: larger ones give larger segments.
        sigma: standard deviation of the blur before it, in pixels of the resized image.
        min_size: pixels of the smallest segment, in the resized image.
        resize: (H, W) at which images are divided; None: as they are.
        dilation: radius of the disk in pixels of the image. None: 5 for images whose shorter side is 224, as the
            authors have it, and in proportion for others.

    Raises:
        ArgumentError, ArgumentTypeError: a setting that cannot be used, named.

    Example:
        >>> import torch
        >>> from captum_ext.segmentation import MultiScaleSegmenter
        >>> image = torch.zeros(1, 1, 64, 64)
        >>> image[..., 32:] = 1
        >>> [masks] = MultiScaleSegmenter(scales=(50, 100), resize=None, dilation=0)(image)
        >>> masks.shape, masks.flatten(1).sum(1)  # both halves, at both scales
        (torch.Size([4, 64, 64]), tensor([2048, 2048, 2048, 2048]))
    """

    def __init__(
        self,
        scales: Sequence[float] = (50, 100, 150, 250, 500, 1200),
        *,
        sigma: float = 0.8,
        min_size: int = 150,
        resize: tuple[int, int] | None = (224, 224),
        dilation: int | None = None,
    ) -> None:
        if not isinstance(scales, Sequence) or isinstance(scales, str | bytes) or len(scales) == 0:
            raise ArgumentTypeError("scales", "a sequence of positive numbers", describe(scales))
        self.scales = tuple(check_number("scales", one, "positive numbers", _is_positive) for one in scales)
        self.sigma = check_number("sigma", sigma, "a number of at least zero", lambda value: 0 <= value < math.inf)
        self.min_size = check_positive_int("min_size", min_size, MOST_STEPS)
        if resize is not None and not (isinstance(resize, tuple) and len(resize) == 2):
            raise ArgumentTypeError("resize", "None, or a tuple (H, W)", describe(resize))
        self.resize = resize and tuple(check_positive_int("resize", side, MOST_STEPS) for side in resize)
        self.dilation = None if dilation is None else check_count("dilation", dilation, MOST_STEPS)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Segments (S, H, W) of each of the images (N, C, H, W), as booleans on the CPU."""
        radius = self.dilation
        if radius is None:
            radius = round(5 * min(images.shape[2:]) / 224)
        wide = images.detach().cpu()
        wide = wide if wide.dtype in (torch.float32, torch.float64) else wide.float()
        return [_dilated(self._masks(image), radius) for image in wide.permute(0, 2, 3, 1).numpy()]

    def _masks(self, image: NDArray[Any]) -> Tensor:
        from skimage.segmentation import felzenszwalb
        from skimage.transform import resize

        low, high = image.min(), image.max()
        scaled = (image - low) / (high - low) * 2 - 1 if high > low else np.zeros_like(image)
        if self.resize is not None:
            scaled = resize(scaled, self.resize, order=3, mode="constant", preserve_range=True, anti_aliasing=True)
        masks = []
        for scale in self.scales:
            labels = felzenszwalb(scaled, scale=scale, sigma=self.sigma, min_size=self.min_size, channel_axis=-1)
            if self.resize is not None:
                labels = resize(
                    labels, image.shape[:2], order=0, mode="constant", preserve_range=True, anti_aliasing=False
                ).astype(int)
            masks.append(masks_of(torch.from_numpy(_relabelled(labels))))
        return torch.cat(masks)


def _is_positive(value: float) -> bool:
    return 0 < value < math.inf


def masks_of(labels: Tensor) -> Tensor:
    """Masks (S, H, W) of labels (H, W) from zero without gaps, and of those of volumes and signals."""
    return labels == torch.arange(int(labels.max()) + 1, device=labels.device).reshape(-1, *(1,) * labels.dim())


def spread_over_segments(maps: Tensor, labels: Tensor) -> Tensor:
    r"""Maps at the scale of segments: the attribution of each segment, spread evenly over its pixels.

    $$A'_i = \frac{1}{|S|} \sum_{j \in S} A_j, \qquad i \in S$$

    Sums over segments, and so over the map, are what they were: a complete map stays complete. Sizes inside of a
    segment, and changes of sign there, are gone; it is a picture to look at (`captum_ext.visualize.show_segments` draws
    the borders, too), and a poorer order of pixels than the map's own.

    Args:
        maps: (N, C, H, W), each channel by itself; volumes (N, C, D, H, W) and signals (N, C, T) likewise.
        labels: segments (N, H, W) or (H, W) for all, from zero without gaps, as `Segmenter` returns them.

    Returns:
        Maps of the same shape and dtype, on their device.

    Raises:
        ArgumentError, ArgumentTypeError: maps that are no numbers or have no channels, labels of another size or with
            gaps.

    Example:
        >>> import torch
        >>> from captum_ext.segmentation import spread_over_segments
        >>> spread_over_segments(torch.tensor([[[[3.0, 1.0, -2.0, 0.0]]]]), torch.tensor([[0, 0, 1, 1]]))
        tensor([[[[ 2.,  2., -1., -1.]]]])
    """
    check_numbers("maps", maps)
    if maps.dim() not in (3, 4, 5) or not maps.is_floating_point() or maps.numel() == 0:
        expected = "maps (N, C, H, W), of volumes (N, C, D, H, W) or of signals (N, C, T), of floating point"
        raise ArgumentError("maps", expected, describe(maps))
    regions = check_labels("labels", labels, len(maps), tuple(maps.shape[2:]))
    mass = double(maps.detach()).flatten(2)
    places = regions.to(mass.device).flatten(1)[:, None].expand_as(mass)
    sums, areas = (mass.new_zeros(*mass.shape[:2], int(regions.max()) + 1) for _ in range(2))
    sums.scatter_add_(2, places, mass)
    areas.scatter_add_(2, places, torch.ones_like(mass))
    return (sums / areas).gather(2, places).view(maps.shape).to(maps.device, maps.dtype)


def _dilated(masks: Tensor, radius: int) -> Tensor:
    """Masks (S, H, W) that reach everything within a radius of them."""
    if radius == 0:
        return masks
    offset = torch.arange(-radius, radius + 1, device="cpu")
    disk = (offset[:, None] ** 2 + offset**2 <= radius**2).float()[None, None]
    parts = torch.split(masks, 32)
    return torch.cat(
        [torch.nn.functional.conv2d(one[:, None].float(), disk, padding=radius)[:, 0] > 0.5 for one in parts]
    )


def _slic(image: NDArray[np.float64], n_segments: int, is_rgb: bool) -> NDArray[Any]:
    from skimage.segmentation import slic

    # Colours become Lab, whose lightness ends at 100; other values end at 1.
    labels: NDArray[Any] = slic(
        image,
        n_segments=n_segments,
        compactness=10 if is_rgb else 0.1,
        start_label=0,
        channel_axis=-1,
        convert2lab=is_rgb,
    )
    return labels


def _felzenszwalb(image: NDArray[np.float64], n_segments: int) -> NDArray[Any]:
    from skimage.segmentation import felzenszwalb

    smallest = max(1, image.shape[0] * image.shape[1] // (4 * n_segments))
    labels: NDArray[Any] = felzenszwalb(image, scale=300, sigma=0.8, min_size=smallest, channel_axis=-1)
    return labels


def _watershed(image: NDArray[np.float64], n_segments: int) -> NDArray[Any]:
    from skimage.filters import sobel
    from skimage.segmentation import watershed

    labels: NDArray[Any] = watershed(sobel(image.mean(-1)), markers=n_segments, compactness=0.001)
    return labels


def _grid(image: NDArray[np.float64], n_segments: int) -> NDArray[Any]:
    height, width = image.shape[-3:-1]
    if image.ndim == 4:
        depth = image.shape[0]
        slabs = min(depth, max(1, round((n_segments * depth**2 / (height * width)) ** (1 / 3))))
        flat = _grid(image[0], max(1, round(n_segments / slabs)))
        layer = np.arange(depth) * slabs // depth
        return np.asarray(layer[:, None, None] * (int(flat.max()) + 1) + flat)
    rows = min(height, max(1, round((n_segments * height / width) ** 0.5)))
    columns = min(width, max(1, round(n_segments / rows)))
    row, column = np.arange(height) * rows // height, np.arange(width) * columns // width
    labels: NDArray[Any] = row[:, None] * columns + column[None, :]
    return labels


def _relabelled(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Labels from zero without gaps, in the order of the given labels."""
    flat = np.unique(labels, return_inverse=True)[1]
    return flat.reshape(labels.shape).astype(np.int64)


def check_labels(name: str, labels: Any, n_images: int, size: tuple[int, ...]) -> Tensor:
    """Return a user's label map as (N, *size), one row expanded to all images.

    Raises:
        ArgumentTypeError: not an integer tensor.
        ArgumentError: another size, or labels that do not run from zero without gaps.
    """
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ArgumentTypeError(
            name, f"an integer tensor of shape {size}, one for all or one for each image", describe(labels)
        )
    check_numbers(name, labels)
    maps = labels[None] if labels.dim() == len(size) else labels
    if maps.dim() != len(size) + 1 or tuple(maps.shape[1:]) != size or maps.shape[0] not in (1, n_images):
        raise ArgumentError(
            name, f"of shape {size}, one for all or one for each of {n_images} images", describe(labels)
        )
    for i, one in enumerate(maps):
        used = torch.unique(one)
        if int(used[0]) != 0 or int(used[-1]) != len(used) - 1:
            received = f"{len(used)} labels from {int(used[0])} to {int(used[-1])} in image {i}"
            raise ArgumentError(name, "labels from 0 without gaps", received)
    return maps.expand(n_images, *size).long()
