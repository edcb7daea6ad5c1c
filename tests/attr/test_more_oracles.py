"""Weighted IG, SAMP and IDGI against slow versions written from the papers, on random networks."""

import itertools
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from captum_ext.attr import ImportantDirectionIG, SalientManipulationPath, WeightedIntegratedGradients
from captum_ext.metrics import attribution_variance
from tests import oracles
from tests.attr.test_against_oracles import random_model, random_rows

seeds = st.integers(0, 10_000)


@given(
    seed=seeds,
    n_features=st.integers(1, 9),
    n_steps=st.integers(1, 9),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    bound=st.sampled_from([None, 0.5, 3, 10]),
    trapezoid=st.booleans(),
    velocity=st.booleans(),
    size=st.one_of(st.none(), st.integers(1, 10)),
    limit=st.integers(1, 7),
)
def test_samp_equals_the_oracle_in_both_directions_and_keeps_the_bound_on_gradients(
    seed, n_features, n_steps, momentum, bound, trapezoid, velocity, size, limit
):
    model, x, baseline = random_model(seed, n_features), *random_rows(seed + 1, 4, n_features).split(3)
    seen = []

    def counted(points):
        if torch.is_grad_enabled():
            seen.append(len(points))
        return model(points)

    samp = SalientManipulationPath(
        counted,
        insertion_baselines=baseline,
        deletion_baselines=0,
        momentum=momentum,
        step_bound=bound,
        credit="velocity" if velocity else "gradient",
    )
    rule = "riemann_trapezoid" if trapezoid else None
    actual = samp.attribute(x, target=1, n_steps=n_steps, method=rule, internal_batch_size=limit, pixels_in_step=size)
    n_gradients = 0
    for row in range(3):
        ends = {"insertion": baseline[0], "deletion": torch.zeros_like(x[0])}
        found = [
            oracles.saliency_path(
                lambda p: model(p)[:, 1],
                x[row],
                end,
                direction,
                n_steps,
                momentum,
                bound,
                trapezoid,
                velocity_counts=velocity,
                size=size,
            )
            for direction, end in ends.items()
        ]
        torch.testing.assert_close(actual[row], (found[0][0] + found[1][0]) / 2, rtol=1e-9, atol=1e-9)
        in_step = size or oracles.group_size(n_features, n_steps)
        for _, count in found:
            assert count <= math.ceil(n_features / in_step) + math.floor(bound or 0) + trapezoid
            n_gradients += count
    assert sum(seen) == n_gradients
    assert max(seen) <= limit


@given(seed=seeds, n_steps=st.integers(1, 8), as_mask=st.booleans(), multiply=st.booleans())
def test_samp_moves_all_channels_of_a_location_or_all_elements_of_a_feature(seed, n_steps, as_mask, multiply):
    flat = random_model(seed, 12)
    model = lambda images: flat(images.flatten(1))  # noqa: E731
    x, baseline = (rows.reshape(-1, 2, 2, 3) for rows in random_rows(seed + 1, 2, 12).split(1))
    mask = torch.tensor([[3, 3, 7], [7, 1, 1]]).expand(1, 2, 2, 3) if as_mask else None
    groups = {label: [] for label in ([1, 3, 7] if as_mask else range(6))}
    for i in range(12):
        groups[int(mask.flatten()[i]) if as_mask else i % 6].append(i)
    samp = SalientManipulationPath(model, multiply, direction="insertion", feature_mask=mask, momentum=0.3)
    actual = samp.attribute(x, baseline, target=0, n_steps=n_steps)
    expected, _ = oracles.saliency_path(
        lambda p: model(p)[:, 0], x[0], baseline[0], "insertion", n_steps, 0.3, 10, pixels=list(groups.values())
    )
    factor = 1 if multiply else (x - baseline)[0]
    torch.testing.assert_close(actual[0] * factor, expected, rtol=1e-9, atol=1e-9)


@given(seed=seeds, n_features=st.integers(1, 6), n_steps=st.integers(1, 20), limit=st.integers(1, 30))
def test_idgi_equals_the_oracle_and_sums_to_the_difference_of_scores(seed, n_features, n_steps, limit):
    model, x, baseline = random_model(seed, n_features), random_rows(seed + 1, 3, n_features), 0.3
    actual, delta = ImportantDirectionIG(model).attribute(
        x, baseline, target=2, n_steps=n_steps, internal_batch_size=limit, return_convergence_delta=True
    )
    for row in range(3):
        start = torch.full_like(x[row], baseline)
        expected = oracles.important_directions(lambda p: model(p)[:, 2], x[row], start, n_steps)
        torch.testing.assert_close(actual[row], expected, rtol=1e-9, atol=1e-9)
        if bool(expected.any()):
            assert abs(float(delta[row])) <= 1e-9 * max(1.0, float(actual[row].abs().sum()))


def probability(model, target):
    return lambda rows: model(rows).float().softmax(1)[:, target]


@pytest.mark.filterwarnings("ignore:The target's probability is below")
@given(
    seed=seeds,
    n_references=st.integers(2, 5),
    rtol=st.sampled_from([0.0, 0.02, 0.4]),
    keep=st.sampled_from([None, 0.25, 0.9]),
    alpha=st.sampled_from([0.3, 0.5, 0.8]),
    by_logit=st.booleans(),
    ranking=st.sampled_from(["signed", "absolute"]),
    limit=st.integers(1, 40),
)
def test_weighted_ig_equals_the_oracle(seed, n_references, rtol, keep, alpha, by_logit, ranking, limit):
    model, x, references = random_model(seed, 7), random_rows(seed + 1, 2, 7), random_rows(seed + 2, n_references, 7)
    maps = [oracles.integrated_gradients(lambda p: model(p)[:, 1], row, one, 5) for row in x for one in references]
    assume(all(len(one.unique()) == len(one.abs().unique()) == one.numel() for one in maps))  # ties are drawn
    wg = WeightedIntegratedGradients(
        model,
        references=references,
        alpha=alpha,
        keep=keep,
        rtol=rtol,
        score="logit" if by_logit else None,
        ranking=ranking,
    )
    found = wg.evaluate_baselines(x, target=1, n_steps=5, method="gausslegendre", internal_batch_size=limit)
    for row in range(2):
        improbable = not by_logit and float(probability(model, 1)(x[row : row + 1])) < 1e-3
        relative = by_logit or improbable
        score = (lambda rows: model(rows)[:, 1]) if relative else probability(model, 1)
        expected, weights, removed = oracles.fitness_weighted_gradients(
            lambda p: model(p)[:, 1],
            score,
            x[row],
            references,
            references.mean(0),
            keep=keep,
            absolute=ranking == "absolute",
            alpha=alpha,
            rtol=rtol,
            relative_to_fill=relative,
        )
        assert found.n_removed[row].tolist() == removed
        torch.testing.assert_close(found.weights[row].tolist(), weights)
        assert int(found.n_dropped[row]) == sum(w == 0 for w in weights)
        assert bool(found.informative[row]) == any(count < 7 for count in removed)
        torch.testing.assert_close(found.attributions[row], expected, rtol=1e-9, atol=1e-9)


@given(seed=seeds, rtol=st.sampled_from([0.02, 0.1, 0.3]))
def test_a_coarse_search_among_many_features_is_that_of_the_oracle(seed, rtol):
    x, references = random_rows(seed, 1, 200).abs(), random_rows(seed + 1, 2, 200)
    model = lambda rows: rows.sum(1) + rows[:, ::7].square().sum(1)  # noqa: E731
    wg = WeightedIntegratedGradients(model, references=references, rtol=rtol, fill=0)
    found = wg.evaluate_baselines(x, n_steps=5, method="gausslegendre")
    _, weights, removed = oracles.fitness_weighted_gradients(
        model, model, x[0], references, torch.zeros(200).double(), alpha=0.5, rtol=rtol, relative_to_fill=True
    )
    assert found.n_removed[0].tolist() == removed
    torch.testing.assert_close(found.weights[0].tolist(), weights)


@given(seed=seeds, limit=st.integers(1, 50))
def test_the_grid_finds_the_exact_crossing_of_a_falling_curve_in_fewer_calls(seed, limit):
    x = random_rows(seed, 2, 40).abs() + 0.1
    model = lambda rows: rows.sum(1)  # noqa: E731
    references = torch.stack([torch.zeros(40), -random_rows(seed + 1, 1, 40)[0].abs()]).double()
    results = []
    for search in ("bisection", "grid"):
        wg = WeightedIntegratedGradients(model, references=references, fill=0, search=search, rtol=0)
        results.append(wg.evaluate_baselines(x, method="riemann_left", n_steps=1, internal_batch_size=limit))
    assert torch.equal(results[0].n_removed, results[1].n_removed)
    for row in range(2):
        for k, reference in enumerate(references):
            leading = x[row][(x[row] - reference).argsort(descending=True)].cumsum(0)
            first = int((leading >= x[row].sum() / 2).nonzero()[0]) + 1
            assert int(results[0].n_removed[row, k]) == first


def variances_of_all_orders(function, end):
    """Var(A) of equation 5 for every order of moving one feature after another from zero, by gradients."""
    variances = {}
    for order in itertools.permutations(range(len(end))):
        point, credited = torch.zeros_like(end), []
        for feature in order:
            credited.append(float(oracles.gradient(function, point)[feature] * end[feature]))
            point[feature] = end[feature]
        mean = sum(credited) / len(credited)
        variances[order] = sum((one - mean) ** 2 for one in credited) / len(credited)
    return variances


@pytest.mark.parametrize("seed", range(3))
def test_samp_walks_one_of_the_720_manipulation_paths_and_its_variance_is_among_theirs(seed):
    model, end = random_model(seed, 6), random_rows(seed + 1, 1, 6)
    samp = SalientManipulationPath(model, direction="insertion", momentum=0, step_bound=None)
    variance = float(attribution_variance(samp.attribute(end, 0, target=1, pixels_in_step=1)))
    every = variances_of_all_orders(lambda p: model(p)[:, 1], end[0])
    assert len(every) == 720
    assert variance <= max(every.values()) * (1 + 1e-9)
    assert min(abs(variance - one) for one in every.values()) < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_samp_comes_within_a_percent_of_the_best_path_of_a_saturating_function(seed):
    weights, end = random_rows(seed, 1, 6).abs(), random_rows(seed + 1, 1, 6).abs()
    model = lambda v: (v * weights).sum(1).tanh()  # noqa: E731
    samp = SalientManipulationPath(model, direction="insertion", momentum=0, step_bound=None)
    variance = float(attribution_variance(samp.attribute(end, 0, pixels_in_step=1)))
    assert variance > 0.99 * max(variances_of_all_orders(model, end[0]).values())
