"""Captum's getting-started example, with one import changed."""

import captum.attr
import pytest
import torch
from torch import nn

from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LocalPathIntegration,
    SalientManipulationPath,
    WeightedIntegratedGradients,
)


class ToyModel(nn.Module):
    """The network of that example: two linear layers with a ReLU between them, weights counted up."""

    def __init__(self):
        super().__init__()
        self.lin1, self.relu, self.lin2 = nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)
        self.lin1.weight = nn.Parameter(torch.arange(-4.0, 5.0).view(3, 3))
        self.lin1.bias = nn.Parameter(torch.zeros(1, 3))
        self.lin2.weight = nn.Parameter(torch.arange(-3.0, 3.0).view(2, 3))
        self.lin2.bias = nn.Parameter(torch.ones(1, 2))

    def forward(self, x):
        return self.lin2(self.relu(self.lin1(x)))


@pytest.mark.parametrize(
    "method", [IntegratedGradients, ExpectedGradients, LocalPathIntegration, WeightedIntegratedGradients]
)
def test_the_swap_gives_the_numbers_of_the_example(method):
    with torch.random.fork_rng():
        torch.manual_seed(123)
        inputs, baseline = torch.rand(2, 3), torch.zeros(2, 3)
    arguments = {"target": 0, "return_convergence_delta": True}
    expected, expected_delta = captum.attr.IntegratedGradients(ToyModel().eval()).attribute(
        inputs, baseline, **arguments
    )
    attributions, delta = method(ToyModel().eval()).attribute(inputs, baseline, **arguments)
    printed = [[-0.5922, -1.5497, -1.0067], [0.0, -0.2219, -5.1991]]  # as on Captum's page
    assert attributions.tolist() == [pytest.approx(row, abs=6e-5) for row in printed]
    # Captum 0.7 returned float64 here
    torch.testing.assert_close(attributions, expected.float(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(delta, expected_delta.float(), rtol=0, atol=5e-6)


@pytest.mark.filterwarnings("ignore:The target's probability is below")
@pytest.mark.parametrize("method", [SalientManipulationPath, ImportantDirectionIG, WeightedIntegratedGradients])
def test_methods_of_other_paths_take_the_same_calls(method):
    inputs = torch.tensor([[0.3, 0.5, 0.2], [0.6, 0.1, 0.9]])
    explainer = method(ToyModel().eval())
    attributions, delta = explainer.attribute(inputs, target=0, baselines=inputs * 0, return_convergence_delta=True)
    assert attributions.shape == inputs.shape
    own, start = (ToyModel()(points)[:, 0].detach() for points in (inputs, inputs * 0))
    torch.testing.assert_close(attributions.sum(1) - delta, own - start)
    assert explainer.attribute(inputs, target=torch.tensor([0, 1])).shape == inputs.shape
