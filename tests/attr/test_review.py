"""Numbers that were wrong, or memory that was taken, without a word once: each with its right value."""

import captum.attr
import pytest
import torch
from torch import nn

from captum_ext import SAMP, ExpectedGradients, LocalPathIntegration, Shared, WeightedIG
from captum_ext.attr import IntegratedGradients
from captum_ext.attr.paths import Starts
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, ModelOutputError
from captum_ext.metrics import deletion
from captum_ext.testing import SmoothModel

REFERENCES = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 0.5], [0.3, 0.2, -2.0]])
X = torch.tensor([[1.0, 2.0, 3.0]])


def test_evaluated_baselines_have_the_maps_of_attribute_without_the_factor_too():
    wg = WeightedIG(SmoothModel(3, torch.float32), False, references=REFERENCES, fill=0)
    options = {"target": 1, "method": "riemann_middle", "n_steps": 6}
    assert torch.equal(wg.evaluate_baselines(X, **options).attributions, wg.attribute(X, **options))


def test_evaluated_baselines_refuse_an_input_that_moves_the_score_without_a_gradient():
    wg = WeightedIG(lambda a, b: a.sum(1) + b.round().detach().sum(1), references=(REFERENCES, REFERENCES))
    with pytest.raises(ModelOutputError, match=r"moves with inputs\[1\], but no gradient reaches it"):
        wg.evaluate_baselines((X, X))


class View(nn.Module):
    """Refuses channels-last layout after it has changed its argument."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1, bias=False)
        nn.init.constant_(self.conv.weight, 1.0)

    def forward(self, x, scale):
        scale.mul_(2)
        return self.conv(x).view(len(x), -1).sum(1) * scale


def test_an_argument_that_the_model_changes_is_fresh_when_another_layout_is_tried():
    images = torch.rand(1, 2, 4, 4)
    curve = deletion(View(), images, images, None, torch.tensor([1.0]), n_steps=2, internal_batch_size=1)
    torch.testing.assert_close(curve.scores[:, 0], 4 * images.sum((1, 2, 3)))


def test_shared_arguments_are_copies_for_the_model_and_untouched_for_the_caller():
    def doubles(x, weights):
        weights.mul_(2)
        return (x * weights).sum(1)

    weights = torch.ones(3)
    ig = IntegratedGradients(doubles)
    maps = ig.attribute(X, additional_forward_args=Shared(weights), n_steps=4, internal_batch_size=1)
    torch.testing.assert_close(maps, 2 * X)
    assert torch.equal(weights, torch.ones(3))


def test_references_of_inputs_are_made_from_copies():
    given = X.clone()
    eg = ExpectedGradients(lambda x: (x**2).sum(1), references=lambda v: v.mul_(0.5)[:, None])
    maps = eg.attribute(given, method="gausslegendre", n_steps=3)
    torch.testing.assert_close(maps, X**2 - (X / 2) ** 2)
    assert torch.equal(given, X)


def test_batches_that_are_cut_anyway_are_not_filled_up():
    rows = []

    def forward(x):
        rows.extend([1] * len(x) if torch.is_grad_enabled() else [])
        return (x**2).sum(1)

    eg = ExpectedGradients(forward, references=torch.cat([torch.zeros(1, 2), torch.eye(2)]))
    inputs = torch.eye(2).repeat(5, 1)
    inputs[0] = 3.0  # three references; every other input is among its own, and has two
    eg.attribute(inputs, method="gausslegendre", n_steps=4, internal_batch_size=6)
    assert len(rows) == 4 * (3 + 9 * 2)


def test_samp_inside_a_layer_wrapper_takes_rows_that_do_not_move():
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    nn.init.constant_(network[0].bias, -100.0)  # the layer is zero, as is its baseline
    wrapper = captum.attr.LayerIntegratedGradients(network, network[1])
    wrapper.ig = SAMP(network)
    maps = wrapper.attribute(X, target=1, method="riemann_left", n_steps=4)
    assert torch.equal(maps, torch.zeros(1, 4))


def test_an_input_that_some_passes_do_not_use_and_a_random_model_are_no_mistake():
    def sometimes(a, b):
        return a.sum(1) * b.sum(1) if a.mean() > 1 else a.sum(1)

    IntegratedGradients(sometimes).attribute((X, X), n_steps=8, internal_batch_size=1)

    def noisy(a, b):
        return a.sum(1) + torch.rand(len(a), generator=torch.Generator().manual_seed(next(seeds)))

    seeds = iter(range(10**6))
    unused = IntegratedGradients(noisy).attribute((X, X), n_steps=8)[1]
    assert torch.equal(unused, torch.zeros_like(X))


def test_a_fit_with_forward_arguments_is_kept_as_long_as_the_outputs_are_the_same():
    rows = []

    def forward(x, scale):
        rows.append(len(x))
        return x * scale

    lpi = LocalPathIntegration(forward, references=torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
    options = {"target": 0, "n_steps": 4, "method": "stratified", "generator": torch.Generator().manual_seed(0)}
    lpi.attribute(X, additional_forward_args=2.0, **options)
    first, rows[:] = sum(rows), []
    lpi.attribute(X, additional_forward_args=2.0, **options)
    assert sum(rows) < first - 40
    rows.clear()
    lpi.attribute(X, additional_forward_args=-3.0, **options)
    assert sum(rows) > 50  # another model: fitted anew


def test_settings_that_a_class_does_not_keep_are_named():
    class Scaled(IntegratedGradients):
        def __init__(self, forward_func, scale):
            super().__init__(forward_func)
            self._scale = scale

    with pytest.raises(AttributeError, match="Scaled does not keep its constructor's argument `scale` under this name"):
        Scaled(lambda x: x, 2).settings()


def test_the_adaptive_rule_makes_room_for_paths_that_need_many_points():
    ig = IntegratedGradients(lambda x: (60 * x).sin().sum(1) + x.sum(1))
    x = torch.tensor([[1.0, 0.3]], dtype=torch.float64)
    maps, delta, counts = ig.attribute(
        x, method="adaptive", tol=1e-3, n_steps=400, return_convergence_delta=True, return_n_gradients=True
    )
    explained = ((60 * x).sin() + x).sum(1)
    assert 64 < int(counts) < 400
    assert bool((delta.abs() <= 1e-3 * explained.abs()).all())
    torch.testing.assert_close(maps.sum(1) - delta, explained)


@pytest.mark.parametrize(
    ("values", "index", "weight", "reason"),
    [
        (torch.zeros(2, 3), [[0]], [[1.0]], "`values` to be a tuple with one tensor"),
        ((torch.zeros(2, 3),), [0, 1], [1.0, 1.0], r"`index` to be \(N, K\) like the weights"),
        (
            (torch.zeros(2, 3),),
            [[0, 2]],
            [[0.5, 0.5]],
            "`index` to be from 0 to 1, .* but got 0 to 2",
        ),
        ((torch.zeros(2, 3),), [[0, -1]], [[0.5, 0.5]], "`index` to be from 0 to 1, the starting points, but got -1"),
        ((torch.zeros(2, 3),), [[0, 1]], [[1.0, 1.0]], r"`weight` to be non-negative numbers whose rows sum to one"),
        ((torch.zeros(2, 3),), [[0, 1]], [[1.5, -0.5]], r"`weight` to be non-negative numbers whose rows sum to one"),
    ],
)
def test_starts_that_would_give_wrong_numbers_are_refused(values, index, weight, reason):
    with pytest.raises(ArgumentError, match=reason):
        Starts(values, torch.tensor(index), torch.tensor(weight, dtype=torch.float64))


def test_references_in_the_place_of_a_switch_are_named():
    with pytest.raises(ArgumentTypeError, match="`multiply_by_inputs`"):
        ExpectedGradients(lambda x: x, REFERENCES)
