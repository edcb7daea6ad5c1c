"""What every method of the plan is: a function from an image to a map and what it should add up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from examples.benchmarks.engine.networks import Network


@dataclass(frozen=True)
class Mapped:
    """A map (1, C, H, W) or (1, 1, H, W), and the difference of scores to which it should add up; None: nothing."""

    maps: Tensor
    difference: float | None = None


Explain = Callable[[Network, Tensor, Sequence[int], int, int], Mapped]  # network, image, target, budget, seed
