"""Whether explanations changed between two runs over the same images, beside what noise alone changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.checks import check_number, check_positive_int, check_seed, describe
from captum_ext.core.optional import require
from captum_ext.core.text import shown
from captum_ext.dataset import DatasetAttributions
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.selection.difference import Difference
from captum_ext.selection.similarity import MEASURES, Numbers, map_similarity

Run: TypeAlias = DatasetAttributions | str | PathLike[str]
LEAST_IMAGES = 5
_AT_ONCE, _PERMUTED = 256, 2_000_000  # maps and permuted numbers in memory at once
_MOST_NOISE = 16
_RANGES = {"correlation": (-1, 1), "overlap": (0, 1), "moved": (0, 2)}  # the last: sides of the image, along a diagonal


@dataclass(frozen=True)
class DiffOptions:
    """How runs are compared; see `diff`.

    Attributes:
        top: share of the pixels whose overlap is measured.
        grid: cells a side, on which the distance of moved mass is.
        alpha: chance of finding a difference where there is none, over the three measures.
        margin: a smaller mean drop is no difference, however sure it is.
        n_permutations: of the test.
        seed: of the permutations.

    Raises:
        ArgumentTypeError, ArgumentError: a value that cannot be used.
    """

    top: float = 0.05
    grid: int = 7
    alpha: float = 0.05
    margin: float = 0.01
    n_permutations: int = 9_999
    seed: int = 0

    def __post_init__(self) -> None:
        alpha = check_number("alpha", self.alpha, "a number between 0 and 1", lambda value: 0 < value < 1)
        margin = check_number("margin", self.margin, "a number from 0 to 1", lambda value: 0 <= value <= 1)
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "margin", margin)
        check_positive_int("n_permutations", self.n_permutations, 10**6)
        check_seed("seed", self.seed)


@dataclass
class _Counted:
    """Rows of both runs that can be compared, and why others cannot."""

    indices: list[int]
    left_out: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def leave_out(self, reason: str, rows: set[int]) -> None:
        """Rows that do not count, unless there are none."""
        rows &= set(self.indices)
        if rows:
            self.left_out[reason] = (*self.left_out.get(reason, ()), *sorted(rows))
            self.indices = [index for index in self.indices if index not in rows]


def diff(
    run_a: Run,
    run_b: Run,
    *,
    noise: Sequence[Run] = (),
    limits: Mapping[str, float] = MappingProxyType({}),
    options: DiffOptions = DiffOptions(),
) -> Difference:
    r"""Compare the explanations of two checkpoints, precisions, versions or preprocessings, image by image.

    Args:
        run_a: a run of `attribute_dataset` with maps, or its folder.
        run_b: another one over the same images.
        noise: repeats of the first run with another seed, layout, batch size or machine, and nothing else: what noise
            alone changes. Each is compared with the first run, as the second is.
        limits: measure -> the least mean correlation or overlap, or the largest mean "moved", that is allowed
            (`map_similarity` says what they are); those that are beyond are in `Difference.beyond`.
        options: shares, grid, level and margin.

    The test is a permutation test. If the second run differs from the first by noise alone, it may be exchanged with a
    repeat on each image: the mean over images of how much less alike it is than all of them are on average is compared
    with that for random exchanges, one-sided, and corrected for three measures (Holm). A difference is what is
    significant, larger than `margin`, and beyond every single repeat. Images on which the runs explain another target
    do not count.

    The test takes the noise of images as independent. The seed of RISE makes masks that all images share: then one pair
    of seeds may be less alike than another on all images, which looks like a difference. Give both runs the same masks,
    or several repeats with seeds of their own.

    Returns:
        Tables and a verdict in words.

    Raises:
        ArgumentTypeError, ArgumentError: runs over other images or with maps of other shapes, explicit targets that
            differ, fewer than 5 images that count, more than 16 repeats, or a limit of no measure.
        RunFolderError: a folder without a run, or a damaged one.
        MissingExtraError: pandas or pyarrow is not installed.

    Example:
        >>> import tempfile, torch
        >>> from captum_ext.attr import ExpectedGradients
        >>> from captum_ext.dataset import RunOptions, attribute_dataset
        >>> from captum_ext.selection import diff
        >>> _ = torch.manual_seed(0)
        >>> images = torch.utils.data.TensorDataset(torch.rand(8, 1, 6, 6))
        >>> eg = ExpectedGradients(lambda x: x.pow(3).flatten(1), references=torch.rand(5, 1, 6, 6))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     runs = [RunOptions(seed=seed, show_progress=False) for seed in range(3)]
        ...     a, b, noise = (attribute_dataset(eg, images, f"{folder}/{run.seed}", target=0, run=run) for run in runs)
        ...     found = diff(a, b, noise=[noise])
        >>> found.differs, found.n_images
        (False, 8)
    """
    pandas = require("pandas", "compare")
    runs = [_opened("run_a", run_a), _opened("run_b", run_b)]
    if not isinstance(noise, Sequence) or isinstance(noise, str):
        raise ArgumentTypeError("noise", "a sequence of runs", describe(noise))
    runs += [_opened(f"noise[{place}]", run) for place, run in enumerate(noise)]
    if len(runs) - 2 > _MOST_NOISE:
        raise ArgumentError("noise", f"at most {_MOST_NOISE} repeats", str(len(runs) - 2))
    limits = _check_limits(limits)
    counted, names = _countable(runs)
    measured = _measured(runs, counted, options)
    undefined = {
        counted.indices[place]
        for place in np.flatnonzero(~np.isfinite(np.stack(list(measured.values()))).all((0, 1))).tolist()
    }
    places = [place for place, index in enumerate(counted.indices) if index not in undefined]
    counted.leave_out("a map is constant or not finite", undefined)
    if len(counted.indices) < LEAST_IMAGES:
        reasons = "; ".join(f"{len(rows)} left out: {reason}" for reason, rows in counted.left_out.items())
        received = f"{len(counted.indices)}{f' ({reasons})' if reasons else ''}"
        raise ArgumentError("run_a", f"at least {LEAST_IMAGES} images that count in all runs", received)
    measured = {name: values[:, places] for name, values in measured.items()}
    summary = pandas.DataFrame.from_dict(summary_of(measured, limits, options), orient="index")
    summary.index.name = "measure"
    images = pandas.DataFrame(_columns(measured, counted.indices, names))
    return Difference(
        summary=summary,
        images=images.iloc[np.argsort(-_changes(measured), kind="stable")].reset_index(drop=True),
        differs=bool(summary["differs"].any()) if noise else None,
        left_out=counted.left_out,
        settings=_other_settings(*runs[:2]),
        n_images=len(counted.indices),
        unnamed=any(dict(_setting(run, "dataset") or {}).get("files") is None for run in runs),
    )


def _opened(name: str, run: Any) -> DatasetAttributions:
    if isinstance(run, DatasetAttributions):
        return run
    if not isinstance(run, str | PathLike):
        raise ArgumentTypeError(name, "a folder, or what attribute_dataset returns", describe(run))
    return DatasetAttributions(run)


def _check_limits(limits: Any) -> dict[str, float]:
    if not isinstance(limits, Mapping):
        raise ArgumentTypeError("limits", "a mapping from measures to numbers", describe(limits))
    allowed: dict[str, float] = {}
    for name, limit in limits.items():
        if name not in MEASURES:
            raise ArgumentError("limits", f"for {', '.join(MEASURES)}", repr(name))
        least, most = _RANGES[name]
        expected = f"a number from {least} to {most}, between which {name} is"
        allowed[name] = check_number(
            f"limits[{name!r}]",
            limit,
            expected,
            lambda value: least <= value <= most,  # noqa: B023
        )
    return allowed


def _label(place: int) -> str:
    """The argument that the run is, by its place behind the first."""
    return "run_b" if place == 1 else f"noise[{place - 2}]"


def _countable(runs: Sequence[DatasetAttributions]) -> tuple[_Counted, dict[int, str]]:
    """Images with a row of the same target in all runs, and their names."""
    rows = [_rows_of(run) for run in runs]
    for place, run in enumerate(runs[1:], 1):
        _check_same_images(runs[0], run, _label(place))
        for index in rows[0].keys() & rows[place].keys():
            name, other = rows[0][index][0], rows[place][index][0]
            if name != other:
                expected = f"over the images of run_a, whose number {index} is {shown(name, 60)}"
                raise ArgumentError(_label(place), expected, shown(other, 60))
    for place, run in enumerate(runs[2:], 2):
        if _setting(run, "model") != _setting(runs[0], "model"):
            raise ArgumentError(_label(place), "a repeat of run_a", "a run of another model")
    every, in_all = set().union(*rows), set(rows[0]).intersection(*rows)
    counted = _Counted(sorted(every))
    counted.leave_out("a run has no row of them", every - in_all)
    counted.leave_out(
        "the runs explain other targets", {index for index in in_all if len({of_run[index][1] for of_run in rows}) > 1}
    )
    return counted, {index: name for index, (name, _) in rows[0].items() if name}


def _rows_of(run: DatasetAttributions) -> dict[int, tuple[str, Any]]:
    """Index -> name and target of every row."""
    table = run.table()
    if table.num_rows == 0:
        return {}
    columns = [
        table[name].to_pylist() if name in table.column_names else [default] * table.num_rows
        for name, default in (("index", 0), ("name", ""), ("target", None))
    ]
    return {index: (name or "", target) for index, name, target in zip(*columns, strict=True)}


def _check_same_images(first: DatasetAttributions, other: DatasetAttributions, label: str) -> None:
    """Refuse runs over other images, or that were told to explain something else."""
    counts = [run.manifest["n_samples"] for run in (first, other)]
    files = [dict(_setting(run, "dataset") or {}).get("files") for run in (first, other)]
    if counts[0] != counts[1] or (None not in files and files[0] != files[1]):
        expected = f"over the same images as run_a, {counts[0]:,} of its files"
        raise ArgumentError(label, expected, f"a run over {counts[1]:,} others")
    targets = [_setting(run, "target") for run in (first, other)]
    if targets[0] != targets[1]:
        raise ArgumentError(label, f"with the target of run_a, {targets[0]!r}", repr(targets[1]))


def _setting(run: DatasetAttributions, name: str) -> Any:
    return run.manifest["configuration"].get(name)


def _measured(runs: Sequence[DatasetAttributions], counted: _Counted, options: DiffOptions) -> dict[str, Numbers]:
    """Measure -> (1 + K, n): of the second run, and of each repeat, against the first."""
    parts: list[list[dict[str, Numbers]]] = []
    for begin in range(0, len(counted.indices), _AT_ONCE):
        some = counted.indices[begin : begin + _AT_ONCE]
        own, others = runs[0].maps(some), [run.maps(some) for run in runs[1:]]
        for place, maps in enumerate(others):
            if maps.shape != own.shape:
                expected = f"with maps of the shape of run_a's, {tuple(own.shape[1:])}"
                raise ArgumentError(_label(place + 1), expected, str(tuple(maps.shape[1:])))
        parts.append([map_similarity(own, maps, top=options.top, grid=options.grid) for maps in others])
    if not parts:
        return {name: np.zeros((len(runs) - 1, 0)) for name in MEASURES}
    return {
        name: np.stack([np.concatenate([part[run][name] for part in parts]) for run in range(len(runs) - 1)])
        for name in MEASURES
    }


def summary_of(measured: dict[str, Numbers], limits: Mapping[str, float], options: DiffOptions) -> dict[str, Any]:
    """A row for each measure."""
    rows: dict[str, dict[str, Any]] = {}
    for name, higher in MEASURES.items():
        values = measured[name]
        mean, has_noise = float(values[0].mean()), len(values) > 1
        noise = float(values[1:].mean()) if has_noise else float("nan")
        drop = (noise - mean if higher else mean - noise) if has_noise else float("nan")
        p = permuted_p(values if higher else -values, options) if has_noise else float("nan")
        limit = limits.get(name)
        beyond = limit is not None and (mean < limit if higher else mean > limit)
        rows[name] = {"mean": mean, "noise": noise, "drop": drop, "p": p, "differs": False}
        rows[name] |= {"limit": limit, "beyond": beyond}
    for name, corrected in _holm({name: row["p"] for name, row in rows.items()}).items():
        rows[name]["p"] = corrected
        means = measured[name].mean(1) * (1 if MEASURES[name] else -1)
        below_each = len(means) > 1 and means[0] < means[1:].min()
        clear = corrected <= options.alpha and rows[name]["drop"] > options.margin
        rows[name]["differs"] = bool(clear and below_each)
    return rows


def permuted_p(values: Numbers, options: DiffOptions) -> float:
    """One-sided p of the second run (first row of (1 + K, n)) being less alike than the repeats are."""
    less = values.mean(0) - values  # (1 + K, n): by how much each is below the mean of all
    n_runs, n_images = less.shape
    observed = less[0].mean()
    source, at_least = np.random.default_rng(options.seed), 1
    columns, left = np.arange(n_images), options.n_permutations
    while left > 0:
        some = min(left, max(1, _PERMUTED // n_images))
        chosen = source.integers(n_runs, size=(some, n_images))
        at_least += int((less[chosen, columns].mean(1) >= observed - 1e-12).sum())
        left -= some
    return at_least / (options.n_permutations + 1)


def _holm(values: Mapping[str, float]) -> dict[str, float]:
    corrected, largest = {}, 0.0
    for place, (name, p) in enumerate(sorted(values.items(), key=lambda pair: pair[1])):
        largest = max(largest, min(1.0, p * (len(values) - place)))
        corrected[name] = largest if p == p else p
    return corrected


def _columns(measured: dict[str, Numbers], indices: list[int], names: Mapping[int, str]) -> dict[str, Any]:
    columns: dict[str, Any] = {"index": indices}
    if names:
        columns["name"] = [names.get(index, "") for index in indices]
    for name, values in measured.items():
        columns[name] = values[0]
        if len(values) > 1:
            columns[f"{name}_noise"] = values[1:].mean(0)
    return columns


def _changes(measured: dict[str, Numbers]) -> NDArray[np.float64]:
    """How much each image (n,) has changed: the drop of its correlation, beyond that of noise where there is some."""
    values = measured["correlation"]
    floor = values[1:].mean(0) if len(values) > 1 else 1.0
    change: Numbers = floor - values[0]
    return change


def _other_settings(first: DatasetAttributions, second: DatasetAttributions) -> tuple[str, ...]:
    one, other = (run.manifest["configuration"] for run in (first, second))
    return tuple(sorted(name for name in {*one, *other} if one.get(name) != other.get(name)))
