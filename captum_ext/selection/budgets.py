"""The same cost for all methods: what a map of each costs is measured, and steps are left out until it fits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from captum_ext.core.atomic import replaced
from captum_ext.core.files import read
from captum_ext.exceptions import RunFolderError
from captum_ext.selection.candidates import Candidate
from captum_ext.selection.measured import Measured
from captum_ext.selection.setting import Setting

PLAN = "plan.json"
_ALLOWED = 1.1  # times the budget
_TRIES = 4
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Budget:
    """What a method gets.

    Attributes:
        gradients: that it is made for.
        options: of `attribute`, which follow from them.
        cost: of a map, in gradients or in seconds, as it was measured on the first image.
        fits: whether that is within the budget; False: it cannot be cheaper.
    """

    gradients: int
    options: dict[str, Any]
    cost: float
    fits: bool


def fitted(candidate: Candidate, setting: Setting, image: Tensor, target: Any, seconds: float | None) -> Budget:
    """The largest budget of gradients whose cost on an image, in gradients or in seconds, is what was asked for."""
    most = replace(setting, gradients=max(setting.gradients, candidate.least))
    found = _tried(candidate, most, image, target, seconds, setting.gradients)
    for _ in range(_TRIES):
        fewer = max(candidate.least, _fewer(found, float(setting.gradients), seconds))
        if found.fits or candidate.steps(fewer) == found.options:
            break
        found = _tried(candidate, replace(setting, gradients=fewer), image, target, seconds, setting.gradients)
    return found


def _fewer(found: Budget, asked: float, seconds: float | None) -> int:
    """Gradients that should fit: one less costs one less, beside what does not depend on them."""
    if seconds is None:
        return found.gradients - math.ceil(found.cost - _ALLOWED * asked)
    return min(found.gradients - 1, int(found.gradients * seconds / found.cost))


def _tried(
    candidate: Candidate,
    setting: Setting,
    image: Tensor,
    target: Any,
    seconds: float | None,
    asked: float | None = None,
) -> Budget:
    """What a method costs that is made for a budget; its first call has what is done once, and does not count."""
    options = candidate.steps(setting.gradients)
    measured = Measured(candidate.build(setting), setting.forward_func, options)
    for _ in range(2):
        measured.attribute(image, target)
    cost = measured.cost if seconds is None else measured.seconds
    most = _ALLOWED * (seconds or asked or setting.gradients)
    return Budget(setting.gradients, options, cost, cost <= most)


def kept_plan(folder: Path, about: Mapping[str, Any]) -> dict[str, Budget] | None:
    """The budgets that an earlier call has measured; None: there was none.

    Raises:
        RunFolderError: it was asked for something else, or its file is damaged.
    """
    path = folder / PLAN
    if not path.exists():
        return None
    try:
        content = json.loads(read(path, RunFolderError, links=False, most=_MOST_BYTES))
        budgets = {name: Budget(**one) for name, one in content["budgets"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} is damaged ({error}). Choose another folder, or remove it.") from error
    if content["about"] != dict(about):
        changed = [name for name in about if content["about"].get(name) != about[name]]
        raise RunFolderError(
            f"{folder} holds a comparison with other settings ({', '.join(changed)}). Choose another folder."
        )
    return budgets


def keep_plan(folder: Path, about: Mapping[str, Any], budgets: Mapping[str, Budget]) -> None:
    """Write budgets down, so that a comparison that goes on has the same."""
    content = {"about": dict(about), "budgets": {name: asdict(one) for name, one in budgets.items()}}
    with replaced(folder / PLAN) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
