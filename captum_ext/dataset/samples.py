"""Samples of a data set in fixed batches; what cannot be read is a failure, not the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    default_collate,
)

from captum_ext.core.checks import check_count, check_positive_int, describe
from captum_ext.core.fingerprints import Fingerprints, digest_of_names, of_dataset
from captum_ext.core.random import globally_seeded
from captum_ext.dataset.row_maker import Batch
from captum_ext.dataset.sample_files import marks_of, names_of
from captum_ext.dataset.sample_streams import InOrder, length_of
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, CaptumExtError
from captum_ext.images.folders import check_labels
from captum_ext.images.samples import Located, SampleFormat, check_splits, is_indexed, unwrapped

Collate = Callable[[list[Any]], Any]
DEFAULT_BATCH = 16


@dataclass(frozen=True)
class Failure:
    """A sample that could not be read, and why."""

    index: int
    error: str


@dataclass(frozen=True)
class Mistake:
    """What the caller has to change before any sample can be read."""

    error: CaptumExtError


@dataclass(frozen=True)
class Read:
    """A batch as read: None where all of its samples failed.

    The caller's mistake comes as a value, since a worker process would hand over its text only.
    """

    batch: Batch | None
    failures: list[Failure]
    mistake: CaptumExtError | None = None


class Batches(Sampler[list[int]]):
    """Indices in batches whose borders are multiples of `batch_size`, whatever is left out as done.

    So a sample shares its batch with the same others in the first run and in a resumed one.
    """

    def __init__(self, todo: Sequence[bool], batch_size: int) -> None:
        self.todo, self.batch_size = todo, batch_size

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.todo), self.batch_size):
            stop = min(start + self.batch_size, len(self.todo))
            indices = [index for index in range(start, stop) if self.todo[index]]
            if indices:
                yield indices


class Samples:
    """A data set, or the one inside a DataLoader, whose batch size, workers and collation are kept.

    Args:
        dataset: by index, or in order with a length; its samples as `captum_ext.images.image_dataset` has them.
        batch_size: samples at once; None: the loader's, or 16.
        num_workers: processes that read.
        forward_func: the model, whose `prepare`, if it has one, reads images that are no tensors yet.
    """

    def __init__(self, dataset: Any, batch_size: int | None, num_workers: int, forward_func: Any = None) -> None:
        self._collate: Collate = default_collate
        self._worker_options: dict[str, Any] = {}
        if isinstance(dataset, DataLoader):
            _check_loader(dataset)
            self._collate = dataset.collate_fn
            self._worker_options = {
                "worker_init_fn": dataset.worker_init_fn,
                "timeout": dataset.timeout,
                "multiprocessing_context": dataset.multiprocessing_context,
            }
            batch_size = dataset.batch_size if batch_size is None else batch_size
            num_workers = num_workers or dataset.num_workers
            dataset = dataset.dataset
        if self._collate is default_collate:
            dataset, self._format, length = unwrapped(dataset, forward_func)
        else:  # of the caller, who knows what the samples are
            self._format, length = SampleFormat(), getattr(dataset, "length", None)
        check_splits("dataset", dataset)
        if not is_indexed(dataset):
            if not isinstance(dataset, Iterable) or isinstance(dataset, Iterator | str | bytes | Tensor):
                expected = "a Dataset with a length and an index, so that a run can go on where it stopped"
                raise ArgumentTypeError("dataset", expected, describe(dataset))
            if num_workers:
                raise ArgumentError("num_workers", "0 for samples that are read in order", str(num_workers))
            dataset = InOrder(dataset, length_of(dataset, length))
        if len(dataset) == 0:
            raise ArgumentError("dataset", "at least one sample", "none")
        self.dataset: Dataset[Any] = dataset
        self.batch_size = DEFAULT_BATCH if batch_size is None else check_positive_int("batch_size", batch_size)
        self.num_workers = check_count("num_workers", num_workers)
        self.names = names_of(dataset)

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def name(self, index: int) -> str | None:
        """The file of a sample, relative to the data set's folder, where the data set says so."""
        return None if self.names is None else self.names[index]

    def marks(self, wanted: NDArray[np.bool_] | None = None) -> NDArray[np.int64] | None:
        """By what the files of samples are known again, where the data set says which they are; None: of all."""
        return marks_of(self.dataset, wanted)

    def check_labels(self, target: Any) -> None:
        """Refuse labels of a flat folder; warn of those that may be other classes than the names of their folders."""
        if isinstance(target, str) and target == "label":
            check_labels(self.dataset)

    def configuration(self) -> dict[str, Any]:
        """By what a data set is known again: its class, length, file names and transformation."""
        how = self._format if self._format != SampleFormat() else None
        return {
            **of_dataset(self.dataset),
            **({} if how is None else {"format": Fingerprints().of(how)}),
            "files": None if self.names is None else digest_of_names(self.names),
            "collate": Fingerprints().of(self._collate),
        }

    def read(self, todo: Sequence[bool], seed: int) -> Iterator[Read]:
        """Batches of the samples that are to be done; random transformations are those of (seed, index)."""
        loader = DataLoader(
            _Guarded(self.dataset, seed, self._format if self._collate is default_collate else None),
            batch_sampler=Batches(todo, self.batch_size),
            num_workers=self.num_workers,
            collate_fn=partial(self._collated, seed),
            generator=torch.Generator(device=torch.empty(0).device),  # else it would draw from the global one
            **(self._worker_options if self.num_workers else {}),
        )
        for read in loader:
            if read.mistake is not None:
                raise read.mistake
            yield read

    def read_batch(self, indices: Sequence[int], seed: int) -> Read:
        """The samples at these places."""
        guarded = _Guarded(self.dataset, seed, self._format if self._collate is default_collate else None)
        read = self._collated(seed, [guarded[index] for index in indices])
        if read.mistake is not None:
            raise read.mistake
        return read

    def _collated(self, seed: int, entries: list[tuple[int, Any]]) -> Read:
        try:
            with globally_seeded(seed, entries[0][0]):
                return self._batch_of(entries)
        except CaptumExtError as error:
            return Read(None, [], error)

    def _batch_of(self, entries: list[tuple[int, Any]]) -> Read:
        """A batch of the entries of `_Guarded` that could be read."""
        mistakes = [entry for _, entry in entries if isinstance(entry, Mistake)]
        if mistakes:
            return Read(None, [], mistakes[0].error)
        failures = [entry for _, entry in entries if isinstance(entry, Failure)]
        good = [(index, entry) for index, entry in entries if not isinstance(entry, Failure)]
        if not good:
            return Read(None, failures)
        indices = [index for index, _ in good]
        try:
            collated = self._collate([entry for _, entry in good])
        except (TypeError, RuntimeError) as error:
            expected = "of tensors of one shape (images of several sizes need batch_size=1)"
            raise ArgumentTypeError("dataset", expected, f"samples {indices}: {error}") from error
        inputs, labels = _parts(_located(self._format, collated).parts if isinstance(collated, Mapping) else collated)
        if len(inputs) != len(indices):
            expected = f"of {len(indices)} rows in order after collation"
            raise ArgumentError("dataset", expected, f"{len(inputs)} rows")
        names = None if self.names is None else [self.names[index] for index in indices]
        return Read(Batch(indices, inputs, labels, names), failures)


class _Guarded(Dataset[tuple[int, Any]]):
    """Samples with their index, or what went wrong in reading them; without a format as they are."""

    def __init__(self, dataset: Dataset[Any], seed: int, sample_format: SampleFormat | None) -> None:
        self.dataset, self.seed, self.format = dataset, seed, sample_format

    def __getitem__(self, index: int) -> tuple[int, Any]:
        try:
            if isinstance(self.dataset, InOrder):
                self.dataset.skip_to(index)  # outside of the seed, which is the sample's own
            with globally_seeded(self.seed, index):
                sample = self.dataset[index]
                return index, self._read(sample)
        except Exception as error:  # whatever a data set raises: it is recorded
            return index, Failure(index, f"{type(error).__name__}: {error}")

    def _read(self, sample: Any) -> Any:
        if self.format is None:
            return sample
        try:
            located = _located(self.format, sample)
        except CaptumExtError as error:  # of all samples alike, and so not a matter of this one
            return Mistake(error)
        return located.read()


def _located(sample_format: SampleFormat, sample: Any) -> Located:
    """A sample by its parts; what the format calls samples is a data set here."""
    try:
        return sample_format.located(sample)
    except (ArgumentError, ArgumentTypeError) as error:
        name = "dataset" if error.argument == "samples" else error.argument
        raise type(error)(name, error.expected, error.received) from error


def _check_loader(loader: DataLoader[Any]) -> None:
    """Refuse a loader that chooses samples: the run does, by their places."""
    expected = "a DataLoader in order or shuffled; to choose samples, pass a torch.utils.data.Subset"
    if isinstance(loader.dataset, IterableDataset):
        return  # refused with its own message
    if type(loader.batch_sampler) is not BatchSampler or loader.batch_sampler.sampler is not loader.sampler:
        raise ArgumentError("dataset", expected, describe(loader.batch_sampler))
    sampler = loader.sampler
    shuffled = isinstance(sampler, RandomSampler) and not sampler.replacement and len(sampler) == len(loader.dataset)  # type: ignore[arg-type]
    if not shuffled and not isinstance(sampler, SequentialSampler):
        raise ArgumentError("dataset", expected, describe(sampler))


def _parts(collated: Any) -> tuple[Tensor, list[int] | None]:
    """Inputs and labels of a collated batch: a tensor, or a tuple or list that starts with one."""
    parts = (collated,) if isinstance(collated, Tensor) else collated
    if not isinstance(parts, tuple | list) or not parts or not isinstance(parts[0], Tensor):
        expected = "of tensors, or of tuples or dictionaries of a tensor and a label"
        raise ArgumentTypeError("dataset", expected, describe(collated))
    label = parts[1] if len(parts) > 1 else None
    is_label = isinstance(label, Tensor) and label.dim() == 1 and not label.is_floating_point()
    return parts[0], [int(entry) for entry in label.tolist()] if is_label else None  # type: ignore[union-attr]
