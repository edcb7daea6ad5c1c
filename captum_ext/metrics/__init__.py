"""Metrics of attributions: pure functions on tensors, on the model's device, one number for each row."""

from captum_ext.metrics.comparison import Comparison, compare
from captum_ext.metrics.curves import PerturbationCurve, deletion, diff_id, insertion
from captum_ext.metrics.faithfulness import Infidelity, infidelity, monotonicity, sensitivity_n
from captum_ext.metrics.localisation import attribution_variance, concentration, gini, iou, pointing_game
from captum_ext.metrics.ranking import Ranking
from captum_ext.metrics.removal import irof, pixel_flipping, road
from captum_ext.metrics.sweep import curves

__all__ = [
    "Comparison",
    "Infidelity",
    "PerturbationCurve",
    "Ranking",
    "attribution_variance",
    "compare",
    "concentration",
    "curves",
    "deletion",
    "diff_id",
    "gini",
    "infidelity",
    "insertion",
    "iou",
    "irof",
    "monotonicity",
    "pixel_flipping",
    "pointing_game",
    "road",
    "sensitivity_n",
]
