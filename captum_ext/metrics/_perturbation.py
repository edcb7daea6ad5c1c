"""Inputs with some of their pixels replaced, and the model's scores of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_ext._blur import gaussian_blur
from captum_ext._checks import check_baselines, check_tensors, describe
from captum_ext._model import RowwiseModel
from captum_ext._rows import RowLimit, for_each_chunk
from captum_ext._types import Baselines, Target, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError


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
    ranks = _ranks(torch.cat(importance, 1), seed)
    sizes = [part.shape[1] for part in importance]
    return tuple(
        part.reshape(_pixel_shape(value)).to(value.device)
        for part, value in zip(torch.split(ranks, sizes, 1), inputs, strict=True)
    )


def _pixel_shape(value: Tensor) -> tuple[int, ...]:
    return (value.shape[0], 1, *value.shape[2:]) if value.dim() == 4 else tuple(value.shape)


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


@dataclass(frozen=True)
class PerturbedScores:
    """Scores (P,) of perturbed inputs, and whether the target was the largest output (None where undefined)."""

    scores: Tensor
    correct: Tensor | None


class Perturbation:
    """Inputs whose pixels are kept by rank: everything that the points of a curve have in common."""

    def __init__(
        self,
        model: RowwiseModel,
        inputs: Tensors,
        ranks: tuple[Tensor, ...],
        fill: Fill,
        limit: RowLimit,
    ) -> None:
        self.model, self.inputs, self.ranks, self.fill, self.limit = model, inputs, ranks, fill, limit

    def evaluate(self, rows: Tensor, first: Tensor, last: Tensor) -> PerturbedScores:
        """Score each row with the pixels of rank `first` to below `last` kept; all three (P,)."""
        scores: list[Tensor] = []
        correct: list[Tensor | None] = []

        def score(part: slice) -> None:
            outputs = self.model.outputs(self._perturbed(rows[part], first[part], last[part]), rows[part])
            selected = self.model.select(outputs, rows[part])
            first_class = _is_first(outputs, selected, self.model.target)
            scores.append(selected)
            correct.append(first_class)

        for_each_chunk(len(rows), self.limit, score)
        flags = [flag for flag in correct if flag is not None]
        return PerturbedScores(torch.cat(scores), torch.cat(flags) if len(flags) == len(correct) else None)

    def _perturbed(self, rows: Tensor, first: Tensor, last: Tensor) -> Tensors:
        result = []
        for position, (tensor, rank) in enumerate(zip(self.inputs, self.ranks, strict=True)):
            on_device = rows.to(tensor.device)
            kept, place = tensor[on_device], rank[on_device]  # copies, changed in place below
            shape = (-1, *(1,) * (place.dim() - 1))
            low = first.to(tensor.device, torch.int32).reshape(shape)
            high = last.to(tensor.device, torch.int32).reshape(shape)
            mask = ((place >= low) & (place < high)).to(kept.dtype)
            kept *= mask  # exact, as is adding a product with zero: kept pixels are the input's
            result.append(kept.addcmul_(self.fill(position, kept, mask, rows), 1 - mask))
        return tuple(result)


def _is_first(outputs: Tensor, scores: Tensor, target: Target) -> Tensor | None:
    """Whether no other output of a row exceeds its score, for outputs (P, classes) with a target."""
    if outputs.dim() != 2 or target is None:
        return None
    return scores >= outputs.max(1).values


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
