"""Numbers are right to the precision of their dtype: under autocast, over many steps, and without needless nodes."""

import itertools

import pytest
import torch

from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LocalPathIntegration,
    WeightedIntegratedGradients,
)
from captum_ext.attr.paths.quadrature import RULES
from captum_ext.core.blur import gaussian_blur
from tests.core.entries import (
    ATTRIBUTIONS,
    FITS,
    MEASURES,
    RUNNING,
    WITHOUT_A_MODEL,
    numbers,
    over_a_folder,
    tensors_of,
)

GIVEN = numbers(2, 3, 4, 4), numbers(4, 3, 4, 4) * 0.5, numbers(2, 3, 4, 4).flip(3)


def insensitive(x):
    """Three outputs by arithmetic that autocast leaves in float32."""
    return torch.stack([x[:, 0].mean((1, 2)), (x[:, 1] * 3).tanh().mean((1, 2)), x.square().mean((1, 2, 3))], 1)


@pytest.fixture(params=[*RUNNING, *WITHOUT_A_MODEL, "attribute_dataset"])
def entry(request, tmp_path):
    known = {**RUNNING, **WITHOUT_A_MODEL}
    if request.param in known:
        return known[request.param]
    runs = itertools.count()
    return lambda *given: over_a_folder(tmp_path / str(next(runs)))(*given)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_around_a_call_is_for_the_model_alone(entry, dtype):
    seen = set()

    def model(x):
        seen.add((torch.is_autocast_cpu_enabled(), torch.get_autocast_cpu_dtype()))
        return insensitive(x)

    expected = entry(insensitive, *GIVEN)
    with torch.autocast("cpu", dtype=dtype):
        actual = entry(model, *GIVEN)
        assert torch.is_autocast_cpu_enabled()
        assert torch.get_autocast_cpu_dtype() == dtype
    assert seen <= {(True, dtype)}
    for one, other in zip(tensors_of(actual), tensors_of(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6, equal_nan=True)


def test_a_blur_keeps_its_precision_under_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = gaussian_blur(GIVEN[0])
    torch.testing.assert_close(actual, gaussian_blur(GIVEN[0]), rtol=0, atol=0)


def test_a_model_that_calls_a_method_itself_has_its_own_autocast_there():
    inner_saw = []

    def inner(x):
        inner_saw.append(torch.is_autocast_cpu_enabled())
        return x.sum(1)

    def outer(x):
        with torch.autocast("cpu", enabled=False):
            IntegratedGradients(inner).attribute(x.detach(), n_steps=1)
        IntegratedGradients(inner).attribute(x.detach(), n_steps=1)
        return x.sum(1)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        IntegratedGradients(outer).attribute(torch.ones(1, 2), n_steps=1)
    assert inner_saw == [False, True]


WEIGHTS = torch.tensor([0.5, -0.75, 3.0, 1.5])
ROW = torch.tensor([[0.001953125, 1.0, 1024.0, -3.0]])
REFERENCES = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.5, 8.0, 1.0], [0.0, -0.5, -8.0, 3.0]])


def linear(x):
    return (x * WEIGHTS.to(x.dtype)).sum(1, keepdim=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", ["riemann_left", "riemann_right", "riemann_middle", "stratified"])
def test_twenty_thousand_steps_sum_to_what_a_linear_model_says(method, dtype):
    x, references = ROW.to(dtype), REFERENCES.to(dtype)  # exact in bfloat16
    attributions, delta = IntegratedGradients(linear).attribute(
        x, target=0, n_steps=20_000, method=method, return_convergence_delta=True
    )
    assert attributions.dtype == torch.float32
    torch.testing.assert_close(attributions, ROW * WEIGHTS, rtol=1e-6, atol=0)
    if dtype == torch.float32:
        assert float(delta.abs()) <= 1e-6 * float(linear(ROW))
    n_steps = 20_000 if method == "stratified" else 20_000 // 3  # in all, or for each reference
    for method_of in (ExpectedGradients, LocalPathIntegration):
        attributions = method_of(linear, references=references).attribute(x, target=0, n_steps=n_steps, method=method)
        expected = (ROW - REFERENCES.mean(0)) * WEIGHTS
        torch.testing.assert_close(attributions, expected, rtol=1e-6, atol=0)


def test_weighted_ig_and_idgi_sum_thousands_of_steps_in_float64():
    weighted = WeightedIntegratedGradients(linear, references=REFERENCES, fill=0)
    fitness = weighted.evaluate_baselines(ROW, target=0, n_steps=6_000, method="riemann_middle")
    expected = ((ROW - REFERENCES) * WEIGHTS * fitness.weights.T.float()).sum(0, keepdim=True)
    torch.testing.assert_close(fitness.attributions, expected, rtol=1e-6, atol=0)
    attributions = ImportantDirectionIG(linear).attribute(ROW, target=0, n_steps=3_000)
    expected = WEIGHTS.square() / WEIGHTS.square().sum() * linear(ROW)
    torch.testing.assert_close(attributions, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("method", [ExpectedGradients, LocalPathIntegration, WeightedIntegratedGradients])
def test_gauss_nodes_are_not_computed_where_all_rows_have_several_references(monkeypatch, method):
    def refused(n_steps):
        raise AssertionError(f"{n_steps} Gauss nodes")

    monkeypatch.setitem(RULES, "gausslegendre", refused)
    explained = method(linear, references=REFERENCES)
    attributions = explained.attribute(ROW, target=0, n_steps=6_000)
    assert attributions.shape == ROW.shape
    with pytest.raises(AssertionError, match="4 Gauss nodes"):
        explained.attribute(ROW, baselines=0, target=0, n_steps=4)


@pytest.mark.parametrize("name", [*MEASURES, *FITS, *(name for name in ATTRIBUTIONS if "adaptive" not in name)])
def test_the_default_dtype_changes_no_number(name):
    entry = {**MEASURES, **FITS, **ATTRIBUTIONS}[name]
    expected = entry(insensitive, *GIVEN)
    torch.set_default_dtype(torch.float64)
    try:
        actual = entry(insensitive, *GIVEN)
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(tensors_of(actual), tensors_of(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, equal_nan=True)
