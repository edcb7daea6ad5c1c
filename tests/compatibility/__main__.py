"""The table of compatibility.

python -m tests.compatibility [--only WORD ...] [--page docs/models.md]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from tests.compatibility.networks import networks
from tests.compatibility.table import examine, page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="words, of which the row's library and name have one")
    parser.add_argument("--page", type=Path, help="write the page there")
    options = parser.parse_args()
    rows = []
    for network in networks():
        if options.only and not any(word in f"{network.library} {network.name}" for word in options.only):
            continue
        rows.append(examine(network))
        print(rows[-1].line, *rows[-1].reasons.items(), sep="\n  ", flush=True)
    if options.page:
        options.page.write_text(page(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
