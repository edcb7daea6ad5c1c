"""How a run over a data set goes, whatever it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from captum_ext.core.checks import check_bool, check_count, check_positive_int, check_seed, describe
from captum_ext.dataset.ranks import rank_of_environment
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError, ArgumentTypeError

_MOST_ROWS, _MOST_WORKERS, _MOST_RANKS = 2**31 - 1, 4096, 2**20

#: Told of the numbers of done and of all samples.
OnDone = Callable[[int, int], object]


@dataclass(frozen=True)
class RunOptions:
    """How a run over a data set goes: its batches, random numbers, files and progress.

    Attributes:
        batch_size: samples given to the method at once. None: the DataLoader's, else 16.
        seed: of random numbers, which are those of (seed, index of the sample); from 0 to 2^63 - 1.
        num_workers: processes that read samples, as in DataLoader; 0 for as many as the DataLoader has.
        shard_rows: rows of a file.
        resume: go on with the run in the folder; off: it has to be new or empty.
        configuration: what else the rows depend on; kept in the manifest, and compared when a run goes on.
        show_progress: show a bar that counts samples; or a function of the numbers of done and of all samples (of
            those of this rank, where there are several).
        rank: which of `world_size` processes this is, from 0, where several share a run on as many devices. Each does
            its own part of the samples into its own files, in one folder within reach of all, with the same arguments.
            "env": as torchrun says (RANK, WORLD_SIZE), or a SLURM array (SLURM_ARRAY_TASK_ID, from its smallest index
            in its steps, and SLURM_ARRAY_TASK_COUNT). These variables are read only then, so that what is not meant
            to be shared never does a part without a word.
        world_size: number of processes; None: one, or as `rank="env"` finds.
        limit: only the first so many samples are done now; a later call with more goes on. None: all.

    Raises:
        ArgumentError, ArgumentTypeError: a field that cannot be used, named.
        ArgumentsConflictError: several ranks and `resume=False`, since a rank finds what others have begun; or another
            `world_size` than the environment's.

    Example:
        >>> from captum_ext.dataset import RunOptions
        >>> RunOptions(batch_size=64, num_workers=4).shard_rows
        256
    """

    batch_size: int | None = None
    seed: int = 0
    num_workers: int = 0
    shard_rows: int = 256
    resume: bool = True
    configuration: Mapping[str, Any] | None = None
    show_progress: bool | OnDone = True
    rank: int | str = 0
    world_size: int | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            object.__setattr__(self, "batch_size", check_positive_int("batch_size", self.batch_size, _MOST_ROWS))
        object.__setattr__(self, "seed", check_seed("seed", self.seed))
        object.__setattr__(self, "num_workers", check_count("num_workers", self.num_workers, _MOST_WORKERS))
        object.__setattr__(self, "shard_rows", check_positive_int("shard_rows", self.shard_rows, _MOST_ROWS))
        object.__setattr__(self, "resume", check_bool("resume", self.resume))
        if self.limit is not None:
            object.__setattr__(self, "limit", check_positive_int("limit", self.limit))
        if self.configuration is not None and not isinstance(self.configuration, Mapping):
            raise ArgumentTypeError("configuration", "a mapping or None", describe(self.configuration))
        if not callable(self.show_progress) and not isinstance(self.show_progress, bool):
            raise ArgumentTypeError("show_progress", "True, False or a function", describe(self.show_progress))
        rank, world_size = _place(self.rank, self.world_size)
        object.__setattr__(self, "rank", rank)
        object.__setattr__(self, "world_size", world_size)
        if world_size > 1 and not self.resume:
            reason = "a rank goes on with the folder that another has begun"
            raise ArgumentsConflictError(("resume", "world_size"), reason)

    @property
    def place(self) -> tuple[int, int]:
        """Rank and world size as numbers."""
        return int(self.rank), self.world_size or 1


def _place(rank: Any, world_size: Any) -> tuple[int, int]:
    """Rank and world size as they were given, or as the environment says."""
    if world_size is not None:
        world_size = check_positive_int("world_size", world_size, _MOST_RANKS)
    if not isinstance(rank, str):
        world_size, rank = world_size or 1, check_count("rank", rank)
        if rank >= world_size:
            raise ArgumentError("rank", f"an integer from 0 to {world_size - 1}, below world_size", str(rank))
        return rank, world_size
    if rank != "env":
        raise ArgumentTypeError("rank", 'an integer or "env"', describe(rank))
    rank, found = rank_of_environment()
    if world_size not in (None, found):
        raise ArgumentsConflictError(("rank", "world_size"), f'"env" says {found}, and not {world_size}')
    if rank >= found:
        raise ArgumentError("rank", f'an integer from 0 to {found - 1}, of which there are {found} by "env"', str(rank))
    return rank, found
