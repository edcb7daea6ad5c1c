"""Upsamplers by name: one place for adapters, the command line and everything else that takes an upsampler."""

from __future__ import annotations

import inspect
from typing import Any

from captum_ext.core.checks import check_choice, describe
from captum_ext.exceptions import ArgumentTypeError
from captum_ext.images import check_normalisation
from captum_ext.upsampling.interpolation import InterpolationUpsampler
from captum_ext.upsampling.protocol import Upsampler
from captum_ext.upsampling.upsampler import USUUpsampler

#: What `make_upsampler` knows by name, each with one line.
UPSAMPLERS: dict[str, str] = {
    "usu": "redistribution of each cell's mass by what masking segments does to the model",
    "usu-paper": "the same with the paper's settings, and segments refined where scores change",
    "usu-fixed": "the paper's settings with one segmentation",
    "usu-iwmr": "the paper's global redistribution, which forgets the coarse map but for its total",
    "nearest": "nearest neighbour",
    "bilinear": "bilinear interpolation",
    "bicubic": "bicubic interpolation",
    "lanczos": "Lanczos interpolation",
}
_REDISTRIBUTING = {
    "usu": USUUpsampler,
    "usu-paper": USUUpsampler.paper,
    "usu-fixed": USUUpsampler.fixed,
    "usu-iwmr": USUUpsampler.iwmr,
}
_CALL = "upsampler(coarse, inputs, forward_func, target=None, additional_forward_args=None, size=None)"


def make_upsampler(upsampler: str | Upsampler, mean: Any = None, std: Any = None) -> Upsampler:
    """The upsampler of this name; an object or function with an upsampler's call is returned as it is.

    Args:
        upsampler: "usu" (`USU`), "usu-paper", "usu-fixed", "usu-iwmr" (its presets), "nearest", "bilinear", "bicubic",
            "lanczos", or any `Upsampler`.
        mean: the model's input normalisation, which the first four undo for the segmenter; an object has its own, and
            interpolation does not look at the image.
        std: see `mean`.

    Raises:
        ArgumentError: another name, or only one of `mean` and `std`.
        ArgumentTypeError: nothing that can be called as an upsampler; a class instead of an object.

    Example:
        >>> from captum_ext.upsampling import make_upsampler
        >>> make_upsampler("bicubic").mode
        'bicubic'
    """
    check_normalisation(mean, std)
    if not isinstance(upsampler, str):
        return _check_call(upsampler)
    check_choice("upsampler", upsampler, UPSAMPLERS)
    if upsampler in _REDISTRIBUTING:
        return _REDISTRIBUTING[upsampler](mean=mean, std=std)
    return InterpolationUpsampler(upsampler)


def _check_call(upsampler: Any) -> Upsampler:
    names = ", ".join(f'"{name}"' for name in UPSAMPLERS)
    if not callable(upsampler) or isinstance(upsampler, type):
        raise ArgumentTypeError("upsampler", f"{names} or a callable {_CALL}", describe(upsampler))
    try:
        signature = inspect.signature(upsampler)
    except ValueError:  # of some functions written in C
        return upsampler  # type: ignore[no-any-return]
    try:
        signature.bind(*(None,) * 6)
    except TypeError as error:
        received = f"{getattr(upsampler, '__name__', type(upsampler).__name__)}{signature}"
        raise ArgumentTypeError("upsampler", f"{names} or a callable {_CALL}", received) from error
    return upsampler  # type: ignore[no-any-return]
