"""A run: parts, what fails, and going on."""

import errno
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from examples.benchmarks.core.environment import watched_memory
from examples.benchmarks.core.experiment import Options, parts_of, recorded_failures, run, store_of
from examples.benchmarks.core.results import digest, keep, kept, rows_of
from examples.benchmarks.core.store import Store
from tests.benchmarks.toy import Toy, build, marked


@pytest.fixture
def options(tmp_path):
    marked(tmp_path / "out")
    return Options(tmp_path / "out")


def all_rows(options):
    return rows_of(build(options), options)["toy"].sort_values("sample")["score"].tolist()


EXPECTED = [float(k) ** 2 + j for k in range(5) for j in (0, 1)]


def test_a_run_keeps_every_part_and_a_second_one_has_nothing_to_do(options):
    assert run(build, options, workers=2) == []
    assert all_rows(options) == EXPECTED
    assert sorted((options.output / "log").read_text()) == list("01234")
    assert run(build, options, workers=2) == []
    assert len((options.output / "log").read_text()) == 5


def test_only_what_is_missing_damaged_or_of_other_settings_is_run_again(options):
    run(build, options, workers=1)
    whole = digest(rows_of(build(options), options))
    store = store_of(Toy(options), options)
    store.path("toy/0").unlink()
    damaged = store.path("toy/1").read_bytes()
    store.path("toy/1").write_bytes(damaged[: len(damaged) // 2])
    store.path("toy/2").write_bytes(b"")
    Store(store.folder, {"power": 3}).save("toy/3", [{"method": "cube", "sample": 6, "score": 27.0}])
    (options.output / "log").unlink()
    assert run(build, options, workers=1) == []
    assert sorted((options.output / "log").read_text()) == list("0123")
    assert digest(rows_of(build(options), options)) == whole


def test_a_part_that_fails_does_not_stop_the_others_and_is_tried_again_next_time(options):
    marked(options.output, "fail-3")
    failures = run(build, options, workers=2)
    assert [failure.part for failure in failures] == ["toy/3"]
    assert "part 3 cannot be done" in failures[0].what
    assert all_rows(options) == EXPECTED[:6] + EXPECTED[8:]
    (options.output / "fail-3").unlink()
    assert run(build, options, workers=2) == []
    assert all_rows(options) == EXPECTED


def test_a_method_that_fails_on_one_image_is_remembered_by_later_runs(options):
    marked(options.output, "method-2")
    for _ in range(2):
        failures = run(build, options, workers=1)
        assert [(failure.part, failure.what) for failure in failures] == [("toy/2", "square: ValueError: no square")]
    assert list(recorded_failures(Toy(options), options)) == failures


def test_a_full_disk_names_the_file_and_leaves_nothing_half_written(options, monkeypatch):
    def write_table(table, path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq, "write_table", write_table)
    with pytest.raises(OSError, match=r"No space left for .*toy/\d.parquet. The parts that were finished are kept"):
        run(build, options, workers=1)
    assert list(options.output.rglob("*.part")) == []
    assert parts_of(Toy(options)) == [f"toy/{k}" for k in range(5)]


def test_an_interrupted_write_keeps_the_file_that_was_there(tmp_path, monkeypatch):
    store = Store(tmp_path, {})
    store.save("a/b", [{"x": 1}])

    def write_table(table, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", write_table)
    with pytest.raises(KeyboardInterrupt):
        store.save("a/b", [{"x": 2}])
    assert store.rows("a/b")["x"].tolist() == [1]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.parquet"]


def test_kept_rows_come_back_without_pictures(tmp_path, options):
    run(build, options, workers=1)
    rows = rows_of(build(options), options)
    rows["toy"]["picture"] = b"webp"
    keep(rows, {"seed": 3}, tmp_path / "results")
    found, about = kept(tmp_path / "results")
    assert about == {"seed": 3}
    assert list(found["toy"].columns) == ["method", "sample", "score"]
    assert digest(found) == digest(rows)
    with pytest.raises(ValueError, match=r"Expected a folder of results with run.json, but got .*nowhere"):
        kept(tmp_path / "nowhere")
    changed = {"toy": found["toy"].assign(score=found["toy"]["score"] + 1e-12)}
    assert digest(changed) != digest(found)
    assert digest({"toy": found["toy"].assign(seconds=1.0)}) == digest(found)


def test_the_memory_of_a_run_is_that_of_all_its_processes():
    with watched_memory() as alone:
        pass
    program = "block = b'x' * 2**28; print(len(block), flush=True); input()"
    with watched_memory() as together:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        child = subprocess.Popen([sys.executable, "-c", program], text=True, **pipes)
        assert child.stdout.readline() == f"{2**28}\n"
    child.communicate("\n")
    assert 0.25 < together.peak - alone.peak < 0.35
