"""Methods of the caller's own beside those of the papers: classes by MODULE:CLASS, at the same budget."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from captum_ext.attr import method_class
from examples.benchmarks.engine.explanations import Asked, Explain, Explained, Methods, Setting


@dataclass(frozen=True)
class CallersMethods:
    """Builds the classes with these names: CLASS(model), with `references=` where the constructor takes them."""

    names: tuple[str, ...]

    def __call__(self, setting: Setting) -> Methods:
        """By name; each gets the budget where `attribute` has `n_steps`, and a generator for each image."""
        return {name: _explain(method_class(name), setting) for name in self.names}


def _explain(kind: type[Any], setting: Setting) -> Explain:
    given = {"references": setting.pool} if "references" in inspect.signature(kind).parameters else {}
    method = kind(setting.network.model, **given)
    taken = inspect.signature(method.attribute).parameters

    def explain(asked: Asked) -> Explained:
        options: dict[str, Any] = {"n_steps": setting.budget, "generator": asked.generators()}
        chosen = {name: value for name, value in options.items() if name in taken}
        if "return_convergence_delta" not in taken:
            maps = method.attribute(asked.images.clone(), target=asked.target, **chosen)
            return Explained(maps if isinstance(maps, torch.Tensor) else torch.as_tensor(np.asarray(maps)))
        return Explained(
            *method.attribute(asked.images.clone(), target=asked.target, return_convergence_delta=True, **chosen)
        )

    return explain
