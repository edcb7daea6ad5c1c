"""Inputs with some of their pixels replaced, and the model's scores of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor

from captum_ext.core.checks import check_fill, describe
from captum_ext.core.model import RowwiseModel
from captum_ext.core.pixels import pixel_maps
from captum_ext.core.rows import RowLimit, for_each_chunk
from captum_ext.core.types import Baselines, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images import gaussian_blur

T = TypeVar("T")


def pixel_importance(attributions: TensorOrTensors, inputs: Tensors, absolute: bool) -> Tensor:
    """Importance (N, n) of every pixel of every row, over all tensors of a tuple; NaN and infinities stay.

    Convention: a pixel of a four-dimensional input (N, C, H, W) is a location with all its channels, whose importance
    is the sum over channels (of absolute values with `absolute`); of any other input it is a single element.

    Raises:
        ArgumentTypeError: attributions that are not tensors of numbers.
        ArgumentError: attributions of a shape that does not fit the inputs.
    """
    given = attributions if isinstance(attributions, tuple) else (attributions,)
    if not all(isinstance(part, Tensor) and part.dtype != torch.bool and not part.is_complex() for part in given):
        raise ArgumentTypeError("attributions", "a tensor or a tuple of tensors", describe(attributions))
    if len(given) != len(inputs) or any(part.dim() == 0 or len(part) != len(inputs[0]) for part in given):
        raise ArgumentError(
            "attributions", f"{len(inputs)} tensor(s) of {inputs[0].shape[0]} rows like the inputs", describe(given[0])
        )
    parts = [
        _pixel_importance(part, value, absolute).reshape(len(value), -1).to(inputs[0].device)
        for part, value in zip(given, inputs, strict=True)
    ]
    return torch.cat(parts, 1)


def ranks_of(importance: Tensor, like: Tensors, seed: int) -> tuple[Tensor, ...]:
    """Rank of every pixel, 0 for the most important (Q, n), counted over all tensors of a tuple together.

    Ties are broken at random, by one permutation that depends on `seed` and the number of pixels only.

    Returns:
        Ranks (Q, 1, H, W) for images, else (Q, ...) in the input's shape, on the input's device.
    """
    return pixel_maps(_ranks(importance, seed), like)


def _pixel_importance(attribution: Tensor, value: Tensor, absolute: bool) -> Tensor:
    integers = not attribution.is_floating_point()
    wide = attribution.detach().to(torch.float64 if integers else torch.promote_types(attribution.dtype, torch.float32))
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
            self.values = check_fill("baselines", baselines, inputs)
        elif baselines == "blur":
            if any(value.dim() != 4 for value in inputs):
                raise ArgumentError(
                    "baselines", 'a number, a tensor or "mean" for inputs that are not images', '"blur"'
                )
            self.values = tuple(gaussian_blur(value) for value in inputs)
        elif baselines != "mean":
            raise ArgumentError("baselines", 'a number, a tensor, "mean" or "blur"', describe(baselines))

    def apply(self, position: int, taken: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """Rows (P,) of the input tensor at `position`, `taken` (changed in place), with what `mask` does not keep
        replaced."""
        if self.values is not None:
            value = self.values[position]
            return torch.where(mask, taken, value if len(value) == 1 else value[rows.to(value.device)], out=taken)
        kept = mask.to(taken.dtype)
        taken *= kept  # exact, as is adding a product with zero: kept pixels are the input's
        return taken.addcmul_(self.replacement(position, taken, kept, rows), 1 - kept)

    def replacement(self, position: int, kept: Tensor, mask: Tensor, rows: Tensor) -> Tensor:
        """Replacement, broadcastable to `kept` (P, ...), where it depends on the kept pixels.

        `mask` is one where pixels are kept and zero elsewhere, `kept` the inputs times the mask.
        """
        return self._mean_of_kept(position, kept, mask, rows)

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
    """Inputs of which only some pixels are kept: everything that the points of a curve or a search have in common.

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
        self.n_ranks = sum(rank[0].numel() for rank in ranks)

    def evaluate(
        self, ranking: Tensor, first: Tensor, last: Tensor, read: Callable[[Tensor, Tensor], T], removed: bool = False
    ) -> list[T]:
        """What `read` makes of the model's outputs (P, ...) and the rows (P,) of each chunk, in order.

        Point p keeps the pixels of rank `first[p]` to below `last[p]` in ranking `ranking[p]`; all three are (P,). With
        `removed` it keeps all others.
        """
        from_first, to_last = not bool(first.any()), bool((last >= self.n_ranks).all())

        def masks(part: slice) -> Tensors:
            result = []
            for rank in self.ranks:
                place = rank[ranking[part].to(rank.device)]
                shape = (-1, *(1,) * (place.dim() - 1))
                low = first[part].to(place.device, torch.int32).reshape(shape)
                high = last[part].to(place.device, torch.int32).reshape(shape)
                inside = place < high if from_first else place >= low
                if not from_first and not to_last:
                    inside &= place < high
                result.append(~inside if removed else inside)
            return tuple(result)

        return self._evaluate(self.row_of[ranking], masks, read)

    def evaluate_masks(
        self, rows: Tensor, which: Tensor, masks: Tensors, read: Callable[[Tensor, Tensor], T]
    ) -> list[T]:
        """The same for points that keep what the masks (S, ...) with the numbers `which` (P,) keep of rows (P,)."""

        def chosen(part: slice) -> Tensors:
            return tuple(
                mask[which[part].to(mask.device)].to(tensor.device)
                for mask, tensor in zip(masks, self.inputs, strict=True)
            )

        return self._evaluate(rows, chosen, read)

    def _evaluate(
        self, rows: Tensor, masks: Callable[[slice], Tensors], read: Callable[[Tensor, Tensor], T]
    ) -> list[T]:
        results: list[T] = []

        def run(part: slice) -> None:
            perturbed = []
            for position, (tensor, mask) in enumerate(zip(self.inputs, masks(part), strict=True)):
                taken = tensor[rows[part].to(tensor.device)]  # a copy
                perturbed.append(self.fill.apply(position, taken, mask, rows[part]))
            results.append(read(self.model.outputs(tuple(perturbed), rows[part]), rows[part]))

        for_each_chunk(len(rows), self.limit, run)
        return results


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
