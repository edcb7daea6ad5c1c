"""Arguments that rows share or own, beside any number of graphs and images: methods and metrics."""

import pytest
import torch

from captum_ext import Shared
from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LocalPathIntegration,
    WeightedIntegratedGradients,
)
from captum_ext.exceptions import ArgumentError
from captum_ext.metrics import (
    irof,
    road,
)
from captum_ext.references import ReferenceDistribution
from tests.core.recorded import EDGES, GRAPHS, METRICS, Graph, closed, generator, numbers

# Graphs: an argument that all rows share


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
    monkeypatch.setattr("captum_ext.attr.weighted_ig.weighing._KEPT_BYTES", 1)
    expected = SHARED_METHODS["WeightedIG"](closed).attribute(GRAPHS, target=1, method="riemann_left", n_steps=4)
    actual = SHARED_METHODS["WeightedIG"](Graph()).attribute(
        GRAPHS, target=1, method="riemann_left", n_steps=4, additional_forward_args=EDGES
    )
    torch.testing.assert_close(actual, expected)
