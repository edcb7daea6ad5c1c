"""Weighted against Expected Gradients with the same references: seven baselines, and images."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from captum_ext import ExpectedGradients, WeightedIntegratedGradients
from examples.benchmarks.core.methods import Asked, Explain, Explained, Methods, Setting

IMAGES = 7  # references of the second pair, as many as there are baselines


def methods(setting: Setting) -> Methods:
    """By name. Every reference has three of the gradients, which is what fitness needs at least."""
    model, n_steps = setting.network.model, 3 * IMAGES
    every = max(1, len(setting.pool) // IMAGES)
    images = setting.pool[::every][:IMAGES]

    def baselines(x: Tensor) -> Tensor:
        return setting.baselines(x)

    def weighted(references: Any, keep: float | None = None) -> Explain:
        return _explain(WeightedIntegratedGradients(model, references=references, keep=keep), n_steps)

    return {
        "EG, 7 baselines": _explain(ExpectedGradients(model, references=baselines), n_steps),
        "WG, 7 baselines": weighted(baselines),
        "WG, 7 baselines, filtered": weighted(baselines, 0.25),
        "EG, 7 images": _explain(ExpectedGradients(model, references=images), n_steps),
        "WG, 7 images": weighted(images),
        "WG, 7 images, filtered": weighted(images, 0.25),
    }


def _explain(method: ExpectedGradients | WeightedIntegratedGradients, n_steps: int) -> Explain:
    def explain(asked: Asked) -> Explained:
        maps, delta = method.attribute(
            asked.images,
            target=asked.target,
            n_steps=n_steps,
            generator=asked.generators(),
            return_convergence_delta=True,
        )
        return Explained(maps, delta)

    return explain
