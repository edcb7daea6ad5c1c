"""Whole data sets: attributions, rows and scores of every sample, in files, resumable."""

from captum_ext.dataset.map_format import MapFormat
from captum_ext.dataset.results import DatasetAttributions
from captum_ext.dataset.run import attribute_dataset

__all__ = ["DatasetAttributions", "MapFormat", "attribute_dataset"]
