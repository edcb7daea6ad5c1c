"""Insertion, deletion, DiffID and Sensitivity-N of path methods, whose builders the caller gives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from examples.benchmarks.engine.captum_methods import why_not
from examples.benchmarks.engine.experiment import Options
from examples.benchmarks.engine.explanations import Asked, Explain, Methods, Setting
from examples.benchmarks.engine.metric_columns import (
    Columns,
    Remembered,
    Targets,
    measured_cost,
    path_columns,
    sensitivity_columns,
)
from examples.benchmarks.engine.networks import LITE, Network, load_network, on_lite, preparation_of
from examples.benchmarks.engine.pictures import heat_map, photograph
from examples.benchmarks.engine.pools import half_of, other_half
from examples.benchmarks.engine.rival_methods import why_no_rival
from examples.benchmarks.engine.samples import Samples, load_samples
from examples.benchmarks.engine.store import Row

PICTURED = 6


class PathGames:
    """One data set and network; half of the images are explained with references from the other half.

    Args:
        data: see `load_samples`.
        network: see `load_network`.
        pool: data set for references; None: the half of the images that is not explained.
        options: of the run.
        builders: each builds some of the methods, in the order of the rows.
        sensitivity: names of the methods whose Sensitivity-N is measured.
        limit: images.
        batch: images of a part.
        names: of the methods that are run; None: all of them.
    """

    def __init__(
        self,
        data: str,
        network: str,
        options: Options,
        *,
        builders: Sequence[Callable[[Setting], Methods]],
        sensitivity: Collection[str],
        pool: str | None = None,
        limit: int | None,
        batch: int,
        names: Collection[str] | None = None,
    ) -> None:
        self.names = None if names is None else frozenset(names)
        self.data, self.network_name, self.options = data, network, options
        self.builders, self.sensitivity = builders, sensitivity
        self.pool_name, self.batch = pool, batch
        self.limit = min(limit or 2, 2) if options.fast else limit
        self.budget = 6 if options.fast else 20

    @property
    def name(self) -> str:
        """Folder of its rows."""
        name = f"paths-{self.data.partition(':')[0]}"
        return on_lite(name, self.network_name) if self.network_name in LITE else name

    @property
    def settings(self) -> dict[str, Any]:
        """Data, network and budget."""
        data_settings = {"data": self.data, "network": self.network_name, "pool": self.pool_name, "limit": self.limit}
        own_methods = {"methods": list(self.options.methods)} if self.options.methods else {}
        some = {} if self.names is None else {"names": sorted(self.names)}
        shared = {**self.options.network_settings, **data_settings, **own_methods, **some}
        return {**shared, "batch": self.batch, "budget": self.budget}

    @property
    def size(self) -> str:
        """In words."""
        pool = self.pool_name or "the other half, crops of it, photographs and CIFAR images"
        return f"{self.network_name}; {self.budget} gradients; references: {pool}"

    @property
    def device(self) -> str:
        """Where the network runs: that of the digits is too small for a GPU."""
        return "cpu" if self.network_name == "five-layers" else self.options.device

    def prepare(self) -> None:
        """Train the network where it is one of ours."""
        _ = self.network

    @cached_property
    def network(self) -> Network:
        """The network."""
        options = self.options
        return load_network(self.network_name, options.cache, options.weights, options.n_classes).to(self.device)

    @cached_property
    def samples(self) -> Samples:
        """The images."""
        return load_samples(self.data, preparation_of(self.network_name), self.limit, self.options.seed)

    @property
    def not_run(self) -> dict[str, str]:
        """Methods that cannot explain this network, with the reason."""
        reasons = why_not(self.network.model) | why_no_rival(self.network)
        return {name: why for name, why in reasons.items() if self.names is None or name in self.names}

    def parts(self) -> list[str]:
        """A batch of images each; no batch is in both halves."""
        return [f"{half}-{start:04d}" for half in (0, 1) for start in range(0, len(self._half(half)), self.batch)]

    def _half(self, half: int) -> list[int]:
        return half_of(len(self.samples), half)

    @lru_cache(maxsize=2)  # noqa: B019 (an experiment lives as long as its process)
    def _methods(self, half: int) -> Methods:
        is_small = self.network_name == "five-layers"
        setting = Setting(
            self.network,
            self._pool(half).to(self.network.device),
            self.budget,
            groups=min(self.budget // 2, 6 if is_small else 9),
            neighborhoods=(10, 2, 3, 4, 5, 7, 30) if is_small else (9, 4, 7),
            seed=self.options.seed,
            fast=self.options.fast,
        )
        every = {name: explain for build in self.builders for name, explain in build(setting).items()}
        return {name: explain for name, explain in every.items() if self.names is None or name in self.names}

    def _pool(self, half: int) -> Tensor:
        """References: a data set of its own, or the other half."""
        options = self.options
        if self.pool_name is None:
            return other_half(self.samples, half, options.seed, options.fast)
        samples = load_samples(self.pool_name, self.network.preparation, 60 if options.fast else None)
        return samples.load(range(len(samples)))[0]

    def run(self, part: str) -> list[Row]:
        """Every method on a batch of images."""
        half, start = (int(number) for number in part.split("-"))
        places = self._half(half)[start : start + self.batch]
        images, labels = self.samples.load(places, self.network.n_classes)
        images = images.to(self.network.device)
        indices = [self.samples.indices[place] for place in places]
        model = self.network.model
        with torch.no_grad():
            target = model(images).argmax(1).tolist()
        seeds = [self.options.seed_of(index) for index in indices]
        blurred = self.network.blurred(images)
        what = Targets(images, target, Remembered(model), self.network.black, blurred)
        rows: list[Row] = []
        for name, explain in self._methods(half if self.pool_name is None else 0).items():
            method_rows = self._explained(name, explain, what, seeds)
            for k, row in enumerate(method_rows):
                row |= {"data": self.samples.name, "network": self.network.name, "method": name}
                row |= {"sample": indices[k], "label": labels[k], "target": target[k]}
                if places[k] < PICTURED and "picture" in row:
                    row["photograph"] = photograph(self.network.preparation.displayable(images[k : k + 1])[0])
                elif "picture" in row:
                    del row["picture"]
            rows += method_rows
        return rows

    def _explained(self, name: str, explain: Explain, what: Targets, seeds: list[int]) -> list[Row]:
        """Rows of one method; when it fails on the batch, each image is tried alone."""
        try:
            return self._rows(name, explain, what, seeds)
        except Exception as error:
            if len(seeds) == 1:
                return [{"error": f"{type(error).__name__}: {error}"}]
        return [self._explained(name, explain, what.row(k), [seed])[0] for k, seed in enumerate(seeds)]

    def _rows(self, name: str, explain: Explain, what: Targets, seeds: list[int]) -> list[Row]:
        n = len(seeds)
        with measured_cost(self.network.model, n) as cost:
            explained = explain(Asked(what.images, what.target, seeds))
        maps = explained.maps.detach()
        columns: Columns = cost.columns(n) | path_columns(what, maps, self.options.seed)
        if explained.delta is not None:
            missed = explained.delta.double()
            difference = maps.double().flatten(1).sum(1) - missed
            columns["gap"], columns["score_difference"] = missed.abs().tolist(), difference.tolist()
            columns["relative_gap"] = (missed / difference).abs().tolist()
        if name in self.sensitivity:
            n_samples = 10 if self.options.fast else 40
            columns |= sensitivity_columns(what, maps, n_samples, self.options.seed)
        columns["picture"] = [heat_map(one) for one in maps.sum(1)]
        return [{column: values[k] for column, values in columns.items()} for k in range(n)]
