"""SAMP, its momentum, bound, directions, rule and baselines."""

from __future__ import annotations

from typing import Any

from captum_ext import SAMP
from examples.benchmarks.core.methods import Asked, Explain, Explained, Methods, Setting, named_baseline

PAPER_GROUPS = 14  # of pixels, for each direction: the paper's step on ImageNet
BOUNDS = (50, 100)  # beside 10, for Sensitivity-N


def methods(setting: Setting) -> Methods:
    """By name. Both directions share the budget; the bound's extra moves are paid by fewer groups."""
    plain, bounded = setting.budget // 2, setting.groups
    chosen: Methods = {
        "SAMP": _explain(setting, plain, momentum=0, step_bound=None),
        "SAMP + momentum": _explain(setting, plain, step_bound=None),
        "SAMP + bound": _explain(setting, bounded, momentum=0),
        "SAMP++": _explain(setting, bounded),
        "SAMP++, insertion only": _explain(setting, bounded, direction="insertion"),
        "SAMP++, deletion only": _explain(setting, bounded, direction="deletion"),
        "SAMP++, trapezoid": _explain(setting, bounded, method="riemann_trapezoid"),
        "SAMP++, 14 groups": _explain(setting, PAPER_GROUPS),
    }
    for name in ("zero", "white", "uniform"):
        chosen[f"SAMP + bound, zero + {name}"] = _explain(setting, bounded, insertion=name, momentum=0)
    for bound in BOUNDS:
        chosen[f"SAMP++, R = {bound}"] = _explain(setting, PAPER_GROUPS, step_bound=bound)
    return chosen


#: Methods whose Sensitivity-N is measured, with R where it is one of the paper's Figure 6.
SENSITIVITY: dict[str, int | None] = {
    "IG (zero)": None,
    "SAMP + momentum": None,
    "SAMP++, 14 groups": 10,
    "SAMP++, R = 50": 50,
    "SAMP++, R = 100": 100,
    "SAMP++, trapezoid": None,
}


def _explain(
    setting: Setting, n_steps: int, *, insertion: str = "blur", method: str | None = None, **settings: Any
) -> Explain:
    def explain(asked: Asked) -> Explained:
        start = named_baseline(insertion, asked.images, setting)
        samp = SAMP(setting.network.model, insertion_baselines=start, **settings)
        maps, delta = samp.attribute(
            asked.images, target=asked.target, n_steps=n_steps, method=method, return_convergence_delta=True
        )
        return Explained(maps, delta)

    return explain
