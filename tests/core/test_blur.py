"""The one blur: against SciPy, against RISE's own construction of its kernel, and what it warns of."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, signal

from captum_ext import SAMP
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.images import Blur, gaussian_blur
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.references import standard_baselines
from captum_ext.upsampling import USUUpsampler
from tests.core.entries import numbers

IMAGES = numbers(2, 3, 6, 9)
KEEPS = "2 of 2 rows keep more than half of their score when blurred"


def scipys(images, sigma):
    return np.stack([ndimage.gaussian_filter(image, (0, sigma, sigma), mode="reflect") for image in images.numpy()])


@given(height=st.integers(1, 9), width=st.integers(1, 9), sigma=st.floats(0.1, 40))
def test_images_are_blurred_as_by_scipy(height, width, sigma):
    images = numbers(2, 2, height, width).double()
    np.testing.assert_allclose(gaussian_blur(images, sigma).numpy(), scipys(images, sigma), atol=1e-12)


@pytest.mark.parametrize(("size", "sigma"), [((28, 40), 12), ((224, 300), 12), ((448, 460), 24)])
def test_the_default_is_12_pixels_and_12_224ths_of_a_larger_shorter_side(size, sigma):
    images = numbers(1, 1, *size).double()
    np.testing.assert_allclose(gaussian_blur(images).numpy(), scipys(images, sigma), atol=1e-12)


@given(height=st.integers(1, 30), width=st.integers(1, 30))
def test_rise_is_the_kernel_of_its_authors_with_zeros_beyond_the_border(height, width):
    images = numbers(2, 2, height, width).double()
    point = np.zeros((11, 11))
    point[5, 5] = 1
    kernel = ndimage.gaussian_filter(point, 5)
    expected = [[signal.convolve2d(c, kernel, mode="same") for c in image] for image in images.numpy()]
    np.testing.assert_allclose(gaussian_blur(images, "rise").numpy(), expected, atol=1e-12)


def test_every_channel_keeps_its_mean_and_nothing_but_its_mean_is_left_of_it_by_a_strong_blur():
    mean = IMAGES.mean((2, 3), keepdim=True)
    torch.testing.assert_close(gaussian_blur(IMAGES).mean((2, 3), keepdim=True), mean)
    torch.testing.assert_close(gaussian_blur(IMAGES, 500), mean.expand_as(IMAGES), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("given", ["blur", "rise", 3.0])
def test_its_strength_is_an_argument_wherever_a_blur_can_be_asked_for(given):
    sigma = {"blur": None, "rise": "rise"}.get(given, given)
    asked = given if isinstance(given, str) else Blur(given)
    blurred = gaussian_blur(IMAGES, sigma)
    model = lambda x: (x**2).sum((2, 3))  # noqa: E731
    for direction in ("insertion", "deletion"):
        one, other = (
            SAMP(model, direction=direction, **{f"{direction}_baselines": one}).attribute(IMAGES, target=1)
            for one in (asked, blurred)
        )
        torch.testing.assert_close(one, other)
    for metric in (insertion, deletion, diff_id):
        one, other = (metric(model, IMAGES, IMAGES, 1, baselines=given).scores for given in (asked, blurred))
        torch.testing.assert_close(one, other)
    labels = torch.arange(54).reshape(6, 9) // 20
    one, other = (USUUpsampler(segmenter=labels, fill=fill).score_map(IMAGES, model, 1) for fill in (asked, blurred))
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(standard_baselines(IMAGES, blur_sigma=sigma)[:, 4], blurred)


@pytest.mark.parametrize(
    ("sigma", "error", "message"),
    [
        (0, ArgumentError, '`sigma` to be a positive number of at most 10,000, "rise" or None, but got int 0'),
        (float("inf"), ArgumentError, "`sigma` to be a positive number of at most 10,000"),
        ("strong", ArgumentError, "\"rise\" or None, but got str 'strong'"),
        ([1], ArgumentTypeError, "`sigma` to be a positive number"),
        (True, ArgumentTypeError, "`sigma` to be a positive number"),
    ],
)
def test_a_strength_that_is_none_is_refused(sigma, error, message):
    for call in (lambda: gaussian_blur(IMAGES, sigma), lambda: Blur(sigma)):
        with pytest.raises(error, match=message):
            call()
    with pytest.raises(error, match=message.replace("`sigma`", "`blur_sigma`")):
        standard_baselines(IMAGES, blur_sigma=sigma)


def test_a_blur_is_for_images():
    with pytest.raises(ArgumentError, match=r"inputs that are not images, \(1, 4\), but got Blur\(sigma=3.0\)"):
        insertion(lambda x: x.sum(1), torch.ones(1, 4), torch.ones(1, 4), baselines=Blur(3))


def total(x):
    return x.sum((1, 2, 3))


def middle(x):
    return x[:, 0, 3, 4]


@pytest.mark.parametrize("metric", [insertion, deletion])
@pytest.mark.parametrize("baselines", ["blur", "rise", Blur(2)])
def test_a_metric_warns_where_blurred_inputs_keep_most_of_their_score(metric, baselines):
    images = torch.zeros(2, 1, 12, 12)
    images[:, :, 5:7, 5:7] = 1
    with pytest.warns(UserWarning, match=rf"{KEEPS} \(baselines=(\"{baselines}\"|Blur\(sigma=2.0\))\)") as given:
        metric(total, images, images, baselines=baselines)
    assert len(given) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric(lambda x: x[:, 0, 5, 5], images, images, baselines=baselines)  # which the blur hides
        metric(lambda x: -total(x), images, images, baselines=baselines)  # no share of a negative score
        metric(total, images, images, baselines=gaussian_blur(images))  # a caller's own


@pytest.mark.parametrize("options", [{}, {"return_convergence_delta": True}, {"return_path": True}])
@pytest.mark.parametrize("direction", ["both", "insertion"])
def test_samp_warns_where_its_path_starts_from_a_score_that_is_most_of_the_inputs(direction, options):
    images = torch.zeros(2, 1, 8, 8)
    images[:, :, 3, 4] = 1
    if direction == "insertion" and not options:  # the score at the inputs is not known
        SAMP(total, direction=direction).attribute(images)
        return
    with pytest.warns(UserWarning, match=rf"{KEEPS} \(insertion_baselines=\"blur\"\)") as given:
        SAMP(total, direction=direction).attribute(images, **options)
    assert len(given) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SAMP(middle, direction=direction).attribute(images, **options)
        SAMP(total, direction=direction).attribute(images, 0, **options)
        SAMP(total, direction=direction, insertion_baselines=0).attribute(images, **options)
        SAMP(lambda x: x.sum(1), direction=direction).attribute(torch.ones(2, 3), **options)


def test_the_warning_costs_no_pass():
    images, passes = torch.rand(2, 1, 4, 4), []

    def model(x):
        passes.append(len(x))
        return total(x)

    SAMP(model, momentum=0, step_bound=None).attribute(images, n_steps=4)
    assert sum(passes) == 2 * 2 * 4
    passes.clear()
    insertion(model, images, images, n_steps=4)
    assert sum(passes) == 2 * 5


@pytest.fixture(scope="module")
def digits():
    """100 handwritten digits enlarged to 28 x 28, and a linear classifier of them that was fitted to others."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    small = torch.from_numpy(loaded.images)[:, None] / 16
    images = torch.nn.functional.interpolate(small, size=(28, 28), mode="bicubic", align_corners=False)
    flat = torch.nn.functional.pad(images.flatten(1), (0, 1), value=1.0)
    known = flat[:1400]
    hits = torch.nn.functional.one_hot(torch.from_numpy(loaded.target[:1400])).double()
    ridge = torch.eye(known.shape[1], dtype=known.dtype)
    weights = torch.linalg.solve(known.T @ known + ridge, known.T @ hits)
    model = lambda x: x.flatten(1) @ weights[:-1] + weights[-1]  # noqa: E731
    assert float((model(images[1400:]).argmax(1) == torch.from_numpy(loaded.target[1400:])).double().mean()) > 0.85
    return model, images[1400:1500]


def test_digits_are_read_after_a_blur_that_hides_the_class_of_large_images_and_not_after_the_default(digits):
    model, images = digits
    label = model(images).argmax(1)
    kept = {
        sigma: float((model(gaussian_blur(images, sigma)).argmax(1) == label).double().mean())
        for sigma in (12 / 224 * 28, None)
    }
    assert kept[12 / 224 * 28] > 0.9
    assert kept[None] < 0.3
    games = {
        sigma: insertion(model, images, images, label.tolist(), baselines=Blur(sigma), n_steps=1, normalize="range")
        for sigma in kept
    }
    assert games[12 / 224 * 28].valid.sum() < 70
    assert games[None].valid.sum() > 90
