"""The runner: experiments are divided into parts, parts are explained by worker processes and kept on disk."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import threadpoolctl
import torch
from tqdm import tqdm

from captum_ext.core.memory import keep_freed_memory
from captum_ext.core.text import shown
from examples.benchmarks.engine.store import Row, Store, made_on

THREADS = 1  # of each worker, so that results do not depend on how many there are


@dataclass(frozen=True)
class Options:
    """What a run was asked for.

    Attributes:
        output: folder for rows, trained networks and the report.
        fast: small sizes that show that everything works.
        seed: of everything random.
        data: images instead of the offline ones (see `load_samples`), explained by `network`.
        network: see `load_network`.
        weights: file with weights of `network`.
        n_classes: outputs of `network`.
        limit: how many of these images.
        device: where networks of photographs run; the small ones that are trained here run on the CPU.
        methods: classes of the caller's own, MODULE:CLASS, beside the path methods.
    """

    output: Path
    fast: bool = False
    seed: int = 0
    data: str | None = None
    network: str = "efficientnet-lite0"
    weights: Path | None = None
    n_classes: int = 1000
    limit: int = 100
    device: str = "cpu"
    methods: tuple[str, ...] = ()

    @property
    def network_settings(self) -> dict[str, Any]:
        """The network, with the contents of its file of weights."""
        settings = {"network": self.network, "n_classes": self.n_classes}
        if self.weights is None or not self.weights.is_file():
            return settings
        return settings | {"weights": _fingerprint(self.weights)}

    def seed_of(self, index: int) -> int:
        """Seed of an image, from its index in the data set; not the package's `seed_of`, since kept rows have these."""
        return self.seed * 1_000_003 + index

    @property
    def cache(self) -> Path:
        """Folder of trained networks."""
        return self.output / "networks"


@cache
def _fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


class Experiment(Protocol):
    """Something to measure, in parts that do not depend on each other."""

    @property
    def name(self) -> str:
        """Folder of its rows."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What its rows depend on beside the code."""
        ...

    @property
    def size(self) -> str:
        """The same in words, as far as readers want to know."""
        ...

    @property
    def device(self) -> str:
        """Where its networks run."""
        ...

    def prepare(self) -> None:
        """Do what takes long and is done once, before the parts: training."""
        ...

    def parts(self) -> list[str]:
        """Names of the parts."""
        ...

    def run(self, part: str) -> list[Row]:
        """The rows of a part. A method that fails leaves a row with "error" instead of numbers."""
        ...


Build = Callable[[Options], Sequence[Experiment]]


@dataclass(frozen=True)
class Failure:
    """What went wrong in a part: in one method, or in the whole part, which then has no rows."""

    part: str
    what: str


def lines_of(failures: Sequence[Failure]) -> list[str]:
    """A line for each thing that went wrong in an experiment, and where; of long messages the end."""
    parts: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        words = " ".join(failure.what.split())
        shown = words if len(words) < 200 else "... " + words[-200:]
        parts.setdefault((failure.part.partition("/")[0], shown), []).append(failure.part)
    return [
        f"{names[0]}: {what}" if len(names) == 1 else f"{experiment}: {what} ({len(names)} parts, such as {names[0]})"
        for (experiment, what), names in parts.items()
    ]


def store_of(experiment: Experiment, options: Options) -> Store:
    """Where the rows of an experiment are."""
    shared = {"seed": options.seed, "fast": options.fast, "threads": THREADS}
    return Store(options.output / "rows", {**experiment.settings, **shared})


def parts_of(experiment: Experiment) -> list[str]:
    """Names of the parts in the store."""
    return [f"{experiment.name}/{part}" for part in experiment.parts()]


def count_done(experiments: Sequence[Experiment], options: Options) -> int:
    """How many parts are there."""
    return sum(store_of(one, options).has(part) for one in experiments for part in parts_of(one))


def run(build: Build, options: Options, workers: int, retry_failed: bool = False) -> list[Failure]:
    """Run the parts that are not there yet, and return what failed, now or in the parts that were there.

    With `retry_failed` the parts in which a method failed are run again, too.

    Raises:
        OSError: a file cannot be written. The parts that were finished are kept.
    """
    experiments = build(options)
    todo = [_missing(experiment, options, retry_failed) for experiment in experiments]
    failures = []
    total, missing = sum(len(experiment.parts()) for experiment in experiments), sum(len(names) for names in todo)
    with tqdm(total=total, initial=total - missing, unit="part", desc="benchmark") as bar:
        for place, (experiment, names) in enumerate(zip(experiments, todo, strict=True)):
            for name, outcome in _outcomes(build, options, place, names, workers):
                part = f"{experiment.name}/{name}"
                bar.set_postfix_str(part)
                bar.update()
                if isinstance(outcome, str):
                    failures.append(Failure(part, outcome))
                    tqdm.write("\n".join(map(shown, [f"{part} failed:", *outcome.splitlines()])))
                else:
                    store_of(experiment, options).save(part, outcome, made_on(experiment.device))
    return failures + [failure for experiment in experiments for failure in recorded_failures(experiment, options)]


def _missing(experiment: Experiment, options: Options, retry_failed: bool) -> list[str]:
    """Parts to run."""
    store = store_of(experiment, options)
    failed = {failure.part for failure in recorded_failures(experiment, options)} if retry_failed else set()
    names = {name: f"{experiment.name}/{name}" for name in experiment.parts()}
    return [name for name, part in names.items() if part in failed or not store.has(part)]


def recorded_failures(experiment: Experiment, options: Options) -> Iterator[Failure]:
    """Methods that failed on some images, as the rows on disk say."""
    store = store_of(experiment, options)
    for part in parts_of(experiment):
        rows = store.rows(part)
        if rows is not None and "error" in rows:
            names = [column for column in ("cam", "method") if column in rows]
            for _, row in rows[rows["error"].notna()].drop_duplicates([*names, "error"]).iterrows():
                yield Failure(part, f"{', '.join(row[name] for name in names)}: {row['error']}")


_Outcome = list[Row] | str  # rows, or the traceback of a part that failed


def _outcomes(
    build: Build, options: Options, place: int, names: Sequence[str], workers: int
) -> Iterator[tuple[str, _Outcome]]:
    """Outcomes of parts of an experiment, as they come.

    Every experiment has new processes, and training one of its own, so that none keeps the memory of those before.
    """
    if not names:
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, _start_worker, (build, options, None)) as pool:
        pool.submit(_prepare, place).result()
    with ProcessPoolExecutor(workers, spawn, _start_worker, (build, options, THREADS)) as pool:
        futures: dict[Future[_Outcome], str] = {pool.submit(_run_part, place, name): name for name in names}
        try:
            for future in as_completed(futures):
                yield futures.pop(future), future.result()  # rows are not kept here
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_experiments: Sequence[Experiment] = ()


def _start_worker(build: Build, options: Options, threads: int | None) -> None:
    global _experiments
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    torch.backends.cudnn.allow_tf32 = False  # a GPU's numbers are those of the CPU, up to rounding
    if threads is not None:
        torch.set_num_threads(threads)
        threadpoolctl.threadpool_limits(threads)  # clustering sums in the order in which threads come
    _experiments = build(options)


def _prepare(place: int) -> None:
    _experiments[place].prepare()


def _end_with_parent() -> None:
    """Do not wait for work for ever when the run was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_part(place: int, part: str) -> _Outcome:
    try:
        return _experiments[place].run(part)
    except Exception:
        return traceback.format_exc()
