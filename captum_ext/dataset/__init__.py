"""Whole data sets: attributions, rows and scores of every sample, in files, resumable."""

from captum_ext.dataset.map_format import MapFormat
from captum_ext.dataset.results import DatasetAttributions
from captum_ext.dataset.run import attribute_dataset
from captum_ext.dataset.run_options import RunOptions

__all__ = ["DatasetAttributions", "MapFormat", "RunOptions", "attribute_dataset"]
