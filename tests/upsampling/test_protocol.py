"""Upsamplers by name, as objects and as functions: what is one, and what adapters ask of it."""

import pytest
import torch
from torch import nn

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.upsampling import (
    UPSAMPLERS,
    USU,
    InterpolationUpsampler,
    ScoringUpsampler,
    check_desiderata,
    make_upsampler,
    upsample_maps,
)

LABELS = torch.tensor([[0, 0, 1, 1]])
IMAGES = torch.tensor([[[[1.0, 1, 5, 5]]], [[[5.0, 5, 1, 1]]]])


def repeated(coarse, inputs, forward_func, target=None, additional_forward_args=None, size=None):
    """Nearest-neighbour interpolation as a plain function."""
    height, width = inputs.shape[2:] if size is None else size
    return nn.functional.interpolate(coarse.reshape(len(coarse), 1, *coarse.shape[-2:]), (height, width))


class ByBrightness:
    """A scoring upsampler of a caller's own, which counts how often it scores."""

    def __init__(self):
        self.n_scored = 0

    def __call__(self, coarse, inputs, forward_func, target=None, additional_forward_args=None, size=None):
        return self.redistribute(coarse, self.score_map(inputs, forward_func), size)

    def score_map(self, inputs, forward_func, target=None, additional_forward_args=None):
        self.n_scored += 1
        return inputs.mean(1, keepdim=True) / 5

    def redistribute(self, coarse, score_map, size=None):
        return coarse.reshape(len(coarse), 1, *coarse.shape[-2:]).sum((2, 3), keepdim=True) * score_map


def test_every_name_makes_an_upsampler_and_the_settings_of_names_are_those_of_their_classes():
    presets = ["usu-paper", "usu-fixed", "usu-iwmr"]
    assert list(UPSAMPLERS) == ["usu", *presets, "nearest", "bilinear", "bicubic", "lanczos"]
    for name in ("nearest", "bilinear", "bicubic", "lanczos"):
        assert make_upsampler(name).mode == name
    usu = make_upsampler("usu", mean=0.5, std=[0.25] * 3)
    assert (usu.temperature, usu.redistribution, usu.mean, usu.std) == (0.3, "local", (0.5,), (0.25,) * 3)
    for name, redistribution, refined in zip(presets, ["local", "local", "global-area"], [1, 0, 1], strict=True):
        made = make_upsampler(name, mean=0.5, std=0.25)
        assert (made.temperature, made.redistribution, made.std) == (0.1, redistribution, (0.25,))
        assert (made.refinement is not None) == refined


@pytest.mark.parametrize("upsampler", [repeated, ByBrightness(), USU(), nn.Identity(), lambda *arguments: None])
def test_an_object_and_a_function_are_returned_as_they_are(upsampler):
    assert make_upsampler(upsampler, mean=0.5, std=0.25) is upsampler


def takes_too_little(coarse, inputs):
    return coarse


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ("cubic",),
            ArgumentError,
            '`upsampler` to be one of "usu", "usu-paper", "usu-fixed", "usu-iwmr", "nearest", "bilinear", "bicubic"',
        ),
        (
            (None,),
            ArgumentTypeError,
            r'`upsampler` to be "usu", .* or a callable upsampler\(coarse, .* but got NoneType',
        ),
        (
            (0.3,),
            ArgumentTypeError,
            r'`upsampler` to be "usu", .* or a callable upsampler\(coarse, .* but got float 0.3',
        ),
        ((USU,), ArgumentTypeError, "`upsampler` to be .* but got type"),
        ((takes_too_little,), ArgumentTypeError, r"`upsampler` to be .* but got takes_too_little\(coarse, inputs\)"),
        (("bilinear", 0.5), ArgumentError, "`mean` to be given together with std"),
        ((repeated, 0.5, 0), ArgumentError, "`std` to be positive numbers"),
    ],
)
def test_what_is_no_upsampler_is_refused_with_the_names_that_are(arguments, error, message):
    with pytest.raises(error, match=message):
        make_upsampler(*arguments)


def test_several_maps_of_the_same_images_are_scored_once():
    upsampler = ByBrightness()
    assert isinstance(upsampler, ScoringUpsampler)
    maps = [torch.full((2, 1, 1), 1.0), torch.full((2, 1, 1, 1), 2.0)]
    first, second = upsample_maps(upsampler, maps, IMAGES, lambda x: x)
    assert upsampler.n_scored == 1
    torch.testing.assert_close(first, IMAGES / 5)
    torch.testing.assert_close(second, IMAGES / 5 * 2)


def test_a_plain_function_gets_every_argument_of_the_call():
    asked = []

    def upsampler(coarse, inputs, forward_func, target=None, additional_forward_args=None, size=None):
        asked.append((forward_func, target, additional_forward_args, size))
        return repeated(coarse, inputs, forward_func, size=size)

    (fine,) = upsample_maps(upsampler, [torch.tensor([[[1.0, 2.0]]] * 2)], IMAGES, torch.sum, 3, ("more",), (1, 2))
    assert asked == [(torch.sum, 3, ("more",), (1, 2))]
    assert fine.tolist() == [[[[1.0, 2.0]]]] * 2


@pytest.mark.parametrize(
    ("result", "error", "received"),
    [
        (torch.zeros(2, 1, 4), ArgumentError, r"one that returned a tensor of shape \(2, 1, 4\)"),
        (torch.zeros(2, 1, 1, 3), ArgumentError, r"one that returned a tensor of shape \(2, 1, 1, 3\)"),
        ([0.0], ArgumentTypeError, "one that returned list"),
        (None, ArgumentTypeError, "one that returned NoneType"),
    ],
)
def test_an_upsampler_that_returns_something_else_is_named(result, error, received):
    expected = r"`upsampler` to be a function that returns a tensor of shape \(2, 1, 1, 4\), but got "
    with pytest.raises(error, match=expected + received):
        upsample_maps(lambda *arguments: result, [torch.ones(2, 1, 1)], IMAGES, torch.sum)


def test_the_desiderata_of_names_and_functions_are_those_of_the_objects():
    options = {"size": (8, 8), "grid": (2, 2), "n_cases": 4}
    assert check_desiderata("usu", **options) == check_desiderata(USU(), **options)
    assert check_desiderata("bicubic", **options) == check_desiderata(InterpolationUpsampler("bicubic"), **options)
    assert check_desiderata(repeated, **options) == check_desiderata("nearest", **options)


class Normalising(nn.Module):
    """Begins with an operation in place, or with its twin that leaves its input alone."""

    def __init__(self, operation):
        super().__init__()
        self.operation = operation
        self.weight = nn.Parameter(torch.tensor([1.0, 0, 2, -1]))

    def forward(self, x):
        score = (self.operation(x) * self.weight).sum((1, 2, 3))
        return torch.stack([score, -score], 1)


FILL = torch.ones(1, 1, 1, 4)
IN_PLACE = {
    "subtract and divide": (lambda x: x.sub_(3).div_(2), lambda x: (x - 3) / 2),
    "relu": (lambda x: torch.relu_(x.sub_(2)), lambda x: torch.relu(x - 2)),
    "normalize": (lambda x: nn.functional.normalize(x, out=x), nn.functional.normalize),
}


@pytest.mark.parametrize("name", IN_PLACE)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("target", [None, 0])
@pytest.mark.parametrize("options", [{}, {"internal_batch_size": 1}, {"fill": FILL}], ids=["", "one row", "fill"])
def test_a_model_that_changes_its_input_neither_changes_the_images_nor_the_scores(name, channels, target, options):
    in_place, twin = (Normalising(operation) for operation in IN_PLACE[name])
    images = IMAGES.repeat(1, channels, 1, 1)
    given, usu = images.clone(), USU(segmenter=LABELS, **options)
    torch.testing.assert_close(usu.score_map(given, in_place, target), usu.score_map(images, twin, target))
    assert torch.equal(given, images)
    assert torch.equal(options.get("fill", FILL), torch.ones(1, 1, 1, 4))
