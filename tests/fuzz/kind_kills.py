"""Processes that are killed at any moment, while they compute a run or save references."""

import contextlib
import multiprocessing
import os
import signal
import time
import warnings

import torch

from captum_ext.dataset import DatasetAttributions
from captum_ext.exceptions import RunFolderError
from captum_ext.references import ReferenceDistribution
from tests.fuzz.base_folders import N_SAMPLES, base, rows, run, samples
from tests.fuzz.engine import Broken, Case, Outcome

NAME = "kills"
SAYS = "a process that computes a run, or saves references, is killed at a random moment, once or several times"


def case(random, folder):
    """A run, or a save, and the moments at which it is killed."""
    base()
    moments = [random.uniform(0, 0.25) for _ in range(random.choice([1, 1, 2, 4]))]
    kind = random.choice([killed_run, killed_run, killed_save])
    return Case(f"{kind.__name__} after {moments} s", lambda: kind(folder, moments))


def killed_run(folder, moments):
    """What is in the folder after each kill is whole, and in the end the rows are those of an undisturbed run."""
    out = folder / "out"
    n_done = 0
    for moment in moments:
        killed(lambda: run(samples(), out, sleep=lambda: time.sleep(0.005)), moment)
        n_done = check_whole(out, n_done)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is damaged
        run(samples(), out)
    if rows(out) != base()[-1]:
        raise Broken("the rows of the run that went on are others")
    left = [path.name for path in out.iterdir() if ".tmp" in path.name or path.suffix == ".damaged"]
    if left:
        raise Broken(f"left behind: {left}")
    return Outcome.RIGHT


def check_whole(out, n_before):
    """Rows that are there are right, and no fewer than before; their number."""
    right = base()[-1]
    try:
        found = DatasetAttributions(out)
    except RunFolderError:
        if list(out.glob("rows-*")):
            raise Broken("shards without a manifest") from None
        return 0
    index = found.table(["index"])["index"].to_pylist() if list(out.glob("rows-*")) else []
    if not n_before <= len(index) <= N_SAMPLES:
        raise Broken(f"{len(index)} rows after {n_before}")
    if index and found.maps(index).tolist() != [right["maps"][place] for place in index]:
        raise Broken("half of a row")
    return len(index)


def references(factor):
    return ReferenceDistribution(
        [torch.full((2, 3, 200, 200), float(factor))], [torch.tensor([0.5, 0.5])], torch.zeros(1, 4)
    )


def killed_save(folder, moments):
    """The file is that of one save or of another, and the next save leaves nothing beside it."""
    path = folder / "new" / "references.safetensors"

    def saving():
        for factor in range(10**6):
            references(factor).save(path, overwrite=True)

    for moment in moments:
        killed(saving, moment)
        if not path.exists():
            continue
        values = ReferenceDistribution.load(path).references[0]
        if not torch.equal(values, references(values[0, 0, 0, 0].item()).references[0]):
            raise Broken("half of one save and half of another")
    references(1).save(path, overwrite=True)
    if [one.name for one in path.parent.iterdir()] != [path.name]:
        raise Broken(f"left behind: {[one.name for one in path.parent.iterdir()]}")
    return Outcome.RIGHT


def killed(work, seconds):
    """Do `work` in a process of its own, and kill it."""

    def quiet():
        with open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):
            work()

    process = multiprocessing.get_context("fork").Process(target=quiet)
    process.start()
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
