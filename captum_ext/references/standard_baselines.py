"""The baselines that papers try first, for every input: extremes, means, blur and noise."""

from __future__ import annotations

import math
from typing import TypeAlias

import torch
from torch import Tensor

from captum_ext.core.autocast import own_precision
from captum_ext.core.blur import Blur, Sigma, check_blur, check_sigma
from captum_ext.core.checks import MOST_STEPS, check_count, check_number, check_seed, check_tensors, describe
from captum_ext.core.pixels import has_space
from captum_ext.core.types import TensorOrTensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images import gaussian_blur

Numbers: TypeAlias = float | tuple[float, ...] | list[float] | Tensor


@own_precision
def standard_baselines(
    inputs: TensorOrTensors,
    value_range: tuple[float, float] | None = None,
    *,
    mean: Numbers | None = None,
    std: Numbers | None = None,
    n_noise: int = 2,
    seed: int = 0,
    blur_sigma: Sigma = None,
) -> TensorOrTensors:
    """Baselines for every input, in this order: minimum, maximum, middle, mean, blur (images and volumes), noise.

    Given to a method as its references, every input has its own: `references=standard_baselines`, or a `lambda` with
    the arguments below.

    Convention: baselines are in the MODEL's input space. "Black" is the lowest value before normalisation, hence
    `(0 - mean) / std` for the model, and not zero; zero in the model's space is the mean colour `mean`.

    | baseline | before normalisation | for the model |
    | --- | --- | --- |
    | minimum (black) | `low` | `(low - mean) / std` |
    | maximum (white) | `high` | `(high - mean) / std` |
    | middle (mid-grey) | `(low + high) / 2` | the mean of the two above |
    | mean | the image's own mean colour | the input's mean of each channel |
    | blur | the image blurred (`images.gaussian_blur`) | the same, as blurring is linear |
    | noise | uniform from `low` to `high`, the same for every input | uniform between the two extremes |

    Args:
        inputs: (N, ...) or a tuple of such tensors. Four dimensions (N, C, H, W) are images, five (N, C, D, H, W)
            volumes; the mean of anything else is that of all its elements.
        value_range: lowest and highest value before normalisation. None: (0, 1) with `mean` and `std`; without them
            each input's own smallest and largest element, which is crude: pass the range that you know.
        mean: subtracted by the model's normalisation: a number, or one for each channel (dimension 1).
        std: divided by, likewise.
        n_noise: number of noise baselines.
        seed: of the noise.
        blur_sigma: how strong the blur is, as `sigma` of `images.gaussian_blur`: None hides the class at every size,
            "rise" is that of RISE's evaluation, a number is a standard deviation in pixels.

    Returns:
        (N, K, ...) with K = 5 + n_noise for images and volumes, 4 + n_noise otherwise; for a tuple of inputs, a tuple.
        Blur is left out unless every tensor of a tuple is an image or a volume.

    Raises:
        ArgumentError: a range that is not increasing, only one of mean and std, statistics that do not fit, or a
            `blur_sigma` that is none.
        NonFiniteError: NaN or infinity in the inputs.

    Example:
        >>> import torch
        >>> from captum_ext.references import standard_baselines
        >>> x = torch.rand(2, 3, 8, 8)
        >>> baselines = standard_baselines(x, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> baselines.shape, baselines[0, :3, 0, 0, 0]  # black, white and grey for the model
        (torch.Size([2, 7, 3, 8, 8]), tensor([-1.,  1.,  0.]))
    """
    tensors = tuple(tensor.detach() for tensor in check_tensors("inputs", inputs))
    n_noise, seed = check_count("n_noise", n_noise, MOST_STEPS), check_seed("seed", seed)
    blur = check_sigma("blur_sigma", blur_sigma)
    limits = _check_range(value_range, mean, std)
    with_blur = all(map(has_space, tensors))
    if with_blur:
        for tensor in tensors:
            check_blur("blur_sigma", Blur(blur), tensor)
    generator = torch.Generator().manual_seed(seed)
    sets = []
    for tensor in tensors:
        parts = _colours(tensor, limits, mean, std)
        parts += [gaussian_blur(tensor, blur)] if with_blur else []
        parts += _noise(tensor, parts[0], parts[1], n_noise, generator)
        sets.append(torch.stack([part.expand_as(tensor) for part in parts], 1))
    return tuple(sets) if isinstance(inputs, tuple) else sets[0]


def _check_range(
    value_range: tuple[float, float] | None, mean: Numbers | None, std: Numbers | None
) -> tuple[float, float] | None:
    if (mean is None) != (std is None):
        raise ArgumentError("mean", "given together with `std`", f"mean {mean!r} and std {std!r}")
    if value_range is None:
        return None if mean is None else (0.0, 1.0)
    expected = "a lower and a higher finite value"
    if not isinstance(value_range, tuple | list) or len(value_range) != 2:
        raise ArgumentTypeError("value_range", expected, describe(value_range))
    low, high = (check_number("value_range", value, expected, math.isfinite) for value in value_range)
    if not low < high:
        raise ArgumentError("value_range", expected, describe(value_range))
    return low, high


def _colours(
    tensor: Tensor, limits: tuple[float, float] | None, mean: Numbers | None, std: Numbers | None
) -> list[Tensor]:
    """Minimum, maximum, middle and mean, broadcastable to the tensor."""
    low, high = _extremes(tensor, limits, mean, std)
    dims = tuple(range(2 if has_space(tensor) else 1, tensor.dim()))
    own_mean = tensor.mean(dims, keepdim=True) if dims else tensor
    return [low, high, (low + high) / 2, own_mean]


def _noise(tensor: Tensor, low: Tensor, high: Tensor, n_noise: int, generator: torch.Generator) -> list[Tensor]:
    parts = []
    for _ in range(n_noise):
        share = torch.rand(tensor.shape[1:], generator=generator, dtype=torch.float64, device="cpu")
        parts.append(low + share.to(tensor.device, tensor.dtype) * (high - low))
    return parts


def _extremes(
    tensor: Tensor, limits: tuple[float, float] | None, mean: Numbers | None, std: Numbers | None
) -> tuple[Tensor, Tensor]:
    """Lowest and highest value in the model's space, broadcastable to the tensor."""
    if limits is None:
        flat = tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None]
        shape = (-1, *(1,) * (tensor.dim() - 1))
        return flat.amin(1).reshape(shape), flat.amax(1).reshape(shape)
    shift, scale = _statistic("mean", mean, 0.0, tensor), _statistic("std", std, 1.0, tensor)
    if not bool((scale > 0).all()):
        raise ArgumentError("std", "positive", describe(std))
    return (limits[0] - shift) / scale, (limits[1] - shift) / scale


def _statistic(name: str, given: Numbers | None, default: float, tensor: Tensor) -> Tensor:
    """A number, or one for each channel, broadcastable to the tensor."""
    try:
        values = torch.as_tensor(default if given is None else given, dtype=tensor.dtype, device=tensor.device)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(name, "a number, or one for each channel", describe(given)) from error
    values = values.reshape(-1)
    if len(values) == 1:
        return values
    if tensor.dim() < 2 or len(values) != tensor.shape[1]:
        raise ArgumentError(name, f"one number, or one for each channel of {tuple(tensor.shape)}", describe(given))
    return values.reshape(1, -1, *(1,) * (tensor.dim() - 2))
