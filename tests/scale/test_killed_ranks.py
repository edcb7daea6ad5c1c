"""Ranks of a run, started by torchrun, or killed again and again: the rows of an undisturbed process."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from captum_ext.dataset import DatasetAttributions, RunOptions, attribute_dataset
from tests.scale.program import BATCH_SIZE, N_SAMPLES, SETTINGS, Noise, make_method
from tests.scale.test_killed_runs import killed_after

pytestmark = pytest.mark.scale
ROOT = Path(__file__).parent.parent.parent
KILLS = 8  # of each rank


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    options = RunOptions(BATCH_SIZE, show_progress=False)
    return attribute_dataset(make_method(), Noise(), tmp_path_factory.mktemp("whole"), run=options, **SETTINGS)


def start(out, *place):
    command = [sys.executable, "-m", "tests.scale.program", str(out), *map(str, place)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def check_rows(out, undisturbed):
    found = DatasetAttributions(out)
    assert found.complete
    assert found.table().equals(undisturbed.table())
    assert torch.equal(found.maps(), undisturbed.maps())
    stored = [index for indices, _ in found.batches() for index in indices.tolist()]
    assert sorted(stored) == list(range(N_SAMPLES))


def test_two_ranks_that_are_killed_side_by_side_cost_no_row_and_repeat_none(tmp_path, undisturbed):
    chance, n_done = random.Random(1), 0
    for _ in range(KILLS):
        ranks = [start(tmp_path, rank, 2) for rank in (0, 1)]
        chance.shuffle(ranks)
        running = [killed_after(one, chance.randint(0, 8), chance.uniform(0.0, 0.05)) for one in ranks]
        assert all(running), "one ended before it was killed"
        if (tmp_path / "manifest.json").exists():
            assert len(DatasetAttributions(tmp_path)) >= n_done
            n_done = len(DatasetAttributions(tmp_path))
    assert 0 < n_done < N_SAMPLES
    killed_after(start(tmp_path, 2, 3), 6, 0.0)  # and one of another division, in between
    for process in [start(tmp_path, rank, 2) for rank in (0, 1)]:
        with process as one:
            one.communicate()
        assert process.returncode == 0
    check_rows(tmp_path, undisturbed)


def test_torchrun_starts_ranks_that_know_who_they_are(tmp_path, undisturbed):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = ["-m", "tests.scale.program", str(tmp_path), "env"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    ended = subprocess.run(
        [*command, *program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    check_rows(tmp_path, undisturbed)


def test_a_task_of_a_slurm_array_does_its_part(tmp_path, undisturbed):
    for task in (1, 2):
        array = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "1"}
        command = [sys.executable, "-m", "tests.scale.program", str(tmp_path), "env"]
        ended = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **array}, capture_output=True, text=True, check=True, timeout=300
        )
        assert ("is incomplete" in ended.stderr) == (task == 1)
    check_rows(tmp_path, undisturbed)
