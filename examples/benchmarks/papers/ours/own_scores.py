"""The criteria of the plan, for one map."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from scipy.stats import pearsonr, spearmanr
from torch import Tensor, nn

from captum_ext import metrics
from examples.benchmarks.engine.metric_columns import valid_areas
from examples.benchmarks.engine.networks import Network
from examples.benchmarks.engine.store import Row

FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)  # of DiffID
LEAST_CHANGE = 1.0  # of the logit from the blurred image, for an image to count


def own_columns(network: Network, image: Tensor, maps: Tensor, target: Sequence[int], seed: int) -> Row:
    """Insertion, deletion and DiffID on logits, pixel flipping and ROAD on probabilities."""
    ranking = metrics.Ranking(seed=seed)
    row = transfer_columns(network, image, maps, target, seed)
    probabilities = _softmax(network.model)
    flipped = metrics.pixel_flipping(
        probabilities,
        image,
        maps,
        list(target),
        baselines=network.black.expand_as(image),
        pixels_in_step=-(-image[0, 0].numel() // 14),
        ranking=ranking,
    )
    removed = metrics.road(
        probabilities,
        image,
        maps.sum(1, keepdim=True),
        list(target),
        fractions=(0.1, 0.3, 0.6),
        ranking=ranking,
    )
    return row | {"pixel_flipping": valid_areas(flipped)[0], "road": valid_areas(removed)[0]}


def transfer_columns(network: Network, image: Tensor, maps: Tensor, target: Sequence[int], seed: int) -> Row:
    """Insertion, deletion and DiffID, all on logits."""
    ranking = metrics.Ranking(seed=seed)
    games = {
        "insertion": partial(metrics.insertion, baselines=network.blurred(image), normalize="range", ranking=ranking),
        "deletion": partial(metrics.deletion, normalize="range", ranking=ranking),
        "diff_id": partial(metrics.diff_id, fractions=FRACTIONS, ranking=metrics.Ranking(absolute=True, seed=seed)),
    }
    found = metrics.curves(network.model, image, maps, list(target), metrics=games, internal_batch_size=8)
    return {name: valid_areas(curve)[0] for name, curve in found.items()}


def likeness(one: Tensor, other: Tensor) -> float:
    """The smaller of the rank correlation and Pearson's, over pixels; 1 where both maps are constant."""
    first, second = (maps.sum(1).flatten().double().cpu().numpy() for maps in (one, other))
    if first.std() == 0 and second.std() == 0:
        return 1.0
    return float(min(spearmanr(first, second).statistic, pearsonr(first, second).statistic))


def other_digits(image: Tensor, seed: int) -> Tensor:
    """The image with other last digits: relative noise of float32's precision."""
    drawn = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return image * (1 + torch.finfo(image.dtype).eps * drawn)


def counts(network: Network, image: Tensor, target: Sequence[int]) -> bool:
    """Whether the blurred image has lost enough of the score."""
    with torch.no_grad():
        both = network.model(torch.cat([image, network.blurred(image)]))[:, target[0]]
    return bool(both[0] - both[1] >= LEAST_CHANGE)


def transferred(networks: Mapping[str, Network], own: str) -> Mapping[str, Network]:
    """The networks that did not make the map, by a short name."""
    return {name.rpartition("-")[2]: network for name, network in networks.items() if name != own}


def _softmax(model: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda images: model(images).softmax(1)
