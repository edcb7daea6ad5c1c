"""Images from packages, and from folders in the layouts of the real data sets."""

import gzip
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from examples.benchmarks.engine.samples import OFFLINE, load_samples
from examples.real_data import Preparation, preprocess

SMALL = Preparation(size=8, resize=8)
GREY = Preparation(size=28, resize=28, mean=(0.0,), std=(1.0,))


def png(path, value=0, size=(10, 12)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


@pytest.mark.parametrize(
    ("name", "n", "first"),
    [("imagenet20", 20, 243), ("cifar10-20", 20, 3), ("cifar100-20", 20, 49), ("mnist20", 20, 7)],
)
def test_the_images_inside_foolbox_have_the_labels_of_their_names(name, n, first):
    samples = load_samples(name, SMALL)
    images, labels = samples.load(range(2))
    assert len(samples) == n
    assert labels[0] == first
    assert images.shape == (2, 3, 8, 8)


def test_labels_that_cannot_be_the_networks_classes_are_none():
    samples = load_samples("cifar10-20", SMALL, limit=2)
    assert samples.load([0, 1], n_classes=10)[1] == [3, 8]
    assert samples.load([0, 1], n_classes=1000)[1] == [None, None]


def test_the_digits_to_explain_are_not_those_of_the_training():
    explained, training = load_samples("digits", GREY), load_samples("digits-train", GREY)
    assert (len(explained), len(training)) == (400, 1397)
    images, labels = explained.load([0, 399])
    assert images.shape == (2, 1, 28, 28)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert all(0 <= label <= 9 for label in labels)
    first = {training.source[k][0].tobytes() for k in range(1397)}
    assert sum(explained.source[k][0].tobytes() in first for k in range(400)) < 5


def test_every_offline_set_can_be_loaded():
    for name in OFFLINE:
        assert len(load_samples(name, SMALL, limit=2)) == 2


def test_an_image_is_scaled_cropped_and_normalised():
    image = Image.new("RGB", (300, 600), (255, 0, 127))
    found = preprocess(image)
    assert found.shape == (3, 224, 224)
    assert found[:, 0, 0].tolist() == [1.0, -127 / 128, 0.0]
    shown = preprocess.displayable(found[None])
    torch.testing.assert_close(shown[0, 0, 0], torch.tensor([1.0, 0.0, 127 / 255]))
    assert preprocess.black.flatten().tolist() == pytest.approx([-127 / 128] * 3)


def test_imagenet_needs_its_thousand_folders(tmp_path):
    for k in range(1000):
        png(tmp_path / "val" / f"n{k:08d}" / "one.png", value=k % 256, size=(8, 8))
    samples = load_samples(f"imagenet:{tmp_path}", SMALL, limit=5, seed=3)
    images, labels = samples.load(range(5))
    assert labels == list(samples.indices) == sorted(labels)
    expected = torch.tensor([(label % 256 - 127) / 128 for label in labels])
    torch.testing.assert_close(images[:, 0, 0, 0], expected)
    assert load_samples(f"imagenet:{tmp_path}", SMALL, limit=5, seed=4).indices != samples.indices
    (tmp_path / "val" / "n00000000" / "one.png").unlink()
    (tmp_path / "val" / "n00000000").rmdir()
    with pytest.raises(ValueError, match="Expected the ImageNet validation set: 1,000 folders .* with 999 folders"):
        load_samples(f"imagenet:{tmp_path}", SMALL)


def test_a_folder_of_any_classes_has_no_labels(tmp_path):
    for name in ("cats/a.png", "cats/b.png", "dogs/c.png"):
        png(tmp_path / name)
    assert load_samples(f"folder:{tmp_path}", SMALL).load([0, 2])[1] == [None, None]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="Expected a folder with one folder of images for each class, but got"):
        load_samples(f"folder:{tmp_path / 'empty'}", SMALL)


def test_cub_takes_the_test_images_of_its_lists(tmp_path):
    root = tmp_path / "CUB_200_2011"
    names = ["001.Albatross/a.jpg", "001.Albatross/b.jpg", "200.Yellowthroat/c.jpg"]
    for k, name in enumerate(names):
        png(root / "images" / name, value=10 * k)
    (root / "images.txt").write_text("".join(f"{k + 1} {name}\n" for k, name in enumerate(names)))
    (root / "image_class_labels.txt").write_text("1 1\n2 1\n3 200\n")
    (root / "train_test_split.txt").write_text("1 1\n2 0\n3 0\n")
    samples = load_samples(f"cub200:{tmp_path}", SMALL)
    assert samples.load([0, 1])[1] == [0, 199]
    (root / "train_test_split.txt").write_text("1 1\n2 0\n")
    with pytest.raises(ValueError, match="all of the same images, but got other ids"):
        load_samples(f"cub200:{tmp_path}", SMALL)
    (root / "images.txt").unlink()
    with pytest.raises(ValueError, match=r"Expected the folder CUB_200_2011 with images.txt"):
        load_samples(f"cub200:{tmp_path}", SMALL)


def test_mnist_is_read_as_torchvision_stores_it(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.arange(3 * 28 * 28, dtype=np.uint8).reshape(3, 28, 28)
    for part in ("train", "t10k"):
        with gzip.open(raw / f"{part}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">IIII", 2051, 3, 28, 28) + images.tobytes())
        with gzip.open(raw / f"{part}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">II", 2049, 3) + bytes([7, 1, 4]))
        for kind in ("images-idx3", "labels-idx1"):
            (raw / f"{part}-{kind}-ubyte").write_bytes(gzip.decompress((raw / f"{part}-{kind}-ubyte.gz").read_bytes()))
    found, labels = load_samples(f"mnist:{tmp_path}", GREY).load([0, 2])
    assert labels == [7, 4]
    torch.testing.assert_close(found[1, 0] * 255, torch.from_numpy(images[2]).float())


@pytest.mark.parametrize("kind", ["mnist", "cifar10", "cifar100", "fashion-mnist"])
def test_a_data_set_that_is_not_there_is_named(kind, tmp_path):
    with pytest.raises(ValueError, match="as torchvision stores it in .*, but got: Dataset not found"):
        load_samples(f"{kind}:{tmp_path}", GREY)


@pytest.mark.parametrize("kind", ["imagenet", "folder", "mnist"])
def test_a_missing_folder_is_named(kind, tmp_path):
    with pytest.raises(ValueError, match="but there is no folder .*nowhere"):
        load_samples(f"{kind}:{tmp_path / 'nowhere'}", SMALL)


@pytest.mark.parametrize("spec", ["imagnet", "disk:/data", ""])
def test_an_unknown_name_lists_the_known_ones(spec):
    with pytest.raises(ValueError, match="Expected images as one of imagenet20, .* or folder:FOLDER, imagenet:FOLDER"):
        load_samples(spec, SMALL)
