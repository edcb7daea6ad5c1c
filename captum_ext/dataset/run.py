"""A method over a data set: streamed, in flat memory, resumable, the same rows wherever it stops."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from captum_ext.core.checks import describe
from captum_ext.core.fingerprints import Fingerprints
from captum_ext.core.memory import hold_freed_memory
from captum_ext.core.types import ForwardFunc, TargetFunc
from captum_ext.core.warn import warn_caller
from captum_ext.dataset.map_format import MapFormat
from captum_ext.dataset.masks import OnMasks
from captum_ext.dataset.ranks import Division, Share
from captum_ext.dataset.results import DatasetAttributions
from captum_ext.dataset.row_maker import Metric, RowMaker, Settings
from captum_ext.dataset.run_options import OnDone, RunOptions
from captum_ext.dataset.samples import Samples
from captum_ext.dataset.shard_writer import ShardWriter
from captum_ext.dataset.shards import RunFolder
from captum_ext.exceptions import ArgumentTypeError

_SHARD_SECONDS = 300.0  # a killed run of a slow method loses no more than this
_MOST_NAMED = 10  # ranks in a message


def attribute_dataset(
    method: Any,
    dataset: Dataset[Any] | DataLoader[Any] | Sequence[Any],
    out: str | PathLike[str],
    *,
    target: int | str | TargetFunc | None,
    fields: Sequence[str] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    map_format: MapFormat | None = None,
    attribute_kwargs: Mapping[str, Any] | None = None,
    forward_func: ForwardFunc | None = None,
    run: RunOptions = RunOptions(),
) -> DatasetAttributions:
    """Explain every sample of a data set and write the results to a folder (extra `dataset`).

    The folder gets parquet files of at most about `run.shard_rows` rows and a manifest. A file is there whole or not at
    all: a run that was killed loses the rows that were not yet in a file, at most those of five minutes, and goes on
    from there when it is called again. Then every file is read and compared with its digests: one that was damaged is
    set aside with a warning, and its rows are computed again. Memory does not grow with the data set.

    Random numbers are those of (seed, index), so that a row depends neither on the order nor on the
    workers or machines, and on its batch only by the model's own rounding; batches begin at multiples of
    `run.batch_size`, so that an interrupted run repeats them and its rows are bit for bit those of an undisturbed one.

    Args:
        method: an object with Captum's `attribute` (this package's, Captum's or your own), or a function
            `f(inputs, target)` that returns attributions (N, ...). Where the method, the model or a metric draws from
            the global random states, samples are explained one by one, with states of their own, which are put back.
        dataset: a data set of tensors, or of tuples or dictionaries of a tensor (C, H, W) and a label, as torch and
            Hugging Face have them; or a DataLoader, of which data set, batch size, workers and collation (which has
            to keep the order) are taken, and shuffling is ignored. Samples with images that are no tensors yet are
            prepared by the model's own `prepare`, if it has one; otherwise say how with
            `captum_ext.images.image_dataset`, which also takes iterables, if their length is known, and folders.
        out: folder. A run of the same configuration in it is continued.
        target: class to explain: an int for all, "predicted", "label" (the second entry of a sample), or None for
            models with one output; or a function of what the model returns for one sample
            (`captum_ext.models.targets`), of which a run is continued with one that does and holds the same.
        fields: what is stored beside index, target (where it is a class) and, for folders of images, name: "prediction"
            (class), "score" (of the target), "delta" (convergence delta), "map", "insertion", "deletion", "diff_id"
            (areas; null where the curve is not valid), "curves" (the points of every metric's curve beside its area, in
            `insertion_curve` and so on: (2, S), shares of the pixels and scores there). None: score, map, prediction
            if there is a class, delta if the method has one.
        metrics: further numbers by name: functions of (forward_func, inputs, attributions, target) that return a
            `PerturbationCurve`, whose area is stored, or one number (N,) for each row; or `OnMasks`, of where samples'
            objects are. Curves of `captum_ext.metrics`, also with options by `functools.partial`, are computed in one
            sweep with those of `fields`; see `metrics.curves` for what that saves.
        map_format: size, dtype and channels of the stored maps. None: float16, channels summed, full size.
        attribute_kwargs: passed to `method.attribute`, such as `n_steps`.
        forward_func: the model, where the method has no attribute of this name.
        run: how the run goes: batch size, seed, workers that read, rows of a file, whether it goes on with what is in
            `out`, what else the rows depend on, progress; and which of several processes this is.

    Several devices share a run as the ranks of `RunOptions(rank=, world_size=)`, each of which calls this with the same
    arguments. The rows are those of a single process, whatever the number of ranks, also where it changes when the run
    goes on; no two write the same file, and one that was killed goes on when it is called again. Who ends with samples
    left of ranks that are not running warns of them: `.complete` is False until the last has its row.

    Returns:
        The results, read from `out` on demand; of a rank with the rows that the others had by then. Samples that could
        not be read, or with NaN or infinity in their pixels, scores or attributions, have no row; they are in
        `failures`, a warning says how many, and they are tried again when the run is continued.

    Raises:
        ArgumentError, ArgumentTypeError: an argument that cannot be used, such as a target that the model does not
            have.
        RunFolderError: `out` holds a run of another configuration, of other files or with other versions, or links or
            pipes where its files are expected; or is in use, also by ranks of another number, batch size or rows of a
            file; or is no folder.
        MissingExtraError: pyarrow is not installed.
        OSError: nothing more can be written; finished rows are kept.

    Example:
        >>> import tempfile, torch
        >>> from captum_ext.attr import IntegratedGradients
        >>> from captum_ext.dataset import RunOptions, attribute_dataset
        >>> images = torch.utils.data.TensorDataset(torch.ones(3, 1, 2, 2), torch.tensor([0, 1, 0]))
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     attributions = attribute_dataset(
        ...         IntegratedGradients(model), images, folder, target="label", run=RunOptions(show_progress=False)
        ...     )
        ...     attributions.maps().shape, attributions.table(["target"]).to_pydict()
        (torch.Size([3, 2, 2]), {'target': [0, 1, 0]})
    """
    if not isinstance(run, RunOptions):
        raise ArgumentTypeError("run", "RunOptions", describe(run))
    model = getattr(method, "forward_func", None) if forward_func is None else forward_func
    samples = Samples(dataset, run.batch_size, run.num_workers, model)
    settings = Settings(
        target,
        default_fields(method, target) if fields is None else field_names(fields),
        map_format or MapFormat(),
        run.seed,
        dict(attribute_kwargs or {}),
        dict(metrics or {}),
    )
    maker = RowMaker(method, settings, forward_func)
    about = {
        **maker.configuration(),
        "dataset": samples.configuration(),
        "given": Fingerprints().of(dict(run.configuration or {})),
    }
    samples.check_labels(settings.target)
    for metric in settings.metrics.values():
        if isinstance(metric, OnMasks):
            metric.check_length(len(samples))
    share = _share(samples, run)
    mine = np.ones(len(samples), dtype=bool) if share is None else share.mine()
    if run.limit is not None:
        mine[run.limit :] = False  # of a later call
    folder = RunFolder(Path(out), share=share)
    held = hold_freed_memory()  # from batch to batch
    with folder.locked(), progress(run.show_progress, int(mine.sum()), share) as on_done:
        _fill(maker, samples, mine, folder, about, run, on_done)
        running = folder.locks.running()
    del held
    result = DatasetAttributions(out)
    warn_of_failures(result)
    if share is not None:
        warn_of_absent(result, share, running)
    return result


def _share(samples: Samples, run: RunOptions) -> Share | None:
    """What this process does of the run, if that is not all."""
    rank, world_size = run.place
    division = Division(len(samples), samples.batch_size, run.shard_rows, world_size)
    return Share(rank, division) if world_size > 1 else None


def default_fields(method: Any, target: int | str | TargetFunc | None = "predicted") -> tuple[str, ...]:
    """Score and map, the prediction where there are classes, and the delta of a method that has one."""
    has_delta = getattr(method, "has_convergence_delta", lambda: False)()
    prediction = () if target is None or callable(target) else ("prediction",)
    return (*prediction, "score", *(("delta",) if has_delta else ()), "map")


def field_names(fields: Sequence[str]) -> tuple[str, ...]:
    """Several names, not the letters of one."""
    if isinstance(fields, str):
        raise ArgumentTypeError("fields", "a sequence of names", describe(fields))
    return tuple(fields)


def warn_of_failures(result: DatasetAttributions) -> None:
    """Say how many samples have no row."""
    if result.failures:
        n_samples, first = result.manifest["n_samples"], result.failures[0]
        warn_caller(
            f"{len(result.failures)} of {n_samples} samples have no row; see `.failures`. The first: "
            f"{first.get('name') or first['index']}: {first['error']}"
        )


def warn_of_absent(result: DatasetAttributions, share: Share, running: Collection[int]) -> None:
    """Say which other ranks have samples left and are not running: they were killed, or never started."""
    left = np.ones(len(share.mine()), dtype=bool)
    for first, last in result.manifest["done"]:
        left[first : last + 1] = False
    left[[entry["index"] for entry in result.failures]] = False
    counts = np.bincount(share.division.owners()[left], minlength=share.division.world_size)
    absent = [rank for rank in np.flatnonzero(counts).tolist() if rank != share.rank and rank not in running]
    if absent:
        named = ", ".join(map(str, absent[:_MOST_NAMED])) + (", ..." if len(absent) > _MOST_NAMED else "")
        warn_caller(
            f"The run in {result.folder} is incomplete: {int(counts[absent].sum())} of {len(left)} samples are left of "
            f"ranks that are not running ({named} of {share.division.world_size}). Start them, or go on with any "
            "world_size when no rank is running."
        )


def _fill(
    maker: RowMaker,
    samples: Samples,
    mine: NDArray[np.bool_],
    folder: RunFolder,
    configuration: dict[str, Any],
    run: RunOptions,
    on_done: OnDone,
) -> None:
    """Compute those of the rows of `mine` that are not there yet."""
    n_samples = int(mine.sum())
    with space_left(folder):
        done = folder.begin(configuration, len(samples), run.resume, samples.marks(mine))
    n_done = int(done.sum())
    on_done(n_done, n_samples)
    writer = ShardWriter(folder, run.shard_rows, _SHARD_SECONDS)
    failures: dict[int, str] = {}

    def record() -> None:
        entries = [{"index": index, "name": samples.name(index), "error": error} for index, error in failures.items()]
        folder.finish_manifest(done, entries)

    try:
        for read in samples.read((mine & ~done).tolist(), run.seed):
            columns, failed = ({}, {}) if read.batch is None else maker.rows(read.batch)
            failures.update({failure.index: failure.error for failure in read.failures})
            failures.update(failed)
            with space_left(folder):
                written = writer.add(columns)
                if len(written):
                    done[written] = True
                    record()
            n_done += len(columns.get("index", ()))
            on_done(n_done + len(failures), n_samples)
    finally:  # also after an error or Ctrl-C: what was computed is kept
        with space_left(folder):
            done[writer.close()] = True
            record()


@contextmanager
def space_left(folder: RunFolder) -> Iterator[None]:
    """Say what a full disk means for the run."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = f"No space left for {folder.folder}. Finished rows are kept: make room and run again to go on"
        raise OSError(error.errno, message) from error


@contextmanager
def progress(show: bool | OnDone, total: int, share: Share | None = None) -> Iterator[OnDone]:
    """A function to tell about samples that are done: the caller's, or that of a bar."""
    if callable(show):
        yield show
        return
    if not show:  # even a bar that is not shown waits for others, also for that of a process that was killed
        yield lambda _, __: None
        return
    with tqdm(total=total, desc="samples" if share is None else f"samples of {share}", unit="sample") as bar:

        def on_done(n_done: int, _: int) -> None:
            if bar.n == 0 and n_done:
                bar.initial = n_done  # of an earlier run: not part of the speed
            bar.update(n_done - bar.n)

        yield on_done
