"""Insertion, deletion and their difference: what the score does when pixels are taken in order of importance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.autocast import own_precision
from captum_ext.core.blur import Blur, warn_where_class_shows
from captum_ext.core.checks import MOST_STEPS, check_choice, check_positive_int
from captum_ext.core.fills import BlurredFill, Fill
from captum_ext.core.perturbation import check_fractions
from captum_ext.core.request import Request
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors
from captum_ext.metrics.game import Game, Kept
from captum_ext.metrics.ranking import Ranking

# Below this share of its own score, what a row loses on the way to the baseline is too little to divide by.
_LEAST_RANGE = 0.2


@dataclass(frozen=True)
class PerturbationCurve:
    """Scores of perturbed inputs, row by row; nothing is averaged and no row is left out.

    Attributes:
        fractions: (F,) shares of the pixels that were inserted or deleted.
        scores: (N, F), normalised as asked for.
        auc: (N,) area under each row's curve by the trapezoid rule.
        correct: (N, F) float: 1 where the target is still the first class; for DiffID the difference of its two games
            (-1, 0 or 1). None where the model has no classes, or the target is none or a function.
        valid: (N,) bool: False where the normalisation divides by nothing meaningful (see `normalize`), and where the
            map orders no pixels, being constant (its numbers are those of a random order) or not finite (NaN). Leave
            such rows out of means, and say how many.
        input_scores: (N,) score of the unchanged input; `scores * input_scores[:, None]` undoes "input".
        higher_is_better: direction of `auc`.
    """

    fractions: Tensor
    scores: Tensor
    auc: Tensor
    correct: Tensor | None
    valid: Tensor
    input_scores: Tensor
    higher_is_better: bool


@dataclass(frozen=True)
class Plan:
    """A curve before the model is asked, so that several curves can share what they ask.

    Attributes:
        game: whose pixels are ranked.
        fill: what replaces pixels that are not kept.
        kept: ranges of ranks, one for each point.
        finish: makes the curve of scores and correctness (N, F) at the points.
    """

    game: Game
    fill: Fill
    kept: Sequence[Kept]
    finish: Callable[[Tensor, Tensor | None], PerturbationCurve]

    def curve(self) -> PerturbationCurve:
        """Ask the model about these points alone."""
        return self.finish(*self.game.evaluate(self.fill, self.kept))


@own_precision
def insertion(
    forward_func: ForwardFunc,
    inputs: TensorOrTensors,
    attributions: TensorOrTensors,
    target: Target = None,
    additional_forward_args: Any = None,
    *,
    baselines: Baselines | str | Blur = "blur",
    n_steps: int = 10,
    normalize: str = "none",
    ranking: Ranking = Ranking(),
    internal_batch_size: int | None = None,
) -> PerturbationCurve:
    """Insertion game (Petsiuk, Das and Saenko, "RISE", BMVC 2018): insert the most important pixels first.

    https://arxiv.org/abs/1806.07421. Point k of the curve is the score with the most important share k / n_steps of the
    pixels taken from the input and the rest from `baselines`. Higher areas are better.

    Args:
        forward_func: the model; its outputs are scored as they are (logits or probabilities).
        inputs: (N, ...) or a tuple of such tensors.
        attributions: of the inputs' shape; for images also (N, 1, H, W) or (N, H, W), for volumes (N, 1, D, H, W) or
            (N, D, H, W). Their pixels are locations with all their channels; those of other inputs are elements. A map
            (N, 1, T) of signals (N, C, T) makes pixels of their time steps, and a map (N, L, 1) of embeddings (N, L, E)
            of their tokens. Over a tuple of inputs there is one ranking.
        target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
        additional_forward_args: as in Captum; tensors with N rows follow their row.
        baselines: where nothing is inserted: "blur" (images, volumes, and signals with a map (N, 1, T); as strong as
            hides the class at every size), "rise" (images: the weaker blur of RISE's evaluation, see
            `images.gaussian_blur`), an `images.Blur` of your own strength, "corners" (where there is a blur: the mean
            colour of their corners, each a tenth of their sides, with which Weighted IG deletes), "mean" (of the
            inserted pixels, for each channel), "overall-mean" (where there is a blur: one number for all channels, as
            in the code of DiffID's authors), a number, or a tensor of one row or N rows.
        n_steps: the curve has n_steps + 1 points, costing as many forwards for each row.
        normalize: "none"; "input" divides by F(x) (valid where F(x) > 0); "range" is (s - low) / (F(x) - low) with the
            baseline's score as `low`, as in the appendix of SAMP (valid where F(x) - low is at least 0.2 |F(x)|).
        ranking: how the map orders pixels: by values or absolute values, and the seed of the order of equal ones.
        internal_batch_size: rows given to the model at once. None: chosen by device and row size.

    A warning counts the rows of which the blurred input keeps more than half of the score: what was to be hidden shows.

    Raises:
        ArgumentError: shapes, target or options that do not fit.
        NonFiniteError: NaN or infinity in inputs, baselines or the scores at the inputs; see `captum_ext.on_nonfinite`.
        ModelOutputError: `forward_func` did not return one score for each row.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import insertion
        >>> x = torch.tensor([[3.0, 1.0]])
        >>> curve = insertion(lambda x: x.sum(1), x, attributions=x, baselines=0, n_steps=2)
        >>> curve.scores, curve.auc
        (tensor([[0., 3., 4.]]), tensor([2.5000]))
    """
    request = Request(forward_func, inputs, target, additional_forward_args, internal_batch_size)
    game = Game(request, attributions, ranking)
    return plan_curve(game, game.fill(baselines), n_steps, normalize, inserting=True).curve()


@own_precision
def deletion(
    forward_func: ForwardFunc,
    inputs: TensorOrTensors,
    attributions: TensorOrTensors,
    target: Target = None,
    additional_forward_args: Any = None,
    *,
    baselines: Baselines | str | Blur = 0,
    n_steps: int = 10,
    normalize: str = "none",
    ranking: Ranking = Ranking(),
    internal_batch_size: int | None = None,
) -> PerturbationCurve:
    """Deletion game (Petsiuk, Das and Saenko, "RISE", BMVC 2018): delete the most important pixels first.

    https://arxiv.org/abs/1806.07421. Point k of the curve is the score with the most important share k / n_steps of the
    pixels replaced by `baselines` (0 by default: the mean colour of a normalised image, not black). Lower areas are
    better. Arguments, validity and errors are those of `insertion`.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import deletion
        >>> x = torch.tensor([[3.0, 1.0]])
        >>> curve = deletion(lambda x: x.sum(1), x, attributions=x, n_steps=2)
        >>> curve.scores, curve.auc
        (tensor([[4., 1., 0.]]), tensor([1.5000]))
    """
    request = Request(forward_func, inputs, target, additional_forward_args, internal_batch_size)
    game = Game(request, attributions, ranking)
    return plan_curve(game, game.fill(baselines), n_steps, normalize, inserting=False).curve()


@own_precision
def diff_id(
    forward_func: ForwardFunc,
    inputs: TensorOrTensors,
    attributions: TensorOrTensors,
    target: Target = None,
    additional_forward_args: Any = None,
    *,
    baselines: Baselines | str | Blur = "mean",
    fractions: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    normalize: str = "input",
    ranking: Ranking = Ranking(absolute=True),
    internal_batch_size: int | None = None,
) -> PerturbationCurve:
    r"""DiffID: the difference between the insertion and the deletion game (Yang et al., "Local Path Integration",
    2023).

    https://doi.org/10.1609/aaai.v37i3.25422

    $$\psi(x, \delta) = F(x \text{ without its least important } \delta) - F(x \text{ without its most important }
    \delta)$$

    Both inputs keep the same number of pixels. The curve is zero at 0 and 1, which are added to the area. Higher areas
    are better. Errors are those of `insertion`; pixels are ranked by absolute values unless `ranking` says otherwise.

    `normalize="input"` divides by F(x) and is valid where F(x) > 0; "none" gives differences of scores.

    Deviations from the paper: its text says that the deletion game removes the LEAST important pixels, which
    contradicts its formula and code. Like the authors' code (https://github.com/ypeiyu/LPI, `evaluator.py`) this ranks
    pixels by the sum of absolute attributions over their channels; it cuts between whole pixels, where the code, which
    sorts the elements, may leave a part of one pixel's channels. Removed pixels become the mean of those kept in each
    channel; the code has one mean over all channels, which is `baselines="overall-mean"` and makes a difference
    (`python -m examples.benchmarks.measurements.fills`).

    Args:
        forward_func: the model; its outputs are scored as they are.
        inputs: (N, ...) or a tuple of such tensors.
        attributions: as for `insertion`.
        target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
        additional_forward_args: as in Captum.
        fractions: the values of delta, increasing, between 0 and 1.
        baselines: what replaces pixels, as for `insertion`; "mean" is that of the pixels that are kept.
        normalize: "input" or "none", see above.
        ranking: how the map orders pixels.
        internal_batch_size: rows given to the model at once.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import diff_id
        >>> x = torch.tensor([[3.0, 1.0]])
        >>> curve = diff_id(lambda x: x.sum(1), x, x, baselines=0, fractions=(0.5,))
        >>> curve.scores, curve.auc
        (tensor([[0.5000]]), tensor([0.2500]))
    """
    request = Request(forward_func, inputs, target, additional_forward_args, internal_batch_size)
    game = Game(request, attributions, ranking)
    return plan_diff_id(game, game.fill(baselines), fractions, normalize).curve()


def plan_curve(game: Game, fill: Fill, n_steps: int, normalize: str, inserting: bool) -> Plan:
    """The insertion or the deletion curve."""
    n_steps = check_positive_int("n_steps", n_steps, MOST_STEPS)
    check_choice("normalize", normalize, ("none", "input", "range"))
    counts = [game.count(k / n_steps) for k in range(n_steps + 1)]
    kept = [(0, k) if inserting else (k, game.n_pixels) for k in counts]
    return Plan(game, fill, kept, partial(_curve, game, fill, normalize, inserting))


def plan_diff_id(game: Game, fill: Fill, fractions: tuple[float, ...], normalize: str) -> Plan:
    """The difference of the two curves."""
    check_choice("normalize", normalize, ("none", "input"))
    shares = check_fractions(fractions)
    removed = [game.count(share) for share in shares]
    n_pixels = game.n_pixels
    kept = [(0, n_pixels)] + [(0, n_pixels - k) for k in removed] + [(k, n_pixels) for k in removed]
    return Plan(game, fill, kept, partial(_difference, game, shares, normalize))


def _curve(
    game: Game, fill: Fill, normalize: str, inserting: bool, scores: Tensor, correct: Tensor | None
) -> PerturbationCurve:
    whole, low = (scores[:, -1], scores[:, 0]) if inserting else (scores[:, 0], scores[:, -1])
    at_inputs, scores = game.at_inputs(whole), game.request.left_out.blanked(scores)
    if isinstance(fill, BlurredFill):
        warn_where_class_shows("baselines", fill.blur, low, at_inputs)
    normalized, valid = _normalize(scores, at_inputs, low, normalize)
    fractions = torch.linspace(0, 1, scores.shape[1], dtype=scores.dtype, device=scores.device)
    return PerturbationCurve(
        fractions=fractions,
        scores=normalized,
        auc=torch.trapezoid(normalized, fractions, dim=1),
        correct=correct,
        valid=valid & normalized.isfinite().all(1) & game.ranked,
        input_scores=at_inputs,
        higher_is_better=inserting,
    )


def _difference(
    game: Game, shares: tuple[float, ...], normalize: str, scores: Tensor, correct: Tensor | None
) -> PerturbationCurve:
    at_inputs, scores = game.at_inputs(scores[:, 0]), game.request.left_out.blanked(scores)
    without_least, without_most = scores[:, 1:].chunk(2, 1)
    differences = without_least - without_most
    if normalize == "input":
        differences = differences / at_inputs[:, None]
    if correct is not None:
        least, most = correct[:, 1:].chunk(2, 1)
        correct = least - most
    padded = torch.nn.functional.pad(differences, (1, 1))
    return PerturbationCurve(
        fractions=torch.tensor(shares, dtype=scores.dtype, device=scores.device),
        scores=differences,
        auc=torch.trapezoid(padded, torch.tensor((0.0, *shares, 1.0), dtype=padded.dtype, device=padded.device), dim=1),
        correct=correct,
        valid=differences.isfinite().all(1) & ((at_inputs > 0) | (normalize == "none")) & game.ranked,
        input_scores=at_inputs,
        higher_is_better=True,
    )


def _normalize(scores: Tensor, at_inputs: Tensor, low: Tensor, normalize: str) -> tuple[Tensor, Tensor]:
    """Scores (N, F) on the asked-for scale, and which rows (N,) it makes sense for."""
    if normalize == "input":
        return scores / at_inputs[:, None], at_inputs > 0
    if normalize == "range":
        span = at_inputs - low
        return (scores - low[:, None]) / span[:, None], (span > 0) & (span >= _LEAST_RANGE * at_inputs.abs())
    return scores, scores.isfinite().all(1)
