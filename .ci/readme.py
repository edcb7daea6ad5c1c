"""Run what a README shows: its python blocks in order as one program, then the commands of its sh blocks.

Commands that install something or were run before this script (make) are skipped; benchmarks run with --fast.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

SKIPPED = ("pip install", "make ", "git ")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run(command: list[str] | str, shown: str) -> None:
    start = time.perf_counter()
    subprocess.run(command, check=True, shell=isinstance(command, str))
    print(f"--- {shown}: {time.perf_counter() - start:.0f} s\n", flush=True)


def main() -> None:
    text = Path(sys.argv[1]).read_text()
    program = "\n".join(blocks(text, "python"))
    run([sys.executable, "-W", "error::UserWarning", "-c", program], "the python blocks")
    lines = [line.strip() for block in blocks(text, "sh") for line in block.splitlines()]
    commands = [line for line in lines if line and not line.startswith(("#", *SKIPPED)) and "pip install" not in line]
    for command in dict.fromkeys(commands):
        has_fast = "examples.benchmarks" in command or "examples.quantus_evaluation" in command
        fast = f"{command} --fast" if has_fast else command
        print(f"--- {fast}", flush=True)
        run(fast, fast)


if __name__ == "__main__":
    main()
