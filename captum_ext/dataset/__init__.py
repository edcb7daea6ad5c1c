"""Whole data sets: attributions, rows and scores of every sample, in files, resumable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from captum_ext.core.lazy import on_first_use

if TYPE_CHECKING:
    from captum_ext.dataset.map_format import MapFormat
    from captum_ext.dataset.masks import OnMasks
    from captum_ext.dataset.results import DatasetAttributions
    from captum_ext.dataset.run import attribute_dataset
    from captum_ext.dataset.run_options import RunOptions

__all__ = ["DatasetAttributions", "MapFormat", "OnMasks", "RunOptions", "attribute_dataset"]

# Imported on first use: whoever only reads files of runs, as the page that shows them, waits for no torch.
_HOMES = {
    "DatasetAttributions": "captum_ext.dataset.results",
    "MapFormat": "captum_ext.dataset.map_format",
    "OnMasks": "captum_ext.dataset.masks",
    "RunOptions": "captum_ext.dataset.run_options",
    "attribute_dataset": "captum_ext.dataset.run",
}

__getattr__, __dir__ = on_first_use(__name__, _HOMES)
