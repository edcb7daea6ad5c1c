"""Layer attributions of Captum, redistributed where `LayerAttribution.interpolate` stood."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_ext.core.checks import check_positive_int, describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.upsampling import Upsampler, make_upsampler, upsample_maps


def redistribute_layer_attribution(
    layer_attribution: Tensor,
    interpolate_dims: int | tuple[int, ...],
    inputs: Tensor,
    forward_func: Any,
    target: Any = None,
    *,
    additional_forward_args: Any = None,
    upsampler: Upsampler | str | None = None,
) -> Tensor:
    """Upsample a layer's attribution by redistributing mass instead of interpolating.

    Stands where `captum.attr.LayerAttribution.interpolate(layer_attribution, interpolate_dims)` stood, for
    `LayerGradCam`, `LayerGradientXActivation` and whatever else gives one number for each position of a layer. The
    image and the model are needed too, since segments of the image are scored by the model: once, for all channels.

    Args:
        layer_attribution: (N, C, h, w) of the layer's positions; (N, C, d, h, w) for volumes, (N, C, t) for signals.
        interpolate_dims: (H, W) of the result, or one number for both, as in Captum; (D, H, W) for volumes, one number
            for signals.
        inputs: (N, 3, H', W') images, as the model takes them, volumes (N, C', D', H', W') or signals (N, C', T').
        forward_func: the model.
        target: as in Captum, or a function of one row's output (`captum_ext.models.targets`). None: the largest output
            of each image.
        additional_forward_args: as in Captum.
        upsampler: a name ("bilinear" compares), an object, or a function with an `Upsampler`'s call. None: "usu".

    Returns:
        (N, C, H, W), (N, C, D, H, W) or (N, C, T); every cell's pixels sum to the cell's value times its number of
        pixels.

    Raises:
        ArgumentTypeError: not a tensor, no upsampler.
        ArgumentError: shapes that do not fit, an unknown upsampler.

    Example:
        >>> import torch
        >>> from captum.attr import LayerGradCam
        >>> from captum_ext_integrations.captum_layers import redistribute_layer_attribution
        >>> conv = torch.nn.Conv2d(3, 4, 3, stride=4)
        >>> model = torch.nn.Sequential(conv, torch.nn.Flatten(), torch.nn.Linear(4 * 16, 5)).eval()
        >>> images = torch.rand(2, 3, 16, 16)
        >>> cam = LayerGradCam(model, conv).attribute(images, target=1)
        >>> redistribute_layer_attribution(cam, (16, 16), images, model, target=1).shape
        torch.Size([2, 1, 16, 16])
    """
    if not isinstance(layer_attribution, Tensor):
        raise ArgumentTypeError("layer_attribution", "a tensor (N, C, h, w)", type(layer_attribution).__name__)
    if layer_attribution.dim() not in (3, 4, 5):
        expected = "of shape (N, C, h, w), (N, C, d, h, w) or (N, C, t)"
        raise ArgumentError("layer_attribution", expected, f"shape {tuple(layer_attribution.shape)}")
    if not isinstance(inputs, Tensor):
        raise ArgumentTypeError("inputs", "a tensor of images (N, C, H, W)", type(inputs).__name__)
    if inputs.dim() != layer_attribution.dim():
        expected = f"of {layer_attribution.dim()} dimensions, as the layer's attribution"
        raise ArgumentError("inputs", expected, f"shape {tuple(inputs.shape)}")
    used = make_upsampler("usu" if upsampler is None else upsampler)
    size = _size(interpolate_dims, inputs.dim() - 2)
    channels = layer_attribution.unbind(1)
    return torch.cat(upsample_maps(used, channels, inputs, forward_func, target, additional_forward_args, size), 1)


def _size(interpolate_dims: Any, dims: int) -> tuple[int, ...]:
    """(H, W) of Captum's argument: a number for each of the dimensions, or one for all."""
    given = (interpolate_dims,) * dims if hasattr(interpolate_dims, "__index__") else interpolate_dims
    if not isinstance(given, tuple | list) or len(given) != dims:
        counts = {1: "one number", 2: "one or two numbers", 3: "one or three numbers"}
        raise ArgumentError("interpolate_dims", counts[dims], describe(interpolate_dims))
    return tuple(check_positive_int("interpolate_dims", number) for number in given)
