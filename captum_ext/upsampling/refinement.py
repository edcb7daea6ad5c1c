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
_DIAGONAL_DIFFERENCE = ((-1.0, 0.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, -1.0))  # K_DD
_MOST_LEVELS = 16
_MIXING_SHARPNESS = 10  # tau = theta / 10: scores are old below half the threshold, new above three halves
_LOWEST, _HIGHEST = 1e-30, 1e30  # beyond them float32 over- or underflows; the results are those of the limits already


@dataclass(frozen=True)
class Refinement:
    r"""How segments are refined where scores change (Buono et al., "Attribution Upsampling should Redistribute, Not
    Interpolate", section C). `Refinement(kernel="diagonal")` is as in the paper.

    A segment is refined where the transition $|H(x)|$ of the scores exceeds $\theta$ at one of its pixels
    (definition 5). Its parts are scored, and mixed with what was known (equations 17 and 18), which drives the next
    level:

    $$\Phi_\text{merged} = \alpha \Phi^{d-1} + (1 - \alpha) \Phi^d, \qquad
    \alpha(x) = \text{sigmoid}\Big({-\frac{|H(x)| - \mu}{\tau}}\Big)$$

    Attributes:
        depth: levels of segmentation D, the first included, from 1 to 16.
        growth: how many times as many segments each level asks for.
        kernel: what tells a transition of scores: "diagonal", the absolute value of their convolution with the paper's
            $K_{DD}$ (equation 16), from 0 to 2, a mixed second derivative that is zero on straight horizontal and
            vertical edges, and is defined in two dimensions; or "max-min" of the 3 x 3 neighbourhood (3 x 3 x 3 of
            volumes, 3 of signals), from 0 to 1, which is the step of the scores.
        threshold: theta; a segment is refined where its transition exceeds this.
        budget: refine this many segments of each image instead, those with the largest transitions.
        tolerance: stop when the scores of an image change by no more than this, as root mean square over its pixels:
            the Frobenius norm L of the paper's comparator over the square root of the number of pixels, so that it does
            not depend on the image's size.
        mu: the transition where old and new scores have equal weights, at least zero. None: `threshold`.
        tau: the width of that change of weights, positive. None: a tenth of `threshold`, with which scores are all but
            new at one and a half times the threshold.

    Raises:
        ArgumentTypeError, ArgumentError: a field of another type, or out of its range.

    Example:
        >>> from captum_ext.upsampling import USU, Refinement
        >>> usu = USU.paper(refinement=Refinement(kernel="diagonal", threshold=0.2, mu=0.25, tau=0.05))

    Deviations from the paper: it states no values for theta, mu, tau, L and D, for the number of segments and for how
    scores of different depths compare; all defaults are ours. The scores of refined parts are scaled between zero and
    the score of the segment they were part of, since drops of large and small segments cannot be compared. Scores are
    refined and mass is redistributed once, at the end: the paper's definition 6 redistributes at every depth, but a
    pixelwise mixture of two maps that keep the cells' masses does not keep them. H is that of the coarser scores, also
    in the mixture. Coarse levels are unions of fine segments by majority vote, since segmenters do not nest. Borders
    are replicated. We have not measured a gain by refinement that would pay for its passes.
    """

    depth: int = 3
    growth: int = 3
    kernel: str = "max-min"
    threshold: float = 0.3
    budget: int | None = None
    tolerance: float = 1e-3
    mu: float | None = None
    tau: float | None = None

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
        if self.mu is not None:
            mu = check_number("mu", self.mu, expected, lambda value: 0 <= value < math.inf)
            object.__setattr__(self, "mu", mu)
        if self.tau is not None:
            object.__setattr__(self, "tau", check_positive("tau", self.tau))


def heterogeneity(scores: Tensor) -> Tensor:
    """The H-map (N, H, W) of scores (N, H, W), equation 16: signed, linear, zero where a 3 x 3 window is constant."""
    padded = functional.pad(scores[:, None], (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, scores.new_tensor(_DIAGONAL_DIFFERENCE)[None, None])[:, 0]


def transitions(scores: Tensor, kernel: str) -> Tensor:
    """How much scores (N, H, W), (N, D, H, W) or (N, T) change around each pixel: zero where its neighbours, those
    across corners included, all have its score."""
    if kernel == "diagonal":
        return heterogeneity(scores).abs()
    dims = scores.dim() - 1
    pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[dims - 1]
    padded = functional.pad(scores[:, None], (1, 1) * dims, mode="replicate")
    highest, lowest = pool(padded, 3, 1), -pool(-padded, 3, 1)
    return (highest - lowest)[:, 0]


def mixing_coefficient(transition: Tensor, refinement: Refinement) -> Tensor:
    """The weight alpha of the coarser scores at each pixel, equation 17: one half where the transition is mu."""
    theta, mu, tau = refinement.threshold, refinement.mu, refinement.tau
    centre = min(theta if mu is None else mu, _HIGHEST)
    width = min(max(theta / _MIXING_SHARPNESS if tau is None else tau, _LOWEST), _HIGHEST)
    return torch.sigmoid(-(transition - centre) / width)


def merged(coarse: Tensor, fine: Tensor, alpha: Tensor) -> Tensor:
    """Scores alpha * coarse + (1 - alpha) * fine, equation 18, between them and equal to both where both are equal."""
    return torch.lerp(fine, coarse, alpha)


def has_changed(scores: Tensor, before: Tensor, tolerance: float) -> Tensor:
    """The comparator: whether each image's scores (N, H, W) differ, as root mean square, by more than `tolerance`."""
    return (scores - before).square().mean(tuple(range(1, scores.dim()))).sqrt() > tolerance


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
        mixed = merged(score_map, refined, mixing_coefficient(transition, refinement))
        mixed = torch.where(labels > 0, mixed, score_map)
        active = has_changed(mixed, score_map, refinement.tolerance)
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
