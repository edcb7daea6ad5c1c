"""Blur Integrated Gradients against SciPy's blur and the formula, and on models whose attributions are known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from captum_ext import on_nonfinite
from captum_ext.attr import BlurIG
from captum_ext.core.blur import blur_matrix
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError
from tests.core.device_entries import model_with
from tests.core.entries import numbers
from tests.oracles import blur_ig as oracle

IMAGES = numbers(2, 3, 6, 9)
MODEL = model_with(numbers(3, 3, 6, 9).flip(1))
SCIPYS = {"reflect": "reflect", "zero": "constant"}


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    steps=st.integers(1, 7),
    sigma=st.floats(0.1, 30),
    border=st.sampled_from(sorted(SCIPYS)),
    middle=st.booleans(),
    batch=st.integers(1, 9),
)
def test_the_map_is_the_formula_with_scipys_blur(height, width, steps, sigma, border, middle, batch):
    images, weights = numbers(2, 2, height, width).double(), numbers(3, 2, height, width).flip(1).double()
    model = model_with(weights)
    expected = torch.stack(
        [oracle(lambda x, k=k: model(x)[:, k], images[k], sigma, steps, SCIPYS[border], middle) for k in range(2)]
    )
    actual = BlurIG(model, max_sigma=sigma, border=border).attribute(
        images,
        target=[0, 1],
        n_steps=steps,
        method="riemann_middle" if middle else None,
        internal_batch_size=batch,
    )
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-9)


@given(
    steps=st.integers(1, 6),
    sigma=st.floats(0.5, 20),
    derivative_step=st.floats(0.001, 1),
    border=st.sampled_from(sorted(SCIPYS)),
    middle=st.booleans(),
)
def test_with_a_derivative_it_is_the_program_of_the_authors(steps, sigma, derivative_step, border, middle):
    image, weights = numbers(2, 6, 9).double(), numbers(3, 2, 6, 9).flip(1).double()
    model = model_with(weights)
    method = BlurIG(model, max_sigma=sigma, border=border, derivative_step=derivative_step)
    actual = method.attribute(image[None], target=1, n_steps=steps, method="riemann_middle" if middle else None)
    mode = SCIPYS[border]
    expected = oracle(lambda x: model(x)[:, 1], image, sigma, steps, mode, middle, derivative_step)
    torch.testing.assert_close(actual[0], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("border", SCIPYS)
@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.7, 3.3, 50.0])
def test_the_matrix_blurs_as_scipy(sigma, border):
    line = np.sin(np.arange(11.0))
    expected = ndimage.gaussian_filter1d(line, sigma, mode=SCIPYS[border]) if sigma else line
    np.testing.assert_allclose(blur_matrix(11, sigma, border).numpy() @ line, expected, atol=1e-12)


def test_a_linear_model_is_explained_completely_by_any_number_of_steps():
    weights = numbers(3, 6, 9)
    for steps in (1, 5):
        attributions, delta = BlurIG(lambda x: (x * weights).sum((1, 2, 3)), max_sigma=4).attribute(
            IMAGES, n_steps=steps, return_convergence_delta=True
        )
        rows, columns = blur_matrix(6, 4, "reflect").float(), blur_matrix(9, 4, "reflect").float()
        torch.testing.assert_close(attributions, weights * (IMAGES - rows @ IMAGES @ columns.T))
        torch.testing.assert_close(delta, torch.zeros(2), atol=1e-5, rtol=0)


def test_the_delta_falls_with_the_steps_and_faster_from_the_middle():
    def gap(steps, method):
        delta = BlurIG(MODEL, max_sigma=5).attribute(
            IMAGES.double(), target=1, n_steps=steps, method=method, return_convergence_delta=True
        )[1]
        return float(delta.abs().max())

    assert gap(40, None) < 0.6 * gap(20, None)
    assert gap(40, "riemann_middle") < 0.3 * gap(20, "riemann_middle") < 0.3 * gap(20, None)


def test_a_constant_image_has_nothing_to_explain():
    assert torch.allclose(BlurIG(MODEL).attribute(torch.ones(1, 3, 6, 9), target=1), torch.zeros(1), atol=1e-6)


def test_no_more_rows_are_in_flight_than_allowed_and_every_gradient_is_taken_once():
    rows = []

    def model(x):
        rows.append(len(x))
        return MODEL(x)

    BlurIG(model).attribute(IMAGES, target=1, n_steps=7, internal_batch_size=4)
    assert max(rows) == 4
    assert sum(rows) == 14


def test_a_row_of_nan_is_named_or_left_out():
    broken = torch.cat([IMAGES, IMAGES[:1] * float("nan")])
    with pytest.raises(NonFiniteError, match="`inputs` to be finite, but got NaN in row 2"):
        BlurIG(MODEL).attribute(broken, target=1, n_steps=3)
    with on_nonfinite("nan"):
        attributions, delta = BlurIG(MODEL).attribute(broken, target=1, n_steps=3, return_convergence_delta=True)
    assert bool(attributions[2].isnan().all())
    assert delta.isnan().tolist() == [False, False, True]
    torch.testing.assert_close(attributions[:2], BlurIG(MODEL).attribute(IMAGES, target=1, n_steps=3))


def test_half_precision_is_explained_in_float32():
    half = BlurIG(MODEL, max_sigma=3).attribute(IMAGES.bfloat16(), target=1)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, BlurIG(MODEL, max_sigma=3).attribute(IMAGES, target=1), rtol=0.1, atol=0.005)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"max_sigma": 0}, ArgumentError, "`max_sigma` to be a positive number of at most 10,000, but got int 0"),
        ({"max_sigma": float("nan")}, ArgumentError, "`max_sigma` to be a positive number"),
        ({"derivative_step": 0}, ArgumentError, "`derivative_step` to be None, or a number from 1e-6 to 1"),
        ({"border": "wrap"}, ArgumentError, '`border` to be one of "reflect", "zero"'),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        BlurIG(MODEL, **settings)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"inputs": (IMAGES,)}, ArgumentTypeError, r"`inputs` to be a tensor of images \(N, C, H, W\), but got tuple"),
        (
            {"inputs": IMAGES[0]},
            ArgumentError,
            r"`inputs` to be a batch of images \(N, C, H, W\) or volumes .* with dims=1, but got a tensor of shape",
        ),
        ({"baselines": 0}, ArgumentError, "`baselines` to be None, since the path begins at the blurred image"),
        ({"n_steps": 0}, ArgumentError, "`n_steps` to be an integer of at least 1"),
        ({"method": "adaptive"}, ArgumentError, '`method` to be one of "riemann_left", "riemann_middle"'),
        ({"target": 3}, ArgumentError, "`target` to be an index from 0 to 2"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(given, error, message):
    with pytest.raises(error, match=message):
        BlurIG(MODEL).attribute(**{"inputs": IMAGES, "target": 1, "n_steps": 3, **given})
