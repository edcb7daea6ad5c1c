"""The page of runs over 50,000 images: how long it takes to open, to sort and to compare, and how much memory it takes.

python -m examples.benchmarks.measurements.viewing [--samples 50000] [--starts 5] [--folder FOLDER]

The rows and maps are random numbers: what is in them does not matter to the page. Two runs take about 550 MB on disk.
The first view is from the command to the first map, the best of several starts: whoever else works on the machine makes
it longer. The processor's time until then is that of the server.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from captum_ext.dataset.shards import RunFolder
from captum_ext_integrations.viewer import html
from examples.benchmarks.engine.reporting import print_table

SIDE, ROWS_OF_A_FILE = 56, 256
NUMBERS = ("score", "delta", "insertion", "deletion", "diff_id")


def write_run(folder: Path, n_samples: int, seed: int) -> None:
    """A run as `captum-ext run --size 56` writes it, with random numbers."""
    chance = np.random.default_rng(seed)
    run = RunFolder(folder)
    dataset = {"class": "ImageFolder", "n_samples": n_samples, "files": "0123456789abcdef"}
    about = {
        "method": {"class": f"random {seed}"},
        "model": "none",
        "target": "label",
        "seed": seed,
        "dataset": dataset,
    }
    done = run.begin({**about, "fields": ["prediction", "map", *NUMBERS]}, n_samples, True)
    for start in range(0, n_samples, ROWS_OF_A_FILE):
        index = np.arange(start, min(start + ROWS_OF_A_FILE, n_samples))
        classes = {name: chance.integers(0, 1000, len(index)) for name in ("target", "prediction")}
        numbers = {name: chance.normal(size=len(index)) for name in NUMBERS}
        maps = chance.uniform(-1, 1, (len(index), SIDE, SIDE)).astype(np.float16)
        scale = np.abs(chance.normal(size=len(index))).astype(np.float32)
        names = np.array([f"n{one % 1000:08d}/ILSVRC2012_val_{one:08d}.JPEG" for one in index], dtype=object)
        run.write({"index": index, "name": names, **classes, **numbers, "map": maps, "map_scale": scale})
        done[index] = True
    run.finish_manifest(done, [])


class Client:
    """Requests to a page, and the memory of the process that serves it."""

    def __init__(self, folders: list[Path]) -> None:
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "captum_ext_integrations.cli", "view", *map(str, folders)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None  # noqa: S101 (for the type checker)
        text = ""
        while (found := re.search(r"http://\S+/", text)) is None:
            text = self._process.stdout.readline()
        self.address = urlsplit(found[0])
        self.get("")
        self.get("api/rows")
        self.get("api/map/0/0")
        self.first_view = time.perf_counter() - began
        self.processor = self._seconds_of_processor()

    def get(self, path: str) -> bytes:
        """An answer."""
        connection = HTTPConnection(self.address.hostname or "", self.address.port, timeout=300)
        connection.request("GET", self.address.path + path, headers={"Host": self.address.netloc})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {content[:200]!r}")
        return content

    def seconds(self, path: str) -> float:
        """How long an answer takes."""
        began = time.perf_counter()
        self.get(path)
        return time.perf_counter() - began

    def megabytes(self) -> float:
        """The most memory that the process has held."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+)", status)
        return int(found[1]) / 1024 if found else float("nan")

    def _seconds_of_processor(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def page_bytes(self) -> int:
        """All that a browser is sent for the first view, without photographs and maps."""
        return sum(
            len(self.get(path)) for path in ("", "api/about", "api/rows", *(f"static/{one}" for one in html.STATIC))
        )

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


def looked_through(folders: list[Path], n_starts: int) -> list[object]:
    """First view, slowest sorting while maps are compared and after that, seconds of comparing, memory, the page."""
    views = []
    for _ in range(n_starts - 1):
        client = Client(folders)
        views.append((client.first_view, client.processor))
        client.close()
    client = Client(folders)
    views.append((client.first_view, client.processor))
    try:
        about: dict[str, Any] = json.loads(client.get("api/about"))
        columns = [one["key"] for one in about["columns"]]
        slowest = max(client.seconds(f"api/rows?sort={key}&descending=1") for key in columns)
        began = time.perf_counter()
        while json.loads(client.get("api/about"))["compared"] < 1:
            time.sleep(2)
        compared = time.perf_counter() - began if len(folders) > 1 else float("nan")
        after = max(client.seconds(f"api/rows?sort={key}&name=ILSVRC") for key in columns)
        kilobytes = client.page_bytes() / 1000
        return [len(folders), *min(views), slowest, after, compared, round(client.megabytes()), round(kilobytes)]
    finally:
        client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, help="of the two runs, which are kept; without: a temporary one")
    parser.add_argument("--starts", type=int, default=5, help="of the page, the best of which counts")
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    n_samples = 600 if options.fast else options.samples
    with tempfile.TemporaryDirectory() as temporary:
        root = options.folder or Path(temporary)
        folders = [root / name for name in ("first", "second")]
        for seed, folder in enumerate(folders):
            if not folder.exists():
                write_run(folder, n_samples, seed)
        before = os.getloadavg()[0]
        rows = [looked_through(folders[:count], options.starts) for count in (1, 2)]
    header = ["runs", "first view, s", "of a processor, s", "sort, s (slowest column)", "the same with a filter, s"]
    header += ["comparing, s", "MB", "page, kB"]
    print_table(f"{n_samples:,} rows with {SIDE} x {SIDE} maps, best of {options.starts} starts", header, rows)
    print(f"load of the machine before and after: {before:.1f}, {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
