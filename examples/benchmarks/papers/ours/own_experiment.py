"""Tuning and reporting of the plan: a part for each candidate, a row for each image."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
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
from examples.benchmarks.papers.ours.mapped import Explain
from examples.benchmarks.papers.ours.own_candidates import CANDIDATES
from examples.benchmarks.papers.ours.own_images import reporting_samples, tuning_samples
from examples.benchmarks.papers.ours.own_rounding import IN_FLOAT64, agreement


def part_of(name: str) -> str:
    """A candidate's name as one of a file."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


class OwnMaps(ABC):
    """Maps of one network, each with every criterion of the plan.

    Args:
        network: one of the EfficientNet-Lites, whose maps the other two score as well, or "five-layers".
        options: of the run.
        budget: gradients for each map.
        names: of the candidates.
    """

    def __init__(self, network: str, options: Options, budget: int, names: Sequence[str]) -> None:
        self.network, self.options, self.budget, self.names = network, options, budget, tuple(names)

    @property
    @abstractmethod
    def name(self) -> str:
        """Folder of its rows."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What rows depend on; a part says which candidate."""

    @abstractmethod
    def places(self) -> list[int]:
        """Which of the images."""

    @cached_property
    @abstractmethod
    def samples(self) -> Samples:
        """The images."""

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

    @lru_cache(maxsize=64)  # noqa: B019 (an experiment lives as long as its process)
    def asked(self, place: int) -> tuple[Tensor, int]:
        """An image and its class."""
        image, _ = self.samples.load([place])
        with torch.no_grad():
            return image, int(self.networks[self.network].model(image).argmax(1))

    def parts(self) -> list[str]:
        """One for each candidate, as a name of a file."""
        return [part_of(name) for name in self.names]

    def run(self, part: str) -> list[Row]:
        """A row for each image."""
        name = next(name for name in self.names if part_of(name) == part)
        return [self.row(name, CANDIDATES[name], place) for place in self.places()]

    def row(self, name: str, explain: Explain, place: int) -> Row:
        """Every criterion of one map."""
        image, target = self.asked(place)
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


class OwnTuning(OwnMaps):
    """Candidates on the tuning images of one network: "efficientnet-lite0" or "five-layers".

    Args:
        network: see `OwnMaps`, as what follows.
        options: see there.
        budget: see there.
        names: see there.
        some: two squares of each photograph, or every third digit, instead of all.
    """

    def __init__(self, network: str, options: Options, budget: int, names: Sequence[str], some: bool = False) -> None:
        super().__init__(network, options, budget, names)
        self.some = some

    @property
    def name(self) -> str:
        """Folder of its rows."""
        return f"own-{'singles' if self.some else 'tuning'}-{self.network.rpartition('-')[2]}-{self.budget}"

    @property
    def settings(self) -> dict[str, Any]:
        """Network, budget, and which images."""
        return {"network": self.network, "budget": self.budget, "some": self.some}

    @cached_property
    def samples(self) -> Samples:
        """The images."""
        return tuning_samples(self.network)

    def places(self) -> list[int]:
        """Those that count: the blurred image has lost enough of the score."""
        every = list(range(len(self.samples)))
        if self.options.fast:
            every = every[:2]
        elif self.some and self.network in LITE:
            every = [place for place in every if place % 5 in (0, 1 + place // 5 % 4)]
        elif self.some:
            every = every[::3]
        return [place for place in every if self._counts(place)]

    def _counts(self, place: int) -> bool:
        image, target = self.asked(place)
        return own_scores.counts(self.networks[self.network], image, [target])


class OwnReport(OwnMaps):
    """Candidates on the reporting images of one network, beside the criteria agreement between layouts and dtypes."""

    @property
    def name(self) -> str:
        """Folder of its rows."""
        return f"own-report-{self.network.rpartition('-')[2]}-{self.budget}"

    @property
    def settings(self) -> dict[str, Any]:
        """Network and budget."""
        return {"network": self.network, "budget": self.budget, "reported": True}

    @cached_property
    def samples(self) -> Samples:
        """The images."""
        return reporting_samples(self.network)

    def places(self) -> list[int]:
        """All of them."""
        return list(range(2 if self.options.fast else len(self.samples)))

    def row(self, name: str, explain: Explain, place: int) -> Row:
        """Every criterion of one map, and how like it is to those of the network in another layout and in float64."""
        image, target = self.asked(place)
        asked = (image, [target], self.budget, self.options.seed_of(place))
        wide = place < IN_FLOAT64[self.network in LITE]
        return super().row(name, explain, place) | agreement(explain, self.networks[self.network], *asked, wide=wide)


@dataclass(frozen=True)
class Asked:
    """The experiments that were asked for; a worker builds them anew.

    Attributes:
        networks: that are explained.
        budget: gradients for each map.
        names: of the candidates.
        images: "some" or "all" tuning images, or "report".
    """

    networks: tuple[str, ...]
    budget: int
    names: tuple[str, ...]
    images: str

    def __call__(self, options: Options) -> Sequence[Experiment]:
        """One for each network."""
        if self.images == "report":
            return [OwnReport(network, options, self.budget, self.names) for network in self.networks]
        return [
            OwnTuning(network, options, self.budget, self.names, self.images == "some") for network in self.networks
        ]
