"""The CAM classes of pytorch-grad-cam under their own names, with `upsampler=None, normalize=True, as_tensor=False`.

    from captum_ext_integrations.grad_cam import GradCAM   # was: from pytorch_grad_cam import GradCAM
    cam = GradCAM(model, target_layers, upsampler="usu")

`upsampler` is a name of `captum_ext.upsampling.make_upsampler`, an object, or a function with an `Upsampler`'s call.
Without one a class is the host's, bit for bit. With one, the raw map of each layer (after the host's max(cam, 0),
before its first min-max) is upsampled, layers are averaged, and `normalize=True` divides each image's map by its
maximum for display; `normalize=False` returns the map as it is, which sums to the mass of the coarse one. The maps of
the host are scaled whatever `normalize` is. `as_tensor=True` gives either map as a tensor on the model's device.

Segments are scored after the host has computed its maps, once for all layers, and nothing of these passes is kept.
Because redistribution is linear in mass, `aug_smooth` averages the coarse maps and redistributes once, and `FullGrad`
sums a layer's channels first.

Volumes (N, C, D, H, W) are upsampled to their own (D, H, W), whatever the order of the host's sizes, by an upsampler
that is for them (docs of `captum_ext.upsampling`), where the host's class makes a map of them; FullGrad does not.

`CAM`, which the host does not have, is Zhou's original: the classifier's weights over the maps that it averages.

A CAM leaves the model in eval mode, as the host does: whoever trains on calls `model.train()` again.

What the host has no right map for:

- A `forward` that begins with an operation in place: the model gets copies of its inputs, with or without an upsampler.
- bfloat16, of which NumPy has no arrays, and float16 where NumPy has no linear algebra: float32 is used outside of the
  model, with or without an upsampler.
- Target layers that need no gradients (a frozen backbone): their gradients are computed all the same, with or without
  an upsampler.
- An operation in place after the target layer, as `ReLU(inplace=True)`: with an upsampler, activations are kept as the
  layer returned them.

A target layer that is called more than once in a pass, as one activation or one pooling after several convolutions, has
the map of its first call in the host, and where there are several target layers, those behind it have the maps of other
calls. That is so here, too; with an upsampler a warning says it. Give a layer that is called once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from captum_ext.core.checks import describe
from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentTypeError
from captum_ext.upsampling import Upsampler, make_upsampler
from captum_ext_integrations._classifier_cam import CAM
from captum_ext_integrations._grad_cam_base import (
    HALF,
    NOT_IN_NUMPY,
    Redistributing,
    as_array,
    as_asked,
    check_targets,
    finished,
    guarded,
    inputs_as,
    wide,
)

_host: Any = require("pytorch_grad_cam", "grad-cam")
_base: Any = require("pytorch_grad_cam.base_cam", "grad-cam")
_project: Any = require("pytorch_grad_cam.utils.svd_on_activations", "grad-cam").get_2d_projection


def _adapted(host_class: Any, narrow: tuple[torch.dtype, ...] = NOT_IN_NUMPY) -> Any:
    """The host's class with the upsampler mixed in; it makes no maps of the dtypes `narrow`."""
    name = host_class.__name__
    document = f"`pytorch_grad_cam.{name}` with `upsampler`, `normalize` and `as_tensor`; see the module's text."
    return type(name, (Redistributing, host_class), {"__doc__": document, "__module__": __name__, "_narrow": narrow})


GradCAM = _adapted(_host.GradCAM)
HiResCAM = _adapted(_host.HiResCAM)
GradCAMElementWise = _adapted(_host.GradCAMElementWise)
XGradCAM = _adapted(_host.XGradCAM)
GradCAMPlusPlus = _adapted(_host.GradCAMPlusPlus)
LayerCAM = _adapted(_host.LayerCAM)
EigenCAM = _adapted(_host.EigenCAM, HALF)
EigenGradCAM = _adapted(_host.EigenGradCAM, HALF)
RandomCAM = _adapted(_host.RandomCAM)
SegEigenCAM = _adapted(_host.SegEigenCAM, HALF)


class FEM(Redistributing, _host.FEM):  # type: ignore[misc]
    """`pytorch_grad_cam.FEM` with `upsampler`, `normalize` and `as_tensor`; see the module's text."""

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module],
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        k: float = 2,
        *,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self._configure(upsampler, normalize, as_tensor)
        _host.FEM.__init__(self, model, target_layers, reshape_transform, k)
        self._record()


class KPCA_CAM(Redistributing, _host.KPCA_CAM):  # type: ignore[misc]  # noqa: N801 (the host's name)
    """`pytorch_grad_cam.KPCA_CAM` with `upsampler`, `normalize` and `as_tensor`; see the module's text."""

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module],
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        kernel: str = "sigmoid",
        gamma: float | None = None,
        *,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self._configure(upsampler, normalize, as_tensor)
        _host.KPCA_CAM.__init__(self, model, target_layers, reshape_transform, kernel, gamma)
        self._record()


class AblationCAM(Redistributing, _host.AblationCAM):  # type: ignore[misc]
    """`pytorch_grad_cam.AblationCAM` with `upsampler`, `normalize` and `as_tensor`; see the module's text."""

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module],
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
        layer = _host.AblationLayer() if ablation_layer is None else ablation_layer
        _host.AblationCAM.__init__(
            self, model, target_layers, reshape_transform, layer, batch_size, ratio_channels_to_ablate
        )
        self._record()


class ScoreCAM(Redistributing, _host.ScoreCAM):  # type: ignore[misc]
    """`pytorch_grad_cam.ScoreCAM` with `upsampler`, `normalize` and `as_tensor`; see the module's text.

    In half precision the masks are made in float32, and the masked images given to the model in its own dtype.
    """

    def get_cam_weights(
        self, input_tensor: Tensor, target_layer: Any, targets: Any, activations: Any, grads: Any
    ) -> Any:
        """Weights (N, channels), as the host's."""
        with inputs_as(self.model, input_tensor.dtype):
            return super().get_cam_weights(input_tensor, target_layer, targets, activations, grads)


class ShapleyCAM(Redistributing, _host.ShapleyCAM):  # type: ignore[misc]
    """`pytorch_grad_cam.ShapleyCAM` with `upsampler`, `normalize` and `as_tensor`; see the module's text.

    With an upsampler, in bfloat16 and for several layers the weights (the mean of gradient minus half of the product of
    Hessian and activations) are computed here: in float32, with the graph kept for the next layer, and on the grid that
    `reshape_transform` gives, which the host leaves out.
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
        if self.upsampler is None and len(self.target_layers) == 1 and activations.dtype != torch.bfloat16:
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
    channel by channel, as the host does: the terms keep the proportions of the paper.
    """

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


class FinerCAM(_host.FinerCAM):  # type: ignore[misc]
    """`pytorch_grad_cam.FinerCAM`, whose inner CAM gets the upsampler; `base_method` may be the host's or ours."""

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module],
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        base_method: Any = GradCAM,
        *,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self.as_tensor = as_tensor
        inner = _inner(base_method, upsampler, normalize=normalize, as_tensor=as_tensor)
        super().__init__(model, target_layers, reshape_transform, inner)

    def forward(
        self,
        input_tensor: Tensor,
        targets: list[Any] | None = None,
        eigen_smooth: bool = False,
        alpha: float = 1,
        comparison_categories: list[int] | None = None,
        target_idx: int | None = None,
    ) -> Any:
        """Maps (N, H, W), as the host's `forward`: an array, or a tensor with `as_tensor`."""
        if getattr(self.base_cam, "upsampler", None) is not None:
            input_tensor = input_tensor.detach()
            check_targets(targets, len(input_tensor))
        with guarded(self.base_cam.model, targets):
            maps = super().forward(input_tensor, targets, eigen_smooth, alpha, comparison_categories, target_idx)
        return as_asked(maps, self.as_tensor, self.base_cam.device)


class RefineCAM(_host.RefineCAM):  # type: ignore[misc]
    """`pytorch_grad_cam.RefineCAM`: the product of layers' CAMs, each upsampled.

    A product keeps no mass; with an upsampler each factor is divided by its maximum, and `normalize` concerns the
    product. `base_method` may be the host's class or ours; the options that its classes take are named here, others go
    in by `functools.partial(base_method, ...)`. Without an upsampler `eigen_smooth` is what it is in the host: the base
    method's `aug_smooth`.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module],
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        base_method: Any = GradCAMPlusPlus,
        *,
        ablation_layer: nn.Module | None = None,
        batch_size: int | None = None,
        ratio_channels_to_ablate: float | None = None,
        k: float | None = None,
        kernel: str | None = None,
        gamma: float | None = None,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self.upsampler = None if upsampler is None else make_upsampler(upsampler)
        self.normalize, self.as_tensor = normalize, as_tensor
        self._device = next(model.parameters()).device
        options = {
            "ablation_layer": ablation_layer,
            "batch_size": batch_size,
            "ratio_channels_to_ablate": ratio_channels_to_ablate,
            "k": k,
            "kernel": kernel,
            "gamma": gamma,
        }
        inner = _inner(base_method, self.upsampler, as_tensor=self.upsampler is not None)
        super().__init__(model, target_layers, reshape_transform, _with_given(inner, options))

    def forward(self, input_tensor: Tensor, targets: list[Any] | None = None, eigen_smooth: bool = False) -> Any:
        """Maps (N, H, W), as the host's `forward`: an array, or a tensor with `as_tensor`."""
        if self.upsampler is None:
            return as_asked(super().forward(input_tensor, targets, eigen_smooth), self.as_tensor, self._device)
        factors = [cam(input_tensor, targets, eigen_smooth=eigen_smooth) for cam in self.base_cam_per_layer]
        return finished(torch.stack([torch.as_tensor(one) for one in factors]).prod(0), self.normalize, self.as_tensor)


class SESS(_host.SESS):  # type: ignore[misc]
    """`pytorch_grad_cam.SESS`: `upsampler` goes to the CAM of every patch; what SESS does with these keeps no mass.

    `base_method` may be the host's class or ours; the options that its classes take are named here, others go in by
    `functools.partial(base_method, ...)`. `normalize` concerns the CAMs of patches, which SESS expects in [0, 1].
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module],
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        base_method: Any = GradCAM,
        scales: list[int] | None = None,
        num_scales: int = 12,
        scale_step_ratio: float = 2.0 / 7.0,
        window_size: int | None = None,
        step_size: int | None = None,
        pre_filter_ratio: float = 0.0,
        theta: float = 0.0,
        pool: str = "mean",
        smooth: bool = True,
        use_softmax_scores: bool = True,
        batch_size: int = 32,
        *,
        ablation_layer: nn.Module | None = None,
        ratio_channels_to_ablate: float | None = None,
        k: float | None = None,
        kernel: str | None = None,
        gamma: float | None = None,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self.as_tensor = as_tensor
        options = {
            "ablation_layer": ablation_layer,
            "ratio_channels_to_ablate": ratio_channels_to_ablate,
            "k": k,
            "kernel": kernel,
            "gamma": gamma,
        }
        super().__init__(
            model,
            target_layers,
            reshape_transform,
            _with_given(_inner(base_method, upsampler, normalize=normalize), options),
            scales=scales,
            num_scales=num_scales,
            scale_step_ratio=scale_step_ratio,
            window_size=window_size,
            step_size=step_size,
            pre_filter_ratio=pre_filter_ratio,
            theta=theta,
            pool=pool,
            smooth=smooth,
            use_softmax_scores=use_softmax_scores,
            batch_size=batch_size,
        )

    def forward(self, input_tensor: Tensor, targets: list[Any] | None = None, eigen_smooth: bool = False) -> Any:
        """Maps (N, H, W), as the host's `forward`: an array, or a tensor with `as_tensor`."""
        with guarded(self.model, targets):
            maps = super().forward(input_tensor, targets, eigen_smooth)
        return as_asked(maps, self.as_tensor, self.device)


__all__ = [
    "CAM",
    "FEM",
    "KPCA_CAM",
    "SESS",
    "AblationCAM",
    "EigenCAM",
    "EigenGradCAM",
    "FinerCAM",
    "FullGrad",
    "GradCAM",
    "GradCAMElementWise",
    "GradCAMPlusPlus",
    "HiResCAM",
    "LayerCAM",
    "RandomCAM",
    "RefineCAM",
    "ScoreCAM",
    "SegEigenCAM",
    "ShapleyCAM",
    "XGradCAM",
]

#: The class of this module that stands for each of the host's.
_OURS: dict[type[Any], Any] = {getattr(_host, name): globals()[name] for name in __all__ if name != "CAM"}


def _inner(
    base_method: Any, upsampler: Upsampler | str | None, *, normalize: bool = True, as_tensor: bool = False
) -> Any:
    """A base method of the caller's as a function of model, layers and reshape_transform, with an upsampler's options.

    Raises:
        ArgumentTypeError: nothing that makes CAMs, or with an upsampler a function that takes none.
    """
    if not callable(base_method):
        raise ArgumentTypeError("base_method", "a CAM class, or a function that makes a CAM", describe(base_method))
    if isinstance(base_method, partial):
        inside = _inner(base_method.func, upsampler, normalize=normalize, as_tensor=as_tensor)
        return partial(inside, *base_method.args, **base_method.keywords)
    options: dict[str, Any] = {"upsampler": upsampler, "normalize": normalize, "as_tensor": as_tensor}
    ours = _OURS.get(base_method) if isinstance(base_method, type) else None
    if ours is not None:
        return partial(ours, **options)
    if isinstance(base_method, type) and issubclass(base_method, _base.BaseCAM):
        return partial(base_method if issubclass(base_method, Redistributing) else _extended(base_method), **options)
    if upsampler is None:
        return base_method
    try:
        inspect.signature(base_method).bind(None, [], None, **options)
    except TypeError as error:
        expected = "a CAM class, or a function that takes upsampler, normalize and as_tensor"
        raise ArgumentTypeError("base_method", expected, describe(base_method)) from error
    return partial(base_method, **options)


def _extended(cam_class: Any) -> Any:
    """A caller's own CAM class with the upsampler mixed in, whatever its constructor takes."""

    def make(
        self: Any,
        *args: Any,
        upsampler: Upsampler | str | None,
        normalize: bool,
        as_tensor: bool,
        **kwargs: Any,
    ) -> None:
        self._configure(upsampler, normalize, as_tensor)
        cam_class.__init__(self, *args, **kwargs)
        self._record()

    return type(cam_class.__name__, (Redistributing, cam_class), {"__init__": make, "__module__": __name__})


def _with_given(inner: Any, options: dict[str, Any]) -> Any:
    given = {name: value for name, value in options.items() if value is not None}
    return partial(inner, **given) if given else inner
