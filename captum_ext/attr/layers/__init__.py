"""The methods with straight paths inside of a model: at the activations of layers, and for the score of a neuron.

The method at the inputs chooses references and weighs them; what runs along the paths is the model from the layers on,
a function of their activations, with the inputs as further arguments that follow their rows. So rules, memory, targets
and delta are those of the inputs.
"""

from captum_ext.attr.layers.layer_attribution import LayerPathAttribution
from captum_ext.attr.layers.layer_methods import (
    LayerEG,
    LayerExpectedGradients,
    LayerImportantDirectionIG,
    LayerIntegratedGradients,
    LayerLocalPathIntegration,
    LayerLPI,
    LayerWeightedIG,
    LayerWeightedIntegratedGradients,
)
from captum_ext.attr.layers.neuron_attribution import NeuronPathAttribution
from captum_ext.attr.layers.neuron_methods import (
    NeuronEG,
    NeuronExpectedGradients,
    NeuronImportantDirectionIG,
    NeuronIntegratedGradients,
    NeuronLocalPathIntegration,
    NeuronLPI,
    NeuronWeightedIG,
    NeuronWeightedIntegratedGradients,
)

__all__ = [
    "LayerEG",
    "LayerExpectedGradients",
    "LayerImportantDirectionIG",
    "LayerIntegratedGradients",
    "LayerLPI",
    "LayerLocalPathIntegration",
    "LayerPathAttribution",
    "LayerWeightedIG",
    "LayerWeightedIntegratedGradients",
    "NeuronEG",
    "NeuronExpectedGradients",
    "NeuronImportantDirectionIG",
    "NeuronIntegratedGradients",
    "NeuronLPI",
    "NeuronLocalPathIntegration",
    "NeuronPathAttribution",
    "NeuronWeightedIG",
    "NeuronWeightedIntegratedGradients",
]
