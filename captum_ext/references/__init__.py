"""References: where paths begin."""

from captum_ext.references.reference_distribution import ReferenceDistribution

__all__ = ["ReferenceDistribution"]
