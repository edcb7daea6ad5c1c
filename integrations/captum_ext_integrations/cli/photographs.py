"""Single photographs in RGB, of files that nobody vouches for."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from captum_ext.core.optional import require
from captum_ext_integrations.cli.files import MAX_MEGAPIXELS, limit_of, regular_file

#: Pixels of the largest image that is read, unless it is said otherwise.
MOST_PIXELS = 100_000_000
# What cameras and scanners write. Pillow knows others, some of which start another program.
_FORMATS = ("JPEG", "MPO", "PNG", "PPM", "BMP", "DIB", "GIF", "TIFF", "WEBP", "AVIF", "JPEG2000")
_WITH_COPIES = ("TIFF", "WEBP", "AVIF", "JPEG2000")  # their decoders hold an image several times
_RAISED = f"{MAX_MEGAPIXELS} in the environment raises the limit"
_ORIENTATION = 0x0112
_MOST_SCANS, _ALWAYS_SCANS, _PIXELS_OF_SCANS = 200, 50, 5_000_000_000
_TILE = 2048
_pillows_limit = threading.Lock()


def open_image(path: Path, *, max_pixels: int | None = None) -> Any:
    """A photograph in RGB, turned as its camera says; of an animation the first image.

    Sixteen bits are brought to eight (white is 65535 whatever the image holds), floats are in [0, 1], or in [0, 255]
    where one is above 1. The size is checked before anything is decoded. Metadata that is damaged is left out.

    Args:
        path: a regular file: JPEG, PNG, PPM, BMP, GIF, TIFF, WebP, and AVIF and JPEG 2000 where Pillow has them.
        max_pixels: of the largest image that is read, for formats whose decoders keep copies (TIFF, WebP, AVIF, JPEG
            2000) half of it; None: 100 million, or what CAPTUM_EXT_MAX_MEGAPIXELS in the environment says.

    Raises:
        OSError: no such file, no image, or a larger one; the message has the path.
        ArgumentError: the environment variable holds no number.
    """
    limit = limit_of(MAX_MEGAPIXELS, MOST_PIXELS, 1_000_000) if max_pixels is None else max_pixels
    bomb = require("PIL.Image", "cli").DecompressionBombError
    unidentified = require("PIL", "cli").UnidentifiedImageError
    with regular_file(path) as file:
        try:
            with warnings.catch_warnings(), _pillow_reads(limit):
                warnings.simplefilter("ignore")  # of very large images and odd palettes
                return _turned(*_decoded(file, limit))
        except unidentified as error:
            raise OSError(f"{path}: cannot identify image file (what is read: {', '.join(_FORMATS)})") from error
        except bomb as error:
            raise OSError(f"{path}: {str(error).partition(',')[0]}. {_RAISED}") from error
        except Exception as error:  # Pillow's formats raise what they like
            raise OSError(f"{path}: {str(error) or type(error).__name__}") from error


def _decoded(file: BinaryIO, limit: int) -> tuple[Any, Any]:
    """The image in RGB as it is stored, and how it is to be turned."""
    pillow = require("PIL.Image", "cli")
    pillow.init()
    with pillow.open(file, formats=[name for name in _FORMATS if name in pillow.OPEN]) as image:
        width, height = image.size
        most = limit // 2 if image.format in _WITH_COPIES else limit
        if not 1 <= width * height <= most:
            raise ValueError(f"{width} x {height} pixels, but of {image.format} at most {most} are read. {_RAISED}")
        _check_scans(image, file)
        image.load()
        return _as_rgb(image), _orientation(image)


@contextmanager
def _pillow_reads(limit: int) -> Iterator[None]:
    """Pillow's own limit, which is one of the process, out of the way of a higher one, and put back."""
    pillow: Any = require("PIL.Image", "cli")
    if pillow.MAX_IMAGE_PIXELS is None or limit <= 2 * pillow.MAX_IMAGE_PIXELS:
        yield
        return
    with _pillows_limit:
        before, pillow.MAX_IMAGE_PIXELS = pillow.MAX_IMAGE_PIXELS, limit
        try:
            yield
        finally:
            pillow.MAX_IMAGE_PIXELS = before


def _check_scans(image: Any, file: BinaryIO) -> None:
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


def _as_rgb(image: Any) -> Any:
    """Eight bits a channel; Pillow would clip the sixteen of others."""
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    return image.convert("RGB")


def _eight_bits(image: Any) -> Any:
    """An image of integers or floats in grey, tile by tile."""
    pillow = require("PIL.Image", "cli")
    white = _white(image)
    shades = pillow.new("L", image.size)
    width, height = image.size
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            tile = image.crop((left, top, min(left + _TILE, width), min(top + _TILE, height)))
            values = np.asarray(tile, dtype=np.float64)
            if not np.isfinite(values).all():
                raise ValueError("values that are not finite")
            shades.paste(
                pillow.fromarray((values.clip(0, white) * (255 / white)).round().astype(np.uint8)), (left, top)
            )
    return shades


def _white(image: Any) -> float:
    """The value of white."""
    if image.mode == "F":
        low, high = image.getextrema()
        if not (low >= 0 and high <= 255):
            raise ValueError(f"floats from {low:g} to {high:g}, but what is read is from 0 to 1, or from 0 to 255")
        return 1.0 if high <= 1 else 255.0
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # which have 16 bits in this mode
        raise ValueError("integers of 32 bits or with signs, of which no value is white; save it with 8 or 16 bits")
    return 65535.0


def _orientation(image: Any) -> Any:
    """How a loaded image is still to be turned."""
    if _ORIENTATION not in getattr(image, "tag_v2", {_ORIENTATION: 0}):  # Pillow has turned a TIFF, and dropped its tag
        return None
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # damaged metadata is no reason to lose the picture
        return None


def _turned(image: Any, orientation: Any) -> Any:
    turns = require("PIL.Image", "cli").Transpose
    method = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(orientation)
    return image if method is None else image.transpose(method)
