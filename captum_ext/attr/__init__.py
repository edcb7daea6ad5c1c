"""Attribution methods, named and called as those of `captum.attr`."""

from captum_ext.attr.agi.adversarial_gradient_integration import AGI
from captum_ext.attr.blur_ig import BlurIG
from captum_ext.attr.excitation.excitation_backprop import MWP, ExcitationBackprop
from captum_ext.attr.expected_gradients import EG, ExpectedGradients
from captum_ext.attr.guided_ig import GuidedIG
from captum_ext.attr.important_direction_ig import ImportantDirectionIG
from captum_ext.attr.integrated_gradients import IntegratedGradients
from captum_ext.attr.layers import (
    LayerEG,
    LayerExpectedGradients,
    LayerImportantDirectionIG,
    LayerIntegratedGradients,
    LayerLocalPathIntegration,
    LayerLPI,
    LayerWeightedIG,
    LayerWeightedIntegratedGradients,
    NeuronEG,
    NeuronExpectedGradients,
    NeuronImportantDirectionIG,
    NeuronIntegratedGradients,
    NeuronLocalPathIntegration,
    NeuronLPI,
    NeuronWeightedIG,
    NeuronWeightedIntegratedGradients,
)
from captum_ext.attr.local_path_integration import LPI, LocalPathIntegration
from captum_ext.attr.paths.precision import expected_change, n_steps_for, relative_error
from captum_ext.attr.registry import METHODS, method_class, method_settings
from captum_ext.attr.rise import RISE
from captum_ext.attr.samp.salient_manipulation_path import SAMP, PathScores, SalientManipulationPath
from captum_ext.attr.weighted_ig.weighted_integrated_gradients import (
    BaselineFitness,
    WeightedIG,
    WeightedIntegratedGradients,
)
from captum_ext.attr.xrai.xrai import XRAI

__all__ = [
    "AGI",
    "EG",
    "LPI",
    "METHODS",
    "MWP",
    "RISE",
    "SAMP",
    "XRAI",
    "BaselineFitness",
    "BlurIG",
    "ExcitationBackprop",
    "ExpectedGradients",
    "GuidedIG",
    "ImportantDirectionIG",
    "IntegratedGradients",
    "LayerEG",
    "LayerExpectedGradients",
    "LayerImportantDirectionIG",
    "LayerIntegratedGradients",
    "LayerLPI",
    "LayerLocalPathIntegration",
    "LayerWeightedIG",
    "LayerWeightedIntegratedGradients",
    "LocalPathIntegration",
    "NeuronEG",
    "NeuronExpectedGradients",
    "NeuronImportantDirectionIG",
    "NeuronIntegratedGradients",
    "NeuronLPI",
    "NeuronLocalPathIntegration",
    "NeuronWeightedIG",
    "NeuronWeightedIntegratedGradients",
    "PathScores",
    "SalientManipulationPath",
    "WeightedIG",
    "WeightedIntegratedGradients",
    "expected_change",
    "method_class",
    "method_settings",
    "n_steps_for",
    "relative_error",
]
