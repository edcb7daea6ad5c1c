"""How often a model runs inside a block: rows with gradients and rows without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


@dataclass
class Passes:
    """Calls of a model, in order: how many rows, and whether with gradients."""

    calls: list[tuple[int, bool]] = field(default_factory=list)

    @property
    def gradients(self) -> int:
        """Rows that went through the model with gradients."""
        return sum(rows for rows, with_gradient in self.calls if with_gradient)

    @property
    def forwards(self) -> int:
        """Rows that went through it without."""
        return sum(rows for rows, with_gradient in self.calls if not with_gradient)


@contextmanager
def counted_passes(model: nn.Module) -> Iterator[Passes]:
    """Count the rows that go through the model inside the block."""
    passes = Passes()

    def count(module: nn.Module, arguments: tuple[Any, ...]) -> None:  # noqa: ARG001
        if isinstance(arguments[0], tuple):  # Captum's DeepLift gives inputs and baselines as tuples
            rows = sum(len(group[0]) for group in arguments if isinstance(group, tuple))
        else:
            rows = len(arguments[0])
        passes.calls.append((rows, torch.is_grad_enabled()))

    handle = model.register_forward_pre_hook(count)
    try:
        yield passes
    finally:
        handle.remove()
