"""CAMs made of CAMs: FinerCAM, RefineCAM and SESS, whose inner CAM may be the host's class, ours or the caller's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_ext.core.checks import describe
from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.models.targets import DetectionTarget, RegionTarget
from captum_ext.upsampling import Upsampler, make_upsampler
from captum_ext_integrations import _cam_classes
from captum_ext_integrations._cam_classes import GradCAM, GradCAMPlusPlus
from captum_ext_integrations._cam_layers import layers_and_reshape
from captum_ext_integrations._cam_passes import check_images, check_targets, guarded, with_gradients
from captum_ext_integrations._grad_cam_base import Redistributing, as_asked, finished

_host: Any = require("pytorch_grad_cam", "grad-cam")
_base: Any = require("pytorch_grad_cam.base_cam", "grad-cam")


class FinerCAM(_host.FinerCAM):  # type: ignore[misc]
    """`pytorch_grad_cam.FinerCAM`, whose inner CAM gets the upsampler; `base_method` may be the host's or ours.

    Args:
        model: as the host's.
        target_layers: a list of modules of the model; None: `layer` of an adapted model.
        reshape_transform: makes maps (N, C, h, w) of the layer's features; None: they are such maps, or `to_grid` of an
            adapted model.
        base_method: the CAM inside, a class or a function that makes one.
        upsampler: a name, an object or a function; None: the host's own map.
        normalize: with an upsampler, divide each map by its maximum.
        as_tensor: return a tensor on the model's device instead of an array.

    Example:
        >>> import torch
        >>> from captum_ext_integrations.grad_cam import FinerCAM
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...                             torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()
        >>> cam = FinerCAM(model, [model[1]], upsampler="bilinear")
        >>> cam(torch.rand(2, 3, 8, 8), None).shape
        (2, 8, 8)
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module] | None = None,
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
        base_method: Any = GradCAM,
        *,
        upsampler: Upsampler | str | None = None,
        normalize: bool = True,
        as_tensor: bool = False,
    ) -> None:
        self.as_tensor = as_tensor
        inner = _inner(base_method, upsampler, normalize=normalize, as_tensor=as_tensor)
        super().__init__(model, *layers_and_reshape(model, target_layers, reshape_transform), inner)

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
        input_tensor = check_images(input_tensor)
        check_targets(targets, input_tensor)
        with guarded(self.base_cam.model, targets), with_gradients(self):
            maps = super().forward(input_tensor, targets, eigen_smooth, alpha, comparison_categories, target_idx)
        return as_asked(maps, self.as_tensor, self.base_cam.device)


class RefineCAM(_host.RefineCAM):  # type: ignore[misc]
    """`pytorch_grad_cam.RefineCAM`: the product of layers' CAMs, each upsampled.

    A product keeps no mass; with an upsampler each factor is divided by its maximum, and `normalize` concerns the
    product. `base_method` may be the host's class or ours; the options that its classes take are named here, others go
    in by `functools.partial(base_method, ...)`. Without an upsampler `eigen_smooth` is what it is in the host: the base
    method's `aug_smooth`.

    Args:
        model: as the host's.
        target_layers: a list of modules of the model; None: `layer` of an adapted model.
        reshape_transform: makes maps (N, C, h, w) of the layer's features; None: they are such maps, or `to_grid` of an
            adapted model.
        base_method: the CAM inside, a class or a function that makes one.
        ablation_layer: of AblationCAM as `base_method`.
        ratio_channels_to_ablate: of AblationCAM.
        k: of FEM.
        kernel: of KPCA_CAM.
        gamma: of KPCA_CAM.
        batch_size: of AblationCAM and ScoreCAM.
        upsampler: a name, an object or a function; None: the host's own map.
        normalize: with an upsampler, divide each map by its maximum.
        as_tensor: return a tensor on the model's device instead of an array.

    Example:
        >>> import torch
        >>> from captum_ext_integrations.grad_cam import RefineCAM
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...                             torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()
        >>> cam = RefineCAM(model, [model[0], model[1]], upsampler="bilinear")
        >>> cam(torch.rand(2, 3, 8, 8), None).shape
        (2, 8, 8)
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module] | None = None,
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
        layers, reshape = layers_and_reshape(model, target_layers, reshape_transform)
        super().__init__(model, layers, reshape, _with_given(inner, options))

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

    Args:
        model: as the host's.
        target_layers: a list of modules of the model; None: `layer` of an adapted model.
        reshape_transform: makes maps (N, C, h, w) of the layer's features; None: they are such maps, or `to_grid` of an
            adapted model.
        base_method: the CAM inside, a class or a function that makes one.
        scales: what the image's shorter side is resized to, in pixels, before patches are cut; None: `num_scales` of
            them from the window's size on.
        num_scales: number of scales.
        scale_step_ratio: how much larger the next scale is, as a share of the window.
        window_size: side of a patch; None: the image's shorter side.
        step_size: from patch to patch; None: `window_size`.
        pre_filter_ratio: share of the patches that is left out beforehand, those with the lowest scores.
        theta: values of a patch's map up to this one do not count in the mean.
        pool: "mean" or "max" over patches.
        smooth: blur the map at the end.
        use_softmax_scores: weigh patches by probabilities instead of scores.
        batch_size: patches at once.
        ablation_layer: of AblationCAM as `base_method`.
        ratio_channels_to_ablate: of AblationCAM.
        k: of FEM.
        kernel: of KPCA_CAM.
        gamma: of KPCA_CAM.
        upsampler: a name, an object or a function; None: the host's own map.
        normalize: with an upsampler, divide each map by its maximum.
        as_tensor: return a tensor on the model's device instead of an array.

    Example:
        >>> import torch
        >>> from captum_ext_integrations.grad_cam import SESS
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        ...                             torch.nn.Flatten(), torch.nn.Linear(4, 5)).eval()
        >>> cam = SESS(model, [model[1]], scales=[8], window_size=8, step_size=8)
        >>> cam(torch.rand(2, 3, 8, 8), None).shape
        (2, 8, 8)
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: list[nn.Module] | None = None,
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
        layers, reshape = layers_and_reshape(model, target_layers, reshape_transform)
        super().__init__(
            model,
            layers,
            reshape,
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
        for target in targets or []:
            if isinstance(target, DetectionTarget | RegionTarget):
                expected = "targets of the whole image, as SESS explains crops of it in which places are others"
                raise ArgumentError("targets", expected, type(target).__name__)
        with guarded(self.model, targets):
            maps = super().forward(check_images(input_tensor), targets, eigen_smooth)
        return as_asked(maps, self.as_tensor, self.device)

    def get_scores(self, patches: list[Tensor], target: Any) -> Any:
        """Scores (patches,) of the target, as the host's, by the output of each patch."""
        scores: list[Tensor] = []
        with torch.no_grad():
            for start in range(0, len(patches), self.batch_size):
                outputs = self.model(torch.cat(patches[start : start + self.batch_size]))
                if self.use_softmax_scores:
                    outputs = _softmax(outputs)
                scores += [target(output) for output in outputs]
        return np.maximum(torch.stack(scores).cpu().numpy(), 0)


#: The class of ours that stands for each of the host's, as a base method.
_OURS: dict[type[Any], Any] = {
    getattr(_host, name): ours
    for name, ours in [*vars(_cam_classes).items(), ("FinerCAM", FinerCAM), ("RefineCAM", RefineCAM), ("SESS", SESS)]
    if isinstance(ours, type) and hasattr(_host, name)
}


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


def _softmax(outputs: Any) -> Tensor:
    if not isinstance(outputs, Tensor) or outputs.dim() != 2:
        expected = "False where the model returns no class scores (N, K), of which there is no softmax"
        raise ArgumentError("use_softmax_scores", expected, "True")
    return outputs.softmax(-1)
