"""Rows with NaN or infinity: named, or NaN while the others are what they are without them."""

import pytest
import torch

import captum_ext
from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LocalPathIntegration,
    SalientManipulationPath,
    WeightedIntegratedGradients,
)
from captum_ext.exceptions import ArgumentError, NonFiniteError
from captum_ext.metrics import deletion, diff_id, infidelity, insertion, monotonicity, sensitivity_n
from captum_ext.references import ReferenceDistribution
from tests.core.entries import numbers

NAN = float("nan")
INPUTS, REFERENCES = numbers(3, 4) + 2, numbers(3, 4).flip(1)


def square(x):
    return (x**2).sum(1)


def breaks_above_three(x):
    """NaN, gradients too, for rows whose first number is above three."""
    return torch.where(x[:, 0] > 3, NAN, 1.0) * square(x)


def inputs_with(number, row=1):
    changed = INPUTS.clone()
    changed[row, 2] = number
    return changed


def explain(kind, model, inputs, **given):
    settings = {"references": REFERENCES} if kind in REFERENCED else {}
    generators = {} if kind is SalientManipulationPath else {"generator": [seeded(i) for i in range(len(inputs))]}
    return kind(model, **settings).attribute(inputs, n_steps=6, return_convergence_delta=True, **generators, **given)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


REFERENCED = (ExpectedGradients, WeightedIntegratedGradients)
METHODS = (IntegratedGradients, *REFERENCED, ImportantDirectionIG, SalientManipulationPath)


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("number", [NAN, float("inf"), -float("inf")])
def test_a_row_that_is_not_finite_is_named_or_left_out_with_the_others_as_they_are(kind, number):
    with pytest.raises(NonFiniteError, match=r"`inputs` to be finite, but got (NaN|infinity) in row 1"):
        explain(kind, square, inputs_with(number))
    with captum_ext.on_nonfinite("nan"):
        attributions, delta = explain(kind, square, inputs_with(number))
    expected, expected_delta = explain(kind, square, INPUTS)
    assert bool(attributions[1].isnan().all())
    assert bool(delta[1].isnan())
    torch.testing.assert_close(attributions[[0, 2]], expected[[0, 2]])
    torch.testing.assert_close(delta[[0, 2]], expected_delta[[0, 2]])


@pytest.mark.parametrize("kind", METHODS)
def test_a_model_that_gives_nan_for_a_row_is_named_with_it_or_the_row_left_out(kind):
    inputs = INPUTS.clone()
    inputs[2, 0] = 9.0
    with pytest.raises(NonFiniteError, match=r"`forward_func` to be .*finite.* row 2"):
        explain(kind, breaks_above_three, inputs)
    with captum_ext.on_nonfinite("nan"):
        attributions, delta = explain(kind, breaks_above_three, inputs)
    expected, expected_delta = explain(kind, square, inputs)
    assert bool(attributions[2].isnan().all())
    assert bool(delta[2].isnan())
    torch.testing.assert_close(attributions[:2], expected[:2])
    torch.testing.assert_close(delta[:2], expected_delta[:2])


def test_the_adaptive_rule_leaves_out_a_row_of_nan():
    inputs = INPUTS.clone()
    inputs[0, 0] = 9.0
    with captum_ext.on_nonfinite("nan"):
        attributions, delta = explain(IntegratedGradients, breaks_above_three, inputs, method="adaptive")
    expected, expected_delta = explain(IntegratedGradients, square, inputs, method="adaptive")
    assert bool(attributions[0].isnan().all())
    torch.testing.assert_close(attributions[1:], expected[1:])
    torch.testing.assert_close(delta[1:], expected_delta[1:])


def test_neighbourhoods_of_outputs_that_are_not_finite_are_named_or_left_out():
    def model(x):
        return torch.stack([square(x), x[:, 0]], 1) * torch.where(x[:, :1] > 3, NAN, 1.0)

    fitted = ReferenceDistribution([REFERENCES], [torch.full((3,), 1 / 3)], torch.tensor([[1.0, 0.0]]))
    method = LocalPathIntegration(model, references=fitted, allow_other_model=True)
    inputs = INPUTS.clone()
    inputs[1, 0] = 9.0
    with pytest.raises(NonFiniteError, match=r"`forward_func` to be of finite outputs at the inputs, .* row 1"):
        method.attribute(inputs, target=0, n_steps=6)
    with captum_ext.on_nonfinite("nan"):
        attributions = method.attribute(inputs, target=0, n_steps=60, method="gausslegendre")
    expected = (INPUTS**2 - (REFERENCES**2).mean(0))[[0, 2]]
    assert bool(attributions[1].isnan().all())
    torch.testing.assert_close(attributions[[0, 2]].sum(1), expected.sum(1))
    with pytest.raises(NonFiniteError, match="`outputs` to be finite, but got NaN in row 0"):
        fitted.assign(torch.tensor([[NAN, 1.0]]))


METRICS = (insertion, deletion, diff_id, infidelity, sensitivity_n, monotonicity)


def scored(metric, model, inputs):
    given = {"n_steps": 4} if metric is monotonicity else {}
    result = metric(model, inputs, INPUTS, baselines=0, **given)
    if isinstance(result, torch.Tensor):
        return result.reshape(len(inputs), -1)
    return result.raw[:, None] if hasattr(result, "raw") else result.scores


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_name_a_row_that_is_not_finite_or_leave_it_out(metric):
    with pytest.raises(NonFiniteError, match="`inputs` to be finite, but got NaN in row 1"):
        scored(metric, square, inputs_with(NAN))
    with captum_ext.on_nonfinite("nan"):
        result = scored(metric, square, inputs_with(NAN))
    expected = scored(metric, square, INPUTS)
    assert bool(result[1].isnan().all())
    torch.testing.assert_close(result[[0, 2]], expected[[0, 2]], equal_nan=True)


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_name_a_row_whose_score_is_not_finite_or_leave_it_out(metric):
    inputs = INPUTS.clone()
    inputs[1, 0] = 9.0
    with pytest.raises(NonFiniteError, match="`forward_func` to be of finite scores at the inputs, .* row 1"):
        scored(metric, breaks_above_three, inputs)
    with captum_ext.on_nonfinite("nan"):
        result = scored(metric, breaks_above_three, inputs)
    expected = scored(metric, square, inputs)
    assert bool(result[1].isnan().all())
    torch.testing.assert_close(result[[0, 2]], expected[[0, 2]], equal_nan=True)


def test_the_block_ends_as_it_began_after_errors_too_and_takes_two_words():
    with pytest.raises(ArgumentError, match='`action` to be one of "raise", "nan"'), captum_ext.on_nonfinite("ignore"):
        pass
    with pytest.raises(ZeroDivisionError), captum_ext.on_nonfinite("nan"):
        raise ZeroDivisionError
    with captum_ext.on_nonfinite("nan"), captum_ext.on_nonfinite("raise"), pytest.raises(NonFiniteError, match="row 1"):
        explain(IntegratedGradients, square, inputs_with(NAN))


def test_what_belongs_to_no_row_is_refused_all_the_same():
    with captum_ext.on_nonfinite("nan"), pytest.raises(NonFiniteError, match="`baselines` to be finite"):
        explain(IntegratedGradients, square, INPUTS, baselines=NAN)
