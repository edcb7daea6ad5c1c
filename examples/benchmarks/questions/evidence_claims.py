"""Is SAMP's order evidence, or an adversarial sub-image? The criteria, stated before the experiment was first run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from examples.benchmarks.engine.claims import Claim, Fact, Finding, Judged, Kind, Rows
from examples.benchmarks.engine.explanations import SAMP_GRADIENTS
from examples.benchmarks.engine.rival_methods import MASKS
from examples.benchmarks.engine.tables import View

EXPERIMENT = "evidence-imagenet20"
FAIR, COARSE = f"IG (blur + zero), {SAMP_GRADIENTS} gradients", "GradCAM (bilinear)"
JUDGED = ("SAMP++", "SAMP++, insertion only")
#: Whose orders are compared; those that are not built are left out.
METHODS = (
    "random",
    "gradient x input",
    "IG (zero)",
    FAIR,
    "IDGI (zero)",
    "EG",
    "LPI, 1 n.",
    "WG, 7 baselines",
    "GuidedIG (zero)",
    "BlurIG",
    "AGI",
    "XRAI",
    f"RISE, {MASKS} masks",
    COARSE,
    "GradCAM (USU)",
    "c-MWP",
    "MWP, pixels",
    "SAMP",
    *JUDGED,
)
OTHERS = ("lite1", "lite2")
LEFT = 0.5  # of the lead
CRITERIA = """\
The criteria, stated before anything was measured. The order of a method is evidence if on each of two networks that it
never asked (1) its insertion - deletion is better than that of IG from the same baselines, and than GradCAM's, and (2)
at least half of its lead over this IG is left; and if on its own network it is (3) better than both with other fills
(mean colour, black) and by ROAD, (4) better than both with noise of one and of eight grey levels, (5) not worse than
this IG at finding the quarter of a mosaic that has the class, and (6) not less stable than this IG under rounding. It
is an adversarial sub-image if on neither of the two networks it is better than this IG."""
_PRESENT = {"asked": "present"}


def views() -> list[View]:
    """All methods by all networks; fills, noise and the rest; and the absent class."""
    shared = {"experiment": EXPERIMENT, "control": FAIR, "select": _PRESENT}
    by_network = [f"{metric}_{name}" for metric in ("ins_del", "diff_id", "gain") for name in ("lite0", *OTHERS)]
    own = ("ins_del_zero", "ins_del_black", "road", "ins_del_noise1", "ins_del_noise8")
    overlap = ("stability", "mosaic_concentration", "mosaic_pointing_game")
    return [
        View(
            "evidence-networks",
            "Maps of Lite0, scored by three networks",
            metrics=tuple(by_network),
            note="Insertion from the blurred image, deletion to zero; the class is Lite0's first.",
            plotted="ins_del_lite1",
            **shared,
        ),
        View("evidence-fills", "Maps of Lite0, scored by Lite0 in other ways", metrics=(*own, *overlap), **shared),
        View(
            "evidence-absent",
            "Asked for a class that is not in the image",
            EXPERIMENT,
            tuple(f"gain_{name}" for name in ("lite0", *OTHERS)),
            FAIR,
            select={"asked": "absent"},
            note="A class that is none of the hundred that Lite0 finds likeliest.",
        ),
    ]


def claims() -> list[Claim | Fact]:
    """The criteria for both of `JUDGED`, and the answer."""
    return [one for method in JUDGED for one in _claims(method)]


def _claims(method: str) -> list[Claim | Fact]:
    def claim(where: str, text: str, metric: str, *controls: str, is_equality: bool = False) -> Claim:
        words = f"{method} {text}"
        return Claim("Evidence", where, words, EXPERIMENT, metric, method, FAIR, controls, _PRESENT, is_equality)

    return [
        claim("(the lead)", "leads on lite0", "ins_del_lite0", COARSE),
        *(claim("1", f"leads on {name}", f"ins_del_{name}", COARSE) for name in OTHERS),
        *(claim("(DiffID)", f"leads on {name}", f"diff_id_{name}", COARSE) for name in OTHERS),
        Fact("Evidence", "2", f"{method} keeps half of its lead on other networks", _kept(method)),
        *(claim("3", f"leads with {fill}", f"ins_del_{fill}", COARSE) for fill in ("zero", "black")),
        claim("3", "is better by ROAD", "road", COARSE),
        *(claim("4", f"leads with noise of {level}", f"ins_del_noise{level}", COARSE) for level in (1, 8)),
        claim("5", "is not worse in mosaics", "mosaic_concentration", is_equality=True),
        claim("5", "is not worse in mosaics", "mosaic_pointing_game", is_equality=True),
        claim("6", "is not less stable", "stability", is_equality=True),
        Fact("Evidence", "(absent class)", f"{method} raises the class that it is asked for", _gains(method)),
    ]


def leads(rows: pd.DataFrame, method: str) -> dict[str, np.ndarray]:
    """Insertion - deletion of a method less that of IG from the same baselines, on every network, image by image."""
    present = rows[rows["asked"] == "present"]
    found = {}
    for name in ("lite0", *OTHERS):
        table = present.pivot(index="sample", columns="method", values=f"ins_del_{name}")
        found[name] = (table[method] - table[FAIR]).dropna().to_numpy()
    return found


def _rows_of(rows: Rows, method: str, asked: str) -> pd.DataFrame | None:
    table = rows.get(EXPERIMENT)
    if table is None or not {method, FAIR} <= set(table["method"][table["asked"] == asked]):
        return None
    return table


def _kept(method: str) -> Callable[[Rows], Finding | None]:
    def judge(rows: Rows) -> Finding | None:
        table = _rows_of(rows, method, "present")
        if table is None:
            return None
        lead = {name: float(values.mean()) for name, values in leads(table, method).items()}
        shares = [lead[name] / lead["lite0"] for name in OTHERS]
        number = "mean lead over IG " + ", ".join(f"{name} {value:+.2f}" for name, value in lead.items())
        number += f"; {' and '.join(f'{100 * share:.0f} %' for share in shares)} of it left"
        n = len(leads(table, method)["lite0"])
        if lead["lite0"] <= 0:
            return number, n, "no lead to keep", Kind.NOT_REPRODUCED
        if min(shares) >= LEFT:
            return number, n, "holds", Kind.HOLDS
        if max(shares) >= LEFT:
            return number, n, "holds on one of two", Kind.PARTLY
        return number, n, "not kept", Kind.NOT_REPRODUCED

    return judge


def _gains(method: str) -> Callable[[Rows], Finding | None]:
    """What the best inserted part of an image scores above the whole, for the class that is there and for another."""

    def judge(rows: Rows) -> Finding | None:
        table = _rows_of(rows, method, "absent")
        if table is None:
            return None
        chosen = table[table["method"] == method]
        means = chosen.groupby("asked")[[f"gain_{name}" for name in ("lite0", *OTHERS)]].mean()
        words = [
            f"{asked} class: "
            + ", ".join(f"{name} {means.loc[asked, f'gain_{name}']:+.1f}" for name in ("lite0", *OTHERS))
            for asked in ("present", "absent")
        ]
        n = int((chosen["asked"] == "absent").sum())
        return f"logits above the whole image, {'; '.join(words)}", n, "for comparison", Kind.COMPARISON

    return judge


def answer(judged: Sequence[Judged], rows: Rows) -> str:
    """Two sentences: what each of `JUDGED` is by the criteria, and what an absent class says; nothing without rows."""
    table = _rows_of(rows, JUDGED[0], "present")
    if table is None or _rows_of(rows, JUDGED[0], "absent") is None:
        return ""
    verdicts = [f"the order of {method} {_verdict(method, judged)}, {_transfer(table, method)}" for method in JUDGED]
    gains = table[(table["method"] == JUDGED[0]) & (table["asked"] == "absent")]
    own, *others = (float(gains[f"gain_{name}"].mean()) for name in ("lite0", *OTHERS))
    told = " and ".join(f"{value:+.1f} on {name}" for value, name in zip(others, OTHERS, strict=True))
    first = "; ".join(verdicts)
    return (
        f"{first[0].upper()}{first[1:]}. Asked for a class that is not in the image, {JUDGED[0]} finds a part of it "
        f"that scores this class {own:+.1f} logits above the whole image on lite0, {told}."
    )


def _transfer(table: pd.DataFrame, method: str) -> str:
    lead = {name: float(values.mean()) for name, values in leads(table, method).items()}
    left = " and ".join(f"{lead[name]:+.2f} on {name} ({100 * lead[name] / lead['lite0']:.0f} %)" for name in OTHERS)
    return f"whose lead over IG from the same baselines is {lead['lite0']:+.2f} on the network that it asked and {left}"


def _verdict(method: str, judged: Sequence[Judged]) -> str:
    """Evidence, an adversarial sub-image, or what it fails."""
    own = [one for one in judged if one.text.startswith(f"{method} ") and one.where in {"1", "2", "3", "4", "5", "6"}]
    missed = sorted({one.where for one in own if not _is_met(one)})
    elsewhere = [one.comparisons[0].side for one in own if one.where == "1"]
    if elsewhere and not any(side == "better" for side in elsewhere):
        return "is an adversarial sub-image by the criteria below"
    if not missed:
        return "is evidence by the criteria below"
    return f"is evidence in part, failing {'criterion' if len(missed) == 1 else 'criteria'} {', '.join(missed)} below"


def _is_met(one: Judged) -> bool:
    return one.kind in (Kind.HOLDS, Kind.NOT_CONTRADICTED)
