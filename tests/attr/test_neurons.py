"""Methods for the score of a neuron: those of the function that computes it, and Captum's numbers."""

import captum.attr
import pytest
import torch
from torch import nn

from captum_ext.attr import (
    LPI,
    ExpectedGradients,
    ImportantDirectionIG,
    NeuronEG,
    NeuronImportantDirectionIG,
    NeuronIntegratedGradients,
    NeuronLPI,
    NeuronWeightedIG,
    WeightedIG,
)
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.references import ReferenceDistribution
from tests.attr.layer_models import Images, made
from tests.core.entries import numbers

X, OTHERS = numbers(2, 2, 6, 6).double(), numbers(3, 2, 6, 6).double().flip(2)
RULE = {"n_steps": 6, "method": "gausslegendre"}


@pytest.fixture
def model():
    return made(Images)


@pytest.mark.parametrize("limit", [None, 1, 5])
@pytest.mark.parametrize(
    ("name", "selector"),
    [
        ("second", (1, 2, 3)),
        ("second", (0, slice(1, 3), 2)),
        ("head", 2),
        ("head", (1,)),
        ("second", lambda maps: maps.square().sum((1, 2, 3))),
    ],
)
def test_integrated_gradients_of_neurons_have_captums_numbers(model, name, selector, limit):
    layer = getattr(model, name)
    expected = captum.attr.NeuronIntegratedGradients(model, layer).attribute(X, selector, 0.5, **RULE)
    ours = NeuronIntegratedGradients(model, layer)
    actual, delta = ours.attribute(X, selector, 0.5, internal_batch_size=limit, return_convergence_delta=True, **RULE)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-9)
    assert delta.shape == (2,)


def test_neurons_of_what_goes_into_a_layer_have_captums_numbers(model):
    options = {"attribute_to_neuron_input": True, **RULE}
    expected = captum.attr.NeuronIntegratedGradients(model, model.second).attribute(X, (0, 1, 1), **options)
    actual = NeuronIntegratedGradients(model, model.second).attribute(X, (0, 1, 1), **options)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", [None, "gausslegendre", "stratified", "adaptive"])
def test_methods_are_those_of_the_function_that_computes_the_neuron(model, method):
    def neuron(x):
        return model.second(model.relu(model.first(x)))[:, 1, 2, 2]

    options = {"n_steps": 9, "method": method, "return_convergence_delta": True, "return_n_gradients": True}
    for plain, of_neuron in ((ExpectedGradients, NeuronEG), (WeightedIG, NeuronWeightedIG)):
        seeds = [{"generator": torch.Generator().manual_seed(4)} for _ in range(2)]
        expected = plain(neuron, references=OTHERS).attribute(X, **options, **seeds[0])
        actual = of_neuron(model, model.second, references=OTHERS).attribute(X, (1, 2, 2), **options, **seeds[1])
        for one, other in zip(actual, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)
    idgi = NeuronImportantDirectionIG(model, model.second).attribute(X, (1, 2, 2), n_steps=5)
    torch.testing.assert_close(idgi, ImportantDirectionIG(neuron).attribute(X, n_steps=5), rtol=1e-6, atol=1e-9)


def test_neurons_before_a_layer_in_place_are_read_before_it_changes_them(model):
    def neuron(x):
        return model.first(x)[:, 0, 1, 1]

    expected = ExpectedGradients(neuron, references=OTHERS).attribute(X, **RULE)
    for selector in ((0, 1, 1), lambda maps: maps[:, 0, 1, 1]):
        actual = NeuronEG(model, model.first, references=OTHERS).attribute(X, selector, **RULE)
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


def test_local_path_integration_of_a_neuron_assigns_neighbourhoods_by_the_models_outputs(model):
    samples = numbers(12, 2, 6, 6).double().flip(3) * 2
    fitted = ReferenceDistribution.fit(model, samples, n_neighborhoods=2, n_references=2)
    with torch.no_grad():
        places = fitted.assign(model(X)).tolist()
    actual = NeuronLPI(model, model.head, references=fitted).attribute(X, 1, **RULE)
    torch.testing.assert_close(actual, LPI(model, references=fitted).attribute(X, target=1, **RULE))
    lpi = NeuronLPI(model, model.second, references=fitted)
    maps, delta = lpi.attribute(X, (0, 2, 2), return_convergence_delta=True, n_steps=60, method="gausslegendre")
    with torch.no_grad():

        def neuron(x):
            return model.second(model.relu(model.first(x)))[:, 0, 2, 2]

        for i, place in enumerate(places):
            mean = (neuron(fitted.references[place]) * fitted.density[place]).sum()
            torch.testing.assert_close(maps[i].sum() - delta[i], neuron(X[i : i + 1])[0] - mean, rtol=1e-6, atol=1e-8)
    assert bool((delta.abs() < 1e-9).all())


@pytest.mark.parametrize(
    ("selector", "error", "message"),
    [
        ("first", ArgumentTypeError, "an int, a tuple of ints and slices, or a function of the layer's activations"),
        (True, ArgumentTypeError, "an int, a tuple of ints and slices"),
        ((0, 1.5), ArgumentTypeError, "an int, a tuple of ints and slices"),
        (float, ArgumentTypeError, "an int, a tuple of ints and slices"),
        (2**70, ArgumentError, "an index into a row of the layer's activations"),
        ((0, 9, 9), ArgumentError, r"an index into a row of the layer's activations \(3, 6, 6\), but got tuple"),
        (9, ArgumentError, "an index into a row of the layer's activations"),
        (1, ArgumentError, r"of one neuron, one number .* got \(6, 6\) for each: an index is missing"),
        (lambda maps: maps.sum(), ArgumentError, r"of one neuron, .* shape \(\) and dtype torch.float64 for \d+ row"),
        (lambda maps: None, ArgumentError, "of one neuron, one number for each row, but got NoneType None"),
    ],
)
def test_what_selects_no_neuron_is_refused(model, selector, error, message):
    with pytest.raises(error, match="`neuron_selector` to be " + message):
        NeuronEG(model, model.second, references=OTHERS).attribute(X, selector)


def test_a_layer_with_several_tensors_or_rows_elsewhere_needs_a_function():
    class Sequences(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = nn.LSTM(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.inner(x.transpose(0, 1))[0].sum(0))

    model, x = made(Sequences), numbers(2, 5, 3).double()
    ig = NeuronIntegratedGradients(model, model.inner)
    with pytest.raises(ArgumentError, match="`neuron_selector` to be a function for a layer that has several tensors"):
        ig.attribute(x, (0, 0))
    actual = ig.attribute(x, lambda tensors: tensors[0][2, :, 1], n_steps=5)
    handled = captum.attr.IntegratedGradients(lambda x: model.inner(x.transpose(0, 1))[0][2, :, 1])
    torch.testing.assert_close(actual, handled.attribute(x, n_steps=5), rtol=1e-6, atol=1e-9)


def test_hooks_are_taken_off_after_errors_of_a_selector(model):
    with pytest.raises(KeyError, match="mine"):
        NeuronEG(model, model.second, references=OTHERS).attribute(X, lambda maps: {}["mine"])
    assert not any(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())
