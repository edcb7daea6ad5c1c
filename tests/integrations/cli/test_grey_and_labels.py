"""Networks of grey images, and which class a folder of images is."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captum_ext.dataset import DatasetAttributions
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.cli.labels import labels_of
from captum_ext_integrations.cli.models import LoadedModel, ModelSpec, load_model
from tests.integrations.cli.calls import TINY, fail, succeed

SIDES = ("--resize", 32, "--crop", 32)
PLAIN = (*SIDES, "--mean", 0, "--std", 1)


def model(name):
    return ("--model", f"tests.integrations.cli.tiny:{name}")


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A red image, one of sixteen bits and a grey one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 50), (255, 0, 0)).save("photos/red.png")
    Image.fromarray(np.full((40, 40), 200, np.uint16)).save("photos/dark.png")
    Image.new("L", (40, 40), 51).save("photos/grey.png")
    return tmp_path / "photos"


def numbered(root, names):
    for name in names:
        (root / name).mkdir(parents=True)
        Image.new("L", (32, 32), 7).save(root / name / "a.png")


def test_a_network_of_one_channel_sees_the_luma_of_colours_and_all_bits_of_grey(photos):
    succeed("run", photos, *model("grey"), *PLAIN, "--target", 0, "--n-steps", 1, "--out", "out")
    rows = DatasetAttributions("out").table().to_pydict()
    scores = dict(zip(rows["name"], rows["score"], strict=True))
    expected = {"red.png": 76 / 255, "dark.png": 200 / 65535, "grey.png": 0.2}
    assert scores == pytest.approx(expected, rel=1e-5)
    assert DatasetAttributions("out").maps().shape == (3, 32, 32)


@pytest.mark.parametrize("command", ["explain --method lpi --references photos", "upsample --upsampler usu"])
def test_pictures_of_grey_networks_are_drawn(photos, command):
    name, *options = command.split()
    succeed(name, photos / "red.png", *model("grey_convolutions"), *PLAIN, *options, "--out", "map.png")
    with Image.open("map.png") as picture:
        assert picture.size[0] > 100


def test_all_methods_by_default_settings_take_one_channel(photos):
    Image.fromarray(np.kron(np.eye(4), np.ones((10, 10))).astype(np.float32)).save("photos/squares.tiff")
    for method in ("weighted-ig", "samp++", "agi", "xrai", "gradcam"):
        succeed(
            *("explain", photos / "squares.tiff", *model("grey_convolutions"), *PLAIN, "--method", method),
            *(() if method == "gradcam" else ("--n-steps", 4)),
            *("--out", f"{method}.npy"),
        )
        assert np.load(f"{method}.npy").shape == (32, 32)


def test_a_network_that_takes_three_channels_for_three_images_is_seen(photos):
    assert (
        load_model(ModelSpec("tests.integrations.cli.tiny:by_view", None, None, 32, 32, (0.0,), (1.0,))).n_classes == 3
    )
    succeed("explain", photos / "grey.png", *model("by_view"), *PLAIN, "--out", "a.npy")
    assert np.load("a.npy").shape == (32, 32)


def test_grey_networks_have_no_normalisation_by_default(photos):
    message = "Expected --mean to be given for tests.integrations.cli.tiny:grey, which takes grey images, as --mean NUM"
    assert message in fail("explain", photos / "red.png", *model("grey"), *SIDES)
    message = "Expected --std to be one number for a network of grey images, but got 3 numbers"
    assert message in fail("explain", photos / "red.png", *model("grey"), *SIDES, "--mean", 0, "--std", "1,1,1")


@pytest.mark.filterwarnings("default:The folders of the classes:UserWarning")
def test_numbered_folders_are_classes_by_their_text_with_a_word_or_by_their_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbered(tmp_path / "photos", ["0", "2", "10"])
    call = ("run", "photos", *TINY, "--method", "saliency", "--no-maps", "--target", "label")
    said = succeed(*call, "--out", "text")
    assert (
        "labelled in the order of their text as torchvision does it: 0, 10, 2. In the order of numbers they are" in said
    )
    message = "Expected --labels to be numbers from 0 to 2, the model's outputs, but got 10 of folder 10."
    assert message in fail(*call, "--labels", "numbers", "--out", "numbers")
    (tmp_path / "labels.txt").write_text("2\n0\n10\n")
    assert "order" not in succeed(*call, "--labels", "labels.txt", "--out", "file")
    rows = DatasetAttributions("file").table().to_pydict()
    assert dict(zip(rows["name"], rows["target"], strict=True)) == {"0/a.png": 1, "10/a.png": 2, "2/a.png": 0}
    message = "--labels to be given with --target label only"
    assert message in fail(*call[:-1], 0, "--labels", "labels.txt", "--out", "b")


def test_a_flat_folder_has_no_labels(photos):
    call = ("run", "photos", *TINY, "--method", "saliency", "--target", "label", "--out", "out")
    message = 'Expected --target to be "label" for a folder with one folder for each class only, but got photos, which'
    assert message in fail(*call)
    assert "--labels to be given for a folder with one folder" in fail(*call, "--labels", "numbers")
    assert not Path("out").exists()


def loaded(n_classes, names=()):
    return LoadedModel(None, None, None, n_classes, names)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "cat\nthe dog\nbird\n\n"),
        ("labels.txt", "x cat\nthe dog\nbird a small one\n"),
        ("labels.json", ["cat", "the dog", "bird"]),
        ("labels.json", {"bird": 2, "cat": 0, "the dog": 1}),
        ("labels.json", {"0": "cat", "1": "the dog", "2": "bird"}),
        ("labels.json", {"0": ["n01", "cat"], "1": ["n02", "the dog"], "2": ["bird", "n03"]}),
    ],
)
def test_labels_of_a_file_in_the_forms_that_people_have(name, content, tmp_path):
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    folders = ["bird", "x" if "x cat" in content else "cat", "the dog"]
    assert list(labels_of(folders, loaded(3), str(tmp_path / name)).values()) == [2, 0, 1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "labels.txt",
            "cat\nbird\n",
            "`labels` to be a label for each folder, but got none for 1 of them, such as 'dog'",
        ),
        ("labels.txt", "cat\ndog\ncat\n", "a file with one folder of a class a line.*: a name that is there twice"),
        ("labels.json", "{", "a file with one folder of a class a line"),
        ("labels.json", "[1, 2]", "JSON of another form"),
        ("labels.json", '{"cat": 0, "dog": 7}', "numbers from 0 to 1, the model's outputs, but got 7 of folder dog"),
        ("labels.json", '{"cat": -1, "dog": 0}', "JSON of another form"),
    ],
)
def test_a_file_without_the_labels_says_so(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ArgumentError, match=message):
        labels_of(["cat", "dog"], loaded(2), str(tmp_path / name))


def test_folders_with_names_of_the_models_classes_are_these(capsys):
    names = ("tench, Tinca tinca", "tiger cat", "crane", "crane")
    assert labels_of(["Tench", "tiger_cat"], loaded(4, names), None) == {"Tench": 0, "tiger_cat": 1}
    assert "2 folders are classes of the model by their names" in capsys.readouterr().out
    assert labels_of(["a", "b", "c", "d"], loaded(4, names), None) is None  # as many as the outputs
    for folders in (["crane", "tench"], ["tench", "other"]):
        with pytest.raises(
            ArgumentError, match='`target` to be "label" only with one folder .*, but got 2 folders for 4'
        ):
            labels_of(folders, loaded(4, names), None)
    with pytest.raises(ArgumentError, match='"numbers" only where all folders are numbers, but got none for 1'):
        labels_of(["1", "a"], loaded(4), "numbers")
