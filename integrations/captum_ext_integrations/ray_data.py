"""Data sets that one machine cannot hold, through Ray Data: explained by actors, each of which loads the model once.

Needs the extra `ray`. The rows are those of `captum_ext.dataset.attribute_dataset`: every worker writes its own files
into one folder, and nothing but indices comes back.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_ext._checks import check_positive_int, describe
from captum_ext._model import RowwiseModel, device_of, model_outputs
from captum_ext._optional import require
from captum_ext._rows import RowLimit
from captum_ext.dataset import DatasetAttributions, MapFormat
from captum_ext.dataset._fingerprint import Fingerprints
from captum_ext.dataset._rows import Batch, Columns, Metric, RowMaker, Settings, joined
from captum_ext.dataset._samples import Samples
from captum_ext.dataset._shards import RunFolder
from captum_ext.dataset.run import OnDone, default_fields, field_names, progress, space_left, warn_of_failures
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, CaptumExtError
from captum_ext.references import ReferenceDistribution

ray = require("ray", "ray")
ray_data = require("ray.data", "ray")

Concurrency = int | tuple[int, int]
_FATAL = -1  # in place of an index


@dataclass(frozen=True)
class Source:
    """Columns of a Ray data set: images (C, H, W), their index from 0 on and, where there are any, labels and names."""

    image: str = "image"
    index: str = "index"
    label: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class _Job:
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


def explain(
    samples: Any,
    make_method: Callable[[], Any],
    out: str | PathLike[str],
    *,
    target: int | str | None,
    batch_size: int = 16,
    fields: Sequence[str] | None = None,
    map_format: MapFormat | None = None,
    metrics: Mapping[str, Metric] | None = None,
    attribute_kwargs: Mapping[str, Any] | None = None,
    source: Source | None = None,
    resume: bool = True,
    seed: int = 0,
    shard_rows: int = 64,
    concurrency: Concurrency = 1,
    num_cpus: float = 1,
    num_gpus: float = 0,
    configuration: Mapping[str, Any] | None = None,
    show_progress: bool | OnDone = True,
) -> DatasetAttributions:
    """`captum_ext.dataset.attribute_dataset` on the workers of a Ray cluster.

    A worker that dies is replaced, and the files that it had not finished are computed by another one; a driver that
    dies goes on where it stopped when it is called again. With a torch data set the rows are bit for bit those of the
    local run with the same number of threads (an actor has `num_cpus` of them), and either can continue the other's
    folder; with a Ray data set, whose batches are Ray's, they are the same up to the model's rounding.

    Args:
        samples: a map-style torch data set, which the workers read themselves and which therefore has to be picklable
            and within their reach; or a Ray data set with the columns named in `source`.
        make_method: called once by each worker, to load the model and the references; it returns what
            `attribute_dataset` takes as `method`, with a `forward_func`. Put the model on the GPU there, if any.
        out: folder within reach of the driver and of all workers.
        target: as in `attribute_dataset`.
        batch_size: samples given to the method at once.
        fields: as in `attribute_dataset`.
        map_format: as in `attribute_dataset`.
        metrics: as in `attribute_dataset`.
        attribute_kwargs: as in `attribute_dataset`.
        source: the columns of a Ray data set. None: "image" and "index".
        resume: as in `attribute_dataset`.
        seed: as in `attribute_dataset`.
        shard_rows: rows of a file at most, and the most that are lost with a worker; a quarter of a worker's share
            if that is less.
        concurrency: number of workers, or the least and the most.
        num_cpus: CPUs, and threads, of each.
        num_gpus: GPUs of each; may be a fraction.
        configuration: as in `attribute_dataset`.
        show_progress: as in `attribute_dataset`.

    Raises:
        MissingExtraError: Ray is not installed (on import of this module).
        ArgumentError, ArgumentTypeError, RunFolderError: as in `attribute_dataset`.

    Example::

        from captum_ext_integrations.ray_data import explain

        def make_method():
            model = load_model().cuda()
            return LocalPathIntegration(model, references=ReferenceDistribution.load("references.safetensors"))

        explain(ImageFolder("val", transform), make_method, "maps", target="label", concurrency=8, num_gpus=1)
    """
    if not callable(make_method):
        raise ArgumentTypeError("make_method", "a function that returns a method", describe(make_method))
    check_positive_int("batch_size", batch_size)
    check_positive_int("shard_rows", shard_rows)
    from_ray = isinstance(samples, ray_data.Dataset)
    source = source or Source()
    local = None if from_ray else Samples(samples, batch_size, 0)
    n_samples = samples.count() if local is None else len(local)
    job = _Job(
        make_method=make_method,
        target=target,
        fields=None if fields is None else field_names(fields),
        map_format=map_format or MapFormat(),
        seed=seed,
        batch_size=batch_size,
        folder=Path(out).resolve(),
        attribute_kwargs=dict(attribute_kwargs or {}),
        metrics=dict(metrics or {}),
        samples=local,
        source=source,
        n_samples=n_samples,
    )
    folder = RunFolder(job.folder)
    with _plain_errors(), folder.locked(), progress(show_progress, n_samples) as on_done:
        about = ray.get(_configuration.options(num_cpus=num_cpus, num_gpus=num_gpus).remote(job))
        about["dataset"] = _about(samples, source, n_samples) if local is None else local.configuration()
        about["given"] = Fingerprints().of(dict(configuration or {}))
        done = folder.begin(about, n_samples, resume)
        on_done(int(done.sum()), n_samples)
        if not done.all():
            most = concurrency if isinstance(concurrency, int) else concurrency[1]
            rows = min(shard_rows, -(-int((~done).sum()) // (4 * most)))  # so that no worker waits long for the last
            tasks = _rows_to_do(samples, source, done) if local is None else _groups(done, batch_size, rows)
            _run(
                tasks.map_batches(
                    _Explainer,
                    fn_constructor_kwargs={"job": job},
                    batch_size=shard_rows if local is None else 1,
                    batch_format="numpy",
                    compute=_pool(concurrency, in_flight=2 if local is None else 1),
                    num_cpus=num_cpus,
                    num_gpus=num_gpus,
                ),
                folder,
                done,
                local,
                on_done,
            )
    result = DatasetAttributions(job.folder)
    warn_of_failures(result)
    return result


def fit_references(
    samples: Any,
    make_model: Callable[[], Any],
    n_neighborhoods: int = 1,
    n_references: int = 20,
    *,
    source: Source | None = None,
    seed: int = 0,
    batch_size: int = 64,
    concurrency: Concurrency = 1,
    num_cpus: float = 1,
    num_gpus: float = 0,
) -> ReferenceDistribution:
    """`ReferenceDistribution.fit` for a Ray data set: its outputs are gathered, its images are not.

    Args:
        samples: a Ray data set; the index column may hold any integers that differ.
        make_model: called once by each worker; returns the model.
        n_neighborhoods: as in `ReferenceDistribution.fit`.
        n_references: as in `ReferenceDistribution.fit`.
        source: the columns. None: "image" and "index".
        seed: of the clustering.
        batch_size: samples given to the model at once.
        concurrency: number of workers, or the least and the most.
        num_cpus: CPUs of each.
        num_gpus: GPUs of each.

    Raises:
        ArgumentTypeError: not a Ray data set.
        ArgumentError: fewer than two samples, or an index that occurs twice.
        NonFiniteError: NaN or infinity in the outputs.
    """
    if not isinstance(samples, ray_data.Dataset):
        raise ArgumentTypeError("samples", "a Ray data set; others go to ReferenceDistribution.fit", describe(samples))
    columns = source or Source()
    with _plain_errors():
        found = samples.map_batches(
            _Outputs,
            fn_constructor_kwargs={"make_model": make_model, "source": columns},
            batch_size=batch_size,
            batch_format="numpy",
            compute=_pool(concurrency),
            num_cpus=num_cpus,
            num_gpus=num_gpus,
        )
        parts = list(found.iter_batches(batch_size=None, batch_format="numpy"))
        if not parts:
            raise ArgumentError("samples", "at least two samples", "none")
        index = np.concatenate([part["index"] for part in parts])
        order = np.argsort(index)
        if len(np.unique(index)) != len(index):
            raise ArgumentError("source", "an index that differs for every sample", f"{columns.index!r} with repeats")
        outputs = torch.from_numpy(np.concatenate([part["outputs"] for part in parts])[order])

        def collect(places: list[int]) -> Tensor:
            wanted = {int(index[order[place]]) for place in places}
            rows = samples.filter(lambda row: int(row[columns.index]) in wanted).take_all()
            images = {int(row[columns.index]): torch.from_numpy(np.array(row[columns.image])) for row in rows}
            return torch.stack([images[int(index[order[place]])] for place in places])

        return ReferenceDistribution.fit_outputs(outputs, collect, n_neighborhoods, n_references, seed=seed)


class _Explainer:
    """An actor: loads the method once, then turns tasks into files and tells which rows are in them."""

    def __init__(self, job: _Job) -> None:
        self.job = job
        self.maker = job.maker()
        self.folder = RunFolder(job.folder)
        self._source = job.source or Source()

    def __call__(self, task: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        try:
            indices, errors = self._done(task)
        except (CaptumExtError, OSError) as error:  # Ray would hand over its text only
            indices, errors = [_FATAL], [pickle.dumps(error).hex()]
        return {"index": np.array(indices, dtype=np.int64), "error": np.array(errors, dtype=object)}

    def _done(self, task: dict[str, NDArray[Any]]) -> tuple[list[int], list[str]]:
        """Indices of the task's samples, and what went wrong with each, mostly nothing."""
        failures: dict[int, str] = {}
        parts: list[Columns] = []
        own = self.job.samples is None
        asked = [int(index) for index in (task[self._source.index] if own else task["indices"][0])]
        if len(set(asked)) != len(asked):
            raise ArgumentError(
                "source", "an index that differs for every sample", f"{self._source.index!r} with repeats"
            )
        for batch in self._batches(task, failures):
            columns, failed = self.maker.rows(batch)
            failures.update(failed)
            parts += [columns] if columns else []
        if parts:
            self.folder.write(joined(parts), asked)
        done = [int(index) for part in parts for index in part["index"]]
        return [*done, *failures], [""] * len(done) + list(failures.values())

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


class _Outputs:
    """An actor: the model's outputs at images."""

    def __init__(self, make_model: Callable[[], Any], source: Source) -> None:
        self.model, self.source = make_model(), source
        self.device = device_of(self.model) or torch.device("cpu")

    def __call__(self, rows: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        images = _tensor(rows[self.source.image]).to(self.device)
        outputs = model_outputs(RowwiseModel(self.model, len(images)), (images,), RowLimit(None, (images,)))
        flat = outputs.reshape(len(outputs), -1).to("cpu", torch.float32).numpy()
        return {"index": rows[self.source.index].astype(np.int64), "outputs": flat}


@ray.remote(max_retries=3)  # type: ignore[untyped-decorator]
def _configuration(job: _Job) -> dict[str, Any]:
    """What the rows depend on, found where the model can be loaded."""
    return job.maker().configuration()


def _run(results: Any, folder: RunFolder, done: NDArray[np.bool_], samples: Samples | None, on_done: OnDone) -> None:
    """Let the workers work, and keep the manifest."""
    failures: list[dict[str, Any]] = []
    with space_left(folder):
        for part in results.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
            for index, error in zip(part["index"].tolist(), part["error"].tolist(), strict=True):
                if index == _FATAL:
                    raise pickle.loads(bytes.fromhex(error))
                if error:
                    name = None if samples is None else samples.name(index)
                    failures.append({"index": index, "name": name, "error": error})
                elif done[index]:
                    raise ArgumentError("source", "an index that differs for every sample", f"{index} twice")
                else:
                    done[index] = True
            folder.finish_manifest(done, failures)
            on_done(int(done.sum()) + len(failures), len(done))


def _groups(done: NDArray[np.bool_], batch_size: int, shard_rows: int) -> Any:
    """Tasks of a torch data set: indices of whole batches, about `shard_rows` together."""
    step = batch_size * max(1, shard_rows // batch_size)
    todo = [np.flatnonzero(~done[start : start + step]) + start for start in range(0, len(done), step)]
    rows = [{"indices": indices.tolist()} for indices in todo if len(indices)]
    tasks = ray_data.from_items(rows, override_num_blocks=len(rows))
    tasks.context.enable_progress_bars = False
    return tasks


def _rows_to_do(samples: Any, source: Source, done: NDArray[np.bool_]) -> Any:
    """The rows of a Ray data set that are not done."""

    def wanted(row: dict[str, Any]) -> bool:
        index = int(row[source.index])
        return not 0 <= index < len(done) or not done[index]  # a wrong one is reported by the worker

    return samples.filter(wanted) if done.any() else samples


def _batch_of(rows: dict[str, NDArray[Any]], job: _Job) -> Batch:
    source = job.source or Source()
    indices = [int(index) for index in rows[source.index]]
    if not all(0 <= index < job.n_samples for index in indices):
        raise ArgumentError("source", f"an index from 0 to {job.n_samples - 1}", str(indices))
    labels = None if source.label is None else [int(label) for label in rows[source.label]]
    names = None if source.name is None else [str(name) for name in rows[source.name]]
    return Batch(indices, _tensor(rows[source.image]), labels, names)


def _by_batch(indices: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices that share a batch in the local run, too: those between two multiples of the batch size."""
    for start in sorted({index // batch_size for index in indices}):
        yield [index for index in indices if index // batch_size == start]


def _tensor(images: NDArray[Any]) -> Tensor:
    values = np.stack(list(images)) if images.dtype == object else images
    return torch.from_numpy(np.ascontiguousarray(values))


def _about(samples: Any, source: Source, n_samples: int) -> dict[str, Any]:
    names = list(samples.schema().names)
    for column in (source.image, source.index, source.label, source.name):
        if column is not None and column not in names:
            raise ArgumentError("source", f"columns of the data set ({', '.join(names)})", repr(column))
    about = {"class": "ray.data.Dataset", "n_samples": n_samples, "columns": names}
    return {**about, "source": Fingerprints().of(source)}


def _pool(concurrency: Concurrency, in_flight: int = 2) -> Any:
    """Workers with few tasks ahead of them: what waits for one worker cannot be done by another that is free."""
    least, most = (concurrency, concurrency) if isinstance(concurrency, int) else concurrency
    return ray_data.ActorPoolStrategy(min_size=least, max_size=most, max_tasks_in_flight_per_actor=in_flight)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """The error of this package that a worker met, without what Ray wraps around it."""
    try:
        yield
    except Exception as error:
        inner: BaseException | None = error
        while inner is not None and (hasattr(inner, "cause") or not isinstance(inner, CaptumExtError)):
            inner = getattr(inner, "cause", None) or inner.__cause__
        if inner is None or inner is error:
            raise
        raise inner from error
