"""How fit a reference is for an input: how few pixels, in the order of its own map, carry the score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_ext.core.checks import describe
from captum_ext.core.devices import double
from captum_ext.core.fills import Fill
from captum_ext.core.model import model_outputs
from captum_ext.core.perturbation import Perturbation, ranks_of
from captum_ext.core.request import Request
from captum_ext.core.types import Target
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError

#: Scores from outputs: a function of the model's outputs (P, ...), whose result the target is then selected from.
ScoreFunc = Callable[[Tensor], Tensor]

# Below this probability its half is too little to be told from noise.
_LEAST_PROBABILITY = 1e-3
_GRID = 16


@dataclass(frozen=True)
class Search:
    """How the smallest number of pixels is looked for: "bisection" or "grid", to a relative width of `rtol`."""

    kind: str
    rtol: float

    def __call__(self, is_reached: Callable[[Tensor, Tensor], Tensor], n_paths: int, n_pixels: int) -> Tensor:
        """For each path (Q,) a number of pixels at which the goal is reached, while it is not at one within `rtol`.

        `is_reached(paths, counts)` (both (P,)) says whether removing so many pixels reaches the goal. Removing none
        does not, removing all does: every round keeps `not reached at low` and `reached at high`, so that a crossing
        lies between them. Paths whose interval is narrow enough leave the search.
        """
        low = torch.zeros(n_paths, dtype=torch.long, device="cpu")
        high = torch.full_like(low, n_pixels)
        while True:
            unsure = (high - low > (self.rtol * high).long().clamp(min=1)).nonzero().squeeze(1)
            if len(unsure) == 0:
                return high
            counts = self._candidates(low[unsure], high[unsure])  # (P, G), increasing, between low and high
            answers = _ask(is_reached, unsure, counts)
            bounds = torch.cat([low[unsure, None], counts, high[unsure, None]], 1)
            first = torch.cat([answers, torch.ones_like(answers[:, :1])], 1).int().argmax(1)  # first that is reached
            low[unsure] = bounds.gather(1, first[:, None]).squeeze(1)
            high[unsure] = bounds.gather(1, first[:, None] + 1).squeeze(1)

    def _candidates(self, low: Tensor, high: Tensor) -> Tensor:
        """Counts strictly between low and high, in equal ratios for the grid since the width is relative."""
        if self.kind == "bisection":
            return ((low + high) // 2)[:, None]
        share = torch.arange(1, _GRID + 1, dtype=torch.float64, device="cpu") / (_GRID + 1)
        start = low.clamp(min=1).double()[:, None]
        counts = (start * (high.double()[:, None] / start) ** share).round().long()
        return torch.maximum(torch.minimum(counts, high[:, None] - 1), low[:, None] + 1)


def _ask(is_reached: Callable[[Tensor, Tensor], Tensor], paths: Tensor, counts: Tensor) -> Tensor:
    """Answers (P, G) for increasing counts (P, G) of each path; equal counts are asked for once."""
    fresh = torch.ones_like(counts, dtype=torch.bool)
    fresh[:, 1:] = counts[:, 1:] > counts[:, :-1]
    answers = torch.zeros_like(fresh)
    answers[fresh] = is_reached(paths[:, None].expand_as(counts)[fresh], counts[fresh])
    for column in range(1, counts.shape[1]):
        answers[:, column] = torch.where(fresh[:, column], answers[:, column], answers[:, column - 1])
    return answers


class Fitness:
    """The score of every input, where it is to fall, and the search for how soon it does."""

    def __init__(self, request: Request, fill: Fill, score: str | ScoreFunc | None, alpha: float) -> None:
        self.request, self.model, self.fill = request, request.model, fill
        self.score = _score_for(request.outputs, score, self.model.target)
        rows = request.rows
        filled = tuple(value.expand_as(tensor) for value, tensor in zip(fill.values or (), request.inputs, strict=True))
        filled_outputs = model_outputs(self.model, filled, request.limit)
        self.by_logit = torch.full((len(rows),), self.score == "logit", device="cpu")
        at_input = self._scores(request.outputs, rows)
        if self.score == "softmax":
            self.by_logit = at_input < _LEAST_PROBABILITY
            self._warn_of_improbable_targets()
            at_input = self._scores(request.outputs, rows)
        lowest = self._scores(filled_outputs, rows)
        self.goal = alpha * at_input + (1 - alpha) * torch.where(self.by_logit, lowest, 0.0)
        #: Rows whose score is above the goal with all pixels, and not with none: only there a crossing is sure.
        self.reachable = (at_input > self.goal) & (lowest <= self.goal)

    def fewest_pixels(self, importance: Tensor, row: Tensor, search: Search) -> Tensor:
        """Pixels to remove (Q,), most important first (Q, n), until the score of row `row` (Q,) is at its goal."""
        n_pixels = importance.shape[1]
        removed = torch.full((len(row),), n_pixels, dtype=torch.long, device="cpu")
        sought = self.reachable[row].nonzero().squeeze(1)
        if len(sought) == 0:
            return removed
        ranks = ranks_of(importance[sought.to(importance.device)], self.request.inputs, seed=0)
        games = Perturbation(self.request, ranks, self.fill, row[sought])

        def is_reached(path: Tensor, count: Tensor) -> Tensor:
            scores = games.evaluate(path, count, torch.full_like(count, n_pixels), self._scores)
            return scores <= self.goal[row[sought[path]]]

        removed[sought] = search(is_reached, len(sought), n_pixels)
        return removed

    def _scores(self, outputs: Tensor, rows: Tensor) -> Tensor:
        """Scores (P,) of outputs (P, ...) of the rows, on the CPU in float64, each on its row's scale."""
        plain = double(self.model.select(outputs, rows)).cpu()
        if self.score == "logit":
            return plain
        if self.score == "softmax":
            chosen = double(self.model.select(outputs.float().softmax(1), rows)).cpu()
            return torch.where(self.by_logit[rows], plain, chosen)
        changed = self.score(outputs.clone())  # type: ignore[operator]
        if not isinstance(changed, Tensor) or changed.dim() == 0 or len(changed) != len(rows):
            expected = f"a function that returns a tensor of {len(rows)} rows for {len(rows)} rows of outputs"
            raise ArgumentError("score", expected, f"one that returns {describe(changed)}")
        return double(changed if changed.dim() == 1 else self.model.select(changed, rows)).cpu()

    def _warn_of_improbable_targets(self) -> None:
        count = int(self.by_logit.sum())
        if count:
            warn_caller(
                f"The target's probability is below {_LEAST_PROBABILITY} for {count} of {len(self.by_logit)} inputs: "
                "their references are weighted by the logit above the fill's instead."
            )


def _score_for(outputs: Tensor, score: str | ScoreFunc | None, target: Target) -> str | ScoreFunc:
    """The score to use: softmax where the model has classes, unless asked for otherwise."""
    has_classes = outputs.dim() == 2 and outputs.shape[1] > 1 and target is not None
    if score is None:
        return "softmax" if has_classes else "logit"
    if score == "softmax" and not has_classes:
        raise ArgumentError(
            "score",
            f'"logit" or a function for a model without classes (outputs of shape {tuple(outputs.shape)}, '
            f"target {describe(target)})",
            '"softmax"',
        )
    return score
