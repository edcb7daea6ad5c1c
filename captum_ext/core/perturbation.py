"""Inputs with some of their pixels replaced, and the model's scores of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from captum_ext.core.checks import check_numbers, describe
from captum_ext.core.devices import double, on_device
from captum_ext.core.fills import Fill
from captum_ext.core.pixels import Channels, channel_dim, has_space, pixel_maps
from captum_ext.core.request import Request
from captum_ext.core.types import TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

#: What else a map may be, by the input's number of dimensions.
_OTHER_MAPS = {
    3: ", (N, 1, T) for signals (N, C, T) or (N, L, 1) for tokens (N, L, E)",
    4: ", (N, 1, H, W) or (N, H, W)",
    5: ", (N, 1, D, H, W) or (N, D, H, W)",
}


def pixel_importance(attributions: TensorOrTensors, inputs: Tensors, absolute: bool) -> Tensor:
    """Importance (N, n) of every pixel of every row, over all tensors of a tuple; NaN and infinities stay.

    What a pixel is, `pixels.channel_dim` says. Its importance is the sum over its channels (of absolute values with
    `absolute`).

    Raises:
        ArgumentTypeError: attributions that are not tensors of numbers.
        ArgumentError: attributions of a shape that does not fit the inputs.
    """
    given = attributions if isinstance(attributions, tuple) else (attributions,)
    if not given or not all(
        isinstance(part, Tensor) and part.dtype != torch.bool and not part.is_complex() for part in given
    ):
        raise ArgumentTypeError("attributions", "a tensor or a tuple of tensors", describe(attributions))
    for part in given:
        check_numbers("attributions", part)
    if len(given) != len(inputs) or any(part.dim() == 0 or len(part) != len(inputs[0]) for part in given):
        raise ArgumentError(
            "attributions", f"{len(inputs)} tensor(s) of {inputs[0].shape[0]} rows like the inputs", describe(given[0])
        )
    parts = [
        on_device(_pixel_importance(part, value, absolute).reshape(len(value), -1), inputs[0].device)
        for part, value in zip(given, inputs, strict=True)
    ]
    return torch.cat(parts, 1)


def channels_of(attributions: TensorOrTensors, inputs: Tensors) -> Channels:
    """The dimension of each input that a pixel has all of, as its shape and that of its map, which fits it, say."""
    given = attributions if isinstance(attributions, tuple) else (attributions,)
    return tuple(channel_dim(value, part) for value, part in zip(inputs, given, strict=True))


def ranks_of(importance: Tensor, like: Tensors, seed: int, channels: Channels | None = None) -> tuple[Tensor, ...]:
    """Rank of every pixel, 0 for the most important (Q, n), counted over all tensors of a tuple together.

    Ties are broken at random, by one permutation that depends on `seed` and the number of pixels only.

    Returns:
        Ranks (Q, 1, H, W) for images, (Q, ...) in the input's shape where elements are pixels, on the input's device.
    """
    return pixel_maps(_ranks(importance, seed), like, channels)


def _pixel_importance(attribution: Tensor, value: Tensor, absolute: bool) -> Tensor:
    integers = not attribution.is_floating_point()
    wide_dtype = torch.promote_types(attribution.dtype, torch.float32)
    wide = double(attribution.detach()) if integers else attribution.detach().to(wide_dtype)
    wide = wide.abs() if absolute else wide
    if has_space(value) and wide.shape == (len(value), *value.shape[2:]):
        return wide
    channel = channel_dim(value, wide)
    if channel is not None and wide.dim() == value.dim() and wide.shape[channel] in (1, value.shape[channel]):
        summed = wide.sum(channel)
        if summed.shape == value.select(channel, 0).shape:
            return summed
    if wide.shape == value.shape:
        return wide
    expected = f"of the input's shape {tuple(value.shape)}{_OTHER_MAPS.get(value.dim(), '')}"
    raise ArgumentError("attributions", expected, describe(attribution))


def _ranks(importance: Tensor, seed: int) -> Tensor:
    n_pixels = importance.shape[1]
    shuffled = torch.randperm(n_pixels, generator=torch.Generator().manual_seed(seed), device="cpu").to(
        importance.device
    )
    order = shuffled[importance[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(n_pixels, dtype=torch.int32, device=importance.device).expand_as(order)
    return torch.empty_like(places).scatter_(1, order, places)


#: What `Perturbation` makes of the model's outputs (P, ...) at rows (P,): a number, or several, for each point.
Read = Callable[[Tensor, Tensor], Tensor]


class Perturbation:
    """Inputs of which only some pixels are kept: everything that the points of a curve or a search have in common.

    `ranks` has one ranking for each input; with `row_of` (Q,) there are Q rankings, the q-th of input `row_of[q]`.
    Points may come in any order: the model gets them as whole batches, step by step, where all rows have as many, or
    where the request says that batches are filled.
    """

    def __init__(self, request: Request, ranks: tuple[Tensor, ...], fill: Fill, row_of: Tensor | None = None) -> None:
        self.request, self.ranks, self.fill = request, ranks, fill
        self.row_of = request.rows if row_of is None else row_of
        self.n_ranks = sum(rank[0].numel() for rank in ranks)

    def evaluate(self, ranking: Tensor, first: Tensor, last: Tensor, read: Read, *, removed: bool = False) -> Tensor:
        """What `read` makes of the model's outputs at each point, (P, ...), in the order of the points.

        Point p keeps the pixels of rank `first[p]` to below `last[p]` in ranking `ranking[p]`; all three are (P,). With
        `removed` it keeps all others.
        """
        from_first, to_last = not bool(first.any()), bool((last >= self.n_ranks).all())

        def masks(chosen: Tensor) -> Tensors:
            result = []
            for rank in self.ranks:
                place = rank[on_device(ranking[chosen], rank.device)]
                shape = (-1, *(1,) * (place.dim() - 1))
                low = on_device(first[chosen].int(), place.device).reshape(shape)
                high = on_device(last[chosen].int(), place.device).reshape(shape)
                inside = place < high if from_first else place >= low
                if not from_first and not to_last:
                    inside &= place < high
                result.append(~inside if removed else inside)
            return tuple(result)

        return self._evaluate(self.row_of[ranking], masks, read)

    def evaluate_masks(self, rows: Tensor, which: Tensor, masks: Tensors, read: Read) -> Tensor:
        """The same for points that keep what the masks (S, ...) with the numbers `which` (P,) keep of rows (P,)."""

        def kept(chosen: Tensor) -> Tensors:
            return tuple(
                on_device(mask[on_device(which[chosen], mask.device)], tensor.device)
                for mask, tensor in zip(masks, self.request.inputs, strict=True)
            )

        return self._evaluate(rows, kept, read)

    def _evaluate(self, rows: Tensor, masks: Callable[[Tensor], Tensors], read: Read) -> Tensor:
        def values(points: Tensor, row: Tensor) -> Tensor:
            perturbed = []
            for position, (tensor, mask) in enumerate(zip(self.request.inputs, masks(points), strict=True)):
                taken = tensor[on_device(row, tensor.device)]  # a copy
                perturbed.append(self.fill.apply(position, taken, mask, row))
            return read(self.request.model.outputs(tuple(perturbed), row), row)

        return self.request.evaluate(rows, values)


def check_fractions(fractions: Iterable[float]) -> tuple[float, ...]:
    """Return increasing fractions strictly between 0 and 1.

    Raises:
        ArgumentTypeError: no numbers.
        ArgumentError: others.
    """
    expected = "increasing numbers strictly between 0 and 1"
    try:
        if isinstance(fractions, str | bytes | Mapping):
            raise TypeError
        shares = tuple(float(fraction) for fraction in fractions)
    except (TypeError, ValueError, RuntimeError, NotImplementedError, OverflowError) as error:
        raise ArgumentTypeError("fractions", expected, describe(fractions)) from error
    inside = all(0 < share < 1 for share in shares)
    if not shares or not inside or list(shares) != sorted(set(shares)):
        raise ArgumentError("fractions", expected, describe(shares))
    return shares
