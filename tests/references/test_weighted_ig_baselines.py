"""The baselines of the authors of Weighted IG: which they are, in which order, and what a caller can get wrong."""

import pytest
import torch

from captum_ext.attr import ExpectedGradients, WeightedIntegratedGradients
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError
from captum_ext.references import weighted_ig_baselines
from captum_ext.testing import TinyConvNet

MEAN, STD = (0.5, 0.25), (0.5, 0.125)


def normalised(pixels):
    return (pixels - torch.tensor(MEAN).reshape(2, 1, 1)) / torch.tensor(STD).reshape(2, 1, 1)


def in_pixels(values):
    return values * torch.tensor(STD).reshape(2, 1, 1) + torch.tensor(MEAN).reshape(2, 1, 1)


@pytest.fixture
def images():
    return normalised(torch.rand(3, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(7)))


def test_the_evaluation_has_black_an_image_two_noises_white_and_grey(images):
    baselines = weighted_ig_baselines(images[:2], image=images[2:], mean=MEAN, std=STD)
    assert baselines.shape == (2, 6, 2, 8, 8)
    pixels = in_pixels(baselines)
    for place, value in ((0, 0.0), (4, 1.0), (5, 0.5)):
        torch.testing.assert_close(pixels[:, place], torch.full((2, 2, 8, 8), value, dtype=torch.float64))
    assert torch.equal(baselines[:, 1], images[2:].expand(2, -1, -1, -1))
    noise = pixels[:, 2:4]
    assert 0 <= float(noise.amin()) < 0.1
    assert 0.9 < float(noise.amax()) <= 1
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0, 0], noise[0, 1])


def test_the_program_has_white_black_and_one_noise(images):
    evaluation = weighted_ig_baselines(images, image=images[:1], mean=MEAN, std=STD)
    program = weighted_ig_baselines(images, preset="program", mean=MEAN, std=STD)
    assert torch.equal(program, evaluation[:, [4, 0, 2]])


def test_noise_is_repeatable_by_its_seed_and_leaves_the_global_state(images):
    state = torch.get_rng_state()
    first, again = (weighted_ig_baselines(images, preset="program", mean=MEAN, std=STD) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, weighted_ig_baselines(images, preset="program", mean=MEAN, std=STD, seed=1))


def test_a_tuple_of_inputs_has_a_tuple_of_images():
    image, numbers = torch.rand(2, 1, 2, 2), torch.rand(2, 3)
    first, second = weighted_ig_baselines((image, numbers), (0, 1), image=(image[:1], numbers[1:]))
    assert (first.shape, second.shape) == ((2, 6, 1, 2, 2), (2, 6, 3))
    assert torch.equal(second[0, 1], numbers[1])


def test_the_image_takes_the_dtype_of_the_inputs_and_is_not_changed(images):
    single = images[:1].float()
    before = single.clone()
    assert weighted_ig_baselines(images, image=single, mean=MEAN, std=STD).dtype == torch.float64
    assert torch.equal(single, before)


def test_each_of_the_authors_baselines_gets_one_gradient_and_a_weight(images):
    passes = []
    net = TinyConvNet()

    def forward(points):
        passes.append(len(points) if torch.is_grad_enabled() else 0)
        return 5 * net(points)

    wg = WeightedIntegratedGradients(
        forward,
        references=lambda x: weighted_ig_baselines(x, image=images[2:], mean=MEAN, std=STD),
        ranking="signed",
        score="logit",
    )
    weights = wg.baseline_weights(images[:2], target=1, n_steps=6)
    assert sum(passes) == 2 * 6
    assert (weights > 0).all()
    eg = ExpectedGradients(net, references=wg.references)
    assert eg.attribute(images[:2], target=1, n_steps=6).shape == (2, 2, 8, 8)


@pytest.mark.parametrize(
    ("given", "error", "reason"),
    [
        ({"preset": "paper"}, ArgumentError, '`preset` to be one of "evaluation", "program", but got'),
        (
            {"image": None},
            ArgumentError,
            r"`image` to be one real image \(1, \.\.\.\), which preset=\"evaluation\" has",
        ),
        ({"preset": "program"}, ArgumentError, '`image` to be None for preset="program", which has none'),
        ({"image": torch.rand(2, 2, 8, 8)}, ArgumentError, r"`image` to be one real image \(1, \.\.\.\)"),
        ({"image": torch.rand(1, 2, 8, 9)}, ArgumentError, r"`image` to be of shape \(K, 2, 8, 8\)"),
        ({"image": (torch.rand(1, 2, 8, 8),) * 2}, ArgumentError, r"`image` to be a tuple of 1 tensor\(s\)"),
        ({"image": "cat.png"}, ArgumentTypeError, "`image` to be a tensor"),
        ({"image": torch.full((1, 2, 8, 8), torch.nan)}, NonFiniteError, "`image` to be finite"),
        ({"std": None}, ArgumentError, "`mean` to be given together with `std`"),
        ({"seed": -1}, ArgumentError, "`seed` to be"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(images, given, error, reason):
    arguments = {"image": images[:1], "mean": MEAN, "std": STD, **given}
    with pytest.raises(error, match=reason):
        weighted_ig_baselines(images, **arguments)
