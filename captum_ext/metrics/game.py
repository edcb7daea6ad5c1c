"""What the metrics share: one call's arguments, validated, and its pixels in the order of their importance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_ext.core.checks import check_tensors
from captum_ext.core.model import RowwiseModel, model_outputs
from captum_ext.core.perturbation import Fill, Perturbation, pixel_importance, ranks_of
from captum_ext.core.rows import RowLimit
from captum_ext.core.types import ForwardFunc, Target, TensorOrTensors


class Game:
    """Validated arguments of one call, with the pixels ranked.

    Attributes:
        importance: (N, n) of every pixel, over all tensors; zero in rows that are not finite.
        ranks: rank of every pixel in each tensor's shape.
        ranked: (N,) whether the map orders the pixels at all: finite, and not constant.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        inputs: TensorOrTensors,
        attributions: TensorOrTensors,
        target: Target,
        additional_forward_args: Any,
        absolute: bool,
        seed: int,
        internal_batch_size: int | None,
    ) -> None:
        self.inputs = tuple(tensor.detach() for tensor in check_tensors("inputs", inputs))
        self.n_rows = self.inputs[0].shape[0]
        self.model = RowwiseModel(forward_func, self.n_rows, target, additional_forward_args)
        self.limit = RowLimit(internal_batch_size, self.inputs)
        importance = pixel_importance(attributions, self.inputs, absolute)
        self.finite = importance.isfinite().all(1)
        self.importance = torch.where(self.finite[:, None], importance, 0.0)
        self.ranked = self.finite & (self.importance.amax(1) > self.importance.amin(1))
        self.ranks = ranks_of(self.importance, self.inputs, seed)
        self.n_pixels = self.importance.shape[1]

    def count(self, fraction: float) -> int:
        """Number of pixels in a fraction of them."""
        return round(fraction * self.n_pixels)

    def evaluate(self, fill: Fill, kept: list[tuple[int, int]]) -> tuple[Tensor, Tensor | None]:
        """Scores and correctness (N, F) with the pixels of each range of ranks kept."""
        first, last = torch.tensor(kept, device="cpu").T
        n_points = len(kept)
        rows = torch.arange(self.n_rows, device="cpu").repeat_interleave(n_points)
        perturbation = Perturbation(self.model, self.inputs, self.ranks, fill, self.limit)
        read = perturbation.evaluate(rows, first.repeat(self.n_rows), last.repeat(self.n_rows), self.read)
        scores = torch.cat([score for score, _ in read])
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32)).reshape(self.n_rows, n_points)
        scores = torch.where(self.finite.to(scores.device)[:, None], scores, torch.nan)
        flags = [flag for _, flag in read if flag is not None]
        correct = torch.cat(flags).to(scores.dtype).reshape(self.n_rows, n_points) if flags else None
        return scores, correct

    def own_scores(self) -> Tensor:
        """Score (N,) of each unchanged input, float64."""
        outputs = model_outputs(self.model, self.inputs, self.limit)
        return self.model.select(outputs, torch.arange(self.n_rows, device="cpu")).double()

    def read(self, outputs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores (P,) and whether no other output of the row exceeds its score, where there are classes."""
        scores = self.model.select(outputs, rows)
        has_classes = outputs.dim() == 2 and self.model.target is not None
        return scores, scores >= outputs.max(1).values if has_classes else None
