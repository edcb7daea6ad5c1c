"""Tables and claims of the SAMP paper. Table 2 is the one without a caption, deletion and insertion against R."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from examples.benchmarks.engine.claims import Claim, Fact, Finding, Kind, Rows
from examples.benchmarks.engine.explanations import SAMP_GRADIENTS
from examples.benchmarks.engine.networks import on_all_lite
from examples.benchmarks.engine.rival_methods import FEW_MASKS, MASKS
from examples.benchmarks.engine.tables import View
from examples.benchmarks.papers.samp.samp_methods import BOUNDS, SENSITIVITY

Judge = Callable[[Rows], Finding | None]
DATA = (*on_all_lite("paths-imagenet20"), "paths-digits", "paths-mnist20")
COMPLETE = 0.05  # a median gap of 5 % of the difference of scores
_GAMES = ("deletion", "insertion", "diff_id", "relative_gap")
_ABLATION = ("SAMP, 14 groups", "SAMP + momentum, 14 groups", "SAMP + bound, 14 groups", "SAMP++, 14 groups")
_DIRECTIONS = ("SAMP + bound, deletion only", "SAMP + bound, insertion only", "SAMP + bound, 14 groups")
_BOUNDS = ("SAMP + bound, 14 groups", *(f"SAMP + bound, R = {bound}" for bound in BOUNDS))
_EQUAL = tuple(f"IG ({name}), {SAMP_GRADIENTS} gradients" for name in ("zero", "blur + zero"))
_BASELINES = ("SAMP + bound, zero + zero", "SAMP + bound, zero + white", "SAMP + bound, zero + uniform")
_SAME_BASELINES = (*_EQUAL, *(f"IG ({name} + zero), {SAMP_GRADIENTS} gradients" for name in ("white", "uniform")))
_TABLE_1 = (
    "random",
    "gradient",
    "gradient x input",
    "LRP",
    "GradCAM (bilinear)",
    "LIME",
    "DeepLift (zero)",
    "SmoothGrad",
    "GradientShap",
    "IG (zero)",
    "IG (black)",
    "IG (mean)",
    "IG (blur)",
    "IG (blur + zero)",
    *_EQUAL,
    "IDGI (zero)",
    "GuidedIG (zero)",
    "BlurIG",
    "XRAI",
    f"RISE, {FEW_MASKS} masks",
    f"RISE, {MASKS} masks",
    "CAM",
    "MWP",
    "c-MWP",
    "MWP, pixels",
    "EG",
    "SAMP",
    "SAMP, 14 groups",
    "SAMP++",
)
_READINGS = ("SAMP++, 14 groups, trapezoid", "SAMP++, 14 groups, velocity", "SAMP++, steps of 10 pixels")
_RIVALS = ("GradCAM (bilinear)", "CAM", "GuidedIG (zero)", "BlurIG", "XRAI", f"RISE, {MASKS} masks")
_TABLE_8 = ("IG (zero)", "ApproShapley", "DeepSHAP", "GradientShap", "SAMP++")
_NOTE = (
    "Twenty gradients each, SAMP's two directions together. The bound's moves, ten of each direction at least, make it "
    f"some more for SAMP++: IG with {SAMP_GRADIENTS} and SAMP with 14 groups stand beside it. Its baselines are those "
    'of the two games, hence "IG (blur + zero)".'
)


def views(data: Iterable[str] = DATA) -> list[View]:
    """Tables 1 to 4, 6 and 8, and Figure 6."""
    all_views = []
    for experiment in data:
        name = experiment.removeprefix("paths-")
        fair = "IG (blur + zero)"
        all_views += [
            View(
                f"samp-{name}",
                f"SAMP, Table 1: {name}",
                experiment,
                _GAMES,
                fair,
                _TABLE_1,
                note=_NOTE,
                plotted="insertion",
                curve="insertion",
            ),
            View(
                f"samp-{name}-bounds",
                f"SAMP, Table 2 (bounds): {name}",
                experiment,
                _GAMES,
                _BOUNDS[0],
                ("SAMP, 14 groups", *_BOUNDS),
                note='Without momentum, fourteen groups in each direction; R is 10 in "14 groups". A direction takes '
                "about R gradients more.",
                plotted="deletion",
            ),
            View(
                f"samp-{name}-ablation",
                f"SAMP, Table 3 (momentum and bound), and Var(A): {name}",
                experiment,
                (*_GAMES, "variance"),
                "SAMP, 14 groups",
                (*_ABLATION, *_READINGS, _EQUAL[1]),
                note="Fourteen groups of pixels in each direction, as in the paper, so that only momentum and bound "
                'differ; R is 10. The trapezoid rule is ours; "velocity" credits the momentum itself; IG has the same '
                "baselines, so that Var(A) can be compared.",
                plotted="deletion",
                curve="deletion",
            ),
            View(
                f"samp-{name}-directions",
                f"SAMP, Table 4 (directions): {name}",
                experiment,
                _GAMES,
                "SAMP + bound, 14 groups",
                _DIRECTIONS,
                note="Bound without momentum, as in the paper. One direction alone has half of the gradients.",
            ),
            View(
                f"samp-{name}-baselines",
                f"SAMP, Table 6 (baselines): {name}",
                experiment,
                _GAMES,
                "SAMP + bound, 14 groups",
                (*_BASELINES, "SAMP + bound, 14 groups", *_SAME_BASELINES),
                note='Deletion to zero, insertion from the named baseline; "14 groups" is zero + blur. R is 10, '
                "where the paper's table has 50. Integrated Gradients stand beside it with the same baselines.",
            ),
            View(
                f"samp-{name}-shapley",
                f"SAMP, Table 8 (Shapley values): {name}",
                experiment,
                _GAMES[:3],
                "SAMP++",
                _TABLE_8,
                note="ApproShapley plays ten permutations of blocks of 4 x 4 pixels, which become zero.",
            ),
            View(
                f"samp-{name}-sensitivity",
                f"SAMP, Figure 6 (Sensitivity-N against R): {name}",
                experiment,
                ("sensitivity_5", "sensitivity_25", "sensitivity_60", "relative_gap"),
                _BOUNDS[0],
                SENSITIVITY,
                note='Fourteen groups in each direction; R is 10 in "+ bound, 14 groups" and in SAMP++. '
                "Pixels are replaced by zero: what IG from zero explains, while the others average two baselines.",
            ),
        ]
    return all_views


def claims(data: Iterable[str] = DATA) -> list[Claim | Fact]:
    """What the paper says, on every data set."""
    all_claims: list[Claim | Fact] = []
    for experiment in data:

        def claim(where: str, text: str, metric: str, method: str, against: str, *controls: str) -> Claim:
            return Claim("SAMP", where, text, experiment, metric, method, against, controls)  # noqa: B023

        (zero, fair), ours = _EQUAL, "SAMP++"
        all_claims += [
            claim("Table 1", "SAMP++ < IG", "deletion", ours, "IG (zero)", zero, fair),
            claim("Table 1", "SAMP++ > IG", "insertion", ours, "IG (zero)", zero, fair, "IG (blur)"),
            claim("(DiffID)", "SAMP++ > IG", "diff_id", ours, "IG (zero)", zero, fair, "IG (mean)"),
            *(claim("Table 1", f"SAMP++ > {rival}", "insertion", ours, rival) for rival in _RIVALS),
            *(claim("Table 1", f"SAMP++ < {rival}", "deletion", ours, rival) for rival in _RIVALS),
            claim("Table 1", "SAMP++ < SAMP", "deletion", ours, "SAMP", "SAMP, 14 groups"),
            claim("Table 2", "R = 200 raises deletion from R = 10", "deletion", _BOUNDS[0], _BOUNDS[-1]),
            claim("Table 2", "R = 50 has better insertion than R = 10", "insertion", _BOUNDS[1], _BOUNDS[0]),
            claim("Table 2", "R = 200 lowers insertion from R = 50", "insertion", _BOUNDS[1], _BOUNDS[-1]),
            claim("Table 3", "momentum raises insertion", "insertion", _ABLATION[1], _ABLATION[0]),
            claim("Table 3", "momentum lowers deletion", "deletion", _ABLATION[1], _ABLATION[0]),
            claim("Equation 5", "SAMP++ has more Var(A) than IG", "variance", "SAMP++, 14 groups", _EQUAL[1]),
            claim("(ours)", "crediting the velocity < the gradient", "relative_gap", _READINGS[1], "SAMP++, 14 groups"),
            claim("Table 8", "SAMP++ > ApproShapley", "insertion", ours, "ApproShapley"),
            claim("Table 8", "SAMP++ > DeepSHAP", "insertion", ours, "DeepSHAP"),
            claim("Table 4", "insertion alone has the best insertion", "insertion", _DIRECTIONS[1], *_DIRECTIONS[::2]),
            claim("Table 4", "deletion alone has the best deletion", "deletion", _DIRECTIONS[0], *_DIRECTIONS[1:]),
            claim("Table 6", "blur has the best insertion", "insertion", "SAMP + bound, 14 groups", *_BASELINES),
        ]
        if experiment in on_all_lite("paths-imagenet20"):  # on MNIST the paper's SAMP++ is behind SAMP
            all_claims.append(claim("Table 1", "SAMP++ > SAMP", "insertion", ours, "SAMP", "SAMP, 14 groups"))
        all_claims += [
            claim(
                "Figure 6",
                f"a tighter bound (R = 100 against 10) raises Sensitivity-N ({share} %)",
                f"sensitivity_{share}",
                "SAMP + bound, R = 100",
                "SAMP + bound, 14 groups",
                "IG (blur + zero)",
            )
            for share in (5, 25, 60)
        ]
        all_claims.append(Fact("SAMP", "Section 3.4", "the bound restores completeness", _completeness(experiment)))
    return all_claims


def _completeness(experiment: str) -> Judge:
    def judge(rows: Rows) -> Finding | None:
        table = rows.get(experiment)
        if table is None or "relative_gap" not in table:
            return None
        gaps = table.groupby("method")["relative_gap"]
        wanted = ("SAMP, 14 groups", *_BOUNDS, "IG (blur + zero)")
        median = {name: float(gaps.get_group(name).median()) for name in wanted if name in gaps.groups}
        if len(median) < len(wanted):
            return None
        number = "median gap / difference: " + ", ".join(f"{name} {value:.3g}" for name, value in median.items())
        shrinks = all(tighter < looser for looser, tighter in pairwise(median[name] for name in wanted[:-1]))
        verdict = "not reproduced", Kind.NOT_REPRODUCED
        if median[_BOUNDS[-1]] <= COMPLETE:
            verdict = "holds", Kind.HOLDS
        elif shrinks:
            verdict = f"the gap shrinks, but not to {100 * COMPLETE:.0f} %", Kind.NOT_REPRODUCED
        name = experiment.removeprefix("paths-")
        return f"{name}: {number}", int(gaps.get_group(_BOUNDS[-1]).count()), *verdict

    return judge
