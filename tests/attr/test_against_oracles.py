"""The methods against slow versions written from the papers, on random networks."""

import captum.attr
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext.attr import ExpectedGradients, IntegratedGradients, LocalPathIntegration
from captum_ext.references import ReferenceDistribution
from tests import oracles


def random_model(seed: int, n_features: int):
    """A small network with kinks, three outputs, float64."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(n_features, 6, generator=generator, dtype=torch.float64)
    bias = torch.randn(6, generator=generator, dtype=torch.float64)
    second = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    return lambda x: torch.relu(x @ first + bias).pow(1.5) @ second


def random_rows(seed: int, n_rows: int, n_features: int):
    return torch.randn(n_rows, n_features, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


seeds = st.integers(0, 10_000)


@given(seed=seeds, n_features=st.integers(1, 6), n_steps=st.integers(1, 30), limit=st.integers(1, 40))
def test_integrated_gradients_equals_the_oracle_to_1e_12_in_float64(seed, n_features, n_steps, limit):
    model, x, baseline = random_model(seed, n_features), *random_rows(seed + 1, 2, n_features).unsqueeze(1)
    actual = IntegratedGradients(model).attribute(x, baseline, 2, n_steps=n_steps, internal_batch_size=limit)
    expected = oracles.integrated_gradients(lambda p: model(p)[:, 2], x[0], baseline[0], n_steps)
    torch.testing.assert_close(actual[0], expected, rtol=1e-12, atol=1e-12)


@given(seed=seeds, n_references=st.integers(1, 5), n_steps=st.integers(1, 12), includes_input=st.booleans())
def test_expected_gradients_is_the_mean_over_references_other_than_the_input(
    seed, n_references, n_steps, includes_input
):
    model, x, references = random_model(seed, 4), random_rows(seed + 1, 2, 4), random_rows(seed + 2, n_references, 4)
    if includes_input:
        references = torch.cat([references, x[1:]])
    eg = ExpectedGradients(model, references=references)
    actual = eg.attribute(x, target=1, n_steps=n_steps, method="gausslegendre")
    for row in range(2):
        expected = oracles.weighted_integrated_gradients(
            lambda p: model(p)[:, 1], x[row], references, [1] * len(references), n_steps
        )
        torch.testing.assert_close(actual[row], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.filterwarnings("ignore:24 samples give")
@given(seed=seeds, n_neighborhoods=st.integers(1, 3), n_references=st.integers(1, 4))
def test_local_path_integration_weights_the_nearest_neighbourhood_by_density(seed, n_neighborhoods, n_references):
    model, x, samples = random_model(seed, 4), random_rows(seed + 1, 3, 4), random_rows(seed + 2, 24, 4)
    fitted = ReferenceDistribution.fit(model, samples, n_neighborhoods, n_references)
    actual = LocalPathIntegration(model, references=fitted).attribute(x, target=0, n_steps=5, method="gausslegendre")
    for row in range(3):
        distances = [float((model(x[row : row + 1])[0].float() - center).norm()) for center in fitted.centers]
        nearest = distances.index(min(distances))
        expected = oracles.weighted_integrated_gradients(
            lambda p: model(p)[:, 0], x[row], fitted.references[nearest], fitted.density[nearest], 5
        )
        torch.testing.assert_close(actual[row], expected, rtol=1e-6, atol=1e-6)


@given(seed=seeds, n_steps=st.integers(3, 40), limit=st.integers(1, 30), n_rows=st.integers(1, 3))
def test_adaptive_rule_halves_the_interval_with_the_largest_known_error(seed, n_steps, limit, n_rows):
    model, x, baseline = random_model(seed, 3), random_rows(seed + 1, n_rows, 3), random_rows(seed + 2, 1, 3)
    actual = IntegratedGradients(model).attribute(
        x, baseline, 1, n_steps=n_steps, method="adaptive", internal_batch_size=limit
    )
    for row in range(n_rows):
        expected = oracles.adaptive_integrated_gradients(lambda p: model(p)[:, 1], x[row], baseline[0], n_steps)
        torch.testing.assert_close(actual[row], expected, rtol=1e-9, atol=1e-9)


RULES = ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"]


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("ours", [IntegratedGradients, ExpectedGradients, LocalPathIntegration])
@given(seed=seeds, n_rows=st.integers(1, 4), n_steps=st.integers(2, 20), one_for_all=st.booleans())
def test_with_one_baseline_all_methods_equal_captum_in_float32(ours, method, seed, n_rows, n_steps, one_for_all):
    weight = random_rows(seed, 4, 3).float()
    model = lambda x: torch.tanh(x @ weight) + 0.1 * (x @ weight) ** 2  # noqa: E731
    x = random_rows(seed + 1, n_rows, 4).float()
    baseline = random_rows(seed + 2, 1 if one_for_all else n_rows, 4).float()
    arguments = {"target": 1, "n_steps": n_steps, "method": method, "return_convergence_delta": True}
    expected, expected_delta = captum.attr.IntegratedGradients(model).attribute(x, baseline, **arguments)
    actual, delta = ours(model).attribute(x, baseline, **arguments)
    scale = float((x - baseline).abs().max() * weight.abs().max())  # of the summands, which may cancel
    assert float((actual - expected).abs().max()) <= 1e-6 * scale
    assert float((delta - expected_delta).abs().max()) <= 5e-6 * scale


@pytest.mark.parametrize("baseline", [None, 0.5, 1])
@pytest.mark.parametrize("multiply", [True, False])
def test_numbers_as_baseline_and_local_attributions_are_those_of_captum(baseline, multiply):
    model, x = random_model(3, 4), random_rows(4, 3, 4)
    expected = captum.attr.IntegratedGradients(model, multiply).attribute(x, baseline, target=[0, 1, 2])
    actual = IntegratedGradients(model, multiply).attribute(x, baseline, target=[0, 1, 2])
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)
