"""Files of a data set and of a run: which are known again, which are refused, and which are read."""

import json
import os
import zlib

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, Subset

from captum_ext.dataset import DatasetAttributions, MapFormat
from captum_ext.dataset.manifest import write_manifest
from captum_ext.dataset.sample_files import marks_of, names_of
from captum_ext.dataset.shards import RunFolder, rows_of_a_task
from captum_ext.exceptions import ArgumentError, RunFolderError
from tests.dataset.test_run import run, same
from tests.dataset.toy import Images, Linear, linear


class Texts(Dataset):
    """A folder of files, each of which holds a number: image i is filled with it."""

    def __init__(self, root):
        self.root = str(root)
        self.samples = [(str(path), 0) for path in sorted(root.glob("*.txt"))]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        with open(self.samples[index][0]) as file:
            return torch.full((2, 2, 1), float(file.read())), 0


def texts(root, *contents):
    root.mkdir(exist_ok=True)
    for place, content in enumerate(contents):
        (root / f"{place}.txt").write_text(content)
    return Texts(root)


def columns(*indices, shape=(2, 2)):
    return {"index": np.array(indices), "map": np.zeros((len(indices), *shape), dtype=np.float32)}


def begun(path, n_samples):
    folder = RunFolder(path)
    folder.begin({"fields": ["map"]}, n_samples, resume=True)
    return folder


def test_a_file_of_both_ends_of_a_group_leaves_that_of_its_middle(tmp_path):
    folder = begun(tmp_path, 8)
    folder.write(columns(*range(1, 7)), asked=range(8))
    for _ in range(2):  # a task that is repeated replaces its own file
        folder.write(columns(0, 7), asked=[7, 0])
        assert folder.done(8).tolist() == [True] * 8
        assert len(folder.shards()) == 2
    assert [path.name[:24] for path in folder.shards()] == ["rows-000000000-000000007"] * 2


def test_both_ends_of_a_file_that_failed_and_were_repaired_cost_no_row(tmp_path):
    with pytest.warns(UserWarning, match="2 of 8 samples have no row"):
        run(linear(), Images(8, broken=(0, 7)), tmp_path / "a", shard_rows=8, batch_size=8)
    repaired = run(linear(), Images(8), tmp_path / "a", shard_rows=8, batch_size=8)
    assert repaired.complete
    assert repaired.table(["index"]).to_pydict()["index"] == list(range(8))
    torch.testing.assert_close(repaired.maps(), run(linear(), Images(8), tmp_path / "b").maps())


def test_files_with_the_names_of_older_versions_are_read_and_not_repeated(tmp_path):
    whole = run(linear(), Images(8), tmp_path / "whole", shard_rows=4)
    out = tmp_path / "out"
    run(linear(), Images(8), out, shard_rows=4)
    first, second = sorted(out.glob("rows-*"))
    first = first.rename(out / "rows-000000000-000000003.parquet")
    second.unlink()
    written = first.stat().st_mtime_ns
    found = run(linear(), Images(8), out, shard_rows=4)
    assert same(found, whole)
    assert torch.equal(found.maps([6, 1]), whole.maps([6, 1]))
    assert first.stat().st_mtime_ns == written
    assert len(list(out.glob("rows-*"))) == 2


def test_a_manifest_that_missed_the_last_file_is_brought_up_to_date(tmp_path):
    run(linear(), Images(6), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    failures = [{"index": 4, "name": None, "error": "OSError: gone"}]
    write_manifest(tmp_path / "manifest.json", {**manifest, "n_done": 0, "done": [], "failures": failures})
    assert not DatasetAttributions(tmp_path).complete
    RunFolder(tmp_path).begin(manifest["configuration"], 6, resume=True)
    assert DatasetAttributions(tmp_path).complete
    assert DatasetAttributions(tmp_path).manifest == manifest


def test_a_failure_stays_in_the_manifest_until_its_sample_is_tried_again(tmp_path):
    with pytest.warns(UserWarning, match="1 of 3"):
        failed = run(linear(), Images(3, broken=(1,)), tmp_path).manifest
    RunFolder(tmp_path).begin(failed["configuration"], 3, resume=True)
    assert DatasetAttributions(tmp_path).manifest == failed


def test_other_files_under_the_same_names_are_another_data_set(tmp_path):
    run(linear(), texts(tmp_path / "one", "1", "2"), tmp_path / "out", target=0)
    message = "1 of those with a row have changed since, the first that of sample 1"
    for place, changed in enumerate(("22", "3")):  # longer, and as long
        with pytest.raises(RunFolderError, match=message):
            run(linear(), texts(tmp_path / f"other-{place}", "1", changed), tmp_path / "out", target=0)
    moved = (tmp_path / "one").rename(tmp_path / "moved")
    assert run(linear(), Texts(moved), tmp_path / "out", target=0).complete
    with pytest.raises(RunFolderError, match="dataset.files was"):
        run(linear(), texts(tmp_path / "three", "1", "2", "3"), tmp_path / "out", target=0)


def test_a_file_that_failed_may_be_repaired(tmp_path):
    folder, out = tmp_path / "folder", tmp_path / "out"
    with pytest.warns(UserWarning, match="1 of 2 samples have no row.* 1.txt: ValueError"):
        run(linear(), texts(folder, "1", "no number"), out, target=0)
    found = run(linear(), texts(folder, "1", "2"), out, target=0)
    assert found.complete
    assert found.table(["score"]).to_pydict()["score"] == [2.5, 5.0]
    with pytest.raises(RunFolderError, match="the first that of sample 1"):
        run(linear(), texts(folder, "1", "2.5"), out, target=0)


def test_subsets_and_concatenations_have_the_names_and_marks_of_their_files(tmp_path):
    one, other = texts(tmp_path / "one", "1", "22"), texts(tmp_path / "other", "333")
    subset = Subset(ConcatDataset([one, other]), [2, 0])
    assert names_of(subset) == ["0.txt", "0.txt"]
    assert [mark >> 32 for mark in marks_of(subset).tolist()] == [3, 1]  # bytes
    assert names_of(ConcatDataset([one, Images(2)])) is None
    assert names_of(Subset(one, [5])) is None  # which fails when it is read
    (tmp_path / "one" / "1.txt").unlink()
    assert marks_of(one).tolist() == [(1 << 32) + zlib.crc32(b"1"), -1]


def test_failures_of_a_subset_have_names(tmp_path):
    subset = Subset(texts(tmp_path / "folder", "1", "2", "three"), [2, 1])
    with pytest.warns(UserWarning, match="1 of 2 samples have no row.*2.txt: ValueError"):
        found = run(linear(), subset, tmp_path / "out", target=0)
    assert [(entry["index"], entry["name"]) for entry in found.failures] == [(0, "2.txt")]
    assert found.table(["name"]).to_pydict()["name"] == ["1.txt"]


def test_marks_that_were_cut_off_are_not_compared(tmp_path):
    run(linear(), texts(tmp_path / "folder", "1"), tmp_path / "out", target=0)
    (tmp_path / "out" / ".file_marks.npy").write_bytes(b"\x93NUMPY")
    with pytest.warns(
        UserWarning, match=r"\.file_marks\.npy is damaged .*whether files have changed .* is not compared"
    ):
        assert run(linear(), texts(tmp_path / "folder", "11"), tmp_path / "out", target=0).complete
    assert run(linear(), texts(tmp_path / "folder", "11"), tmp_path / "out", target=0).complete  # they are written anew


def test_marks_of_older_versions_are_compared(tmp_path):
    run(linear(), texts(tmp_path / "folder", "1"), tmp_path / "out", target=0)
    marks = tmp_path / "out" / ".file_marks.npy"
    np.save(marks, np.load(marks))
    with pytest.raises(RunFolderError, match="the first that of sample 0"):
        run(linear(), texts(tmp_path / "folder", "11"), tmp_path / "out", target=0)


def test_a_pipe_among_the_samples_has_no_mark(tmp_path):
    data = texts(tmp_path, "1", "2")
    (tmp_path / "1.txt").unlink()
    os.mkfifo(tmp_path / "1.txt")
    assert marks_of(data).tolist() == [(1 << 32) + zlib.crc32(b"1"), -1]


def sizes_in_order(*sides):
    return [torch.ones(1, side, side) for side in sides]


MIXED = {"batch_size": 1, "target": 0, "fields": ("map",), "shard_rows": 1}


def ones(inputs, target):
    return torch.ones_like(inputs)


def test_images_of_another_size_in_a_later_file_are_refused_and_the_earlier_ones_kept(tmp_path):
    def scores(inputs):
        return inputs.flatten(1)[:, :2]

    message = r"`map_format` to be of one `size` for images of several sizes, but got \(2, 2\) and \(3, 3\)"
    with pytest.raises(ArgumentError, match=message):
        run(ones, sizes_in_order(2, 2, 3), tmp_path, forward_func=scores, **MIXED)
    found = DatasetAttributions(tmp_path)
    assert found.manifest["done"] == [[0, 1]]
    assert found.maps().tolist() == [[[1.0, 1.0], [1.0, 1.0]]] * 2
    with pytest.raises(ArgumentError, match=message):  # the first file of a process
        run(ones, sizes_in_order(2, 2, 3), tmp_path, forward_func=scores, **MIXED)


def test_maps_of_several_shapes_that_two_machines_began_with_are_named(tmp_path):
    folder = begun(tmp_path, 2)
    folder.write(columns(0))
    folder.write(columns(1, shape=(3, 3)))
    with pytest.raises(ArgumentError, match=r"images of several sizes, but got \(2, 2\) and \(3, 3\)"):
        DatasetAttributions(tmp_path).maps()
    assert DatasetAttributions(tmp_path).maps([1]).shape == (1, 3, 3)
    with pytest.raises(RunFolderError, match="holds files whose columns do not fit each other"):
        DatasetAttributions(tmp_path).table(["map"])


@pytest.fixture
def reads(monkeypatch):
    """The columns of every read of a parquet file."""
    found, real = [], pq.ParquetFile.read

    def read(self, *arguments, columns=None, **keywords):
        found.append(columns)
        return real(self, *arguments, columns=columns, **keywords)

    monkeypatch.setattr(pq.ParquetFile, "read", read)
    return found


def test_one_map_is_read_from_its_own_file_only(tmp_path, reads):
    found = run(linear(), Images(12), tmp_path, shard_rows=4, target=0, map_format=MapFormat(dtype="float32"))
    image = (torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]) * 6 / 12)[None]
    expected = (Linear().weight[0].reshape(2, 2, 1) * image).sum(1).detach()
    reads.clear()
    torch.testing.assert_close(found.maps([5]), expected)
    assert reads == [["index"], ["map"]]


def test_files_whose_names_overlap_are_opened_for_their_indices_only(tmp_path, reads):
    with pytest.warns(UserWarning, match="2 of 8"):
        run(linear(), Images(8, broken=(3, 4)), tmp_path, shard_rows=8, batch_size=8)
    found = run(linear(), Images(8), tmp_path, shard_rows=8, batch_size=8)
    reads.clear()
    whole = found.maps()
    assert reads == [["index"], ["map", "map_scale"]] * 2
    reads.clear()
    assert torch.equal(found.maps([4, 3]), whole[[4, 3]])
    assert reads == [["index"], ["index"], ["map", "map_scale"]]
    reads.clear()
    assert torch.equal(found.maps([0, 0]), whole[[0, 0]])  # the first file: the second is not opened
    assert reads == [["index"], ["map", "map_scale"]]


def test_negative_indices_are_no_samples(tmp_path):
    found = run(linear(), Images(3), tmp_path)
    with pytest.raises(ArgumentError, match=r"samples that have a row, but got \[-1\]"):
        found.maps([0, -1])
    with pytest.raises(ArgumentError, match="`indices` to be at least one sample"):
        found.maps([])


@pytest.mark.parametrize(
    ("shard_rows", "n_todo", "n_workers", "batch_size", "rows"),
    [
        (64, 50_000, 2, 4, 64),
        (64, 50_000, 512, 4, 24),
        (64, 50_000, 2048, 4, 4),
        (64, 10, 2, 16, 16),
        (40, 999, 1, 16, 32),
    ],
)
def test_a_worker_is_given_whole_batches_and_at_most_a_quarter_of_its_share(
    shard_rows, n_todo, n_workers, batch_size, rows
):
    assert rows_of_a_task(shard_rows, n_todo, n_workers, batch_size) == rows
