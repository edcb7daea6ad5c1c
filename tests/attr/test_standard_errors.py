"""Standard errors of maps with random points: against a literal oracle, against independent repeats, and in every
form."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from captum_ext import ExpectedGradients, LocalPathIntegration, ReferenceDistribution, WeightedIntegratedGradients
from captum_ext.attr import (
    RISE,
    ImportantDirectionIG,
    IntegratedGradients,
    LayerExpectedGradients,
    NeuronExpectedGradients,
    expected_change,
    n_steps_for,
    relative_error,
)
from captum_ext.attr.paths import Starts, stratified_points
from captum_ext.attr.paths.contrasts import contrasts
from captum_ext.core.fills import ConstantFill
from captum_ext.core.request import Request
from captum_ext.dataset import attribute_dataset
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError, ArgumentTypeError
from captum_ext.upsampling import CoalitionScorer
from captum_ext.upsampling.scoring import MaskedImages
from tests import oracles


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(*shape, seed=0, scale=1.0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64) * scale


class Recorded:
    """A smooth model of 3 features that keeps the points at which it is asked."""

    def __init__(self):
        self.points = []

    def __call__(self, x):
        self.points += list(x.detach())
        return x[:, 0] ** 2 * x[:, 1] + torch.tanh(3 * x[:, 2]) * x[:, 0]

    def contributions(self, x, references, weights):
        """Of every recorded point on a path: path, alpha and weight * gradient * displacement."""
        path, alpha, values = [], [], []
        for point in self.points:
            for j, reference in enumerate(references):
                a = float((point[0] - reference[0]) / (x[0] - reference[0]))
                if torch.allclose(reference + a * (x - reference), point, atol=1e-12):
                    path.append(j)
                    alpha.append(a)
        for j, a in zip(path, alpha, strict=True):
            reference = references[j]
            slope = oracles.gradient(Recorded(), reference + a * (x - reference))
            values.append(weights[j] / path.count(j) * slope * (x - reference))
        return torch.stack(values).numpy(), path, alpha


@settings(max_examples=25, deadline=None)
@given(n_paths=st.integers(2, 6), more=st.integers(0, 20), seed=st.integers(0, 999))
def test_several_references_have_the_error_of_the_oracle(n_paths, more, seed):
    x, references = numbers(3, seed=seed), numbers(n_paths, 3, seed=seed + 1)
    model, n_steps = Recorded(), 2 * n_paths + more
    method = ExpectedGradients(model, references=references)
    maps, error = method.attribute(
        x[None], n_steps=n_steps, generator=generator(seed), return_standard_error=True, internal_batch_size=1
    )
    values, path, alpha = model.contributions(x, references, [1 / n_paths] * n_paths)
    assert len(path) == n_steps
    np.testing.assert_allclose(maps[0], values.sum(0), rtol=1e-9)
    np.testing.assert_allclose(error[0], oracles.error_of_several_paths(values, path, alpha), rtol=0.035, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(n_steps=st.integers(2, 30), seed=st.integers(0, 999))
def test_a_single_baseline_has_the_error_of_the_oracle(n_steps, seed):
    x, baseline, model = numbers(3, seed=seed), numbers(1, 3, seed=seed + 1), Recorded()
    _, error = IntegratedGradients(model).attribute(
        x[None],
        baseline,
        n_steps=n_steps,
        method="stratified",
        generator=generator(seed),
        return_standard_error=True,
        internal_batch_size=1,
    )
    values, path, alpha = model.contributions(x, baseline, [1.0])
    if len(path) == n_steps:  # the score at the baseline is not asked for
        with np.errstate(invalid="ignore"):
            expected = np.nan_to_num(oracles.error_of_one_path(values, alpha))
        np.testing.assert_allclose(error[0], expected, rtol=0.035, atol=1e-12)


def variance_of(values, planned):
    """The estimate of the variance of the sum of values (P,), given in the order of the plan."""
    differences = torch.cat([torch.zeros(1, dtype=torch.float64), values.diff()])
    return (planned.squares * differences**2).sum() - (planned.shared.T @ values).square().sum()


def repeats(n_paths, n_steps, value, n_repeats=3000, seed=1):
    """Sums and estimates of their variance, of a function of path and alpha."""
    weight = torch.full((1, n_paths), 1 / n_paths, dtype=torch.float64)
    starts = Starts((torch.zeros(n_paths, 1),), torch.arange(n_paths)[None], weight)
    sums, variances, source = [], [], generator(seed)
    for _ in range(n_repeats):
        planned = contrasts(stratified_points(starts, n_steps, [source]), starts)
        values = planned.points.weight * value(planned.points.path, planned.points.alpha)
        sums.append(values.sum())
        variances.append(variance_of(values, planned))
    return torch.stack(sums), torch.stack(variances)


@pytest.mark.parametrize(
    ("n_paths", "n_steps", "value"),
    [
        (6, 18, lambda j, a: j + 3 * a**2 + torch.cos(2.0 * j) * torch.sin(9 * a)),
        (5, 40, lambda j, a: 10 * j + a + torch.cos(2.0 * j) * (a > 0.2 * j)),
        (1, 30, lambda j, a: 5 * a**3 + 0 * j),
    ],
    ids=["smooth", "jumps", "one path"],
)
def test_the_variance_is_estimated_without_bias(n_paths, n_steps, value):
    sums, variances = repeats(n_paths, n_steps, value)
    assert float(variances.mean() / sums.var()) == pytest.approx(1, abs=0.12)


def test_the_variance_on_one_path_with_steps_is_right_on_average_over_where_they_are():
    phases, grid = torch.rand(600, generator=generator(), dtype=torch.float64), (torch.arange(20_000) + 0.5) / 20_000
    squares, estimates = [], []
    for number, phase in enumerate(phases.tolist()):

        def steps(_, alpha, phase=phase):
            return torch.sin(4 * torch.floor(7.3 * alpha + phase))

        sums, variances = repeats(1, 30, steps, n_repeats=5, seed=number)
        exact = float(steps(0, grid.double()).mean())
        squares.append((sums - exact).square().mean())
        estimates.append(variances.mean())
    assert float(torch.stack(estimates).mean() / torch.stack(squares).mean()) == pytest.approx(1, abs=0.15)


def test_what_all_paths_share_beyond_a_polynomial_makes_the_error_too_large():
    sums, variances = repeats(6, 12, lambda j, a: j + 3 * a**2 + torch.cos(2.0 * j) * torch.sin(9 * a))
    assert 1.1 < float(variances.mean() / sums.var()) < 1.5


def test_what_is_constant_on_each_path_or_a_polynomial_of_all_has_no_error():
    _, variances = repeats(5, 20, lambda j, a: 7.0 * j + 2 * a - 3 * a**2, n_repeats=50)
    assert float(variances.abs().max()) < 1e-12


def networks():
    torch.manual_seed(3)
    rough = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 3))
    smooth = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.GELU(), nn.Linear(24, 24), nn.GELU(), nn.Linear(24, 3))
    with torch.no_grad():
        for parameter in [*rough.parameters(), *smooth.parameters()]:
            parameter *= 2
    return {"rough": rough.double(), "smooth": smooth.double()}


def coverage(explain, exact, n_repeats=200):
    pairs = [explain(generator(seed)) for seed in range(n_repeats)]
    inside = [(maps - exact).abs() <= 1.96 * error for maps, error in pairs]
    return float(torch.stack(inside).double().mean())


@pytest.mark.parametrize("name", ["rough", "smooth"])
@pytest.mark.parametrize("kind", [True, "location"])
def test_a_band_of_95_percent_covers_the_exact_map_in_90_to_98_percent(name, kind):
    model, images, references = networks()[name], numbers(2, 1, 8, 8), numbers(8, 1, 8, 8, seed=5)
    method = ExpectedGradients(model, references=references)
    exact = method.attribute(images, target=1, method="gausslegendre", n_steps=300)
    covered = coverage(
        lambda source: method.attribute(images, target=1, n_steps=48, generator=source, return_standard_error=kind),
        exact,
    )
    assert 0.90 <= covered <= 0.98


@pytest.mark.parametrize("name", ["rough", "smooth"])
def test_a_band_covers_the_exact_map_of_local_paths_with_unequal_weights(name):
    model, images, samples = networks()[name], numbers(2, 1, 8, 8), numbers(24, 1, 8, 8, seed=5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = ReferenceDistribution.fit(model, samples, n_references=6)
    method = LocalPathIntegration(model, references=fitted)
    exact = method.attribute(images, target=1, method="gausslegendre", n_steps=300)
    covered = coverage(
        lambda source: method.attribute(images, target=1, n_steps=48, generator=source, return_standard_error=True),
        exact,
    )
    assert 0.90 <= covered <= 0.98


def test_weighted_maps_have_the_error_of_their_paths_at_their_weights():
    model, images, references = networks()["smooth"], numbers(2, 1, 8, 8), numbers(5, 1, 8, 8, seed=5)
    maps, errors, weights = [], [], []
    method = WeightedIntegratedGradients(model, references=references, score="logit", fill=0)
    for seed in range(100):
        one, error = method.attribute(
            images, target=1, n_steps=40, generator=generator(seed), return_standard_error=True
        )
        maps.append(one)
        errors.append(error)
        weights.append(method.baseline_weights(images, target=1, n_steps=40, generator=generator(seed)))
    single = [ExpectedGradients(model, references=r[None]).attribute(images, target=1, n_steps=300) for r in references]
    paths = torch.stack(single, 1)  # (N, K, ...)
    exact = torch.stack([torch.einsum("nk,nk...->n...", w, paths) for w in weights])
    inside = (torch.stack(maps) - exact).abs() <= 1.96 * torch.stack(errors)
    assert 0.90 <= float(inside.double().mean()) <= 0.98


def test_masks_are_independent_so_that_the_error_of_rise_is_that_of_a_mean():
    model, images = lambda x: x.square().mean((1, 2, 3)) + x[..., 0, 0].sum(1), numbers(2, 2, 6, 6)
    runs = [RISE(model, grid=3, seed=s).attribute(images, n_samples=60, return_standard_error=True) for s in range(300)]
    maps, errors = (torch.stack(values) for values in zip(*runs, strict=True))
    assert maps.shape == errors.shape
    ratio = errors.square().mean(0) / maps.var(0)
    assert float(ratio.mean()) == pytest.approx(1, abs=0.05)
    _, located = RISE(model, grid=3).attribute(images, n_samples=60, return_standard_error="location")
    torch.testing.assert_close(located, errors[0][:, :1] * 2)


def test_coalitions_have_the_error_of_their_regression():
    labels, image = torch.arange(16).reshape(1, 4, 4) // 2, numbers(1, 1, 4, 4)
    nothing = ConstantFill((torch.zeros(1, 1, 4, 4, dtype=torch.float64),))

    def model(x):
        parts = (x != 0).double().reshape(len(x), 8, 2)[..., 0]
        return 3 * parts[:, 0] + parts[:, 1] - 2 * parts[:, 2] * parts[:, 3] + parts[:, 4] * parts[:, 5]

    runs = []
    for seed in range(200):
        masked = MaskedImages(Request(model, image), labels, nothing)
        (found,), (error,) = CoalitionScorer(n_passes=60, ridge=1e-9, seed=seed).with_errors(masked)
        runs.append((found, error))
    found, errors = (torch.stack(values) for values in zip(*runs, strict=True))
    truth = torch.tensor([3.0, 1.0, -1.0, -1.0, 0.5, 0.5, 0.0, 0.0], dtype=torch.float64)
    inside = (found - truth).abs() <= 1.96 * errors
    assert 0.90 <= float(inside.double().mean()) <= 0.98
    masked = MaskedImages(Request(model, image), labels, nothing)
    assert CoalitionScorer(n_passes=9).with_errors(masked)[1][0].tolist() == [torch.inf] * 8


def test_errors_change_neither_the_map_nor_the_passes_and_come_last():
    asked = []

    def model(x):
        asked.append(len(x))
        return x.square().sum(1) * x[:, 0]

    method = ExpectedGradients(model, references=numbers(3, 4))
    maps, delta, counts = method.attribute(
        numbers(5, 4),
        n_steps=9,
        generator=generator(),
        return_convergence_delta=True,
        return_n_gradients=True,
        internal_batch_size=5,
    )
    without = list(asked)
    asked.clear()
    again = method.attribute(
        numbers(5, 4),
        n_steps=9,
        generator=generator(),
        return_convergence_delta=True,
        return_n_gradients=True,
        return_standard_error=True,
        internal_batch_size=5,
    )
    torch.testing.assert_close(again[:3], (maps, delta, counts))
    assert asked == without
    assert again[3].shape == maps.shape


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("kept", [2**28, 1])
def test_errors_do_not_depend_on_the_rows_in_flight(size, kept, monkeypatch):
    monkeypatch.setattr("captum_ext.attr.paths.integration.KEPT_BYTES", kept)
    method = ExpectedGradients(lambda x: x.square().sum((1, 2, 3)) * x[:, 0, 0, 0], references=numbers(3, 2, 3, 3))
    images = numbers(5, 2, 3, 3)

    def errors(limit, kind):
        sources = [generator(seed) for seed in range(5)]
        return method.attribute(
            images, n_steps=11, generator=sources, internal_batch_size=limit, return_standard_error=kind
        )[1]

    for kind in (True, "location"):
        torch.testing.assert_close(errors(size, kind), errors(None, kind))


def test_the_error_of_a_location_is_that_of_the_sum_over_channels():
    one, references = numbers(2, 1, 3, 3), numbers(4, 1, 3, 3, seed=1)
    twice, both = one.expand(2, 2, 3, 3).clone(), references.expand(4, 2, 3, 3).clone()

    def errors(model, kind):
        method = ExpectedGradients(model, references=both)
        return method.attribute(twice, n_steps=16, generator=generator(), return_standard_error=kind)[1]

    def together(x):
        return (x[:, 0] + x[:, 1]).pow(3).sum((1, 2))

    def apart(x):
        return (x[:, 0].pow(3) - x[:, 1].pow(3)).sum((1, 2))

    torch.testing.assert_close(errors(together, "location"), 2 * errors(together, True)[:, :1])
    assert float(errors(apart, "location").max()) < 1e-9 < float(errors(apart, True).min())


def test_fewer_than_two_points_on_a_path_give_an_upper_bound_and_say_so():
    method = ExpectedGradients(lambda x: x.prod(1), references=numbers(10, 3))
    for n_steps in (4, 10, 15):
        with pytest.warns(UserWarning, match="upper bounds: with less than two points"):
            method.attribute(numbers(1, 3), n_steps=n_steps, return_standard_error=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = [
            method.attribute(numbers(1, 3), n_steps=10, generator=generator(seed), return_standard_error=True)
            for seed in range(200)
        ]
    maps, errors = (torch.stack(values) for values in zip(*runs, strict=True))
    assert bool((errors.square().mean(0) > maps.var(0)).all())


def test_layers_and_neurons_have_errors_of_their_shape():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    references = numbers(3, 3)
    layer = LayerExpectedGradients(network, network[0], references=references)
    maps, delta, error = layer.attribute(
        numbers(2, 3), target=0, n_steps=12, return_convergence_delta=True, return_standard_error=True
    )
    assert maps.shape == error.shape == (2, 4)
    assert delta.shape == (2,)
    neuron = NeuronExpectedGradients(network, network[0], references=references)
    maps, error = neuron.attribute(numbers(2, 3), 1, n_steps=12, return_standard_error=True)
    assert float(error.max()) < 1e-6 * float(maps.abs().max())  # a linear neuron


def test_tuples_of_inputs_have_tuples_of_errors():
    method = ExpectedGradients(
        lambda x, y: x.square().sum(1) * y.sum(1), references=(numbers(3, 2), numbers(3, 4, seed=1))
    )
    maps, errors = method.attribute((numbers(2, 2), numbers(2, 4)), n_steps=12, return_standard_error=True)
    assert [one.shape for one in errors] == [one.shape for one in maps]


def test_rules_without_random_points_and_methods_without_errors_refuse():
    ig = IntegratedGradients(lambda x: x.prod(1))
    with pytest.raises(ArgumentsConflictError, match="`return_standard_error` and `method` .* 'gausslegendre'"):
        ig.attribute(numbers(1, 3), method="gausslegendre", return_standard_error=True)
    with pytest.raises(ArgumentsConflictError, match='Gauss nodes on the one path of row 0.*method="stratified"'):
        ig.attribute(numbers(1, 3), return_standard_error=True)
    with pytest.raises(ArgumentsConflictError, match="`tol_map` and `method`"):
        ig.attribute(numbers(1, 3), method="adaptive", tol_map=0.1)
    with pytest.raises(ArgumentError, match="left out for ImportantDirectionIG: its points are not random"):
        ImportantDirectionIG(lambda x: x.prod(1)).attribute(numbers(1, 3), return_standard_error=True)
    weighted = WeightedIntegratedGradients(lambda x: x.prod(1), references=numbers(4, 3, seed=1), fill=0)
    with pytest.raises(ArgumentError, match="`tol_map`.*left out for WeightedIntegratedGradients"):
        weighted.attribute(numbers(1, 3), tol_map=0.1)
    with pytest.raises(ArgumentError, match="`n_steps`.*two points on each path"):
        weighted.attribute(numbers(1, 3), n_steps=6, return_standard_error=True)
    eg = ExpectedGradients(lambda x: x.prod(1), references=numbers(4, 3))
    with pytest.raises(ArgumentError, match="`return_standard_error`.*location"):
        eg.attribute(numbers(1, 3), return_standard_error="channels")
    with pytest.raises(ArgumentTypeError, match="return_standard_error"):
        eg.attribute(numbers(1, 3), return_standard_error=1)
    with pytest.raises(ArgumentError, match="`n_steps`.*at least 2"):
        eg.attribute(numbers(1, 3), n_steps=1, return_standard_error=True)
    with pytest.raises(ArgumentError, match="`tol_map`"):
        eg.attribute(numbers(1, 3), tol_map=1.5)
    with pytest.raises(ArgumentError, match="`n_samples`.*at least 2"):
        RISE(lambda x: x.sum((1, 2, 3))).attribute(numbers(1, 1, 8, 8), n_samples=1, return_standard_error=True)


def test_rounds_stop_when_the_largest_attributions_are_settled():
    images, references = numbers(2, 1, 8, 8), numbers(6, 1, 8, 8, seed=5)
    linear = ExpectedGradients(lambda x: 3 * x.sum((1, 2, 3)), references=references)
    maps, counts, error = linear.attribute(
        images, n_steps=200, tol_map=0.05, generator=generator(), return_n_gradients=True, return_standard_error=True
    )
    assert counts.tolist() == [20, 20]  # one of ten rounds
    torch.testing.assert_close(maps, 3 * (images - references.mean(0)))
    assert float(error.max()) < 1e-9
    network = networks()["rough"]
    method = ExpectedGradients(network, references=references)
    maps, counts = method.attribute(
        images, target=1, n_steps=4000, tol_map=0.1, generator=generator(), return_n_gradients=True
    )
    assert bool((counts < 4000).all())
    with pytest.warns(UserWarning, match="2 of 2 rows took all 48 gradients .*Raise n_steps"):
        method.attribute(images, target=1, n_steps=48, tol_map=1e-6, generator=generator())


def test_a_settled_map_has_the_largest_locations_of_another_draw():
    images, references, network = numbers(2, 1, 8, 8), numbers(6, 1, 8, 8, seed=5), networks()["rough"]
    method = ExpectedGradients(network, references=references)
    kept = []
    for seed in range(20):
        tops = [
            method.attribute(images, target=1, n_steps=4000, tol_map=0.1, generator=generator(s)).flatten(1).topk(3)
            for s in (seed, seed + 100)
        ]
        pairs = zip(*(top.indices.tolist() for top in tops), strict=True)
        kept += [len(set(one) & set(other)) / 3 for one, other in pairs]
    assert sum(kept) / len(kept) >= 0.9


def test_gradients_for_a_precision_are_what_reaches_it():
    images, references, network = numbers(1, 1, 8, 8), numbers(6, 1, 8, 8, seed=5), networks()["smooth"]
    method = ExpectedGradients(network, references=references)
    exact = method.attribute(images, target=1, method="gausslegendre", n_steps=300)
    pilot = method.attribute(images, target=1, n_steps=60, generator=generator(), return_standard_error=True)
    wanted = float(relative_error(*pilot)) / 3
    n_steps = int(n_steps_for(wanted, *pilot, 60))
    assert n_steps == pytest.approx(540, abs=1)
    reached = [
        float((method.attribute(images, target=1, n_steps=n_steps, generator=generator(s)) - exact).norm())
        for s in range(1, 21)
    ]
    assert sum(reached) / 20 / float(exact.norm()) == pytest.approx(wanted, rel=0.35)


def test_expected_change_of_settled_and_of_unsettled_maps():
    maps = torch.tensor([[4.0, 3.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    assert expected_change(maps, torch.zeros(2, 4), top=0.5).tolist() == [0, 0]
    noise = numbers(2, 400).float()
    assert float(expected_change(noise, torch.full((2, 400), 10.0)).min()) > 0.4
    repeated = numbers(400, 40, seed=2).float()
    values = torch.linspace(0, 4, 40)
    one, other = values + 0.3 * repeated[:200], values + 0.3 * repeated[200:]
    kept = [
        len(set(a) & set(b)) / 10
        for a, b in zip(one.topk(10).indices.tolist(), other.topk(10).indices.tolist(), strict=True)
    ]
    expected = expected_change(values[None], torch.full((1, 40), 0.3), top=0.25)
    assert 1 - sum(kept) / 200 <= float(expected) + 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: relative_error(torch.ones(2, 3), torch.ones(2, 4)), "`standard_error`.*attributions' shape"),
        (lambda: relative_error(torch.ones(2, 3), -torch.ones(2, 3)), "`standard_error`.*negative"),
        (lambda: n_steps_for(0, torch.ones(1, 2), torch.ones(1, 2), 10), "`precision`.*positive"),
        (lambda: n_steps_for(0.1, torch.ones(1, 2), torch.ones(1, 2), 10, rate=7), "`rate`"),
        (lambda: expected_change(torch.ones(1, 2), torch.ones(1, 2), top=0), "`top`"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


@pytest.mark.parametrize("odd", [(torch.ones(1, 2), torch.ones(1, 2)), torch.ones(1, 2).to_sparse(), None])
def test_the_change_that_is_expected_is_of_one_dense_tensor(odd):
    with pytest.raises((ArgumentError, ArgumentTypeError), match="`attributions`"):
        expected_change(odd, torch.ones(1, 2))
    with pytest.raises((ArgumentError, ArgumentTypeError), match="`standard_error`"):
        expected_change(torch.ones(1, 2), odd)


def test_a_fraction_is_a_number():
    maps, errors = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.3, 0.4]])
    assert n_steps_for(Fraction(1, 20), maps, errors, 50).tolist() == [203]  # 50 * 0.1005^2 / 0.05^2 = 202.02
    assert n_steps_for(10**30, maps, errors, 50).tolist() == [2]


def test_a_map_that_is_noise_needs_a_million_gradients():
    assert n_steps_for(0.1, torch.ones(1, 2), 2 * torch.ones(1, 2), 10).tolist() == [1_000_000]
    assert n_steps_for(0.1, torch.ones(1, 2), torch.zeros(1, 2), 10).tolist() == [2]


def test_half_precision_keeps_errors_in_float32():
    method = ExpectedGradients(lambda x: x.square().sum(1) * x[:, 0], references=numbers(4, 3).half())
    maps, error = method.attribute(numbers(2, 3).half(), n_steps=16, return_standard_error=True)
    assert maps.dtype == error.dtype == torch.float32
    assert bool(error.isfinite().all())


def test_runs_over_data_sets_refuse_what_returns_more_than_maps(tmp_path):
    pytest.importorskip("pyarrow")
    method = ExpectedGradients(lambda x: x.pow(3), references=numbers(5, 3))
    with pytest.raises(ArgumentError, match="`attribute_kwargs`.*more than maps.*return_standard_error"):
        attribute_dataset(
            method,
            torch.utils.data.TensorDataset(numbers(4, 3, seed=1)),
            tmp_path,
            target=0,
            attribute_kwargs={"return_standard_error": True},
        )
