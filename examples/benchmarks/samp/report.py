"""Tables and claims of the SAMP paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from examples.benchmarks.core.claims import Claim, Fact, Rows
from examples.benchmarks.core.tables import View
from examples.benchmarks.samp.methods import SENSITIVITY

Judge = Callable[[Rows], tuple[str, int, str] | None]
DATA = ("paths-imagenet20", "paths-digits", "paths-mnist20")
_GAMES = ("deletion", "insertion", "diff_id", "relative_gap")
_ABLATION = ("SAMP", "SAMP + momentum", "SAMP + bound", "SAMP++", "SAMP++, trapezoid", "SAMP++, 14 groups")
_DIRECTIONS = ("SAMP++, deletion only", "SAMP++, insertion only", "SAMP++")
_BASELINES = ("SAMP + bound, zero + zero", "SAMP + bound, zero + white", "SAMP + bound, zero + uniform", "SAMP + bound")
_TABLE_1 = (
    "random",
    "gradient",
    "gradient x input",
    "LRP",
    "GradCAM (bilinear)",
    "LIME",
    "DeepLift (zero)",
    "GradientShap",
    "IG (zero)",
    "IG (black)",
    "IG (mean)",
    "IG (blur)",
    "IG (blur + zero)",
    "IDGI (zero)",
    "EG",
    "SAMP",
    "SAMP++",
)
_NOTE = (
    "About twenty gradients each, SAMP's two directions together. Its baselines are those of the two games, which is "
    'why "IG (blur + zero)" stands beside it.'
)


def views(data: Iterable[str] = DATA) -> list[View]:
    """Tables 1, 3, 4 and 6, and Figure 6."""
    found = []
    for experiment in data:
        name = experiment.removeprefix("paths-")
        fair = "IG (blur + zero)"
        found += [
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
                f"samp-{name}-ablation",
                f"SAMP, Table 3 (momentum and bound): {name}",
                experiment,
                _GAMES,
                "SAMP",
                (*_ABLATION, "SAMP++, R = 50", "SAMP++, R = 100"),
                note="R is 10 where nothing else is said. The trapezoid rule is ours.",
                plotted="deletion",
                curve="deletion",
            ),
            View(
                f"samp-{name}-directions",
                f"SAMP, Table 4 (directions): {name}",
                experiment,
                _GAMES,
                "SAMP++",
                _DIRECTIONS,
                note="One direction alone has half of the gradients.",
            ),
            View(
                f"samp-{name}-baselines",
                f"SAMP, Table 6 (baselines): {name}",
                experiment,
                _GAMES,
                "SAMP + bound",
                _BASELINES,
                note='Deletion to zero, insertion from the named baseline; "SAMP + bound" alone is zero + blur.',
            ),
            View(
                f"samp-{name}-sensitivity",
                f"SAMP, Figure 6 (Sensitivity-N against R): {name}",
                experiment,
                ("sensitivity_5", "sensitivity_25", "sensitivity_60", "relative_gap"),
                "SAMP++, 14 groups",
                tuple(SENSITIVITY),
                note='Fourteen groups; R is 10 in "14 groups", and absent in "SAMP + momentum".',
            ),
        ]
    return found


def claims() -> list[Claim | Fact]:
    """What the paper says, on every data set."""
    found: list[Claim | Fact] = []
    for experiment in DATA:

        def claim(where: str, text: str, metric: str, method: str, against: str, *controls: str) -> Claim:
            return Claim("SAMP", where, text, experiment, metric, method, against, controls)  # noqa: B023

        fair, ours = "IG (blur + zero)", "SAMP++"
        found += [
            claim("Table 1", "SAMP++ < IG", "deletion", ours, "IG (zero)", fair),
            claim("Table 1", "SAMP++ > IG", "insertion", ours, "IG (zero)", fair, "IG (blur)"),
            claim("(DiffID)", "SAMP++ > IG", "diff_id", ours, "IG (zero)", fair, "IG (mean)"),
            claim("Table 1", "SAMP++ > GradCAM", "insertion", ours, "GradCAM (bilinear)"),
            claim("Table 1", "SAMP++ < SAMP", "deletion", ours, "SAMP"),
            claim("Table 1", "SAMP++ > SAMP", "insertion", ours, "SAMP"),
            claim("Table 3", "momentum raises insertion", "insertion", "SAMP + momentum", "SAMP"),
            claim("Table 3", "momentum lowers deletion", "deletion", "SAMP + momentum", "SAMP"),
            claim("Table 4", "insertion alone has the best insertion", "insertion", "SAMP++, insertion only", ours),
            claim("Table 4", "deletion alone has the best deletion", "deletion", "SAMP++, deletion only", ours),
            claim(
                "Table 6",
                "the blurred baseline has the best insertion",
                "insertion",
                "SAMP + bound",
                "SAMP + bound, zero + zero",
                "SAMP + bound, zero + white",
                "SAMP + bound, zero + uniform",
            ),
        ]
        for share in (5, 25, 60):
            found.append(
                claim(
                    "Figure 6",
                    f"a tighter bound (R = 100 against 10) raises Sensitivity-N, and above that of IG ({share} %)",
                    f"sensitivity_{share}",
                    "SAMP++, R = 100",
                    "SAMP++, 14 groups",
                    "IG (zero)",
                )
            )
        found.append(Fact("SAMP", "Section 3.4", "the bound restores completeness", _completeness(experiment)))
    return found


def _completeness(experiment: str) -> Judge:
    def judge(rows: Rows) -> tuple[str, int, str] | None:
        found = rows.get(experiment)
        if found is None or "relative_gap" not in found:
            return None
        gaps = found.groupby("method")["relative_gap"]
        wanted = ("SAMP + momentum", "SAMP++, 14 groups", "SAMP++, R = 100", "IG (blur + zero)")
        median = {name: float(gaps.get_group(name).median()) for name in wanted if name in gaps.groups}
        if len(median) < len(wanted):
            return None
        number = "median gap / difference: " + ", ".join(f"{name} {value:.3g}" for name, value in median.items())
        shrinks = median["SAMP++, R = 100"] < median["SAMP++, 14 groups"] < median["SAMP + momentum"]
        complete = median["SAMP++, R = 100"] <= median["IG (blur + zero)"]
        name = experiment.removeprefix("paths-")
        verdict = (
            "holds" if complete else "the gap shrinks, and stays above that of IG" if shrinks else "not reproduced"
        )
        return f"{name}: {number}", int(gaps.get_group("SAMP++, R = 100").count()), verdict

    return judge
