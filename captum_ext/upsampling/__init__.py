"""Upsampling of coarse attribution maps as redistribution of mass."""

from captum_ext.upsampling.desiderata import DesiderataReport, check_desiderata
from captum_ext.upsampling.errors import alpha_error, beta_error, mass_deficit, mass_excess
from captum_ext.upsampling.interpolation import InterpolationUpsampler
from captum_ext.upsampling.pooling import pool_attribution
from captum_ext.upsampling.protocol import ScoringUpsampler, Upsampler, upsample_maps
from captum_ext.upsampling.redistribution import redistribute
from captum_ext.upsampling.refinement import Refinement
from captum_ext.upsampling.registry import UPSAMPLERS, make_upsampler
from captum_ext.upsampling.scoring import CoalitionScorer, PerturbationScorer
from captum_ext.upsampling.upsampler import USU, USUUpsampler

__all__ = [
    "UPSAMPLERS",
    "USU",
    "CoalitionScorer",
    "DesiderataReport",
    "InterpolationUpsampler",
    "PerturbationScorer",
    "Refinement",
    "ScoringUpsampler",
    "USUUpsampler",
    "Upsampler",
    "alpha_error",
    "beta_error",
    "check_desiderata",
    "make_upsampler",
    "mass_deficit",
    "mass_excess",
    "pool_attribution",
    "redistribute",
    "upsample_maps",
]
