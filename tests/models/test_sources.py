"""Where images come from: processors of every kind, by their attributes and by what they do."""

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from captum_ext.exceptions import AdaptError, ArgumentError, ArgumentsConflictError, ArgumentTypeError
from captum_ext.models import adapt
from tests.models.networks import Config, Conv, LikeHuggingFace


def square(size):
    """An image processor's work: resized, channels first, in [0, 1]."""

    def prepared(image):
        array = np.array(image.resize((size, size)), dtype=np.float32) / 255
        array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
        return torch.from_numpy(array)

    return prepared


def colours_only(image):
    raise ValueError("RGB only")


class HuggingFaceProcessor:
    """Attributes and call of an image processor of transformers."""

    image_mean, image_std = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]

    def __init__(self, size=8, offset=0.0):
        self.side, self.offset = size, offset

    def __call__(self, images, return_tensors):
        assert return_tensors == "pt"
        mean, std = (torch.tensor(one)[:, None, None] for one in (self.image_mean, self.image_std))
        return {"pixel_values": ((square(self.side)(images) - mean) / std + self.offset)[None]}


class Whole:
    """A processor of images and text."""

    def __init__(self):
        self.image_processor = HuggingFaceProcessor()


class Weights:
    """An entry of torchvision's enumerations of weights."""

    def __init__(self, size=8, categories=4):
        self.meta = {"categories": [f"class number {k}" for k in range(categories)]}
        self.side = size

    def transforms(self):
        return square(self.side)


@pytest.mark.parametrize("processor", [HuggingFaceProcessor(), Whole()])
def test_a_hugging_face_processor_says_size_mean_and_std(processor):
    adapted = adapt(Conv().eval(), processor)
    assert (adapted.size, adapted.mean, adapted.std) == ((8, 8), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    assert str(adapted).count("(Hugging Face processor)") == 4
    image = Image.new("RGB", (20, 10), (10, 100, 200))
    prepared = adapted.prepare([image, image])
    assert prepared.shape == (2, 3, 8, 8)
    assert torch.allclose(adapted.display(prepared) * 255, torch.tensor([10.0, 100.0, 200.0]), atol=1e-4)


def test_what_a_processor_does_counts_more_than_what_it_says():
    adapted = adapt(Conv().eval(), HuggingFaceProcessor(offset=0.5))
    assert "measured on a black and a white image" in str(adapted)
    assert adapted.mean == pytest.approx((0.4, 0.25, 0.1), abs=1e-4)  # mean - offset * std
    image = Image.new("RGB", (9, 9), (10, 100, 200))
    assert torch.allclose(adapted.display(adapted.prepare(image)) * 255, torch.tensor([10.0, 100.0, 200.0]), atol=1e-2)


def test_weights_of_torchvision_bring_names_where_they_are_as_many_as_outputs():
    adapted = adapt(Conv(n_outputs=4).eval(), Weights())
    assert adapted.class_name(2) == "class number 2"
    assert (adapted.mean, adapted.std) == ((0, 0, 0), (1, 1, 1))
    other = adapt(Conv(n_outputs=5).eval(), Weights())
    assert other.class_names is None
    assert other.class_name(2) == "class 2"


def test_a_network_of_one_channel_gets_grey_images():
    adapted = adapt(Conv(channels=1).eval(), square(8))
    assert (adapted.channels, adapted.prepare(Image.new("RGB", (9, 9), (255, 0, 0))).shape) == (1, (1, 1, 8, 8))
    assert adapted.display(torch.rand(2, 1, 8, 8)).shape == (2, 8, 8, 1)


def test_images_are_fitted_to_a_given_size_mean_and_std():
    adapted = adapt(Conv().eval(), size=(6, 10), mean=(0.5, 0.5, 0.5), std=0.25)
    assert adapted.prepare(Image.new("RGB", (30, 30), (255, 0, 0))).shape == (1, 3, 6, 10)
    edges = Image.new("RGB", (20, 6), (0, 0, 0))
    edges.paste((255, 255, 255), (5, 0, 15, 6))  # what a central crop of 6 x 10 shows
    assert torch.equal(adapted.prepare(edges), torch.full((1, 3, 6, 10), 2.0))


def test_what_is_prepared_has_the_models_dtype():
    assert adapt(Conv().eval().double(), square(8)).prepare(Image.new("RGB", (9, 9))).dtype == torch.float64


def test_sixteen_bits_are_brought_to_white_and_not_cut():
    adapted = adapt(Conv(channels=1).eval(), square(8))
    image = Image.fromarray(np.full((9, 9), 32896, np.uint16))
    assert torch.allclose(adapted.prepare(image), torch.tensor(128 / 255))


def test_nothing_known_of_images_is_said_where_it_is_needed():
    adapted = adapt(Conv().eval(), size=8)
    assert adapted.mean is None
    assert "not known" in str(adapted)
    with pytest.raises(AdaptError, match="not known how images are prepared.*Pass adapt a processor"):
        adapted.prepare(Image.new("RGB", (9, 9)))
    shown = adapted.display(torch.tensor([0.0, 3.0]).repeat(1, 3, 4, 2))
    assert (shown.min(), shown.max()) == (0, 1)


@pytest.mark.parametrize(
    ("net", "processor", "options", "match"),
    [
        (Conv(1), HuggingFaceProcessor(), {}, "makes images of 3 channels, but the model takes 1"),
        (
            Conv(1),
            colours_only,
            {},
            "`model` and `processor` do not fit.*fails for an image of mode L: ValueError: RGB",
        ),
        (Conv(1), lambda image: torch.rand(3, 8, 8), {}, "makes images of 3 channels, but the model takes 1"),
        (Conv(), square(8), {"size": 9}, r"`size` and `processor` .* makes images of \(8, 8\), and not of \(9, 9\)"),
        (Conv(), square(8), {"mean": 0.5, "std": 0.5}, "`mean` and `processor` do not fit"),
        (Conv(), square(8), {"mean": 0, "std": 0.5}, "`std` and `processor` do not fit"),
    ],
)
def test_a_processor_that_does_not_fit_is_refused(net, processor, options, match):
    with pytest.raises(ArgumentsConflictError, match=match):
        adapt(net.eval(), processor, **options)


@pytest.mark.parametrize(
    ("processor", "match"),
    [
        (Config(encode=len), "one that prepares images"),
        (3, "a Hugging Face processor, torchvision's weights"),
        ({"mean": 0.5}, "a Hugging Face processor, torchvision's weights"),
        (lambda image: image, r"makes a tensor \(C, H, W\) in floating point"),
        (lambda image: torch.zeros(3, 8, 8, dtype=torch.uint8), r"makes a tensor \(C, H, W\) in floating point"),
    ],
)
def test_what_prepares_no_images_is_refused(processor, match):
    with pytest.raises(ArgumentTypeError, match=match):
        adapt(Conv().eval(), processor)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"size": 0}, "size"),
        ({"size": (8, 8, 8)}, "one for each of the 2 dimensions"),
        ({"channels": 0}, "channels"),
        ({"mean": 0.5}, "given together with std"),
        ({"mean": 0.5, "std": 0}, "positive numbers"),
        ({"mean": (1, 2), "std": (1, 2)}, "one for each of the 3 channels"),
        ({"class_names": ["a"]}, "a name for each of the 4 outputs"),
        ({"class_names": {1: "a"}}, "every number from 0 on"),
    ],
)
def test_what_is_given_is_checked(options, match):
    with pytest.raises(ArgumentError, match=match):
        adapt(Conv().eval(), **{"size": 8, **options})


@pytest.mark.parametrize("ending", ["txt", "json", "mapping"])
def test_class_names_come_from_files(tmp_path, ending):
    names = ["a", "b", "c", "d"]
    path = tmp_path / f"names.{'txt' if ending == 'txt' else 'json'}"
    content = {str(k): name for k, name in enumerate(names)} if ending == "mapping" else names
    path.write_text("\n".join(names) + "\n" if ending == "txt" else json.dumps(content), encoding="utf-8")
    adapted = adapt(Conv().eval(), size=8, class_names=path)
    assert adapted.class_names == tuple(names)
    assert f"given in {path.name}" in str(adapted)
    with pytest.raises(ArgumentError, match=r"missing\.txt"):
        adapt(Conv().eval(), size=8, class_names=tmp_path / "missing.txt")
    with pytest.raises(ArgumentTypeError, match="names, a mapping from numbers to names"):
        adapt(Conv().eval(), size=8, class_names=4)
    with pytest.raises(ArgumentError, match="from 0 to 3, but got 4"):
        adapted.class_name(4)


def test_placeholders_of_a_config_are_no_names():
    net = LikeHuggingFace(Conv(n_outputs=2), image_size=8, id2label={0: "LABEL_0", 1: "LABEL_1"}).eval()
    assert adapt(net).class_names is None
    net.config.id2label = {"1": "dog", "0": "cat"}
    assert adapt(net).class_names == ("cat", "dog")


def test_random_numbers_of_a_processor_are_put_back():
    net = Conv().eval()
    before = torch.get_rng_state()
    adapted = adapt(net, lambda image: square(8)(image) + torch.rand(3, 8, 8))
    assert torch.equal(torch.get_rng_state(), before)
    assert adapted.mean is None  # no image is only scaled and shifted


class Stem(nn.Module):
    """What makes patches, under another name than patch_embed, as in timm's mixers."""

    def __init__(self):
        super().__init__()
        self.img_size, self.patch_size = (12, 16), (4, 4)
        self.proj = nn.Conv2d(3, 4, 4, stride=4)

    def forward(self, images):
        assert tuple(images.shape[2:]) == self.img_size
        return self.proj(images)


def test_the_size_is_known_from_whatever_part_makes_the_patches():
    net = nn.Sequential(OrderedDict(stem=Stem(), flat=nn.Flatten(), head=nn.Linear(48, 2))).eval()
    adapted = adapt(net)
    assert adapted.size == (12, 16)
    assert "(the model's patches)" in str(adapted)


class OfArrays:
    """A processor that counts the dimensions of an array, as older ones of transformers, which a grey picture lacks."""

    image_mean, image_std = [0.5], [0.25]

    def __call__(self, images, return_tensors, input_data_format=None):
        array = np.asarray(images)
        if array.ndim != 3:
            raise ValueError(f"Unsupported number of image dimensions: {array.ndim}")
        assert input_data_format == "channels_last"
        small = torch.tensor(array).movedim(2, 0)[:, :8, :8] / 255
        return {"pixel_values": ((small - 0.5) / 0.25)[None]}


def test_a_grey_picture_reaches_a_processor_that_wants_a_channel():
    adapted = adapt(Conv(1), OfArrays())
    prepared = adapted.prepare(Image.new("L", (8, 8), 255))
    assert prepared.shape == (1, 1, 8, 8)
    assert prepared.unique().tolist() == [2.0]
