"""Table 2: which of the four desiderata every upsampler satisfies, on random cases."""

from __future__ import annotations

from typing import Any

from captum_ext import USU, InterpolationUpsampler, check_desiderata
from examples.benchmarks.engine.experiment import Options
from examples.benchmarks.engine.store import Row

UPSAMPLERS: dict[str, Any] = {
    **{mode: InterpolationUpsampler(mode) for mode in ("nearest", "bilinear", "bicubic", "lanczos")},
    "USU": USU(),
    "USU, power potential": USU(potential="power"),
    "USU, log-odds potential": USU(potential="log-odds"),
    "IWMR by mass": USU(redistribution="global-mass"),
    "USU, paper": USU.paper(),
    "USU, paper, fixed": USU.fixed(),
    "IWMR, paper": USU.iwmr(),
}
NAMES = {"d1": "D1", "d2": "D2", "d3": "D3", "d4": "D4"}
WEAKER = {"d1_g": "D1-G", "d4_prime": "D4'"}  # what theorem 6 leaves to the global redistribution


class Axioms:
    """Random coarse maps and scores, 7 x 7 to 56 x 56."""

    def __init__(self, options: Options) -> None:
        self.n_cases, self.seed = 4 if options.fast else 32, options.seed

    @property
    def name(self) -> str:
        """Folder of its rows."""
        return "usu-axioms"

    @property
    def settings(self) -> dict[str, Any]:
        """Numbers of cases."""
        return {"cases": self.n_cases, "upsamplers": list(UPSAMPLERS), "desiderata": [*NAMES, *WEAKER]}

    @property
    def size(self) -> str:
        """In words."""
        return f"{self.n_cases} random cases"

    @property
    def device(self) -> str:
        """There is no network."""
        return "cpu"

    def prepare(self) -> None:
        """Nothing."""

    def parts(self) -> list[str]:
        """One."""
        return ["0000"]

    def run(self, part: str) -> list[Row]:
        """A row for each upsampler: whether it satisfies each desideratum, and by how much it misses it."""
        rows: list[Row] = []
        for method, upsampler in UPSAMPLERS.items():
            report = check_desiderata(upsampler, size=(56, 56), n_cases=self.n_cases, seed=self.seed)
            row: Row = {"method": method, "sample": int(part), "cases": self.n_cases}
            for name in (*NAMES, *WEAKER):
                desideratum = getattr(report, name)
                row |= {name: bool(desideratum.satisfied), f"{name}_missed_by": float(desideratum.error)}
            rows.append(row)
        return rows
