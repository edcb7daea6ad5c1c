"""The methods inside Captum's own wrappers, and where Captum's own tests would look."""

import warnings

import captum.attr
import pytest
import torch
from captum.metrics import sensitivity_max
from torch import nn

from captum_ext.attr import EG, LPI, ExpectedGradients, IntegratedGradients, LocalPathIntegration
from captum_ext.testing import SmoothModel, TinyConvNet


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
    with pytest.raises(ValueError, match="since gradient_func was replaced"):
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
    assert attributions.shape == x.shape
    assert delta.shape == (9,)


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


def test_forward_functions_that_are_methods_or_partials_have_their_parameters_frozen_and_restored(model, x):
    seen = []

    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def score(self, x):
            seen.append([p.requires_grad for p in self.parameters()])
            return self.inner(x)

    wrapper = Wrapper()
    IntegratedGradients(wrapper.score).attribute(x, target=0, n_steps=2)
    assert not any(any(flags) for flags in seen)
    assert all(p.requires_grad for p in wrapper.parameters())


def test_images_keep_their_layout_with_one_baseline_and_are_channels_last_with_references():
    layouts = []

    class Watching(TinyConvNet):
        def forward(self, x):
            layouts.append(x.is_contiguous(memory_format=torch.channels_last))
            return self.head(torch.tanh(self.conv(x)).mean((2, 3)).repeat(1, 9))

    net, images = Watching(), torch.rand(2, 2, 8, 8, dtype=torch.float64)

    def layouts_of(method, inputs, channels_last=None, **arguments):
        layouts.clear()
        method.channels_last = channels_last
        method.attribute(inputs, target=0, n_steps=2, **arguments)
        return set(layouts)

    ig, eg = IntegratedGradients(net), ExpectedGradients(net, references=torch.rand(3, 2, 8, 8, dtype=torch.float64))
    assert layouts_of(ig, images) == {False}
    assert layouts_of(ig, images, channels_last=True) == {True}
    assert layouts_of(ig, images.contiguous(memory_format=torch.channels_last)) == {True}
    assert layouts_of(eg, images) == {True}
    assert layouts_of(eg, images, baselines=0) == {False}
    assert layouts_of(eg, images, channels_last=False) == {False}


def test_a_model_that_refuses_channels_last_is_asked_once_and_then_left_in_peace():
    calls = []

    class Refusing(TinyConvNet):
        def forward(self, x):
            calls.append(x.is_contiguous(memory_format=torch.channels_last))
            return super().forward(x)

    images = torch.rand(3, 2, 8, 8, dtype=torch.float64)
    ig = IntegratedGradients(Refusing())
    ig.channels_last = True
    ig.attribute(images, target=0, n_steps=6, internal_batch_size=2)
    assert calls == [True] + [False] * 9


def test_an_error_of_the_model_itself_comes_out_as_it_is():
    def broken(x):
        raise RuntimeError("shapes of my own layer")

    with pytest.raises(RuntimeError, match="shapes of my own layer"):
        IntegratedGradients(broken).attribute(torch.rand(1, 2, 8, 8), target=0)


def test_running_out_of_memory_halves_the_rows_unless_their_number_was_given():
    sizes = []

    def small_device(x):
        sizes.append(len(x))
        if len(x) > 3:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return x.sum(1)

    x = torch.rand(2, 4)
    actual = IntegratedGradients(small_device).attribute(x, n_steps=20)
    torch.testing.assert_close(actual, x)
    assert max(size for size in sizes if size <= 3) > 1
    with pytest.raises(torch.cuda.OutOfMemoryError, match="out of memory"):
        IntegratedGradients(small_device).attribute(x, n_steps=20, internal_batch_size=8)


def test_tol_stops_paths_that_are_complete_enough_and_spends_less():
    rows = []

    def kinked(x):
        rows.append(len(x))
        return torch.relu(x - 0.3).sum(1) * 3 + (5 * x).sin().sum(1)

    x = torch.tensor([[1.0, 0.9]], dtype=torch.float64)
    ig = IntegratedGradients(kinked)
    _, delta = ig.attribute(x, n_steps=200, method="adaptive", tol=0.05, return_convergence_delta=True)
    spent = sum(rows) - 2
    difference = float(kinked(x) - kinked(torch.zeros_like(x)))
    assert abs(float(delta)) <= 0.05 * abs(difference)
    assert spent < 200


def test_progress_counts_gradients(capsys, weights):
    IntegratedGradients(lambda x: x @ weights).attribute(torch.ones(2, 3), target=0, n_steps=6, show_progress=True)
    assert "12/12" in capsys.readouterr().err
