"""The numbers of a map, and the memory that saves passes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_ext import metrics
from examples.benchmarks.engine.metric_columns import (
    Display,
    Remembered,
    Targets,
    measured_cost,
    path_columns,
    upsampling_columns,
)


@pytest.fixture
def small():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5)).eval()
    return model, torch.rand(2, 3, 28, 28) * 2 - 1


def targets(model, x):
    zero = torch.zeros(1, 3, 1, 1)
    return Targets(x, model(x).argmax(1).tolist(), Remembered(model), zero, torch.zeros_like(x))


def test_a_remembered_model_answers_as_the_model_and_runs_once_for_each_image(small):
    model, x = small
    remembered = Remembered(model)
    asked = torch.cat([x, x.flip(0), x])
    with measured_cost(model, 1) as cost:
        found = remembered(asked)
        again = remembered(asked[1:4])
    assert cost.forwards == 2
    assert cost.gradients == 0
    with torch.no_grad():
        torch.testing.assert_close(found, model(asked))
    assert torch.equal(again, found[1:4])
    torch.testing.assert_close(remembered.probabilities(x), model(x).softmax(1).detach())


def test_remembering_tells_apart_images_that_differ_in_one_value(small):
    model, x = small
    remembered = Remembered(model)
    changed = x.clone()
    changed[0, 0, 0, 0] += 1e-6
    with measured_cost(model, 1) as cost:
        remembered(torch.cat([x, changed]))
    assert cost.forwards == 3


def test_columns_of_path_games_are_those_of_the_metrics_row_by_row(small):
    model, x = small
    maps, what = torch.randn_like(x), targets(model, x)
    found = path_columns(what, maps)
    expected = metrics.deletion(model, x, maps, what.target, normalize="range")
    wanted = torch.where(expected.valid, expected.auc, torch.nan)
    torch.testing.assert_close(torch.tensor(found["deletion"]), wanted.double(), equal_nan=True, check_dtype=False)
    own = metrics.diff_id(model, x, maps, what.target)
    kept = torch.where(own.valid, own.auc, torch.nan).detach()
    torch.testing.assert_close(torch.tensor(found["diff_id"]), kept, equal_nan=True, check_dtype=False)
    assert {len(values) for values in found.values()} == {2}


def test_columns_of_upsamplers_are_those_of_the_metrics(small):
    model, x = small
    maps, what = torch.rand(2, 1, 28, 28), targets(model, x)
    found = upsampling_columns(what, maps, Display((0.5,) * 3, (0.5,) * 3))
    assert {len(values) for values in found.values()} == {2}
    for name, divisor in (("by_maximum", maps.flatten(1).amax(1)), ("by_mass", maps.flatten(1).sum(1))):
        scaled = maps.double() / divisor.double()[:, None, None, None]
        expected = metrics.infidelity(model, x, scaled, what.target).raw
        torch.testing.assert_close(
            torch.tensor(found[f"infidelity_{name}"]), expected.detach(), rtol=1e-6, atol=1e-9, check_dtype=False
        )


@given(st.floats(1e-6, 1e6), st.integers(0, 100))
def test_infidelity_of_a_rescaled_map_follows_from_that_of_the_map(factor, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    maps = torch.randn(2, 6, generator=generator, dtype=torch.float64)

    def score(x):
        return (x**2).sum(1) + x[:, 0] * x[:, 1]

    found = metrics.infidelity(score, x, maps, n_samples=10)
    expected = metrics.infidelity(score, x, maps * factor, n_samples=10).raw
    torch.testing.assert_close(found.rescaled(factor), expected, rtol=1e-9, atol=1e-9 * float(found.true.max()))
    per_row = torch.tensor([1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(found.rescaled(per_row), torch.stack([found.raw[0], found.true[1]]))
