"""What the metrics share: one call's arguments, validated, and its pixels in the order of their importance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_ext.core.blur import Blur
from captum_ext.core.checks import describe
from captum_ext.core.devices import double
from captum_ext.core.fills import BLURRED, Fill, FillWord, KeptMean, OverallKeptMean, corner_mean, make_fill
from captum_ext.core.perturbation import Perturbation, channels_of, pixel_importance, ranks_of
from captum_ext.core.pixels import warn_of_frames
from captum_ext.core.request import Request
from captum_ext.core.types import Baselines, TensorOrTensors
from captum_ext.exceptions import ArgumentTypeError
from captum_ext.metrics.ranking import Ranking

#: Ranks from the first that is kept to below the last.
Kept = tuple[int, int]

_WORDS: dict[str, FillWord] = {**BLURRED, "corners": corner_mean, "mean": KeptMean, "overall-mean": OverallKeptMean}


class Game:
    """A request with a map whose pixels are ranked.

    Attributes:
        channels: the dimension of each input that a pixel has all of, or None.
        importance: (N, n) of every pixel, over all tensors; zero in rows that are not finite.
        ranks: rank of every pixel in each tensor's shape.
        finite: (N,) whether the map is finite.
        ranked: (N,) whether the map orders the pixels at all: finite, and not constant.
    """

    def __init__(self, request: Request, attributions: TensorOrTensors, ranking: Ranking) -> None:
        if not isinstance(ranking, Ranking):
            raise ArgumentTypeError("ranking", "a Ranking", describe(ranking))
        self.request = request
        self.inputs, self.n_rows, self.model = request.inputs, request.n_rows, request.model
        importance = pixel_importance(attributions, self.inputs, ranking.absolute)
        self.channels = channels_of(attributions, self.inputs)
        warn_of_frames(self.inputs)
        self.finite = importance.isfinite().all(1)
        self.importance = torch.where(self.finite[:, None], importance, 0.0)
        self.ranked = self.finite & (self.importance.amax(1) > self.importance.amin(1))
        self.ranks = ranks_of(self.importance, self.inputs, ranking.seed, self.channels)
        self.n_pixels = self.importance.shape[1]

    def fill(self, baselines: Baselines | str | Blur) -> Fill:
        """What replaces pixels that are not kept: a key of `_WORDS`, a `Blur`, a number or a tensor."""
        return make_fill("baselines", 0 if baselines is None else baselines, self.inputs, _WORDS, self.channels)

    def count(self, fraction: float) -> int:
        """Number of pixels in a fraction of them."""
        return round(fraction * self.n_pixels)

    def evaluate(self, fill: Fill, kept: Sequence[Kept]) -> tuple[Tensor, Tensor | None]:
        """Scores and correctness (N, F) with the pixels of each range of ranks kept."""
        return self.scored(self.ask(self.ranks, fill, [(0, first, last) for first, last in kept]))

    def ask(self, ranks: tuple[Tensor, ...], fill: Fill, points: Sequence[tuple[int, int, int]]) -> Tensor:
        """What the model says (F, N, 2) with the pixels of some ranges of ranks kept; see `read`.

        `ranks` holds one ranking of all rows after the other; a point is the number of its ranking and its range.
        """
        which, first, last = torch.tensor(points, device="cpu").T
        n_rankings = len(ranks[0]) // self.n_rows
        rows = self.request.rows
        results = Perturbation(self.request, ranks, fill, rows.repeat(n_rankings)).evaluate(
            (which[:, None] * self.n_rows + rows).reshape(-1),
            first.repeat_interleave(self.n_rows),
            last.repeat_interleave(self.n_rows),
            self.read,
        )
        return results.reshape(len(points), self.n_rows, 2)

    def scored(self, results: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores and correctness (N, F) of what the model says (F, N, 2), with NaN where the map is not finite."""
        scores, correct = results.transpose(0, 1).unbind(2)
        return self.defined(scores), None if bool(correct.isnan().all()) else correct

    def defined(self, results: Tensor) -> Tensor:
        """Results (N, ...) with NaN in rows whose map is not finite, and in those that are left out."""
        finite = self.finite.to(results.device).reshape(-1, *(1,) * (results.dim() - 1))
        return self.request.left_out.blanked(torch.where(finite, results, torch.nan))

    def at_inputs(self, scores: Tensor) -> Tensor:
        """Scores (N,) of the unchanged inputs, as a curve has them.

        Raises:
            NonFiniteError: one that is not finite though its map is, unless such rows are left out.
        """
        known = torch.where(self.finite.to(scores.device), scores, 0.0)
        known = known.index_fill(0, torch.tensor(sorted(self.request.left_out.rows), device=known.device).long(), 0.0)
        self.request.left_out.check(known, "forward_func", "scores at the inputs")
        return self.request.left_out.blanked(scores)

    def own_scores(self) -> Tensor:
        """Score (N,) of each unchanged input, float64."""
        return double(self.request.scores)

    def read(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """Scores, and whether no other output of the row exceeds its score, (P, 2); NaN where there are no classes."""
        scores = self.model.select(outputs, rows)
        wide = scores.to(torch.promote_types(scores.dtype, torch.float32))
        has_classes = outputs.dim() == 2 and self.model.target is not None
        correct = (scores >= outputs.max(1).values).to(wide.dtype) if has_classes else torch.full_like(wide, torch.nan)
        return torch.stack([wide, correct], 1)
