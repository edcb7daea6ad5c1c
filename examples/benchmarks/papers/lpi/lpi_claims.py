"""Tables and claims of the LPI paper."""

from __future__ import annotations

from examples.benchmarks.engine.claims import Claim, Fact
from examples.benchmarks.engine.networks import on_all_lite
from examples.benchmarks.engine.tables import View
from examples.benchmarks.papers.lpi.lpi_methods import GRADIENTS

_GAMES = ("insertion_mean", "deletion_mean", "diff_id", "diff_id_accuracy", "relative_gap")
_CONTROLS = ("random", "gradient", "gradient x input", "IG (zero)", "IG (black)", "IG (mean)", "IG (blur)")
_NOTE = (
    "Twenty gradients each; references are never images that are explained. The paper's own numbers are averages over "
    "50,000 ImageNet images with a pool of 1.28 million; ours are small: read n and the intervals."
)
#: Experiment and its numbers of neighbourhoods beside one. The first is what the claims are about: the paper's nine on
#: ImageNet, and one for each class of the digits.
DATA = {
    **dict.fromkeys(on_all_lite("paths-imagenet20"), (9, 4, 7)),
    **dict.fromkeys(("paths-digits", "paths-mnist20"), (10, 2, 3, 4, 5, 7, 30)),
}
_GREY = ("paths-digits", "paths-mnist20")  # where zero is black


def views(data: dict[str, tuple[int, ...]] | None = None) -> list[View]:
    """Table 1 with Figures 3 and 4, and both sides of Figure 6."""
    all_views = []
    for experiment, neighborhoods in (DATA if data is None else data).items():
        name, main = experiment.removeprefix("paths-"), neighborhoods[0]
        ours = ("EG", *(f"LPI, {n} n." for n in sorted((1, *neighborhoods))))
        equal = ("LPI, 1 n., equal densities", f"LPI, {main} n., equal densities")
        all_views.append(
            View(
                f"lpi-{name}",
                f"LPI, Table 1 and Figures 3, 4 and 6 (right): {name}",
                experiment,
                _GAMES,
                "EG",
                (*_CONTROLS, "IG (zero, adaptive)", *ours, *equal, "GradientShap", "AGI", "AGI, paper"),
                note=f'{_NOTE} "n." are neighbourhoods.',
                plotted="diff_id",
                curve="diff_id",
            )
        )
        by_budget = [
            f"{method}{', ' + str(count) + ' gradients' if count else ''}"
            for method in ("IG (zero)", "EG", "LPI, 1 n.", f"LPI, {main} n.")
            for count in (*GRADIENTS[:2], None, *GRADIENTS[2:])
        ]
        all_views.append(
            View(
                f"lpi-{name}-gradients",
                f"LPI, Figure 6 (left): {name}, numbers of gradients",
                experiment,
                ("diff_id", "diff_id_accuracy", "relative_gap"),
                "EG",
                tuple(by_budget),
                note="Names without a number have 20 gradients.",
            )
        )
    return all_views


def claims(data: dict[str, tuple[int, ...]] | None = None) -> list[Claim | Fact]:
    """What the paper says, on every data set."""
    all_claims: list[Claim | Fact] = []
    for experiment, (main, *others) in (DATA if data is None else data).items():

        def claim(where: str, text: str, metric: str, method: str, against: str, *controls: str) -> Claim:
            return Claim("LPI", where, text, experiment, metric, method, against, controls)  # noqa: B023

        other = () if experiment in _GREY else ("IG (zero)",)
        for name in ("LPI, 1 n.", f"LPI, {main} n."):
            all_claims += [
                claim("Figures 3, 4", f"{name} > EG", "diff_id", name, "EG"),
                claim("Table 1", f"{name} > EG", "insertion_mean", name, "EG"),
                claim("Table 1", f"{name} < EG", "deletion_mean", name, "EG"),
                claim("Figures 3, 4", f"{name} > IG from zero", "diff_id", name, "IG (zero)", "IG (mean)"),
            ]
        all_claims += [
            claim("Figures 3, 4", "EG > IG from black", "diff_id", "EG", "IG (black)", *other, "IG (mean)"),
            claim("Figure 6, left", "LPI with 5 gradients > EG with 20", "diff_id", "LPI, 1 n., 5 gradients", "EG"),
            *(
                Claim(
                    "LPI",
                    "Figure 6, right",
                    f"{n} neighbourhoods are as good as 1",
                    experiment,
                    "diff_id",
                    f"LPI, {n} n.",
                    "LPI, 1 n.",
                    is_equality=True,
                )
                for n in (main, *others)
            ),
            claim(
                "(ours)",
                "densities are better than equal weights",
                "diff_id",
                "LPI, 1 n.",
                "LPI, 1 n., equal densities",
            ),
        ]
    return all_claims
