"""Figures of maps: methods beside each other on one scale, and two maps with their difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_ext.core.checks import check_choice, check_positive_int
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError
from captum_ext.visualize.arrays import Limits
from captum_ext.visualize.inputs import Array, named_maps, photographs, pixel_maps
from captum_ext.visualize.looks import Caption, Look, check_words
from captum_ext.visualize.panels import Range, check_places, check_titles, prepared_maps, range_of
from captum_ext.visualize.sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALES = ("all", "image", "map")
_BAND = 1.96  # of standard errors: 95 %


def show_maps(
    maps: Any,
    images: Any = None,
    *,
    model: Any = None,
    titles: str | Sequence[str] | None = None,
    caption: Caption = Caption(),
    look: Look = Look(),
    scale: str = "all",
    limits: Limits | None = None,
    columns: int = 8,
    places: Sequence[Any] | None = None,
) -> Figure:
    """Maps of methods beside their photographs: a row for each image, a column for each method, and one scale.

    The caption says what colours mean, what is beyond the scale (how many pixels, and how much of a map's mass they
    hold), and whatever was done with maps: sums over channels, cells, smoothing, pixels that are not finite. Maps with
    numbers below zero diverge around white; areas of such numbers are hatched, so that grey print shows them.

    Args:
        maps: method -> maps, or the maps of one method: (H, W), (N, H, W) as pytorch-grad-cam returns them, or
            (N, C, H, W) as Captum does, whose channels are summed. Tensors on any device, or arrays. Of fewer numbers
            than pixels, each is drawn as the area that it stands for.
        images: their photographs, see `overlay`; None: maps alone.
        model: an `AdaptedModel`, or what else has `display`, which undoes the normalisation of `images`.
        titles: of the images, one for each.
        caption: title, unit and notes.
        look: colours, limits by quantile, overlay, outline, smoothing.
        scale: what has one range and one colour bar: "all" maps, the maps of an "image", or each "map" (for methods
            whose numbers have different units, which do not compare).
        limits: the range, with `scale="all"`; None: `symmetric_limits` of all maps where one has a number below zero,
            else from zero.
        columns: panels in a row; more go into the next.
        places: what is explained of each image, to be framed: a box (x0, y0, x1, y1) in pixels, a mask (H, W), or None.

    Returns:
        A matplotlib Figure that pyplot does not know: it is shown where it is the last line of a notebook's cell, and
        `save_figure` writes it.

    For users of Captum's `visualize_image_attr`: "heat_map" is `show_maps(maps)`, "blended_heat_map" is
    `look=Look(overlay=True)`; pass the tensor as it is, not transposed; `sign="absolute_value"` is `maps.abs()`, which
    here sums sizes over channels, not the size of the sum; `outlier_perc` is a share of the mass there, `quantile` one
    of the pixels here. Its maps are normalised one by one.

    Raises:
        ArgumentTypeError, ArgumentError: no maps, shapes or numbers of images that do not fit, images that cannot be
            seen, other titles or places, another scale.
        ArgumentsConflictError: `limits` with several scales, or not symmetric with a signed palette.
        NonFiniteError: NaN or infinity in the photographs.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import torch
        >>> from captum_ext.visualize import Caption, show_maps
        >>> maps = {"IG": torch.randn(2, 3, 8, 8), "GradCAM": torch.rand(2, 2, 2)}
        >>> unit = "attribution of a pixel, in units of the logit"
        >>> figure = show_maps(maps, torch.rand(2, 3, 8, 8), titles=["cat", "dog"], caption=Caption(unit=unit))
        >>> len(figure.axes)  # two photographs, four maps, one colour bar
        7
    """
    check_words(caption, look)
    check_choice("scale", scale, SCALES)
    columns = check_positive_int("columns", columns)
    if limits is not None and scale != "all":
        raise ArgumentsConflictError(("limits", "scale"), f'one range is that of scale="all", not of "{scale}"')
    pixels, sentence = (None, "") if images is None else photographs(images, model)
    ready = prepared_maps(maps, look, None if pixels is None else (pixels.shape[1], pixels.shape[2]))
    count = len(next(iter(ready.values.values())))
    if pixels is not None and len(pixels) != count:
        hint = "; maps (C, H, W) of one image are given as (1, C, H, W)" if len(pixels) == 1 else ""
        raise ArgumentError("maps", f"of {len(pixels)} images", f"{count} maps of each method{hint}")
    if look.overlay and pixels is None:
        raise ArgumentsConflictError(("look", "images"), "an overlay needs photographs")
    ranges = _ranges(ready.values, look, scale, limits)
    said = [sentence] * bool(sentence) + ["Framed: what is explained"] * (places is not None) + ready.sentences
    sheet = Sheet(ready.values, pixels, ranges, columns)
    sheet.places = check_places(places, count)
    return sheet.draw(
        check_titles(titles, count), caption, look, [*said, *_about_scale(scale, count * len(ranges), count)]
    )


def _about_scale(scale: str, maps: int, images: int) -> list[str]:
    if scale == "map" and maps > 1:
        return ["Each map has its own scale and unit: colours do not compare"]
    return ["Each image has its own scale"] if scale == "image" and images > 1 else []


def _ranges(values: dict[str, Array], look: Look, scale: str, limits: Limits | None) -> dict[str, list[Range]]:
    """The range of each method's maps, one for each image."""
    count = len(next(iter(values.values())))
    if scale == "all":
        one = range_of(list(values.values()), look, limits)
        return {name: [one] * count for name in values}
    if scale == "image":
        signed = any((maps[np.isfinite(maps)] < 0).any() for maps in values.values())
        rows = [range_of([maps[row] for maps in values.values()], look, signed=signed) for row in range(count)]
        return dict.fromkeys(values, rows)
    return {name: [range_of([one], look) for one in maps] for name, maps in values.items()}


def show_errors(
    maps: Any,
    errors: Any,
    images: Any = None,
    *,
    model: Any = None,
    titles: str | Sequence[str] | None = None,
    caption: Caption = Caption(),
    look: Look = Look(),
) -> Figure:
    """Maps, their standard errors, and what of the maps is beyond 1.96 of these, beside each other on one scale.

    Args:
        maps: (N, C, H, W) as `attribute` returns them, whose channels are summed, or (N, H, W).
        errors: of the locations, (N, 1, H, W) or (N, H, W), as `attribute(..., return_standard_error="location")`
            returns them: the errors of several channels do not tell that of their sum.
        images: as in `show_maps`.
        model: as in `show_maps`.
        titles: of the images, one for each.
        caption: title, unit and notes.
        look: as in `show_maps`.

    Returns:
        A matplotlib Figure. Its caption says how many pixels are beyond 1.96 standard errors, where one in twenty of
        those whose true attribution is zero would be by chance.

    Raises:
        ArgumentTypeError, ArgumentError: as `show_maps`; also errors of another shape, or below zero.
        MissingExtraError: matplotlib is not installed.

    Example:
        >>> import torch
        >>> from captum_ext.visualize import show_errors
        >>> figure = show_errors(torch.randn(1, 3, 8, 8), torch.rand(1, 1, 8, 8), torch.rand(1, 3, 8, 8))
        >>> len(figure.axes)  # a photograph, three maps, one colour bar
        5
    """
    check_words(caption, look)
    values, channels = pixel_maps("maps", maps)
    spread, several = pixel_maps("errors", errors)
    if several > 1 or spread.shape != values.shape:
        expected = 'one number for each location, as return_standard_error="location" gives them'
        received = f"{several} channels" if several > 1 else f"{spread.shape} for maps {values.shape}"
        raise ArgumentError("errors", expected, received)
    if (spread < 0).any():
        raise ArgumentError("errors", "without negative numbers", "some below zero")
    beyond = np.abs(values) > _BAND * spread
    note = f"{100 * beyond.mean():.0f} % of the pixels are more than {_BAND} standard errors from zero"
    summed = (f"Pixels are sums over {channels} channels",) if channels > 1 else ()
    shown = {
        "attribution": values,
        "its standard error": spread,
        f"beyond {_BAND} standard errors": np.where(beyond, values, 0.0),
    }
    said = Caption(caption.title, caption.unit, (*caption.notes, *summed, note))
    return show_maps(shown, images, model=model, titles=titles, caption=said, look=look)


def show_comparison(
    first: Any,
    second: Any,
    images: Any = None,
    *,
    names: tuple[str, str] = ("first", "second"),
    model: Any = None,
    titles: str | Sequence[str] | None = None,
    caption: Caption = Caption(),
    look: Look = Look(),
) -> Figure:
    """Two maps and the second less the first, all on one scale; the caption says how alike they are.

    Args:
        first: maps as in `show_maps`, of one method.
        second: maps of the same size.
        images: as in `show_maps`.
        names: of both.
        model: as in `show_maps`.
        titles: as in `show_maps`.
        caption: as in `show_maps`.
        look: as in `show_maps`.

    Raises:
        ArgumentTypeError, ArgumentError, ArgumentsConflictError, NonFiniteError, MissingExtraError: as `show_maps`;
            maps of different sizes, equal names.

    Example:
        >>> import numpy as np
        >>> from captum_ext.visualize import show_comparison
        >>> figure = show_comparison(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0]]))
        >>> "correlation -1, largest difference 2" in " ".join(figure.get_supxlabel().split())
        True
    """
    check_words(caption, look)
    names = _two_names(names)
    (one, channels), (other, _) = (named_maps(value)[""] for value in (first, second))
    if one.shape != other.shape:
        raise ArgumentError("second", f"of the shape of first, {one.shape}", f"{other.shape}")
    with np.errstate(invalid="ignore"):
        difference = other - one
    said = [_alike(one, other)]
    if channels > 1:
        said.insert(0, f"Pixels are sums over {channels} channels")
    maps = {names[0]: one, names[1]: other, f"{names[1]} less {names[0]}": difference}
    caption = Caption(caption.title, caption.unit, (*caption.notes, *said))
    return show_maps(maps, images, model=model, titles=titles, caption=caption, look=look)


def _two_names(names: Any) -> tuple[str, str]:
    if not isinstance(names, tuple | list) or len(names) != 2 or str(names[0]) == str(names[1]) or "" in names:
        raise ArgumentError("names", "two names that differ", repr(names))
    return str(names[0]), str(names[1])


def _alike(first: Array, second: Array) -> str:
    """Correlation and largest difference of the numbers that both have."""
    both = np.isfinite(first) & np.isfinite(second)
    one, other = first[both], second[both]
    if not len(one):
        return "No pixel is finite in both"
    largest = f"largest difference {np.abs(other - one).max():.3g}"
    if one.std() == 0 or other.std() == 0:
        return f"One of both is constant, {largest}"
    return f"Pixels have the correlation {np.corrcoef(one, other)[0, 1]:.3g}, {largest}"
