"""Folders of images: their files, and which class a folder is."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Subset

from captum_ext.attr import IntegratedGradients
from captum_ext.dataset import RunOptions, attribute_dataset
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images import ImageFolder
from captum_ext.images.folders import check_labels
from captum_ext.selection import choose


def folders(root, names, value=51):
    for name in names:
        (root / name).mkdir()
        Image.new("L", (2, 2), value).save(root / name / "a.png")
    return root


def test_without_a_transform_an_image_is_a_tensor_of_its_values(tmp_path):
    Image.fromarray(np.full((2, 3), 200, np.uint16)).save(tmp_path / "a.png")
    image, label = ImageFolder(tmp_path)[0]
    torch.testing.assert_close(image, torch.full((3, 2, 3), 200 / 65535))
    assert label == 0
    assert ImageFolder(tmp_path, channels=1)[0][0].shape == (1, 2, 3)
    assert ImageFolder(tmp_path, lambda image: image.mode)[0] == ("RGB", 0)
    assert ImageFolder(tmp_path, lambda image: image.mode, channels=1)[0] == ("L", 0)
    assert ImageFolder(tmp_path, lambda image: image.mode, keep_depth=True)[0] == ("F", 0)


def test_labels_are_places_in_the_order_of_text_or_what_is_given(tmp_path):
    names = folders(tmp_path, ["0", "1", "2", "10"])
    assert ImageFolder(names).class_to_idx == {"0": 0, "1": 1, "10": 2, "2": 3}
    numbers = ImageFolder(names, class_to_idx={str(k): k for k in range(11)})
    assert [label for _, label in numbers.samples] == [0, 1, 10, 2]


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (
            {"a": 0},
            ArgumentError,
            "`class_to_idx` to be a label for each folder of a class, but got none of 1 folders, s",
        ),
        ({"a": 0, "b": 1.0}, ArgumentTypeError, "numbers of classes, from 0 on, but got float 1.0 of b"),
        ({"a": 0, "b": -1}, ArgumentTypeError, "numbers of classes, from 0 on, but got int -1 of b"),
    ],
)
def test_labels_that_are_none_are_refused(labels, error, message, tmp_path):
    with pytest.raises(error, match=message):
        ImageFolder(folders(tmp_path, ["a", "b"]), class_to_idx=labels)


class Named:
    def __init__(self, names, labels=None):
        self.classes = names
        self.class_to_idx = {name: k for k, name in enumerate(names)} if labels is None else labels


@pytest.mark.parametrize(
    "dataset",
    [
        Named(["0", "1", "2"]),
        Named(["01", "02", "10"]),
        Named(["cat", "10", "9"]),
        Named(["10", "9"], {"10": 10, "9": 9}),
        Named(["1"]),
        Named([]),
        [1, 2],
    ],
)
def test_orders_that_are_the_same_need_no_word(dataset):
    check_labels(dataset)


def test_a_run_for_labels_of_numbered_folders_says_both_orders(tmp_path):
    (tmp_path / "images").mkdir()
    root = folders(tmp_path / "images", ["1", "2", "10"])
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    run = RunOptions(show_progress=False)
    with pytest.warns(
        UserWarning, match=r"the order of their text .*: 1, 10, 2. In the order of numbers .* 1, 2, 10\."
    ):
        attribute_dataset(IntegratedGradients(model), ImageFolder(root), tmp_path / "a", target="label", run=run)
    attribute_dataset(IntegratedGradients(model), ImageFolder(root), tmp_path / "b", target=0, run=run)


def test_parts_of_a_folder_and_several_in_a_row_are_looked_into(tmp_path):
    numbered = ImageFolder(folders(tmp_path, ["1", "2", "10"]))
    for dataset in (Subset(numbered, [0, 1]), ConcatDataset([numbered, numbered])):
        with pytest.warns(UserWarning, match="1, 10, 2. In the order of numbers"):
            check_labels(dataset)


@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: Subset(x, range(5)), lambda x: ConcatDataset([x, x]), DataLoader]
)
def test_labels_of_a_flat_folder_are_refused_instead_of_class_0_being_explained(wrap, tmp_path):
    (tmp_path / "images").mkdir()
    for k in range(6):
        Image.new("RGB", (2, 2), (k, k, k)).save(tmp_path / "images" / f"{k}.png")
    dataset = wrap(ImageFolder(tmp_path / "images"))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    message = '`target` to be "label" for a folder with one folder for each class only, but got .*images, where all'
    with pytest.raises(ArgumentError, match=message):
        attribute_dataset(IntegratedGradients(model), dataset, tmp_path / "out", target="label")
    with pytest.raises(ArgumentError, match=message):
        choose(model, dataset, target="label", out=tmp_path / "chosen")
    assert not (tmp_path / "out").exists()


def test_other_labels_are_another_run(tmp_path):
    from captum_ext.core.fingerprints import of_dataset

    root = folders(tmp_path, ["a", "b"])
    assert of_dataset(ImageFolder(root)) == of_dataset(ImageFolder(root, class_to_idx={"b": 1, "a": 0}))
    assert of_dataset(ImageFolder(root)) != of_dataset(ImageFolder(root, class_to_idx={"b": 0, "a": 1}))
    assert of_dataset(ImageFolder(root)) != of_dataset(ImageFolder(root, channels=1))
