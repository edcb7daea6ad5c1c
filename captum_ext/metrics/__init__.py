"""Metrics of attributions: pure functions on tensors, on the model's device, one number for each row."""

from captum_ext.metrics.curves import PerturbationCurve, deletion, diff_id, insertion
from captum_ext.metrics.localisation import concentration, gini, iou, pointing_game

__all__ = [
    "PerturbationCurve",
    "concentration",
    "deletion",
    "diff_id",
    "gini",
    "insertion",
    "iou",
    "pointing_game",
]
