"""The upsamplers that the command line knows by name, each with one line."""

from __future__ import annotations

from captum_ext.core.checks import check_choice
from captum_ext.upsampling import InterpolationUpsampler, USUUpsampler
from captum_ext_integrations.cli.models import Preparation

DEFAULT_UPSAMPLER = "usu"
UPSAMPLERS: dict[str, str] = {
    "usu": "redistribution of each cell's mass by what masking segments does to the model",
    "usu-paper": "the same with the paper's settings (global redistribution)",
    "nearest": "nearest neighbour",
    "bilinear": "bilinear interpolation",
    "bicubic": "bicubic interpolation",
    "lanczos": "Lanczos interpolation",
}


def upsampler(name: str, preparation: Preparation) -> USUUpsampler | InterpolationUpsampler:
    """An upsampler by name, for images prepared in this way."""
    check_choice("upsampler", name, UPSAMPLERS)
    if name == "usu":
        return USUUpsampler(mean=preparation.mean, std=preparation.std)
    if name == "usu-paper":
        return USUUpsampler.paper(mean=preparation.mean, std=preparation.std)
    return InterpolationUpsampler(name)
