"""Processes that are killed at any moment, while they compute a run, save references or are a command of the shell."""

import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from captum_ext.dataset import DatasetAttributions
from captum_ext.exceptions import RunFolderError
from captum_ext.references import ReferenceDistribution
from tests.fuzz.base_folders import N_SAMPLES, base, rows, run, samples
from tests.fuzz.engine import Broken, Case, Outcome, in_child
from tests.integrations.cli.calls import FEW_STEPS, succeed

NAME = "kills"
MEGABYTES = 1500
SAYS = "a process that computes a run, saves references, explains or evaluates is killed at random moments"
COMMANDS = {
    "map": ["explain", "cat.png", *FEW_STEPS, "--out", "made/map.npy"],
    "picture": ["explain", "cat.png", *FEW_STEPS, "--out", "made/map.png"],
    "scores": ["evaluate", "photos", *FEW_STEPS, "--method", "ig", "--out", "made"],
}


def case(random, folder):
    """A run, or a save, and the moments at which it is killed."""
    base()
    moments = [random.uniform(0, 0.25) for _ in range(random.choice([1, 1, 2, 4]))]
    kind = random.choice([killed_run, killed_run, killed_save, *COMMANDS])
    if kind in COMMANDS:
        moments = [3 * moments[0]]  # of about a second
        return Case(f"{kind} killed after {moments} s", lambda: killed_command(folder, COMMANDS[kind], moments))
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


def killed_command(folder, command, moments):
    """What the command made is what it makes undisturbed, or is not there; called again, it makes the rest."""
    whole = made_by(tuple(command))
    photographs(folder)
    for moment in moments:
        killed(lambda: call_in(folder, command), moment)
        half = [name for name, content in made_in(folder).items() if whole.get(name) != content]
        if half:
            raise Broken(f"half written, or never to be written: {half}")
    in_child(lambda: call_in(folder, command), MEGABYTES)
    left = [path.name for path in (folder / "made").rglob("*") if ".tmp" in path.name]
    if made_in(folder) != whole or left:
        raise Broken(f"made {sorted(made_in(folder))}, left {left}")
    return Outcome.RIGHT


@lru_cache(maxsize=len(COMMANDS))
def made_by(command):
    """The files that an undisturbed command makes, by name."""
    with tempfile.TemporaryDirectory() as folder:
        photographs(Path(folder))
        before = os.getcwd()
        try:
            call_in(Path(folder), command)  # here, so that children need not import again what it imports
        finally:
            os.chdir(before)
        return made_in(Path(folder))


def made_in(folder):
    """Content of what a user sees; a run's folder has its own checks above."""
    paths = [path for path in (folder / "made").rglob("*") if path.suffix in (".npy", ".png", ".csv")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if not path.name.startswith(".")}


def photographs(folder):
    """A cat, and a folder of four others."""
    noise = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
    for place, name in enumerate(["cat.png", *(f"photos/{'ab'[place % 2]}/{place}.png" for place in range(4))]):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise[place]).save(folder / name)


def call_in(folder, command):
    os.chdir(folder)
    succeed(*command)


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
