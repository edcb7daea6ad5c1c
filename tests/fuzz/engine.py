"""A campaign: cases of several kinds in turn, each from its own seed, until the time is over.

A kind of case is a module with

    NAME: str, a key of the page
    SAYS: str, one line of what is tried
    def case(random: random.Random, folder: pathlib.Path) -> Case

A case is made from the random numbers alone, so that (kind, seed, number) repeats it. Its `run` raises `Broken` where
the product is wrong: another number without a word, an error that does not name the argument or the file, half of a
file, too much memory. It returns `Outcome.REFUSED` for a named error and `Outcome.RIGHT` for a right result.
"""

from __future__ import annotations

import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

SECONDS = 60  # of one case; more is a hang


class Outcome(str, Enum):
    """How a case ended that did not break."""

    RIGHT = "right"
    REFUSED = "refused by name"


class Broken(AssertionError):  # noqa: N818 (a verdict)
    """The product did something that it must not do."""


class Hang(BaseException):
    """A case that does not end; no `except Exception` of the product may catch it."""


@dataclass(frozen=True)
class Case:
    """Something to try.

    Attributes:
        about: what is tried, with all that is needed to try it by hand.
        run: tries it.
    """

    about: str
    run: Callable[[], Outcome]


@dataclass
class Counts:
    """What came of the cases of one kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """All cases."""
        return sum(self.outcomes.values()) + len(self.broken)


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise `Hang` in the block when it takes longer."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def random_of(kind: str, seed: int, number: int) -> random.Random:
    """The random numbers of one case."""
    return random.Random(f"{kind}:{seed}:{number}")


def try_case(kind: ModuleType, seed: int, number: int, counts: Counts) -> None:
    """One case of a kind."""
    with tempfile.TemporaryDirectory() as folder:
        about = "making the case"
        try:
            with time_limit(SECONDS), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                case = kind.case(random_of(kind.NAME, seed, number), Path(folder))
                about = case.about
                counts.outcomes[Outcome(case.run()).value] += 1
        except (Exception, Hang) as error:
            where = "" if isinstance(error, Broken) else "".join(traceback.format_exception(error)[-3:])
            counts.broken.append(f"{kind.NAME} {seed}:{number}: {about}: {type(error).__name__}: {error}\n{where}")


def campaign(kinds: list[ModuleType], seconds: float, seed: int, most: int | None = None) -> dict[str, Counts]:
    """Cases of all kinds in turn until the time is over, or `most` of each."""
    found = {kind.NAME: Counts() for kind in kinds}
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end and (most is None or number < most):
        for kind in kinds:
            if time.monotonic() < end:
                try_case(kind, seed, number, found[kind.NAME])
        number += 1
    return found


def in_child(work: Callable[[], Any], megabytes: int, seconds: int = SECONDS) -> Any:
    """What `work` returns in a process of its own, with a limit on the memory that it may grow by.

    Raises:
        Broken: it took more memory or time, or died.
        Exception: what `work` raised.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def run() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            result: tuple[str, Any] = ("returned", work())
        except BaseException as error:
            result = ("raised", error)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        try:
            there.send((*result, grown))
        except Exception:
            there.send(("raised", RuntimeError(f"{type(result[1]).__name__}: {result[1]}"), grown))

    process = context.Process(target=run)
    process.start()
    there.close()
    try:
        if not here.poll(seconds):
            raise Broken(f"no end after {seconds} s")
        kind, value, grown = here.recv()
    except EOFError as error:
        process.join()
        raise Broken(f"the process died with exit code {process.exitcode}") from error
    finally:
        if process.is_alive():
            process.kill()
        process.join()
    if grown > megabytes:
        raise Broken(f"{grown:.0f} MB of memory")
    if kind == "raised":
        raise value
    return value


def report(found: dict[str, Counts]) -> int:
    """Say what came of a campaign; the exit code."""
    for name, counts in found.items():
        parts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.outcomes.items()))
        print(f"{name}: {counts.tried} tried: {parts or 'none'}, {len(counts.broken)} broken")
        for line in counts.broken:
            print("  " + line.replace("\n", "\n    "), file=sys.stderr)
    return 1 if any(counts.broken for counts in found.values()) else 0
