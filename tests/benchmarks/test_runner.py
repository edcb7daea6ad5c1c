"""A run: parts, what fails, and going on."""

import errno
import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from examples.benchmarks import report
from examples.benchmarks.__main__ import default_output, parsed
from examples.benchmarks.engine import environment
from examples.benchmarks.engine.environment import cost_of, recorded_cost, watched_memory
from examples.benchmarks.engine.experiment import (
    Failure,
    Options,
    lines_of,
    parts_of,
    recorded_failures,
    run,
    store_of,
)
from examples.benchmarks.engine.kept_rows import digest, keep, kept, places_of, rows_of
from examples.benchmarks.engine.store import Store
from tests.benchmarks.test_claims import ABOUT
from tests.benchmarks.toy import Toy, build, marked

pytestmark = pytest.mark.long


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
    Store(store.folder, {"power": 3}).save("toy/3", [{"method": "cube", "sample": 6, "score": 27.0}], "here")
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
    assert not any(path.is_file() for path in (options.output / "rows").rglob("*"))
    assert parts_of(Toy(options)) == [f"toy/{k}" for k in range(5)]


def test_a_disk_that_is_full_at_the_report_keeps_the_rows_and_names_the_file(tmp_path, monkeypatch):
    def write(path, content, encoding=None):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", write)
    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(OSError, match=r"No space left for .*results.md. The parts that were finished are kept"):
        report.write({}, ABOUT, None, tmp_path / "results.md")
    with pytest.raises(OSError, match=r"No space left for .*rows. The parts"):
        keep({}, {}, tmp_path / "rows")


def test_an_interrupted_write_keeps_the_file_that_was_there(tmp_path, monkeypatch):
    store = Store(tmp_path, {})
    store.save("a/b", [{"x": 1}], "here")

    def write_table(table, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", write_table)
    with pytest.raises(KeyboardInterrupt):
        store.save("a/b", [{"x": 2}], "here")
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


def test_what_went_wrong_everywhere_is_one_line():
    same = [Failure(f"paths/{k}", "LRP: RuntimeError: no\nrule") for k in range(3)]
    long = Failure("usu/0", "x" * 300)
    assert lines_of([*same, long, Failure("usu/1", "once")]) == [
        "paths: LRP: RuntimeError: no rule (3 parts, such as paths/0)",
        "usu/0: ... " + "x" * 200,
        "usu/1: once",
    ]


def test_an_interrupted_invocation_counts_in_the_cost(options, monkeypatch):
    ticks = itertools.count(0, 60)  # each invocation takes a minute, however busy the machine is
    monkeypatch.setattr(environment, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert cost_of(options, build(options)) == "no parts were run"
    with pytest.raises(KeyboardInterrupt), recorded_cost(options, build(options)):  # noqa: PT012
        store_of(Toy(options), options).save("toy/0", [{"method": "square", "sample": 0, "score": 0.0}], "here")
        raise KeyboardInterrupt
    assert cost_of(options, build(options)).startswith("1 parts, 1 minutes, at most ")
    with recorded_cost(options, build(options)):
        run(build, options, workers=1)
    assert cost_of(options, build(options)).startswith("5 parts, 2 minutes in 2 invocations, at most ")
    with recorded_cost(options, build(options)):  # there is nothing to do
        run(build, options, workers=1)
    assert "in 2 invocations" in cost_of(options, build(options))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "w.pth"], "are for images of your own: name them with --data"),
        (["--n-classes", "10"], "are for images of your own: name them with --data"),
        (["--data", "folder:x", "--weights", "w.pth"], "are for --network torchvision:NAME, not efficientnet-lite0"),
        (["--seed", "-1"], "expected a non-negative integer, but got '-1'"),
        (["--limit", "0"], "expected a positive integer, but got '0'"),
    ],
)
def test_what_would_be_ignored_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        parsed(arguments)
    assert message in capsys.readouterr().err


def test_other_data_networks_and_seeds_have_folders_of_their_own():
    def folder(*arguments):
        return default_output(parsed(arguments)).as_posix()

    assert folder() == "outputs/benchmark"
    assert folder("--fast", "--seed", "3") == "outputs/benchmark-fast-seed3"
    own = ("--data", "imagenet:/data/val", "--network", "torchvision:vgg16", "--weights", "w.pth")
    assert folder(*own) == "outputs/benchmark-imagenet-val-vgg16-100"
    assert folder("--data", "imagenet:/data/val") == "outputs/benchmark-imagenet-val-efficientnet-lite0-100"


def test_every_part_says_on_what_it_was_made_and_counts_stand_where_parts_differ(options):
    store, experiment = store_of(Toy(options), options), Toy(options)
    first, second, *_ = parts_of(experiment)
    assert places_of(experiment, options) == ""
    store.save(first, [{"method": "square"}], "torch 2, CPU")
    assert places_of(experiment, options) == "torch 2, CPU"
    store.save(second, [{"method": "square"}], "torch 3, GPU")
    assert places_of(experiment, options) == "1 parts torch 2, CPU, 1 parts torch 3, GPU"
    assert store.origin(first)[1] == "torch 2, CPU"
    assert store.origin("toy/none") == ("", "")


def test_a_device_that_is_not_here_is_refused_before_anything_runs(capsys):
    with pytest.raises(SystemExit):
        parsed(["--device", "no-such-device"])
    assert "'no-such-device' cannot be used here" in capsys.readouterr().err
    assert parsed(["--device", "cpu"]).device == "cpu"


def test_parts_whose_cost_nobody_wrote_down_are_said_to_be_so(options):
    store_of(Toy(options), options).save("toy/0", [{"method": "square"}], "here")
    assert cost_of(options, build(options)) == "1 parts, whose time and memory were not recorded"
    (options.output / "cost.json").write_text('[{"parts": 1, "minutes": 2, "gigabytes": 0.5}]')
    assert cost_of(options, build(options)) == "1 parts, 2 minutes, at most 0.5 GB of memory"
    store_of(Toy(options), options).save("toy/1", [{"method": "square"}], "here")
    assert cost_of(options, build(options)).endswith("GB of memory; of 1 more nothing was recorded")
