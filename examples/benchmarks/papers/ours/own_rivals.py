"""What candidates are compared with, each fitted to the same cost as `captum_ext.selection` fits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from captum_ext.models import adapt
from captum_ext.selection.budgets import Budget, fitted
from captum_ext.selection.candidates import CANDIDATES
from captum_ext.selection.setting import Setting
from examples.benchmarks.engine.networks import Network
from examples.benchmarks.papers.ours.mapped import Explain, Mapped

#: By the names of the tables.
NAMES = {
    "IG (blur + zero)": "ig-blur-zero",
    "GradCAM (USU)": "gradcam-usu",
    "XRAI": "xrai",
    "RISE": "rise",
    "SAMP++": "samp++",
    "SAMP++, insertion": "samp++-insertion",
}


class Rival:
    """A method of the package at a budget; its steps are fitted on the first image that it is asked for.

    Args:
        name: as `captum_ext.selection` has it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._built: dict[tuple[str, int], tuple[Any, Budget]] = {}

    def __call__(self, network: Network, image: Tensor, target: Sequence[int], budget: int, seed: int) -> Mapped:
        """The map of one image; what it should add up to is not asked here."""
        key = network.name, budget
        if key not in self._built:
            self._built[key] = self._build(network, budget, seed, image, target)
        method, plan = self._built[key]
        return Mapped(method.attribute(image, target=list(target), **plan.options).detach())

    def _build(
        self, network: Network, budget: int, seed: int, image: Tensor, target: Sequence[int]
    ) -> tuple[Any, Budget]:
        adapted = adapt(
            network.model,
            size=network.preparation.size,
            mean=network.preparation.mean,
            std=network.preparation.std,
            layer=network.layer,
        )
        setting = Setting(
            network.model,
            budget,
            image,
            list(target),
            mean=network.preparation.mean,
            std=network.preparation.std,
            seed=seed,
            adapted=adapted,
        )
        candidate = CANDIDATES[self.name]
        plan = fitted(candidate, setting, image, list(target), None)
        return candidate.build(setting), plan


RIVALS: Mapping[str, Explain] = {title: Rival(name) for title, name in NAMES.items()}
