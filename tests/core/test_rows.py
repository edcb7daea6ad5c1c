"""What the model is given: whole batches step by step, arguments as Captum tiles them, and single rows where N is too
large."""

import types

import captum.attr
import numpy as np
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
from captum_ext.exceptions import ArgumentError, ModelOutputError
from captum_ext.metrics import (
    deletion,
    diff_id,
    infidelity,
    insertion,
    irof,
    monotonicity,
    pixel_flipping,
    road,
    sensitivity_n,
)
from captum_ext.references import ReferenceDistribution

RULES = ("gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid")


class Recorded:
    """A forward function that keeps what it was given."""

    def __init__(self, forward):
        self.forward, self.calls = forward, []

    def __call__(self, *given):
        self.calls.append([value.detach().clone() if isinstance(value, torch.Tensor) else value for value in given])
        return self.forward(*given)

    @property
    def sizes(self):
        return [len(call[0]) for call in self.calls]


def numbers(*shape):
    """Different numbers, without a random state."""
    count = int(np.prod(shape))
    return (torch.arange(count, dtype=torch.float64) * 0.7 + 0.3).sin().reshape(shape)


def generator():
    return torch.Generator().manual_seed(0)


def squares(x, *_):
    return x.square().sum(1)


# What the model is given


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("limit", [3, 4, 6, 7, 100])
def test_the_model_is_given_the_points_and_arguments_that_captum_gives_it(method, limit):
    x, baseline, scale, targets = numbers(3, 2), numbers(1, 2) + 1, torch.tensor([1.0, 2.0, 3.0]), [0, 1, 0]
    ours, theirs = (Recorded(lambda v, s, _: v.square() * s[:, None]) for _ in range(2))
    arguments = {"target": targets, "additional_forward_args": (scale, "word"), "n_steps": 5, "method": method}
    IntegratedGradients(ours).attribute(x, baseline, internal_batch_size=limit, **arguments)
    captum.attr.IntegratedGradients(theirs).attribute(x, baseline, internal_batch_size=limit, **arguments)
    assert ours.sizes == theirs.sizes
    for one, other in zip(ours.calls, theirs.calls, strict=True):
        torch.testing.assert_close(one[0], other[0])
        torch.testing.assert_close(one[1], other[1])
        assert one[2] == "word"


def test_as_many_whole_batches_at_once_are_given_as_the_limit_allows():
    forward = Recorded(squares)
    IntegratedGradients(forward).attribute(numbers(3, 2), n_steps=5, internal_batch_size=8)
    assert forward.sizes == [6, 6, 3]
    forward = Recorded(squares)
    ExpectedGradients(forward, references=numbers(2, 2)).attribute(
        numbers(3, 2), n_steps=3, method="riemann_left", internal_batch_size=8
    )
    assert forward.sizes == [6, 6, 6]


def test_arguments_with_an_entry_for_each_row_are_repeated_and_not_interleaved():
    forward = Recorded(squares)
    follows = torch.tensor([1.0, 2.0]), torch.arange(6).reshape(2, 3)
    IntegratedGradients(forward).attribute(
        numbers(2, 2), additional_forward_args=follows, n_steps=3, internal_batch_size=6
    )
    ((_, one, other),) = forward.calls
    assert one.tolist() == [1.0, 2.0] * 3
    assert other.tolist() == [[0, 1, 2], [3, 4, 5]] * 3


def test_what_is_shared_is_given_as_it_is_however_many_rows_there_are():
    edges, table = torch.tensor([[0, 1], [1, 0]]), {"a": 1}
    for limit in (1, 2, 6):
        forward = Recorded(squares)
        seen = []
        IntegratedGradients(lambda x, *rest, seen=seen, forward=forward: seen.append(rest) or forward(x)).attribute(
            numbers(2, 2),
            additional_forward_args=(Shared(edges), Shared(table)),
            n_steps=6,
            internal_batch_size=limit,
        )
        assert set(forward.sizes) == {limit}
        assert all(torch.equal(one, edges) and one is not edges and other is table for one, other in seen)


@pytest.mark.parametrize(
    "unknown",
    [torch.arange(10).reshape(2, 5), torch.zeros(1, 4), [1, 2], np.ones((3, 2)), {"a": 1}, (1, 2)],
    ids=["edges", "one row", "list", "array", "mapping", "tuple"],
)
def test_arguments_of_unknown_role_go_with_one_whole_batch_at_a_time_as_they_are(unknown):
    x, scale = numbers(3, 2), torch.tensor([1.0, 2.0, 3.0])
    for limit in (None, 3, 7):
        forward = Recorded(squares)
        IntegratedGradients(forward).attribute(
            x, additional_forward_args=(scale, unknown, 0.5, None), n_steps=4, internal_batch_size=limit
        )
        assert forward.sizes == [3] * 4
        for _, follows, same, number, none in forward.calls:
            assert follows.tolist() == scale.tolist()
            assert type(same) is type(unknown)
            np.testing.assert_equal(np.asarray(same), np.asarray(unknown))
            assert (number, none) == (0.5, None)


def test_numbers_words_and_functions_are_for_all_rows_and_limit_nothing():
    forward = Recorded(squares)
    IntegratedGradients(forward).attribute(
        numbers(3, 2), additional_forward_args=(2, "word", None, torch.tensor(3.0), len), n_steps=4
    )
    assert forward.sizes == [12]
    assert forward.calls[0][1:] == [2, "word", None, torch.tensor(3.0), len]


def test_of_more_rows_than_the_limit_arguments_follow_their_row():
    forward = Recorded(lambda x, s, *_: x.square().sum(1) * s)
    x, scale, edges = numbers(5, 2), torch.arange(1.0, 6.0), torch.zeros(2, 9)
    actual = IntegratedGradients(forward).attribute(
        x, additional_forward_args=(scale, Shared(edges)), n_steps=4, internal_batch_size=3
    )
    torch.testing.assert_close(actual, x.square() * scale[:, None])
    assert max(forward.sizes) == 3
    for points, follows, shared in forward.calls:
        row = [int((point / x).std(1).argmin()) for point in points]  # the input that the point is a share of
        assert follows.tolist() == scale[row].tolist()
        assert shared.shape == (2, 9)


def test_of_more_rows_than_the_limit_an_argument_of_unknown_role_is_an_error_that_names_shared():
    with pytest.raises(ArgumentError, match=r"`internal_batch_size` .*at least 3.*wrapped in captum_ext.Shared.*got 2"):
        IntegratedGradients(squares).attribute(
            numbers(3, 2), additional_forward_args=torch.zeros(2, 9), internal_batch_size=2
        )


def test_without_a_limit_a_batch_of_any_size_stays_whole_beside_an_argument_of_unknown_role():
    forward = Recorded(squares)
    x = numbers(300, 2)  # more than a CPU gets at once by default
    actual = IntegratedGradients(forward).attribute(x, additional_forward_args=torch.zeros(2, 9), n_steps=2)
    assert forward.sizes == [300, 300]
    torch.testing.assert_close(actual, x.square())


def test_targets_are_tiled_as_arguments_are():
    x = numbers(3, 4)
    for target in ([0, 3, 1], torch.tensor([0, 3, 1])):
        for limit in (2, 3, 7, None):
            actual = IntegratedGradients(lambda v: v.square()).attribute(
                x, target=target, internal_batch_size=limit, n_steps=4
            )
            expected = torch.zeros_like(x).scatter_(1, torch.tensor([[0], [3], [1]]), 1.0) * x.square()
            torch.testing.assert_close(actual, expected)


def test_no_call_is_larger_than_the_limit_where_an_input_is_not_used():
    forward = Recorded(lambda a, b: a.square().sum(1))
    IntegratedGradients(forward).attribute((numbers(6, 2), numbers(6, 2)), n_steps=3, internal_batch_size=2)
    assert max(forward.sizes) == 2


# Graphs: an argument that all rows share


class Graph(nn.Module):
    """What the last node is told by its neighbours; x (N, nodes, features), edges (2, E)."""

    def forward(self, x, edges):
        told = torch.zeros_like(x).index_add(1, edges[1], x[:, edges[0]])
        return torch.stack([told[:, -1].sum(1) * 2, told[:, -1].square().sum(1) + told[:, 1].prod(1)], 1)


EDGES = torch.tensor([[0, 1, 2, 0], [3, 3, 3, 1]])


def closed(x):
    return Graph()(x, EDGES)


GRAPHS = numbers(3, 4, 2) + 1.5
REFERENCES = numbers(4, 4, 2) * 0.5
FITTED = ReferenceDistribution(
    [REFERENCES[:1], REFERENCES[1:]],
    [torch.ones(1), torch.tensor([0.5, 0.25, 0.25])],
    torch.stack([Graph()(GRAPHS[:1], EDGES)[0], Graph()(GRAPHS[1:], EDGES).mean(0)]).float(),
)
SHARED_METHODS = {
    "IG": lambda f: IntegratedGradients(f),
    "EG": lambda f: ExpectedGradients(f, references=REFERENCES),
    "LPI": lambda f: LocalPathIntegration(f, references=FITTED, allow_other_model=True),
    "WeightedIG": lambda f: WeightedIntegratedGradients(f, references=REFERENCES, fill=0),
    "WeightedIG-grid": lambda f: WeightedIntegratedGradients(f, references=REFERENCES, fill=0, search="grid", rtol=0),
}


@pytest.mark.parametrize("n_rows", [1, 2, 3])
@pytest.mark.parametrize("method", [None, "riemann_left", "gausslegendre", "stratified"])
@pytest.mark.parametrize("name", SHARED_METHODS)
def test_edges_beside_any_number_of_graphs_give_what_a_model_that_holds_them_gives(name, method, n_rows):
    x = GRAPHS[:n_rows]
    results = []
    for forward, edges in ((closed, None), (Graph(), EDGES), (Graph(), Shared(EDGES))):
        results.append(
            SHARED_METHODS[name](forward).attribute(
                x,
                target=1,
                additional_forward_args=edges,
                n_steps=8,
                method=method,
                generator=generator(),
                return_convergence_delta=True,
            )
        )
    for attributions, delta in results[1:]:
        torch.testing.assert_close(attributions, results[0][0])
        torch.testing.assert_close(delta, results[0][1])


@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_idgi_of_graphs_beside_edges_is_that_of_a_model_that_holds_them(n_rows):
    x = GRAPHS[:n_rows]
    expected = ImportantDirectionIG(closed).attribute(x, target=1, n_steps=6)
    actual = ImportantDirectionIG(Graph()).attribute(x, target=1, n_steps=6, additional_forward_args=EDGES)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_integrated_gradients_of_graphs_are_those_of_the_closed_form(n_rows):
    x = GRAPHS[:n_rows]
    expected = 2 * x
    expected[:, 3] = 0
    torch.testing.assert_close(
        IntegratedGradients(Graph()).attribute(x, target=0, additional_forward_args=EDGES), expected
    )


METRICS = {
    "insertion": lambda f, x, a, **given: insertion(f, x, a, baselines=0, **given).scores,
    "deletion": lambda f, x, a, **given: deletion(f, x, a, **given).scores,
    "diff_id": lambda f, x, a, **given: diff_id(f, x, a, normalize="none", **given).scores,
    "pixel_flipping": lambda f, x, a, **given: pixel_flipping(f, x, a, **given).scores,
    "infidelity": lambda f, x, a, **given: infidelity(f, x, a, **given).raw,
    "sensitivity_n": lambda f, x, a, **given: sensitivity_n(f, x, a, fractions=(0.5,), **given),
    "monotonicity": lambda f, x, a, **given: monotonicity(f, x, a, n_steps=3, **given),
}


@pytest.mark.parametrize("n_rows", [1, 2, 3])
@pytest.mark.parametrize("name", METRICS)
def test_metrics_of_graphs_beside_edges_are_those_of_a_model_that_holds_them(name, n_rows):
    x, maps = GRAPHS[:n_rows], numbers(3, 4, 2)[:n_rows]
    expected = METRICS[name](closed, x, maps, target=1)
    for edges in (EDGES, Shared(EDGES)):
        torch.testing.assert_close(METRICS[name](Graph(), x, maps, target=1, additional_forward_args=edges), expected)


@pytest.mark.parametrize("name", [*SHARED_METHODS, *METRICS])
def test_a_batch_that_may_not_be_cut_is_never_larger_than_the_limit_without_a_word(name):
    def explain(limit):
        arguments = {"target": 1, "additional_forward_args": EDGES, "internal_batch_size": limit}
        if name in METRICS:
            return METRICS[name](Graph(), GRAPHS, numbers(3, 4, 2), **arguments)
        return SHARED_METHODS[name](Graph()).attribute(GRAPHS, n_steps=4, method="riemann_left", **arguments)

    with pytest.raises(
        ArgumentError, match="`internal_batch_size` .*at least 3, .*wrapped in captum_ext.Shared.*got 2"
    ):
        explain(2)
    torch.testing.assert_close(explain(3), explain(None))


@pytest.mark.parametrize("name", [*SHARED_METHODS, *METRICS])
def test_arguments_of_the_rows_are_theirs_whatever_the_limit(name):
    scale = torch.tensor([0.02, 0.05, 0.1], dtype=torch.float64)

    def forward(x, scale):
        return closed(x) * scale[:, None]

    def explain(limit, rows=slice(None)):
        arguments = {"target": 1, "additional_forward_args": scale[rows], "internal_batch_size": limit}
        if name in METRICS:
            return METRICS[name](forward, GRAPHS[rows], numbers(3, 4, 2)[rows], **arguments)
        return SHARED_METHODS[name](forward).attribute(GRAPHS[rows], n_steps=4, method="riemann_left", **arguments)

    expected = torch.cat([explain(None, slice(k, k + 1)) for k in range(3)])
    for limit in (1, 2, 3, 7, None):
        torch.testing.assert_close(explain(limit), expected)


@pytest.mark.parametrize("n_rows", [1, 2, 3])
@pytest.mark.parametrize("name", ["irof", "road"])
def test_metrics_of_images_beside_prototypes_are_those_of_a_model_that_holds_them(name, n_rows):
    images, maps, prototypes = numbers(3, 1, 4, 4)[:n_rows] + 2, numbers(3, 1, 4, 4)[:n_rows], numbers(2, 16)
    segments = torch.arange(16).reshape(1, 4, 4).repeat(n_rows, 1, 1)
    segments[0] //= 2  # images with different numbers of segments

    def forward(x, prototypes):
        return -torch.cdist(x.flatten(1), prototypes).square() + 100

    def measure(forward_func, **given):
        if name == "irof":
            return irof(forward_func, images, maps, target=1, segments=segments, **given)
        return road(forward_func, images, maps, target=1, **given).scores

    expected = measure(lambda x: forward(x, prototypes))
    for argument in (prototypes, Shared(prototypes)):
        torch.testing.assert_close(measure(forward, additional_forward_args=argument), expected)


@pytest.mark.parametrize("search", ["bisection", "grid"])
@pytest.mark.parametrize("n_rows", [1, 2, 3])
@pytest.mark.parametrize("n_entries", [2, 4])
def test_weighted_ig_goes_on_with_whole_batches_when_the_search_is_done_with_a_row(n_entries, n_rows, search):
    table = torch.arange(n_entries * 7, dtype=torch.float64).reshape(n_entries, 7)
    x = torch.tensor([[100.0, 1, 1, 1, 1, 1], [3, 3, 1, 1, 1.1, 1], [1, 2, 3, 4, 5, 6]], dtype=torch.float64)[:n_rows]
    references = torch.tensor([[0.0] * 6, [0, 0, 0, 0, 0.2, 0], [-1.0] * 6], dtype=torch.float64)

    def forward(x, table):
        return x.sum(1) * (table[1] - table[0]).sum()

    def found(forward_func, table):
        weighted = WeightedIntegratedGradients(forward_func, references=references, fill=0, search=search, rtol=0)
        return weighted.evaluate_baselines(x, method="riemann_left", additional_forward_args=table)

    expected = found(lambda x: forward(x, table), None)
    assert len(set(expected.n_removed[:, 0].tolist())) == min(n_rows, 2)  # rows leave the search in different rounds
    actual = found(forward, table)
    assert actual.n_removed.tolist() == expected.n_removed.tolist()
    torch.testing.assert_close(actual.attributions, expected.attributions)


def test_weighted_ig_keeps_a_batch_whole_whatever_the_memory_for_maps(monkeypatch):
    monkeypatch.setattr("captum_ext.attr.weighted_ig.weighted_integrated_gradients._KEPT_BYTES", 1)
    expected = SHARED_METHODS["WeightedIG"](closed).attribute(GRAPHS, target=1, method="riemann_left", n_steps=4)
    actual = SHARED_METHODS["WeightedIG"](Graph()).attribute(
        GRAPHS, target=1, method="riemann_left", n_steps=4, additional_forward_args=EDGES
    )
    torch.testing.assert_close(actual, expected)


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
