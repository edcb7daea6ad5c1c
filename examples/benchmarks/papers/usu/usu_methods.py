"""Upsamplers with what they redistribute by: segments scored once for all that share them, and their controls."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from captum_ext import USU, InterpolationUpsampler
from captum_ext_integrations.grad_cam import GradCAM
from examples.benchmarks.engine.explanations import Asked, Explained, Methods, Setting
from examples.benchmarks.engine.metric_columns import Cost, measured_cost, randomised
from examples.real_data import Preparation

TEMPERATURES = (0.05, 0.1, 0.2, 0.5, 1.0)  # beside 0.3
Chosen = dict[str, tuple[str, USU | InterpolationUpsampler]]
Made = dict[str, tuple[Tensor, Cost]]


def score_maps(
    model: nn.Module, preparation: Preparation, image: Tensor, target: int, seed: int
) -> tuple[dict[str, Tensor], dict[str, Cost]]:
    """Scores of one image's segments in every way, with their cost, and random ones of the same segments."""
    normalisation: dict[str, Any] = {"mean": preparation.mean, "std": preparation.std}
    ways = {
        "ours": USU(**normalisation),
        "paper": USU.paper(**normalisation),
        "paper, fixed": USU.fixed(**normalisation),
    }
    scored, costs = {}, {}
    for name, usu in ways.items():
        with measured_cost(model, 1) as costs[name]:
            scored[name] = usu.score_map(image, model, target)
        scored[f"{name}, random"] = randomised(scored[name], seed)
        costs[f"{name}, random"] = Cost()
    return scored, costs


def upsamplers(scored: dict[str, Tensor]) -> Chosen:
    """By name: the scores that an upsampler needs (or ""), and the upsampler."""

    def paper(scores: str) -> tuple[str, USU]:
        return scores, USU.fixed(scorer=scored[scores])  # refined scores are in the map

    def iwmr(scores: str) -> tuple[str, USU]:
        return scores, USU.iwmr(scorer=scored[scores], refinement=None)

    return {
        **{mode: ("", InterpolationUpsampler(mode)) for mode in ("nearest", "bilinear", "bicubic", "lanczos")},
        "USU": ("ours", USU(scorer=scored["ours"])),
        "USU, paper": paper("paper"),
        "USU, paper, fixed": paper("paper, fixed"),
        "IWMR, paper": iwmr("paper"),
        "IWMR by mass": ("ours", USU(scorer=scored["ours"], redistribution="global-mass")),
        "USU, random scores": ("ours, random", USU(scorer=scored["ours, random"])),
        "USU, paper, random scores": paper("paper, random"),
        "USU, paper, fixed, random scores": paper("paper, fixed, random"),
        "IWMR, paper, random scores": iwmr("paper, random"),
    }


def temperatures(scored: dict[str, Tensor]) -> Chosen:
    """Ours at other temperatures, with the same scores, and with random ones at the paper's."""
    chosen: Chosen = {
        f"USU, temperature {value:g}": ("ours", USU(scorer=scored["ours"], temperature=value)) for value in TEMPERATURES
    }
    random = USU(scorer=scored["ours, random"], temperature=0.1)
    return chosen | {"USU, temperature 0.1, random scores": ("ours, random", random)}


def products(bilinear: tuple[Tensor, Cost] | None, scored: dict[str, Tensor], costs: dict[str, Cost]) -> Made:
    """Each score map alone and times bilinear interpolation: cheap controls with the scores of their method."""
    made = {}
    for name, scoring in {"": "ours", ", paper": "paper", ", paper, fixed": "paper, fixed"}.items():
        scores = scored[scoring]
        made[f"score map alone{name}"] = scores, costs[scoring]
        if bilinear is not None:
            maps, cost = bilinear
            made[f"bilinear x score map{name}"] = maps * scores, cost + costs[scoring]
    return made


def usu_cams(setting: Setting) -> Methods:
    """GradCAM redistributed, as a method among those that explain pixels."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    network = setting.network
    usu = USU(mean=network.preparation.mean, std=network.preparation.std)
    options: dict[str, Any] = {"upsampler": usu, "normalize": False, "as_tensor": True}
    if network.to_grid is not None:
        options["reshape_transform"] = network.to_grid

    def explain(asked: Asked) -> Explained:
        targets = [ClassifierOutputTarget(target) for target in asked.target]
        maps = GradCAM(network.model, [network.layer], **options)(asked.images, targets)
        return Explained(torch.as_tensor(maps)[:, None].detach())

    return {"GradCAM (USU)": explain}
