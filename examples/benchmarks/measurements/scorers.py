"""Which scores USU should redistribute by: every scorer, judged by the maps that it makes, and what it costs.

    python -m examples.benchmarks.measurements.scorers [--out examples/benchmarks/results/scorers-lite0.json]

GradCAM of EfficientNet-Lite0 on the 20 ImageNet images inside foolbox, upsampled with each scorer's scores of the same
segments. The maps are judged by insertion - deletion (from the blurred image, to zero; areas of the probability) and
ROAD: by the network that is explained and, with the same order of pixels, by EfficientNet-Lite1, which no scorer asked.
Differences are paired by image. The rows of an image are kept in --folder, so that a run goes on where it ended.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor
from tqdm import tqdm

from captum_ext import USU, InterpolationUpsampler, metrics
from captum_ext.core.atomic import replaced
from captum_ext.metrics import compare
from captum_ext.segmentation import Segmenter
from captum_ext.upsampling import CoalitionScorer, PerturbationScorer
from captum_ext.upsampling.scoring import MaskedImages, Scorer, Segments
from captum_ext_integrations.grad_cam import GradCAM
from examples.benchmarks.engine.metric_columns import Remembered, measured_cost, valid_areas
from examples.benchmarks.engine.networks import LITE, Network, load_network, preparation_of
from examples.benchmarks.engine.reporting import print_table, versions
from examples.benchmarks.engine.samples import load_samples
from examples.benchmarks.engine.store import Row, Store, current_commit, made_on

DATA = "imagenet20"
DEFAULT = "deletion + insertion"
OTHERS = ("nearest", "bilinear")  # without scores
#: What judges a map, and whether more of it is better.
COLUMNS = {
    f"{metric}, {by}": higher
    for metric, higher in (("insertion - deletion", True), ("ROAD", False))
    for by in ("Lite0", "Lite1")
}
_SEED = 0


def standardised(masked: MaskedImages) -> Segments:
    """Deletion and insertion, each divided by its standard deviation over an image's segments: both count alike."""
    games = [PerturbationScorer(kind)(masked) for kind in ("deletion", "insertion")]
    return [sum(one / one.std().clamp(min=1e-12) for one in pair) for pair in zip(*games, strict=True)]  # type: ignore[misc]


class KernelShap:
    """Shapley values of the segments of one image (Lundberg and Lee, "A Unified Approach to Interpreting Model
    Predictions"), from coalitions drawn by their kernel in pairs with their complements."""

    def __init__(self, n_passes: int) -> None:
        self.n_pairs = n_passes // 2

    def __call__(self, masked: MaskedImages) -> Segments:
        """Coefficients of a regression on which segments are kept."""
        kept = self._drawn(*masked.n_segments)
        rows = torch.zeros(len(kept), dtype=torch.int64)
        scores = masked.scores(rows, lambda points: kept[points][:, masked.labels[0]])
        design, response = kept.double() - kept.double().mean(0), scores.double() - scores.double().mean()
        penalty = 1e-6 * len(kept) * torch.eye(design.shape[1], dtype=torch.float64)
        return [torch.linalg.solve(design.T @ design + penalty, design.T @ response)]

    def _drawn(self, n_segments: int) -> Tensor:
        generator = torch.Generator().manual_seed(_SEED)
        sizes = torch.arange(1, n_segments)
        weights = 1 / (sizes * (n_segments - sizes)).double()
        drawn = sizes[torch.multinomial(weights, self.n_pairs, replacement=True, generator=generator)]
        places = torch.rand(self.n_pairs, n_segments, generator=generator).argsort(1).argsort(1)
        kept = places < drawn[:, None]
        return torch.cat([kept, ~kept])


@dataclass(frozen=True)
class Way:
    """A scorer, how many segments it is asked about, and whether those without mass are left out."""

    scorer: str | Scorer
    asked: int = 50
    skip_empty: bool = False


def scorers(n_segments: int) -> dict[str, Way]:
    """Every scorer by name, for an image of so many segments; those of coalitions with as many passes as others."""
    made: dict[str, str | Scorer] = {
        DEFAULT: "deletion+insertion",
        "insertion": "insertion",
        "deletion": "deletion",
        "both, standardised": standardised,
        **{f"coalitions, {k} a segment": CoalitionScorer(k * n_segments) for k in (1, 2, 4)},
        **{f"KernelSHAP, {k} a segment": KernelShap(k * n_segments) for k in (2, 4)},
        "gradient": "gradient",
        "random": "random",
    }
    return {name: Way(scorer) for name, scorer in made.items()}


def savings(n_segments: int) -> dict[str, Way]:
    """What the default scorer does with fewer passes, by a rule or with fewer segments."""
    return {
        "settled=0.95": Way(PerturbationScorer(settled=0.95)),
        "settled=0.98": Way(PerturbationScorer(settled=0.98)),
        "max_passes, 1.5 a segment": Way(PerturbationScorer(max_passes=round(1.5 * n_segments))),
        "25 segments asked for": Way("deletion+insertion", 25),
        "25 segments asked for, insertion": Way("insertion", 25),
    }


def without_empty(n_segments: int) -> dict[str, Way]:  # noqa: ARG001
    """The same without segments that lie in cells without mass."""
    made: dict[str, str | Scorer] = {
        "skip_empty": "deletion+insertion",
        "skip_empty, settled=0.98": PerturbationScorer(settled=0.98),
        "skip_empty, insertion": "insertion",
    }
    return {name: Way(scorer, skip_empty=True) for name, scorer in made.items()}


GROUPS = {"scorers": scorers, "savings": savings, "skip_empty": without_empty}


class Explained:
    """One image: its maps by every scorer, with what they cost and what they are worth."""

    def __init__(self, networks: Sequence[Network], image: Tensor) -> None:
        self.network, self.image = networks[0], image
        self.blurred = self.network.blurred(image)
        self.asked = {f"Lite{number}": Remembered(one.model) for number, one in enumerate(networks)}
        with torch.no_grad():
            self.target = int(self.network.model(image).argmax())
        self.labels = self._labels(Way("constant").asked)

    def _labels(self, asked: int) -> Tensor:
        preparation = self.network.preparation
        return Segmenter(n_segments=asked, mean=preparation.mean, std=preparation.std).of_inputs(self.image)[0]

    def rows(self, group: str) -> list[Row]:
        """A row for each scorer, and with the scorers for what needs none."""
        segments = int(self.labels.max()) + 1
        masks = [self.labels == k for k in range(segments)]
        plain = {name: self._cam(InterpolationUpsampler(name)) for name in OTHERS}
        rows: list[Row] = []
        if GROUPS[group] is scorers:
            rows = [{"method": name, **self._judged(maps, plain["nearest"])} for name, maps in plain.items()]
        for name, way in GROUPS[group](segments).items():
            usu = USU(segmenter=self._labels(way.asked), scorer=way.scorer, skip_empty=way.skip_empty)
            coarse = torch.nn.functional.adaptive_max_pool2d(plain["nearest"], 7)
            with measured_cost(self.network.model, 1) as cost:
                scores = usu.score_map(self.image, self.network.model, self.target, maps=[coarse])
            columns = self._judged(self._cam(USU(scorer=scores)), plain["nearest"])
            scored = [not way.skip_empty or bool(plain["nearest"][0, 0][one].any()) for one in masks]
            means = [float(scores[0, 0][one].mean()) for one in masks]
            of_segments = [mean if has else math.nan for mean, has in zip(means, scored, strict=True)]
            rows.append({"method": name, "segments": segments, "scores": of_segments, **vars(cost), **columns})
        return rows

    def _cam(self, upsampler: USU | InterpolationUpsampler) -> Tensor:
        """The CAM of the package's adapter (1, 1, H, W): mass-true, before any scaling."""
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        cam = GradCAM(self.network.model, [self.network.layer], upsampler=upsampler, normalize=False, as_tensor=True)
        return torch.as_tensor(cam(self.image, [ClassifierOutputTarget(self.target)]))[:, None].detach()

    def _judged(self, maps: Tensor, nearest: Tensor) -> Row:
        grid = torch.nn.functional.adaptive_avg_pool2d
        cells, true = (grid(one.double(), 7) for one in (maps, nearest))
        row: Row = {"D1": float((cells - true).abs().sum() / true.abs().sum())}
        shared: dict[str, Any] = {"target": [self.target], "ranking": metrics.Ranking(seed=_SEED)}
        for by, model in self.asked.items():
            asked = model.probabilities
            (inserted,) = valid_areas(metrics.insertion(asked, self.image, maps, baselines=self.blurred, **shared))
            (deleted,) = valid_areas(metrics.deletion(asked, self.image, maps, baselines=0, **shared))
            removed = metrics.road(asked, self.image, maps, fractions=(0.1, 0.3, 0.6), **shared)
            row |= {f"insertion, {by}": inserted, f"deletion, {by}": deleted}
            row |= {f"insertion - deletion, {by}": inserted - deleted}
            row[f"ROAD, {by}"] = valid_areas(removed)[0]
        return row


def agreement(rows: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation (n, methods) of each image's scores with those of the default, of segments that have both."""
    scored = rows.dropna(subset=["scores"])
    by_image = {sample: group.set_index("method")["scores"] for sample, group in scored.groupby("sample")}
    return pd.DataFrame(
        {
            sample: {name: _rank_correlation(one, scores[DEFAULT]) for name, one in scores.items()}
            for sample, scores in by_image.items()
        }
    ).T


def _rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    return float(spearmanr(one, other, nan_policy="omit").statistic)


def table_of_agreement(rows: pd.DataFrame) -> tuple[list[str], list[list[object]]]:
    """Passes for a segment, rank correlation with the default, and D1, by method."""
    correlations, found = agreement(rows), []
    for name, group in rows.groupby("method", sort=False):
        if name in correlations:
            passes = (group["forwards"] + group["gradients"]) / group["segments"]
            column = correlations[name]
            found.append([name, float(passes.mean()), float(column.mean()), float(column.min()), group["D1"].max()])
    return ["scorer", "passes a segment", "rank correlation, mean", "least", "D1, worst"], found


def table_of(rows: pd.DataFrame, column: str) -> tuple[list[str], list[list[object]]]:
    """Means by method, and the paired difference from the default with its interval."""
    scores = {
        str(name): group.sort_values("sample")[column].tolist() for name, group in rows.groupby("method", sort=False)
    }
    compared = compare(scores, DEFAULT, higher_is_better=COLUMNS[column]).table
    found: list[list[object]] = []
    for name, values in scores.items():
        difference = torch.tensor(values, dtype=torch.float64) - torch.tensor(scores[DEFAULT], dtype=torch.float64)
        low, high = interval(difference)
        row = compared.loc[name]
        better = "" if name == DEFAULT else f"{int(row['better_on'])}/{int(row['n'])}"
        shown = "" if name == DEFAULT else f"{float(row['difference']):+.3f} ({low:+.3f} to {high:+.3f})"
        found.append([name, float(row["mean"]), shown, better])
    return ["scorer", "mean", "minus the default (95 %)", "better on"], found


def interval(values: Tensor) -> tuple[float, float]:
    """95 % bootstrap interval (BCa) of the mean of the finite ones."""
    from scipy.stats import bootstrap

    finite = values[values.isfinite()].numpy()
    if finite.std() == 0:
        return float(finite.mean()), float(finite.mean())
    found = bootstrap(
        (finite,), lambda x, axis: x.mean(axis), random_state=np.random.default_rng(0)
    ).confidence_interval
    return float(found.low), float(found.high)


def measured(group: str, options: argparse.Namespace) -> pd.DataFrame:
    """Rows of every image, those that are kept as they are."""
    samples = load_samples(DATA, preparation_of(LITE[0]), options.images)
    folder = options.folder / group
    store = Store(folder, {"data": DATA, "scorers": list(GROUPS[group](2)), "columns": list(COLUMNS)})
    networks: list[Network] = []
    parts = [f"{index:04d}" for index in samples.indices]
    for place, part in enumerate(tqdm(parts, disable=None)):
        if store.has(part):
            continue
        networks = networks or [load_network(name, options.folder) for name in LITE[:2]]
        image, _ = samples.load([place])
        rows = Explained(networks, image).rows(group)
        store.save(part, [{"sample": samples.indices[place], **row} for row in rows], made_on("cpu"))
    return store.all_rows(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file for every image's numbers")
    parser.add_argument("--folder", type=Path, default=Path("outputs/scorers"), help="of finished images")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    if options.fast:
        options.images, options.folder = 2, options.folder / "fast"
    rows = pd.concat([measured(group, options) for group in options.groups], ignore_index=True)
    print_table(f"Segments by the scores of {DEFAULT}", *table_of_agreement(rows))
    for column in COLUMNS:
        direction = "higher" if COLUMNS[column] else "lower"
        print_table(f"{column} ({direction} is better)", *table_of(rows, column))
    if options.out is not None:
        about = {"versions": versions(), "commit": current_commit(), "rows": json.loads(rows.to_json(orient="records"))}
        with replaced(options.out) as temporary:
            temporary.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
