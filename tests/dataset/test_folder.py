"""The folder of a run: whole files only, one writer, and honest errors."""

import errno
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import torch

from captum_ext.dataset import DatasetAttributions, run_locks, shards
from captum_ext.exceptions import ArgumentError, MissingExtraError, RunFolderError
from tests.dataset.test_run import run, same
from tests.dataset.toy import Images, linear


def test_ranges_are_first_and_last_index_of_what_is_done():
    assert shards.ranges([True, True, False, True]) == [[0, 1], [3, 3]]
    assert shards.ranges([]) == []


def test_a_damaged_shard_is_set_aside_and_computed_again(tmp_path):
    whole = run(linear(), Images(8), tmp_path / "whole", shard_rows=4)
    out = tmp_path / "out"
    run(linear(), Images(8), out, shard_rows=4)
    shard = sorted(out.glob("rows-*.parquet"))[0]
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.warns(
        UserWarning, match=r"rows-000000000-000000003-[0-9a-f]{8}.parquet is damaged .*; its rows are computed again"
    ):
        repaired = run(linear(), Images(8), out, shard_rows=4)
    assert same(repaired, whole)
    assert shard.with_suffix(".damaged").exists()


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"manifest.json is not the manifest of a run"):
        run(linear(), Images(2), tmp_path)
    with pytest.raises(RunFolderError, match="not the manifest of a run"):
        DatasetAttributions(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "other"}')
    with pytest.raises(RunFolderError, match="is not the manifest of a run"):
        DatasetAttributions(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "captum_ext.dataset", "version": 99}')
    with pytest.raises(RunFolderError, match="written by a newer version"):
        DatasetAttributions(tmp_path)


def test_a_full_disk_keeps_what_is_whole_and_the_run_goes_on_later(tmp_path, monkeypatch):
    out, written = tmp_path / "out", []
    real = pq.write_table

    def full(table, path, **options):
        if written:
            path.write_bytes(b"half of a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(1)
        real(table, path, **options)

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left for .*Finished rows are kept: make room and run again to go on"):
        run(linear(), Images(12), out, shard_rows=4)
    monkeypatch.undo()
    assert DatasetAttributions(out).manifest["done"] == [[0, 3]]
    assert list(out.glob(".*.tmp*")) == []
    assert same(run(linear(), Images(12), out, shard_rows=4), run(linear(), Images(12), tmp_path / "b"))


def test_another_error_of_the_file_system_is_passed_on_as_it_is(tmp_path, monkeypatch):
    def broken(self, columns, asked=None):
        raise PermissionError(errno.EACCES, "not yours")

    monkeypatch.setattr(shards.RunFolder, "prepared", broken)
    with pytest.raises(PermissionError, match="not yours"):
        run(linear(), Images(4), tmp_path / "out")


def test_temporary_files_of_a_killed_process_are_removed(tmp_path):
    run(linear(), Images(2), tmp_path)
    for name in (
        ".rows-1.77.tmp.parquet",
        ".manifest.77.tmp.json",
        "..file_marks.77.tmp.npy",
        ".rows-1.parquet.77.tmp",
    ):
        (tmp_path / name).write_text("half")
    run(linear(), Images(2), tmp_path)
    assert list(tmp_path.glob(".*.tmp*")) == []


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / ".mine.tmp").write_text("not yours")
    with pytest.raises(RunFolderError, match="not the manifest of a run"):
        run(linear(), Images(2), tmp_path)
    assert (tmp_path / ".mine.tmp").exists()


def test_a_folder_belongs_to_one_process_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(run_locks, "_SECONDS", 0.1)
    code = f"""
import filelock, sys
lock = filelock.FileLock({str(tmp_path / ".lock")!r})
lock.acquire()
print("locked", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(RunFolderError, match="Another process writes to"):
            run(linear(), Images(2), tmp_path)
        process.kill()
    assert run(linear(), Images(2), tmp_path).complete


def test_reading_asks_for_what_there_is(tmp_path):
    found = run(linear(), Images(6), tmp_path, shard_rows=2)
    assert found.table(["target", "index"]).column_names == ["target", "index"]
    assert found.table(["index", "map"]).column("map").type.shape == [2, 1]
    with pytest.raises(ArgumentError, match=r"`columns` to be some of index, .*, but got heat"):
        found.table(["heat"])
    with pytest.raises(ArgumentError, match=r"samples that have a row, but got \[6\]"):
        found.maps([0, 6])
    assert torch.equal(found.maps([4, 1]), torch.stack([found.maps()[4], found.maps()[1]]))


def test_a_missing_library_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'captum-ext\[dataset\]'"):
        run(linear(), Images(2), tmp_path, target=0)
