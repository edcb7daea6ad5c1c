"""Whole data sets: attributions, rows and scores of every sample, in files, resumable."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captum_ext.dataset.map_format import MapFormat
    from captum_ext.dataset.results import DatasetAttributions
    from captum_ext.dataset.run import attribute_dataset
    from captum_ext.dataset.run_options import RunOptions

__all__ = ["DatasetAttributions", "MapFormat", "RunOptions", "attribute_dataset"]

# Imported on first use: whoever only reads files of runs, as the page that shows them, waits for no torch.
_HOMES = {
    "DatasetAttributions": "results",
    "MapFormat": "map_format",
    "RunOptions": "run_options",
    "attribute_dataset": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
