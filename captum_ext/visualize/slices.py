"""Figures of volumes and videos: some of their slices, on the scale of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from captum_ext.core.checks import check_choice, check_positive_int, describe
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError, ArgumentTypeError
from captum_ext.visualize.arrays import Limits
from captum_ext.visualize.inputs import Array, seen_volume, volume_maps
from captum_ext.visualize.looks import Caption, Look, check_words, listed, percent
from captum_ext.visualize.panels import prepared, range_of, summed_over
from captum_ext.visualize.sheet import Sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AXES = "a dimension of (D, H, W): 0, 1 or 2"


def show_slices(
    maps: Any,
    volume: Any = None,
    *,
    model: Any = None,
    slices: int | Sequence[int] = 6,
    axis: int = 0,
    caption: Caption = Caption(unit="attribution of a voxel"),
    look: Look = Look(),
    scale: str = "all",
    limits: Limits | None = None,
) -> Figure:
    """Slices of one volume, or frames of a video: a column for each, a row for each method, and one scale.

    The range is that of whole volumes, so that it does not depend on which slices are shown; the caption says how much
    of each map's mass is in them.

    Args:
        maps: method -> map, or one map: (D, H, W), (1, D, H, W), or (1, C, D, H, W), whose channels are summed.
        volume: the volume itself, (D, H, W), (C, D, H, W) or (1, C, D, H, W) of 1 or 3 channels: with `model` as that
            takes it; without, of 8 bits or in [0, 1], and otherwise scaled from its smallest number to its largest.
        model: an `AdaptedModel`, or what else has `display`.
        slices: how many, at equal distances, or which.
        axis: of (D, H, W), across which slices lie.
        caption: title, unit and notes.
        look: as in `show_maps`; smoothing is inside of slices.
        scale: what has one range and one colour bar: "all" maps, or each "method" (of which the units differ).
        limits: as in `show_maps`, with `scale="all"`.

    Raises:
        ArgumentTypeError, ArgumentError: no maps of one volume, slices that it does not have, other sizes.
        ArgumentsConflictError, NonFiniteError, MissingExtraError: as `show_maps`.

    Example:
        >>> import torch
        >>> from captum_ext.visualize import show_slices
        >>> figure = show_slices({"IG": torch.randn(1, 1, 8, 4, 4)}, torch.rand(1, 1, 8, 4, 4), slices=[0, 7])
        >>> [axis.get_title() for axis in figure.axes[:4]]
        ['slice 0', 'slice 7', 'IG', 'IG']
    """
    check_words(caption, look)
    check_choice("scale", scale, ("all", "method"))
    if limits is not None and scale != "all":
        raise ArgumentsConflictError(("limits", "scale"), f'one range is that of scale="all", not of "{scale}"')
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer) or axis not in (0, 1, 2):
        raise ArgumentError("axis", _AXES, describe(axis))
    given = maps if isinstance(maps, Mapping) else {"": maps}
    if not given:
        raise ArgumentError("maps", "at least one map", "an empty dictionary")
    read = {str(name): volume_maps(f"maps[{name!r}]" if name else "maps", one) for name, one in given.items()}
    shapes = {name: one.shape for name, (one, _) in read.items()}
    pixels, sentence = (None, "") if volume is None else seen_volume(volume, model)
    if pixels is not None:
        shapes["the volume"] = pixels.shape[:3]
    if len(set(shapes.values())) > 1:
        raise ArgumentError("maps", "of the volume's size", f"{shapes}")
    whole = {name: np.moveaxis(one, axis, 0) for name, (one, _) in read.items()}
    chosen = _chosen(slices, len(next(iter(whole.values()))))
    all_drawn = prepared(whole, look).values
    ready = prepared({name: one[chosen] for name, one in whole.items()}, look)
    said = [*summed_over({channels for _, channels in read.values()}), *ready.sentences, _about_mass(whole, chosen)]
    shown = None if pixels is None else np.moveaxis(pixels, axis, 0)[chosen]
    if scale == "all":
        own = dict.fromkeys(whole, range_of(list(all_drawn.values()), look, limits))
    else:
        own = {name: range_of([one], look) for name, one in all_drawn.items()}
        said += ["Each method has its own scale: colours do not compare"] * (len(own) > 1)
    ranges = {name: [own[name]] * len(chosen) for name in whole}
    titles = [f"slice {number}" for number in chosen]
    sheet = Sheet(ready.values, shown, ranges, 8, sideways=True)
    return sheet.draw(titles, caption, look, [sentence] * bool(sentence) + said)


def _chosen(slices: Any, count: int) -> list[int]:
    """Numbers of the slices."""
    if isinstance(slices, Sequence) and not isinstance(slices, str) and len(slices):
        if all(isinstance(one, int | np.integer) and -count <= one < count for one in slices):
            return [int(one) % count for one in slices]
        raise ArgumentError("slices", f"numbers of slices from 0 to {count - 1}", describe(slices))
    if isinstance(slices, Sequence):
        raise ArgumentTypeError("slices", "a number of slices, or a list of their numbers", describe(slices))
    wanted = min(check_positive_int("slices", slices), count)
    return [(2 * place + 1) * count // (2 * wanted) for place in range(wanted)]  # the middle of equal parts


def _about_mass(whole: Mapping[str, Array], chosen: Sequence[int]) -> str:
    """How much of each map is seen."""
    parts = {}
    for name, values in whole.items():
        sizes = np.abs(np.where(np.isfinite(values), values, 0))
        total = sizes.sum()
        parts[name] = percent(float(sizes[sorted(set(chosen))].sum() / total)) if total else "nothing"
    return f"Mass in the slices shown, of {len(next(iter(whole.values())))}: {listed(parts)}"
