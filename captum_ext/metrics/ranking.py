"""How a map orders pixels, which every metric that takes them one after another has to know."""

from __future__ import annotations

from dataclasses import dataclass

from captum_ext.core.checks import check_bool, check_seed


@dataclass(frozen=True)
class Ranking:
    """How a map orders pixels: by its values, largest first, or by their magnitude.

    Attributes:
        absolute: rank by absolute values, which are taken per channel before the sum over channels.
        seed: of the order of pixels with equal importance, from 0 to 2^63 - 1.

    Raises:
        ArgumentTypeError: a field of another type.
        ArgumentError: a seed out of range.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import Ranking, deletion
        >>> x = torch.tensor([[3.0, 1.0]])
        >>> maps = torch.tensor([[1.0, -2.0]])
        >>> deletion(lambda x: x.sum(1), x, maps, n_steps=2).scores
        tensor([[4., 1., 0.]])
        >>> deletion(lambda x: x.sum(1), x, maps, n_steps=2, ranking=Ranking(absolute=True)).scores
        tensor([[4., 3., 0.]])
    """

    absolute: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "absolute", check_bool("absolute", self.absolute))
        object.__setattr__(self, "seed", check_seed("seed", self.seed))
