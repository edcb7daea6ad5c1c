"""SAMP, its momentum, bound, directions, rule and baselines."""

from __future__ import annotations

from typing import Any

from captum_ext import SAMP
from examples.benchmarks.engine.explanations import Asked, Explain, Explained, Methods, Setting, named_baseline

PAPER_GROUPS = 14  # of pixels, for each direction: the paper's step on ImageNet
BOUNDS = (50, 100, 200)  # beside 10: Table 2 and Sensitivity-N


def samp_methods(setting: Setting) -> Methods:
    """By name.

    "SAMP" and "SAMP++" have the budget, both directions together: the bound's extra moves are paid by fewer groups.
    All others have the paper's groups in each direction, so that they differ in nothing else.
    """
    return {
        "SAMP": _explain(setting, setting.budget // 2, momentum=0, step_bound=None),
        "SAMP++": _explain(setting, setting.groups),
        "SAMP, 14 groups": _explain(setting, momentum=0, step_bound=None),
        "SAMP + momentum, 14 groups": _explain(setting, step_bound=None),
        "SAMP + bound, 14 groups": _explain(setting, momentum=0),
        "SAMP++, 14 groups": _explain(setting),
        "SAMP++, insertion only": _explain(setting, direction="insertion"),
        "SAMP + bound, insertion only": _explain(setting, momentum=0, direction="insertion"),
        "SAMP + bound, deletion only": _explain(setting, momentum=0, direction="deletion"),
    }


def samp_ablations(setting: Setting) -> Methods:
    """Our rule, the other reading of momentum, the paper's step, and other baselines and bounds (Tables 2 and 6)."""
    chosen: Methods = {
        "SAMP++, 14 groups, trapezoid": _explain(setting, method="riemann_trapezoid"),
        "SAMP++, 14 groups, velocity": _explain(setting, credit="velocity"),
    }
    if setting.network.preparation.size < 64:  # the paper's step for MNIST and CIFAR
        chosen["SAMP++, steps of 10 pixels"] = _explain(setting, pixels_in_step=10)
    for name in ("zero", "white", "uniform"):
        chosen[f"SAMP + bound, zero + {name}"] = _explain(setting, insertion=name, momentum=0)
    for bound in BOUNDS:
        chosen[f"SAMP + bound, R = {bound}"] = _explain(setting, momentum=0, step_bound=bound)
    return chosen


#: Methods whose Sensitivity-N is measured.
SENSITIVITY = (
    "IG (zero)",
    "IG (blur + zero)",
    "SAMP, 14 groups",
    "SAMP + bound, 14 groups",
    *(f"SAMP + bound, R = {bound}" for bound in BOUNDS),
    "SAMP++, 14 groups",
    "SAMP++, 14 groups, trapezoid",
)


def _explain(
    setting: Setting,
    groups: int = PAPER_GROUPS,
    *,
    insertion: str = "blur",
    method: str | None = None,
    pixels_in_step: int | None = None,
    **settings: Any,
) -> Explain:
    def explain(asked: Asked) -> Explained:
        start = named_baseline(insertion, asked.images, setting)
        samp = SAMP(setting.network.model, insertion_baselines=start, **settings)
        maps, delta = samp.attribute(
            asked.images,
            target=asked.target,
            n_steps=groups,
            method=method,
            return_convergence_delta=True,
            pixels_in_step=pixels_in_step,
        )
        return Explained(maps, delta)

    return explain
