"""Tuning and reporting of the plan: a part for each candidate, a row for each image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.passes import counted_passes
from captum_ext.selection.measured import FORWARD_SHARE
from examples.benchmarks.engine.experiment import Experiment, Options
from examples.benchmarks.engine.networks import LITE, Network, load_network
from examples.benchmarks.engine.samples import Samples
from examples.benchmarks.engine.store import Row
from examples.benchmarks.papers.ours import own_scores
from examples.benchmarks.papers.ours.own_candidates import CANDIDATES, Explain
from examples.benchmarks.papers.ours.own_images import tuning_samples


def part_of(name: str) -> str:
    """A candidate's name as one of a file."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


class OwnTuning:
    """Candidates on the tuning images of one network.

    Args:
        network: "efficientnet-lite0", whose maps the other two score as well, or "five-layers".
        options: of the run.
        budget: gradients for each map.
        names: of the candidates.
        some: two squares of each photograph, or every third digit, instead of all.
    """

    def __init__(self, network: str, options: Options, budget: int, names: Sequence[str], some: bool = False) -> None:
        self.network, self.options, self.budget, self.names, self.some = network, options, budget, tuple(names), some

    @property
    def name(self) -> str:
        """Folder of its rows."""
        return f"own-{'singles' if self.some else 'tuning'}-{self.network.rpartition('-')[2]}-{self.budget}"

    @property
    def settings(self) -> dict[str, Any]:
        """Network and budget; a part says which candidate."""
        return {"network": self.network, "budget": self.budget, "some": self.some}

    @property
    def size(self) -> str:
        """In words."""
        return f"maps of {self.network}, {self.budget} gradients"

    @property
    def device(self) -> str:
        """Where the networks run."""
        return "cpu"

    def prepare(self) -> None:
        """Train what has to be."""
        _ = self.networks

    @cached_property
    def networks(self) -> Mapping[str, Network]:
        """The explained one first, then those that only score."""
        names = [self.network] + [name for name in LITE if self.network in LITE and name != self.network]
        return {name: load_network(name, self.options.cache) for name in names}

    @cached_property
    def samples(self) -> Samples:
        """The images."""
        return tuning_samples(self.network)

    @lru_cache(maxsize=64)  # noqa: B019 (an experiment lives as long as its process)
    def _asked(self, place: int) -> tuple[Tensor, int, bool]:
        """An image, its class, and whether it counts."""
        image, _ = self.samples.load([place])
        network = self.networks[self.network]
        with torch.no_grad():
            target = int(network.model(image).argmax(1))
        return image, target, own_scores.counts(network, image, [target])

    def parts(self) -> list[str]:
        """One for each candidate, as a name of a file."""
        return [part_of(name) for name in self.names]

    def run(self, part: str) -> list[Row]:
        """A row for each image that counts."""
        name = next(name for name in self.names if part_of(name) == part)
        return [self._row(name, CANDIDATES[name], place) for place in self._places() if self._asked(place)[2]]

    def _places(self) -> list[int]:
        every = range(len(self.samples))
        if self.options.fast:
            return list(every[:2])
        if not self.some:
            return list(every)
        return (
            [place for place in every if place % 5 in (0, 1 + place // 5 % 4)]
            if self.network in LITE
            else list(every[::3])
        )

    def _row(self, name: str, explain: Explain, place: int) -> Row:
        image, target, _ = self._asked(place)
        network, seed = self.networks[self.network], self.options.seed_of(place)
        asked = ([target], self.budget, seed)
        found = explain(network, image, *asked)
        with counted_passes(network.model) as passes:  # not the first call, in which a rival's steps are fitted
            again = explain(network, own_scores.other_digits(image, seed), *asked)
        row: Row = {"method": name, "sample": place, "target": target}
        row |= own_scores.own_columns(network, image, found.maps, [target], seed)
        for short, other in own_scores.transferred(self.networks, self.network).items():
            columns = own_scores.transfer_columns(other, image, found.maps, [target], seed)
            row |= {f"{metric}_{short}": value for metric, value in columns.items()}
        exact = found.difference
        row["gap"] = float("nan") if not exact else abs(float(found.maps.double().sum()) - exact) / abs(exact)
        row["stability"] = own_scores.likeness(found.maps, again.maps)
        row["cost"] = passes.gradients + FORWARD_SHARE * passes.forwards
        return row


@dataclass(frozen=True)
class Tuning:
    """The experiment that was asked for; a worker builds it anew."""

    network: str
    budget: int
    names: tuple[str, ...]
    some: bool

    def __call__(self, options: Options) -> Sequence[Experiment]:
        """One experiment."""
        return [OwnTuning(self.network, options, self.budget, self.names, self.some)]
