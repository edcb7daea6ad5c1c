"""The upsamplers that the command line knows by name, each with one line."""

from __future__ import annotations

from captum_ext.core.checks import check_choice
from captum_ext.upsampling import UPSAMPLERS, Upsampler, make_upsampler
from captum_ext_integrations.cli.preparation import Preparation, ProcessorPreparation

__all__ = ["DEFAULT_UPSAMPLER", "UPSAMPLERS", "upsampler"]

DEFAULT_UPSAMPLER = "usu"


def upsampler(name: str, preparation: Preparation | ProcessorPreparation) -> Upsampler:
    """An upsampler by name, for images prepared in this way."""
    return make_upsampler(check_choice("upsampler", name, UPSAMPLERS), preparation.mean, preparation.std)
