"""The methods inside Captum's own wrappers, and where Captum's own tests would look."""

import warnings

import captum.attr
import pytest
import torch
from captum.metrics import sensitivity_max
from torch import nn

from captum_ext.attr import EG, LPI, ExpectedGradients, IntegratedGradients, LocalPathIntegration
from captum_ext.testing import SmoothModel


class TwoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.second = nn.Linear(5, 3)

    def forward(self, x, scale=None):
        out = self.second(torch.tanh(self.first(x)))
        return out if scale is None else out * scale[:, None]


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoLayers().double()


@pytest.fixture
def x():
    return torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)


def test_layer_integrated_gradients_runs_on_our_core_with_the_same_numbers(model, x):
    scale = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    arguments = {"target": 1, "additional_forward_args": scale, "n_steps": 12, "return_convergence_delta": True}
    theirs = captum.attr.LayerIntegratedGradients(model, model.first)
    expected, expected_delta = theirs.attribute(x, **arguments)
    for limit in (None, 3, 1):
        ours = captum.attr.LayerIntegratedGradients(model, model.first)
        ours.ig = IntegratedGradients(model)
        actual, delta = ours.attribute(x, internal_batch_size=limit, **arguments)
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(delta, expected_delta, rtol=1e-5, atol=1e-7)


def test_neuron_gradient_functions_can_be_put_in_place(model, x):
    theirs = captum.attr.NeuronIntegratedGradients(model, model.first)
    expected = theirs.attribute(x, neuron_selector=2, n_steps=12)
    ours = IntegratedGradients(model)
    ours.gradient_func = captum._utils.gradient.construct_neuron_grad_fn(model.first, 2)
    torch.testing.assert_close(ours.attribute(x, n_steps=12), expected, rtol=1e-6, atol=1e-8)


def test_the_adaptive_rule_is_refused_where_gradients_come_from_elsewhere(model, x):
    ig = IntegratedGradients(model)
    ig.gradient_func = captum._utils.gradient.construct_neuron_grad_fn(model.first, 2)
    with pytest.raises(ValueError, match="since a layer or neuron variant is at work"):
        ig.attribute(x, method="adaptive")


@pytest.mark.parametrize("nt_type", ["smoothgrad", "smoothgrad_sq", "vargrad"])
@pytest.mark.parametrize("samples_at_once", [None, 2])
def test_noise_tunnel_gives_the_numbers_that_it_gives_with_captum(model, x, nt_type, samples_at_once):
    baseline = x.flip(0)
    arguments = {
        "nt_type": nt_type,
        "nt_samples": 5,
        "nt_samples_batch_size": samples_at_once,
        "baselines": baseline,
        "target": torch.tensor([0, 1, 2]),
        "additional_forward_args": torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64),
        "return_convergence_delta": True,
    }
    results = []
    for method in (captum.attr.IntegratedGradients(model), IntegratedGradients(model)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            results.append(captum.attr.NoiseTunnel(method).attribute(x, **arguments))
    for actual, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-7)


def test_noise_tunnel_works_with_references(model, x):
    eg = ExpectedGradients(model, references=x.flip(0) * 2)
    attributions, delta = captum.attr.NoiseTunnel(eg).attribute(
        x, nt_samples=3, target=1, method="gausslegendre", return_convergence_delta=True
    )
    alone, _ = eg.attribute(x, target=1, method="gausslegendre", return_convergence_delta=True)
    assert delta.shape == (9,)
    assert not torch.equal(attributions, alone)
    torch.testing.assert_close(attributions, alone, rtol=0, atol=2.0)


def test_sensitivity_max_can_perturb_and_copy_the_arguments(model, x):
    lpi = LocalPathIntegration(model, references=x.flip(0) * 2)
    value = sensitivity_max(lpi.attribute, x, target=1, n_steps=6)
    assert value.shape == (3,)
    assert bool(torch.isfinite(value).all())


def test_data_parallel_models_are_explained(model, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parallel = nn.DataParallel(model)
    expected = IntegratedGradients(model).attribute(x, target=1)
    torch.testing.assert_close(IntegratedGradients(parallel).attribute(x, target=1), expected)


def test_the_interface_is_that_of_captum():
    ig = ExpectedGradients(SmoothModel(4), multiply_by_inputs=False)
    assert isinstance(ig, captum.attr.GradientAttribution)
    assert ig.has_convergence_delta()
    assert not ig.multiplies_by_inputs
    assert LocalPathIntegration.get_name() == "Local Path Integration"
    assert ExpectedGradients.attribute.__wrapped__ is not None
    assert EG is ExpectedGradients
    assert LPI is LocalPathIntegration
    with pytest.raises(NotImplementedError, match="attribute_future is not implemented for ExpectedGradients"):
        ig.attribute_future()
