"""The desiderata of the USU paper (its Table 2), measured for every upsampler, nearest-neighbour included.

python -m examples.benchmarks.measurements.desiderata
"""

from __future__ import annotations

import argparse
from typing import Any

from captum_ext import USU, InterpolationUpsampler, check_desiderata
from examples.benchmarks.engine.reporting import print_table

UPSAMPLERS: dict[str, Any] = {
    **{mode: InterpolationUpsampler(mode) for mode in ("nearest", "bilinear", "bicubic", "lanczos")},
    "USU": USU(),
    "USU, paper": USU.paper(),
    "USU, power potential": USU(potential="power"),
    "USU, log-odds potential": USU(potential="log-odds"),
    "USU, global-mass": USU(redistribution="global-mass"),
    "USU, global-area": USU(redistribution="global-area"),
    "IWMR, paper": USU.iwmr(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    n_cases = 4 if parser.parse_args().fast else 32
    rows = []
    for name, upsampler in UPSAMPLERS.items():
        report = check_desiderata(upsampler, size=(56, 56), n_cases=n_cases)
        measured = (report.d1, report.d2, report.d3, report.d4, report.d1_g, report.d4_prime)
        marks = [f"{'yes' if d.satisfied else 'no'} ({d.error:.1e})" for d in measured]
        rows.append([name, *marks, report.alpha, report.beta, report.mass_excess, report.mass_deficit])
    print_table(
        f"{n_cases} random cases: satisfied (error); alpha and beta errors, mass excess and deficit as shares",
        ["upsampler", "D1", "D2", "D3", "D4", "D1-G", "D4'", "alpha", "beta", "excess", "deficit"],
        rows,
    )


if __name__ == "__main__":
    main()
