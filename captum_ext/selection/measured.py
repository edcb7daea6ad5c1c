"""A method whose calls are counted and timed, and that cannot change its caller's images."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from captum.attr import GradientAttribution
from torch import Tensor

from captum_ext.core.model_search import modules_behind
from captum_ext.core.passes import Passes, counted_passes
from captum_ext.core.types import ForwardFunc

FORWARD_SHARE = 0.4  # of a gradient: what a pass forwards costs beside one forwards and backwards


class Measured:
    """A method beside what its last call cost: gradients, forwards and seconds for each image.

    Args:
        method: an object with `attribute(inputs, target=...)`, or a function `f(inputs, target)`.
        forward_func: the model whose passes count.
        options: of `attribute`.

    Attributes:
        forward_func: the same.
        mutates: whether the method has changed the images that it was given, in place: those were copies.
    """

    def __init__(self, method: Any, forward_func: ForwardFunc, options: Mapping[str, Any] | None = None) -> None:
        self.method, self.forward_func, self.options = method, forward_func, dict(options or {})
        self.mutates = False
        self._attribute = getattr(method, "attribute", method)
        taken = inspect.signature(self._attribute).parameters
        self._by_keyword = hasattr(method, "attribute")
        self._takes_generator = self._by_keyword and "generator" in taken
        self._wants_gradient = isinstance(method, GradientAttribution) and not self._takes_generator
        self._last = {"gradients": 0.0, "forwards": 0.0, "seconds": 0.0}

    def settings(self) -> dict[str, Any]:
        """By what rows of the method are known again."""
        return {"method": self.method, "options": self.options}

    def attribute(self, inputs: Tensor, target: Any = None, *, generator: Sequence[torch.Generator] = ()) -> Any:
        """Attributions of a copy of the inputs."""
        given = inputs.detach().clone()  # again: what is asked below is whether the method has changed it
        if self._wants_gradient:
            given.requires_grad_()
        options = {**self.options, **({"generator": list(generator)} if self._takes_generator and generator else {})}
        modules = modules_behind(self.forward_func)
        start = time.perf_counter()
        with counted_passes(modules[0]) if modules else nullcontext(Passes()) as passes:
            if self._by_keyword:
                maps = self._attribute(given, target=target, **options)
            else:
                maps = self._attribute(given, target)
            if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                torch.cuda.synchronize()  # seconds are those until the device has done it
        n_rows, seconds = len(inputs), time.perf_counter() - start
        self._last = {
            "gradients": passes.gradients / n_rows,
            "forwards": passes.forwards / n_rows,
            "seconds": seconds / n_rows,
        }
        self.mutates = self.mutates or not torch.equal(given.detach(), inputs.detach())
        return maps.detach() if isinstance(maps, Tensor) else torch.as_tensor(np.asarray(maps))

    @property
    def cost(self) -> float:
        """Of the last call for an image, in gradients; forwards count by their share."""
        return self._last["gradients"] + FORWARD_SHARE * self._last["forwards"]

    @property
    def seconds(self) -> float:
        """Of the last call for an image."""
        return self._last["seconds"]

    def costs(self) -> dict[str, Spent]:
        """Columns of a run that say what each image has cost."""
        return {name: Spent(self, name) for name in self._last}

    def spent(self, name: str) -> float:
        """One of the numbers of the last call."""
        return self._last[name]


class Spent:
    """A column of a run: what the last call of a method has cost, the same for each of its rows."""

    def __init__(self, measured: Measured, name: str) -> None:
        self._measured, self.name = measured, name

    def settings(self) -> dict[str, Any]:
        """By what the column is known again."""
        return {"name": self.name}

    def __call__(self, forward_func: Any, inputs: Tensor, attributions: Tensor, target: Any) -> Tensor:  # noqa: ARG002
        """(N,) the cost of each row."""
        return torch.full((len(inputs),), self._measured.spent(self.name), dtype=torch.float64, device="cpu")
