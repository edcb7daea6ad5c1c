"""Weighted against Expected Gradients with the same references: seven baselines, and images."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from captum_ext import ExpectedGradients, WeightedIntegratedGradients
from captum_ext.references import weighted_ig_baselines
from examples.benchmarks.engine.explanations import Explain, Methods, Setting, from_references

IMAGES = 7  # references of the second pair, as many as there are baselines
EQUAL_COST = 8 * IMAGES  # gradients that cost as much as WG's with its search, a forward being 0.4 of a gradient


def wg_methods(setting: Setting) -> Methods:
    """By name. Every reference has three of the gradients, which is what fitness needs at least."""
    model, n_steps = setting.network.model, 3 * IMAGES
    every = max(1, len(setting.pool) // IMAGES)
    images = setting.pool[::every][:IMAGES]

    def baselines(x: Tensor) -> Tensor:
        return setting.baselines(x)

    def authors(x: Tensor) -> Tensor:
        """The six of the authors' evaluation, an image of the pool among them."""
        preparation = setting.network.preparation
        normalisation: dict[str, Any] = {"mean": preparation.mean, "std": preparation.std}
        return weighted_ig_baselines(x, (0.0, 1.0), image=images[:1], **normalisation)

    def weighted(references: Any, keep: float | None = None, ranking: str = "signed") -> Explain:
        method = WeightedIntegratedGradients(model, references=references, keep=keep, ranking=ranking)
        return from_references(method, n_steps)

    return {
        "EG, authors' baselines": from_references(ExpectedGradients(model, references=authors), n_steps),
        f"EG, authors' baselines, {EQUAL_COST} gradients": from_references(
            ExpectedGradients(model, references=authors), EQUAL_COST
        ),
        "WG, authors' baselines": weighted(authors),
        "WG, authors' baselines, filtered": weighted(authors, 0.25),
        "WG, 7 baselines, by magnitude": weighted(baselines, ranking="absolute"),
        "EG, 7 baselines": from_references(ExpectedGradients(model, references=baselines), n_steps),
        f"EG, 7 baselines, {EQUAL_COST} gradients": from_references(
            ExpectedGradients(model, references=baselines), EQUAL_COST
        ),
        "WG, 7 baselines": weighted(baselines),
        "WG, 7 baselines, filtered": weighted(baselines, 0.25),
        "EG, 7 images": from_references(ExpectedGradients(model, references=images), n_steps),
        f"EG, 7 images, {EQUAL_COST} gradients": from_references(
            ExpectedGradients(model, references=images), EQUAL_COST
        ),
        "WG, 7 images": weighted(images),
        "WG, 7 images, filtered": weighted(images, 0.25),
    }
