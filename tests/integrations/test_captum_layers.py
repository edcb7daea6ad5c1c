"""Layer attributions of Captum, redistributed to the image."""

import captum.attr
import pytest
import torch
from torch import nn

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.upsampling import InterpolationUpsampler, USUUpsampler, redistribute
from captum_ext_integrations.captum_layers import redistribute_layer_attribution


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 5)
    return nn.Sequential(*layers).double().eval()


@pytest.fixture
def images():
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_grad_cam_keeps_each_cells_mass(model, images):
    cam = captum.attr.LayerGradCam(model, model[0]).attribute(images, target=1)
    fine = redistribute_layer_attribution(cam, (16, 16), images, model, target=1)
    assert fine.shape == captum.attr.LayerAttribution.interpolate(cam, (16, 16)).shape
    sums = fine.reshape(2, 4, 4, 4, 4).sum((2, 4))
    torch.testing.assert_close(sums, cam[:, 0] * 16, rtol=1e-12, atol=1e-12)


def test_channels_share_one_score_map(model, images):
    rows = []
    hook = model.register_forward_hook(lambda module, given, output: rows.append(len(output)))
    usu = USUUpsampler(segmenter="grid", scorer="deletion", temperature=0.2)
    layer = captum.attr.LayerGradientXActivation(model, model[0]).attribute(images, target=[0, 3])
    rows.clear()
    fine = redistribute_layer_attribution(layer, 16, images, model, target=[0, 3], upsampler=usu)
    spent = sum(rows)
    scores = usu.score_map(images, model, [0, 3])
    assert spent == sum(rows) - spent
    for channel in range(4):
        expected = redistribute(layer[:, channel], scores, temperature=0.2)
        torch.testing.assert_close(fine[:, channel : channel + 1], expected)
    hook.remove()


def test_an_interpolation_can_be_put_in_its_place(model, images):
    cam = captum.attr.LayerGradCam(model, model[0]).attribute(images, target=1)
    actual = redistribute_layer_attribution(
        cam, (16, 16), images, model, 1, upsampler=InterpolationUpsampler("bilinear")
    )
    expected = nn.functional.interpolate(cam, size=(16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_upsamplers_are_taken_by_name(model, images, mode):
    cam = captum.attr.LayerGradCam(model, model[0]).attribute(images, target=1)
    actual = redistribute_layer_attribution(cam, (8, 16), images, model, 1, upsampler=mode)
    corners = None if mode == "nearest" else False
    torch.testing.assert_close(actual, nn.functional.interpolate(cam, (8, 16), mode=mode, align_corners=corners))
    by_default = redistribute_layer_attribution(cam, (16, 16), images, model, 1)
    torch.testing.assert_close(by_default, redistribute_layer_attribution(cam, 16, images, model, 1, upsampler="usu"))


def test_a_plain_function_upsamples_channel_by_channel(model, images):
    asked = []

    def upsampler(coarse, inputs, forward_func, target=None, additional_forward_args=None, size=None):
        asked.append((coarse.shape, inputs, forward_func, target, additional_forward_args, size))
        return nn.functional.interpolate(coarse[:, None], size)

    layer = torch.rand(2, 4, 4, 4, generator=torch.Generator().manual_seed(2))
    fine = redistribute_layer_attribution(
        layer, 8, images, model, [0, 3], additional_forward_args=("more",), upsampler=upsampler
    )
    assert torch.equal(fine, nn.functional.interpolate(layer, (8, 8)))
    assert asked == [((2, 4, 4), images, model, [0, 3], ("more",), (8, 8))] * 4


def test_a_result_of_another_size_keeps_the_mass_of_its_cells(model, images):
    cam = captum.attr.LayerGradCam(model, model[0]).attribute(images, target=1)
    fine = redistribute_layer_attribution(cam, (32, 24), images, model, target=1)
    torch.testing.assert_close(fine.reshape(2, 4, 8, 4, 6).sum((2, 4)), cam[:, 0] * 48)


@pytest.mark.parametrize(
    ("attribution", "dims", "error", "message"),
    [
        ((torch.ones(1),), 16, ArgumentTypeError, "`layer_attribution` to be a tensor .*, but got tuple"),
        (
            torch.ones(2, 8),
            16,
            ArgumentError,
            r"`layer_attribution` to be of shape \(N, C, h, w\), .* but got shape \(2, 8\)",
        ),
        (torch.ones(2, 1, 4, 4), (16, 16, 16), ArgumentError, "`interpolate_dims` to be one or two numbers"),
        (torch.ones(2, 1, 4, 4), "ab", ArgumentError, "`interpolate_dims` to be one or two numbers, but got str 'ab'"),
        (
            torch.ones(2, 1, 4, 4),
            (16, 0),
            ArgumentError,
            "`interpolate_dims` to be an integer of at least 1, but got 0",
        ),
        (torch.ones(2, 1, 4, 4), 16.0, ArgumentError, "`interpolate_dims` to be one or two numbers, but got float"),
        (torch.ones(2, 1, 32, 4), (16, 16), ArgumentError, r"no larger than the image \(16, 16\)"),
    ],
)
def test_bad_arguments_are_named(model, images, attribution, dims, error, message):
    with pytest.raises(error, match=message):
        redistribute_layer_attribution(attribution, dims, images, model, 1)


@pytest.mark.parametrize(
    ("upsampler", "error", "message"),
    [
        ("cubic", ArgumentError, '`upsampler` to be one of "usu", "usu-paper", "usu-fixed", "usu-iwmr", "nearest"'),
        (3, ArgumentTypeError, r'`upsampler` to be "usu", .* or a callable upsampler\(coarse, .* but got int 3'),
        (
            lambda *arguments: None,
            ArgumentTypeError,
            r"`upsampler` to be a function that returns a tensor of shape \(2, 1,",
        ),
    ],
)
def test_what_is_no_upsampler_is_named(model, images, upsampler, error, message):
    with pytest.raises(error, match=message):
        redistribute_layer_attribution(torch.ones(2, 1, 4, 4), 16, images, model, 1, upsampler=upsampler)
