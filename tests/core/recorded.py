"""What the tests of rows share: functions that keep what they were given, and numbers without a random state."""

import numpy as np
import torch
from torch import nn

from captum_ext.metrics import (
    deletion,
    diff_id,
    infidelity,
    insertion,
    monotonicity,
    pixel_flipping,
    sensitivity_n,
)

RULES = ("gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid")


class Recorded:
    """A forward function that keeps what it was given."""

    def __init__(self, forward):
        self.forward, self.calls = forward, []

    def __call__(self, *given):
        self.calls.append([value.detach().clone() if isinstance(value, torch.Tensor) else value for value in given])
        return self.forward(*given)

    @property
    def sizes(self):
        return [len(call[0]) for call in self.calls]


def numbers(*shape):
    """Different numbers, without a random state."""
    count = int(np.prod(shape))
    return (torch.arange(count, dtype=torch.float64) * 0.7 + 0.3).sin().reshape(shape)


def generator():
    return torch.Generator().manual_seed(0)


def squares(x, *_):
    return x.square().sum(1)


class Graph(nn.Module):
    """What the last node is told by its neighbours; x (N, nodes, features), edges (2, E)."""

    def forward(self, x, edges):
        told = torch.zeros_like(x).index_add(1, edges[1], x[:, edges[0]])
        return torch.stack([told[:, -1].sum(1) * 2, told[:, -1].square().sum(1) + told[:, 1].prod(1)], 1)


EDGES = torch.tensor([[0, 1, 2, 0], [3, 3, 3, 1]])


def closed(x):
    return Graph()(x, EDGES)


GRAPHS = numbers(3, 4, 2) + 1.5
METRICS = {
    "insertion": lambda f, x, a, **given: insertion(f, x, a, baselines=0, **given).scores,
    "deletion": lambda f, x, a, **given: deletion(f, x, a, **given).scores,
    "diff_id": lambda f, x, a, **given: diff_id(f, x, a, normalize="none", **given).scores,
    "pixel_flipping": lambda f, x, a, **given: pixel_flipping(f, x, a, **given).scores,
    "infidelity": lambda f, x, a, **given: infidelity(f, x, a, **given).raw,
    "sensitivity_n": lambda f, x, a, **given: sensitivity_n(f, x, a, fractions=(0.5,), **given),
    "monotonicity": lambda f, x, a, **given: monotonicity(f, x, a, n_steps=3, **given),
}
