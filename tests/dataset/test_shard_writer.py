"""Files that are written while the next rows are computed."""

import threading
import time

import pytest

from captum_ext.attr import IntegratedGradients
from captum_ext.dataset import DatasetAttributions, RunOptions, attribute_dataset, shards
from captum_ext.exceptions import ArgumentError
from tests.dataset.toy import Images, Linear, linear

QUIET = {"target": "label", "fields": ["score", "map"]}


def explain(folder, method=None, n_samples=8):
    run = RunOptions(batch_size=2, shard_rows=2, show_progress=False)
    return attribute_dataset(linear() if method is None else method, Images(n_samples), folder, run=run, **QUIET)


def test_the_next_rows_are_computed_while_a_file_is_written(tmp_path, monkeypatch):
    n_calls, real, second_batch = [], shards.write_shard, threading.Event()
    waited = []

    class Watched(IntegratedGradients):
        def attribute(self, *args, **kwargs):
            n_calls.append(1)
            if len(n_calls) == 2:
                second_batch.set()
            return super().attribute(*args, **kwargs)

    def write(*args):
        waited.append(second_batch.wait(30))
        return real(*args)

    monkeypatch.setattr(shards, "write_shard", write)
    assert len(explain(tmp_path, Watched(Linear().eval()))) == 8
    assert waited == [True] * 4


def test_one_file_at_most_is_being_written(tmp_path, monkeypatch):
    real, now, most = shards.write_shard, [], []

    def write(*args):
        now.append(1)
        most.append(len(now))
        written = real(*args)
        now.pop()
        return written

    monkeypatch.setattr(shards, "write_shard", write)
    assert len(explain(tmp_path)) == 8
    assert most == [1] * 4


def test_rows_that_could_not_be_written_are_tried_again_at_the_end(tmp_path, monkeypatch):
    real, calls = shards.write_shard, []

    def write(*args):
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the disk was away")
        return real(*args)

    monkeypatch.setattr(shards, "write_shard", write)
    with pytest.raises(OSError, match="the disk was away"):
        explain(tmp_path)
    kept = DatasetAttributions(tmp_path).table(["index"])["index"].to_pylist()
    assert kept[:2] == [0, 1]
    monkeypatch.setattr(shards, "write_shard", real)
    assert explain(tmp_path).complete


@pytest.mark.parametrize("n_samples", [2, 3])
def test_a_failure_that_is_seen_at_the_end_takes_no_rows_with_it(tmp_path, monkeypatch, n_samples):
    """The only whole shard fails while the rest is computed, or nothing is left to compute."""
    real, calls = shards.write_shard, []

    def write(*args):
        calls.append(1)
        if len(calls) == 1:
            time.sleep(0.5)
            raise OSError("the disk was away")
        return real(*args)

    monkeypatch.setattr(shards, "write_shard", write)
    found = explain(tmp_path, n_samples=n_samples)
    assert found.complete
    assert len(calls) == 2
    assert found.table(["index"])["index"].to_pylist() == list(range(n_samples))


def test_no_thread_outlives_the_run_also_after_an_error(tmp_path):
    class Failing(IntegratedGradients):
        def attribute(self, inputs, *args, **kwargs):
            if float(inputs.detach().max()) > 2:
                raise ArgumentError("inputs", "small", "large")
            return super().attribute(inputs, *args, **kwargs)

    before = set(threading.enumerate())
    with pytest.raises(ArgumentError, match="small"):
        explain(tmp_path, Failing(Linear().eval()))
    assert len(DatasetAttributions(tmp_path)) == 4
    explain(tmp_path / "whole")
    assert set(threading.enumerate()) == before
