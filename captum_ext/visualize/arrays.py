"""From numbers to colours: pure functions of arrays, which need no matplotlib."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.checks import check_number, check_positive_int, describe
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError, ArgumentTypeError, NonFiniteError
from captum_ext.visualize.inputs import Array, as_numbers, photographs, pixel_maps
from captum_ext.visualize.palettes import Palette, palette_of

Limits = tuple[float, float]
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of red, green and blue in grey print
_QUANTILE = 0.995
_BLACKEST = 0.45  # of a photograph beneath colours: the colour of a large number is darker


class Outside(NamedTuple):
    """What is beyond the shown range and has the colour of its end.

    Attributes:
        pixels: share of all pixels.
        mass: share of the sum of all sizes that these pixels hold.
    """

    pixels: float
    mass: float


def symmetric_limits(*maps: Any, quantile: float = _QUANTILE) -> Limits:
    """The range (-limit, limit) that shows one map, or many maps together.

    Maps beside each other compare only on one range: give all of them. The limit is a quantile of the sizes of all
    numbers, so that a few large ones leave something of the others to be seen; `share_outside` says what is beyond. It
    is the largest size where the quantile is zero, and 1 where all numbers are.

    Args:
        maps: tensors or arrays of any shapes. NaN and infinity have no size here.
        quantile: in (0, 1]; 1: nothing is beyond the range.

    Raises:
        ArgumentTypeError, ArgumentError: no map, no numbers, another quantile.
        NonFiniteError: no number is finite.

    Example:
        >>> import numpy as np
        >>> from captum_ext.visualize import symmetric_limits
        >>> symmetric_limits(np.array([0.5, -2.0]), np.array([1.0]), quantile=1)
        (-2.0, 2.0)
    """
    if not maps:
        raise ArgumentError("maps", "at least one map", "none")
    quantile = check_number("quantile", quantile, "a number in (0, 1]", lambda value: 0 < value <= 1)
    sizes = np.abs(np.concatenate([as_numbers("maps", one).ravel() for one in maps]))
    sizes = sizes[np.isfinite(sizes)]
    if not len(sizes):
        raise NonFiniteError("maps", "of finite numbers", "NaN or infinity everywhere")
    limit = float(np.quantile(sizes, quantile)) or float(sizes.max()) or 1.0
    return -limit, limit


def limits_of(*maps: Any, quantile: float = _QUANTILE) -> Limits:
    """`symmetric_limits` of maps with numbers below zero; of others the range (0, limit).

    Raises:
        ArgumentTypeError, ArgumentError, NonFiniteError: as `symmetric_limits`.
    """
    low, high = symmetric_limits(*maps, quantile=quantile)
    return (low if any(_is_signed(as_numbers("maps", one)) for one in maps) else 0.0), high


def _is_signed(values: Array) -> bool:
    return bool((values[np.isfinite(values)] < 0).any())


def share_outside(values: Any, limits: Limits) -> Outside:
    """How many of a map's pixels are beyond the shown range, and how much of its mass they hold.

    Args:
        values: a tensor or an array of any shape; NaN and infinity do not count.
        limits: the lowest and the highest number that have a colour of their own.

    Raises:
        ArgumentTypeError, ArgumentError: no numbers, or limits that are none.

    Example:
        >>> import numpy as np
        >>> from captum_ext.visualize import share_outside
        >>> share_outside(np.array([3.0, -1.0, 0.0, 0.0]), (-2, 2))
        Outside(pixels=0.25, mass=0.75)
    """
    numbers = as_numbers("values", values)
    low, high = check_limits(limits)
    numbers = numbers[np.isfinite(numbers)]
    sizes = np.abs(numbers)
    beyond = (numbers < low) | (numbers > high)
    largest = float(sizes.max(initial=0.0))
    if not largest:
        return Outside(0.0, 0.0)
    scaled = sizes / largest  # their sum stays finite
    return Outside(float(beyond.mean()), float(scaled[beyond].sum() / scaled.sum()))


def colorize(
    values: Any,
    limits: Limits | None = None,
    palette: str | Palette | None = None,
    *,
    nonfinite: tuple[int, int, int] | None = None,
) -> NDArray[np.uint8]:
    """Each number as a colour: the numbers of a figure's panel as an image.

    Args:
        values: a tensor or an array (...) of any shape.
        limits: the range that is shown; what is beyond has the colour of its end. None: `symmetric_limits` where a
            number is below zero, else from 0. Give one range for images that stand beside each other.
        palette: "signed" (blue, white at zero, orange), "magnitude" (its positive half) or "signed-print" (dark, grey
            at zero, light: keeps the sign in grey print), or a `Palette`. None: "signed" where `limits` begin below
            zero, else "magnitude".
        nonfinite: the colour of NaN and infinity, three numbers from 0 to 255. None: they raise.

    Returns:
        (..., 3) red, green and blue, 8 bits.

    Raises:
        ArgumentTypeError, ArgumentError: no numbers, limits that are none or, with a signed palette, not symmetric.
        NonFiniteError: NaN or infinity, and no colour for them.

    Example:
        >>> import torch
        >>> from captum_ext.visualize import colorize
        >>> colorize(torch.tensor([-2.0, 0.0, 2.0]), (-2, 2)).tolist()
        [[13, 63, 135], [255, 255, 255], [122, 36, 4]]
    """
    numbers = as_numbers("values", values)
    finite = np.isfinite(numbers)
    colour = None if nonfinite is None else _colour_of(nonfinite)
    if colour is None and not finite.all():
        raise NonFiniteError("values", "finite, or nonfinite= a colour", f"{int((~finite).sum())} NaN or infinite")
    colours, low, high = _scale(numbers, limits, palette)
    size = max(abs(low), abs(high))  # divided by it, no range is too long or too short for float64
    with np.errstate(over="ignore"):  # numpy 1 says it of what stands behind the end of an array: no share is above 1
        share = (np.where(finite, numbers, low).clip(low, high) / size - low / size) / (high / size - low / size)
    table = (colours.table * 255).round().astype(np.uint8)
    found: NDArray[np.uint8] = table[np.minimum((share * len(table)).astype(np.int64), len(table) - 1)]
    if colour is not None:
        found[~finite] = colour
    return found


def _colour_of(nonfinite: Any) -> tuple[float, ...]:
    expected = "None or red, green and blue from 0 to 255"
    if not isinstance(nonfinite, tuple | list) or len(nonfinite) != 3:
        raise ArgumentTypeError("nonfinite", expected, describe(nonfinite))
    return tuple(check_number("nonfinite", one, expected, lambda value: 0 <= value <= 255) for one in nonfinite)


def _scale(numbers: Array, limits: Limits | None, palette: Any) -> tuple[Palette, float, float]:
    """The palette and both ends of the range."""
    if limits is None:
        low, high = limits_of(numbers)
        if isinstance(palette, Palette | str) and palette_of(palette, True).signed:
            low = -high
    else:
        low, high = check_limits(limits)
    return check_scale(palette_of(palette, low < 0), (low, high)), low, high


def check_scale(palette: Palette, limits: Limits) -> Palette:
    """The palette, if its zero is the zero of the range.

    Raises:
        ArgumentsConflictError: a signed palette, and limits that are not symmetric.
    """
    if palette.signed and limits[0] != -limits[1]:
        reason = f'zero is in the middle of the palette "{palette.name}", so that the range has to be symmetric'
        raise ArgumentsConflictError(("limits", "palette"), f"{reason}, which {limits} is not")
    return palette


def check_limits(limits: Any) -> Limits:
    """Two finite numbers, the lower first.

    Raises:
        ArgumentTypeError, ArgumentError: something else.
    """
    expected = "a pair of finite numbers, the lower one first"
    if not isinstance(limits, tuple | list) or len(limits) != 2:
        raise ArgumentTypeError("limits", expected, describe(limits))
    low, high = (check_number("limits", one, expected, lambda value: bool(np.isfinite(value))) for one in limits)
    if low >= high:
        raise ArgumentError("limits", expected, describe(limits))
    return low, high


def overlay(
    images: Any,
    maps: Any,
    limits: Limits | None = None,
    palette: str | Palette | None = None,
    *,
    model: Any = None,
) -> NDArray[np.uint8]:
    """Maps over their photographs, which are grey and light, so that only the map has colours and only it is dark.

    The colour of `colorize` times the photograph's brightness, which is brought into [0.45, 1] first: where a map is
    zero, the photograph alone is seen.

    Args:
        images: photographs (N, C, H, W) as the model takes them, with `model`; without it, what can be seen: tensors
            or arrays in [0, 1] or of 8 bits, channels first or last, or Pillow's. Others are scaled from their minimum
            to their maximum.
        maps: (H, W), (N, H, W) as of pytorch-grad-cam, or (N, C, H, W) as of Captum, whose channels are summed. Of
            fewer numbers than pixels, each is drawn as the area that it stands for (`captum_ext.upsampling` has what
            interpolates or redistributes).
        limits: as in `colorize`; None: one range for all N maps.
        palette: "signed", "magnitude" or a `Palette`, whose zero should be white.
        model: what has a method `display`, such as an `AdaptedModel`, which undoes the normalisation of its images.

    Returns:
        (N, H, W, 3), 8 bits; of the photographs' size.

    Raises:
        ArgumentTypeError, ArgumentError: as `colorize`; another number of maps, maps larger than their photographs.
        NonFiniteError: NaN or infinity.

    Example:
        >>> import numpy as np
        >>> from captum_ext.visualize import overlay
        >>> black = np.zeros((1, 1, 2, 3))
        >>> overlay(black, np.array([[0.0, 1.0]])).tolist()
        [[[[115, 115, 115], [55, 16, 2]]]]
    """
    pixels, _ = photographs(images, model)
    values, _ = pixel_maps("maps", maps)
    if len(values) != len(pixels):
        raise ArgumentError("maps", f"of {len(pixels)} images", f"{len(values)} maps")
    colours = colorize(in_cells(values, (pixels.shape[1], pixels.shape[2])), limits, palette)
    shaded: NDArray[np.uint8] = (colours * brightness(pixels)[..., None]).round().astype(np.uint8)
    return shaded


def brightness(pixels: Array) -> Array:
    """How bright photographs (N, H, W, 3) are beneath colours, (N, H, W) in [0.45, 1]."""
    return np.asarray(_BLACKEST + (1 - _BLACKEST) * (pixels @ LUMINANCE))


def in_cells(values: Array, size: tuple[int, int]) -> Array:
    """Maps (N, h, w) of a photograph's size (H, W), each number as the area of its cell: (i*h // H, j*w // W).

    Raises:
        ArgumentError: maps that are larger.
    """
    here = values.shape[1:]
    if here == size:
        return values
    if here[0] > size[0] or here[1] > size[1]:
        raise ArgumentError("maps", f"no larger than their photographs, {size}", f"maps of {here}")
    rows, columns = (np.arange(whole) * few // whole for few, whole in zip(here, size, strict=True))
    return values[:, rows][:, :, columns]


def outline(maps: Any, share: float = 0.1, width: int = 1) -> NDArray[np.bool_]:
    """The border of the pixels with the largest numbers, to be drawn over anything.

    Args:
        maps: (H, W), (N, H, W) or (N, C, H, W), whose channels are summed.
        share: of a map's pixels that are inside, in (0, 1]. Pixels that are equal to the first one that is too many
            are outside, too: of a map that is zero but for a few pixels these few are inside, and of a constant one
            none is.
        width: of the line, in pixels; it lies inside.

    Returns:
        (N, H, W), True on the line.

    Raises:
        ArgumentTypeError, ArgumentError: as `colorize`; another share or width.
        NonFiniteError: NaN or infinity.

    Example:
        >>> import numpy as np
        >>> from captum_ext.visualize import outline
        >>> print(outline(np.pad(np.ones((3, 3)), 1), share=0.5)[0].astype(int))
        [[0 0 0 0 0]
         [0 1 1 1 0]
         [0 1 0 1 0]
         [0 1 1 1 0]
         [0 0 0 0 0]]
    """
    values, _ = pixel_maps("maps", maps)
    share = check_number("share", share, "a number in (0, 1]", lambda value: 0 < value <= 1)
    inside = np.stack([_largest(one, share) for one in values])
    within = np.pad(inside, ((0, 0), (1, 1), (1, 1)))
    for _ in range(min(check_positive_int("width", width), max(values.shape[1:]))):  # after so many nothing is left
        kept = within.copy()
        kept[:, 1:-1, 1:-1] &= within[:, :-2, 1:-1] & within[:, 2:, 1:-1] & within[:, 1:-1, :-2] & within[:, 1:-1, 2:]
        within = kept
    return inside & ~within[:, 1:-1, 1:-1]


def _largest(values: Array, share: float) -> NDArray[np.bool_]:
    """(H, W) the largest numbers, at most that share of them; equal ones are all in or all out."""
    if not np.isfinite(values).all():
        raise NonFiniteError("maps", "of finite numbers", "NaN or infinity")
    most = int(share * values.size)
    if most == values.size:
        return np.ones(values.shape, dtype=bool)
    first_left_out = np.partition(values.ravel(), values.size - most - 1)[values.size - most - 1]
    return np.asarray(values > first_left_out)
