"""The host's CAM classes with the upsampler mixed in, each under its own name; `grad_cam` is where they are public."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError
from captum_ext.upsampling import Upsampler
from captum_ext_integrations._cam_layers import check_not_compiled, layers_and_reshape
from captum_ext_integrations._cam_passes import inputs_as
from captum_ext_integrations._cam_recorder import HALF, NOT_IN_NUMPY, wide
from captum_ext_integrations._grad_cam_base import Redistributing, as_array

_host: Any = require("pytorch_grad_cam", "grad-cam")
_project: Any = require("pytorch_grad_cam.utils.svd_on_activations", "grad-cam").get_2d_projection
_replace: Any = require("pytorch_grad_cam.utils.find_layers", "grad-cam").replace_layer_recursive

_DOCUMENT = """`pytorch_grad_cam.{name}` with `upsampler`, `normalize` and `as_tensor`; see the module's text.

    Args:
        model: as the host's: returns class scores (N, K), or anything that the targets read.
        target_layers: a list of modules of the model; None: `layer` of an adapted model.
        reshape_transform: makes maps (N, C, h, w) of the layer's features; None: they are such maps, or `to_grid` of an
            adapted model.
        upsampler: a name, an object or a function; None: the host's own map.
        normalize: with an upsampler, divide each map by its maximum.
        as_tensor: return a tensor on the model's device instead of an array.

    Raises:
        ArgumentTypeError, ArgumentError: a layer that is none of the model, is not called or has no gradients, another
            number of targets than of images, a compiled model.

    Example:
        >>> import torch
        >>> from captum_ext_integrations.grad_cam import {name}
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...                             torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()
        >>> cam = {name}(model, [model[1]], upsampler="bilinear")
        >>> cam(torch.rand(2, 3, 8, 8), None).shape
        (2, 8, 8)
    """


def _adapted(host_class: Any, narrow: tuple[torch.dtype, ...] = NOT_IN_NUMPY, reads_targets: bool = True) -> Any:
    """The host's class with the upsampler mixed in; it makes no maps of the dtypes `narrow`."""
    name = host_class.__name__
    document = _DOCUMENT.format(name=name)
    body = {"__doc__": document, "__module__": __name__, "_narrow": narrow, "_reads_targets": reads_targets}
    return type(name, (Redistributing, host_class), body)


GradCAM = _adapted(_host.GradCAM)
HiResCAM = _adapted(_host.HiResCAM)
GradCAMElementWise = _adapted(_host.GradCAMElementWise)
XGradCAM = _adapted(_host.XGradCAM)
GradCAMPlusPlus = _adapted(_host.GradCAMPlusPlus)
LayerCAM = _adapted(_host.LayerCAM)
EigenCAM = _adapted(_host.EigenCAM, HALF, reads_targets=False)
EigenGradCAM = _adapted(_host.EigenGradCAM, HALF)
RandomCAM = _adapted(_host.RandomCAM)
SegEigenCAM = _adapted(_host.SegEigenCAM, HALF)


class FEM(Redistributing, _host.FEM):  # type: ignore[misc]
    """`pytorch_grad_cam.FEM` with `upsampler`, `normalize` and `as_tensor`; see the module's text.

    Args:
        k: activations above their mean by so many standard deviations count.

    Example:
        >>> import torch
        >>> from captum_ext_integrations.grad_cam import FEM
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...                             torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()
        >>> cam = FEM(model, [model[1]], upsampler="bilinear")
        >>> cam(torch.rand(2, 3, 8, 8), None).shape
        (2, 8, 8)
    """

    _reads_targets = False

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module] | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        k: float = 2,
        *,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self._configure(upsampler, normalize, as_tensor)
        layers, reshape = layers_and_reshape(model, target_layers, reshape_transform)
        _host.FEM.__init__(self, model, layers, reshape, k)
        self._record()


class KPCA_CAM(Redistributing, _host.KPCA_CAM):  # type: ignore[misc]  # noqa: N801 (the host's name)
    """`pytorch_grad_cam.KPCA_CAM` with `upsampler`, `normalize` and `as_tensor`; see the module's text.

    Args:
        kernel: of scikit-learn's `KernelPCA`.
        gamma: of that kernel; None: scikit-learn's.

    Example:
        >>> import torch
        >>> from captum_ext_integrations.grad_cam import KPCA_CAM
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...                             torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()
        >>> cam = KPCA_CAM(model, [model[1]], upsampler="bilinear")
        >>> cam(torch.rand(2, 3, 8, 8), None).shape
        (2, 8, 8)
    """

    _reads_targets = False

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module] | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        kernel: str = "sigmoid",
        gamma: float | None = None,
        *,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self._configure(upsampler, normalize, as_tensor)
        layers, reshape = layers_and_reshape(model, target_layers, reshape_transform)
        _host.KPCA_CAM.__init__(self, model, layers, reshape, kernel, gamma)
        self._record()


class AblationCAM(Redistributing, _host.AblationCAM):  # type: ignore[misc]
    """`pytorch_grad_cam.AblationCAM` with `upsampler`, `normalize` and `as_tensor`; see the module's text.

    Without `ablation_layer` it is the host's `AblationLayer`, and where the features have their channels last, as
    tokens, its `AblationLayerVit`; the host's default takes positions for channels there. A target whose score is zero,
    as that of a box where nothing is found, is refused: weights are shares of the score.

    Args:
        ablation_layer: what leaves channels out; None: see above.
        batch_size: channels left out at once.
        ratio_channels_to_ablate: share of the channels that is tried, those that lie most inside of the
            activations' first principal component.

    Example:
        >>> import torch
        >>> from captum_ext_integrations.grad_cam import AblationCAM
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...                             torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()
        >>> cam = AblationCAM(model, [model[1]], upsampler="bilinear")
        >>> cam(torch.rand(2, 3, 8, 8), None).shape
        (2, 8, 8)
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module] | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        ablation_layer: nn.Module | None = None,
        batch_size: int = 32,
        ratio_channels_to_ablate: float = 1.0,
        *,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self._configure(upsampler, normalize, as_tensor)
        layers, reshape = layers_and_reshape(model, target_layers, reshape_transform)
        layer = _host.AblationLayer() if ablation_layer is None else ablation_layer
        self._chooses_ablation_layer = ablation_layer is None
        _host.AblationCAM.__init__(self, model, layers, reshape, layer, batch_size, ratio_channels_to_ablate)
        self._record()

    def save_activation(self, module: Any, given: Any, output: Any) -> None:
        """Keep a layer's output, whatever overwrites it later."""
        super().save_activation(module, given, output.clone() if isinstance(output, Tensor) else output)

    def get_cam_weights(
        self, input_tensor: Tensor, target_layer: Any, targets: Any, activations: Any, grads: Any
    ) -> Any:
        """Weights (N, channels), as the host's; the model has its layer and no hook of the host's afterwards."""
        if self._chooses_ablation_layer:
            shape = self.activations_and_grads.shapes.get(target_layer, activations.shape)
            self.ablation_layer = _host.AblationLayerVit() if _is_last(shape, activations) else _host.AblationLayer()
        hooks = set(target_layer._forward_hooks)
        try:
            with np.errstate(divide="ignore", invalid="ignore"):
                weights = super().get_cam_weights(input_tensor, target_layer, targets, activations, grads)
        finally:
            _replace(self.model, self.ablation_layer, target_layer)  # still there after an error
            for key in set(target_layer._forward_hooks) - hooks:
                del target_layer._forward_hooks[key]
        rows = [row for row, one in enumerate(weights) if not np.isfinite(one).all()]
        if rows:
            expected = "of scores that are finite and not zero, since AblationCAM's weights are shares of them"
            raise ArgumentError("targets", expected, f"others for the images {rows}: GradCAM and ScoreCAM take zero")
        return weights


def _is_last(shape: tuple[int, ...], maps: Any) -> bool:
    """Whether a layer's output of this shape has the channels of its maps (N, C, ...) last."""
    turned: tuple[int, ...] = maps.shape
    return shape != turned and (len(shape) != len(turned) or shape[1] != turned[1])


class ScoreCAM(Redistributing, _host.ScoreCAM):  # type: ignore[misc]
    """`pytorch_grad_cam.ScoreCAM` with `upsampler`, `normalize` and `as_tensor`; see the module's text.

    In half precision the masks are made in float32, and the masked images given to the model in its own dtype.

    Example:
        >>> import torch
        >>> from captum_ext_integrations.grad_cam import ScoreCAM
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...                             torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()
        >>> cam = ScoreCAM(model, [model[1]], upsampler="bilinear")
        >>> cam(torch.rand(2, 3, 8, 8), None).shape
        (2, 8, 8)
    """

    def get_cam_weights(
        self, input_tensor: Tensor, target_layer: Any, targets: Any, activations: Any, grads: Any
    ) -> Any:
        """Weights (N, channels), as the host's."""
        with inputs_as(self.model, input_tensor.dtype):
            weights = super().get_cam_weights(input_tensor, target_layer, targets, activations, grads)
        alike = [row for row, one in enumerate(weights) if len(one) > 1 and one.min() == one.max()]
        if alike:
            warnings.warn(
                f"The scores of the images {alike} are the same whatever is masked, so that all channels have one "
                "weight: their maps show no target.",
                stacklevel=2,
            )
        return weights


class ShapleyCAM(Redistributing, _host.ShapleyCAM):  # type: ignore[misc]
    """`pytorch_grad_cam.ShapleyCAM` with `upsampler`, `normalize` and `as_tensor`; see the module's text.

    With an upsampler, in bfloat16, for several layers, with a `reshape_transform` and where the gradient is a constant
    (a linear head that is frozen, after which the host fails) the weights (the mean of gradient minus half of the
    product of Hessian and activations) are computed here: in float32, with the graph kept for the next layer, and on
    the grid that `reshape_transform` gives, which the host leaves out. Operations that cannot be differentiated twice,
    as those of detectors with regions of interest, are refused.

    Example:
        >>> import torch
        >>> from captum_ext_integrations.grad_cam import ShapleyCAM
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...                             torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()
        >>> cam = ShapleyCAM(model, [model[1]], upsampler="bilinear")
        >>> cam(torch.rand(2, 3, 8, 8), None).shape
        (2, 8, 8)
    """

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: Any,
        targets: Any,
        activations: Any,
        grads: Any,
        eigen_smooth: bool = False,
    ) -> Any:
        """Raw map (N, h, w), as the host's."""
        try:
            return self._map(input_tensor, target_layer, targets, activations, grads, eigen_smooth)
        except RuntimeError as error:
            if "double backward" not in str(error):
                raise
            expected = "one that can be differentiated twice, as ShapleyCAM's Hessian needs it (GradCAM does not)"
            raise ArgumentError("model", expected, f"one of which torch says: {error}") from error

    def _map(
        self, input_tensor: Tensor, target_layer: Any, targets: Any, activations: Any, grads: Any, eigen_smooth: bool
    ) -> Any:
        is_plain = self.upsampler is None and self.reshape_transform is None and len(self.target_layers) == 1
        if is_plain and activations.dtype != torch.bfloat16 and grads.requires_grad:
            return super().get_cam_image(input_tensor, target_layer, targets, activations, grads, eigen_smooth)
        product = None
        if grads.requires_grad:
            keep = target_layer is not self.target_layers[-1]
            product = torch.autograd.grad(grads, activations, activations, retain_graph=keep, allow_unused=True)[0]
        parts = [grads, activations] if product is None else [grads, activations, product]
        if self.reshape_transform is not None:
            parts = [self.reshape_transform(one) for one in parts]
        gradient, activation, *products = (as_array(one) for one in parts)
        positions = tuple(range(2, activation.ndim))
        weights = (gradient - 0.5 * products[0] if products else gradient).mean(positions, keepdims=True)
        return _project(weights * activation) if eigen_smooth else (weights * activation).sum(1)


class FullGrad(Redistributing, _host.FullGrad):  # type: ignore[misc]
    """`pytorch_grad_cam.FullGrad`: the bias gradients of every layer, and the input's own gradient at full resolution.

    With an upsampler the channels of a layer are summed on its own grid and redistributed once, and nothing is scaled
    channel by channel, as the host does: the terms keep the proportions of the paper. Its layers are all that have a
    bias, whatever `target_layers` are; they can be left out of any model. Each bias is multiplied with the gradient of
    its own layer, whatever the order of calls, and layers that the score does not depend on add nothing; the host takes
    biases in the order of definition.

    Example:
        >>> import torch
        >>> from captum_ext_integrations.grad_cam import FullGrad
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...                             torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()
        >>> cam = FullGrad(model, upsampler="bilinear")
        >>> cam(torch.rand(2, 3, 8, 8), None).shape
        (2, 8, 8)
    """

    _skips_layers = True

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module] | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        *,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self._configure(upsampler, normalize, as_tensor)
        check_not_compiled(model, [])
        _host.FullGrad.__init__(self, model, target_layers or [], reshape_transform)
        self._record()

    def get_bias_data(self, layer: Any) -> Tensor:
        """A layer's bias, as the host's; in half precision from parameters in float32."""
        if layer.bias.dtype not in (NOT_IN_NUMPY if self.upsampler is None else HALF):
            return super().get_bias_data(layer)  # type: ignore[no-any-return]
        if not isinstance(layer, nn.BatchNorm2d):
            return layer.bias.detach().float()  # type: ignore[no-any-return]
        tensors: tuple[Any, ...] = (layer.running_mean, layer.running_var, layer.weight, layer.bias)
        mean, variance, weight, bias = (one.detach().float() for one in tensors)
        # What the layer gives for zero.
        return nn.functional.batch_norm(torch.zeros_like(mean)[None], mean, variance, weight, bias, eps=layer.eps)[0]

    def compute_cam_per_layer(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool) -> Any:
        """Maps of every layer, as the host's, or upsampled."""
        recorder = self.activations_and_grads
        if self.upsampler is None and self._repeated_layers():
            raise NotImplementedError("FullGrad is for layers that are called once in a pass.")
        recorder.check_gradients()
        recorder.gradients = recorder.gradients_by_layer(len(input_tensor))
        if self.upsampler is None and input_tensor.dtype == torch.bfloat16:
            in_float32 = input_tensor.detach().float()
            in_float32.grad = wide(input_tensor.grad)
            input_tensor = in_float32
        return super().compute_cam_per_layer(input_tensor, targets, eigen_smooth)

    def _coarse_maps(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool) -> list[Tensor]:  # noqa: ARG002
        """The input's term, whose grid is the image itself, and that of every layer."""
        if eigen_smooth:
            raise NotImplementedError("FullGrad with an upsampler has no eigen_smooth.")
        if input_tensor.dim() != 4:
            raise NotImplementedError(f"FullGrad is for images (N, C, H, W), not {tuple(input_tensor.shape)}.")
        if self._repeated_layers():
            raise NotImplementedError("FullGrad with an upsampler is for layers that are called once in a pass.")
        gradients = [torch.from_numpy(as_array(one)) for one in self.activations_and_grads.gradients]
        biases = [torch.as_tensor(bias, dtype=torch.float32)[None, :, None, None] for bias in self.bias_data]
        layers = [(bias * gradient).abs().sum(1) for bias, gradient in zip(biases, gradients, strict=True)]
        of_input = cast(Tensor, input_tensor.grad).float() * input_tensor.detach().float()
        return [of_input.abs().sum(1).cpu(), *layers]

    def _combined(self, layers: Tensor) -> Tensor:
        return layers.sum(1)
