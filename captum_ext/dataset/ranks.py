"""Several processes that share a run without talking to each other: which samples each does, and who it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.fingerprints import digest
from captum_ext.exceptions import ArgumentError

#: As torchrun, and SLURM for the tasks of an array, tell a process which it is.
_TORCHRUN = ("RANK", "WORLD_SIZE")
_SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")
_EXPECTED = (
    f'an integer; or "env" in a process of torchrun ({", ".join(_TORCHRUN)}) or in a task of a SLURM array '
    f"({', '.join(_SLURM)})"
)


@dataclass(frozen=True)
class Division:
    """A run's samples, divided among ranks: the same wherever it is computed, and whatever is already done.

    Attributes:
        n_samples: of the data set.
        batch_size: samples of a batch, which is never divided.
        shard_rows: about so many rows make a file.
        world_size: number of ranks.
    """

    n_samples: int
    batch_size: int
    shard_rows: int
    world_size: int

    def owners(self) -> NDArray[np.int64]:
        """(n_samples,) the rank that does each sample.

        Ranks take turns by the files of an undisturbed run. What is left in the end, less than a file for each, is
        divided evenly. So no rank has more than a batch more than another, and one that goes on with what other ranks
        or another number of them have left gets its share of that, too.
        """
        n_batches = -(-self.n_samples // self.batch_size)
        batches_of_a_file = -(-self.shard_rows // self.batch_size)
        turn = self.world_size * batches_of_a_file
        in_turns = n_batches // turn * turn
        batch = np.arange(n_batches, dtype=np.int64)
        from_last = (n_batches - 1 - batch) * self.world_size // max(1, n_batches - in_turns)
        left = self.world_size - 1 - from_last  # the last batch, which may be small, goes to a rank that has more
        owner = np.where(batch < in_turns, batch % turn // batches_of_a_file, left)
        return owner.repeat(self.batch_size)[: self.n_samples]

    @property
    def name(self) -> str:
        """By what ranks know that they divide the samples alike."""
        return digest(np.array(astuple(self), dtype=np.int64))[:8]


@dataclass(frozen=True)
class Share:
    """The part of a run that one rank does."""

    rank: int
    division: Division

    def mine(self) -> NDArray[np.bool_]:
        """(n_samples,) which samples are this rank's."""
        mine: NDArray[np.bool_] = self.division.owners() == self.rank
        return mine

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.division.world_size}"


def rank_of_environment(environment: Mapping[str, str] | None = None) -> tuple[int, int]:
    """Rank and world size as torchrun or a SLURM array says.

    Raises:
        ArgumentError: neither or both say them, or the indices of an array do not say which task of how many it is.
    """
    given = os.environ if environment is None else environment
    by_torchrun, by_slurm = (all(name in given for name in names) for names in (_TORCHRUN, _SLURM))
    if by_torchrun and by_slurm:
        received = '"env" where torchrun and a SLURM array each say one'
        raise ArgumentError("rank", "an integer, with world_size", received)
    if by_torchrun:
        return _number(given, "RANK"), _number(given, "WORLD_SIZE")
    if not by_slurm:
        raise ArgumentError("rank", _EXPECTED, '"env" where neither is set')
    task, count = (_number(given, name) for name in _SLURM)
    first, step = _number(given, "SLURM_ARRAY_TASK_MIN", 0), _number(given, "SLURM_ARRAY_TASK_STEP", 1)
    last = _number(given, "SLURM_ARRAY_TASK_MAX", first + step * (count - 1))
    if step < 1 or last != first + step * (count - 1) or (task - first) % step or not first <= task <= last:
        expected = "an integer, with world_size, where the indices of a SLURM array have gaps"
        raise ArgumentError("rank", expected, f'"env" for task {task} of {count} from {first} to {last}')
    return (task - first) // step, count


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not text.isascii() or not text.isdigit():
        raise ArgumentError("rank", _EXPECTED, f'"env" with {name}={text!r}')
    return int(text)
