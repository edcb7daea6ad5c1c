"""Weighted Integrated Gradients: the method, and the fitness of references."""

from captum_ext.attr.weighted_ig.weighted_integrated_gradients import (
    BaselineFitness,
    WeightedIG,
    WeightedIntegratedGradients,
)

__all__ = ["BaselineFitness", "WeightedIG", "WeightedIntegratedGradients"]
