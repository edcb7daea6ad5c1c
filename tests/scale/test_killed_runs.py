"""A run over a data set that is killed again and again ends with the rows of an undisturbed one."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from captum_ext.dataset import DatasetAttributions, RunOptions, attribute_dataset
from captum_ext.dataset.shards import RunFolder
from tests.scale.program import BATCH_SIZE, N_SAMPLES, SETTINGS, Noise, make_method

pytestmark = pytest.mark.scale
ROOT = Path(__file__).parent.parent.parent
KILLS = 20
NEAR_THE_END = 5  # of them


def start(out):
    command = [sys.executable, "-m", "tests.scale.program", str(out)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def killed_after(process, batches, seconds):
    """Wait for some batches and `seconds` into the next, and kill; whether it was still running."""
    for _ in range(batches):
        process.stdout.readline()
    time.sleep(seconds)
    running = process.poll() is None
    process.kill()
    process.wait()
    process.stdout.close()
    return running


def killed_near_the_end(process, seconds):
    """Wait for the last batch, after which the last file and the manifest are written, and kill `seconds` later."""
    for line in process.stdout:
        if int(line) == N_SAMPLES:
            break
    time.sleep(seconds)
    process.kill()
    process.wait()
    process.stdout.close()


def n_found(out):
    return int(RunFolder(out).done(N_SAMPLES).sum()) if (out / "manifest.json").exists() else 0


def test_twenty_kills_in_a_row_cost_no_row_and_repeat_none(tmp_path):
    out, chance = tmp_path / "killed", random.Random(0)
    n_done = 0
    for _ in range(KILLS - NEAR_THE_END):
        assert killed_after(start(out), chance.randint(0, 8), chance.uniform(0.0, 0.05)), (
            "it ended before it was killed"
        )
        assert n_found(out) >= n_done
        n_done = n_found(out)
    assert 0 < n_done < N_SAMPLES
    for _ in range(NEAR_THE_END):  # at once, in the last file, between it and the manifest, or just after
        killed_near_the_end(start(out), chance.choice([0.0, chance.uniform(0.0, 0.01)]))
        assert n_found(out) >= n_done
        n_done = n_found(out)
    assert n_done > N_SAMPLES - 64
    with start(out) as last:
        last.communicate()
    assert last.returncode == 0

    options = RunOptions(BATCH_SIZE, show_progress=False)
    undisturbed = attribute_dataset(make_method(), Noise(), tmp_path / "whole", run=options, **SETTINGS)
    resumed = DatasetAttributions(out)
    assert resumed.complete
    assert resumed.table().equals(undisturbed.table())
    assert torch.equal(resumed.maps(), undisturbed.maps())
    stored = [index for indices, _ in resumed.batches() for index in indices.tolist()]
    assert sorted(stored) == list(range(N_SAMPLES))
