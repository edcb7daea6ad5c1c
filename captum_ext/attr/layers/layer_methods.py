"""The methods with straight paths at layers: Captum's form, with references that are taken through the model."""

from __future__ import annotations

from typing import Any, cast

from captum_ext.attr.expected_gradients import ExpectedGradients
from captum_ext.attr.important_direction_ig import ImportantDirectionIG
from captum_ext.attr.integrated_gradients import IntegratedGradients
from captum_ext.attr.layers.layer_attribution import LayerPathAttribution
from captum_ext.attr.layers.site import Layers
from captum_ext.attr.local_path_integration import LocalPathIntegration
from captum_ext.attr.paths import Generators, Plan, ReferencesOfInputs, generators_for
from captum_ext.attr.weighted_ig.fitness import ScoreFunc
from captum_ext.attr.weighted_ig.weighted_integrated_gradients import BaselineFitness, WeightedIntegratedGradients
from captum_ext.core.autocast import own_precision
from captum_ext.core.checks import check_bool
from captum_ext.core.inspection import frozen_parameters
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors
from captum_ext.references import ReferenceDistribution


class LayerIntegratedGradients(LayerPathAttribution):
    r"""Integrated Gradients at a layer (Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML
    2017), with Captum's call and, with its rule names, Captum's numbers, in bounded memory.

    https://arxiv.org/abs/1703.01365

    $$\phi(x) = (A(x) - A(b)) \odot \int_0^1 \nabla_A F\big(x; A(b) + \alpha (A(x) - A(b))\big) \, d\alpha$$

    A(x) are the layer's activations at x, and F(x; A) is the score at x with A in their place.

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs.
        layer: a module of the model, which it runs once in a pass; or a list of modules that do not depend on each
            other.
        device_ids: None, or one device: models whose batches are split among devices are refused.
        multiply_by_inputs: multiply the mean gradients by the difference of activations, as in Captum.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError: a layer that is no module.
        ArgumentError: a model on several devices. What `attribute` raises is said there.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_ext.attr import LayerIntegratedGradients
        >>> model = nn.Sequential(nn.Embedding.from_pretrained(torch.eye(3)), nn.Flatten(), nn.Linear(6, 1, bias=False))
        >>> _ = nn.init.constant_(model[2].weight, 2.0)
        >>> ids = torch.tensor([[1, 0]])  # two tokens; the baseline is token 0 twice
        >>> LayerIntegratedGradients(model, model[0]).attribute(ids, baselines=0, target=0)
        tensor([[[-2.,  2.,  0.],
                 [ 0.,  0.,  0.]]])

    Deviations from the paper: none. From Captum: a layer that the model runs more than once in a pass is refused, where
    Captum puts the last run's activations in the place of all of them; activations in nested tuples, lists and
    dictionaries, and with their rows in another dimension, are taken.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        allow_batch_statistics: bool = False,
    ) -> None:
        method = IntegratedGradients(forward_func, multiply_by_inputs, allow_batch_statistics=allow_batch_statistics)
        super().__init__(method, layer, device_ids)


class LayerExpectedGradients(LayerPathAttribution):
    r"""Expected Gradients at a layer (Erion et al., "Improving performance of deep learning models with axiomatic
    attribution priors and expected gradients", Nature Machine Intelligence 2021).

    https://arxiv.org/abs/1906.10670

    $$\phi(x) = \frac{1}{K} \sum_{j=1}^{K} (A(x) - A(r_j)) \odot \int_0^1 \nabla_A F\big(x; A(r_j) + \alpha (A(x) -
    A(r_j))\big) \, d\alpha$$

    A(x) are the layer's activations at x, and F(x; A) is the score at x with A in their place.

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs.
        layer: a module of the model, which it runs once in a pass; or a list of modules that do not depend on each
            other.
        device_ids: None, or one device: models whose batches are split among devices are refused.
        multiply_by_inputs: multiply the mean gradients by the difference of activations, as in Captum.
        references: what the model takes, images or token ids: (K, ...), or a tuple of such tensors for several inputs,
            shared by all inputs; or a function from inputs (N, ...) to references (N, K, ...) of their own. None: act
            as Integrated Gradients from zero, with a warning.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError: a layer that is no module; references that are neither floating tensors nor token ids.
        ArgumentError: a model on several devices. What `attribute` raises is said there.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_ext.attr import LayerExpectedGradients
        >>> model = nn.Sequential(nn.Embedding.from_pretrained(torch.eye(3)), nn.Flatten(), nn.Linear(6, 1, bias=False))
        >>> _ = nn.init.constant_(model[2].weight, 2.0)
        >>> eg = LayerExpectedGradients(model, model[0], references=torch.tensor([[0, 0], [2, 0]]))
        >>> eg.attribute(torch.tensor([[1, 0]]), target=0, method="riemann_middle").sum(2)  # one number for each token
        tensor([[0., 0.]])

    Deviations from the paper: it has no layers; the path is straight between activations, not between inputs. Points
    on the paths are stratified over all references (`method="stratified"`), unbiased and with less variance than
    independent draws. References equal to the input are left out.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        references: TensorOrTensors | ReferencesOfInputs | None = None,
        allow_batch_statistics: bool = False,
    ) -> None:
        method = ExpectedGradients(forward_func, multiply_by_inputs, allow_batch_statistics=allow_batch_statistics)
        super().__init__(method, layer, device_ids, references)


class LayerLocalPathIntegration(LayerPathAttribution):
    r"""Local Path Integration at a layer (Yang, Akhtar, Wen and Mian, "Local Path Integration for Attribution", AAAI
    2023).

    https://doi.org/10.1609/aaai.v37i3.25422

    $$\phi(x) = \sum_{j \in D(x)} p_j \, (A(x) - A(r_j)) \odot \int_0^1 \nabla_A F\big(x; A(r_j) + \alpha (A(x) -
    A(r_j))\big) \, d\alpha$$

    A(x) are the layer's activations at x, and F(x; A) is the score at x with A in their place. D(x) is the
    neighbourhood whose centre is nearest to the MODEL's outputs at x, as at inputs; $p_j$ is the density of its
    reference $r_j$.

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs. Outputs should
            be logits, as the neighbourhoods are found from them.
        layer: a module of the model, which it runs once in a pass; or a list of modules that do not depend on each
            other.
        device_ids: None, or one device: models whose batches are split among devices are refused.
        multiply_by_inputs: multiply the mean gradients by the difference of activations, as in Captum.
        references: what the model takes, images or token ids: a fitted `ReferenceDistribution` (of ids with
            `token_ids=True`); or samples (K, ...), at least two, from which one of a single neighbourhood is fitted on
            first use. None: act as Integrated Gradients from zero, with a warning.
        allow_other_model: what to do with a `ReferenceDistribution` that was fitted to another model, or to other
            weights. None warns, False raises OtherModelError, True allows it without a word.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError: a layer that is no module; references that are neither a distribution nor samples.
        ArgumentError: a model on several devices, or fewer than two samples. What `attribute` raises is said there.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_ext.attr import LayerLocalPathIntegration
        >>> model = nn.Sequential(nn.Embedding.from_pretrained(torch.eye(3)), nn.Flatten(), nn.Linear(6, 2, bias=False))
        >>> _ = nn.init.eye_(model[2].weight)
        >>> lpi = LayerLocalPathIntegration(model, model[0], references=torch.tensor([[0, 0], [2, 0]]))
        >>> lpi.attribute(torch.tensor([[1, 0]]), target=1).sum(2)  # one number for each token
        tensor([[1., 0.]])

    Deviations from the paper: it has no layers; the path is straight between activations. Those of
    `LocalPathIntegration` hold, too: densities count once, all references of the neighbourhood are used, points are
    stratified, and x itself is left out of its own references.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
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


class LayerWeightedIntegratedGradients(LayerPathAttribution):
    r"""Weighted Integrated Gradients at a layer (Tran Duc Tuan et al., "Enhancing Visual Feature Attribution via
    Weighted Integrated Gradients", 2025).

    https://arxiv.org/abs/2505.03201

    $$\phi(x) = \sum_j w_j \, \mathrm{IG}_A(x; r_j), \qquad w_j = \frac{1 / D_j}{\sum_k 1 / D_k}$$

    $\mathrm{IG}_A(x; r)$ is Integrated Gradients between the layer's activations at r and at x. $D_j$ is the smallest
    number of activations that, replaced in the order of their own map, bring the score down to `alpha` of what it was:
    of activations (N, C, H, W) a position with all its channels, of anything else an element.

    Args:
        forward_func: the model. Its outputs should be logits; with probabilities, pass `score=lambda p: p`.
        layer: a module of the model, which it runs once in a pass; or a list of modules that do not depend on each
            other.
        device_ids: None, or one device: models whose batches are split among devices are refused.
        multiply_by_inputs: multiply the mean gradients by the difference of activations, as in Captum.
        references: what the model takes, images or token ids: (K, ...) or a tuple of such tensors, shared by all
            inputs; or a function from inputs (N, ...) to references (N, K, ...) of their own. None:
            `references.standard_baselines`, which token ids do not have.
        alpha: share of the score that is left at D, in (0, 1).
        keep: weights below `keep` times the mean weight become zero; None keeps all.
        score: what is to fall: "softmax", "logit", or a function of the outputs (P, ...). None: softmax where the model
            has classes, else logit.
        fill: what replaces removed activations, in the space of the LAYER: "corners" (the mean of the four corners of a
            map), "references" (the mean of their activations), a number, or tensors as baselines are given. None:
            corners for activations (N, C, H, W), references otherwise.
        ranking: the order of activations by their map: "signed", by its sum over channels; or "absolute", by the sum of
            absolute values over channels.
        search: "bisection" or "grid".
        rtol: relative width to which D is known.

    Raises:
        ArgumentTypeError: a layer that is no module; references that are neither floating tensors nor token ids.
        ArgumentError: a setting that cannot be used. What `attribute` raises is said there.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_ext.attr import LayerWeightedIntegratedGradients
        >>> model = nn.Sequential(nn.Embedding.from_pretrained(torch.eye(3)), nn.Flatten(), nn.Linear(6, 1, bias=False))
        >>> _ = nn.init.constant_(model[2].weight, 2.0)
        >>> references = torch.tensor([[0, 0], [2, 0]])
        >>> wg = LayerWeightedIntegratedGradients(model, model[0], references=references, score="logit")
        >>> wg.attribute(torch.tensor([[1, 0]]), target=0, method="riemann_middle").sum(2)
        tensor([[0., 0.]])

    Deviations from the paper: it has no layers; what is removed are activations, so that weights are those of the
    layer and not of the inputs. Those of `WeightedIntegratedGradients` hold, too.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
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

    @own_precision
    def evaluate_baselines(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str | None = None,
        internal_batch_size: int | None = None,
        attribute_to_layer_input: bool = False,
        *,
        generator: Generators | None = None,
        tol: float | None = None,
    ) -> BaselineFitness:
        """Weights (N, K) of each input's references, D in activations, and the maps, from one computation.

        Arguments and errors are those of `attribute`; `attributions` are what it returns.
        """
        check_bool("attribute_to_layer_input", attribute_to_layer_input)
        at_inputs = cast(WeightedIntegratedGradients, self.method)
        request = self._request(inputs, baselines, target, additional_forward_args, internal_batch_size)
        plan = Plan(n_steps, method, generators_for(generator, request.n_rows), tol)
        at_inputs.check(request, plan)
        with frozen_parameters(at_inputs.forward_func):
            return at_inputs.evaluate_at(self._place(request, baselines, attribute_to_layer_input), plan, baselines)


class LayerImportantDirectionIG(LayerPathAttribution):
    r"""IDGI at a layer (Yang, Wang and Bilgic, "IDGI: A Framework to Eliminate Explanation Noise from Integrated
    Gradients", CVPR 2023).

    https://arxiv.org/abs/2303.14242

    $$\phi(x) = \sum_{k=0}^{n-1} \frac{g_k \odot g_k}{|g_k|_2^2} \, \big(F(x; A_{k+1}) - F(x; A_k)\big), \qquad
    A_k = A(b) + \tfrac{k}{n} (A(x) - A(b)), \quad g_k = \nabla_A F(x; A_k)$$

    A(x) are the layer's activations at x, and F(x; A) is the score at x with A in their place. Inside of Captum's own
    layer variant the method is refused, since that gives no scores.

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs.
        layer: a module of the model, which it runs once in a pass; or a list of modules that do not depend on each
            other.
        device_ids: None, or one device: models whose batches are split among devices are refused.
        multiply_by_inputs: only True: the formula has no factor that could be left out.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError: a layer that is no module.
        ArgumentError: `multiply_by_inputs=False`, or a model on several devices. What `attribute` raises is said there.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from captum_ext.attr import LayerImportantDirectionIG
        >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
        >>> _ = nn.init.eye_(model[0].weight), nn.init.ones_(model[1].weight)
        >>> LayerImportantDirectionIG(model, model[0]).attribute(torch.tensor([[1.0, 3.0]]), n_steps=4)
        tensor([[2., 2.]])

    Deviations from the paper: it has no layers. As of `ImportantDirectionIG`: where a gradient vanishes, the step's
    change is credited to the last gradient before it that does not.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        layer: Layers,
        device_ids: list[int] | None = None,
        multiply_by_inputs: bool = True,
        *,
        allow_batch_statistics: bool = False,
    ) -> None:
        method = ImportantDirectionIG(forward_func, multiply_by_inputs, allow_batch_statistics=allow_batch_statistics)
        super().__init__(method, layer, device_ids)


#: Short names.
LayerEG = LayerExpectedGradients
LayerLPI = LayerLocalPathIntegration
LayerWeightedIG = LayerWeightedIntegratedGradients
