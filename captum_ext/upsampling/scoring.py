"""Scores of segments: what each of them means to the model, by passes over masked images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm.auto import tqdm

from captum_ext.core.checks import check_baselines, check_choice, check_positive_int, describe
from captum_ext.core.model import RowwiseModel
from captum_ext.core.rows import RowLimit, for_each_chunk
from captum_ext.exceptions import ArgumentError
from captum_ext.images import gaussian_blur

Segments = list[Tensor]


@dataclass
class MaskedImages:
    """Images, their segments, and the model's scores of the images with some segments kept.

    Attributes:
        model: scores rows by their targets.
        images: (N, C, H, W).
        labels: (N, H, W) segments, from zero without gaps in every image.
        filling: (N or 1, C, H or 1, W or 1), what stands where a segment is not kept.
        limit: rows given to the model at once.
        probability: score the target's softmax probability instead of the output itself.
        progress: whether to show a bar that counts passes.
    """

    model: RowwiseModel
    images: Tensor
    labels: Tensor
    filling: Tensor
    limit: RowLimit
    probability: bool = False
    progress: bool = False

    @property
    def n_segments(self) -> list[int]:
        """Number of segments of each image."""
        return [int(label.max()) + 1 for label in self.labels]

    def scores(self, rows: Tensor, kept: Callable[[slice], Tensor]) -> Tensor:
        """Score (P,) of image `rows[p]` with the pixels kept that `kept(part)` (p, H, W) marks, without gradients."""
        parts: list[Tensor] = []

        def evaluate(part: slice) -> None:
            row = rows[part].to(self.images.device)
            filling = self.filling if len(self.filling) == 1 else self.filling[row]
            masked = torch.where(kept(part)[:, None], self.images[row], filling)
            parts.append(self._score(self.model.outputs((masked,), rows[part]), rows[part]))

        with _bar(len(rows), self.progress) as bar:
            for_each_chunk(len(rows), self.limit, evaluate, bar)
        return torch.cat(parts)

    def _score(self, outputs: Tensor, rows: Tensor) -> Tensor:
        wide = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        classes = wide.dim() == 2 and wide.shape[1] > 1  # the softmax of a single output is a constant
        return self.model.select(wide.softmax(1) if self.probability and classes else wide, rows)


class Scorer(Protocol):
    """Scores of every image's segments (P_n,), on any scale: the upsampler scales each image's to [0, 1]."""

    def __call__(self, masked: MaskedImages) -> Segments:
        """Score the segments of all images."""
        ...


class PerturbationScorer:
    """Each segment by itself: how far the score falls without it, rises with it alone, or both (the default).

    Costs one pass a segment for "deletion" and for "insertion", two for "deletion+insertion". The scores of the whole
    and of the filled image would only shift an image's scores, and are not computed.
    """

    def __init__(self, kind: str = "deletion+insertion") -> None:
        self.kind = check_choice("kind", kind, ("deletion", "insertion", "deletion+insertion"))

    def __call__(self, masked: MaskedImages) -> Segments:
        """Scores (P_n,) of each image's segments."""
        counts = masked.n_segments
        row = torch.cat([torch.full((count,), i, device="cpu") for i, count in enumerate(counts)])
        segment = torch.cat([torch.arange(count, device="cpu") for count in counts])
        games = [inserting for inserting in (False, True) if ("insertion" if inserting else "deletion") in self.kind]
        rows, segments = row.repeat(len(games)), segment.repeat(len(games))
        inserting = torch.tensor(games, device="cpu").repeat_interleave(len(row))

        def kept(part: slice) -> Tensor:
            device = masked.labels.device
            label = masked.labels[rows[part].to(device)]
            inside = label == segments[part].to(device)[:, None, None]
            return inside == inserting[part].to(device)[:, None, None]

        scores = masked.scores(rows, kept)
        signs = torch.where(inserting, 1.0, -1.0).to(scores)
        summed = (scores * signs).reshape(len(games), -1).sum(0)
        return list(torch.split(summed, counts))


class CoalitionScorer:
    """Random coalitions of segments and a ridge regression of the score on which are kept, for a fixed number of
    passes.

    Args:
        n_passes: passes for each image, whatever its number of segments.
        ridge: penalty, relative to the number of passes.
        seed: of the coalitions.
    """

    def __init__(self, n_passes: int = 96, ridge: float = 0.01, seed: int = 0) -> None:
        self.n_passes = check_positive_int("n_passes", n_passes)
        self.ridge = ridge
        self.seed = seed

    def __call__(self, masked: MaskedImages) -> Segments:
        """Coefficients (P_n,) of each image's segments."""
        present = [self._coalitions(count) for count in masked.n_segments]
        rows = torch.arange(len(present), device="cpu").repeat_interleave(self.n_passes)

        def kept(part: slice) -> Tensor:
            labels = masked.labels
            chosen = [present[int(rows[k])][k % self.n_passes] for k in range(part.start, part.stop)]
            return torch.stack(
                [one.to(labels.device)[labels[int(rows[part.start + i])]] for i, one in enumerate(chosen)]
            )

        scores = masked.scores(rows, kept).reshape(len(present), self.n_passes)
        return [self._ridge(one, score) for one, score in zip(present, scores, strict=True)]

    def _coalitions(self, n_segments: int) -> Tensor:
        """Which segments (n_passes, P) are kept, each with probability one half; every image by the same draws."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.rand(self.n_passes, n_segments, generator=generator, device="cpu") < 0.5

    def _ridge(self, present: Tensor, score: Tensor) -> Tensor:
        design = present.double() - present.double().mean(0)
        response = score.double().cpu() - score.double().cpu().mean()
        penalty = self.ridge * self.n_passes * torch.eye(design.shape[1], dtype=torch.float64, device="cpu")
        solution: Tensor = torch.linalg.solve(design.T @ design + penalty, design.T @ response)
        return solution.to(score)


class GradientScorer:
    """Gradient times difference from the filling, summed over each segment, at `n_steps` midpoints of the path between
    them.

    One step costs one gradient, several are Integrated Gradients from the filling. Weaker than masking, of which it is
    a first-order estimate: for comparison.
    """

    def __init__(self, n_steps: int = 1) -> None:
        self.n_steps = check_positive_int("n_steps", n_steps)

    def __call__(self, masked: MaskedImages) -> Segments:
        """Sums (P_n,) of each image's segments."""
        rows = torch.arange(len(masked.images), device="cpu").repeat_interleave(self.n_steps)
        alphas = ((torch.arange(self.n_steps) + 0.5) / self.n_steps if self.n_steps > 1 else torch.ones(1)).repeat(
            len(masked.images)
        )
        difference = masked.images - masked.filling
        total = torch.zeros_like(masked.labels, dtype=torch.promote_types(masked.images.dtype, torch.float32))

        def add(part: slice) -> None:
            row = rows[part].to(masked.images.device)
            alpha = alphas[part].to(masked.images)[:, None, None, None]
            points = masked.images[row] - (1 - alpha) * difference[row]
            gradient = masked.model.gradients((points,), rows[part])[0]
            total.index_add_(0, row, (gradient * difference[row]).sum(1).to(total.dtype))

        for_each_chunk(len(rows), masked.limit, add)
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
        self.seed = seed

    def __call__(self, masked: MaskedImages) -> Segments:
        """Uniform numbers (P_n,), the same for equal numbers of segments."""
        return [
            torch.rand(count, generator=torch.Generator().manual_seed(self.seed), device="cpu").to(masked.images.device)
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


def filling(fill: Any, images: Tensor) -> Tensor:
    """What stands for a missing segment: each image's channel mean, its blur, or a number or tensor.

    Raises:
        ArgumentError: another word, or a tensor of another shape.
    """
    if not isinstance(fill, str):
        return check_baselines(0 if fill is None else fill, (images,))[0]
    if fill == "mean":
        return images.to(torch.promote_types(images.dtype, torch.float32)).mean((2, 3), keepdim=True).to(images.dtype)
    if fill == "blur":
        return gaussian_blur(images)
    if fill == "zero":
        return torch.zeros_like(images[:1])
    raise ArgumentError("fill", '"mean", "blur", "zero", a number or a tensor', describe(fill))


def unit_scores(scores: Segments) -> Segments:
    """Each image's scores scaled to [0, 1] by their own minimum and maximum; constant scores become 0.5."""
    result = []
    for one in scores:
        low, high = one.min(), one.max()
        wide = high > low
        result.append(torch.where(wide, (one - low) / torch.where(wide, high - low, torch.ones_like(high)), 0.5))
    return result


@contextmanager
def _bar(total: int, show: bool) -> Any:
    with tqdm(total=total, desc="segment scores", unit="pass", disable=not show) as bar:
        yield bar.update
