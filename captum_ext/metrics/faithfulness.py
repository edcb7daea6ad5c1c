"""Do attributions say what the model does when pixels change: Infidelity, Sensitivity-N, Monotonicity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.autocast import own_precision
from captum_ext.core.blur import Blur
from captum_ext.core.checks import MOST_STEPS, check_number, check_positive_int, check_seed
from captum_ext.core.devices import double
from captum_ext.core.fills import Fill
from captum_ext.core.perturbation import Perturbation, check_fractions
from captum_ext.core.pixels import Channels, channel_dim, is_located, pixel_maps
from captum_ext.core.request import Request
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError
from captum_ext.metrics.game import Game
from captum_ext.metrics.ranking import Ranking


@dataclass(frozen=True)
class Infidelity:
    """Infidelity of each row's map; lower is better. Rows whose map is not finite are NaN, and but for `raw` those
    whose map predicts nothing.

    Attributes:
        raw: (N,) as defined, in squared units of the score. It depends on the scale of the map: compare it between
            methods only where all maps sum to the same.
        scale_free: (N,) of the map times `factor`, the one number for each row that makes it smallest.
        factor: (N,) that number; negative where the map points the wrong way.
        unexplained: (N,) `scale_free` over the mean squared change of the score: 1 minus the squared cosine between
            predicted and true changes, in [0, 1].
        predicted: (N,) mean square of what the map predicts.
        true: (N,) mean square of the change of the score.
    """

    raw: Tensor
    scale_free: Tensor
    factor: Tensor
    unexplained: Tensor
    predicted: Tensor
    true: Tensor

    def rescaled(self, factor: float | Tensor) -> Tensor:
        """`raw` of the map times `factor`, a number or one for each row (N,); give float64 maps for large factors."""
        matched = torch.where(self.predicted > 0, self.factor * self.predicted, 0.0)
        return factor**2 * self.predicted - 2 * factor * matched + self.true


@own_precision
def infidelity(
    forward_func: ForwardFunc,
    inputs: TensorOrTensors,
    attributions: TensorOrTensors,
    target: Target = None,
    additional_forward_args: Any = None,
    *,
    baselines: Baselines | str | Blur = 0,
    n_samples: int = 50,
    patch: float = 0.25,
    seed: int = 0,
    internal_batch_size: int | None = None,
) -> Infidelity:
    r"""Infidelity (Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019): raw, scale-free.

    https://arxiv.org/abs/1901.09392

    $$\mathrm{INFD} = \mathbb{E}_I \big( I^T \phi - (F(x) - F(x - I)) \big)^2$$

    Each perturbation replaces one random square (of images; a cube of volumes, an interval of signals with a map
    (N, 1, T)) or random set of pixels by `baselines`, the same for every row. What the map predicts is the sum of its
    attributions there, which already contain the difference to a baseline (Integrated Gradients and its relatives).
    Gradients do not; multiply them by it, and they are scored exactly as the paper defines it:
    `infidelity(..., attributions=gradients * (inputs - baselines), baselines=baselines)`.

    Costs n_samples + 1 forwards for each row.

    Args:
        forward_func: the model; its outputs are scored as they are.
        inputs: (N, ...) or a tuple of such tensors.
        attributions: as for `insertion`.
        target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
        additional_forward_args: as in Captum.
        baselines: what replaces pixels: a number, a tensor, "blur", "rise", an `images.Blur`, "corners", "mean" (of
            the pixels that are kept) or "overall-mean".
        n_samples: number of perturbations.
        patch: side of the square as a share of the shortest side; for other inputs the share of the pixels.
        seed: of the perturbations.
        internal_batch_size: rows given to the model at once.

    Raises:
        ArgumentError: shapes, target or options that do not fit.
        NonFiniteError: NaN or infinity in inputs, baselines or the scores at the inputs; see `captum_ext.on_nonfinite`.
        ModelOutputError: `forward_func` did not return one score for each row.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import infidelity
        >>> x = torch.tensor([[3.0, 1.0, 2.0]])
        >>> result = infidelity(lambda x: 2 * x.sum(1), x, attributions=x)
        >>> result.factor, result.scale_free  # right up to a factor of two
        (tensor([2.]), tensor([0.]))

    Deviations from the paper: the scale-free value is the paper's own normalisation, which its code and Captum's
    `normalize=True` have; it is returned beside the raw one because raw values say more about a map's scale than about
    the map.
    """
    request = Request(forward_func, inputs, target, additional_forward_args, internal_batch_size)
    seed = check_seed("seed", seed)
    game = Game(request, attributions, Ranking(seed=seed))
    n_samples = check_positive_int("n_samples", n_samples, MOST_STEPS)
    if n_samples < 2:
        raise ArgumentError("n_samples", "at least 2, since one factor fits one sample", str(n_samples))
    patch = check_number("patch", patch, "a share between 0 and 1, both excluded", lambda v: 0 < v < 1)
    kept = kept_outside_patches(game.inputs, n_samples, patch, seed, game.channels)
    changes = _changes(game, game.fill(baselines), kept)
    predicted = _removed_sums(game, kept)
    square, cross, true = (predicted**2).mean(1), (predicted * changes).mean(1), (changes**2).mean(1)
    factor = cross / square
    fitted = torch.where(square > 0, factor, 0.0)[:, None] * predicted
    scale_free = ((fitted - changes) ** 2).mean(1)
    results = [((predicted - changes) ** 2).mean(1), scale_free, factor, scale_free / true, square, true]
    finite = game.finite.to(square.device)
    usable = finite & (square > 0)
    defined = (finite, usable, usable, usable, finite, finite)
    return Infidelity(
        *(
            game.defined(torch.where(rows, result, torch.nan).to(game.importance.dtype).to(game.importance.device))
            for rows, result in zip(defined, results, strict=True)
        )
    )


@own_precision
def sensitivity_n(
    forward_func: ForwardFunc,
    inputs: TensorOrTensors,
    attributions: TensorOrTensors,
    target: Target = None,
    additional_forward_args: Any = None,
    *,
    fractions: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8),
    baselines: Baselines | str | Blur = 0,
    n_samples: int = 50,
    seed: int = 0,
    internal_batch_size: int | None = None,
) -> Tensor:
    """Sensitivity-N (Ancona et al., "Towards better understanding of gradient-based attribution methods", ICLR 2018).

    https://arxiv.org/abs/1711.06104. For n pixels, the Pearson correlation between the sum of their attributions and
    the change of the score when they are replaced, over random sets of n pixels. Higher is better. Costs n_samples
    forwards for each fraction and row, and one. Arguments are those of `infidelity`.

    Args:
        forward_func: see `infidelity`, as all arguments that are not described here.
        inputs: (N, ...) or a tuple of such tensors.
        attributions: as for `insertion`.
        target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
        additional_forward_args: as in Captum.
        fractions: n as shares of the pixels, at least one pixel.
        baselines: what replaces pixels.
        n_samples: random sets for each fraction, the same for every row.
        seed: of the sets.
        internal_batch_size: rows given to the model at once.

    Returns:
        (N, F) in [-1, 1]; NaN where sums or changes do not vary.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import sensitivity_n
        >>> x = torch.tensor([[3.0, 1.0, 2.0, 5.0]])
        >>> sensitivity_n(lambda x: x.sum(1), x, attributions=x, fractions=(0.5,))
        tensor([[1.]])
    """
    request = Request(forward_func, inputs, target, additional_forward_args, internal_batch_size)
    seed = check_seed("seed", seed)
    game = Game(request, attributions, Ranking(seed=seed))
    n_samples = check_positive_int("n_samples", n_samples, MOST_STEPS)
    if n_samples < 2:
        raise ArgumentError("n_samples", "at least 2, for a correlation", str(n_samples))
    fill = game.fill(baselines)
    columns = []
    generator = torch.Generator().manual_seed(seed)
    for fraction in check_fractions(fractions):
        count = max(1, game.count(fraction))
        order = torch.rand(n_samples, game.n_pixels, generator=generator, dtype=torch.float32, device="cpu").argsort(1)
        flat = torch.ones(n_samples, game.n_pixels, dtype=torch.bool, device="cpu")
        kept = pixel_maps(flat.scatter_(1, order[:, :count], False), game.inputs, game.channels)
        columns.append(correlation(_removed_sums(game, kept), _changes(game, fill, kept)))
    correlations = torch.stack(columns, 1).to(game.importance.dtype).to(game.importance.device)
    return game.defined(correlations)


@own_precision
def monotonicity(
    forward_func: ForwardFunc,
    inputs: TensorOrTensors,
    attributions: TensorOrTensors,
    target: Target = None,
    additional_forward_args: Any = None,
    *,
    baselines: Baselines | str | Blur = 0,
    n_steps: int = 10,
    ranking: Ranking = Ranking(absolute=True),
    internal_batch_size: int | None = None,
) -> Tensor:
    """Monotonicity as rank correlation (Nguyen and Martinez, "On quantitative aspects of model interpretability",
    2020).

    https://arxiv.org/abs/2007.07584. Pixels are divided into `n_steps` groups by importance; each group alone is
    replaced. The result is Spearman's correlation between the groups' sums of attributions and their squared changes of
    the score. Higher is better. Costs n_steps + 1 forwards for each row.

    Quantus calls this MonotonicityCorrelation; its Monotonicity is another, boolean metric (Arya et al.).

    Args:
        forward_func: see `infidelity`, as all arguments that are not described here.
        inputs: (N, ...) or a tuple of such tensors.
        attributions: as for `insertion`.
        target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
        additional_forward_args: as in Captum.
        baselines: what replaces pixels.
        n_steps: number of groups, at least 3.
        ranking: how the map orders pixels; the sums are of the same values, absolute ones unless it says otherwise.
        internal_batch_size: rows given to the model at once.

    Returns:
        (N,) in [-1, 1]; NaN where the map is constant or not finite, or no group changes the score.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import monotonicity
        >>> x = torch.tensor([[3.0, 1.0, 2.0]])
        >>> monotonicity(lambda x: x.sum(1), x, attributions=x, n_steps=3)
        tensor([1.])
    """
    n_steps = check_positive_int("n_steps", n_steps, MOST_STEPS)
    if n_steps < 3:
        raise ArgumentError("n_steps", "at least 3, for a correlation", str(n_steps))
    request = Request(forward_func, inputs, target, additional_forward_args, internal_batch_size)
    game = Game(request, attributions, ranking)
    if n_steps > game.n_pixels:
        raise ArgumentError("n_steps", f"at most {game.n_pixels}, the number of pixels", str(n_steps))
    edges = torch.tensor([game.count(k / n_steps) for k in range(n_steps + 1)], device="cpu")
    games = Perturbation(game.request, game.ranks, game.fill(baselines))
    first, last = (edge.repeat_interleave(game.n_rows) for edge in (edges[:-1], edges[1:]))
    rows = game.request.rows.repeat(n_steps)
    scores = double(games.evaluate(rows, first, last, game.model.select, removed=True))
    at_inputs = game.own_scores()
    changes = (scores.reshape(n_steps, game.n_rows).T - at_inputs[:, None]) ** 2
    place = torch.cat([rank.flatten(1) for rank in game.ranks], 1).to(edges.device).long()
    group = torch.searchsorted(edges[1:], place, right=True)
    sums = torch.zeros(game.n_rows, n_steps, dtype=torch.float64, device="cpu")
    sums.scatter_add_(1, group, game.importance.cpu().double())
    result = correlation(mean_ranks(sums), mean_ranks(changes.cpu()))
    result = result.to(game.importance.dtype).to(game.importance.device)
    return game.defined(torch.where(game.ranked, result, torch.nan))


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson correlation (N,) between the rows of two tensors (N, S); NaN where one does not vary."""
    wide = double(one), double(other)
    first, second = (values - values.mean(1, keepdim=True) for values in wide)
    norms = first.norm(dim=1) * second.norm(dim=1)
    tiny = 1e-12 * wide[0].norm(dim=1) * wide[1].norm(dim=1)  # what rounding leaves of constant rows
    return torch.where(norms > tiny, (first * second).sum(1) / norms, torch.nan).to(one.dtype)


def mean_ranks(values: Tensor) -> Tensor:
    """Rank of each value in its row (N, S), equal values sharing their mean rank."""
    below = (values[:, :, None] > values[:, None, :]).sum(2)
    equal = (values[:, :, None] == values[:, None, :]).sum(2)
    return below.double() + (equal.double() - 1) / 2


def kept_outside_patches(
    inputs: Tensors, n_samples: int, patch: float, seed: int, channels: Channels | None = None
) -> Tensors:
    """Masks of what is kept around one random square, cube or interval (images, volumes, signals) or outside random
    pixels, for each tensor."""
    generator = torch.Generator().manual_seed(seed)
    masks = []
    for value, channel in zip(inputs, channels or map(channel_dim, inputs), strict=True):
        if is_located(value, channel):
            masks.append(_square_masks(tuple(value.shape[2:]), n_samples, patch, generator))
            continue
        n_pixels = value[0].numel() if channel is None else value.select(channel, 0)[0].numel()
        count = max(1, round(patch * n_pixels))
        order = torch.rand(n_samples, n_pixels, generator=generator, dtype=torch.float32, device="cpu").argsort(1)
        flat = torch.ones(n_samples, n_pixels, dtype=torch.bool, device="cpu").scatter_(1, order[:, :count], False)
        masks.extend(pixel_maps(flat, (value,), (channel,)))
    return tuple(masks)


def _changes(game: Game, fill: Fill, kept: Tensors) -> Tensor:
    """F(x) - F(x with the pixels outside of each mask replaced), (N, S), float64."""
    n_masks = len(kept[0])
    which = torch.arange(n_masks, device="cpu").repeat_interleave(game.n_rows)
    games = Perturbation(game.request, (), fill)
    scores = double(games.evaluate_masks(game.request.rows.repeat(n_masks), which, kept, game.model.select))
    return game.own_scores()[:, None] - scores.reshape(n_masks, game.n_rows).T


def _removed_sums(game: Game, kept: Tensors) -> Tensor:
    """Sum of the attributions outside of each mask, (N, S), float64."""
    importance = double(game.importance)
    removed = torch.cat([~mask.flatten(1) for mask in kept], 1).to(importance.device).double()
    return importance @ removed.T


def _square_masks(size: tuple[int, ...], n_samples: int, patch: float, generator: torch.Generator) -> Tensor:
    """Masks (S, 1, *size) of what one square or cube for each sample leaves; of a single line of pixels, an interval.

    A signal draws as an image of height 1 does, and a volume of depth 1 as an image.
    """
    drawn = (1, *size) if len(size) == 1 else size[1:] if len(size) == 3 and size[0] == 1 else size
    side = max(1, round(patch * min((length for length in drawn if length > 1), default=1)))
    inside = torch.ones(n_samples, *(1,) * len(drawn), dtype=torch.bool, device="cpu")
    for axis, length in enumerate(drawn):
        wide = min(side, length)
        first = torch.randint(0, length - wide + 1, (n_samples, 1), generator=generator, device="cpu")
        place = torch.arange(length, device="cpu")[None]
        within = (place >= first) & (place < first + wide)
        inside = inside & within.reshape(n_samples, *(length if dim == axis else 1 for dim in range(len(drawn))))
    return ~inside.reshape(n_samples, 1, *size)
