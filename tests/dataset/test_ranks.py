"""Ranks that share a run: the rows of one process, whoever does them, and nobody is missing without a word."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from captum_ext.dataset import DatasetAttributions, RunOptions, run_locks
from captum_ext.dataset.ranks import Division, Share, rank_of_environment
from captum_ext.dataset.shards import RunFolder
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError, ArgumentTypeError, RunFolderError
from captum_ext.images import ImageFolder
from tests.dataset.test_run import run, same
from tests.dataset.toy import Images, linear

SMALL = {"batch_size": 2, "shard_rows": 4}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return run(linear(), Images(21), tmp_path_factory.mktemp("alone"), **SMALL)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(run_locks, "_SECONDS", 0.2)


def as_rank(out, rank, world_size, n_samples=21, **changed):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The run in")
        return run(linear(), Images(n_samples), out, rank=rank, world_size=world_size, **{**SMALL, **changed})


def lock_of(out, rank, world_size, n_samples=21):
    name = Division(n_samples, 2, 4, world_size).name
    return filelock.FileLock(out / f".rank-{rank}-of-{world_size}-{name}.lock")


def indices_by_file(out):
    folder = RunFolder(out)
    found = {}
    for path in folder.shards():
        with folder.opened(path, folder.known()) as shard:
            found[path.name] = shard.indices().tolist()
    return found


@given(
    n_samples=st.integers(1, 400),
    batch_size=st.integers(1, 20),
    shard_rows=st.integers(1, 60),
    world_size=st.integers(1, 12),
)
def test_ranks_divide_the_samples_in_whole_batches_and_evenly(n_samples, batch_size, shard_rows, world_size):
    division = Division(n_samples, batch_size, shard_rows, world_size)
    parts = [Share(rank, division).mine() for rank in range(world_size)]
    assert np.array_equal(sum(part.astype(int) for part in parts), np.ones(n_samples))
    for part in parts:
        for start in range(0, n_samples, batch_size):
            assert len(set(part[start : start + batch_size].tolist())) == 1
    sizes = [int(part.sum()) for part in parts]
    assert max(sizes) - min(sizes) <= batch_size


def test_ranks_take_turns_by_files_and_divide_what_is_left():
    owners = Division(n_samples=21, batch_size=2, shard_rows=4, world_size=2).owners()
    assert owners.tolist() == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4 + [0] * 2 + [1] * 3


def test_ranks_give_the_rows_of_one_process_each_in_files_of_its_own(tmp_path, alone):
    for rank in (2, 0, 1):
        found = as_rank(tmp_path, rank, 3)
    assert found.complete
    assert same(found, alone)
    stored = indices_by_file(tmp_path)
    assert sorted(index for indices in stored.values() for index in indices) == list(range(21))
    owners = Division(21, 2, 4, 3).owners()
    assert all(len(set(owners[indices].tolist())) == 1 for indices in stored.values())


@pytest.mark.parametrize("more", [{"num_workers": 1}, {"shard_rows": 1}, {"batch_size": 16}, {"world_size": 30}])
def test_workers_files_batches_and_more_ranks_than_batches_change_no_row(tmp_path, more):
    single = {name: value for name, value in more.items() if name != "world_size"}
    alone = run(linear(), Images(21), tmp_path / "alone", **{**SMALL, **single})
    world_size = more.get("world_size", 2)
    for rank in range(world_size):
        found = as_rank(tmp_path / "ranks", rank, **{"world_size": world_size, **more})
    assert same(found, alone)


def test_a_run_goes_on_with_another_number_of_ranks_or_with_one_process(tmp_path, alone):
    def stopping(at):
        def stop(done, _):
            if done >= at:
                raise KeyboardInterrupt

        return stop

    def stopped(out, at, **options):
        with pytest.raises(KeyboardInterrupt):
            run(linear(), Images(21), out, **{**SMALL, "show_progress": stopping(at), **options})
        return json.loads((out / "manifest.json").read_text())["n_done"]

    out = tmp_path / "out"
    assert stopped(out, 6) == 6
    assert stopped(out, 6, rank=1, world_size=2) == 10
    assert stopped(out, 4, rank=2, world_size=3) == 10 + 4
    assert stopped(out, 17) == 18
    files = indices_by_file(out)
    for rank in range(4):
        found = as_rank(out, rank, 4)
    assert same(found, alone)
    assert files.items() <= indices_by_file(out).items()  # nothing was computed twice
    single = tmp_path / "single"
    as_rank(single, 1, 2)
    assert same(run(linear(), Images(21), single, **SMALL), alone)


def test_who_ends_last_says_which_ranks_are_missing(tmp_path):
    with pytest.warns(UserWarning, match=r"is incomplete: 14 of 21 samples are left of ranks .* \(0, 1 of 3\)"):
        first = run(linear(), Images(21), tmp_path, rank=2, world_size=3, **SMALL)
    assert not first.complete
    assert repr(first).endswith("7 of 21 rows)")
    assert not DatasetAttributions(tmp_path).complete
    with lock_of(tmp_path, 1, 3), pytest.warns(UserWarning, match=r"6 of 21 samples are left of .* \(0 of 3\)"):
        run(linear(), Images(21), tmp_path, rank=2, world_size=3, **SMALL)  # 1 is running, which needs no word
    as_rank(tmp_path, 0, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(linear(), Images(21), tmp_path, rank=1, world_size=3, **SMALL).complete


def test_samples_that_fail_are_told_of_by_all_and_tried_again_by_their_rank(tmp_path):
    broken = Images(12, broken=(1, 5), nan=(6,))
    for rank in (0, 1):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = run(linear(), broken, tmp_path, rank=rank, world_size=2, **SMALL)
        assert "of 12 samples have no row" in str(told[0].message)
    assert [entry["index"] for entry in found.failures] == [1, 5, 6]
    assert len(found) == 9
    with pytest.warns(UserWarning, match="1 of 12 samples have no row"):
        assert [entry["index"] for entry in as_rank(tmp_path, 1, 2, 12).failures] == [1]
    assert as_rank(tmp_path, 0, 2, 12).complete


def test_ranks_of_which_every_sample_fails_are_no_missing_ranks(tmp_path):
    for rank in (0, 1):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            run(linear(), Images(4, broken=(0, 1)), tmp_path, rank=rank, world_size=2, batch_size=2)
    assert "2 of 4 samples have no row" in str(told[0].message)
    assert len(told) == 1  # rank 0 is not running, and has nothing left


def test_the_same_rank_ranks_of_another_division_and_single_processes_do_not_meet(tmp_path):
    as_rank(tmp_path, 0, 2)
    with lock_of(tmp_path, 1, 2):
        as_rank(tmp_path, 0, 2)  # beside another of the same division
        with pytest.raises(RunFolderError, match=r"Another process writes to .* as rank 1 of 2"):
            as_rank(tmp_path, 1, 2)
        with pytest.raises(RunFolderError, match=r"divide the samples otherwise .*: 1 of 2\. .* give rank 0 of 3"):
            as_rank(tmp_path, 0, 3)
        with pytest.raises(RunFolderError, match=r"otherwise .* their world_size, batch_size and shard_rows"):
            as_rank(tmp_path, 0, 2, batch_size=4)
        with pytest.raises(RunFolderError, match=r"Ranks write to .*: 1 of 2\. Wait until they have ended"):
            run(linear(), Images(21), tmp_path, **SMALL)
    with filelock.FileLock(tmp_path / ".lock"), pytest.raises(RunFolderError, match="Another process writes to"):
        as_rank(tmp_path, 1, 2)
    assert as_rank(tmp_path, 1, 2).complete


def test_a_rank_with_other_settings_is_refused_also_before_the_first_row(tmp_path):
    RunFolder(tmp_path, share=Share(0, Division(21, 2, 4, 2))).begin({"a": 1}, 21, resume=True)
    with lock_of(tmp_path, 0, 2), pytest.raises(RunFolderError, match="holds a run with other settings"):
        as_rank(tmp_path, 1, 2)
    as_rank(tmp_path, 1, 2)  # nobody is there any more, and nothing was computed
    with pytest.raises(RunFolderError, match="seed was int 0, now int 1"):
        as_rank(tmp_path, 0, 2, seed=1)


@pytest.mark.parametrize("change", ["damaged", "missing"])
def test_a_file_that_is_lost_is_computed_again_by_the_ranks_whose_rows_it_had(tmp_path, alone, change):
    run(linear(), Images(21), tmp_path, batch_size=2, shard_rows=21)  # one file, of samples of all ranks
    (shard,) = tmp_path.glob("rows-*.parquet")
    shard.write_bytes(shard.read_bytes()[:100]) if change == "damaged" else shard.unlink()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = run(linear(), Images(21), tmp_path, rank=0, world_size=2, **SMALL)
    assert ("is damaged" in str(told[0].message)) == (change == "damaged")
    assert "11 of 21 samples are left of ranks that are not running (1 of 2)" in str(told[-1].message)
    assert not found.complete
    assert found.maps().shape[0] == 10
    assert same(as_rank(tmp_path, 1, 2), alone)


def test_a_damaged_manifest_is_written_anew_with_the_rows_of_ranks_that_have_ended(tmp_path, alone):
    as_rank(tmp_path, 0, 2)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.warns(UserWarning, match="Its shards are of this run: it is written anew"):
        found = as_rank(tmp_path, 1, 2)
    assert found.complete
    assert same(found, alone)


def test_a_file_of_which_the_manifest_was_not_told_is_found_by_its_rank(tmp_path, alone):
    as_rank(tmp_path, 0, 2)
    before = (tmp_path / "manifest.json").read_text()
    as_rank(tmp_path, 1, 2)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("rows-*")}
    (tmp_path / "manifest.json").write_text(before)  # it was killed between its last file and the manifest
    found = as_rank(tmp_path, 1, 2)
    assert same(found, alone)
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.glob("rows-*")}


def test_ranks_at_the_same_time_keep_what_each_says_in_the_manifest(tmp_path, alone):
    code = """
import sys
from tests.dataset.test_ranks import as_rank
as_rank(sys.argv[1], int(sys.argv[2]), 3)
"""
    started = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(rank)]) for rank in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert same(DatasetAttributions(tmp_path), alone)


def test_a_rank_that_comes_while_another_begins_is_nothing_in_an_empty_folder(tmp_path, monkeypatch):
    real = Path.iterdir

    def joined_by_another(folder):
        (folder / lock_of(folder, 1, 2).lock_file).touch()
        return real(folder)

    monkeypatch.setattr(Path, "iterdir", joined_by_another)
    assert len(as_rank(tmp_path, 0, 2)) == 10


def test_samples_that_are_read_in_order_are_read_by_every_rank(tmp_path):
    class Stream:
        def __len__(self):
            return 21

        def __iter__(self):
            return (Images(21)[index] for index in range(21))

    for rank in (1, 0):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The run in")
            found = run(linear(), Stream(), tmp_path / "ranks", rank=rank, world_size=2, **SMALL)
    assert same(found, run(linear(), Stream(), tmp_path / "alone", **SMALL))


def test_a_rank_is_told_of_its_own_samples(tmp_path):
    told = []
    as_rank(tmp_path, 1, 2, show_progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 11)
    assert told[-1] == (11, 11)


def test_marks_of_files_are_those_of_all_ranks_and_their_changes_are_noticed(tmp_path):
    (tmp_path / "images" / "a").mkdir(parents=True)
    for number in range(6):
        Image.fromarray(np.full((2, 2, 3), 10 * number, dtype=np.uint8)).save(tmp_path / f"images/a/{number}.png")

    def prepare(image):
        return torch.from_numpy(np.asarray(image, dtype=np.float32).copy()).mean(2)[..., None] + torch.ones(2, 2, 1)

    images = ImageFolder(tmp_path / "images", prepare)
    options = {"world_size": 2, "batch_size": 1, "shard_rows": 1, "fields": ("map",), "target": 0}
    for rank in (0, 1):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The run in")
            run(linear(), images, tmp_path / "out", rank=rank, **options)
    Image.fromarray(np.full((2, 2, 3), 99, dtype=np.uint8)).save(tmp_path / "images/a/3.png")
    run(linear(), images, tmp_path / "out", rank=0, **options)
    with pytest.raises(
        RunFolderError, match="rows of other files: 1 of those with a row .* the first that of sample 3"
    ):
        run(linear(), images, tmp_path / "out", rank=1, **options)


TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8"}
SLURM = {"SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_COUNT": "4"}


def test_the_environment_says_the_rank_where_it_is_asked(monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert RunOptions().place == (0, 1)  # not asked for
    assert RunOptions(rank="env").place == (3, 8)
    assert RunOptions(rank="env", world_size=8).place == (3, 8)
    with pytest.raises(ArgumentsConflictError, match='`rank` and `world_size` do not fit .*"env" says 8, and not 4'):
        RunOptions(rank="env", world_size=4)


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"SLURM_ARRAY_TASK_ID": "2"}, (2, 4)),
        ({"SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_MAX": "8"}, (1, 4)),
        ({"SLURM_ARRAY_TASK_MIN": "2", "SLURM_ARRAY_TASK_MAX": "14", "SLURM_ARRAY_TASK_STEP": "4"}, (1, 4)),
    ],
)
def test_an_array_counts_from_its_smallest_index_in_its_steps(more, place):
    assert rank_of_environment({**SLURM, **more}) == place


@pytest.mark.parametrize(
    ("environment", "match"),
    [
        (
            {},
            r'`rank` to be an integer; or "env" in a process of torchrun \(RANK, WORLD_SIZE\) or in a task of a SLURM',
        ),
        ({"RANK": "0"}, "where neither is set"),
        ({**TORCHRUN, **SLURM}, "where torchrun and a SLURM array each say one"),
        ({**TORCHRUN, "RANK": "a"}, "but got \"env\" with RANK='a'"),
        (SLURM, 'indices of a SLURM array have gaps, but got "env" for task 6 of 4 from 0 to 3'),
        (
            {**SLURM, "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "9"},
            'indices of a SLURM array have gaps, but got "env" for task 6 of 4 from 1 to 9',
        ),
        (
            {**SLURM, "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "13", "SLURM_ARRAY_TASK_STEP": "4"},
            "task 6 of 4 from 1 to 13",
        ),
    ],
)
def test_an_environment_that_says_no_rank_is_refused(environment, match):
    with pytest.raises(ArgumentError, match=match):
        rank_of_environment(environment)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"rank": 1}, ArgumentError, "`rank` to be an integer from 0 to 0, below world_size, but got 1"),
        ({"rank": 2, "world_size": 2}, ArgumentError, "`rank` to be an integer from 0 to 1, below world_size"),
        ({"rank": -1, "world_size": 2}, ArgumentError, "`rank` to be an integer from 0, but got -1"),
        ({"rank": "0", "world_size": 2}, ArgumentTypeError, "`rank` to be an integer or \"env\", but got str '0'"),
        ({"world_size": 0}, ArgumentError, "`world_size` to be an integer of at least 1, but got 0"),
        ({"world_size": 2, "resume": False}, ArgumentsConflictError, "a rank goes on with the folder that another has"),
    ],
)
def test_ranks_that_cannot_be_are_refused(given, error, match):
    with pytest.raises(error, match=match):
        RunOptions(**given)
