"""Metrics of attributions: pure functions on tensors, on the model's device, one number for each row."""

from captum_ext.metrics.curves import PerturbationCurve, deletion, diff_id, insertion

__all__ = ["PerturbationCurve", "deletion", "diff_id", "insertion"]
