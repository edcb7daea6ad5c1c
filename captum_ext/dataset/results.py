"""What a run over a data set has written, read back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from captum_ext.core.checks import check_positive_int
from captum_ext.core.optional import require
from captum_ext.dataset.shard_files import indices_of_name
from captum_ext.dataset.shards import RunFolder
from captum_ext.exceptions import ArgumentError, RunFolderError

if TYPE_CHECKING:
    import pyarrow as pa


_LARGEST = 2**62


class _Serving(Protocol):
    """A page that is served."""

    url: str

    def close(self) -> None:
        """End it."""


class DatasetAttributions:
    """Rows and maps of a run in a folder, complete or not; nothing is held in memory.

    What is read is compared with the digests that were written with it: a file that was damaged since is an error, and
    another run sets it aside. That is no protection from somebody who means harm, who can write digests, too; but no
    file makes this execute anything, follow a link, or take more memory than its size deserves.

    Args:
        folder: `out` of `attribute_dataset`.
        max_shard_bytes: that the columns of one file may take in memory. None: 128 MiB, or 100 times the size of the
            file if that is more; runs write no others.

    Attributes:
        folder: the same.
        manifest: configuration, versions, numbers of samples and of done rows, failures; as of the last finished file.

    Raises:
        RunFolderError: the folder holds no run, or its manifest is damaged.

    Example:
        >>> import tempfile, torch
        >>> from captum_ext.attr import IntegratedGradients
        >>> from captum_ext.dataset import RunOptions, attribute_dataset
        >>> samples = torch.utils.data.TensorDataset(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> method = IntegratedGradients(lambda x: x)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     attributions = attribute_dataset(method, samples, folder, target=1, run=RunOptions(show_progress=False))
        ...     attributions.table(["index", "score"]).to_pydict(), attributions.maps([1]).round()
        ({'index': [0, 1], 'score': [2.0, 4.0]}, tensor([[0., 4.]]))
    """

    def __init__(self, folder: str | PathLike[str], *, max_shard_bytes: int | None = None) -> None:
        if max_shard_bytes is not None:
            max_shard_bytes = check_positive_int("max_shard_bytes", max_shard_bytes)
        self.folder = Path(folder)
        self._run = RunFolder(self.folder, max_shard_bytes)
        self.manifest: dict[str, Any] = self._run.manifest

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.manifest["n_done"])

    @property
    def complete(self) -> bool:
        """Whether every sample has its row."""
        return len(self) == int(self.manifest["n_samples"])

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Samples without a row: index, name where known, and error."""
        return list(self.manifest["failures"])

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows in the order of their index.

        `.to_pandas()` makes a data frame of it.

        Args:
            columns: their names. None: all but maps and curves.

        Raises:
            ArgumentError: a column that the run does not have.
            RunFolderError: a file that is missing or damaged; the message names it.
        """
        pa = require("pyarrow", "dataset")
        known, shards = self._run.finished()
        if not shards:
            if columns is not None:
                raise ArgumentError("columns", "None, since no sample has a row", str(list(columns)))
            return pa.table({})
        with self._run.opened(shards[0], known) as shard:
            names, not_told = shard.names, {"map", *shard.curves}
        wanted = [name for name in names if name not in not_told] if columns is None else list(columns)
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise ArgumentError("columns", "some of " + ", ".join(names), ", ".join(unknown))
        parts = []
        for path in shards:
            with self._run.opened(path, known) as shard:
                shard.indices()
                parts.append(shard.read(list(dict.fromkeys(["index", *wanted]))))
        try:  # columns without a number in a whole shard have another type there: let them agree
            table = pa.concat_tables(parts, promote_options="permissive")
        except pa.ArrowException as error:  # two machines may have begun at the same time
            message = f"{self.folder} holds files whose columns do not fit each other ({error}); ask for others."
            raise RunFolderError(message) from error
        _, order = np.unique(table["index"].to_numpy(), return_index=True)
        return table.take(order).select(wanted)

    def maps(self, indices: Sequence[int] | None = None) -> Tensor:
        """Maps (n, ...) of these samples, in this order, on their true scale, float32 or float64.

        Args:
            indices: numbers of samples. None: all that have a row.

        Raises:
            ArgumentError: the run has no maps, none of one of these samples, or maps of several shapes.
            RunFolderError: a file that is missing or damaged; the message names it.
        """
        order = None if indices is None else [int(index) for index in indices]
        by_index: dict[int, Tensor] = {}
        for index, maps in self._batches(order):
            by_index.update(
                (number, maps[place].clone()) for place, number in enumerate(index.tolist())
            )  # no view of all
        order = sorted(by_index) if order is None else order
        missing = [index for index in order if index not in by_index]
        if missing:
            raise ArgumentError("indices", "samples that have a row", f"{missing[:5]}")
        if not order:
            raise ArgumentError("indices", "at least one sample", "none")
        shapes = sorted({tuple(by_index[index].shape) for index in order})
        if len(shapes) > 1:  # two machines may have begun at the same time
            received = " and ".join(map(str, shapes))
            raise ArgumentError("map_format", "of one `size` for images of several sizes", received)
        return torch.stack([by_index[index] for index in order])

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices (n,) and maps (n, ...) shard by shard, in no particular order.

        Raises:
            ArgumentError: the run has no maps.
            RunFolderError: a file that is missing or damaged; the message names it.
        """
        yield from self._batches(None)

    def view(self, *others: DatasetAttributions, images: str | PathLike[str] | None = None, port: int = 0) -> _Serving:
        """Look through the rows, beside those of other runs over the same samples, in a browser (extra `view`).

        The page that `captum-ext view` serves, on this machine alone: where it is the last line of a notebook's cell,
        the notebook shows it, if its kernel runs on the machine of the browser. It is there until the process ends.

        Args:
            others: other methods or models.
            images: the folder that the names of samples are relative to. None: maps without photographs.
            port: of 127.0.0.1; 0: any that is free.

        Returns:
            An object with `url`, the address with its token, and `close()`.

        Raises:
            ArgumentError: runs over other samples, no folder of images, or a port that is in use.
            RunFolderError: a folder without a run.
            MissingExtraError: starlette or uvicorn is not installed.
        """
        for module in ("starlette", "uvicorn"):
            require(module, "view")
        serving = require("captum_ext_integrations.viewer.serving", "view")
        folders = [self.folder, *(one.folder for one in others)]
        served: _Serving = serving.view(folders, None if images is None else Path(images), port)
        return served

    def _batches(self, indices: Sequence[int] | None) -> Iterator[tuple[Tensor, Tensor]]:
        """The same of these samples, from the files that hold them; None: all."""
        fields = self.manifest["configuration"].get("fields", [])
        if "map" not in fields:
            raise ArgumentError("fields", 'with "map", to read maps', str(fields))
        known, shards = self._run.finished()
        inside = [index for index in indices or () if 0 <= index < known.n_samples]
        left = None if indices is None else np.unique(np.array(inside, dtype=np.int64))
        # Two machines may have written a row that one of them lost. Pages that are not written to take no memory.
        given = np.zeros(known.n_samples, dtype=bool)
        for path in shards:
            place = indices_of_name(path)
            if left is not None and not len(left[slice(*np.searchsorted(left, _ends(place)))]):
                continue
            with self._run.opened(path, known) as shard:
                index = shard.indices()
                chosen = ~given[index] if left is None else np.isin(index, left)
                if chosen.any():
                    given[index] = True
                    left = None if left is None else np.setdiff1d(left, index)
                    yield torch.from_numpy(index[chosen]), torch.from_numpy(shard.maps(chosen))

    def __repr__(self) -> str:
        failed = f", {len(self.failures)} failed" if self.failures else ""
        return f"DatasetAttributions({str(self.folder)!r}: {len(self)} of {self.manifest['n_samples']} rows{failed})"


def _ends(place: slice) -> tuple[int, int]:
    """First index and the one after the last."""
    return (0, _LARGEST) if place.stop is None else (place.start, place.stop)
