"""Which samples of several runs are the same: all of them, or those of the same name."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captum_ext.dataset.file_marks import MARKS, read_marks
from captum_ext.exceptions import ArgumentError, RunFolderError
from captum_ext_integrations.viewer.run_rows import RunRows


def match(runs: Sequence[RunRows], labels: Sequence[str]) -> str:
    """Bring runs to the same samples, and say what was left out or is taken for granted.

    Runs over the same files are left as they are. Of others, such as with another `--limit`, those samples are kept
    whose name all runs have, under the numbers of the first run; not those of which the file is known to be another
    one, by its size and its beginning. A name that a run has twice is none.

    Raises:
        ArgumentError: there is no such sample.
    """
    files = [dict(run.manifest["configuration"].get("dataset") or {}).get("files") for run in runs]
    known = {one for one in files if one is not None}
    if len({run.n_samples for run in runs}) == 1 and len(known) < 2:
        granted = len(runs) > 1 and None in files
        said = "The runs have no names of files: that they are over the same samples is taken for granted."
        return said if granted else ""
    named = [_by_name(run) for run in runs]
    common = [name for name in named[0] if all(name in one for one in named[1:])]
    marks = [_marks(run) for run in runs] if common else []
    same = [name for name in common if _is_same([one[at[name]] for one, at in zip(marks, named, strict=True)])]
    sizes = ", ".join(f"{label} of {run.n_samples:,}" for label, run in zip(labels, runs, strict=True))
    others = f"; {len(common) - len(same):,} of the same name are other files" if len(same) < len(common) else ""
    if not same:
        received = f"runs over others ({sizes}) without a sample in common{others}"
        raise ArgumentError("runs", f"over the same samples as {labels[0]}, or some of them", received)
    for run, at in zip(runs, named, strict=True):
        run.renumber({at[name]: named[0][name] for name in same})
    return (
        f"The runs are over other samples ({sizes}): shown are the {len(same):,} that all of them have, by name, with "
        f"the numbers of {labels[0]}{others}."
    )


def _by_name(run: RunRows) -> dict[str, int]:
    """The numbers of the samples that are there, by name."""
    names = [] if run.names is None else run.names.to_pylist()
    pairs = list(zip(names, run.index.tolist(), strict=False))
    pairs += [(name, index) for index, (name, _) in run.failures.items()]
    counts = Counter(name for name, _ in pairs)
    return {name: index for name, index in pairs if name is not None and counts[name] == 1}


def _marks(run: RunRows) -> NDArray[np.int64]:
    """Marks of the files of a run, -1 where there are none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged ones, which are as good as none
            return read_marks(run.folder / MARKS, run.n_samples)
    except (RunFolderError, OSError):
        return np.full(run.n_samples, -1, dtype=np.int64)


def _is_same(marks: Sequence[np.int64]) -> bool:
    """Whether no two of the marks of a name tell different files."""
    return len({int(one) for one in marks} - {-1}) < 2
