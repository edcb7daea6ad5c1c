"""What the score does when pixels are removed: one after another, by segments, or replaced by a guess at them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_ext.core.autocast import own_precision
from captum_ext.core.blur import Blur
from captum_ext.core.checks import MOST_STEPS, check_choice, check_number, check_positive_int, describe
from captum_ext.core.devices import double
from captum_ext.core.fills import Fill, KeptMean
from captum_ext.core.perturbation import Perturbation, check_fractions, ranks_of
from captum_ext.core.pixels import is_located
from captum_ext.core.request import Request
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors
from captum_ext.exceptions import ArgumentError
from captum_ext.metrics.curves import PerturbationCurve, Plan, plan_curve
from captum_ext.metrics.game import Game
from captum_ext.metrics.ranking import Ranking
from captum_ext.segmentation import METHODS, Segment, Segmenter, check_labels

# Weights of a pixel's eight neighbours in the imputation of ROAD.
_NEIGHBOURS = {
    (i, j): 1 / 6 if i == 0 or j == 0 else 1 / 12 for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)
}


@own_precision
def pixel_flipping(
    forward_func: ForwardFunc,
    inputs: TensorOrTensors,
    attributions: TensorOrTensors,
    target: Target = None,
    additional_forward_args: Any = None,
    *,
    baselines: Baselines | str | Blur = 0,
    pixels_in_step: int = 1,
    normalize: str = "none",
    ranking: Ranking = Ranking(),
    internal_batch_size: int | None = None,
) -> PerturbationCurve:
    """Pixel flipping (Bach et al., "On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise
    Relevance Propagation", PLOS ONE 2015): the deletion curve with `pixels_in_step` pixels a step.

    https://doi.org/10.1371/journal.pone.0130140. Whole pixels are flipped, with all their channels; Quantus flips
    channels one by one, three times as many on RGB images.

    Args:
        forward_func: the model; its outputs are scored as they are.
        inputs: (N, ...) or a tuple of such tensors.
        attributions: of the inputs' shape or with one channel; as for `insertion`.
        target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
        additional_forward_args: as in Captum.
        baselines: what replaces pixels, as for `deletion`.
        pixels_in_step: flipped at once; a divisor of the number of pixels.
        normalize: what scores are divided by, as for `deletion`.
        ranking: how the map orders pixels.
        internal_batch_size: rows given to the model at once.

    Returns:
        A `PerturbationCurve` with a number and a curve for each row. Lower areas are better.

    Raises:
        ArgumentError: `pixels_in_step` that does not divide the number of pixels, or as `deletion`.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import pixel_flipping
        >>> x = torch.tensor([[3.0, 1.0]])
        >>> pixel_flipping(lambda x: x.sum(1), x, x).scores
        tensor([[4., 1., 0.]])
    """
    request = Request(forward_func, inputs, target, additional_forward_args, internal_batch_size)
    game = Game(request, attributions, ranking)
    return plan_flipping(game, game.fill(baselines), pixels_in_step, normalize).curve()


def plan_flipping(game: Game, fill: Fill, pixels_in_step: int, normalize: str) -> Plan:
    """The deletion curve with so many pixels a step."""
    if game.n_pixels % check_positive_int("pixels_in_step", pixels_in_step, MOST_STEPS):
        raise ArgumentError("pixels_in_step", f"a divisor of {game.n_pixels}, the pixels", str(pixels_in_step))
    return plan_curve(game, fill, game.n_pixels // pixels_in_step, normalize, inserting=False)


@own_precision
def irof(
    forward_func: ForwardFunc,
    inputs: Tensor,
    attributions: Tensor,
    target: Target = None,
    additional_forward_args: Any = None,
    *,
    baselines: Baselines | str | Blur | None = None,
    segments: Tensor | str | Segment | Segmenter = "slic",
    ranking: Ranking = Ranking(),
    internal_batch_size: int | None = None,
) -> Tensor:
    r"""Iterative Removal Of Features (Rieger and Hansen, "IROF: a low resource evaluation metric for explanation
    methods", 2020).

    https://arxiv.org/abs/2003.08747

    $$\mathrm{IROF} = 1 - \int_0^1 F(x_s) / F(x) \, ds$$

    $x_s$ lacks the share s of its segments, those of largest mean attribution first. Higher is better. Score
    probabilities, as the paper does, by giving a function that returns them.

    Args:
        forward_func: the model; its outputs are scored as they are.
        inputs: images (N, C, H, W), volumes (N, C, D, H, W) or signals (N, C, T).
        attributions: (N, C, H, W), (N, 1, H, W) or (N, H, W), and likewise of volumes; (N, 1, T) of signals.
        target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
        additional_forward_args: as in Captum.
        baselines: what replaces segments; None: each image's own mean colour.
        segments: labels (H, W) or (N, H, W), and likewise of volumes and signals; a `segmentation.Segmenter`, which
            says how many to ask for and which normalisation of the images is undone first; or the method of one that
            asks for 50 and undoes none.
        ranking: whether means are those of values or of absolute values, and the seed of the order of segments with
            equal means.
        internal_batch_size: rows given to the model at once. Costs a forward for each segment, and one.

    Returns:
        (N,) area over the curve; NaN where the map orders no segments or F(x) is not positive.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import irof
        >>> x = torch.tensor([[[[3.0, 1.0]]]])
        >>> irof(lambda x: x.sum((1, 2, 3)), x, x, baselines=0, segments=torch.tensor([[0, 1]]))
        tensor([0.6250])
    """
    request = Request(forward_func, inputs, target, additional_forward_args, internal_batch_size)
    game = Game(request, attributions, ranking)
    images = _only_image(game)
    labels = _labels(images, segments)
    count = labels.flatten(1).amax(1) + 1
    importance = double(game.importance)
    flat = labels.flatten(1).to(importance.device)
    sums = torch.zeros(game.n_rows, int(count.max()), dtype=torch.float64, device=flat.device)
    sizes = torch.zeros_like(sums).scatter_add_(1, flat, torch.ones_like(flat, dtype=sums.dtype))
    sums.scatter_add_(1, flat, importance)
    means = torch.where(sizes > 0, sums / sizes.clamp(min=1), -torch.inf)
    of_segments = ranks_of(means, (means,), ranking.seed)[0]
    ranks = of_segments.gather(1, flat).reshape(game.n_rows, 1, *images.shape[2:]).to(images.device)
    fill = (
        images.mean(tuple(range(2, images.dim())), keepdim=True).expand_as(images) if baselines is None else baselines
    )
    games = Perturbation(game.request, (ranks,), game.fill(fill))
    removed = [torch.arange(int(n) + 1, device="cpu") for n in count]
    rows = game.request.rows.repeat_interleave(count.cpu() + 1)
    first = torch.cat(removed)
    scores = games.evaluate(rows, first, torch.full_like(first, int(count.max())), game.model.select)
    curves = torch.split(double(scores), [len(steps) for steps in removed])
    areas = torch.stack([1 - torch.trapezoid(curve / curve[0], dx=1 / (len(curve) - 1)) for curve in curves])
    positive = game.at_inputs(torch.stack([curve[0] for curve in curves])) > 0
    varies = (means.isfinite() & (means != means[:, :1])).any(1)
    defined = positive & game.finite.to(positive.device) & varies.to(positive.device)
    return torch.where(defined, areas, torch.nan).to(game.importance.dtype).to(game.importance.device)


@own_precision
def road(
    forward_func: ForwardFunc,
    inputs: Tensor,
    attributions: Tensor,
    target: Target = None,
    additional_forward_args: Any = None,
    *,
    fractions: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9),
    order: str = "most",
    noise: float = 0.01,
    ranking: Ranking = Ranking(),
    internal_batch_size: int | None = None,
) -> PerturbationCurve:
    """Remove and Debias (Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML
    2022).

    https://arxiv.org/abs/2202.00449. Removed pixels become the weighted mean of their eight neighbours, all at once (a
    sparse linear system for each image and fraction), plus noise, so that the mask itself tells the model nothing.

    Args:
        forward_func: the model; its outputs are scored as they are.
        inputs: images (N, C, H, W).
        attributions: (N, C, H, W), (N, 1, H, W) or (N, H, W).
        target: as in Captum, or a function of one row's output (`captum_ext.models.targets`); with an
            index, `correct` says whether it is still the first class.
        additional_forward_args: as in Captum.
        fractions: shares of the pixels that are removed.
        order: "most" important pixels first (lower is better) or "least" (higher is better).
        noise: standard deviation of the noise, in units of the inputs.
        ranking: how the map orders pixels; its seed is that of the noise, too, which is the same for every image.
        internal_batch_size: rows given to the model at once.

    Returns:
        A curve whose `auc` is the mean score over the fractions; the paper's number for a data set is
        `curve.correct.mean(0)`.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import road
        >>> x = torch.zeros(1, 1, 4, 4)
        >>> x[..., 1, 1] = 1.0
        >>> road(lambda x: x.sum((1, 2, 3)), x, x, fractions=(0.0625,), noise=0).scores
        tensor([[0.]])
    """
    check_choice("order", order, ("most", "least"))
    shares = check_fractions(fractions)
    request = Request(forward_func, inputs, target, additional_forward_args, internal_batch_size)
    game = Game(request, attributions, ranking)
    if len(game.inputs) != 1 or game.inputs[0].dim() != 4:
        expected = "one tensor of images (N, C, H, W) for road, which is defined in two dimensions"
        raise ArgumentError("inputs", expected, _shapes(game))
    noise = check_number("noise", noise, "a finite standard deviation of at least 0", lambda v: 0 <= v < math.inf)
    n_pixels = game.n_pixels
    counts = [min(game.count(share), n_pixels - 1) for share in shares]  # something has to be left to impute from
    kept = [(k, n_pixels) if order == "most" else (0, n_pixels - k) for k in counts]
    scores, correct = game.evaluate(Imputation(game.inputs[0], noise, ranking.seed), kept)
    at_inputs = game.own_scores().to(scores.dtype).to(scores.device)
    scores = game.defined(scores)
    return PerturbationCurve(
        fractions=torch.tensor(shares, dtype=scores.dtype, device=scores.device),
        scores=scores,
        auc=scores.mean(1),
        correct=correct,
        valid=scores.isfinite().all(1) & game.ranked,
        input_scores=at_inputs,
        higher_is_better=order == "least",
    )


class Imputation(KeptMean):
    """Removed pixels as weighted means of their neighbours, removed or not, plus noise."""

    def __init__(self, images: Tensor, noise: float, seed: int) -> None:
        super().__init__((images,))
        generator = torch.Generator().manual_seed(seed)
        self.noise = noise * torch.randn(images.shape[1:], generator=generator, dtype=torch.float64, device="cpu")

    def replacement(self, position: int, kept: Tensor, mask: Tensor, rows: Tensor) -> Tensor:  # noqa: ARG002
        """Replacement of the shape of `kept` (P, C, H, W)."""
        wide = kept.detach().cpu().double().numpy()
        filled = [impute(image, inside) for image, inside in zip(wide, mask[:, 0].bool().cpu().numpy(), strict=True)]
        return (torch.from_numpy(np.stack(filled)) + self.noise).to(kept.dtype).to(kept.device)


def impute(image: NDArray[np.float64], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The image (C, H, W) with pixels outside of `kept` (H, W) solved for; at the border there are fewer neighbours."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import spsolve

    removed = ~kept
    n_removed = int(removed.sum())
    if n_removed == 0:
        return image
    number = np.full(kept.shape, -1)
    number[removed] = np.arange(n_removed)
    row, column = removed.nonzero()
    diagonal, known = np.zeros(n_removed), np.zeros((n_removed, len(image)))
    rows, columns, values = [], [], []
    for (down, right), weight in _NEIGHBOURS.items():
        i, j = row + down, column + right
        there = (i >= 0) & (i < kept.shape[0]) & (j >= 0) & (j < kept.shape[1])
        here, i, j = there.nonzero()[0], i[there], j[there]
        diagonal[here] += weight
        is_known = kept[i, j]
        known[here[is_known]] += weight * image[:, i[is_known], j[is_known]].T
        rows.append(here[~is_known])
        columns.append(number[i[~is_known], j[~is_known]])
        values.append(np.full(len(rows[-1]), -weight))
    everyone = np.arange(n_removed)
    system = coo_matrix(
        (
            np.concatenate([*values, diagonal]),
            (np.concatenate([*rows, everyone]), np.concatenate([*columns, everyone])),
        ),
        shape=(n_removed, n_removed),
    )
    solved = spsolve(system.tocsc(), known).reshape(n_removed, len(image))
    result: NDArray[np.float64] = image.copy()
    result[:, removed] = solved.T
    return result


def _only_image(game: Game) -> Tensor:
    if len(game.inputs) != 1 or not is_located(game.inputs[0], game.channels[0]):
        expected = "one tensor of images (N, C, H, W), volumes (N, C, D, H, W) or signals (N, C, T) for irof"
        hint = "; a map (N, 1, T) says that they are signals" if game.inputs[0].dim() == 3 else ""
        raise ArgumentError("inputs", expected, _shapes(game) + hint)
    return game.inputs[0]


def _shapes(game: Game) -> str:
    return ", ".join(str(tuple(value.shape)) for value in game.inputs)


def _labels(images: Tensor, segments: Tensor | str | Segment | Segmenter) -> Tensor:
    size = tuple(images.shape[2:])
    if isinstance(segments, Tensor):
        return check_labels("segments", segments, len(images), size).to(images.device)
    if isinstance(segments, Segmenter):
        return segments.of_inputs(images)
    if not callable(segments) or isinstance(segments, type):
        expected = "labels, a Segmenter, a function or one of " + ", ".join(f'"{one}"' for one in METHODS)
        if not isinstance(segments, str) or segments not in METHODS:
            raise ArgumentError("segments", expected, describe(segments))
    return Segmenter(segments).of_inputs(images)
