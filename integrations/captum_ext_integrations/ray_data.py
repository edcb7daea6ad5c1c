"""Data sets that one machine cannot hold, through Ray Data: explained by actors, each of which loads the model once.

Needs the extra `ray`. The rows are those of `captum_ext.dataset.attribute_dataset`: every worker writes its own files
into one folder, and nothing but indices comes back.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_ext.core.checks import check_positive_int, describe
from captum_ext.core.fingerprints import Fingerprints, digest_of_names
from captum_ext.core.memory import ENVIRONMENT
from captum_ext.core.optional import require
from captum_ext.dataset import DatasetAttributions, MapFormat, RunOptions
from captum_ext.dataset.row_maker import Metric
from captum_ext.dataset.run import field_names, progress, space_left, warn_of_failures
from captum_ext.dataset.run_options import OnDone
from captum_ext.dataset.sample_files import size_of
from captum_ext.dataset.samples import Samples
from captum_ext.dataset.shards import RunFolder, rows_of_a_task
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, CaptumExtError
from captum_ext.references import ReferenceDistribution
from captum_ext_integrations._ray_actors import FATAL, Explainer, Job, Outputs, Source

__all__ = ["Source", "explain", "fit_references"]

ray = require("ray", "ray")
ray_data = require("ray.data", "ray")

Concurrency = int | tuple[int, int]
# Of workers, beside those of the job: Ray runs their tasks in threads, whose freed memory goes back to the system.
_KEEPING_MEMORY = {"env_vars": ENVIRONMENT}


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
        samples: a data set by index, as in `attribute_dataset`, which the workers read themselves and which therefore
            has to be picklable and within their reach, with `captum_ext.images.image_dataset` where its images are no
            tensors yet; or a Ray data set with the columns named in `source`.
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
        resume: as in `captum_ext.dataset.RunOptions`.
        seed: as in `RunOptions`.
        shard_rows: rows of a file, in whole batches; a quarter of a worker's share if that is less. With a torch data
            set a worker that dies loses the file that it was at; with a Ray data set what it had done of a block,
            which Ray computes again as a whole.
        concurrency: number of workers, or the least and the most.
        num_cpus: CPUs, and threads, of each.
        num_gpus: GPUs of each; may be a fraction.
        configuration: as in `RunOptions`.
        show_progress: as in `RunOptions`.

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
    check_positive_int("batch_size", batch_size)  # no DataLoader has one
    run = RunOptions(
        batch_size,
        seed,
        shard_rows=shard_rows,
        resume=resume,
        configuration=configuration,
        show_progress=show_progress,
    )
    from_ray = isinstance(samples, ray_data.Dataset)
    source = source or Source()
    local = None if from_ray else Samples(samples, batch_size, 0)
    n_samples = samples.count() if local is None else len(local)
    if not n_samples:
        raise ArgumentError("samples", "at least one sample", "none")
    job = Job(
        make_method=make_method,
        target=target,
        fields=None if fields is None else field_names(fields),
        map_format=map_format or MapFormat(),
        seed=run.seed,
        batch_size=batch_size,
        folder=Path(out).resolve(),
        attribute_kwargs=dict(attribute_kwargs or {}),
        metrics=dict(metrics or {}),
        samples=local,
        source=source,
        n_samples=n_samples,
    )
    if local is not None:
        local.check_labels(target)
    folder = RunFolder(job.folder)
    with _plain_errors(), folder.locked(), progress(run.show_progress, n_samples) as on_done:
        about = ray.get(_configuration.options(num_cpus=num_cpus, num_gpus=num_gpus).remote(job))
        about["dataset"] = _about(samples, source, n_samples) if local is None else local.configuration()
        about["given"] = Fingerprints().of(dict(run.configuration or {}))
        with space_left(folder):
            done = folder.begin(about, n_samples, run.resume, None if local is None else local.marks())
        on_done(int(done.sum()), n_samples)
        if not done.all():
            most = concurrency if isinstance(concurrency, int) else concurrency[1]
            step = rows_of_a_task(run.shard_rows, int((~done).sum()), most, batch_size)
            tasks = _rows_to_do(samples, source, done) if local is None else _groups(done, step)
            _run(
                tasks.map_batches(
                    Explainer,
                    fn_constructor_kwargs={"job": job},
                    batch_size=run.shard_rows if local is None else 1,
                    batch_format="numpy",
                    compute=_pool(concurrency, in_flight=2 if local is None else 1),
                    num_cpus=num_cpus,
                    num_gpus=num_gpus,
                    runtime_env=_KEEPING_MEMORY,
                ),
                folder,
                done,
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
        ArgumentError: fewer than two samples, a column that is not there, or an index that occurs twice.
        NonFiniteError: NaN or infinity in the outputs.

    Example:
        On a cluster, for a data set of which every row has an image and its index:

        `fitted = fit_references(ray.data.read_parquet("images"), make_model, n_references=20, concurrency=4)`
    """
    if not isinstance(samples, ray_data.Dataset):
        raise ArgumentTypeError("samples", "a Ray data set; others go to ReferenceDistribution.fit", describe(samples))
    columns = source or Source()
    with _plain_errors():
        _check_columns(samples.schema(), columns.image, columns.index)
        results = samples.map_batches(
            Outputs,
            fn_constructor_kwargs={"make_model": make_model, "source": columns},
            batch_size=batch_size,
            batch_format="numpy",
            compute=_pool(concurrency),
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            runtime_env=_KEEPING_MEMORY,
        )
        parts = list(results.iter_batches(batch_size=None, batch_format="numpy"))
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
            images = {int(row[columns.index]): columns.inputs(np.array(row[columns.image])[None])[0] for row in rows}
            return torch.stack([images[int(index[order[place]])] for place in places])

        return ReferenceDistribution.fit_outputs(outputs, collect, n_neighborhoods, n_references, seed=seed)


@ray.remote(max_retries=3)  # type: ignore[untyped-decorator]
def _configuration(job: Job) -> dict[str, Any]:
    """What the rows depend on, as it is told where the model can be loaded."""
    return job.maker().configuration()


def _run(results: Any, folder: RunFolder, done: NDArray[np.bool_], on_done: OnDone) -> None:
    """Let the workers work, and keep the manifest."""
    failures: list[dict[str, Any]] = []
    with space_left(folder):
        for part in results.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
            columns = (part[column].tolist() for column in ("index", "error", "name"))
            for index, error, name in zip(*columns, strict=True):
                if index == FATAL:
                    raise pickle.loads(bytes.fromhex(error))
                if error:
                    failures.append({"index": index, "name": name or None, "error": error})
                elif done[index]:
                    raise ArgumentError("source", "an index that differs for every sample", f"{index} twice")
                else:
                    done[index] = True
            for shard, digest in {*zip(part["shard"].tolist(), part["digest"].tolist(), strict=True)} - {("", "")}:
                folder.note(shard, digest)
            folder.finish_manifest(done, failures)
            on_done(int(done.sum()) + len(failures), len(done))


def _groups(done: NDArray[np.bool_], step: int) -> Any:
    """Tasks of a torch data set: what is left of every `step` indices."""
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


def _about(samples: Any, source: Source, n_samples: int) -> dict[str, Any]:
    """By what a Ray data set is known again, without reading it: its columns, and its files where it has any."""
    schema = samples.schema()
    _check_columns(schema, source.image, source.index, source.label, source.name)
    sizes = {file: size_of(file) for file in samples.input_files()}
    files = sorted(f"{Path(file).name} {size}" if size >= 0 else file for file, size in sizes.items())
    return {
        "class": "ray.data.Dataset",
        "n_samples": n_samples,
        "columns": list(schema.names),
        "types": [str(one) for one in schema.types],
        "files": digest_of_names(files) if files else None,
        "source": Fingerprints().of(source),
    }


def _check_columns(schema: Any, *wanted: str | None) -> None:
    """Refuse columns that are not there; an empty data set has no schema."""
    names = [] if schema is None else list(schema.names)
    for column in wanted if schema is not None else ():
        if column is not None and column not in names:
            raise ArgumentError("source", f"columns of the data set ({', '.join(names)})", repr(column))


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
