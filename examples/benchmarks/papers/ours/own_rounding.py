"""How like a map is to that of the same network with other rounding: another memory layout, and float64."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from examples.benchmarks.engine.networks import Network
from examples.benchmarks.engine.store import Row
from examples.benchmarks.papers.ours.mapped import Explain
from examples.benchmarks.papers.ours.own_scores import likeness

#: Of how many images float64 is asked, which takes ten times as long: digits, photographs.
IN_FLOAT64 = (200, 5)


def agreement(
    explain: Explain, network: Network, image: Tensor, target: Sequence[int], budget: int, seed: int, *, wide: bool
) -> Row:
    """The likeness of maps in float32 between two layouts, and with `wide` that of float32 with float64."""
    layouts = [_twin(network, layout) for layout in (torch.contiguous_format, torch.channels_last)]
    first, second = (
        explain(twin, image.to(memory_format=layout), target, budget, seed).maps
        for twin, layout in zip(layouts, (torch.contiguous_format, torch.channels_last), strict=True)
    )
    row: Row = {"layouts": likeness(first, second), "float64": float("nan")}
    if wide:
        exact = explain(_twin(network, torch.contiguous_format, torch.float64), image.double(), target, budget, seed)
        row["float64"] = likeness(first, exact.maps)
    return row


@lru_cache(maxsize=3)
def _twin(network: Network, layout: torch.memory_format, dtype: torch.dtype = torch.float32) -> Network:
    """The network with weights in another layout or dtype, under a name of its own."""
    model = copy.deepcopy(network.model).to(dtype=dtype, memory_format=layout)
    place = next(i for i, module in enumerate(network.model.modules()) if module is network.layer)
    layer = list(model.modules())[place]
    return replace(network, name=f"{network.name}, {layout}, {dtype}", model=model, layer=layer)
