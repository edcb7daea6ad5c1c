"""What runs on the workers of `ray_data`: none of it imports Ray."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_ext.core.inspection import device_of
from captum_ext.core.request import Request
from captum_ext.dataset import MapFormat
from captum_ext.dataset.row_maker import Batch, Columns, Metric, RowMaker, Settings, joined
from captum_ext.dataset.run import default_fields
from captum_ext.dataset.samples import Samples
from captum_ext.dataset.shards import RunFolder
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, CaptumExtError
from captum_ext.images.samples import SampleFormat

FATAL = -1  # in place of an index


@dataclass(frozen=True)
class Source:
    """Columns of a Ray data set.

    Attributes:
        image: the model's inputs (C, H, W); with `prepare` images, arrays (H, W) or (H, W, C) as Ray reads them.
        index: numbers of the samples, from 0 on.
        label: their classes, where there are any.
        name: their names, where there are any.
        prepare: from a Pillow image to the model's input; see `captum_ext.images.image_dataset`.
        channels: of that Pillow image: 3, or 1 for grey.
    """

    image: str = "image"
    index: str = "index"
    label: str | None = None
    name: str | None = None
    prepare: Callable[[Any], Any] | None = None
    channels: int = 3

    def inputs(self, images: NDArray[Any]) -> Tensor:
        """The model's inputs of what a batch has in its column of images.

        Args:
            images: (N, ...) of the batch: arrays, or images that are prepared one by one.
        """
        if self.prepare is None:
            return _tensor(images)
        sample_format = SampleFormat(self.prepare, channels=self.channels)
        return torch.stack([sample_format.prepared(image) for image in images])


@dataclass(frozen=True)
class Job:
    """What an actor has to know; small enough to be sent to each."""

    make_method: Callable[[], Any]
    target: int | str | None
    fields: tuple[str, ...] | None
    map_format: MapFormat
    seed: int
    batch_size: int
    folder: Path
    attribute_kwargs: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    samples: Samples | None = None
    source: Source | None = None
    n_samples: int = 0

    def maker(self) -> RowMaker:
        """The method, loaded here, with its settings."""
        method = self.make_method()
        fields = default_fields(method, self.target) if self.fields is None else self.fields
        settings = Settings(
            self.target, fields, self.map_format, self.seed, dict(self.attribute_kwargs), dict(self.metrics)
        )
        return RowMaker(method, settings)


class Explainer:
    """An actor: loads the method once, then turns tasks into files and tells which rows are in them."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.maker = job.maker()
        self.folder = RunFolder(job.folder)
        self._source = job.source or Source()

    def __call__(self, task: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        try:
            done, failures, shard = self._done(task)
        except (CaptumExtError, OSError) as error:  # Ray would hand over its text only
            done, failures, shard = [], {FATAL: pickle.dumps(error).hex()}, ("", "")
        names = self._names(task) if failures else {}
        n_rows = len(done) + len(failures)
        return {
            "index": np.array([*done, *failures], dtype=np.int64),
            "error": np.array([""] * len(done) + list(failures.values()), dtype=object),
            "name": np.array([""] * len(done) + [names.get(index, "") for index in failures], dtype=object),
            "shard": np.array([shard[0]] * n_rows, dtype=object),
            "digest": np.array([shard[1]] * n_rows, dtype=object),
        }

    def _done(self, task: dict[str, NDArray[Any]]) -> tuple[list[int], dict[int, str], tuple[str, str]]:
        """The task's samples that have a row now, what went wrong with the others, and name and digest of the file."""
        failures: dict[int, str] = {}
        parts: list[Columns] = []
        indices = task[self._source.index] if self.job.samples is None else task["indices"][0]
        asked = [int(index) for index in indices]
        if len(set(asked)) != len(asked):
            raise ArgumentError(
                "source", "an index that differs for every sample", f"{self._source.index!r} with repeats"
            )
        for batch in self._batches(task, failures):
            columns, failed = self.maker.rows(batch)
            failures.update(failed)
            self.folder.check_map_shape(columns)
            parts += [columns] if columns else []
        shard = self.folder.write(joined(parts), asked) if parts else ("", "")
        return [int(index) for part in parts for index in part["index"]], failures, shard

    def _names(self, task: dict[str, NDArray[Any]]) -> dict[int, str]:
        """What the samples of a task are called, by index, where the data set says so."""
        if self.job.samples is not None:
            names = self.job.samples.names or []
            return {int(index): names[index] for index in task["indices"][0]} if names else {}
        if self._source.name is None:
            return {}
        pairs = zip(task[self._source.index], task[self._source.name], strict=True)
        return {int(index): str(name) for index, name in pairs}

    def _batches(self, task: dict[str, NDArray[Any]], failures: dict[int, str]) -> Iterator[Batch]:
        size = self.job.batch_size
        if self.job.samples is None:
            for start in range(0, len(next(iter(task.values()))), size):
                yield _batch_of({name: values[start : start + size] for name, values in task.items()}, self.job)
            return
        for indices in _by_batch([int(index) for index in task["indices"][0]], size):
            read = self.job.samples.read_batch(indices, self.job.seed)
            failures.update({failure.index: failure.error for failure in read.failures})
            if read.batch is not None:
                yield read.batch


class Outputs:
    """An actor: the model's outputs at images."""

    def __init__(self, make_model: Callable[[], Any], source: Source) -> None:
        self.model, self.source = make_model(), source
        self.device = device_of(self.model) or torch.device("cpu")

    def __call__(self, rows: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        images = self.source.inputs(rows[self.source.image]).to(self.device)
        outputs = Request(self.model, images).outputs
        flat = outputs.reshape(len(outputs), -1).to("cpu", torch.float32).numpy()
        return {"index": rows[self.source.index].astype(np.int64), "outputs": flat}


def _batch_of(rows: dict[str, NDArray[Any]], job: Job) -> Batch:
    source = job.source or Source()
    indices = [int(index) for index in rows[source.index]]
    if not all(0 <= index < job.n_samples for index in indices):
        raise ArgumentError("source", f"an index from 0 to {job.n_samples - 1}", str(indices))
    labels = None if source.label is None else [int(label) for label in rows[source.label]]
    names = None if source.name is None else [str(name) for name in rows[source.name]]
    return Batch(indices, source.inputs(rows[source.image]), labels, names)


def _by_batch(indices: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices that share a batch in the local run, too: those between two multiples of the batch size."""
    for start in sorted({index // batch_size for index in indices}):
        yield [index for index in indices if index // batch_size == start]


def _tensor(images: NDArray[Any]) -> Tensor:
    shapes = sorted({np.shape(image) for image in images}) if images.dtype == object else []
    if len(shapes) > 1:
        expected = "a data set with images of one shape in a batch (several sizes need batch_size=1)"
        raise ArgumentTypeError("samples", expected, " and ".join(map(str, shapes)))
    values = np.stack(list(images)) if images.dtype == object else images
    return torch.from_numpy(np.ascontiguousarray(values))
