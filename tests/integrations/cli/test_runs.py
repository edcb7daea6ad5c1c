"""What a run of the command line counts as its configuration, and what a budget of gradients buys."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from captum_ext.dataset import DatasetAttributions
from captum_ext_integrations.cli import folder_runs
from captum_ext_integrations.cli.methods import METHODS, MethodSpec
from captum_ext_integrations.cli.models import ModelSpec, load_model
from tests.integrations.cli import tiny
from tests.integrations.cli.calls import FEW_STEPS, TINY, call, fail, succeed

COUNTED = ["--model", "tests.integrations.cli.tiny:counted", *TINY[2:]]


def gradients_of(method, n_steps):
    """How many gradients an image costs, beside those that the model is tried with."""
    tiny.gradients.clear()
    load_model(ModelSpec(COUNTED[1], crop=32, resize=32))
    of_loading = sum(tiny.gradients)  # the proof that gradients reach the image
    tiny.gradients.clear()
    references = ["--references", "photos"] if method in ("eg", "lpi", "weighted-ig") else []
    explain = ["explain", "cat.png", *COUNTED, "--method", method, "--n-steps", n_steps, "--out", "map.npy"]
    succeed(*explain, *references)
    return sum(tiny.gradients) - of_loading


@pytest.mark.parametrize("method", [name for name in METHODS if "n_steps" in METHODS[name].options])
def test_every_method_spends_the_budget_of_gradients(method, here):
    least, most = (1 if method == "agi" else 20), (25 if method == "samp++" else 20)  # a path of AGI may arrive before
    assert least <= gradients_of(method, 20) <= most


@pytest.mark.parametrize(("n_steps", "spent"), [(1, 2), (2, 2), (5, 4), (14, 14)])
def test_the_two_directions_of_samp_share_the_budget(n_steps, spent, here):
    assert gradients_of("samp", n_steps) == spent


@pytest.mark.parametrize("n_steps", [4, 10, 40, 60])
def test_the_bound_of_samp_adds_a_quarter_of_the_budget_at_most(n_steps, here):
    assert n_steps <= gradients_of("samp++", n_steps) <= 1.25 * n_steps


def test_equal_names_and_sizes_are_not_taken_for_the_same_images(here):
    for place, folder in enumerate(("clean", "noisy")):
        (here / folder).mkdir()
        for name in ("a.bmp", "b.bmp", "c.bmp"):
            Image.new("RGB", (40, 40), (9, 9, 9 + place * (name == "b.bmp"))).save(here / folder / name)
    assert (here / "clean/b.bmp").stat().st_size == (here / "noisy/b.bmp").stat().st_size
    succeed("run", "clean", *FEW_STEPS)
    assert "holds the rows of other files: 1 of those with a row" in fail("run", "noisy", *FEW_STEPS)
    succeed("run", "clean", *FEW_STEPS)


def test_the_order_of_metrics_is_no_other_configuration(here):
    succeed("run", "photos", *FEW_STEPS, "--metric", "diff_id", "--metric", "deletion")
    succeed("run", "photos", *FEW_STEPS, "--metric", "deletion", "--metric", "diff_id", "--metric", "deletion")


def test_the_default_layer_may_be_named(here):
    arguments = ["run", "photos", *TINY, "--method", "gradcam", "--upsampler", "bilinear"]
    succeed(*arguments)
    succeed(*arguments, "--layer", "1")
    assert "--layer was str '1', now str '0'" in fail(*arguments, "--layer", "0")


def test_a_run_with_rows_missing_ends_with_the_exit_code_one(capsys):
    class Unfinished:
        folder, failures, manifest, complete = "out", (), {"n_samples": 3}, False

        def __len__(self):
            return 2

    assert folder_runs.report(Unfinished()) == 1
    assert "2 of 3 images in out" in capsys.readouterr().out


def test_maps_are_half_precision_unless_asked_otherwise(here):
    succeed("run", "photos", *FEW_STEPS, "--out", "half")
    succeed("run", "photos", *FEW_STEPS, "--out", "single", "--dtype", "float32")
    half, single = (DatasetAttributions(name) for name in ("half", "single"))
    assert "map_scale" in half.table().column_names
    assert "map_scale" not in single.table().column_names
    np.testing.assert_allclose(half.maps(), single.maps(), rtol=1e-3, atol=1e-5)


@pytest.mark.filterwarnings("always:The run in shared is incomplete")
def test_ranks_share_a_folder_and_the_last_says_what_failed(here):
    shutil.copytree(here / "photos", here / "mine")
    (here / "mine/a/broken.jpg").write_bytes((here / "photos/a/rocket.jpg").read_bytes()[:1000])
    arguments = ["run", "mine", *FEW_STEPS, "--batch-size", "1", "--out"]
    single = call(*arguments, "alone")
    assert single.exit_code == 1, single.output
    place = ["shared", "--world-size", "2", "--rank"]
    first = succeed(*arguments, *place, "0")
    assert "is incomplete" in first
    assert "(1 of 2)" in first
    last = call(*arguments, *place, "1")
    assert last.exit_code == 1
    assert "no row: a/broken.jpg" in last.output
    alone, shared = DatasetAttributions(here / "alone"), DatasetAttributions(here / "shared")
    assert shared.table().equals(alone.table())
    assert torch.equal(shared.maps(), alone.maps())
    assert shared.failures == alone.failures


def test_the_environment_says_rank_and_device_where_it_is_asked(here, monkeypatch):
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    spec = MethodSpec("ig", ModelSpec(TINY[1]))
    job = folder_runs.FolderRun(here / "photos", spec, "predicted", here / "out", rank="env").in_its_place()
    assert (job.rank, job.world_size, job.method.model.device) == (3, 4, "cuda:1")
    single = folder_runs.FolderRun(here / "photos", spec, "predicted", here / "out").in_its_place()
    assert (single.rank, single.world_size, single.method.model.device) == (0, 1, "auto")


def test_ranks_that_cannot_be_are_told_of_as_options(here):
    assert "--rank to be an integer from 0 to 1, below world_size" in fail(
        "run", "photos", *FEW_STEPS, "--rank", "2", "--world-size", "2"
    )
    assert '--rank to be an integer or "env"' in fail("run", "photos", *FEW_STEPS, "--rank", "first")
    assert "--resume and --world-size do not fit each other" in fail(
        "run", "photos", *FEW_STEPS, "--rank", "0", "--world-size", "2", "--no-resume"
    )
    assert "--rank to be given with --engine local only, but got env with ray" in fail(
        "run", "photos", *FEW_STEPS, "--rank", "env", "--engine", "ray"
    )
