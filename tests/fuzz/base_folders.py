"""One finished run, copied for every case that damages one, and what has to come of it: its rows, or a named error."""

import os
import shutil
import tempfile
import warnings
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from torch.utils.data import Dataset

from captum_ext.attr import ExpectedGradients
from captum_ext.dataset import DatasetAttributions, RunOptions, attribute_dataset
from captum_ext.exceptions import CaptumExtError
from tests.dataset.toy import Bent
from tests.fuzz.engine import Broken, Outcome

N_SAMPLES = 24
PRECIOUS = b"a file of the user's, which nothing may touch"


class Files(Dataset):
    """A folder of files, each of which holds a number: image i is filled with it."""

    def __init__(self, root, sleep=None):
        self.root, self.sleep = str(root), sleep
        self.samples = [(str(root / f"{place:02d}.txt"), 0) for place in range(N_SAMPLES)]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        if self.sleep is not None:
            self.sleep()
        with open(self.samples[index][0]) as file:
            return torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]) * float(file.read()), index % 2


def method(seed=0):
    references = torch.randn(3, 2, 2, 1, generator=torch.Generator().manual_seed(seed))
    return ExpectedGradients(Bent(), references=references)


def run(root, out, sleep=None, **changed):
    """The run, from the beginning or from where it is."""
    options = RunOptions(batch_size=4, shard_rows=4, show_progress=False, **changed)
    return attribute_dataset(method(), Files(root, sleep), out, target="label", run=options)


@lru_cache(maxsize=1)
def base():
    """Folder of the samples, of a finished run, and of one with another seed; and the rows of the first."""
    home = tempfile.TemporaryDirectory()
    root = Path(home.name) / "samples"
    root.mkdir()
    for place in range(N_SAMPLES):
        (root / f"{place:02d}.txt").write_text(str((place + 1) / N_SAMPLES))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(root, root.parent / "out")
        run(root, root.parent / "other", seed=1)
    return home, root, root.parent / "out", root.parent / "other", rows(root.parent / "out")


def samples():
    return base()[1]


def copied(folder):
    """A finished run of one's own, beside a file of the user's."""
    out = folder / "run"
    shutil.copytree(base()[2], out)
    (folder / "precious").write_bytes(PRECIOUS)
    return out


def rows(out):
    """All that can be read."""
    found = DatasetAttributions(out)
    stored = {
        index: values for part in found.batches() for index, values in zip(*(t.tolist() for t in part), strict=True)
    }
    return {
        "n": len(found),
        "table": found.table().to_pydict(),
        "maps": found.maps().tolist(),
        "stored maps": found.table(["index", "map"]).num_rows,
        "some": found.maps([N_SAMPLES - 1, 0]).tolist(),
        "stored": stored,
    }


@contextmanager
def refused_by_name(*names):
    """Yields a list that gets the error, if there is one, which has to be ours and to name a file."""
    errors = []
    try:
        yield errors
    except CaptumExtError as error:
        if not any(str(name) in str(error) for name in names):
            raise Broken(f"the error names no file: {type(error).__name__}: {error}") from error
        errors.append(error)
    except Broken:
        raise
    except Exception as error:
        raise Broken(f"an error from the depths: {type(error).__name__}: {str(error)[:300]}") from error


def judged(out, *, ours=True):
    """Read a damaged run and let it go on: right numbers, or errors that name the file.

    `ours`: whether the digests in it are those that we wrote, so that other numbers are noticed.
    """
    right, names = base()[-1], (out, "`fields`", "`columns`", "`indices`", "`map_format`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with refused_by_name(*names) as unread:
            found = rows(out)
            if ours and found != right:
                raise Broken(f"other numbers without a word: {differences(found, right)}")
        with refused_by_name(*names) as not_resumed:
            run(samples(), out)
            found = rows(out)
            if ours and found != right:
                raise Broken(f"other numbers after the run went on: {differences(found, right)}")
    check_precious(out.parent)
    return Outcome.REFUSED if unread or not_resumed else Outcome.RIGHT


def check_precious(folder):
    if (folder / "precious").read_bytes() != PRECIOUS:
        raise Broken("a file of the user's was changed")


def differences(found, right):
    return [name for name in right if found[name] != right[name]]


def no_file(random, path, folder):
    """Put something that is no file of ours in the place of a file; says what."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    moved = folder / "moved"
    if os.path.lexists(path):
        path.replace(moved)
    kind = random.choice(["link to itself", "dangling link", "link to its content", "link", "pipe", "folder", "socket"])
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
        (path / "again").symlink_to(path)
    elif kind == "socket":
        os.mknod(path, 0o140644)
    else:
        targets = {"link to itself": path, "dangling link": folder / "nothing", "link to its content": moved}
        path.symlink_to(targets.get(kind, folder / "precious"))
    return kind
