"""Run what a README shows: its python blocks in order as one program, and the commands of its sh blocks.

Commands of a block run in order, blocks beside each other: nothing is timed here. Commands that install something or
were run before this script (make) are skipped; benchmarks run with --fast.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

SKIPPED = ("#", "pip install", "make ", "git ")
HAS_FAST = ("examples.benchmarks", "examples.quantus_evaluation")
AT_ONCE = 2


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    lines = [line.strip() for line in block.splitlines()]
    chosen = [line for line in lines if line and not line.startswith(SKIPPED) and "pip install" not in line]
    return [f"{line} --fast" if any(name in line for name in HAS_FAST) else line for line in chosen]


def run(block: Sequence[str | list[str]]) -> None:
    """Commands one after the other, each with its output in one piece and its share of the cores."""
    threads = str(max(1, (os.cpu_count() or 1) // AT_ONCE))
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    for command in block:
        start = time.perf_counter()
        found = subprocess.run(
            command,
            shell=isinstance(command, str),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        shown = command if isinstance(command, str) else "the python blocks"
        print(f"{found.stdout}--- {shown}: {time.perf_counter() - start:.0f} s\n", flush=True)
        found.check_returncode()


def main() -> None:
    text = Path(sys.argv[1]).read_text()
    program = [sys.executable, "-W", "error::UserWarning", "-c", "\n".join(blocks(text, "python"))]
    todo = [[program], *filter(None, map(commands, blocks(text, "sh")))]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for one in as_completed([pool.submit(run, block) for block in todo]):
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


if __name__ == "__main__":
    main()
