"""Nodes as rows, and sequences with time first: the model sees what it sees in Captum."""

import types

import captum.attr
import pytest
import torch
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
from captum_ext.exceptions import ModelOutputError
from captum_ext.metrics import (
    deletion,
)
from captum_ext.references import ReferenceDistribution
from tests.core.recorded import METRICS, RULES, Recorded, numbers

# Nodes as rows, and sequences with time first: rows that see each other

NODES, CLASSES = 5, 4
GRAPH_EDGES = torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]])
GRAPH_WEIGHT = numbers(3, CLASSES)
OUT_DEGREE = torch.tensor([2.0, 1, 1, 1, 1], dtype=torch.float64)


def convolution(x, edges=GRAPH_EDGES):
    return torch.zeros_like(x).index_add(0, edges[1], x[edges[0]]) @ GRAPH_WEIGHT


def bent_convolution(x, edges=GRAPH_EDGES):
    return torch.zeros_like(x).index_add(0, edges[1], x[edges[0]]).square() @ GRAPH_WEIGHT


NODE_INPUTS = numbers(NODES, 3) + 1.2
NODE_REFERENCES = numbers(3, 3) * 0.5
NODE_FITTED = ReferenceDistribution(
    [NODE_REFERENCES[:1], NODE_REFERENCES[1:]],
    [torch.ones(1), torch.tensor([0.75, 0.25])],
    convolution(NODE_INPUTS)[[0, 2]].float(),
)


def mean_start(name):
    """(N, 3): by their weights, where the paths of the nodes start."""
    if name == "IG":
        return torch.zeros_like(NODE_INPUTS)
    if name == "EG":
        return NODE_REFERENCES.mean(0).expand_as(NODE_INPUTS)
    near = NODE_FITTED.assign(convolution(NODE_INPUTS))
    return torch.stack([NODE_REFERENCES[0], 0.75 * NODE_REFERENCES[1] + 0.25 * NODE_REFERENCES[2]])[near]


NODE_METHODS = {
    "IG": lambda f: IntegratedGradients(f),
    "EG": lambda f: ExpectedGradients(f, references=NODE_REFERENCES),
    "LPI": lambda f: LocalPathIntegration(f, references=NODE_FITTED, allow_other_model=True),
}


@pytest.mark.parametrize("method", [None, "stratified", *RULES[:4]])
@pytest.mark.parametrize("name", NODE_METHODS)
def test_nodes_as_rows_are_right_where_a_whole_graph_is_given_at_once(name, method):
    assert (
        len(set(NODE_FITTED.assign(convolution(NODE_INPUTS)).tolist())) == 2
    )  # nodes with one and with two references
    expected = (NODE_INPUTS - mean_start(name)) * OUT_DEGREE[:, None] * GRAPH_WEIGHT[:, 2]
    for forward, edges in (
        (convolution, GRAPH_EDGES),
        (lambda x: convolution(x), None),
        (convolution, Shared(GRAPH_EDGES)),
    ):
        actual = NODE_METHODS[name](forward).attribute(
            NODE_INPUTS,
            target=2,
            additional_forward_args=edges,
            n_steps=5,
            method=method,
            internal_batch_size=NODES,
        )
        torch.testing.assert_close(actual, expected)


def test_weighted_ig_is_given_whole_graphs_beside_their_edges():
    forward = Recorded(bent_convolution)
    weighted = WeightedIntegratedGradients(forward, references=NODE_REFERENCES, fill=0, score="logit")
    weighted.attribute(NODE_INPUTS, target=2, n_steps=3, method="riemann_left", additional_forward_args=GRAPH_EDGES)
    assert set(forward.sizes) == {NODES}
    assert all(torch.equal(edges, GRAPH_EDGES) for _, edges in forward.calls)


@pytest.mark.parametrize("limit", [None, NODES, 12])
def test_a_sparse_matrix_of_neighbours_is_given_as_it_is_with_one_graph_at_a_time(limit):
    neighbours = torch.zeros(NODES, NODES, dtype=torch.float64)
    neighbours[GRAPH_EDGES[1], GRAPH_EDGES[0]] = 1
    actual = IntegratedGradients(lambda x, a: (a @ x).square() @ GRAPH_WEIGHT).attribute(
        NODE_INPUTS,
        target=2,
        additional_forward_args=neighbours.to_sparse(),
        n_steps=6,
        internal_batch_size=limit,
    )
    expected = captum.attr.IntegratedGradients(bent_convolution).attribute(
        NODE_INPUTS, target=2, n_steps=6, internal_batch_size=NODES
    )
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)


def test_an_object_that_may_hold_rows_goes_with_one_whole_batch_at_a_time():
    graph = types.SimpleNamespace(edges=GRAPH_EDGES)
    actual = IntegratedGradients(lambda x, graph: bent_convolution(x, graph.edges)).attribute(
        NODE_INPUTS, target=2, additional_forward_args=graph, n_steps=6
    )
    expected = captum.attr.IntegratedGradients(bent_convolution).attribute(
        NODE_INPUTS, target=2, n_steps=6, internal_batch_size=NODES
    )
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", RULES)
def test_nodes_that_a_model_bends_have_captums_numbers(method):
    arguments = {"target": 2, "n_steps": 6, "method": method, "internal_batch_size": NODES}
    expected = captum.attr.IntegratedGradients(bent_convolution).attribute(NODE_INPUTS, **arguments)
    actual = IntegratedGradients(bent_convolution).attribute(NODE_INPUTS, **arguments)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)
    each = [
        captum.attr.IntegratedGradients(bent_convolution).attribute(
            NODE_INPUTS, one.expand_as(NODE_INPUTS), **arguments
        )
        for one in NODE_REFERENCES
    ]
    eg = ExpectedGradients(bent_convolution, references=NODE_REFERENCES)
    torch.testing.assert_close(eg.attribute(NODE_INPUTS, **arguments), sum(each) / 3, rtol=1e-6, atol=1e-7)


def test_the_delta_of_nodes_is_that_of_captum():
    arguments = {"target": 2, "n_steps": 6, "internal_batch_size": NODES, "return_convergence_delta": True}
    for baseline in (None, numbers(NODES, 3)):
        _, expected = captum.attr.IntegratedGradients(bent_convolution).attribute(NODE_INPUTS, baseline, **arguments)
        _, actual = IntegratedGradients(bent_convolution).attribute(NODE_INPUTS, baseline, **arguments)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def test_idgi_of_nodes_moves_the_whole_graph_step_by_step():
    actual = ImportantDirectionIG(bent_convolution).attribute(
        NODE_INPUTS, target=2, n_steps=4, internal_batch_size=NODES
    )
    points = [(NODE_INPUTS * k / 4).requires_grad_() for k in range(5)]
    scores = [bent_convolution(point)[:, 2] for point in points]
    expected, pending, credited = torch.zeros_like(NODE_INPUTS), None, scores[0].detach()
    for point, score in zip(points[:-1], scores[:-1], strict=True):
        square = torch.autograd.grad(score.sum(), point)[0].square()
        if pending is not None:
            expected += pending * (score.detach() - credited)[:, None]
            credited = score.detach()
        if bool(square.any()):
            pending = square / square.sum(1, keepdim=True)
    expected += pending * (scores[-1].detach() - credited)[:, None]
    torch.testing.assert_close(actual, expected)


def test_curves_of_nodes_perturb_the_whole_graph_at_once():
    maps = numbers(NODES, 3)
    order = maps.argsort(1, descending=True)
    expected = []
    for k in range(4):
        kept = torch.ones_like(maps).scatter_(1, order[:, :k], 0.0)
        expected.append(bent_convolution(NODE_INPUTS * kept)[:, 2])
    curve = deletion(bent_convolution, NODE_INPUTS, maps, 2, n_steps=3, internal_batch_size=NODES)
    torch.testing.assert_close(curve.scores, torch.stack(expected, 1))


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_gives_a_model_whose_rows_see_each_other_whole_batches_only(name):
    forward = Recorded(bent_convolution)
    METRICS[name](forward, NODE_INPUTS, numbers(NODES, 3), target=2, internal_batch_size=NODES + 2)
    assert set(forward.sizes) == {NODES}


class TimeFirst(nn.Module):
    """(S, B, E) -> (B, 2)."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.lstm, self.fc = nn.LSTM(3, 4).double(), nn.Linear(4, 2).double()

    def forward(self, x):
        return self.fc(self.lstm(x)[0][-1])


@pytest.mark.parametrize("method", ["gausslegendre", "riemann_middle"])
@pytest.mark.parametrize("sequences", [1, 2, 4, 7])
def test_sequences_with_time_first_have_captums_numbers(sequences, method):
    net, x = TimeFirst(), numbers(4, sequences, 3)
    arguments = {"target": 1, "n_steps": 7, "method": method}
    truth = captum.attr.IntegratedGradients(lambda v: net(v.transpose(0, 1))).attribute(
        x.transpose(0, 1).contiguous(), **arguments
    )
    for limit in (4, 5, 9) if sequences != 4 else (4, 5):
        actual = IntegratedGradients(net).attribute(x, internal_batch_size=limit, **arguments)
        torch.testing.assert_close(actual, truth.transpose(0, 1), rtol=1e-6, atol=1e-8)
    references = numbers(2, sequences, 3) + 0.1
    each = [
        captum.attr.IntegratedGradients(net).attribute(x, one.expand_as(x), internal_batch_size=4, **arguments)
        for one in references
    ]
    eg = ExpectedGradients(net, references=references)
    torch.testing.assert_close(eg.attribute(x, internal_batch_size=4, **arguments), sum(each) / 2, rtol=1e-6, atol=1e-8)


def test_a_long_sequence_with_time_first_is_not_cut_by_default():
    x = numbers(300, 1, 3)
    net = TimeFirst()
    expected = captum.attr.IntegratedGradients(net).attribute(x, target=1, n_steps=3, internal_batch_size=300)
    torch.testing.assert_close(
        IntegratedGradients(net).attribute(x, target=1, n_steps=3), expected, rtol=1e-6, atol=1e-8
    )


def test_what_needs_a_score_for_each_row_says_so_of_sequences_with_time_first():
    net, x = TimeFirst(), numbers(4, 2, 3)
    arguments = {"target": 1, "n_steps": 4}
    message = r"one row for each of the \d+ rows that it was given, but got a tensor of shape \(2"
    calls = [
        lambda: IntegratedGradients(net).attribute(x, return_convergence_delta=True, **arguments),
        lambda: ImportantDirectionIG(net).attribute(x, internal_batch_size=4, **arguments),
        lambda: WeightedIntegratedGradients(net, references=numbers(2, 2, 3) + 0.1, fill=0).attribute(x, **arguments),
        lambda: LocalPathIntegration(net, references=numbers(3, 2, 3)).attribute(x, internal_batch_size=4, **arguments),
        lambda: deletion(net, x, x, 1, internal_batch_size=4),
        lambda: IntegratedGradients(net).attribute(x, target=1, method="adaptive"),
        lambda: SalientManipulationPath(net).attribute(x, target=1),
    ]
    for call in calls:
        with pytest.raises(ModelOutputError, match=message):
            call()
