"""The core behind the methods: layouts, memory, rows, the adaptive rule, and where references live."""

import pytest
import torch
from torch import nn

from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LocalPathIntegration,
    SalientManipulationPath,
    WeightedIntegratedGradients,
)
from captum_ext.attr.paths import adaptive
from captum_ext.metrics import diff_id
from captum_ext.references import ReferenceDistribution
from captum_ext.testing import TinyConvNet


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


@pytest.fixture
def x():
    return torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)


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


def test_running_out_of_memory_between_two_inputs_counts_no_point_twice(monkeypatch):
    calls = []

    def failing_once(numbers, like):
        calls.append(len(numbers))
        if len(calls) == 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return numbers.to(like)[:, None]

    monkeypatch.setattr("captum_ext.attr.paths.integration.as_column", failing_once)
    x = torch.ones(1, 2), torch.ones(1, 3)
    actual = IntegratedGradients(lambda a, b: a.sum(1) + b.sum(1)).attribute(x)
    for attributions, value in zip(actual, x, strict=True):
        torch.testing.assert_close(attributions, value)


def test_a_model_that_takes_channels_last_for_one_row_only_is_explained():
    def reshaping(x):
        return x.view(-1, 4, 4).reshape(len(x), -1).pow(2).sum(1, keepdim=True)

    x = torch.rand(1, 3, 4, 4)
    attributions = LocalPathIntegration(reshaping, references=torch.rand(5, 3, 4, 4)).attribute(x, target=0)
    assert attributions.shape == x.shape


def test_references_can_be_replaced_and_are_fitted_again(model, x):
    lpi = LocalPathIntegration(model, references=x + 10)
    lpi.attribute(x, target=0, n_steps=3)
    lpi.references = x - 10
    fresh = LocalPathIntegration(model, references=x - 10)
    arguments = {"target": 0, "n_steps": 3, "method": "gausslegendre"}
    torch.testing.assert_close(lpi.attribute(x, **arguments), fresh.attribute(x, **arguments))


def test_samples_of_another_dtype_are_fitted_with_the_model_of_the_call(model, x):
    lpi = LocalPathIntegration(model, references=torch.rand(4, 4))
    assert lpi.attribute(x, target=0, n_steps=5).dtype == torch.float64


def test_planning_does_not_use_the_default_device(model, x):
    references = x * 2
    fitted = ReferenceDistribution.fit(model, references, n_references=3)
    with torch.device("meta"):  # PyTorch 2.3 cannot take back set_default_device
        for method in ("gausslegendre", "stratified", "adaptive", None):
            lpi = LocalPathIntegration(model, references=fitted)
            _, delta = lpi.attribute(x, target=0, n_steps=6, method=method, return_convergence_delta=True)
            assert delta.device.type == "cpu"
        assert diff_id(model, x, x, 0).scores.device.type == "cpu"
        wg = WeightedIntegratedGradients(model, score="logit", keep=0.5, search="grid")
        assert wg.attribute(x, target=0, n_steps=6).device.type == "cpu"
        for method in (SalientManipulationPath(model), ImportantDirectionIG(model)):
            _, delta = method.attribute(x, target=0, return_convergence_delta=True)
            assert delta.device.type == "cpu"
        mask = torch.tensor([[0, 0, 1, 2]], device="cpu")
        masked = SalientManipulationPath(model, feature_mask=mask)
        assert masked.attribute(x, target=0, return_path=True)[1]["deletion"].scores.device.type == "cpu"


def test_rows_with_one_reference_are_integrated_alike_beside_rows_with_several():
    fitted = ReferenceDistribution(
        [torch.tensor([[0.5, 0.0]]), torch.tensor([[5.0, 1.0], [6.0, 0.0], [7.0, 2.0]])],
        [torch.ones(1), torch.full((3,), 1 / 3)],
        torch.tensor([[5.0], [276.0]]),
    )
    lpi = LocalPathIntegration(lambda p: p[:, :1] ** 3 + p[:, 1:] ** 2, references=fitted)
    x = torch.tensor([[1.0, 2.0], [6.5, 1.0]])
    together = lpi.attribute(x, target=0, n_steps=5)
    torch.testing.assert_close(lpi.attribute(x[:1], target=0, n_steps=5), together[:1])


@pytest.mark.parametrize("method", ["gausslegendre", "stratified", "adaptive"])
def test_inputs_of_one_number_a_row_are_explained(method):
    x = torch.tensor([1.0, 2.0, 3.0])
    eg = ExpectedGradients(lambda p: p * 2, references=torch.zeros(2))
    attributions, delta = eg.attribute(x, method=method, n_steps=4, return_convergence_delta=True)
    torch.testing.assert_close(attributions, x * 2)
    torch.testing.assert_close(delta, torch.zeros(3), rtol=0, atol=1e-5)


def test_the_adaptive_rule_keeps_a_bounded_number_of_gradients(monkeypatch):
    monkeypatch.setattr("captum_ext.attr.paths.adaptive._KEPT_BYTES", 30 * 8 * 10 * 3)
    groups = []
    original = adaptive._Group.refine

    def refine(self, allowed):
        groups.append(len(self.row))
        return original(self, allowed)

    monkeypatch.setattr(adaptive._Group, "refine", refine)
    IntegratedGradients(lambda p: (p**3).sum(1)).attribute(
        torch.rand(7, 10, dtype=torch.float64), n_steps=30, method="adaptive"
    )
    assert groups == [3, 3, 1]


def test_tol_bounds_the_gap_of_rows_whose_references_nearly_cancel():
    references = torch.tensor([[2.0], [-2.0]], dtype=torch.float64)
    x = torch.tensor([[0.3]], dtype=torch.float64)
    model = lambda p: (5 * p).sin().sum(1) + 0.01 * p.sum(1) + torch.relu(p - 1).sum(1)  # noqa: E731
    eg = ExpectedGradients(model, references=references)
    attributions, delta = eg.attribute(x, n_steps=400, method="adaptive", tol=0.01, return_convergence_delta=True)
    explained = float(model(x) - model(references).mean())
    assert abs(float(delta)) <= 0.01 * abs(explained) + 1e-9
    assert float(attributions.sum() - delta) == pytest.approx(explained)


def test_tol_stops_paths_that_are_complete_enough_and_spends_less():
    rows = []

    def kinked(x):
        rows.append(len(x))
        return torch.relu(x - 0.3).sum(1) * 3 + (5 * x).sin().sum(1)

    x = torch.tensor([[1.0, 0.9]], dtype=torch.float64)
    ig = IntegratedGradients(kinked)
    _, delta = ig.attribute(x, n_steps=200, method="adaptive", tol=0.05, return_convergence_delta=True)
    spent = sum(rows) - 4  # two forwards to know what is to be explained, two for the delta
    difference = float(kinked(x) - kinked(torch.zeros_like(x)))
    assert abs(float(delta)) <= 0.05 * abs(difference)
    assert spent < 200


def test_progress_counts_gradients(capsys, weights):
    IntegratedGradients(lambda x: x @ weights).attribute(torch.ones(2, 3), target=0, n_steps=6, show_progress=True)
    assert "12/12" in capsys.readouterr().err
