"""What is looked at of the methods in the answer, and does not decide: noise, seeds, rounding, sanity, completeness."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from captum_ext.core.model_search import find_module
from captum_ext.core.random import generator_of, globally_seeded
from captum_ext.selection.budgets import Budget
from captum_ext.selection.candidates import Candidate
from captum_ext.selection.controls import randomised
from captum_ext.selection.measured import Measured
from captum_ext.selection.setting import Setting
from captum_ext.selection.subjects import adapted_to

#: What the methods of an answer are looked at for, by name, and what each number is.
CHECKS: Mapping[str, str] = {
    "noise": "rank correlation with the map of the image with noise of one grey level",
    "seed": "rank correlation with the map of another seed",
    "rounding": "rank correlation with the map of the image with other last digits of float32",
    "sanity_third": "rank correlation with the map of the model whose last third of parameters is in random order",
    "sanity_all": "rank correlation with the map of the model whose parameters are all in random order",
    "gap": "completeness: |sum of the map - difference of scores| over that difference",
}
_LEVELS = 255


def checked(candidate: Candidate, budget: Budget, setting: Setting, n_images: int) -> dict[str, float]:
    """Means over the first images; NaN where a check is not possible, as with a method that cannot be made anew for
    another model, or has no convergence delta.

    Rank correlations are Spearman's, of absolute values summed over channels. The sanity checks are the cascade of
    Adebayo et al. ("Sanity Checks for Saliency Maps", NeurIPS 2018, https://arxiv.org/abs/1810.03292), from the output
    on, with parameters in random order instead of drawn anew: a map that stays alike does not depend on what was
    learned.
    """
    images, targets = setting.others[:n_images], setting.their_targets[:n_images]
    rows = [
        _of_image(candidate, budget, setting, image[None], target)
        for image, target in zip(images, targets, strict=True)
    ]
    with np.errstate(all="ignore"):
        columns = {name: np.array([row[name] for row in rows]) for name in CHECKS}
    return {name: float(np.nanmean(one)) if np.isfinite(one).any() else float("nan") for name, one in columns.items()}


def in_words(checks: Mapping[str, float], n_images: int) -> str:
    """The numbers that there are, in half a sentence."""
    words = {"noise": "with noise of one grey level", "seed": "with another seed", "rounding": "with other last digits"}
    words |= {"sanity_third": "with the last third of the weights in random order", "sanity_all": "with all weights so"}
    parts = [f"{checks[name]:.2g} {said}" for name, said in words.items() if np.isfinite(checks[name])]
    return f"on {n_images} images the rank correlation with its own map is {', '.join(parts)}{_said_gap(checks['gap'])}"


def _said_gap(value: float) -> str:
    """The mean gap in percent, or as a multiple of what it is measured by where it is as large as that."""
    if not np.isfinite(value):
        return ""
    said = f"{100 * value:.2g} %" if value < 0.995 else f"{value:.{0 if value >= 10 else 1}f} times that difference"
    return f"; its sum misses the difference of scores by {said}"


def _of_image(candidate: Candidate, budget: Budget, setting: Setting, image: Tensor, target: Any) -> dict[str, float]:
    made = replace(setting, gradients=budget.gradients)

    def mapped(shown: Tensor, where: Setting = made, seed: int = 0) -> Tensor:
        with globally_seeded(setting.seed + seed, 0, image.device if image.is_cuda else None):
            method = Measured(
                candidate.build(replace(where, seed=where.seed + seed)), where.forward_func, budget.options
            )
            maps: Tensor = method.attribute(shown, target, generator=[generator_of(setting.seed + seed, 0)])
            return maps

    whole = mapped(image)
    noise = torch.randn(image.shape, generator=generator_of(setting.seed, 1)).to(image)
    found = {
        "noise": _alike(whole, mapped(image + noise * _grey_level(setting, image))),
        "seed": _alike(whole, mapped(image, seed=1)),
        "rounding": _alike(whole, mapped(image * (1 + torch.finfo(image.dtype).eps * noise))),
    }
    for name, share in (("sanity_third", 1 / 3), ("sanity_all", 1.0)):
        on_random = partial(_on_random, made, share)
        found[name] = _tried(lambda: _alike(whole, mapped(image, on_random()))) if candidate.remade else float("nan")  # noqa: B023
    return found | {"gap": _tried(lambda: _gap(candidate, budget, made, image, target))}


def _on_random(setting: Setting, share: float) -> Setting:
    """The setting of a model whose last parameters are in random order."""
    module = find_module(setting.forward_func)
    if module is None:
        raise TypeError("no module")
    names = [name for name, _ in module.named_parameters()]
    copied: nn.Module = randomised(module, setting.seed, names[len(names) - math.ceil(share * len(names)) :])
    adapted, why_not = adapted_to(copied, setting.others, setting.mean, setting.std)
    return replace(setting, forward_func=copied, adapted=adapted, why_not_adapted=why_not)


def _gap(candidate: Candidate, budget: Budget, setting: Setting, image: Tensor, target: Any) -> float:
    method = candidate.build(setting)
    if "return_convergence_delta" not in inspect.signature(method.attribute).parameters:
        return float("nan")
    maps, delta = method.attribute(image.clone(), target=target, return_convergence_delta=True, **budget.options)
    difference = float(maps.double().sum() - delta.double().sum())
    return abs(float(delta.double().sum()) / difference) if difference else float("nan")


def _grey_level(setting: Setting, image: Tensor) -> Tensor:
    """One of 255 steps from black to white, for each channel; of the image's own range where that is not known."""
    if setting.std is None:
        return (image.max() - image.min()) / _LEVELS
    return 1 / (_LEVELS * torch.tensor(setting.std, dtype=image.dtype, device=image.device)[:, None, None])


def _alike(one: Tensor, other: Tensor) -> float:
    """Rank correlation of two maps; NaN where one is constant."""
    first, second = (maps.double().abs().sum(1).flatten().cpu().numpy() for maps in (one, other))
    if np.array_equal(first, second):
        return 1.0
    if first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(spearmanr(first, second).statistic)


def _tried(check: Callable[[], float]) -> float:
    """The check's number; NaN where it cannot be done, which a method of the caller's may say in any way."""
    try:
        return check()
    except Exception:
        return float("nan")
