"""Figures of segments: their borders over a photograph, and what each of them scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.checks import describe
from captum_ext.exceptions import ArgumentError
from captum_ext.visualize.arrays import LUMINANCE
from captum_ext.visualize.figures import show_maps
from captum_ext.visualize.inputs import Array, as_numbers, photographs
from captum_ext.visualize.looks import Caption, Look, check_words, name_of, new_figure, write_around
from captum_ext.visualize.panels import check_titles, draw_line, frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 100_000  # segments of which numbers are looked up


def show_segments(
    labels: Any,
    images: Any = None,
    *,
    scores: Any = None,
    model: Any = None,
    titles: str | Sequence[str] | None = None,
    caption: Caption = Caption(unit="score of a segment"),
    look: Look = Look(),
) -> Figure:
    """Borders of segments over their photographs, beside the segments' scores where they are given.

    Args:
        labels: integers (H, W) or (N, H, W), as `captum_ext.segmentation.Segmenter` returns them.
        images: photographs, see `overlay`; None: borders alone.
        scores: a number for each label from 0 (S,) or (N, S), or maps as in `show_maps`, such as the score map of an
            upsampler (N, H, W).
        model: as in `show_maps`.
        titles: of the images, one for each.
        caption: title, unit and notes.
        look: as in `show_maps`.

    Raises:
        ArgumentTypeError, ArgumentError: labels that are no integers, other sizes or numbers of images, labels without
            a score.
        ArgumentsConflictError, NonFiniteError, MissingExtraError: as `show_maps`.

    Example:
        >>> import torch
        >>> from captum_ext.segmentation import Segmenter
        >>> from captum_ext.visualize import show_segments
        >>> image = torch.rand(1, 3, 8, 8)
        >>> figure = show_segments(Segmenter("grid", n_segments=4)(image), image, scores=[0.0, 1.0, 2.0, 3.0])
        >>> figure.get_supxlabel().split(". ")[0]
        'Segments: 4'
    """
    check_words(caption, look)
    regions = _labels(labels)
    counts = ", ".join(str(len(np.unique(one))) for one in regions)
    caption = Caption(caption.title, caption.unit, (*caption.notes, f"Segments: {counts}"))
    pixels, sentence = (None, "") if images is None else photographs(images, model)
    if pixels is not None and pixels.shape[:3] != regions.shape:
        raise ArgumentError("labels", f"of the photographs' shape {pixels.shape[:3]}", f"{regions.shape}")
    if scores is None:
        return _borders(regions, pixels, check_titles(titles, len(regions)), caption, sentence)
    notes = (*caption.notes, sentence) if sentence else caption.notes
    figure = show_maps(
        _score_maps(scores, regions),
        pixels,
        titles=titles,
        caption=Caption(caption.title, caption.unit, notes),
        look=look,
    )
    per_image = 1 + (pixels is not None)
    for place, axis in enumerate([axis for axis in figure.axes if axis.images]):
        shown = pixels[place // per_image] if pixels is not None and place % per_image == 0 else None
        _draw_borders(axis, regions[place // per_image], shown)
    return figure


def _borders(
    regions: NDArray[np.int64], pixels: Array | None, titles: list[str], caption: Caption, said: str
) -> Figure:
    """Photographs with borders, and nothing else."""
    columns = min(len(regions), 4)
    rows = -(-len(regions) // columns)
    figure = new_figure(max(3 * columns, 4), 3.2 * rows + 0.4)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[len(regions) :]:
        axis.set_axis_off()
    for place, (axis, title) in enumerate(zip(axes, titles, strict=False)):
        shown = np.ones((*regions[place].shape, 3)) if pixels is None else pixels[place]
        axis.imshow(shown)
        axis.set_title(name_of(title), fontsize=9)
        frame(axis)
        _draw_borders(axis, regions[place], shown)
    return write_around(figure, caption, [said] if said else [])


def _draw_borders(axis: Any, regions: NDArray[np.int64], photograph: Array | None) -> None:
    """Where a pixel's label differs from that of the next one to the right or below."""
    line = np.zeros(regions.shape, dtype=bool)
    line[:, :-1] |= regions[:, :-1] != regions[:, 1:]
    line[:-1] |= regions[:-1] != regions[1:]
    dark = np.zeros_like(line) if photograph is None else photograph @ LUMINANCE < 0.5
    draw_line(axis, line, dark)


def _labels(labels: Any) -> NDArray[np.int64]:
    numbers = as_numbers("labels", labels)
    if numbers.ndim not in (2, 3) or not np.array_equal(numbers, np.floor(numbers)):
        received = describe(labels) if numbers.ndim == 0 else f"numbers of shape {numbers.shape}"
        raise ArgumentError("labels", "integers (H, W) or (N, H, W)", received)
    return numbers.astype(np.int64).reshape(-1, *numbers.shape[-2:])


def _score_maps(scores: Any, regions: NDArray[np.int64]) -> Array:
    """Each pixel's score (N, H, W)."""
    numbers = as_numbers("scores", scores)
    if numbers.shape[-2:] == regions.shape[-2:] and numbers.ndim >= 2 and numbers.size == regions.size:
        return numbers.reshape(regions.shape)
    if numbers.ndim not in (1, 2) or (numbers.ndim == 2 and len(numbers) != len(regions)):
        expected = f"(S,), (N, S) or maps of the labels' shape {regions.shape}"
        raise ArgumentError("scores", expected, f"shape {numbers.shape}")
    columns = np.broadcast_to(numbers, (len(regions), numbers.shape[-1]))
    if regions.min() < 0 or regions.max() >= min(columns.shape[1], _MOST):
        received = f"labels from {regions.min()} to {regions.max()} and {columns.shape[1]} scores"
        raise ArgumentError("scores", "one number for each label from 0", received)
    return np.stack([row[one] for row, one in zip(columns, regions, strict=True)])
