"""The passes of a method without the method, and a small network on which the method itself weighs most."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from captum_ext.core.inspection import frozen_parameters
from captum_ext.core.passes import Passes


def small_network() -> nn.Module:
    """A five-layer network for 28 x 28 digits, untrained but sure of what it says: costs do not depend on weights."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    widths = (1, 8, 24, 72, 144, 288)
    for k, (before, after) in enumerate(itertools.pairwise(widths)):
        layers += [nn.Conv2d(before, after, 3, stride=2 if k % 2 else 1, padding=1), nn.ReLU()]
    head = nn.Linear(288, 10)
    with torch.no_grad():
        head.weight *= 1000
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), head).eval()


def bare(
    model: nn.Module,
    x: Tensor,
    target: Tensor,
    passes: Passes,
    layout: torch.memory_format = torch.channels_last,
) -> Callable[[], None]:
    """The same calls of the model, with as many rows each, in a memory layout."""
    rows = x.contiguous(memory_format=layout)

    def run() -> None:
        with frozen_parameters(model):
            for count, with_gradient in passes.calls:
                index = torch.arange(count) % len(x)
                points = rows[index].requires_grad_(with_gradient)
                with torch.set_grad_enabled(with_gradient):
                    scores = model(points).gather(1, target[index, None])
                    if with_gradient:
                        torch.autograd.grad(scores.sum(), points)

    return run
