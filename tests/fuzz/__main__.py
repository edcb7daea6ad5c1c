"""The campaign of `make fuzz`.

    python -m tests.fuzz [--minutes 15] [--seed 0] [--kinds KIND ...] [--only NUMBER] [--page PAGE]

`--kinds KIND --only NUMBER` repeats one case, as it is named in the output.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from tests.fuzz import engine
from tests.fuzz.kinds import KINDS
from tests.fuzz.robustness_page import page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=list(KINDS))
    parser.add_argument("--only", type=int, help="number of the one case to try")
    parser.add_argument("--page", type=Path, help="write the counts there")
    options = parser.parse_args()
    kinds = [KINDS[name] for name in options.kinds]
    if options.only is not None:
        found = {kind.NAME: engine.Counts() for kind in kinds}
        for kind in kinds:
            engine.try_case(kind, options.seed, options.only, found[kind.NAME])
    else:
        found = engine.campaign(kinds, 60 * options.minutes, options.seed)
    if options.page:
        options.page.write_text(page(found, options.minutes, options.seed))
    return engine.report(found)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    sys.exit(main())
