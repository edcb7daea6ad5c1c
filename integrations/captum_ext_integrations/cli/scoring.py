"""Functions as targets for methods that take class indices only, as Captum's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from captum_ext.core.target_functions import scored


class Scoring(nn.Module):
    """A model that returns, inside of `by`, one score (N, 1) for each input by a function of its output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._function: Callable[[Any], Tensor] | None = None
        self.eval()

    def forward(self, inputs: Tensor) -> Any:
        """The model's output, or scores."""
        if self._function is None:
            return self.model(inputs)
        return scored(self.model, [self._function] * len(inputs), range(len(inputs)), inputs)[:, None]

    @contextmanager
    def by(self, target: Any) -> Iterator[Any]:
        """Inside the block scores are those of a target that is a function; it yields the target for such outputs."""
        self._function = target if callable(target) else None
        try:
            yield 0 if callable(target) else target
        finally:
            self._function = None


def takes_functions(method: Any, model: Scoring) -> Any:
    """The method, made on this model, whose `attribute` takes functions as target."""
    attribute = method.attribute

    @functools.wraps(attribute)
    def attribute_by(inputs: Tensor, *, target: Any = None, **given: Any) -> Any:
        with model.by(target) as plain:
            return attribute(inputs, target=plain, **given)

    object.__setattr__(method, "attribute", attribute_by)  # of a frozen dataclass, too
    return method
