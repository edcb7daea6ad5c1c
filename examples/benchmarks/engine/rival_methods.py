"""Methods of other papers that the four are compared with, as far as they run on the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captum_ext.attr import RISE, BlurIG, GuidedIG
from examples.benchmarks.engine.explanations import Asked, Explain, Explained, Methods, Setting

MASKS = 1000  # of RISE, a forward each; the paper has 4,000
FEW_MASKS = 50  # at 0.4 of a gradient each they cost as much as 20 gradients


def rival_methods(setting: Setting) -> Methods:
    """By name; with the budget where it is one of gradients."""
    model, budget = setting.network.model, setting.budget
    return {
        "GuidedIG (zero)": _path(GuidedIG(model).attribute, budget),
        "BlurIG": _path(BlurIG(model).attribute, budget),
        f"RISE, {FEW_MASKS} masks": _rise(setting, FEW_MASKS),
        f"RISE, {MASKS} masks": _rise(setting, MASKS),
    }


def _path(attribute: Callable[..., Any], n_steps: int) -> Explain:
    def explain(asked: Asked) -> Explained:
        return Explained(*attribute(asked.images, target=asked.target, n_steps=n_steps, return_convergence_delta=True))

    return explain


def _rise(setting: Setting, n_masks: int) -> Explain:
    """Of probabilities, as in the paper."""
    rise = RISE(lambda images: setting.network.model(images).softmax(1), seed=setting.seed)
    return lambda asked: Explained(rise.attribute(asked.images, target=asked.target, n_samples=n_masks))
