"""The LPI paper's own examples and lemma, with its numbers: where they hold, and where they do not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_ext.attr import IntegratedGradients, LocalPathIntegration
from captum_ext.exceptions import ArgumentError
from captum_ext.references import ReferenceDistribution


def piecewise(x):
    """Equation 3: x1 + 3 x2 where both are at most 1, 3 x1 + x2 where both are above, else 0."""
    low, high = (x <= 1).all(1), (x > 1).all(1)
    first, second = x.unbind(1)
    return torch.where(low, first + 3 * second, torch.where(high, 3 * first + second, 0 * first))


POINTS = torch.tensor([[1.5, 1.5], [4.0, 4.0]], dtype=torch.float64)
DIAGONAL = torch.tensor([0.1, 0.2, 0.3, 1.2, 1.3, 1.4], dtype=torch.float64)[:, None].expand(-1, 2)


def one_neighborhood(*references):
    values = torch.tensor(references, dtype=torch.float64)
    return ReferenceDistribution([values], [torch.full((len(values),), 1 / len(values))], torch.zeros(1, 1))


def lpi(references, **settings):
    return LocalPathIntegration(piecewise, references=references, **settings)


def test_example_1_integrated_gradients_from_zero_turns_the_order_of_the_features_round():
    # Of twelve midpoints eight lie below 1 on the way to 1.5, and three on the way to 4: both integrals are exact.
    maps = IntegratedGradients(piecewise).attribute(POINTS, 0, n_steps=12, method="riemann_middle")
    expected = torch.tensor([[2.5, 3.5], [10.0, 6.0]], dtype=torch.float64)
    torch.testing.assert_close(maps, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(maps.sum(1), piecewise(POINTS), rtol=1e-12, atol=1e-12)


def test_example_2_references_on_the_diagonal_of_the_same_piece_give_three_to_one():
    fitted = ReferenceDistribution.fit(piecewise, DIAGONAL, n_neighborhoods=2, n_references=3)
    maps = lpi(fitted).attribute(POINTS, n_steps=6)
    scale = POINTS[:, 0] - 1.3  # epsilon: how far x is from the mean of 1.2, 1.3 and 1.4, along either axis
    expected = scale[:, None] * torch.tensor([3.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(maps, expected, rtol=1e-6, atol=1e-6)  # densities are float32
    torch.testing.assert_close(maps[:, 0] / maps[:, 1], torch.full((2,), 3.0, dtype=torch.float64))


def test_example_2_does_not_hold_for_a_reference_off_the_diagonal():
    maps = lpi(one_neighborhood([1.1, 3.0])).attribute(POINTS[1:], n_steps=6)
    torch.testing.assert_close(maps, torch.tensor([[3 * 2.9, 1.0]], dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert float(maps[0, 0] / maps[0, 1]) == pytest.approx(8.7)
    gradients = lpi(one_neighborhood([1.1, 3.0]), multiply_by_inputs=False).attribute(POINTS[1:], n_steps=6)
    torch.testing.assert_close(gradients, torch.tensor([[3.0, 1.0]], dtype=torch.float64), rtol=1e-12, atol=1e-12)


def in_piece(is_high):
    number = st.floats(1.001, 10) if is_high else st.floats(-10, 1)
    return st.lists(st.tuples(number, number), min_size=2, max_size=5)


@given(st.booleans().flatmap(lambda is_high: st.tuples(st.just(is_high), in_piece(is_high))), st.integers(2, 9))
def test_lemma_1_mean_gradients_depend_on_x_through_its_piece_alone(case, n_steps):
    is_high, (x, *references) = case
    x = torch.tensor([x], dtype=torch.float64)
    method = lpi(one_neighborhood(*references), multiply_by_inputs=False)
    expected = torch.tensor([[3.0, 1.0] if is_high else [1.0, 3.0]], dtype=torch.float64)
    torch.testing.assert_close(method.attribute(x, n_steps=n_steps), expected, rtol=1e-6, atol=1e-6)


@given(st.integers(0, 10_000))
def test_lemma_1_holds_in_the_linear_pieces_of_a_network(seed):
    generator = torch.Generator().manual_seed(seed)
    hidden, head = nn.Linear(3, 8).double(), nn.Linear(8, 2).double()
    with torch.no_grad():
        for weights in (*hidden.parameters(), *head.parameters()):
            weights.copy_(torch.randn(weights.shape, generator=generator, dtype=torch.float64))
    net = nn.Sequential(hidden, nn.ReLU(), head)
    points = torch.randn(400, 3, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        active = hidden(points) > 0
    inside = points[(active == active[0]).all(1)]  # the piece of the first point: convex, so that paths stay in it
    x, references = inside[:1], inside[1:6] if len(inside) > 1 else inside[:1] + 1e-9
    fitted = ReferenceDistribution(
        [references], [torch.full((len(references),), 1 / len(references))], torch.zeros(1, 2)
    )
    method = LocalPathIntegration(net, references=fitted, multiply_by_inputs=False)
    expected = (head.weight[1] * active[0]) @ hidden.weight
    torch.testing.assert_close(method.attribute(x, target=1, n_steps=7)[0], expected.detach(), rtol=1e-6, atol=1e-6)


def test_mean_gradients_from_zero_break_the_lemma():
    method = IntegratedGradients(piecewise, multiply_by_inputs=False)
    maps = method.attribute(POINTS, 0, n_steps=12, method="riemann_middle")
    expected = torch.tensor([[5 / 3, 7 / 3], [2.5, 1.5]], dtype=torch.float64)
    torch.testing.assert_close(maps, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("network", "neighborhoods"), [("vgg16", 9), ("resnet34", 7)])
def test_the_papers_preset_has_its_neighbourhoods_of_twenty_references_each_with_one_of_twenty_gradients(
    network, neighborhoods
):
    centres = torch.arange(neighborhoods)[:, None] * 100.0
    samples = (centres + torch.rand(40, generator=torch.Generator().manual_seed(0))).flatten()[:, None]
    fitted = ReferenceDistribution.paper(lambda x: x, samples, network)
    assert [len(density) for density in fitted.density] == [20] * neighborhoods
    counted = {name: fitted.metadata[name] for name in ("n_neighborhoods", "n_references")}
    assert counted == {"n_neighborhoods": neighborhoods, "n_references": 20}
    again = ReferenceDistribution.fit(lambda x: x, samples, neighborhoods, 20)
    assert all(torch.equal(one, other) for one, other in zip(fitted.references, again.references, strict=True))
    points = []

    def forward(x):
        points.extend([] if not torch.is_grad_enabled() else x.flatten().tolist())
        return x

    x = torch.tensor([[105.0]])
    LocalPathIntegration(forward, references=fitted, allow_other_model=True).attribute(x, n_steps=20)
    assert len(points) == 20
    mine = fitted.references[int(fitted.assign(x))].flatten()
    assert all(mine.min() <= point <= 105 for point in points)


@pytest.mark.parametrize("network", ["vgg19", None, 9, True])
def test_networks_of_which_the_paper_says_nothing_are_refused(network):
    with pytest.raises(ArgumentError, match='`network` to be one of "vgg16", "resnet34", but got'):
        ReferenceDistribution.paper(lambda x: x, torch.rand(30, 1), network)
