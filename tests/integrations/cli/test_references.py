"""References of the command line: from a folder or a file, with files that are no images among them."""

import numpy as np
import pytest
import torch
from PIL import Image

from captum_ext.images import ImageFolder
from captum_ext.references import ReferenceDistribution
from captum_ext_integrations.cli.models import ModelSpec, load_model
from captum_ext_integrations.cli.references import fit, fitted_references, reference_images
from tests.integrations.cli.calls import FEW_STEPS, TINY, call, fail, succeed


@pytest.fixture
def loaded():
    return load_model(ModelSpec("tests.integrations.cli.tiny:model", None, None, 32, 32, (0.5,) * 3, (0.5,) * 3, "cpu"))


@pytest.fixture
def many(here):
    """24 images of different noise in a folder."""
    (here / "many").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    for place, image in enumerate(pixels):
        Image.fromarray(image).save(here / "many" / f"{place:02}.png")
    return here / "many"


def test_lpi_is_fitted_to_the_whole_folder_and_eg_takes_twenty_images(loaded, many):
    fitted = fitted_references(loaded, many)
    shares = fitted.density[0] * 24
    assert fitted.metadata["n_samples"] == 24
    assert len(shares) == 20
    torch.testing.assert_close(shares, shares.round())
    assert shares.max() >= 2
    assert shares.sum() == pytest.approx(24)
    taken = reference_images(loaded, many)
    images = ImageFolder(many, loaded.preparation)
    assert taken.shape == (20, 3, 32, 32)
    for place in range(20):
        assert torch.equal(taken[place], images[place * 24 // 20][0])


def test_the_fit_is_that_of_the_library(loaded, many):
    images = ImageFolder(many, loaded.preparation)
    expected = ReferenceDistribution.fit(loaded.model, images, 2, 3)
    fitted, unreadable = fit(loaded, images, 2, 3)
    assert unreadable == []
    assert fitted.metadata == expected.metadata
    tensors = zip((*fitted.references, *fitted.density), (*expected.references, *expected.density), strict=True)
    for actual, other in tensors:
        assert torch.equal(actual, other)
    torch.testing.assert_close(fitted.centers, expected.centers)


def test_a_folder_gives_lpi_what_its_fitted_file_gives(many):
    succeed("fit-references", "many", *TINY, "--out", "fitted.safetensors")
    for references in ("many", "fitted.safetensors"):
        arguments = ["--method", "lpi", "--references", references, "--out", f"{references}.npy"]
        succeed("explain", "cat.png", *TINY, "--n-steps", 40, *arguments)
    np.testing.assert_array_equal(np.load("many.npy"), np.load("fitted.safetensors.npy"))


def test_unreadable_files_are_left_out_of_a_fit_which_names_them_and_is_written(loaded, many):
    expected = fitted_references(loaded, many)
    (many / "11a.jpg").write_bytes(b"no image")
    (many / "notes.txt").write_text("no image")
    result = call("fit-references", "many", *TINY, "--out", "fitted.safetensors")
    assert result.exit_code == 1
    assert "left out: 11a.jpg: OSError: many/11a.jpg: cannot identify image file" in result.output
    assert "left out: notes.txt" in result.output
    fitted = ReferenceDistribution.load("fitted.safetensors")
    assert torch.equal(fitted.references[0], expected.references[0])
    assert torch.equal(fitted.density[0], expected.density[0])


@pytest.mark.parametrize("method", ["eg", "lpi", "weighted-ig"])
def test_unreadable_references_are_left_out_with_a_warning_that_names_them(method, many):
    (many / "00.png").write_bytes(b"no image")
    output = succeed("explain", "cat.png", *FEW_STEPS, "--method", method, "--references", "many", "--out", "map.npy")
    warnings = [line for line in output.splitlines() if line.startswith("Warning: ")]
    assert len(warnings) == 1
    assert "1 files in many are no references, since they cannot be read: 00.png: OSError" in warnings[0]


def test_a_warning_names_the_first_ten_of_many_files(many):
    for place in range(12):
        (many / f"{place:02}.png").write_bytes(b"no image")
    output = succeed("explain", "cat.png", *FEW_STEPS, "--method", "lpi", "--references", "many", "--out", "map.npy")
    assert "12 files in many are no references" in output
    assert "09.png: OSError" in output
    assert "10.png" not in output
    assert "and 2 more" in output


def test_folders_without_enough_readable_images_are_refused(here):
    (here / "bad").mkdir()
    (here / "bad" / "a.png").write_text("no image")
    explain = ["explain", "cat.png", *TINY, "--references", "bad"]
    assert "at least 1 images that can be read, but got 0 of 1 in bad: a.png" in fail(*explain, "--method", "eg")
    Image.new("RGB", (40, 40), "red").save(here / "bad" / "b.png")
    assert "at least 2 images that can be read, but got 1 of 2 in bad" in fail(*explain, "--method", "lpi")
    assert "at least 2 images that can be read" in fail("fit-references", "bad", *TINY, "--out", "new.safetensors")
    assert not (here / "new.safetensors").exists()


def test_a_file_that_was_fitted_to_another_model_is_refused_in_one_line(many):
    succeed("fit-references", "many", *TINY, "--out", "fitted.safetensors")
    other = [
        "tests.integrations.cli.tiny:other" if word == "tests.integrations.cli.tiny:model" else word for word in TINY
    ]
    error = fail(
        "explain", "cat.png", *other, "--n-steps", "4", "--method", "lpi", "--references", "fitted.safetensors"
    )
    assert "The references were fitted to another model, or to other weights" in error
