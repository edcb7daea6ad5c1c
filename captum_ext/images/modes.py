"""Images by their mode: what a picture or an array says of its values decides what they mean, never their maximum."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.plain_checks import describe, is_tensor
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

Background = float | Sequence[float] | None
ValueRange = tuple[float, float] | None

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey: ITU-R 601-2, as Pillow and torchvision have it
_TILE = 2048
_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_GREY = ("1", "L", "LA", "La")
_ORIENTATION = 0x0112
_SAYS_ORIENTATION = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # where Pillow looks for it
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF
_UNIT = "floats from 0 to 1"
_DECLARED = "value_range=(black, white) declares others"


def image_to_pil(
    image: Any,
    *,
    channels: int = 3,
    background: Background = None,
    value_range: ValueRange = None,
    keep_depth: bool = False,
) -> Image.Image:
    """An image of any mode as Pillow's "RGB" or "L" of eight bits, which transforms and processors take.

    | mode | arrays and tensors of | how it is read |
    |---|---|---|
    | "L", "RGB", "P" (its palette), "CMYK", "YCbCr", "HSV", "LAB" | uint8 | white is 255 |
    | "1" | bool | 0 is black, 1 white |
    | "I;16" and its kin | uint16 | white is 65535, whatever the image's maximum is |
    | "F" | floats | in [0, 1]; others are refused |
    | "I" | other integers | refused: no value of theirs is white |

    `value_range` declares what black and white are in the last three rows, such as (0, 4095) for 12 bits in a file of
    16. A TIFF may say by itself that it has 12 bits, or that zero is white. An orientation in EXIF is obeyed; where
    EXIF is damaged the image is taken as it is stored, with a warning. Colours are taken as sRGB, whatever their
    profile is, and Pillow itself reads colours of 16 bits as eight.

    Args:
        image: a Pillow image; an array (H, W) or (H, W, C) or a tensor (H, W) or (C, H, W) of 1 (grey), 2 (grey,
            alpha), 3 (red, green, blue) or 4 (and alpha) channels.
        channels: 3, where grey is repeated, or 1, where colours become grey as 0.299 R + 0.587 G + 0.114 B.
        background: colour in [0, 1] behind an image with alpha or transparency, a number or one for each of red, green
            and blue. None: alpha is left out, and the colours are as they are stored, as torchvision's folders,
            timm and Hugging Face's processors have it.
        value_range: values of black and white, where the mode does not say them; values outside are refused.
        keep_depth: return an image of more than eight bits in grey as floats in [0, 1], Pillow's mode "F", whatever
            `channels` are.

    Raises:
        ArgumentTypeError: no image, or an array of another kind of numbers.
        ArgumentError: another mode, shape or number of channels, values without a white, or outside of their range.

    Example:
        >>> import numpy as np
        >>> from captum_ext.images import image_to_pil
        >>> image_to_pil(np.full((2, 2), 32896, np.uint16)).getpixel((0, 0))
        (128, 128, 128)
    """
    check_channels(channels)
    pixels = None if is_pil(image) else _array_of(image)
    if pixels is None:
        _load(image)
        orientation = orientation_of(image, "An image")
        return turned_by(pil_by_mode(image, channels, background, value_range, keep_depth), orientation)
    if pixels.ndim == 2 and (pixels.dtype == np.uint16 or _needs_range(pixels)):
        return _grey_of(_unit(pixels, value_range), channels, keep_depth)
    values = _mixed(_unit(pixels, value_range), channels, background)
    return _from_bytes((values * 255).round().astype(np.uint8))


def image_to_tensor(
    image: Any, *, channels: int = 3, background: Background = None, value_range: ValueRange = None
) -> Tensor:
    """An image of any mode as a float32 tensor (C, H, W) in [0, 1], of as many bits as it has.

    What is given and how it is read is that of `image_to_pil`: eight bits are divided by 255, 16 by 65535.

    Args:
        image: as in `image_to_pil`.
        channels: as in `image_to_pil`.
        background: as in `image_to_pil`.
        value_range: as in `image_to_pil`.

    Raises:
        ArgumentTypeError, ArgumentError: as `image_to_pil`.

    Example:
        >>> import numpy as np
        >>> from captum_ext.images import image_to_tensor
        >>> image_to_tensor(np.array([[0, 51, 255]], np.uint8), channels=1)
        tensor([[[0.0000, 0.2000, 1.0000]]])
    """
    import torch  # here, since whoever reads files alone needs none

    check_channels(channels)
    if is_pil(image):
        read = image_to_pil(image, channels=channels, background=background, value_range=value_range, keep_depth=True)
        values = _unit(np.asarray(read), None)
    else:
        values = _unit(_array_of(image), value_range)
    return torch.from_numpy(np.ascontiguousarray(_mixed(values, channels, background).transpose(2, 0, 1)))


def check_channels(channels: int) -> None:
    """Refuse what is neither colour nor grey.

    Raises:
        ArgumentError: not 1 or 3.
    """
    if channels not in (1, 3):
        raise ArgumentError("channels", "3 (red, green, blue) or 1 (grey)", describe(channels))


def pil_by_mode(
    image: Image.Image, channels: int, background: Background, value_range: ValueRange, keep_depth: bool
) -> Image.Image:
    """A loaded Pillow image by its mode, not turned; see `image_to_pil`."""
    if image.mode.startswith(("I", "F")):
        return _grey_of(_deep(image, value_range), channels, keep_depth)
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        image = _flat(image, background)
    if image.mode == "LAB":
        image = _from_lab(image)
    mode = "L" if channels == 1 else "RGB"
    if channels == 1 and image.mode not in _GREY:  # a palette, say, has colours that are to become grey
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def orientation_of(image: Image.Image, name: str) -> int | None:
    """How a loaded image is to be turned, as EXIF counts it; None where nothing says so.

    Damaged metadata is no reason to lose a picture: a warning says that it is taken as it is stored.
    """
    if _ORIENTATION not in getattr(image, "tag_v2", {_ORIENTATION: 0}):  # Pillow has turned a TIFF, and dropped its tag
        return None
    entries: dict[int, Any] = {}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            entries = dict(image.getexif())
        except Exception as error:  # Pillow's readers of metadata raise what they like, and others warn
            warnings.warn(str(error) or type(error).__name__, stacklevel=2)
    orientation = entries.get(_ORIENTATION)
    if orientation is None and (said or not (entries or _is_empty(image.info.get("exif", b"")))):
        what = f" ({str(said[0].message).strip()})" if said else ""
        warn_caller(f"{name} has EXIF data that cannot be read{what}: it is taken as it is stored, not turned.")
    return orientation if isinstance(orientation, int) else None


def _is_empty(exif: bytes) -> bool:
    """Whether EXIF data are none, or say themselves that they have no entry."""
    data = exif.removeprefix(b"Exif\0\0")
    order: Literal["little", "big"] = "little" if data.startswith(b"II*\0") else "big"
    start = int.from_bytes(data[4:8], order)
    return not data or (len(data) >= start + 2 > 2 and data[start : start + 2] == b"\0\0")


def turned_by(image: Image.Image, orientation: int | None) -> Image.Image:
    """An image turned as its camera says, and without what says so: whoever reads it again would turn it again."""
    from PIL.Image import Transpose

    method = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation or 1)
    if method is None:
        return image
    turned = image.transpose(method)
    turned.info = {name: value for name, value in image.info.items() if name not in _SAYS_ORIENTATION}
    return turned


def is_pil(image: Any) -> bool:
    """Whether it is an image of Pillow, which is not imported for those who have none."""
    pillow = sys.modules.get("PIL.Image")
    return pillow is not None and isinstance(image, pillow.Image)


def _load(image: Any) -> None:
    """Decode an image. Pillow maps a TIFF of a path into memory, by the sides that it has when it is turned."""
    path = getattr(image, "filename", None) if image.format == "TIFF" else None
    if not path:
        image.load()
        return
    image.filename = ""
    try:
        image.load()
    finally:
        image.filename = path


def _array_of(image: Any) -> NDArray[Any]:
    """An array (H, W) or (H, W, C) of what is no Pillow image."""
    if is_tensor(image):
        pixels = image.detach().cpu()
        pixels = pixels.float() if str(pixels.dtype) == "torch.bfloat16" else pixels
        array: NDArray[Any] = (pixels.permute(1, 2, 0) if pixels.dim() == 3 else pixels).numpy()
        layout = "a tensor (H, W) or (C, H, W) of 1 to 4 channels"
    elif isinstance(image, np.ndarray):
        array, layout = image, "an array (H, W) or (H, W, C) of 1 to 4 channels (as a tensor (C, H, W))"
    else:
        raise ArgumentTypeError("image", "a Pillow image, an array or a tensor", describe(image))
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] > 4):
        raise ArgumentError("image", layout, f"shape {tuple(image.shape)}")
    if array.dtype.kind not in "buif":
        raise ArgumentTypeError("image", "of numbers or truths", f"dtype {array.dtype}")
    return array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array


def _needs_range(pixels: NDArray[Any]) -> bool:
    """Whether the kind of numbers does not say what white is."""
    return pixels.dtype.kind == "f" or pixels.dtype not in (np.bool_, np.uint8, np.uint16)


def _unit(pixels: NDArray[Any], value_range: ValueRange) -> NDArray[np.float32]:
    """Values in [0, 1]."""
    if pixels.dtype == np.bool_:
        return pixels.astype(np.float32)
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / np.float32(255)  # type: ignore[no-any-return]
    black, white = _ends(pixels.dtype, value_range)
    low, high = float(pixels.min()), float(pixels.max())
    _check_inside(low, high, pixels.dtype.kind, black, white)
    if (black, white) == (0, 1):
        return pixels.astype(np.float32)
    unit: NDArray[np.float32] = ((pixels.astype(np.float64) - black) / (white - black)).astype(np.float32)
    return unit


def _ends(dtype: np.dtype[Any], value_range: ValueRange) -> tuple[float, float]:
    """The values of black and white."""
    if value_range is not None:
        ends = tuple(value_range) if isinstance(value_range, Sequence) else ()
        if len(ends) != 2 or not all(map(np.isfinite, ends)) or not ends[0] < ends[1]:
            raise ArgumentError("value_range", "two numbers, black below white", describe(value_range))
        return float(ends[0]), float(ends[1])
    if dtype.kind != "f" and dtype != np.uint16:
        raise ArgumentError("image", f"of 8 or 16 bits without sign, or {_UNIT}; {_DECLARED}", f"integers of {dtype}")
    return (0.0, 1.0) if dtype.kind == "f" else (0.0, 65535.0)


def _check_inside(low: float, high: float, kind: str, black: float, white: float) -> None:
    if not (black <= low and high <= white):  # NaN is in no range
        expected = f"{_UNIT}; {_DECLARED}" if (black, white) == (0, 1) else f"values from {black:g} to {white:g}"
        raise ArgumentError("image", expected, f"{'floats' if kind == 'f' else 'values'} from {low:g} to {high:g}")


def _deep(image: Image.Image, value_range: ValueRange) -> Image.Image:
    """An image of 16 or 32 bits as floats in [0, 1], tile by tile: whole arrays would be three times its size."""
    from PIL import Image

    black, white = _ends_of(image, value_range)
    unit = Image.new("F", image.size)
    low, high, is_finite = np.inf, -np.inf, True
    for box in _tiles(*image.size):
        values = np.asarray(image.crop(box), dtype=np.float64)
        low, high, is_finite = (
            min(low, values.min()),
            max(high, values.max()),
            is_finite and bool(np.isfinite(values).all()),
        )
        unit.paste(Image.fromarray(((values - black) / (white - black)).astype(np.float32)), box[:2])
    if not is_finite:
        raise ArgumentError("image", "finite", "values that are not finite")
    _check_inside(low, high, "f" if image.mode == "F" else "i", *sorted((black, white)))
    return unit


def _ends_of(image: Image.Image, value_range: ValueRange) -> tuple[float, float]:
    """The values of black and white in an image of 16 or 32 bits; black is above white where a TIFF says so."""
    # Older versions of Pillow have the 16 bits of these formats in the mode of 32.
    is_16 = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    black, white = _ends(np.dtype(np.uint16 if is_16 else np.float32 if image.mode == "F" else np.int32), value_range)
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS)
    if value_range is None and is_16 and bits in (12, (12,)):  # which Pillow gives the mode of 16
        white = 4095.0
    return (white, black) if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else (black, white)


def _tiles(width: int, height: int) -> list[tuple[int, int, int, int]]:
    return [
        (left, top, min(left + _TILE, width), min(top + _TILE, height))
        for top in range(0, height, _TILE)
        for left in range(0, width, _TILE)
    ]


def _grey_of(unit: Image.Image | NDArray[np.float32], channels: int, keep_depth: bool) -> Image.Image:
    """Grey in [0, 1] as it is, or with eight bits."""
    from PIL import Image

    unit = Image.fromarray(unit) if isinstance(unit, np.ndarray) else unit
    if keep_depth:
        return unit
    shades = Image.new("L", unit.size)
    for box in _tiles(*unit.size):
        values = np.asarray(unit.crop(box), dtype=np.float64)
        shades.paste(Image.fromarray((values * 255).round().astype(np.uint8)), box[:2])
    return shades if channels == 1 else shades.convert("RGB")


def _flat(image: Image.Image, background: Background) -> Image.Image:
    """Without alpha: the colours as they are stored, or over a background."""
    from PIL import Image

    if image.mode in ("La", "RGBa"):  # colours that are multiplied by alpha already
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if background is None:
        if image.mode == "P":  # straight to "RGB" Pillow would warn
            image = image.convert("RGBA")
        return image.convert("L" if image.mode == "LA" else "RGB") if image.mode in _WITH_ALPHA else image
    colour = tuple(round(255 * value) for value in _colour(background))
    return Image.alpha_composite(Image.new("RGBA", image.size, (*colour, 255)), image.convert("RGBA")).convert("RGB")


def _colour(background: float | Sequence[float]) -> tuple[float, float, float]:
    """Red, green and blue in [0, 1]."""
    values = tuple(background) if isinstance(background, Sequence) else (background,)
    numbers = [value for value in values if isinstance(value, int | float) and 0 <= value <= 1]
    if len(numbers) != len(values) or len(values) not in (1, 3):
        raise ArgumentError("background", "a number from 0 to 1, or three for red, green, blue", describe(background))
    red, green, blue = numbers * 3 if len(numbers) == 1 else numbers
    return red, green, blue


def _from_lab(image: Image.Image) -> Image.Image:
    """Lab (of the white point D50, as Pillow and ICC profiles have it) in sRGB."""
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, rgb, "LAB", "RGB"))
    return image if converted is None else converted


def _mixed(values: NDArray[np.float32], channels: int, background: Background) -> NDArray[np.float32]:
    """Values (H, W) or (H, W, 1 to 4) in [0, 1] as (H, W, channels)."""
    if values.ndim == 2:
        return np.repeat(values[:, :, None], channels, 2)
    if values.shape[2] in (2, 4):
        alpha, values = values[:, :, -1:], values[:, :, :-1]
        if background is not None:
            behind = np.array(_colour(background), dtype=np.float32)
            values = values * alpha + behind * (1 - alpha)  # (H, W, 3)
    if values.shape[2] == channels:
        return values
    if channels == 3:
        return np.repeat(values, 3, 2)
    return (values @ np.array(_LUMA, dtype=np.float32))[:, :, None]


def _from_bytes(pixels: NDArray[np.uint8]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
