"""The rule whose nodes are close together near the baseline: its numbers, and what it is exact for."""

import pytest
import torch

from captum_ext.attr import ExpectedGradients, IntegratedGradients, LayerIntegratedGradients, LocalPathIntegration
from captum_ext.attr.paths.quadrature import quadrature

X = torch.tensor([[1.0, 4.0]], dtype=torch.float64)


@pytest.mark.parametrize("method", [IntegratedGradients, ExpectedGradients, LocalPathIntegration])
def test_two_nodes_of_a_parabola_are_a_sixteenth_and_nine_with_weights_of_a_quarter_and_three(method):
    explained = method(lambda x: (x**2).sum(1)).attribute(X, 0, n_steps=2, method="riemann_graded")
    # 2 (1/4 1/16 + 3/4 9/16) of each square
    torch.testing.assert_close(explained, 0.875 * X**2)


@pytest.mark.parametrize("n_steps", [1, 2, 7, 50])
def test_a_score_that_grows_like_a_root_is_complete_with_any_number_of_nodes(n_steps):
    ig = IntegratedGradients(lambda x: x.sqrt().sum(1))
    explained, delta = ig.attribute(X, n_steps=n_steps, method="riemann_graded", return_convergence_delta=True)
    torch.testing.assert_close(explained, X.sqrt())
    assert float(delta.abs()) < 1e-12
    assert float((ig.attribute(X, n_steps=n_steps, method="riemann_middle") - X.sqrt()).abs().max()) > 0.02


@pytest.mark.parametrize("n_steps", [1, 3, 10, 1000])
def test_weights_are_the_squares_between_the_ends_and_the_nodes_lie_inside(n_steps):
    nodes, weights = quadrature("riemann_graded", n_steps)
    ends = weights.cumsum(0)
    assert nodes.dtype == weights.dtype == torch.float64
    torch.testing.assert_close(ends, (torch.arange(1, n_steps + 1, dtype=torch.float64) / n_steps) ** 2)
    assert bool((nodes < ends).all())
    assert bool((nodes > ends - weights).all())


def test_layers_take_it_too():
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(2, 1, bias=False)).double()
    maps = LayerIntegratedGradients(model, model[0]).attribute(X, target=0, n_steps=3, method="riemann_graded")
    torch.testing.assert_close(maps, X * model[1].weight.detach())
