"""Layer attributions of Captum, redistributed where `LayerAttribution.interpolate` stood."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.upsampling import InterpolationUpsampler, USUUpsampler


def redistribute_layer_attribution(
    layer_attribution: Tensor,
    interpolate_dims: int | tuple[int, ...],
    inputs: Tensor,
    forward_func: Any,
    target: Any = None,
    *,
    additional_forward_args: Any = None,
    upsampler: USUUpsampler | InterpolationUpsampler | None = None,
) -> Tensor:
    """Upsample a layer's attribution by redistributing mass instead of interpolating.

    Stands where `captum.attr.LayerAttribution.interpolate(layer_attribution, interpolate_dims)` stood, for
    `LayerGradCam`, `LayerGradientXActivation` and whatever else gives one number for each position of a layer. The
    image and the model are needed too, since segments of the image are scored by the model: once, for all channels.

    Args:
        layer_attribution: (N, C, h, w) of the layer's positions.
        interpolate_dims: (H, W) of the result, or one number for both, as in Captum.
        inputs: (N, 3, H', W') images, as the model takes them.
        forward_func: the model.
        target: as in Captum. None: the largest output of each image.
        additional_forward_args: as in Captum.
        upsampler: None for `USUUpsampler()`; an `InterpolationUpsampler` compares.

    Returns:
        (N, C, H, W); every cell's pixels sum to the cell's value times its number of pixels.

    Raises:
        ArgumentTypeError: not a tensor.
        ArgumentError: shapes that do not fit.

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
    if layer_attribution.dim() != 4:
        raise ArgumentError("layer_attribution", "of shape (N, C, h, w)", f"shape {tuple(layer_attribution.shape)}")
    size = (interpolate_dims, interpolate_dims) if isinstance(interpolate_dims, int) else interpolate_dims
    if len(size) != 2:
        raise ArgumentError("interpolate_dims", "one or two numbers", str(interpolate_dims))
    used = USUUpsampler() if upsampler is None else upsampler
    if isinstance(used, USUUpsampler):
        scores = used.score_map(inputs, forward_func, target, additional_forward_args)
        channels = [used.redistribute(channel, scores, size) for channel in layer_attribution.unbind(1)]
    else:
        channels = [used(channel, inputs, size=size) for channel in layer_attribution.unbind(1)]
    return torch.cat(channels, 1)
