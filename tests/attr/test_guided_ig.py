"""Guided Integrated Gradients against the algorithm of the paper, feature by feature, and where its path is known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext import on_nonfinite
from captum_ext.attr import GuidedIG, IntegratedGradients
from captum_ext.exceptions import ArgumentError, NonFiniteError
from tests.core.entries import numbers
from tests.oracles import guided_ig as oracle


def bumpy(x):
    """A score with kinks and curvature of everything."""
    flat = x.flatten(1)
    weights = numbers(flat.shape[1]).to(x) + 1.5
    return (flat * weights).sin().sum(1) + (flat[:, :1] * flat).sum(1) * 0.3


@given(
    shape=st.sampled_from([(5,), (2, 3), (3, 2, 2)]),
    rows=st.integers(1, 4),
    steps=st.integers(1, 9),
    fraction=st.floats(0.05, 1),
    max_dist=st.one_of(st.just(0.0), st.just(1.0), st.floats(0.01, 0.5)),
    batch=st.integers(1, 5),
)
def test_the_map_is_that_of_the_papers_algorithm(shape, rows, steps, fraction, max_dist, batch):
    inputs, baselines = numbers(rows, *shape).double() * 2, numbers(rows, *shape).flip(-1).double() * 0.5
    expected = torch.stack(
        [oracle(bumpy, x, start, steps, fraction, max_dist) for x, start in zip(inputs, baselines, strict=True)]
    )
    method = GuidedIG(bumpy, fraction=fraction, max_dist=max_dist)
    actual = method.attribute(inputs, baselines, n_steps=steps, internal_batch_size=batch)
    torch.testing.assert_close(actual, expected, rtol=1e-7, atol=1e-9)


def test_without_distance_from_the_straight_path_it_is_integrated_gradients():
    inputs = numbers(2, 6).double()
    expected = IntegratedGradients(bumpy).attribute(inputs, n_steps=40, method="riemann_left")
    torch.testing.assert_close(GuidedIG(bumpy, max_dist=0).attribute(inputs, n_steps=40), expected)


def test_the_feature_with_the_smaller_gradient_goes_first():
    x, start = torch.tensor([[1.0, 1.0]]), torch.tensor([[0.0, 0.5]])
    # d/dx0 = x1 = 0.5 and d/dx1 = x0 = 0: x1 goes first and changes nothing; then x0 with slope 1
    path = GuidedIG(lambda x: x[:, 0] * x[:, 1], fraction=0.5, max_dist=1)
    assert path.attribute(x, start, n_steps=3).tolist() == [[1.0, 0.0]]


def test_it_is_exact_on_linear_models_and_its_gap_falls_with_the_steps():
    weights = numbers(6)
    inputs = numbers(3, 6)
    attributions, delta = GuidedIG(lambda x: x @ weights).attribute(inputs, n_steps=7, return_convergence_delta=True)
    torch.testing.assert_close(attributions, inputs * weights)
    torch.testing.assert_close(delta, torch.zeros(3), atol=1e-5, rtol=0)
    few, many = (
        GuidedIG(bumpy).attribute(inputs.double(), n_steps=n, return_convergence_delta=True)[1].abs().max()
        for n in (20, 160)
    )
    assert many < 0.3 * few


def test_features_equal_to_their_baseline_get_nothing_and_a_row_equal_to_its_own_neither():
    inputs = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    attributions = GuidedIG(bumpy).attribute(inputs, n_steps=10)
    assert attributions[0, 1] == 0
    assert attributions[1].tolist() == [0, 0, 0]


def test_several_tensors_share_one_ranking_of_features():
    one, other = numbers(2, 3).double(), numbers(2, 2, 2).double()
    together = torch.cat([one, other.flatten(1)], 1)
    expected = GuidedIG(bumpy, max_dist=0.3).attribute(together, n_steps=8)
    pair = GuidedIG(lambda a, b: bumpy(torch.cat([a, b.flatten(1)], 1)), max_dist=0.3).attribute(
        (one, other), n_steps=8
    )
    torch.testing.assert_close(torch.cat([pair[0], pair[1].flatten(1)], 1), expected)


def test_every_row_takes_one_gradient_a_step_and_no_more_rows_are_in_flight_than_allowed():
    rows = []

    def model(x):
        rows.append(len(x))
        return bumpy(x)

    GuidedIG(model).attribute(numbers(5, 4), n_steps=6, internal_batch_size=2)
    assert max(rows) == 2
    assert sum(rows) == 5 * 6


def test_a_row_whose_gradient_is_not_finite_is_named_or_left_out():
    def model(x):
        return torch.where(x[:, 0] > 0.55, float("nan"), 1.0) * bumpy(x)

    inputs = torch.tensor([[0.3, 1.0, 2.0], [0.9, 1.0, 2.0]])
    with pytest.raises(
        NonFiniteError, match="finite gradients, but got NaN or infinity at step . of the path of row 1"
    ):
        GuidedIG(model).attribute(inputs, n_steps=5)
    with on_nonfinite("nan"):
        attributions = GuidedIG(model).attribute(inputs, n_steps=5)
    torch.testing.assert_close(attributions[:1], GuidedIG(bumpy).attribute(inputs[:1], n_steps=5))
    assert bool(attributions[1].isnan().all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fraction": 0}, r"`fraction` to be a number in \(0, 1\], but got int 0"),
        ({"max_dist": 1.5}, r"`max_dist` to be a number in \[0, 1\], but got float 1.5"),
        (
            {"multiply_by_inputs": False},
            "`multiply_by_inputs` to be True, as the path is made of differences of inputs",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, message):
    with pytest.raises(ArgumentError, match=message):
        GuidedIG(bumpy, **settings)


@pytest.mark.parametrize("method", ["adaptive", np.array(["riemann_left", "riemann_left"])])
def test_another_rule_is_refused(method):
    with pytest.raises(ArgumentError, match='`method` to be None or "riemann_left", the only rule of this method'):
        GuidedIG(bumpy).attribute(numbers(1, 3), method=method)
