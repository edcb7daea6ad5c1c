"""Run what pages show: the python blocks of each in order as one program, and the commands of its sh blocks.

    python .ci/readme.py README.md docs/start.md ...

All programs run in one process, each in a namespace of its own: a page stands alone, and torch is imported once.
Commands of a block run in order, blocks beside each other: nothing is timed here. Commands that install something or
were run before this script (make) are skipped, and so are benchmarks. Blocks of other languages (py, bash,
console) are shown and not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import types
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

SKIPPED = ("#", "pip install", "make ", "git ")
MEASURED = "examples.benchmarks"  # what takes hours; a test looks whether such commands exist
HAS_FAST = ("examples.quantus_evaluation",)
AT_ONCE = 2
PROGRAMS = "--programs"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    lines = [line.strip() for line in block.splitlines()]
    chosen = [
        line
        for line in lines
        if line and not line.startswith(SKIPPED) and "pip install" not in line and MEASURED not in line
    ]
    return [f"{line} --fast" if any(name in line for name in HAS_FAST) else line for line in chosen]


def run_programs(paths: Sequence[str]) -> None:
    """The python blocks of each page, in this process."""
    sys.path.insert(0, os.getcwd())
    warnings.simplefilter("error", UserWarning)
    for path in paths:
        start = time.perf_counter()
        source = "\n".join(blocks(Path(path).read_text(), "python"))
        if source:
            page = sys.modules["__main__"] = types.ModuleType("__main__")  # classes of a page are pickled by name
            exec(compile(source, f"<python blocks of {path}>", "exec"), vars(page))
            print(f"--- {path}, python: {time.perf_counter() - start:.0f} s\n", flush=True)


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
        shown = command if isinstance(command, str) else "python blocks"
        print(f"{found.stdout}--- {shown}: {time.perf_counter() - start:.0f} s\n", flush=True)
        found.check_returncode()


def main(paths: list[str]) -> None:
    todo: list[list[str | list[str]]] = [[[sys.executable, __file__, PROGRAMS, *paths]]]
    for path in paths:
        todo += [list(chosen) for block in blocks(Path(path).read_text(), "sh") if (chosen := commands(block))]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for one in as_completed([pool.submit(run, block) for block in todo]):
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


if __name__ == "__main__":
    if PROGRAMS in sys.argv:
        run_programs(sys.argv[2:])
    else:
        main(sys.argv[1:])
