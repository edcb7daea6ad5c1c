"""Tables 1 and 5: coarse gradients of networks whose ground truth is known, upsampled and compared with it.

IoU: the |mask| pixels of largest value against the mask; "iou_best": at the threshold that suits the map best.
Concentration: share of the positive mass inside the mask. Pointing game: share of the largest pixels inside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext import USU, InterpolationUpsampler
from captum_ext.metrics import concentration, iou, pointing_game
from captum_ext.segmentation import Segmenter
from captum_ext.upsampling import redistribute
from examples.benchmarks.engine.experiment import Options
from examples.benchmarks.engine.metric_columns import Cost, measured_cost, numbers, randomised
from examples.benchmarks.engine.pictures import heat_map, photograph
from examples.benchmarks.engine.store import Row
from examples.benchmarks.papers.usu.shape_networks import Task
from examples.benchmarks.papers.usu.shapes import Drawn, coarse_map

GRIDS = (4, 7, 14)
MAIN_GRID = 7
COARSE = ("gradient", "gradient x input", "ground truth")
PAPER_TEMPERATURE = 0.1
PICTURED = 6  # images in the gallery


@dataclass(frozen=True)
class Scored:
    """Score maps (N, 1, H, W) of one way of scoring, and what they cost."""

    scores: Tensor
    cost: Cost


Upsample = Callable[[Tensor], Tensor]


class Controlled:
    """Networks on shapes, or on patterns, and every upsampler on their test images."""

    def __init__(self, images: str, options: Options) -> None:
        full = (2000, 5) if images == "shapes" else (500, 8)
        n, epochs = (120, 1) if options.fast else full
        rates = {"CNN": 3e-3, "MLP": 3e-4}
        self.options = options
        self.n_tests = 6 if options.fast else 80 if images == "shapes" else 20
        architectures = ("CNN", "MLP") if images == "shapes" else ("CNN",)
        self.tasks = [
            Task(images, architecture, constrained, n, epochs, rates[architecture])
            for architecture in architectures
            for constrained in (False, True)
        ]
        self.images = images

    @property
    def name(self) -> str:
        """Folder of its rows."""
        return f"usu-{self.images}"

    @property
    def settings(self) -> dict[str, Any]:
        """Tasks and tests."""
        return {"tasks": [vars(task) for task in self.tasks], "tests": len(self._tested), "grids": GRIDS}

    @property
    def size(self) -> str:
        """In words."""
        first = self.tasks[0]
        names = ", ".join(task.name for task in self.tasks)
        return f"{names}, trained on {len(first.splits[0])} of {first.n} images for {first.epochs} epochs"

    @property
    def device(self) -> str:
        """The networks are small."""
        return "cpu"

    def prepare(self) -> None:
        """Train."""
        for task in self.tasks:
            _, report = task.network(self.options.cache, self.options.seed)
            print(f"{task.name} on {task.n} {self.images}: {report}")

    @cached_property
    def networks(self) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
        """Trained networks by name."""
        return {task.name: task.network(self.options.cache, self.options.seed) for task in self.tasks}

    @property
    def _tested(self) -> range:
        return self.tasks[0].splits[2][: self.n_tests]

    def parts(self) -> list[str]:
        """Ten test images each."""
        return [f"{start:04d}" for start in range(0, len(self._tested), 10)]

    def run(self, part: str) -> list[Row]:
        """All networks, grids, coarse maps and upsamplers on ten images."""
        start = int(part)
        indices = self._tested[start : start + 10]
        drawn = self.tasks[0].draw(indices, self.options.seed)
        rows: list[Row] = []
        for network, (model, report) in self.networks.items():
            scored = score_maps(model, drawn, [self.options.seed_of(index) for index in indices])
            for kind, fine in fine_maps(model, drawn).items():
                shared = {"data": self.images, "network": network, "coarse": kind, **report}
                for grid in GRIDS if kind == "gradient" else (MAIN_GRID,):
                    upsampled = self._upsampled(coarse_map(fine, grid), drawn, scored)
                    shown = PICTURED if kind == "gradient" and grid == MAIN_GRID else 0
                    pictured = range(self._tested.start, self._tested.start + shown)
                    for method, (maps, cost) in upsampled.items():
                        named = {**shared, "method": method, "grid": grid}
                        rows += [{**row, **named} for row in _rows(indices, drawn, maps, cost, pictured)]
                if kind == "gradient":
                    unsampled = {**shared, "method": "coarse map before pooling"}
                    rows += [{**row, **unsampled} for row in _unsampled(indices, drawn, fine)]
        return rows

    def _upsampled(self, coarse: Tensor, drawn: Drawn, scored: dict[str, Scored]) -> dict[str, tuple[Tensor, Cost]]:
        upsampled: dict[str, tuple[Tensor, Cost]] = {}
        for name, (scoring, upsample) in upsamplers(drawn, scored).items():
            start = time.perf_counter()
            maps = upsample(coarse)
            seconds = (time.perf_counter() - start) / len(coarse)
            cost = Cost(seconds=seconds)
            upsampled[name] = maps, cost + scored[scoring].cost if scoring else cost
        return upsampled


def _rows(indices: range, drawn: Drawn, maps: Tensor, cost: Cost, pictured: range) -> list[Row]:
    columns = {
        "iou": numbers(iou(maps, drawn.masks)),
        "iou_best": numbers(iou(maps, drawn.masks, threshold="best")),
        "concentration": numbers(concentration(maps, drawn.masks)),
        "pointing_game": numbers(pointing_game(maps, drawn.masks)),
    }
    rows: list[Row] = []
    for place, index in enumerate(indices):
        row: Row = {"sample": index, "label": int(drawn.labels[place]), **vars(cost)}
        row |= {name: values[place] for name, values in columns.items()}
        if index in pictured:
            row["picture"] = heat_map(maps[place, 0])
            row["photograph"] = photograph(drawn.images[place].permute(1, 2, 0))
        rows.append(row)
    return rows


def _unsampled(indices: range, drawn: Drawn, fine: Tensor) -> list[Row]:
    """How much of the gradient itself lies inside the ground truth: what the constraint is for."""
    inside = numbers(concentration(fine, drawn.masks))
    return [{"sample": index, "concentration": share} for index, share in zip(indices, inside, strict=True)]


def fine_maps(model: nn.Module, drawn: Drawn) -> dict[str, Tensor]:
    """Maps (N, 1, H, W) that are pooled to coarse ones: of the gradient of the label's logit, and the truth itself."""
    images = drawn.images.clone().requires_grad_()
    scores = model(images).gather(1, drawn.labels[:, None]).sum()
    gradient = torch.autograd.grad(scores, images)[0].abs()
    return dict(zip(COARSE, (gradient, gradient * drawn.images, drawn.masks.float()), strict=True))


def score_maps(model: nn.Module, drawn: Drawn, seeds: list[int]) -> dict[str, Scored]:
    """Every way of scoring segments, and the same segments with random scores."""
    ways = {
        "50 segments": USU(),
        "8 segments": USU(segmenter=Segmenter(n_segments=8)),
        "paper": USU.paper(),
        "paper, fixed": USU.fixed(),
    }
    scored = {}
    for name, usu in ways.items():
        with measured_cost(model, len(drawn)) as cost:
            scores = usu.score_map(drawn.images, model, drawn.labels)
        random = [randomised(one, seed) for one, seed in zip(scores, seeds, strict=True)]
        scored[name], scored[f"{name}, random"] = Scored(scores, cost), Scored(torch.stack(random), Cost())
    scored["oracle"] = Scored(drawn.masks.float(), Cost())
    return scored


def upsamplers(drawn: Drawn, scored: dict[str, Scored]) -> dict[str, tuple[str, Upsample]]:
    """By name: which scores a method needs (or ""), and the method."""

    def interpolate(mode: str) -> tuple[str, Upsample]:
        return "", lambda maps: InterpolationUpsampler(mode)(maps, drawn.images)

    def usu(scoring: str, temperature: float, redistribution: str = "local") -> tuple[str, Upsample]:
        scores = scored[scoring].scores
        return scoring, lambda maps: redistribute(maps, scores, temperature=temperature, redistribution=redistribution)

    def alone(scoring: str) -> tuple[str, Upsample]:
        scores = scored[scoring].scores
        return scoring, lambda maps: scores.expand(len(maps), -1, -1, -1)

    def product(scoring: str) -> tuple[str, Upsample]:
        scores, bilinear = scored[scoring].scores, InterpolationUpsampler("bilinear")
        return scoring, lambda maps: bilinear(maps, drawn.images) * scores

    ways = {"": "50 segments", ", 8 segments": "8 segments", ", paper": "paper", ", paper, fixed": "paper, fixed"}
    return {
        **{mode: interpolate(mode) for mode in ("nearest", "bilinear", "bicubic", "lanczos")},
        "USU": usu("50 segments", 0.3),
        "USU, 8 segments": usu("8 segments", 0.3),
        "USU, paper": usu("paper", PAPER_TEMPERATURE),
        "USU, paper, fixed": usu("paper, fixed", PAPER_TEMPERATURE),
        "IWMR, paper": usu("paper", PAPER_TEMPERATURE, "global-area"),
        "IWMR by mass": usu("50 segments", 0.3, "global-mass"),
        "Oracle-USU": usu("oracle", PAPER_TEMPERATURE),
        "Oracle-IWMR": usu("oracle", PAPER_TEMPERATURE, "global-area"),
        "USU, random scores": usu("50 segments, random", 0.3),
        "USU, 8 segments, random scores": usu("8 segments, random", 0.3),
        "USU, paper, random scores": usu("paper, random", PAPER_TEMPERATURE),
        "USU, paper, fixed, random scores": usu("paper, fixed, random", PAPER_TEMPERATURE),
        "IWMR, paper, random scores": usu("paper, random", PAPER_TEMPERATURE, "global-area"),
        **{f"score map alone{name}": alone(scoring) for name, scoring in ways.items()},
        **{f"bilinear x score map{name}": product(scoring) for name, scoring in ways.items()},
    }
