"""Single images of files that nobody vouches for."""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from captum_ext.core.regular_files import MAX_MEGAPIXELS, limit_of, regular_file
from captum_ext.exceptions import ArgumentError
from captum_ext.images.modes import (
    Background,
    ValueRange,
    check_channels,
    orientation_of,
    pil_by_mode,
    turned_by,
)

if TYPE_CHECKING:
    from PIL import Image

#: Pixels of the largest image that is read, unless it is said otherwise.
MOST_PIXELS = 100_000_000
# What cameras and scanners write. Pillow knows others, some of which start another program.
_FORMATS = ("JPEG", "MPO", "PNG", "PPM", "BMP", "DIB", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000")
_WITH_COPIES = ("TIFF", "WEBP", "AVIF", "JPEG2000")  # their decoders hold an image several times
_RAISED = f"{MAX_MEGAPIXELS} in the environment raises the limit"
_MOST_SCANS, _ALWAYS_SCANS, _PIXELS_OF_SCANS = 200, 50, 5_000_000_000
_pillows_limit = threading.Lock()


def open_image(
    path: str | Path,
    *,
    channels: int = 3,
    background: Background = None,
    value_range: ValueRange = None,
    keep_depth: bool = False,
    max_pixels: int | None = None,
) -> Image.Image:
    """An image file as Pillow's "RGB" or "L", turned as its camera says; of an animation the first image.

    Modes are read as `image_to_pil` says: sixteen bits by their mode and not by what the image holds, floats in [0, 1].
    The size is checked before anything is decoded. Metadata that is damaged is left out, with a warning.

    Args:
        path: a regular file: JPEG, PNG, PPM, BMP, GIF, TIFF, WebP, and AVIF and JPEG 2000 where Pillow has them.
        channels: as in `image_to_pil`.
        background: as in `image_to_pil`.
        value_range: as in `image_to_pil`.
        keep_depth: as in `image_to_pil`.
        max_pixels: of the largest image that is read, for formats whose decoders keep copies (TIFF, WebP, AVIF, JPEG
            2000) half of it; None: 100 million, or what CAPTUM_EXT_MAX_MEGAPIXELS in the environment says.

    Raises:
        OSError: no such file, no image, a truncated or a larger one, or values without a white; the message has the
            path.
        ArgumentError: the environment variable holds no number, or `channels` are neither 1 nor 3.

    Example:
        >>> import tempfile, pathlib
        >>> from PIL import Image
        >>> from captum_ext.images import open_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(pathlib.Path(folder) / "red.tiff")
        ...     open_image(pathlib.Path(folder) / "red.tiff").getpixel((0, 0))
        (255, 0, 0)
    """
    check_channels(channels)
    path = Path(path)
    with regular_file(path) as file:
        return _opened(file, str(path), channels, background, value_range, keep_depth, max_pixels)


def is_encoded(value: Any) -> bool:
    """Whether a value is an image as data sets of Hugging Face hold it undecoded: a file's bytes, its path, or both."""
    if not isinstance(value, Mapping) or set(value) != {"bytes", "path"}:
        return False
    content, path = value["bytes"], value["path"]
    return isinstance(content, bytes) or (content is None and isinstance(path, str | Path))


def open_encoded(value: Mapping[str, Any], *, channels: int = 3) -> Image.Image:
    """An image of `is_encoded`, as `open_image` reads a file of it; bytes win over the path, which then is a name.

    Raises:
        OSError, ArgumentError: as `open_image`.
    """
    if value["bytes"] is None:
        return open_image(value["path"], channels=channels)
    check_channels(channels)
    name = f"bytes of {value['path']}" if value["path"] else "bytes of an image"
    return _opened(io.BytesIO(value["bytes"]), name, channels, None, None, False, None)


def _opened(
    file: BinaryIO,
    name: str,
    channels: int,
    background: Background,
    value_range: ValueRange,
    keep_depth: bool,
    max_pixels: int | None,
) -> Image.Image:
    """The image in a file, under whose name errors tell of it."""
    from PIL import Image, UnidentifiedImageError

    limit = limit_of(MAX_MEGAPIXELS, MOST_PIXELS, 1_000_000) if max_pixels is None else max_pixels
    try:
        with _pillow_reads(limit):
            image = _decoded(file, limit)
            seen = pil_by_mode(image, channels, background, value_range, keep_depth)
            return turned_by(seen, orientation_of(image, name))
    except UnidentifiedImageError as error:
        raise OSError(f"{name}: cannot identify image file (what is read: {', '.join(_FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise OSError(f"{name}: {str(error).partition(',')[0]}. {_RAISED}") from error
    except ArgumentError as error:
        if error.argument != "image":  # the caller's, whatever the file holds
            raise
        raise OSError(f"{name}: expected {error.expected}, but got {error.received}") from error
    except Exception as error:  # Pillow's formats raise what they like
        raise OSError(f"{name}: {str(error) or type(error).__name__}") from error


def _decoded(file: BinaryIO, limit: int) -> Image.Image:
    """The image as it is stored."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of very large images and odd palettes
        Image.init()
        image = Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])
        width, height = image.size
        most = limit // 2 if image.format in _WITH_COPIES else limit
        if not 1 <= width * height <= most:
            raise ValueError(f"{width} x {height} pixels, but of {image.format} at most {most} are read. {_RAISED}")
        _check_scans(image, file)
        image.load()
        return image


@contextmanager
def _pillow_reads(limit: int) -> Iterator[None]:
    """Pillow's own limit, which is one of the process, out of the way of a higher one, and put back."""
    from PIL import Image

    pillow: Any = Image
    if pillow.MAX_IMAGE_PIXELS is None or limit <= 2 * pillow.MAX_IMAGE_PIXELS:
        yield
        return
    with _pillows_limit:
        before, pillow.MAX_IMAGE_PIXELS = pillow.MAX_IMAGE_PIXELS, limit
        try:
            yield
        finally:
            pillow.MAX_IMAGE_PIXELS = before


def _check_scans(image: Image.Image, file: BinaryIO) -> None:
    """Refuse a JPEG that goes over its image again and again, which takes minutes of a small file."""
    if image.format not in ("JPEG", "MPO"):
        return
    place, scans, last = file.tell(), 0, b""
    file.seek(0)
    while block := file.read(1 << 20):
        scans += (last + block).count(b"\xff\xda")
        last = block[-1:]
    size = file.seek(0, os.SEEK_END)
    file.seek(place)
    most = max(_ALWAYS_SCANS, min(_MOST_SCANS, _PIXELS_OF_SCANS // (image.width * image.height)))
    if scans > most + size // 16384:  # what cameras append, as films, has some of these bytes by chance
        raise ValueError(f"a JPEG of {scans} scans, but at most {most} are read of this size")
