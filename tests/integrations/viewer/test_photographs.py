"""Photographs: as the model saw them, where they still are, and nowhere else."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

from captum_ext.dataset.file_marks import MARKS, mark_of, write_marks
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.cli.preparation import Preparation, WholePreparation
from captum_ext_integrations.viewer.photographs import Fit, NoPhotographError, Photographs


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos" / "a").mkdir(parents=True)
    Image.fromarray(data.chelsea()).save(tmp_path / "photos" / "a" / "cat.png")
    Image.fromarray(data.coffee()[:, :300]).save(tmp_path / "photos" / "coffee.png")
    return tmp_path


@pytest.mark.parametrize("kind", [Preparation, WholePreparation])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("name", ["a/cat.png", "coffee.png"])
def test_a_photograph_is_what_the_preparation_of_the_shell_makes_of_it(folder, kind, interpolation, name):
    pytest.importorskip("torchvision")
    prepared = kind(resize=61, crop=48, mean=(0.0,) * 3, std=(1.0,) * 3, interpolation=interpolation)
    transform = {"class": f"{kind.__module__}.{kind.__qualname__}", **vars(prepared)}
    fit = Fit.of_run({"configuration": {"dataset": {"transform": transform}}})
    image = Image.open(folder / "photos" / name).convert("RGB")
    expected = (prepared(image).movedim(0, -1).numpy() * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(fit(image)), expected)


@pytest.mark.parametrize(
    "transform",
    [
        None,
        "a function 1234",
        {"class": "other.Preparation"},
        {"class": "captum_ext_integrations.cli.preparation.Preparation"},
    ]
    + [
        {"class": "captum_ext_integrations.cli.preparation.Preparation", "resize": one, "crop": 4}
        for one in (0, 1e9, "x")
    ],
)
def test_how_other_preparations_cut_is_not_known(transform):
    assert Fit.of_run({"configuration": {"dataset": {"transform": transform}}}) is None


def test_a_photograph_is_read_by_the_name_in_its_folder(folder):
    found = Photographs(folder / "photos", Fit(50, 40), folder, 3)
    image = Image.open(io.BytesIO(found.jpeg(0, "a/cat.png")))
    assert (image.format, image.size) == ("JPEG", (40, 40))
    large = Photographs(folder / "photos", None, folder, 3).jpeg(0, "a/cat.png")
    assert Image.open(io.BytesIO(large)).size == (451, 300)


@pytest.mark.parametrize("name", ["../secret.png", "a/../../secret.png", "/etc/passwd", "a/\0cat.png"])
def test_a_name_that_leads_out_of_the_folder_is_not_read(folder, name):
    Image.fromarray(data.chelsea()).save(folder / "secret.png")
    with pytest.raises(NoPhotographError, match="leads out of the folder of images: nothing was read"):
        Photographs(folder / "photos", None, folder, 3).jpeg(0, name)


def test_photographs_that_moved_changed_or_are_none_are_said(folder):
    path = folder / "photos" / "a" / "cat.png"
    write_marks(folder / MARKS, np.array([mark_of(path), -1, 7]))
    found = Photographs(folder / "photos", None, folder, 3)
    found.jpeg(0, "a/cat.png")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(NoPhotographError, match="has changed since the run"):
        found.jpeg(0, "a/cat.png")
    with pytest.raises(NoPhotographError, match="could not be read: No such file"):
        found.jpeg(1, "gone.png")
    with pytest.raises(NoPhotographError, match="could not be read: .*expected a file, but it is a folder"):
        found.jpeg(1, "a")
    with pytest.raises(NoPhotographError, match="no names of files"):
        found.jpeg(1, None)
    with pytest.raises(ArgumentError, match="`images` to be a folder"):
        Photographs(folder / "nothing", None, folder, 3)
