"""Single shards that no run wrote: refused before they are unpacked, or before a row of them is believed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captum_ext.dataset import shard_files
from captum_ext.dataset.parquet_claims import groups_of
from captum_ext.dataset.shard_files import Expected, opened_shard, write_shard
from captum_ext.exceptions import RunFolderError


def read_shard(path, n_samples, **changed):
    with opened_shard(path, Expected(n_samples), **changed) as opened:
        opened.indices()
        opened.read(opened.names)


def columns_of(n, shape=(2, 2)):
    return {"index": np.arange(n), "map": np.zeros((n, *shape), dtype=np.float16)}


def test_a_small_file_that_unpacks_to_gigabytes_is_refused_before_it_is(tmp_path, monkeypatch):
    path = tmp_path / "rows-000000000-000000003-00000000.parquet"
    maps = pa.FixedShapeTensorArray.from_numpy_ndarray(np.zeros((4, 2500, 2500), dtype=np.float16))
    pq.write_table(pa.table({"index": pa.array(range(4)), "map": maps}), path, compression="zstd")
    assert path.stat().st_size < 100_000

    def never(*arguments, **keywords):
        raise AssertionError("it was unpacked")

    monkeypatch.setattr(pq.ParquetFile, "read", never)
    with pytest.raises(
        RunFolderError, match="unpacks to 200,000,032 bytes, more than the 134,217,728 .*max_shard_bytes"
    ):
        read_shard(path, 4)
    with opened_shard(path, Expected(4), max_bytes=2 * 10**8 + 32) as opened:
        assert opened.map_shape == (2500, 2500)


def test_a_page_that_claims_more_than_its_rows_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "rows-000000000-000000099-00000000.parquet"
    write_shard(path, {"index": np.arange(100), "score": np.random.default_rng(0).random(100)}, "0" * 32)
    read_shard(path, 100, max_bytes=2000)
    content = path.read_bytes()
    with path.open("rb") as file:
        place = content.index(b"\x15\x00\x15", groups_of(file)[0].chunks[1].start) + 3  # of a page's unpacked size
    path.write_bytes(content[:place] + b"\xfe\x7f" + content[place + 2 :])  # 8191, the most of two bytes
    with pytest.raises(RunFolderError, match="unpacks to 8,191 bytes, more than the 2,000"):
        read_shard(path, 100, max_bytes=2000)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted by Linux")
def test_reading_leaves_no_thread_of_arrow_which_could_abort_the_process_at_its_end(tmp_path):
    path = tmp_path / "rows-000000000-000000003-00000000.parquet"
    write_shard(path, {**columns_of(4), "score": np.zeros(4), "name": np.array(["a"] * 4, dtype=object)}, "0" * 32)
    program = f"""
from pathlib import Path
import numpy, pyarrow
from captum_ext.dataset.shard_files import Expected, opened_shard

def threads():
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return len([name for name in names if not name.startswith("jemalloc")])

before = threads()
with opened_shard(Path({str(path)!r}), Expected(4)) as shard:
    assert shard.verify(4).tolist() == [0, 1, 2, 3]
print(threads() - before)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout.strip() == "0"


def test_what_packs_too_well_is_written_as_it_is_and_read(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_files, "_SMALL", 1000)
    path = tmp_path / "rows-000000000-000000003-00000000.parquet"
    write_shard(path, columns_of(4, (100, 100)), "0" * 32)
    assert path.stat().st_size > 2 * 4 * 100 * 100
    with opened_shard(path, Expected(4)) as opened:
        assert opened.verify(4).tolist() == [0, 1, 2, 3]


def test_points_of_curves_are_written_and_read_and_other_shapes_are_none(tmp_path):
    path = tmp_path / "rows-000000000-000000003-00000000.parquet"
    points = np.random.default_rng(0).random((4, 2, 11))
    points[1, 1] = np.nan
    write_shard(path, {"index": np.arange(4), "insertion_curve": points, "score": np.arange(4.0)}, "0" * 32)
    with opened_shard(path, Expected(4)) as opened:
        assert opened.verify(4).tolist() == [0, 1, 2, 3]
        assert opened.curves == ["insertion_curve"]
        found = opened.points(np.array([False, True, False, True]))["insertion_curve"]
    np.testing.assert_array_equal(found, points[[1, 3]])
    for name, wrong in (("points", points), *(("insertion_curve", one) for one in (points[:, :1], points[..., 0]))):
        pq.write_table(shard_files.table_of({"index": np.arange(4), name: wrong}), path)
        with pytest.raises(RunFolderError, match=f"`{name}` of (type|shape)"):
            read_shard(path, 4)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"index": [0, 1, 2, 9]}, "rows of samples 0 to 9"),
        ({"index": [-1, 0, 1, 2]}, "rows of samples -1 to 2"),
        ({"index": [0, 1, 1, 2]}, "several rows of one sample"),
        ({"index": [0.0, 1.0, 2.0, 3.0]}, "`index` of type double"),
        ({"index": [0, 1, 2, None]}, "`index` of some rows is missing"),
        ({"index": [0, 1, 2, 3], "score": ["a", "b", "c", "d"]}, "`score` of type string"),
        ({"index": [0, 1, 2, 3], "name": [[1], [2], [3], [4]]}, "`name` of type list"),
        ({"score": [1.0]}, "not the columns of a run"),
        ({"index": []}, "a column outside of the file|no rows"),
        ({"index": list(range(9))}, "9 rows, of 8 samples"),
    ],
)
def test_columns_that_no_run_writes_are_refused(tmp_path, columns, message):
    path = tmp_path / "rows-000000000-000000003-00000000.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(RunFolderError, match=rf"{path.name} is damaged \(.*({message})"):
        read_shard(path, 8)


def test_names_that_are_stored_once_and_repeated_may_not_fill_the_memory(tmp_path):
    path = tmp_path / "rows-000000000-000000003-00000000.parquet"
    names = pa.array(["x" * 1_000_000] * 200)
    pq.write_table(pa.table({"index": pa.array(range(200)), "name": names}), path, compression="zstd")
    (tmp_path / "rows-000000000-000000199-00000000.parquet").write_bytes(path.read_bytes())
    with opened_shard(tmp_path / "rows-000000000-000000199-00000000.parquet", Expected(200)) as opened:
        assert len(opened.indices()) == 200
        with pytest.raises(RunFolderError, match=r"damaged \(names of 200,000,000 bytes\)"):
            opened.read(["name"])
