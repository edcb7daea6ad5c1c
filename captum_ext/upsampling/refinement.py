"""Hierarchical refinement: finer segments where the scores of coarse ones change (section C of the USU paper)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from captum_ext.core.checks import MOST_STEPS, check_choice, check_number, check_positive_int
from captum_ext.upsampling.scoring import Segments, unit_scores
from captum_ext.upsampling.settings import check_positive

KERNELS = ("max-min", "diagonal")
_MOST_LEVELS = 16
_MIXING_SHARPNESS = 10  # tau = theta / 10, so that a transition of twice the threshold is fully fine


@dataclass(frozen=True)
class Refinement:
    """How segments are refined.

    Attributes:
        depth: levels of segmentation, the first included.
        growth: how many times as many segments each level asks for.
        kernel: what tells a transition of scores: "max-min" of the 3 x 3 neighbourhood, which is the step of the
            scores; or "diagonal", the paper's difference kernel, a mixed second derivative that is zero on straight
            horizontal and vertical edges.
        threshold: a segment is refined where its transition exceeds this.
        budget: refine this many segments of each image instead, those with the largest transitions.
        tolerance: stop when the scores of an image change by less than this, as root mean square over its pixels.

    Deviations from the paper: scores are refined and mass is redistributed once, at the end (a pixelwise mixture of two
    maps that keep the cells' masses does not keep them); coarse levels are unions of fine segments by majority vote,
    since segmenters do not nest; the scores of refined parts are scaled between zero and the score of the segment they
    were part of, since drops of large and small segments cannot be compared; borders are replicated. We
    have not measured a gain by refinement that would pay for its passes.
    """

    depth: int = 3
    growth: int = 3
    kernel: str = "max-min"
    threshold: float = 0.3
    budget: int | None = None
    tolerance: float = 1e-3

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", check_positive_int("depth", self.depth, _MOST_LEVELS))
        object.__setattr__(self, "growth", check_positive_int("growth", self.growth, MOST_STEPS))
        check_choice("kernel", self.kernel, KERNELS)
        object.__setattr__(self, "threshold", check_positive("threshold", self.threshold))
        if self.budget is not None:
            object.__setattr__(self, "budget", check_positive_int("budget", self.budget))
        expected = "a finite non-negative number"
        tolerance = check_number("tolerance", self.tolerance, expected, lambda value: 0 <= value < math.inf)
        object.__setattr__(self, "tolerance", tolerance)


def transitions(scores: Tensor, kernel: str) -> Tensor:
    """How much scores (N, H, W) change around each pixel: zero where its 3 x 3 neighbourhood is constant."""
    padded = functional.pad(scores[:, None], (1, 1, 1, 1), mode="replicate")
    if kernel == "diagonal":
        weight = scores.new_tensor([[-1.0, 0, 1], [0, 0, 0], [1, 0, -1]])[None, None]
        return functional.conv2d(padded, weight)[:, 0].abs()
    highest, lowest = functional.max_pool2d(padded, 3, 1), -functional.max_pool2d(-padded, 3, 1)
    return (highest - lowest)[:, 0]


def nested(levels: list[Tensor]) -> list[Tensor]:
    """Label maps (N, H, W), coarse to fine, of which every coarse segment is a union of fine ones, by majority vote."""
    result = [levels[-1]]
    for coarse in reversed(levels[:-1]):
        result.append(torch.stack([_majority(fine, vote) for fine, vote in zip(result[-1], coarse, strict=True)]))
    return result[::-1]


def _majority(fine: Tensor, coarse: Tensor) -> Tensor:
    """The coarse label (H, W) that most pixels of each fine segment have, relabelled from zero without gaps."""
    n_coarse = int(coarse.max()) + 1
    votes = torch.bincount(fine.flatten() * n_coarse + coarse.flatten(), minlength=(int(fine.max()) + 1) * n_coarse)
    winner = votes.reshape(-1, n_coarse).argmax(1)
    relabelled: Tensor = torch.unique(winner[fine], return_inverse=True)[1]
    return relabelled


def to_refine(labels: Tensor, transition: Tensor, refinement: Refinement) -> Tensor:
    """Which segments (P,) of one image's labels (H, W) are refined, by their largest transition."""
    n_segments = int(labels.max()) + 1
    largest = torch.zeros(n_segments, dtype=transition.dtype, device=labels.device)
    largest.scatter_reduce_(0, labels.flatten(), transition.flatten(), "amax")
    if refinement.budget is None:
        return largest > refinement.threshold
    chosen = largest.topk(min(refinement.budget, n_segments)).indices
    return torch.zeros_like(largest, dtype=torch.bool).index_fill_(0, chosen, True) & (largest > 0)


def refine(
    score_map: Tensor, levels: list[Tensor], score: Callable[[Tensor], Segments], refinement: Refinement
) -> Tensor:
    """Refine scores (N, H, W) of the first level's segments by those of finer levels.

    `levels` are nested label maps; `score` gives raw scores of all segments of a label map (N, H, W), of which segment
    zero stands for everything that is not refined.
    """
    active = torch.ones(len(score_map), dtype=torch.bool, device=score_map.device)
    for coarse, fine in itertools.pairwise(levels):
        transition = transitions(score_map, refinement.kernel)
        parts = []
        for i in range(len(score_map)):
            chosen = to_refine(coarse[i], transition[i], refinement)[coarse[i]] & active[i]
            parts.append(torch.unique(torch.where(chosen, fine[i] + 1, 0), return_inverse=True)[1] + int(chosen.all()))
        labels = torch.stack(parts)
        if not bool((labels > 0).any()):
            return score_map
        refined = _anchored(score_map, labels, score(labels))
        stay = torch.sigmoid(-(transition - refinement.threshold) * _MIXING_SHARPNESS / refinement.threshold)
        mixed = torch.where(labels > 0, stay * score_map + (1 - stay) * refined, score_map)
        active = (mixed - score_map).square().mean((1, 2)).sqrt() > refinement.tolerance
        score_map = mixed
    return score_map


def _anchored(score_map: Tensor, labels: Tensor, scores: Segments) -> Tensor:
    """Scores of refined parts between zero and the score that their pixels had; everything else as it was."""
    result = []
    for known, label, raw in zip(score_map, labels, scores, strict=True):
        parts = unit_scores([raw[1:]])[0] if len(raw) > 1 else raw
        share = torch.cat([torch.ones_like(raw[:1]), parts]) if len(raw) > 1 else torch.ones_like(raw)
        result.append(known * share[label].to(known))
    return torch.stack(result)
