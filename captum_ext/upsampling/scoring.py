"""Scores of segments: what each of them means to the model, by passes over masked images."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from captum_ext.core.checks import MOST_STEPS, check_choice, check_number, check_positive_int, check_seed, describe
from captum_ext.core.chunks import for_each_chunk
from captum_ext.core.fills import BLURRED, Fill, FillWord, image_mean, zero
from captum_ext.core.model import BatchedModel
from captum_ext.core.progress import counted
from captum_ext.core.request import Request
from captum_ext.core.tensors import accumulation_dtype
from captum_ext.exceptions import ArgumentError, OutputTypeError
from captum_ext.upsampling.known_outputs import KnownRows, NotKeptError, check_kept

Segments = list[Tensor]
_BOTH = "deletion+insertion"
_LEAST_ROUND, _ROUNDS = 4, 8  # segments that are deleted before it is asked again whether the order is settled


#: Words for what stands where a segment is missing.
FILLS: dict[str, FillWord] = {"mean": image_mean, **BLURRED, "zero": zero}


@dataclass(frozen=True)
class MaskedImages:
    """Images, their segments, and the model's scores of the images with some segments kept.

    Attributes:
        request: the images, and the model that scores them by their targets.
        labels: (N, H, W) segments, (N, D, H, W) of volumes, (N, T) of signals, from zero without gaps in every image.
        fill: what stands where a segment is not kept, whatever else is.
        probability: score the target's softmax probability instead of the output itself.
        progress: whether to show a bar that counts passes.
        known: what the model is not asked again; None where no two points can be the same.
    """

    request: Request
    labels: Tensor
    fill: Fill
    probability: bool = False
    progress: bool = False
    known: KnownRows | None = None

    @property
    def images(self) -> Tensor:
        """(N, C, H, W), volumes (N, C, D, H, W) or signals (N, C, T)."""
        return self.request.inputs[0]

    @property
    def model(self) -> BatchedModel:
        """Scores rows by their targets."""
        return self.request.model

    @property
    def n_segments(self) -> list[int]:
        """Number of segments of each image."""
        return [int(label.max()) + 1 for label in self.labels]

    def filling(self, rows: Tensor) -> Tensor:
        """What stands for missing segments of the images `rows` (P,), broadcastable to (P, C, H, W)."""
        (values,) = self.fill.values or (torch.zeros_like(self.images[:1]),)
        return values if len(values) == 1 else values[rows.to(values.device)]

    def scores(self, rows: Tensor, kept: Callable[[Tensor], Tensor]) -> Tensor:
        """Score (P,) of image `rows[p]` with the pixels kept that `kept(points)` marks, without gradients.

        `kept` gets the numbers (p,) of points and returns masks (p, H, W).
        """
        if self.known is not None:
            with contextlib.suppress(NotKeptError, OutputTypeError):
                return self._score(self._known_outputs(self.known, rows, kept), rows, whole=True)

        def score(outputs: Tensor, row: Tensor) -> Tensor:
            return self._score(outputs, row)

        return self._evaluate(self.model, rows, kept, score)

    def _evaluate(
        self,
        model: BatchedModel,
        rows: Tensor,
        kept: Callable[[Tensor], Tensor],
        read: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        """What `read` makes of the model's outputs at the points."""

        def values(points: Tensor, row: Tensor) -> Tensor:
            taken = self.images[row.to(self.images.device)]  # a copy
            masked = self.fill.apply(0, taken, kept(points)[:, None], row)
            result = read(model.outputs((masked,), row), row)
            bar(len(row))
            return result

        with counted("segment scores", len(rows), "pass", self.progress) as bar:
            return self.request.evaluate(rows, values)

    def _known_outputs(self, known: KnownRows, rows: Tensor, kept: Callable[[Tensor], Tensor]) -> Tensor:
        """Whole outputs (P, K), of which each is computed once."""
        model = self.model.elsewhere(len(self.images), whole=True) if self.model.has_functions else self.model

        def ask(points: Tensor) -> Tensor:
            return self._evaluate(
                model, rows[points], lambda numbers: kept(points[numbers]), lambda outputs, _: check_kept(outputs)
            )

        return known.find(rows, kept, self.request.limit.rows, ask)

    def _score(self, outputs: Tensor, rows: Tensor, *, whole: bool = False) -> Tensor:
        wide = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        classes = wide.dim() == 2 and wide.shape[1] > 1  # the softmax of a single output is a constant
        wide = wide.softmax(1) if self.probability and classes else wide
        return self.model.select_whole(wide, rows) if whole else self.model.select(wide, rows)


def _as_column(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers (P,) shaped to stand beside rows of `like` (P, ...)."""
    return numbers.reshape(-1, *(1,) * (like.dim() - 1))


class Scorer(Protocol):
    """Scores of every image's segments (P_n,), on any scale: the upsampler scales each image's to [0, 1]."""

    def __call__(self, masked: MaskedImages) -> Segments:
        """Score the segments of all images."""
        ...


class PerturbationScorer:
    r"""Each segment by itself: how far the score falls without it, rises with it alone, or both (the default).

    Costs one pass a segment for "deletion" and for "insertion", two for "deletion+insertion". The scores of the whole
    and of the filled image would only shift an image's scores, and are not computed.

    "deletion+insertion" can do with fewer: every segment is inserted, then segments are deleted, beginning with those
    whose insertions are nearest to their median, as those far from it keep their places anyway. Segments that are not
    deleted count as the mean of those that are. An image is done at `max_passes`, or when its scores are estimated
    to correlate with the full ones by `settled`: of P segments with m deletions of variance $\sigma_d^2$ and insertions
    of variance $\sigma_i^2$, as if neither depended on the other, by

    $$r = \sqrt{1 - \frac{P - m}{P} \frac{\sigma_d^2}{\sigma_i^2 + \sigma_d^2}}$$

    What is saved, and lost, was measured: see `docs/usu-passes.md`.

    Args:
        kind: "deletion+insertion", "deletion" or "insertion".
        max_passes: of each image, no fewer than it has segments; of each of its levels where they are refined. None:
            as many as are needed.
        settled: a correlation above 0, at most 1, at which no more segments are deleted. None: all are.

    Raises:
        ArgumentTypeError, ArgumentError: no such kind, number or correlation, or one where there is one game only; when
            it is called, an image of more segments than `max_passes`.

    Example:
        >>> import torch
        >>> from captum_ext.upsampling import USU, PerturbationScorer
        >>> usu = USU(segmenter=torch.tensor([[0, 1, 2, 3]]), scorer=PerturbationScorer(max_passes=6), fill=0)
        >>> usu.score_map(torch.tensor([[[[0.0, 1, 3, 4]]]]), lambda x: x.sum((1, 2, 3))).squeeze()
        tensor([0.0000, 0.4444, 0.7778, 1.0000])
    """

    def __init__(self, kind: str = _BOTH, *, max_passes: int | None = None, settled: float | None = None) -> None:
        self.kind = check_choice("kind", kind, ("deletion", "insertion", _BOTH))
        for name, value in (("max_passes", max_passes), ("settled", settled)):
            if value is not None and kind != _BOTH:
                raise ArgumentError(name, f'None with kind="{kind}", of one pass for each segment', describe(value))
        self.max_passes = None if max_passes is None else check_positive_int("max_passes", max_passes, MOST_STEPS)
        expected = "a number above 0 and at most 1"
        self.settled = None if settled is None else check_number("settled", settled, expected, lambda r: 0 < r <= 1)

    def __call__(self, masked: MaskedImages) -> Segments:
        """Scores (P_n,) of each image's segments."""
        if self.max_passes is not None or self.settled is not None:
            return self._as_far_as_needed(masked)
        every = [torch.arange(count, device="cpu") for count in masked.n_segments]
        return [scores.sum(0) for scores in _played(masked, every, self.kind)]

    def _as_far_as_needed(self, masked: MaskedImages) -> Segments:
        """Insertions of all segments, and deletions until the order is settled or the passes are used up."""
        counts = masked.n_segments
        most = [2 * count if self.max_passes is None else min(2 * count, self.max_passes) for count in counts]
        for row, (count, passes) in enumerate(zip(counts, most, strict=True)):
            if passes < count:
                expected = f"at least {count}, the segments of image {row}, or given with a segmenter that makes fewer"
                raise ArgumentError("max_passes", expected, str(self.max_passes))
        every = [torch.arange(count, device="cpu") for count in counts]
        inserted = [scores[0] for scores in _played(masked, every, "insertion")]
        orders = [(one - one.median()).abs().argsort(stable=True).cpu() for one in inserted]
        deleted = [one.new_empty(0) for one in inserted]
        while True:
            following = [
                order[len(known) : min(len(known) + max(_LEAST_ROUND, count // _ROUNDS), passes - count)]
                if not self._is_settled(one, known)
                else order[:0]
                for one, known, order, count, passes in zip(inserted, deleted, orders, counts, most, strict=True)
            ]
            if not any(len(one) for one in following):
                break
            found = _played(masked, following, "deletion")
            deleted = [torch.cat([known, scores[0]]) for known, scores in zip(deleted, found, strict=True)]
        return [_with_deletions(*parts) for parts in zip(inserted, deleted, orders, strict=True)]

    def _is_settled(self, inserted: Tensor, deleted: Tensor) -> bool:
        if self.settled is None or len(deleted) < min(_LEAST_ROUND, len(inserted)):
            return False
        return estimated_correlation(inserted, deleted) >= self.settled


def estimated_correlation(inserted: Tensor, deleted: Tensor) -> float:
    """Of insertions (P,) with some deletions (m,) and with all of them, as if neither depended on the other."""
    unknown = 1 - len(deleted) / len(inserted)
    if unknown == 0:
        return 1.0
    of_insertions, of_deletions = (float(one.double().var()) if len(one) > 1 else 0.0 for one in (inserted, deleted))
    total = of_insertions + of_deletions
    return 1.0 if total == 0 else math.sqrt(1 - unknown * of_deletions / total)


def _with_deletions(inserted: Tensor, deleted: Tensor, order: Tensor) -> Tensor:
    """Insertions (P,) plus deletions (m,) of the first segments of an order, whose mean stands for the others."""
    if len(deleted) == 0:
        return inserted
    every = deleted.mean().expand_as(inserted).clone()
    every[order[: len(deleted)].to(every.device)] = deleted
    return inserted + every


def _played(masked: MaskedImages, segments: list[Tensor], kind: str) -> list[Tensor]:
    """Scores (games, p) of some segments (p,) of each image in the games of a kind, deletion before insertion."""
    counts = [len(one) for one in segments]
    row = torch.cat([torch.full((count,), i, device="cpu") for i, count in enumerate(counts)])
    segment = torch.cat(segments)
    games = [inserting for inserting in (False, True) if ("insertion" if inserting else "deletion") in kind]
    rows, chosen = row.repeat(len(games)), segment.repeat(len(games))
    inserting = torch.tensor(games, device="cpu").repeat_interleave(len(row))

    def kept(points: Tensor) -> Tensor:
        device = masked.labels.device
        label = masked.labels[rows[points].to(device)]
        inside = label == _as_column(chosen[points].to(device), label)
        return inside == _as_column(inserting[points].to(device), label)

    scores = masked.scores(rows, kept)
    signs = torch.where(inserting, 1.0, -1.0).to(scores)
    return list(torch.split((scores * signs).reshape(len(games), -1), counts, dim=1))


class CoalitionScorer:
    """Random coalitions of segments and a ridge regression of the score on which are kept, for a fixed number of
    passes.

    Args:
        n_passes: passes for each image, whatever its number of segments.
        ridge: penalty, relative to the number of passes; from 1e-9 to 1e6, since fewer passes than segments leave
            coefficients undetermined without one.
        seed: of the coalitions.

    Raises:
        ArgumentTypeError, ArgumentError: no such number of passes, penalty or seed.

    Example:
        >>> import torch
        >>> from captum_ext.upsampling import CoalitionScorer, USUUpsampler
        >>> usu = USUUpsampler(segmenter=torch.tensor([[0, 0, 1, 1]]), scorer=CoalitionScorer(n_passes=16))
        >>> image = torch.tensor([[[[1.0, 1.0, 5.0, 5.0]]]])
        >>> usu(torch.ones(1, 1, 1), image, lambda x: x[..., 2:].sum((1, 2, 3))).squeeze()
        tensor([0.0689, 0.0689, 1.9311, 1.9311])
    """

    def __init__(self, n_passes: int = 96, ridge: float = 0.01, seed: int = 0) -> None:
        self.n_passes = check_positive_int("n_passes", n_passes, MOST_STEPS)
        self.ridge = check_number("ridge", ridge, "a number from 1e-9 to 1e6", lambda value: 1e-9 <= value <= 1e6)
        self.seed = check_seed("seed", seed)

    def __call__(self, masked: MaskedImages) -> Segments:
        """Coefficients (P_n,) of each image's segments."""
        present, scores = self._scored(masked)
        return [self._ridge(one, score) for one, score in zip(present, scores, strict=True)]

    def with_errors(self, masked: MaskedImages) -> tuple[Segments, Segments]:
        r"""Coefficients (P_n,) of each image's segments, and their standard errors, from the same passes.

        $$V = \tfrac{n}{n - P - 1} \, B \, \mathrm{diag}(e^2) \, B^T, \qquad B = (X^T X + \lambda I)^{-1} X^T$$

        for the residuals e of n coalitions X, centred, and P segments (White, "A Heteroskedasticity-Consistent
        Covariance Matrix Estimator", Econometrica 1980, https://doi.org/10.2307/1912934, with the factor for degrees
        of freedom). It is that of the coefficients around what the penalty makes of them, which is nearer to zero than
        the truth; infinite with no more coalitions than segments.

        Args:
            masked: the images with their segments, as an upsampler hands them on.
        """
        present, scores = self._scored(masked)
        found = [self._ridge(one, score) for one, score in zip(present, scores, strict=True)]
        return found, [self._errors(*one) for one in zip(present, scores, found, strict=True)]

    def _scored(self, masked: MaskedImages) -> tuple[list[Tensor], Tensor]:
        """Which segments are kept in each image's coalitions, and the scores (N, n_passes) of these."""
        present = [self._coalitions(count) for count in masked.n_segments]
        rows = torch.arange(len(present), device="cpu").repeat_interleave(self.n_passes)

        def kept(points: Tensor) -> Tensor:
            labels = masked.labels
            chosen = [(int(rows[k]), present[int(rows[k])][k % self.n_passes]) for k in points.tolist()]
            return torch.stack([coalition.to(labels.device)[labels[row]] for row, coalition in chosen])

        return present, masked.scores(rows, kept).reshape(len(present), self.n_passes)

    def _coalitions(self, n_segments: int) -> Tensor:
        """Which segments (n_passes, P) are kept, each with probability one half; every image by the same draws."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.rand(self.n_passes, n_segments, generator=generator, dtype=torch.float32, device="cpu") < 0.5

    def _ridge(self, present: Tensor, score: Tensor) -> Tensor:
        design, response = _centred(present), _centred(score.cpu())
        solution: Tensor = torch.linalg.solve(self._normal(design), design.T @ response)
        return solution.to(score)

    def _errors(self, present: Tensor, score: Tensor, found: Tensor) -> Tensor:
        design, response = _centred(present), _centred(score.cpu())
        free = self.n_passes - design.shape[1] - 1
        if free <= 0:
            return torch.full_like(found, torch.inf)
        residual = response - design @ found.cpu().double()
        by_response = torch.linalg.solve(self._normal(design), design.T)  # (P, n)
        variance: Tensor = (by_response * residual).square().sum(1) * self.n_passes / free
        return variance.sqrt().to(found)

    def _normal(self, design: Tensor) -> Tensor:
        penalty = self.ridge * self.n_passes * torch.eye(design.shape[1], dtype=torch.float64, device="cpu")
        return design.T @ design + penalty


def _centred(values: Tensor) -> Tensor:
    return values.double() - values.double().mean(0)


class GradientScorer:
    """Gradient times difference from the filling, summed over each segment, at `n_steps` midpoints of the path between
    them.

    One step costs one gradient, several are Integrated Gradients from the filling. Weaker than masking, of which it is
    a first-order estimate: for comparison.
    """

    def __init__(self, n_steps: int = 1) -> None:
        self.n_steps = check_positive_int("n_steps", n_steps, MOST_STEPS)

    def __call__(self, masked: MaskedImages) -> Segments:
        """Sums (P_n,) of each image's segments."""
        request = masked.request
        rows = request.rows.repeat(self.n_steps)
        midpoints = (torch.arange(self.n_steps, device="cpu") + 0.5) / self.n_steps
        alphas = (midpoints if self.n_steps > 1 else torch.ones(1, device="cpu")).repeat_interleave(request.n_rows)
        difference = masked.images - masked.filling(request.rows)
        total = torch.zeros_like(masked.labels, dtype=accumulation_dtype(masked.images.dtype))

        def add(part: slice) -> None:
            row = rows[part].to(masked.images.device)
            alpha = _as_column(alphas[part].to(masked.images), masked.images)
            points = masked.images[row] - (1 - alpha) * difference[row]
            gradient = masked.model.gradients((points,), rows[part])[0]
            total.index_add_(0, row, (gradient * difference[row]).sum(1).to(total.dtype))

        for_each_chunk(len(rows), request.limit, add, batches=True)
        return [
            torch.zeros(count, dtype=total.dtype, device=total.device).index_add_(0, label.flatten(), sums.flatten())
            for count, label, sums in zip(masked.n_segments, masked.labels, total, strict=True)
        ]


class ConstantScorer:
    """The same score for all segments, without any pass: redistribution becomes nearest-neighbour interpolation."""

    def __call__(self, masked: MaskedImages) -> Segments:
        """Zeros (P_n,)."""
        return [torch.zeros(count, device=masked.images.device) for count in masked.n_segments]


class RandomScorer:
    """Random scores, without any pass: the control that tells what the segments alone do."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = check_seed("seed", seed)

    def __call__(self, masked: MaskedImages) -> Segments:
        """Uniform numbers (P_n,), the same for equal numbers of segments."""
        return [
            torch.rand(count, generator=torch.Generator().manual_seed(self.seed), dtype=torch.float32, device="cpu").to(
                masked.images.device
            )
            for count in masked.n_segments
        ]


SCORERS: dict[str, Callable[[], Scorer]] = {
    "deletion+insertion": PerturbationScorer,
    "deletion": lambda: PerturbationScorer("deletion"),
    "insertion": lambda: PerturbationScorer("insertion"),
    "coalition": CoalitionScorer,
    "gradient": GradientScorer,
    "constant": ConstantScorer,
    "random": RandomScorer,
}


def unit_scores(scores: Segments) -> Segments:
    """Each image's scores scaled to [0, 1] by their own minimum and maximum; constant scores become 0.5."""
    result = []
    for one in scores:
        low, high = one.min(), one.max()
        wide = high > low
        result.append(torch.where(wide, (one - low) / torch.where(wide, high - low, torch.ones_like(high)), 0.5))
    return result
