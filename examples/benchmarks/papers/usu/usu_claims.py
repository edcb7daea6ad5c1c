"""Tables and claims of the USU paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

import numpy as np

from examples.benchmarks.engine.claims import Claim, Fact, Finding, Kind, Rows
from examples.benchmarks.engine.networks import on_all_lite
from examples.benchmarks.engine.tables import View
from examples.benchmarks.papers.usu import all_cams
from examples.benchmarks.papers.usu.axioms import NAMES, WEAKER
from examples.benchmarks.papers.usu.controlled import COARSE, GRIDS, MAIN_GRID
from examples.benchmarks.papers.usu.faithfulness import CAMS, WITH_TEMPERATURES
from examples.benchmarks.papers.usu.usu_methods import TEMPERATURES

SHAPE_NETWORKS = ("RRR-CNN", "RRR-MLP", "vanilla-CNN", "vanilla-MLP")
_GROUND_TRUTH = ("iou", "iou_best", "concentration", "pointing_game")
_PAPER_METRICS = ("infidelity", "infidelity_by_maximum", "infidelity_by_mass", "infidelity_unexplained")
_PAPER_METRICS += ("pixel_flipping", "road", "irof", "monotonicity", "sparseness")
_GAMES = ("insertion", "deletion", "diff_id", "d1_error")
_CONTROLLED_NOTE = (
    "Oracles get the ground truth as segmentation and scores: they are limits, and that of IWMR is reached by "
    "construction. USU and IWMR by mass have temperature 0.3 and 50 segments asked for; the paper's have 0.1, deletion "
    "scores and refined segments."
)
_RANDOM = "USU, paper, random scores"
_JUDGED = ("USU, paper", "IWMR, paper", "USU", "USU, 8 segments")
_TRUE_COARSE = "(true coarse maps)"  # pooled from the ground truth: what upsampling alone can do

#: Data of the offline experiments on upsamplers, and their CAM methods.
DATA = {"imagenet20": CAMS, **dict.fromkeys((*on_all_lite("imagenet20")[1:], "cifar10-20"), ("GradCAM",))}


def views() -> list[View]:
    """Tables 1 and 5 with every grid and coarse map, patterns, Tables 3, 9 and 10, and Table 8."""
    all_views = []
    for images, networks in (("shapes", SHAPE_NETWORKS), ("patterns", ("RRR-CNN", "vanilla-CNN"))):
        for network in networks:
            all_views += [_controlled(images, network, kind, MAIN_GRID, network == "RRR-CNN") for kind in COARSE]
            all_views += [_controlled(images, network, COARSE[0], grid) for grid in GRIDS if grid != MAIN_GRID]
    return all_views + faithfulness_views(DATA)


def faithfulness_views(data_and_cams: Mapping[str, tuple[str, ...]]) -> list[View]:
    """Tables 2, 3, 8, 9 and 10, and temperatures."""
    by_temperature = sorted((0.3, *TEMPERATURES))
    names = [f"USU, temperature {value:g}" if value != 0.3 else "USU" for value in by_temperature]
    ablations = [
        View(
            f"usu-{data}-temperatures",
            f"USU, temperatures: {data}, {WITH_TEMPERATURES}",
            f"usu-faithfulness-{data}",
            (
                "infidelity_unexplained",
                "pixel_flipping",
                "road",
                "irof",
                "insertion",
                "deletion",
                "diff_id",
                "sparseness",
            ),
            "USU",
            (*names, "USU, random scores", "USU, temperature 0.1, random scores", "bilinear", "nearest"),
            select={"cam": WITH_TEMPERATURES},
            note="The same scores of the same segments; USU without a number has temperature 0.3. At a high one it is "
            "nearest-neighbour interpolation.",
            plotted="insertion",
        )
        for data in data_and_cams
    ]
    return ablations + [
        View(
            f"usu-{data}-{cam}",
            f"USU, Tables {'2, 3, 9 and 10' if cam == 'GradCAM' else '2 and 8'}: {data}, {cam}",
            f"usu-faithfulness-{data}",
            (*_PAPER_METRICS, *_GAMES),
            "bilinear",
            select={"cam": cam},
            note="Maps as the upsamplers make them, without any scaling. Passes and seconds include the CAM's.",
            plotted="insertion" if cam == "GradCAM" else None,
        )
        for data, cams in data_and_cams.items()
        for cam in cams
    ]


def _controlled(images: str, network: str, coarse: str, grid: int, plotted: bool = False) -> View:
    main = coarse == COARSE[0] and grid == MAIN_GRID
    return View(
        f"usu-{images}-{network}-{coarse.replace(' ', '-')}-{grid}",
        f"USU, Tables 1 and 5: {images}, {network}, {coarse}, {grid} x {grid}",
        f"usu-{images}",
        _GROUND_TRUTH if grid == MAIN_GRID else ("iou", "concentration", "pointing_game"),
        "bilinear",
        select={"network": network, "coarse": coarse, "grid": grid},
        note=_CONTROLLED_NOTE if main else "",
        plotted="iou" if main and plotted else None,
    )


def _against(method: str) -> tuple[str, ...]:
    """The paper's comparison, and the controls of the method's own scores: random, alone, and the cheap product."""
    scoring = method.removeprefix("USU").removeprefix("IWMR")  # "", ", paper" or ", 8 segments"
    return "bilinear", f"{method}, random scores", f"score map alone{scoring}", f"bilinear x score map{scoring}"


def _where(method: str, place: str) -> str:
    return place if "paper" in method else "(our settings)"


def claims() -> list[Claim | Fact]:
    """What the paper says; the controls are random scores and the cheap product."""
    all_claims: list[Claim | Fact] = [_oracle(), *(_support(network) for network in SHAPE_NETWORKS), *_axioms()]
    for network, coarse in product(("RRR-CNN", "RRR-MLP"), (COARSE[0], COARSE[2])):
        select = {"network": network, "coarse": coarse, "grid": MAIN_GRID}

        def claim(where: str, text: str, metric: str, method: str, against: str, *controls: str) -> Claim:
            where = where if coarse == COARSE[0] else _TRUE_COARSE  # noqa: B023
            return Claim("USU", where, text, "usu-shapes", metric, method, against, controls, select)  # noqa: B023

        for metric, method in product(("iou_best", "concentration", "pointing_game"), _JUDGED):
            all_claims.append(
                claim(_where(method, "Tables 1, 5"), f"{method} > bilinear", metric, method, *_against(method))
            )
        all_claims += [
            claim("Table 5", "IWMR > USU", metric, "IWMR, paper", "USU, paper")
            for metric in ("iou_best", "concentration")
        ]
        all_claims.append(claim("Table 5", "bicubic > bilinear", "iou_best", "bicubic", "bilinear"))
    return [*all_claims, *faithfulness_claims(DATA), _source_independence(), *all_cams.facts()]


def faithfulness_claims(names: Iterable[str]) -> list[Claim | Fact]:
    """What the paper says of real images."""
    all_claims: list[Claim | Fact] = []
    for data in names:
        experiment, select = f"usu-faithfulness-{data}", {"cam": "GradCAM"}
        for metric, sign in (
            ("infidelity", "<"),
            ("infidelity_by_maximum", "<"),
            ("infidelity_unexplained", "<"),
            ("pixel_flipping", "<"),
            ("road", "<"),
            ("irof", ">"),
            ("monotonicity", ">"),
            ("sparseness", ">"),
            ("insertion", ">"),
            ("deletion", "<"),
        ):
            for method in ("USU, paper", "IWMR, paper", "USU"):
                against, *controls = _against(method)
                where = _where(method, "Tables 3, 9") if metric not in _GAMES else "(games)"
                text = f"{method} {sign} bilinear"
                all_claims.append(
                    Claim("USU", where, text, experiment, metric, method, against, tuple(controls), select)
                )
        all_claims += [_infidelity_factor(experiment, metric) for metric in ("infidelity", "infidelity_by_maximum")]
    return all_claims


def _plainly(holds: bool) -> tuple[str, Kind]:
    return ("holds", Kind.HOLDS) if holds else ("not reproduced", Kind.NOT_REPRODUCED)


def _oracle() -> Fact:
    def judge(rows: Rows) -> Finding | None:
        shapes = rows.get("usu-shapes")
        if shapes is None or not len(shapes):
            return None
        oracle = shapes[shapes["method"] == "Oracle-IWMR"]["iou"]
        number = f"mean {oracle.mean():.4f}, smallest {oracle.min():.4f}, over {len(oracle)} maps"
        images = shapes["sample"].nunique()
        if oracle.min() <= 0.995:
            return number, images, "not reproduced", Kind.NOT_REPRODUCED
        return number, images, "holds, by construction: the ground truth is its score map", Kind.HOLDS

    return Fact("USU", "Table 1", "Oracle-IWMR has IoU 1.00", judge)


def _support(network: str) -> Fact:
    def judge(rows: Rows) -> Finding | None:
        shapes = rows.get("usu-shapes")
        if shapes is None or not len(shapes):
            return None
        inside = shapes[(shapes["method"] == "coarse map before pooling") & (shapes["network"] == network)]
        share, accuracy = inside["concentration"].mean(), inside["test_accuracy"].mean()
        number = f"{100 * share:.0f} % of |input gradient| inside the shape; test accuracy {100 * accuracy:.1f} %"
        if not network.startswith("RRR"):
            return number, len(inside), "(unconstrained, for comparison)", Kind.COMPARISON
        if share > 0.95:
            return number, len(inside), "holds", Kind.HOLDS
        return number, len(inside), "not reproduced: much of it lies outside", Kind.NOT_REPRODUCED

    return Fact("USU", "Section E", f"{network}: gradients are near zero outside of the shape", judge)


def _kept(rows: Rows, asked: Mapping[str, str] = NAMES) -> dict[str, str]:
    """By upsampler the desiderata among those asked for that it satisfies."""
    axioms = rows.get("usu-axioms")
    if axioms is None or not set(asked) <= set(axioms.columns):
        return {}
    return {
        str(row["method"]): ", ".join(title for name, title in asked.items() if row[name]) or "none"
        for _, row in axioms.iterrows()
    }


def _axioms() -> list[Fact]:
    def cases(rows: Rows) -> int:
        return int(rows["usu-axioms"]["cases"].iloc[0])

    def usu(rows: Rows) -> Finding | None:
        kept = _kept(rows)
        number = "; ".join(f"{name}: {value}" for name, value in kept.items() if name.startswith("USU"))
        return (number, cases(rows), *_plainly(kept["USU"] == "D1, D2, D3, D4")) if kept else None

    def interpolation(rows: Rows) -> Finding | None:
        kept = _kept(rows)
        modes = ("nearest", "bilinear", "bicubic", "lanczos")
        number = "; ".join(f"{mode}: {kept.get(mode)}" for mode in modes)
        broken = all(kept.get(mode) == "none" for mode in modes[1:])
        if not kept:
            return None
        if broken and kept["nearest"] != "none":
            verdict = f"holds only without nearest, which satisfies {kept['nearest']} and is not in the paper's table"
            return number, cases(rows), verdict, Kind.PARTLY
        return number, cases(rows), *_plainly(broken)

    def iwmr(rows: Rows) -> Finding | None:
        kept = _kept(rows).get("IWMR, paper")
        cam_rows = rows.get("usu-faithfulness-imagenet20")
        if kept is None or cam_rows is None or "d1_error" not in cam_rows:
            return None
        chosen = cam_rows[(cam_rows["cam"] == "GradCAM") & (cam_rows["method"] == "IWMR, paper")]["d1_error"]
        number = f"satisfies {kept}; D1 error {chosen.mean():.2g} of the mass on imagenet20, GradCAM"
        return number, len(chosen), *_plainly(chosen.mean() < 1e-3 and kept.endswith("D2, D3, D4"))

    def semi_local(rows: Rows) -> Finding | None:
        kept = _kept(rows, WEAKER)
        if "IWMR, paper" not in kept:
            return None
        number = f"IWMR satisfies {kept['IWMR, paper']}"
        return number, cases(rows), *_plainly(kept["IWMR, paper"] == ", ".join(WEAKER.values()))

    return [
        Fact("USU", "Theorem 6", "IWMR keeps D1-G and D4'", semi_local),
        Fact("USU", "Table 2", "USU satisfies D1 to D4", usu),
        Fact("USU", "Table 2", "interpolation satisfies none of them", interpolation),
        Fact("USU", "Table 2", "IWMR satisfies D2 to D4 and misses D1 by 4e-4 only", iwmr),
    ]


def _ratios(rows: Rows, experiment: str, metric: str, cam: str = "GradCAM") -> dict[str, tuple[float, int]]:
    """By method the geometric mean over images of bilinear's value over its own, and n."""
    cam_rows = rows.get(experiment)
    if cam_rows is None or metric not in cam_rows:
        return {}
    table = cam_rows[cam_rows["cam"] == cam].pivot(index="sample", columns="method", values=metric)
    if "bilinear" not in table:
        return {}
    logs = np.log(table.rdiv(table["bilinear"], axis=0))
    return {str(name): (float(np.exp(logs[name].mean())), int(logs[name].count())) for name in logs}


def _infidelity_factor(experiment: str, metric: str) -> Fact:
    scaled = "each map divided by its maximum" if metric == "infidelity_by_maximum" else "maps as they are"
    data = experiment.removeprefix("usu-faithfulness-")

    def judge(rows: Rows) -> Finding | None:
        ratios = _ratios(rows, experiment, metric)
        wanted = ("USU, paper", "IWMR, paper", "USU", _RANDOM)
        if any(name not in ratios for name in wanted):
            return None
        number = "bilinear over " + ", ".join(f"{name}: {ratios[name][0]:.3g}" for name in wanted)
        paper, random = ratios["USU, paper"][0], ratios[_RANDOM][0]
        verdict = _plainly(paper >= 10)
        if paper >= 10 and random > paper / 10:
            verdict = "an artefact of scale: random scores do the same", Kind.NOT_REPRODUCED
        return f"{data}, {scaled}: {number}", ratios["USU, paper"][1], *verdict

    return Fact("USU", "Table 3", "USU lowers Infidelity by one to four orders of magnitude", judge)


def _source_independence() -> Fact:
    def judge(rows: Rows) -> Finding | None:
        factors, n = {}, 0
        for cam in CAMS:
            ratios = _ratios(rows, "usu-faithfulness-imagenet20", "infidelity_by_maximum", cam)
            if "USU, paper" in ratios:
                factors[cam], n = ratios["USU, paper"]
        if len(factors) < len(CAMS):
            return None
        values = np.array(list(factors.values()))
        spread = 100 * values.std(ddof=1) / values.mean()
        number = ", ".join(f"{cam} {factor:.3g}" for cam, factor in factors.items()) + f"; CV {spread:.0f} %"
        verdict = ("holds, of an artefact of scale", Kind.PARTLY) if spread < 10 else _plainly(False)
        return f"maps / maximum: {number}", n, *verdict

    return Fact("USU", "Table 8", "the factor is the same for seven CAM methods (CV below 10 %)", judge)
