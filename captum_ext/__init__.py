"""New attribution methods for Captum, pytorch-grad-cam and Quantus, by changing one import."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captum_ext.attr import (
        EG,
        LPI,
        SAMP,
        ExpectedGradients,
        LocalPathIntegration,
        SalientManipulationPath,
        WeightedIG,
        WeightedIntegratedGradients,
    )
    from captum_ext.core.nonfinite import on_nonfinite
    from captum_ext.core.rows import Shared
    from captum_ext.references import ReferenceDistribution
    from captum_ext.upsampling import USU, InterpolationUpsampler, USUUpsampler, check_desiderata, redistribute

__version__ = "0.2.0"

# Public name -> module: imported on first use, so that `import captum_ext` costs nothing by itself.
_HOMES = {
    "EG": "captum_ext.attr",
    "LPI": "captum_ext.attr",
    "SAMP": "captum_ext.attr",
    "WeightedIG": "captum_ext.attr",
    "ExpectedGradients": "captum_ext.attr",
    "LocalPathIntegration": "captum_ext.attr",
    "SalientManipulationPath": "captum_ext.attr",
    "WeightedIntegratedGradients": "captum_ext.attr",
    "ReferenceDistribution": "captum_ext.references",
    "Shared": "captum_ext.core.rows",
    "on_nonfinite": "captum_ext.core.nonfinite",
    "USU": "captum_ext.upsampling",
    "USUUpsampler": "captum_ext.upsampling",
    "InterpolationUpsampler": "captum_ext.upsampling",
    "check_desiderata": "captum_ext.upsampling",
    "redistribute": "captum_ext.upsampling",
}

__all__ = [
    "EG",
    "LPI",
    "SAMP",
    "USU",
    "ExpectedGradients",
    "InterpolationUpsampler",
    "LocalPathIntegration",
    "ReferenceDistribution",
    "SalientManipulationPath",
    "Shared",
    "USUUpsampler",
    "WeightedIG",
    "WeightedIntegratedGradients",
    "__version__",
    "check_desiderata",
    "on_nonfinite",
    "redistribute",
]


_SUBMODULES = (
    "attr",
    "core",
    "dataset",
    "exceptions",
    "images",
    "metrics",
    "models",
    "references",
    "segmentation",
    "selection",
    "testing",
    "upsampling",
    "visualize",
)


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"captum_ext.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
