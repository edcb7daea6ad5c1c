"""What methods are compared by: one number for each image, and its direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_ext.core.checks import describe
from captum_ext.dataset.masks import OnMasks
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.metrics import (
    concentration,
    deletion,
    diff_id,
    infidelity,
    insertion,
    iou,
    pixel_flipping,
    pointing_game,
    road,
)
from captum_ext.selection.signed_ranks import Numbers


@dataclass(frozen=True)
class Criterion:
    """A number of a map.

    Attributes:
        metric: as for `attribute_dataset`; with `on_masks` a function of attributions and masks.
        higher_is_better: its direction.
        line: its definition.
        on_masks: whether it needs a mask of each image's object.
    """

    metric: Any
    higher_is_better: bool
    line: str
    on_masks: bool = False

    def with_masks(self, masks: Any) -> Any:
        """The metric as `attribute_dataset` takes it."""
        return OnMasks(self.metric, masks) if self.on_masks else self.metric


def _road(forward_func: Any, inputs: Tensor, attributions: Tensor, target: Any) -> Tensor:
    """Mean share of the score without the most important 10, 30 and 60 % of the pixels, imputed."""
    curve = road(forward_func, inputs, attributions, target, fractions=(0.1, 0.3, 0.6))
    return torch.where(curve.valid & (curve.input_scores > 0), curve.auc / curve.input_scores, torch.nan)


def _flipping(forward_func: Any, inputs: Tensor, attributions: Tensor, target: Any) -> Tensor:
    """Pixel flipping in about 14 steps."""
    n_pixels = inputs[0, 0].numel()
    step = max(size for size in range(1, max(1, n_pixels // 14) + 1) if n_pixels % size == 0)
    curve = pixel_flipping(forward_func, inputs, attributions, target, pixels_in_step=step, normalize="range")
    return torch.where(curve.valid, curve.auc, torch.nan)


def _unexplained(forward_func: Any, inputs: Tensor, attributions: Tensor, target: Any) -> Tensor:
    """Infidelity without the map's scale."""
    return infidelity(forward_func, inputs, attributions, target, n_samples=20).unexplained


_RANGE = "(s - low) / (F(x) - low), low the score of the baseline"
#: By name. Those of the score are shares of it, the others shares of a map or of an area, so that their mean is one.
CRITERIA: Mapping[str, Criterion] = MappingProxyType(
    {
        "insertion": Criterion(
            partial(insertion, normalize="range"), True, f"area, from the blurred image, of {_RANGE}"
        ),
        "deletion": Criterion(partial(deletion, normalize="range"), False, f"area, to zero, of {_RANGE}"),
        "diff_id": Criterion(diff_id, True, "DiffID: F without the least minus without the most important, over F(x)"),
        "road": Criterion(_road, False, "ROAD: mean F(x without the most important, imputed) / F(x)"),
        "pixel_flipping": Criterion(_flipping, False, f"area, to zero in about 14 steps, of {_RANGE}"),
        "infidelity": Criterion(_unexplained, False, "share of squared changes that no multiple of the map explains"),
        "pointing_game": Criterion(pointing_game, True, "whether the largest attribution is on the object", True),
        "concentration": Criterion(concentration, True, "share of positive attribution that is on the object", True),
        "iou": Criterion(
            iou, True, "overlap of the object with as many most attributed pixels, over their union", True
        ),
    }
)
#: Those that decide unless the caller says otherwise.
DECIDING = ("insertion", "deletion", "diff_id")


def column_of(name: str) -> str:
    """The column of a criterion in a run, whose bare names are those of the metrics' own defaults."""
    return f"{name}_score"


def check_criteria(argument: str, names: Any, least: int) -> tuple[str, ...]:
    """Known names, once each.

    Raises:
        ArgumentTypeError, ArgumentError: no sequence of names, unknown ones, or too few.
    """
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise ArgumentTypeError(argument, "a sequence of names of criteria", describe(names))
    for name in names:
        if name not in CRITERIA:
            raise ArgumentError(argument, f"some of {', '.join(CRITERIA)}", describe(name))
    if len(names) < least:
        raise ArgumentError(argument, f"at least {least} of {', '.join(CRITERIA)}", "none")
    return tuple(dict.fromkeys(names))


def deciding_scores(columns: Mapping[str, Numbers], names: Sequence[str]) -> Numbers:
    """(n,) the mean of criteria, each turned so that higher is better; NaN where one is not defined."""
    turned = [columns[name] if CRITERIA[name].higher_is_better else -columns[name] for name in names]
    mean: Numbers = np.mean(turned, axis=0)
    return mean
