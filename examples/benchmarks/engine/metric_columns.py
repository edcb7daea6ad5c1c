"""The numbers of a map: one column for each metric, NaN where a metric is not defined."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext import metrics
from captum_ext.core.passes import Passes, counted_passes
from captum_ext.metrics import PerturbationCurve
from captum_ext.segmentation import Segmenter

Columns = dict[str, list[Any]]  # one entry for each row of a batch


class Remembered:
    """A model that does not run again on an image it has seen: metrics share many of their perturbed images.

    Keep one for each part of a run: what is forwarded together, and with it the last digits, then follows from the part
    alone.
    """

    def __init__(self, forward_func: Callable[[Tensor], Tensor]) -> None:
        self._forward = forward_func
        self._seen: dict[bytes, Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        """Outputs of the images."""
        rows = images.detach().cpu().contiguous().numpy()
        keys = [hashlib.sha1(row.tobytes(), usedforsecurity=False).digest() for row in rows]
        new = {key: row for row, key in enumerate(keys) if key not in self._seen}
        if new:
            with torch.no_grad():
                outputs = self._forward(images[list(new.values())])
            self._seen.update(zip(new, outputs, strict=True))
        return torch.stack([self._seen[key] for key in keys])

    def probabilities(self, images: Tensor) -> Tensor:
        """Softmax of the outputs."""
        return self(images).softmax(1)


def randomised(score_map: Tensor, seed: int) -> Tensor:
    """The same segments with random scores from 0 to 1: every value of the map gets another one."""
    values, places = score_map.unique(return_inverse=True)
    if len(values) == 1:
        return score_map
    drawn = torch.rand(len(values), generator=torch.Generator().manual_seed(seed))
    return ((drawn - drawn.min()) / (drawn.max() - drawn.min())).to(score_map)[places]


@dataclass
class Cost:
    """What explaining one image cost on average: passes with and without gradients, and seconds."""

    gradients: float = 0.0
    forwards: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """Both."""
        passes = self.gradients + other.gradients, self.forwards + other.forwards
        return Cost(*passes, self.seconds + other.seconds)

    def columns(self, n: int) -> Columns:
        """The same cost for each of n rows."""
        return {name: [value] * n for name, value in vars(self).items()}


@contextmanager
def measured_cost(model: nn.Module, n: int) -> Iterator[Cost]:
    """Count passes and seconds of the block, for each of n images."""
    cost, start = Cost(), time.perf_counter()
    with counted_passes(model) as passes:
        yield cost
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # seconds are those until the device has done it
    _fill(cost, passes, time.perf_counter() - start, n)


def _fill(cost: Cost, passes: Passes, seconds: float, n: int) -> None:
    cost.gradients, cost.forwards, cost.seconds = passes.gradients / n, passes.forwards / n, seconds / n


def valid_areas(curve: PerturbationCurve) -> list[float]:
    """Areas, NaN where they mean nothing."""
    return numbers(torch.where(curve.valid, curve.auc, torch.nan))


def numbers(values: Tensor) -> list[float]:
    """A column of a tensor (N,)."""
    column: list[float] = values.detach().double().cpu().tolist()
    return column


def _curve(curve: PerturbationCurve) -> list[list[float]]:
    scores: list[list[float]] = curve.scores.double().tolist()
    return scores


@dataclass(frozen=True)
class Targets:
    """What is explained: images, classes, and the model to ask about perturbed images.

    Attributes:
        images: (N, C, H, W).
        target: class of each.
        model: remembers what it was asked.
        black: a black pixel (1, C, 1, 1).
        blurred: where insertion starts, (N, C, H, W).
    """

    images: Tensor
    target: list[int]
    model: Remembered
    black: Tensor
    blurred: Tensor

    def row(self, k: int) -> Targets:
        """One of them, with the same memory."""
        one = slice(k, k + 1)
        return Targets(self.images[one], self.target[one], self.model, self.black, self.blurred[one])


def path_columns(what: Targets, maps: Tensor, seed: int = 0) -> Columns:
    """The games of the LPI and SAMP papers, all on logits.

    insertion, deletion: SAMP's appendix; from the blurred image, to zero, (s - low) / (F(x) - low).
    deletion_corners: the same to the mean colour of the corners, with which Weighted IG deletes.
    insertion_mean, deletion_mean: LPI's Table 1; missing pixels are the mean of those kept, s / F(x).
    diff_id, diff_id_accuracy: LPI's DiffID, from logits over F(x) and from whether the class is still first.
    variance: Var(A) of SAMP's equation 5.
    """
    shared: dict[str, Any] = {"target": what.target, "ranking": metrics.Ranking(seed=seed)}
    by_magnitude = metrics.Ranking(absolute=True, seed=seed)
    model, x = what.model, what.images
    inserted = metrics.insertion(model, x, maps, baselines=what.blurred, normalize="range", **shared)
    deleted = metrics.deletion(model, x, maps, normalize="range", **shared)
    as_lpi: dict[str, Any] = {"baselines": "mean", "normalize": "input", **shared, "ranking": by_magnitude}
    difference = metrics.diff_id(model, x, maps, what.target, ranking=by_magnitude)
    if difference.correct is None:
        raise ValueError("path_columns needs a classifier")
    padded = torch.nn.functional.pad(difference.correct, (1, 1))
    grid = torch.tensor((0.0, *difference.fractions.tolist(), 1.0), dtype=torch.float64, device=padded.device)
    accuracy = torch.trapezoid(padded.double(), grid, dim=1)
    return {
        "insertion": valid_areas(inserted),
        "deletion": valid_areas(deleted),
        "deletion_corners": valid_areas(
            metrics.deletion(model, x, maps, baselines="corners", normalize="range", **shared)
        ),
        "insertion_mean": valid_areas(metrics.insertion(model, x, maps, **as_lpi)),
        "deletion_mean": valid_areas(metrics.deletion(model, x, maps, **as_lpi)),
        "diff_id": valid_areas(difference),
        "diff_id_accuracy": numbers(torch.where(difference.valid, accuracy, torch.nan)),
        "variance": numbers(metrics.attribution_variance(maps.double())),
        "insertion_curve": _curve(inserted),
        "deletion_curve": _curve(deleted),
        "diff_id_curve": _curve(difference),
    }


def sensitivity_columns(what: Targets, maps: Tensor, n_samples: int, seed: int = 0) -> Columns:
    """Sensitivity-N to zero, for 5, 25 and 60 % of the pixels."""
    shares = (0.05, 0.25, 0.6)
    correlations = metrics.sensitivity_n(
        what.model, what.images, maps, what.target, fractions=shares, n_samples=n_samples, seed=seed
    )
    return {f"sensitivity_{round(100 * share)}": numbers(correlations[:, k]) for k, share in enumerate(shares)}


@dataclass(frozen=True)
class Display:
    """How images look before normalisation, for metrics that segment them."""

    mean: Sequence[float] = field(default=(0.0,))
    std: Sequence[float] = field(default=(1.0,))


def upsampling_columns(what: Targets, maps: Tensor, display: Display, seed: int = 0) -> Columns:
    """The six metrics of the USU paper's Table 6 and the games, for maps (N, 1, H, W).

    insertion (from blur), deletion (to zero), pixel_flipping (to black), irof (to the mean colour) and road: of the
    probability. infidelity: of the logit, squares of 56 pixels to black; as it is, of the map divided by its maximum
    and divided by its mass, and the share left unexplained by the best multiple of the map. monotonicity: rank
    correlation over ten groups of pixels. sparseness: Gini index.
    """
    shared: dict[str, Any] = {"target": what.target, "ranking": metrics.Ranking(seed=seed)}
    by_magnitude = metrics.Ranking(absolute=True, seed=seed)
    segmenter = Segmenter(n_segments=16, mean=display.mean, std=display.std)
    model, x = what.model, what.images
    probabilities = model.probabilities
    black = what.black.expand_as(x)
    infidelity = metrics.infidelity(model, x, maps.double(), what.target, baselines=black, seed=seed)
    return {
        "insertion": valid_areas(metrics.insertion(probabilities, x, maps, baselines=what.blurred, **shared)),
        "deletion": valid_areas(metrics.deletion(probabilities, x, maps, **shared)),
        "diff_id": valid_areas(
            metrics.diff_id(model, x, maps, what.target, fractions=(0.1, 0.3, 0.5, 0.7, 0.9), ranking=by_magnitude)
        ),
        "pixel_flipping": valid_areas(
            metrics.pixel_flipping(
                probabilities, x, maps, baselines=black, pixels_in_step=x[0, 0].numel() // 14, **shared
            )
        ),
        "road": valid_areas(metrics.road(probabilities, x, maps, fractions=(0.1, 0.3, 0.6), **shared)),
        "irof": numbers(metrics.irof(probabilities, x, maps, segments=segmenter, **shared)),
        "monotonicity": numbers(
            metrics.monotonicity(model, x, maps, what.target, baselines=black, ranking=by_magnitude)
        ),
        "sparseness": numbers(metrics.gini(maps)),
        "infidelity": numbers(infidelity.raw),
        "infidelity_by_maximum": numbers(infidelity.rescaled(1 / maps.double().flatten(1).amax(1))),
        "infidelity_by_mass": numbers(infidelity.rescaled(1 / maps.double().flatten(1).sum(1))),
        "infidelity_unexplained": numbers(infidelity.unexplained),
    }
