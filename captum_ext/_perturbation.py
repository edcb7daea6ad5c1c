"""Inputs with some of their pixels replaced, and the model's scores of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

from captum_ext._blur import gaussian_blur
from captum_ext._checks import check_baselines, check_tensors, describe
from captum_ext._model import RowwiseModel
from captum_ext._rows import RowLimit, for_each_chunk
from captum_ext._types import Baselines, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError

T = TypeVar("T")


def pixel_ranks(attributions: TensorOrTensors, inputs: Tensors, absolute: bool, seed: int) -> tuple[Tensor, ...]:
    """Rank of every pixel of every row, 0 for the most important, counted over all tensors of a tuple together.

    Convention: a pixel of a four-dimensional input (N, C, H, W) is a location with all its channels, whose importance
    is the sum over channels (of absolute values with `absolute`); of any other input it is a single element. Ties are
    broken at random, by one permutation that depends on `seed` and the number of pixels only.

    Returns:
        Ranks (N, 1, H, W) for images, else of the input's shape, on the input's device.

    Raises:
        ArgumentError: attributions of a shape that does not fit the inputs.
        NonFiniteError: NaN or infinity in the attributions.
    """
    parts = attributions if isinstance(attributions, tuple) else (attributions,)
    integers = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)
    widened = tuple(part.double() if getattr(part, "dtype", None) in integers else part for part in parts)
    given = check_tensors("attributions", widened)
    if len(given) != len(inputs) or given[0].shape[0] != inputs[0].shape[0]:
        raise ArgumentError(
            "attributions", f"{len(inputs)} tensor(s) of {inputs[0].shape[0]} rows like the inputs", describe(given[0])
        )
    importance = [
        _pixel_importance(part, value, absolute).reshape(len(value), -1).to(inputs[0].device)
        for part, value in zip(given, inputs, strict=True)
    ]
    return ranks_of(torch.cat(importance, 1), inputs, seed)


def ranks_of(importance: Tensor, like: Tensors, seed: int) -> tuple[Tensor, ...]:
    """Ranks of pixels by their importance (Q, n), counted over all tensors, in the shapes of one pixel map each."""
    ranks = _ranks(importance, seed)
    shapes = [(1, *value.shape[2:]) if value.dim() == 4 else tuple(value.shape[1:]) for value in like]
    parts = torch.split(ranks, [math.prod(shape) for shape in shapes], 1)
    return tuple(
        part.reshape(len(ranks), *shape).to(value.device)
        for part, shape, value in zip(parts, shapes, like, strict=True)
    )


def _pixel_importance(attribution: Tensor, value: Tensor, absolute: bool) -> Tensor:
    wide = attribution.detach().to(torch.promote_types(attribution.dtype, torch.float32))
    wide = wide.abs() if absolute else wide
    if value.dim() == 4 and wide.dim() == 3 and wide.shape[1:] == value.shape[2:]:
        return wide
    if (
        value.dim() == 4
        and wide.dim() == 4
        and wide.shape[2:] == value.shape[2:]
        and wide.shape[1] in (1, value.shape[1])
    ):
        return wide.sum(1)
    if wide.shape == value.shape:
        return wide
    images = ", (N, 1, H, W) or (N, H, W)" if value.dim() == 4 else ""
    raise ArgumentError("attributions", f"of the input's shape {tuple(value.shape)}{images}", describe(attribution))


def _ranks(importance: Tensor, seed: int) -> Tensor:
    n_pixels = importance.shape[1]
    shuffled = torch.randperm(n_pixels, generator=torch.Generator().manual_seed(seed), device="cpu").to(
        importance.device
    )
    order = shuffled[importance[:, shuffled].argsort(dim=1, descending=True, stable=True)]
    places = torch.arange(n_pixels, dtype=torch.int32, device=importance.device).expand_as(order)
    return torch.empty_like(places).scatter_(1, order, places)


class Fill:
    """What replaces the pixels that are not kept: a constant, rows of a tensor, or the mean of the kept pixels."""

    def __init__(self, baselines: Baselines | str, inputs: Tensors) -> None:
        self.inputs = inputs
        self.values: Tensors | None = None
        if not isinstance(baselines, str):
            self.values = check_baselines(baselines, inputs)
        elif baselines == "blur":
            if any(value.dim() != 4 for value in inputs):
                raise ArgumentError(
                    "baselines", 'a number, a tensor or "mean" for inputs that are not images', '"blur"'
                )
            self.values = tuple(gaussian_blur(value) for value in inputs)
        elif baselines != "mean":
            raise ArgumentError("baselines", 'a number, a tensor, "mean" or "blur"', describe(baselines))

    def __call__(self, position: int, kept: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """Replacement, broadcastable to `kept` (P, ...), for rows (P,) of the input tensor at `position`.

        `mask` is one where pixels are kept and zero elsewhere, `kept` the inputs times the mask.
        """
        if self.values is None:
            return self._mean_of_kept(position, kept, mask, rows)
        filled = self.values[position]
        return filled if filled.shape[0] == 1 else filled[rows.to(filled.device)]

    def _mean_of_kept(self, position: int, kept: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """Mean of the kept pixels, for images of each channel; of all pixels where none is kept."""
        dims = tuple(range(2 if kept.dim() == 4 else 1, kept.dim()))
        if not dims:
            return self.inputs[position][rows.to(kept.device)]  # a row of one element is its own mean
        wide = torch.promote_types(kept.dtype, torch.float32)
        count = mask.sum(dims, keepdim=True, dtype=wide)
        mean = kept.sum(dims, keepdim=True, dtype=wide) / count
        if not bool(count.all()):
            whole = self.inputs[position][rows.to(kept.device)].mean(dims, keepdim=True, dtype=wide)
            mean = torch.where(count > 0, mean, whole)
        return mean.to(kept.dtype)


class Perturbation:
    """Inputs whose pixels are kept by rank: everything that the points of a curve, or of a search, have in common.

    `ranks` has one ranking for each input; with `row_of` (Q,) there are Q rankings, the q-th of input `row_of[q]`.
    """

    def __init__(
        self,
        model: RowwiseModel,
        inputs: Tensors,
        ranks: tuple[Tensor, ...],
        fill: Fill,
        limit: RowLimit,
        row_of: Tensor | None = None,
    ) -> None:
        self.model, self.inputs, self.ranks, self.fill, self.limit = model, inputs, ranks, fill, limit
        self.row_of = torch.arange(len(inputs[0]), device="cpu") if row_of is None else row_of

    def evaluate(self, ranking: Tensor, first: Tensor, last: Tensor, read: Callable[[Tensor, Tensor], T]) -> list[T]:
        """What `read` makes of the model's outputs (P, ...) and the rows (P,) of each chunk, in order.

        Point p keeps the pixels of rank `first[p]` to below `last[p]` in ranking `ranking[p]`; all three are (P,).
        """
        results: list[T] = []

        def run(part: slice) -> None:
            rows = self.row_of[ranking[part]]
            results.append(
                read(self.model.outputs(self._perturbed(ranking[part], first[part], last[part]), rows), rows)
            )

        for_each_chunk(len(ranking), self.limit, run)
        return results

    def _perturbed(self, ranking: Tensor, first: Tensor, last: Tensor) -> Tensors:
        result = []
        rows = self.row_of[ranking]
        for position, (tensor, rank) in enumerate(zip(self.inputs, self.ranks, strict=True)):
            kept, place = (
                tensor[rows.to(tensor.device)],
                rank[ranking.to(rank.device)],
            )  # copies, changed in place below
            shape = (-1, *(1,) * (place.dim() - 1))
            low = first.to(tensor.device, torch.int32).reshape(shape)
            high = last.to(tensor.device, torch.int32).reshape(shape)
            mask = ((place >= low) & (place < high)).to(kept.dtype)
            kept *= mask  # exact, as is adding a product with zero: kept pixels are the input's
            result.append(kept.addcmul_(self.fill(position, kept, mask, rows), 1 - mask))
        return tuple(result)


def check_fractions(fractions: Iterable[float]) -> tuple[float, ...]:
    """Return increasing fractions strictly between 0 and 1.

    Raises:
        ArgumentError: they are not.
    """
    shares = tuple(float(fraction) for fraction in fractions)
    inside = all(0 < share < 1 for share in shares)
    if not shares or not inside or list(shares) != sorted(set(shares)):
        raise ArgumentError("fractions", "increasing numbers strictly between 0 and 1", describe(shares))
    return shares
