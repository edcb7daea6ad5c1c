"""The methods with straight paths for the score of a neuron: Captum's form, with references and with scores."""

from __future__ import annotations

from torch import nn

from captum_ext.attr.expected_gradients import ExpectedGradients
from captum_ext.attr.important_direction_ig import ImportantDirectionIG
from captum_ext.attr.integrated_gradients import IntegratedGradients
from captum_ext.attr.layers.neuron_attribution import NeuronPathAttribution
from captum_ext.attr.local_path_integration import LocalPathIntegration
from captum_ext.attr.paths import ReferencesOfInputs
from captum_ext.attr.weighted_ig.fitness import ScoreFunc
from captum_ext.attr.weighted_ig.weighted_integrated_gradients import WeightedIntegratedGradients
from captum_ext.core.types import Baselines, ForwardFunc, TensorOrTensors
from captum_ext.references import ReferenceDistribution


class NeuronIntegratedGradients(NeuronPathAttribution):
    r"""Integrated Gradients of a neuron (Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML
    2017), with Captum's call and, with its rule names, Captum's numbers, in bounded memory.

    https://arxiv.org/abs/1703.01365

    $$\phi(x) = (x - b) \odot \int_0^1 \nabla a\big(b + \alpha (x - b)\big) \, d\alpha$$

    a(x) is the neuron's activation at x.

    Args:
        forward_func: the model, or any function that runs the layer.
        layer: a module of the model, which it runs once in a pass.
        device_ids: None, or one device: models whose batches are split among devices are refused.
        multiply_by_inputs: multiply the mean gradients by input minus baseline, as in Captum.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError: a layer that is no module.
        ArgumentError: a model on several devices. What `attribute` raises is said there.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_ext.attr import NeuronIntegratedGradients
        >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
        >>> _ = nn.init.eye_(model[0].weight)
        >>> NeuronIntegratedGradients(model, model[0]).attribute(torch.tensor([[1.0, 3.0]]), 1)
        tensor([[0., 3.]])

    Deviations from the paper: none; the score is the neuron's.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: nn.Module,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        allow_batch_statistics: bool = False,
    ) -> None:
        method = IntegratedGradients(forward_func, multiply_by_inputs, allow_batch_statistics=allow_batch_statistics)
        super().__init__(method, layer, device_ids)


class NeuronExpectedGradients(NeuronPathAttribution):
    r"""Expected Gradients of a neuron (Erion et al., "Improving performance of deep learning models with axiomatic
    attribution priors and expected gradients", Nature Machine Intelligence 2021).

    https://arxiv.org/abs/1906.10670

    $$\phi(x) = \frac{1}{K} \sum_{j=1}^{K} (x - r_j) \odot \int_0^1 \nabla a\big(r_j + \alpha (x - r_j)\big) \,
    d\alpha$$

    a(x) is the neuron's activation at x.

    Args:
        forward_func: the model, or any function that runs the layer.
        layer: a module of the model, which it runs once in a pass.
        device_ids: None, or one device: models whose batches are split among devices are refused.
        multiply_by_inputs: multiply the mean gradients by input minus reference, as in Captum.
        references: (K, ...), or a tuple of such tensors for several inputs, shared by all inputs; or a function from
            inputs (N, ...) to references (N, K, ...) of their own. None: act as Integrated Gradients from zero, with a
            warning.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError: a layer that is no module, or references that are not floating tensors.
        ArgumentError: a model on several devices. What `attribute` raises is said there.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_ext.attr import NeuronExpectedGradients
        >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
        >>> _ = nn.init.eye_(model[0].weight)
        >>> references = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
        >>> eg = NeuronExpectedGradients(model, model[0], references=references)
        >>> eg.attribute(torch.tensor([[1.0, 3.0]]), 1, method="riemann_middle")
        tensor([[0., 2.]])

    Deviations from the paper: points are stratified over all references (`method="stratified"`), unbiased and with less
    variance than independent draws. References equal to the input are left out.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: nn.Module,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        references: TensorOrTensors | ReferencesOfInputs | None = None,
        allow_batch_statistics: bool = False,
    ) -> None:
        method = ExpectedGradients(forward_func, multiply_by_inputs, allow_batch_statistics=allow_batch_statistics)
        super().__init__(method, layer, device_ids, references)


class NeuronLocalPathIntegration(NeuronPathAttribution):
    r"""Local Path Integration of a neuron (Yang, Akhtar, Wen and Mian, "Local Path Integration for Attribution", AAAI
    2023).

    https://doi.org/10.1609/aaai.v37i3.25422

    $$\phi(x) = \sum_{j \in D(x)} p_j \, (x - r_j) \odot \int_0^1 \nabla a\big(r_j + \alpha (x - r_j)\big) \, d\alpha$$

    a(x) is the neuron's activation at x. D(x) is the neighbourhood whose centre is nearest to the MODEL's outputs at x,
    whatever neuron is explained; $p_j$ is the density of its reference $r_j$.

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs. Outputs should
            be logits, as the neighbourhoods are found from them.
        layer: a module of the model, which it runs once in a pass.
        device_ids: None, or one device: models whose batches are split among devices are refused.
        multiply_by_inputs: multiply the mean gradients by input minus reference, as in Captum.
        references: a fitted `ReferenceDistribution`; or samples (K, ...), at least two, from which one of a single
            neighbourhood is fitted on first use. None: act as Integrated Gradients from zero, with a warning.
        allow_other_model: what to do with a `ReferenceDistribution` that was fitted to another model, or to other
            weights. None warns, False raises OtherModelError, True allows it without a word.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError: a layer that is no module; references that are neither a distribution nor samples.
        ArgumentError: a model on several devices, or fewer than two samples. What `attribute` raises is said there.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_ext.attr import NeuronLocalPathIntegration
        >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
        >>> _ = nn.init.eye_(model[0].weight)
        >>> lpi = NeuronLocalPathIntegration(model, model[0], references=torch.tensor([[0.0, 0.0], [0.0, 2.0]]))
        >>> lpi.attribute(torch.tensor([[1.0, 3.0]]), 1)
        tensor([[0., 2.]])

    Deviations from the paper: those of `LocalPathIntegration`: densities count once, all references of the
    neighbourhood are used, points are stratified, and x itself is left out of its own references.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: nn.Module,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        references: ReferenceDistribution | TensorOrTensors | None = None,
        allow_other_model: bool | None = None,
        allow_batch_statistics: bool = False,
    ) -> None:
        method = LocalPathIntegration(
            forward_func,
            multiply_by_inputs,
            allow_other_model=allow_other_model,
            allow_batch_statistics=allow_batch_statistics,
        )
        super().__init__(method, layer, device_ids, references)


class NeuronWeightedIntegratedGradients(NeuronPathAttribution):
    r"""Weighted Integrated Gradients of a neuron (Tran Duc Tuan et al., "Enhancing Visual Feature Attribution via
    Weighted Integrated Gradients", 2025).

    https://arxiv.org/abs/2505.03201

    $$\phi(x) = \sum_j w_j \, \mathrm{IG}_a(x; r_j), \qquad w_j = \frac{1 / D_j}{\sum_k 1 / D_k}$$

    $\mathrm{IG}_a(x; r)$ is Integrated Gradients of the neuron's activation a between r and x. $D_j$ is the smallest
    number of pixels that, replaced in the order of their own map, bring a down to `alpha` of what it was above the
    fill's.

    Args:
        forward_func: the model, or any function that runs the layer.
        layer: a module of the model, which it runs once in a pass.
        device_ids: None, or one device: models whose batches are split among devices are refused.
        multiply_by_inputs: multiply the mean gradients by input minus reference, as in Captum.
        references: (K, ...) or a tuple of such tensors, shared by all inputs; or a function from inputs (N, ...) to
            references (N, K, ...) of their own. None: `references.standard_baselines`.
        alpha: share of the activation that is left at D, in (0, 1).
        keep: weights below `keep` times the mean weight become zero; None keeps all.
        score: None or "logit", the activation relative to the fill's; or a function of the activations (P,). A neuron
            has no softmax.
        fill: what replaces removed pixels: "corners" (images and volumes), "references" (their mean), a number, or
            tensors as baselines are given. None: corners where there are, references otherwise.
        ranking: the order of pixels by their map: "signed", by its sum over channels; or "absolute", by the sum of
            absolute values over channels.
        search: "bisection" or "grid".
        rtol: relative width to which D is known.

    Raises:
        ArgumentTypeError: a layer that is no module, or references that are not floating tensors.
        ArgumentError: a setting that cannot be used. What `attribute` raises is said there.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_ext.attr import NeuronWeightedIntegratedGradients
        >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
        >>> _ = nn.init.eye_(model[0].weight)
        >>> references = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
        >>> wg = NeuronWeightedIntegratedGradients(model, model[0], references=references, fill=0)
        >>> wg.attribute(torch.tensor([[1.0, 3.0]]), 1, method="riemann_middle")
        tensor([[0., 2.]])

    Deviations from the paper: those of `WeightedIntegratedGradients`; fitness is the neuron's.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: nn.Module,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        references: TensorOrTensors | ReferencesOfInputs | None = None,
        alpha: float = 0.5,
        keep: float | None = None,
        score: str | ScoreFunc | None = None,
        fill: Baselines | str = None,
        ranking: str = "signed",
        search: str = "bisection",
        rtol: float = 0.02,
    ) -> None:
        method = WeightedIntegratedGradients(
            forward_func,
            multiply_by_inputs,
            alpha=alpha,
            keep=keep,
            score=score,
            fill=fill,
            ranking=ranking,
            search=search,
            rtol=rtol,
        )
        super().__init__(method, layer, device_ids, references)


class NeuronImportantDirectionIG(NeuronPathAttribution):
    r"""IDGI of a neuron (Yang, Wang and Bilgic, "IDGI: A Framework to Eliminate Explanation Noise from Integrated
    Gradients", CVPR 2023).

    https://arxiv.org/abs/2303.14242

    $$\phi(x) = \sum_{k=0}^{n-1} \frac{g_k \odot g_k}{|g_k|_2^2} \, \big(a(x_{k+1}) - a(x_k)\big), \qquad
    x_k = b + \tfrac{k}{n} (x - b), \quad g_k = \nabla a(x_k)$$

    a(x) is the neuron's activation at x.

    Args:
        forward_func: the model, or any function that runs the layer.
        layer: a module of the model, which it runs once in a pass.
        device_ids: None, or one device: models whose batches are split among devices are refused.
        multiply_by_inputs: only True: the formula has no factor that could be left out.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError: a layer that is no module.
        ArgumentError: `multiply_by_inputs=False`, or a model on several devices. What `attribute` raises is said there.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_ext.attr import NeuronImportantDirectionIG
        >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
        >>> _ = nn.init.ones_(model[0].weight)
        >>> NeuronImportantDirectionIG(model, model[0]).attribute(torch.tensor([[1.0, 3.0]]), 1, n_steps=4)
        tensor([[2., 2.]])

    Deviations from the paper: as of `ImportantDirectionIG`: where a gradient vanishes, the step's change is credited to
    the last gradient before it that does not.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: nn.Module,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        allow_batch_statistics: bool = False,
    ) -> None:
        method = ImportantDirectionIG(forward_func, multiply_by_inputs, allow_batch_statistics=allow_batch_statistics)
        super().__init__(method, layer, device_ids)


#: Short names.
NeuronEG = NeuronExpectedGradients
NeuronLPI = NeuronLocalPathIntegration
NeuronWeightedIG = NeuronWeightedIntegratedGradients
