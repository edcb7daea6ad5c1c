"""How a run over a data set goes, whatever it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from captum_ext.core.checks import check_bool, check_count, check_positive_int, check_seed, describe
from captum_ext.exceptions import ArgumentTypeError

_MOST_ROWS, _MOST_WORKERS = 2**31 - 1, 4096

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
        show_progress: show a bar that counts samples; or a function of the numbers of done and of all samples.

    Raises:
        ArgumentError, ArgumentTypeError: a field that cannot be used, named.

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

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            object.__setattr__(self, "batch_size", check_positive_int("batch_size", self.batch_size, _MOST_ROWS))
        object.__setattr__(self, "seed", check_seed("seed", self.seed))
        object.__setattr__(self, "num_workers", check_count("num_workers", self.num_workers, _MOST_WORKERS))
        object.__setattr__(self, "shard_rows", check_positive_int("shard_rows", self.shard_rows, _MOST_ROWS))
        object.__setattr__(self, "resume", check_bool("resume", self.resume))
        if self.configuration is not None and not isinstance(self.configuration, Mapping):
            raise ArgumentTypeError("configuration", "a mapping or None", describe(self.configuration))
        if not callable(self.show_progress) and not isinstance(self.show_progress, bool):
            raise ArgumentTypeError("show_progress", "True, False or a function", describe(self.show_progress))
