"""What a run of the command line counts as its configuration, and what a budget of gradients buys."""

import numpy as np
import pytest
from PIL import Image

from captum_ext_integrations.cli import folder_runs
from captum_ext_integrations.cli.methods import METHODS
from captum_ext_integrations.cli.models import ModelSpec, load_model
from tests.integrations.cli import tiny
from tests.integrations.cli.calls import FEW_STEPS, TINY, fail, succeed

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
    from captum_ext.dataset import DatasetAttributions

    succeed("run", "photos", *FEW_STEPS, "--out", "half")
    succeed("run", "photos", *FEW_STEPS, "--out", "single", "--dtype", "float32")
    half, single = (DatasetAttributions(name) for name in ("half", "single"))
    assert "map_scale" in half.table().column_names
    assert "map_scale" not in single.table().column_names
    np.testing.assert_allclose(half.maps(), single.maps(), rtol=1e-3, atol=1e-5)
