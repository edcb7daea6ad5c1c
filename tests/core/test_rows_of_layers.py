"""One row that is squeezed, rows that part ways, layers with rows of their own, models that mix their rows."""

import captum.attr
import pytest
import torch
from captum.attr._core.neuron import neuron_integrated_gradients
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_ext import Shared
from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LocalPathIntegration,
    SalientManipulationPath,
    WeightedIntegratedGradients,
)
from captum_ext.exceptions import ArgumentError
from captum_ext.metrics import (
    deletion,
    infidelity,
    insertion,
    sensitivity_n,
)
from tests.core.recorded import EDGES, GRAPHS, RULES, Graph, closed, numbers

# One row, of which the model squeezes the batch away

SQUEEZED = {
    "number": (lambda x: (x @ torch.tensor([[2.0], [3.0]])).squeeze(), None),
    "one": (lambda x: x @ torch.tensor([2.0, 3.0]), None),
    "classes": (lambda x: (x @ torch.tensor([[0.0, 2.0, 1.0], [1.0, 3.0, 0.0]])).squeeze(0), 1),
    "all": (lambda x: (x @ torch.tensor([[0.0, 2.0, 1.0], [1.0, 3.0, 0.0]])).squeeze(), 1),
}
ROW = torch.tensor([[1.0, 4.0]])


@pytest.mark.parametrize("n_steps", [1, 2, 3, 7])
@pytest.mark.parametrize("limit", [None, 1, 2, 3])
@pytest.mark.parametrize("kind", SQUEEZED)
def test_outputs_that_a_model_squeezes_for_one_row_are_read_alike_whatever_the_steps(kind, limit, n_steps):
    forward, target = SQUEEZED[kind]
    arguments = {"target": target, "n_steps": n_steps, "internal_batch_size": limit, "return_convergence_delta": True}
    references = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    expected = torch.tensor([[2.0, 12.0]])
    attributions, delta = IntegratedGradients(forward).attribute(ROW, **arguments)
    torch.testing.assert_close(attributions, expected)
    torch.testing.assert_close(delta, torch.zeros(1), rtol=0, atol=1e-5)
    for method in (
        ExpectedGradients(forward, references=references),
        LocalPathIntegration(forward, references=references),
        WeightedIntegratedGradients(forward, references=references, score="logit", fill=0),
    ):
        attributions, delta = method.attribute(ROW, method="riemann_left", **arguments)
        torch.testing.assert_close(attributions[:, 1], expected[:, 1])
        torch.testing.assert_close(delta, torch.zeros(1), rtol=0, atol=1e-5)
    attributions, delta = ImportantDirectionIG(forward).attribute(ROW, **arguments)
    torch.testing.assert_close(attributions, 14 * torch.tensor([[4.0, 9.0]]) / 13)
    torch.testing.assert_close(SalientManipulationPath(forward).attribute(ROW, **arguments)[0], expected)
    if n_steps > 2:
        adaptive = IntegratedGradients(forward).attribute(ROW, method="adaptive", **arguments)[0]
        torch.testing.assert_close(adaptive, expected)


@pytest.mark.parametrize("limit", [None, 1, 2])
@pytest.mark.parametrize("kind", SQUEEZED)
def test_metrics_read_outputs_that_a_model_squeezes_for_one_row(kind, limit):
    forward, target = SQUEEZED[kind]
    arguments = {"target": target, "internal_batch_size": limit}
    assert deletion(forward, ROW, ROW, n_steps=2, **arguments).scores.tolist() == [[14.0, 2.0, 0.0]]
    assert insertion(forward, ROW, ROW, n_steps=2, baselines=0, **arguments).scores.tolist() == [[0.0, 12.0, 14.0]]
    exact = torch.tensor([[2.0, 12.0]])
    torch.testing.assert_close(infidelity(forward, ROW, exact, **arguments).raw, torch.zeros(1))
    torch.testing.assert_close(sensitivity_n(forward, ROW, exact, fractions=(0.5,), **arguments), torch.ones(1, 1))


# Rows that part ways


def test_methods_whose_rows_part_ways_name_shared_for_an_argument_of_unknown_role():
    message = r"additional_forward_args.*with one entry for each of the 3 rows, or wrapped in captum_ext.Shared"
    samp = SalientManipulationPath(Graph(), insertion_baselines=0)
    adaptive = IntegratedGradients(Graph())
    for call in (
        lambda edges, x: samp.attribute(x, target=1, additional_forward_args=edges, n_steps=4),
        lambda edges, x: adaptive.attribute(x, target=1, additional_forward_args=edges, n_steps=9, method="adaptive"),
    ):
        with pytest.raises(ArgumentError, match=message):
            call(EDGES, GRAPHS)
        each = torch.cat([call(EDGES, graph[None]) for graph in GRAPHS])
        torch.testing.assert_close(call(Shared(EDGES), GRAPHS), each)
    closed_samp, closed_ig = SalientManipulationPath(closed, insertion_baselines=0), IntegratedGradients(closed)
    for method, held, name in ((samp, closed_samp, None), (adaptive, closed_ig, "adaptive")):
        expected = held.attribute(GRAPHS[:1], target=1, n_steps=9, method=name)
        actual = method.attribute(GRAPHS[:1], target=1, additional_forward_args=EDGES, n_steps=9, method=name)
        torch.testing.assert_close(actual, expected)


# Captum's layers and neurons, whose rows are not those of the inputs


class Positions(nn.Module):
    """Embedded positions (1, T, D) beside tokens (N, T)."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.tokens, self.positions = nn.Embedding(6, 3).double(), nn.Embedding(4, 3).double()
            self.mix, self.head = nn.Linear(3, 3).double(), nn.Linear(3, 2).double()

    def forward(self, tokens, scale=None):
        embedded = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1])[None])
        mixed = self.mix(embedded.reshape(-1, 3)).tanh().reshape(*tokens.shape, 3)  # (N * T, D) inside
        outputs = self.head(mixed.square().mean(1))
        return outputs if scale is None else outputs * scale[:, None]


TOKENS = torch.tensor([[0, 1, 2, 3], [5, 4, 3, 2], [1, 1, 4, 0]])


@pytest.mark.parametrize("n_rows", [1, 2, 3])
@pytest.mark.parametrize("layer", ["positions", "mix", "tokens"])
def test_layers_with_rows_of_their_own_have_captums_numbers(layer, n_rows):
    net, x = Positions(), TOKENS[:n_rows]
    scale = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)[:n_rows]
    rows = {"positions": 1, "mix": 4 * n_rows, "tokens": n_rows}[layer]
    for target in (1, [1, 0, 1][:n_rows], torch.tensor([1, 0, 1][:n_rows])):
        for extra in (None, scale):
            arguments = {"target": target, "additional_forward_args": extra, "n_steps": 5}
            theirs = captum.attr.LayerIntegratedGradients(net, getattr(net, layer))
            expected = theirs.attribute(x, torch.zeros_like(x), internal_batch_size=rows, **arguments)
            for limit in (None, rows, rows + 1, 3 * rows):
                ours = captum.attr.LayerIntegratedGradients(net, getattr(net, layer))
                ours.ig = IntegratedGradients(net)
                actual = ours.attribute(x, torch.zeros_like(x), internal_batch_size=limit, **arguments)
                torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-9)


class Flat(nn.Module):
    """A layer with a row for each step of each sequence (N, T, D)."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(2)
            self.first, self.head = nn.Linear(3, 4).double(), nn.Linear(4, 2).double()

    def forward(self, x):
        return self.head(self.first(x.reshape(-1, 3)).tanh().reshape(*x.shape[:2], 4).sum(1))


@pytest.mark.parametrize("limit", [None, 2, 3, 5])
def test_neurons_of_layers_with_rows_of_their_own_have_captums_numbers(monkeypatch, limit):
    net, x = Flat(), numbers(2, 3, 3)
    arguments = {"neuron_selector": 2, "n_steps": 5, "internal_batch_size": limit}
    expected = captum.attr.NeuronIntegratedGradients(net, net.first).attribute(x, **arguments)
    monkeypatch.setattr(neuron_integrated_gradients, "IntegratedGradients", IntegratedGradients)
    actual = captum.attr.NeuronIntegratedGradients(net, net.first).attribute(x, **arguments)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-9)


def test_noise_tunnel_leaves_what_is_shared_alone():
    arguments = {"nt_samples": 3, "target": 1, "n_steps": 5}
    results = []
    for method, edges in (
        (captum.attr.IntegratedGradients(closed), None),
        (IntegratedGradients(Graph()), Shared(EDGES)),
    ):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            tunnel = captum.attr.NoiseTunnel(method)
            results.append(tunnel.attribute(GRAPHS, additional_forward_args=edges, **arguments))
    torch.testing.assert_close(results[1], results[0], rtol=1e-6, atol=1e-8)


# Any model that mixes the rows of its batch


def mixing(x):
    centred = x - x.mean(0)
    return torch.stack([(centred * x).sum(1).square(), centred.sum(1) * x.prod(1)], 1)


@given(
    n_rows=st.integers(1, 5),
    n_steps=st.integers(2, 8),
    spare=st.integers(0, 20),
    method=st.sampled_from(RULES[:4]),
    own_baseline=st.booleans(),
)
def test_models_that_mix_the_rows_of_their_batch_have_captums_numbers(n_rows, n_steps, spare, method, own_baseline):
    x = numbers(n_rows, 3) + 1
    baseline = numbers(n_rows, 3).flip(1) if own_baseline else None
    arguments = {"target": 1, "n_steps": n_steps, "method": method, "return_convergence_delta": True}
    for limit in (n_rows, n_rows + spare):
        expected = captum.attr.IntegratedGradients(mixing).attribute(
            x, baseline, internal_batch_size=limit, **arguments
        )
        actual = IntegratedGradients(mixing).attribute(x, baseline, internal_batch_size=limit, **arguments)
        for one, other in zip(actual, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
