"""The standard baselines: which they are, in the model's space, for every kind of input."""

import pytest
import torch

from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError
from captum_ext.images import gaussian_blur
from captum_ext.references import standard_baselines

MEAN, STD = (0.5, 0.25), (0.5, 0.125)


@pytest.fixture
def images():
    pixels = torch.rand(3, 2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (pixels - torch.tensor(MEAN).reshape(1, 2, 1, 1)) / torch.tensor(STD).reshape(1, 2, 1, 1)


def test_black_white_and_grey_are_those_before_normalisation(images):
    baselines = standard_baselines(images, mean=MEAN, std=STD)
    assert baselines.shape == (3, 7, 2, 6, 5)
    pixels = baselines * torch.tensor(STD).reshape(2, 1, 1) + torch.tensor(MEAN).reshape(2, 1, 1)
    for k, value in enumerate((0.0, 1.0, 0.5)):
        torch.testing.assert_close(pixels[:, k], torch.full_like(images, value))


def test_mean_and_blur_are_each_image_its_own(images):
    baselines = standard_baselines(images, mean=MEAN, std=STD)
    torch.testing.assert_close(baselines[:, 3], images.mean((2, 3), keepdim=True).expand_as(images))
    torch.testing.assert_close(baselines[:, 4], gaussian_blur(images))


def test_noise_stays_within_the_range_is_the_same_for_every_input_and_repeatable(images):
    noise = standard_baselines(images, (0, 255), mean=127, std=128)[:, 5:]
    assert float(noise.amin()) >= -127 / 128
    assert float(noise.amax()) <= 1
    assert float(noise.std()) > 0.4
    assert torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0, 0], noise[0, 1])
    state = torch.get_rng_state()
    assert torch.equal(noise, standard_baselines(images, (0, 255), mean=127, std=128)[:, 5:])
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(noise, standard_baselines(images, (0, 255), mean=127, std=128, seed=1)[:, 5:])


def test_without_a_range_each_input_has_its_own(images):
    baselines = standard_baselines(images, n_noise=0)
    assert baselines.shape[1] == 5
    for row in range(3):
        assert float(baselines[row, 0].amax()) == float(images[row].amin())
        assert float(baselines[row, 1].amin()) == float(images[row].amax())
    torch.testing.assert_close(standard_baselines(images[1:2], n_noise=0), baselines[1:2])


def test_inputs_that_are_not_images_have_no_blur():
    rows = torch.tensor([[0.0, 4.0, 2.0]])
    baselines = standard_baselines(rows, (0, 10), n_noise=1)
    assert baselines[0, :4].tolist() == [[0.0] * 3, [10.0] * 3, [5.0] * 3, [2.0] * 3]
    assert baselines.shape == (1, 5, 3)
    one, other = standard_baselines((rows, torch.rand(1, 1, 2, 2)), (0, 1))
    assert one.shape == (1, 6, 3)
    assert other.shape == (1, 6, 1, 2, 2)


def test_half_precision_stays_half_and_one_dimension_is_allowed():
    assert standard_baselines(torch.rand(2, 1, 4, 4).half(), (0, 1)).dtype == torch.float16
    assert standard_baselines(torch.rand(2), (0, 1)).shape == (2, 6)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"value_range": (1, 1)}, "`value_range` to be a lower and a higher finite value"),
        ({"value_range": (0, float("inf"))}, "`value_range` to be a lower and a higher finite value"),
        ({"mean": 0.5}, "`mean` to be given together with `std`"),
        ({"mean": (1.0, 2.0, 3.0), "std": 1.0}, r"`mean` to be one number, or one for each channel of \(3, 2, 6, 5\)"),
        ({"mean": 0.0, "std": 0.0}, "`std` to be positive"),
        ({"n_noise": -1}, "`n_noise` to be an integer from 0"),
    ],
)
def test_arguments_that_do_not_fit_are_named(images, arguments, reason):
    with pytest.raises(ArgumentError, match=reason):
        standard_baselines(images, **arguments)


@pytest.mark.parametrize("arguments", [{"value_range": 5}, {"value_range": (0, 1, 2)}, {"mean": "a", "std": 1.0}])
def test_arguments_of_a_wrong_type_are_named(images, arguments):
    with pytest.raises(ArgumentTypeError, match=f"`{next(iter(arguments))}` to be a"):
        standard_baselines(images, **arguments)


def test_nan_in_the_inputs_is_named():
    with pytest.raises(NonFiniteError, match="`inputs` to be finite, but got NaN in row 0"):
        standard_baselines(torch.tensor([[float("nan")]]))
