"""Is an order of pixels evidence, or an adversarial sub-image? Maps of one network, scored in other ways.

A greedy path asks the network which pixels raise its score, and the games ask the same network what these pixels do.
The order may tell where the class is, or which pixels drive this network out of the images it knows. So the maps of one
network are scored by two others; with other fills; with noise; by whether a rounding changes them; by whether they find
the quarter of a mosaic that has the class; and for a class that is not in the image.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property, lru_cache, partial
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional

from captum_ext import metrics
from examples.benchmarks.engine.experiment import Options
from examples.benchmarks.engine.explanations import Asked, Explain, Methods, Setting
from examples.benchmarks.engine.metric_columns import Remembered, valid_areas
from examples.benchmarks.engine.networks import LITE, Network, load_network, preparation_of
from examples.benchmarks.engine.pools import other_half
from examples.benchmarks.engine.samples import Samples, load_samples
from examples.benchmarks.engine.store import Row

NOISE = (1, 8)  # grey levels, standard deviation
ABSENT = ("IG (blur + zero), 28 gradients", "SAMP++", "SAMP++, insertion only")
_AMONG = 100  # an absent class is none of so many that the network finds likeliest
_FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)  # of DiffID
Model = Callable[[Tensor], Tensor]


class Evidence:
    """Maps of the first network of `LITE`, scored by all.

    Args:
        data: see `load_samples`.
        options: of the run.
        builders: each builds some of the methods.
        names: those of them that are compared.
        budget: gradients for each map.
        limit: images that are explained.
    """

    def __init__(
        self,
        data: str,
        options: Options,
        *,
        builders: Sequence[Callable[[Setting], Methods]],
        names: Collection[str],
        budget: int = 20,
        limit: int | None = None,
    ) -> None:
        self.data, self.options = data, options
        self.builders, self.names = builders, tuple(names)
        self.budget = 6 if options.fast else budget
        self.limit = 1 if options.fast else limit

    @property
    def name(self) -> str:
        """Folder of its rows."""
        return f"evidence-{self.data}"

    @property
    def settings(self) -> dict[str, Any]:
        """Data, networks, methods."""
        return {"data": self.data, "networks": LITE, "methods": self.names, "budget": self.budget, "limit": self.limit}

    @property
    def size(self) -> str:
        """In words."""
        return f"maps of {LITE[0]}, scored by {', '.join(LITE)}; {self.budget} gradients"

    @property
    def device(self) -> str:
        """Where the networks run."""
        return self.options.device

    def prepare(self) -> None:
        """See that the weights are there."""
        _ = self.networks

    @cached_property
    def networks(self) -> dict[str, Network]:
        """By name; the first is explained."""
        return {name: load_network(name, self.options.cache).to(self.options.device) for name in LITE}

    @cached_property
    def samples(self) -> Samples:
        """The images."""
        return load_samples(self.data, preparation_of(LITE[0]), None, self.options.seed)

    def parts(self) -> list[str]:
        """One image each; the others are references and parts of mosaics, too."""
        return [f"{place:04d}" for place in range(len(self.samples))][: self.limit]

    @lru_cache(maxsize=2)  # noqa: B019 (an experiment lives as long as its process)
    def _methods(self, half: int) -> Methods:
        """The methods on the first network."""
        options = self.options
        pool = other_half(self.samples, half, options.seed, options.fast).to(options.device)
        setting = Setting(self.networks[LITE[0]], pool, self.budget, seed=options.seed, fast=options.fast)
        every = {name: explain for build in self.builders for name, explain in build(setting).items()}
        return {name: every[name] for name in self.names if name in every}

    def run(self, part: str) -> list[Row]:
        """A row for each method, and one more for each of `ABSENT`, asked for a class that is not in the image."""
        place = int(part)
        image, (label,) = self.samples.load([place], self.networks[LITE[0]].n_classes)
        image = image.to(self.options.device)
        index = self.samples.indices[place]
        seeds, scorers = [self.options.seed_of(index)], Scorers(self.networks, image, self.options.seed_of(index))
        target, mosaic = scorers.first_class, [one.to(self.options.device) for one in self._mosaic(place)]
        methods = self._methods(place % 2)
        asked, rounded = (Asked(one, [target], seeds) for one in (image, self._rounded(image, index)))
        shared = {"data": self.samples.name, "network": LITE[0], "sample": index, "label": label, "target": target}
        rows: list[Row] = []
        for name, explain in methods.items():
            columns = _tried(partial(self._present, explain, asked, rounded, mosaic, scorers))
            rows.append({**shared, "method": name, "asked": "present", **columns})
        absent = Asked(image, [scorers.absent_class], seeds)
        for name in (name for name in ABSENT if name in methods):
            columns = _tried(partial(_absent, methods[name], absent, scorers))
            rows.append({**shared, "method": name, "asked": "absent", "target": scorers.absent_class, **columns})
        return rows

    def _present(
        self, explain: Explain, asked: Asked, rounded: Asked, mosaic: Sequence[Tensor], scorers: Scorers
    ) -> Row:
        maps = explain(asked).maps.detach()
        columns = scorers.columns(maps, asked.target) | scorers.gains(maps, asked.target)
        columns["stability"] = _rank_correlation(maps, explain(rounded).maps.detach())
        image, mask = mosaic
        in_mosaic = explain(Asked(image, asked.target, asked.seeds)).maps.detach().sum(1, keepdim=True)
        columns["mosaic_concentration"] = float(metrics.concentration(in_mosaic, mask))
        columns["mosaic_pointing_game"] = float(metrics.pointing_game(in_mosaic, mask))
        return columns

    def _rounded(self, image: Tensor, index: int) -> Tensor:
        """The image with other last digits: relative noise of float32's precision."""
        drawn = torch.randn(image.shape, generator=torch.Generator().manual_seed(self.options.seed_of(index)))
        return image * (1 + torch.finfo(image.dtype).eps * drawn.to(image.device))

    def _mosaic(self, place: int) -> tuple[Tensor, Tensor]:
        """The image and three others, of half the size, and a mask (1, 1, H, W) of its own quarter."""
        generator = torch.Generator().manual_seed(self.options.seed_of(place))
        n = len(self.samples)
        places = [(place + 1 + int(k)) % n for k in torch.randperm(n - 1, generator=generator)[:3]]
        quarter = int(torch.randint(4, (1,), generator=generator))
        places.insert(quarter, place)
        images, _ = self.samples.load(places)
        small = functional.interpolate(images, scale_factor=0.5, mode="bilinear", antialias=True, align_corners=False)
        rows = [torch.cat(list(small[first : first + 2]), dim=2) for first in (0, 2)]
        image = torch.cat(rows, dim=1)[None]
        mask = torch.zeros(1, 1, *image.shape[2:], dtype=torch.bool)
        height, width = small.shape[2:]
        top, left = quarter // 2 * height, quarter % 2 * width
        mask[..., top : top + height, left : left + width] = True
        return image, mask


class Scorers:
    """The games on one image (1, C, H, W), by all networks, fills and noises; each is asked once for every image."""

    def __init__(self, networks: dict[str, Network], image: Tensor, seed: int) -> None:
        own = networks[LITE[0]]
        self.image, self.ranking = image, metrics.Ranking(seed=seed)
        self.blurred, self.black = own.blurred(image), own.black.expand_as(image)
        self.by_network: dict[str, Model] = {
            name.rpartition("-")[2]: Remembered(network.model) for name, network in networks.items()
        }
        self.own = self.by_network["lite0"]
        drawn = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)).to(image.device)
        std = torch.tensor(own.preparation.std, device=image.device)[:, None, None]
        self.noisy = {level: Remembered(_added(own.model, drawn * level / 255 / std)) for level in NOISE}
        ranked = self.own(image)[0].argsort(descending=True)
        self.first_class = int(ranked[0])
        unlikely = ranked[_AMONG:] if len(ranked) > _AMONG else ranked[-1:]
        drawn_place = torch.randint(len(unlikely), (1,), generator=torch.Generator().manual_seed(seed))
        self.absent_class = int(unlikely[int(drawn_place)])

    def columns(self, maps: Tensor, target: list[int]) -> Row:
        """Insertion - deletion and DiffID by every network; the first's also with other fills, and with noise; ROAD."""
        blur_and_zero: tuple[Tensor | int, Tensor | int] = (self.blurred, 0)
        row: Row = {}
        for name, model in self.by_network.items():
            row[f"ins_del_{name}"] = self._games(model, maps, target, *blur_and_zero)
            by_magnitude = metrics.Ranking(absolute=True, seed=self.ranking.seed)
            row[f"diff_id_{name}"] = valid_areas(
                metrics.diff_id(model, self.image, maps, target, fractions=_FRACTIONS, ranking=by_magnitude)
            )[0]
        row["ins_del_zero"] = self._games(self.own, maps, target, 0, 0)
        row["ins_del_black"] = self._games(self.own, maps, target, self.black, self.black)
        for level, model in self.noisy.items():
            row[f"ins_del_noise{level}"] = self._games(model, maps, target, *blur_and_zero)
        probabilities = _softmax(self.own)
        removed = metrics.road(
            probabilities,
            self.image,
            maps.sum(1, keepdim=True),
            target,
            fractions=(0.1, 0.3, 0.6),
            ranking=self.ranking,
        )
        return row | {"road": valid_areas(removed)[0]}

    def gains(self, maps: Tensor, target: list[int]) -> Row:
        """By how many logits the best of the sub-images that the order inserts is above the whole image."""
        row: Row = {}
        for name, model in self.by_network.items():
            curve = metrics.insertion(model, self.image, maps, target, baselines=self.blurred, ranking=self.ranking)
            row[f"gain_{name}"] = float(curve.scores[0].max() - curve.input_scores[0])
        return row

    def _games(self, model: Model, maps: Tensor, target: list[int], start: Tensor | int, end: Tensor | int) -> float:
        shared: dict[str, Any] = {"target": target, "ranking": self.ranking, "normalize": "range"}
        (inserted,) = valid_areas(metrics.insertion(model, self.image, maps, baselines=start, **shared))
        (deleted,) = valid_areas(metrics.deletion(model, self.image, maps, baselines=end, **shared))
        return inserted - deleted


def _added(model: nn.Module, noise: Tensor) -> Model:
    return lambda images: model(images + noise)


def _softmax(model: Model) -> Model:
    return lambda images: model(images).softmax(1)


def _rank_correlation(one: Tensor, other: Tensor) -> float:
    """Of two maps' pixels; 1 where both are constant."""
    first, second = (maps.sum(1).flatten().double().cpu().numpy() for maps in (one, other))
    if first.std() == 0 and second.std() == 0:
        return 1.0
    return float(spearmanr(first, second).statistic)


def _absent(explain: Explain, asked: Asked, scorers: Scorers) -> Row:
    return scorers.gains(explain(asked).maps.detach(), asked.target)


def _tried(columns: Callable[[], Row]) -> Row:
    """The columns, or what went wrong."""
    try:
        return columns()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
