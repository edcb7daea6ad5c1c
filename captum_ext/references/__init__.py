"""Reference sets: what inputs are compared with."""

from captum_ext.references.reference_distribution import ReferenceDistribution
from captum_ext.references.standard_baselines import standard_baselines
from captum_ext.references.weighted_ig_baselines import weighted_ig_baselines

__all__ = ["ReferenceDistribution", "standard_baselines", "weighted_ig_baselines"]
