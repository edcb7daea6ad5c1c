"""What the hosts' own test suites do with their methods, done with these."""

import copy
import warnings

import captum.attr
import pytest
import torch
from captum._utils.gradient import construct_neuron_grad_fn
from captum.metrics import sensitivity_max

from captum_ext import SAMP, ExpectedGradients, LocalPathIntegration, WeightedIG
from captum_ext.attr import IntegratedGradients
from captum_ext.exceptions import ArgumentError, ModelOutputError
from captum_ext.testing import SmoothModel

X = torch.tensor([[1.0, 2.0, 3.0, 0.5], [0.2, -1.0, 2.0, 1.0]])
REFERENCES = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, -1.0, 0.0], [0.3, 0.2, 0.1, -2.0]])


def model():
    return SmoothModel(4, torch.float32)


def seeded(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_one_generator_for_each_of_the_callers_rows_serves_a_noise_tunnel():
    eg = ExpectedGradients(model(), references=REFERENCES)
    tunnel = captum.attr.NoiseTunnel(eg)

    def explain(rows, generators):
        return tunnel.attribute(X[rows], nt_samples=3, stdevs=0.0, target=1, n_steps=5, generator=generators)

    together = explain([0, 1], seeded(5, 6))
    torch.testing.assert_close(together[:1], explain([0], seeded(5)))
    torch.testing.assert_close(together[1:], explain([1], seeded(6)))


def can_be_copied(generator):
    try:
        copy.deepcopy(generator)
    except TypeError:
        return False
    return True


@pytest.mark.skipif(
    not can_be_copied(torch.Generator()), reason="sensitivity_max copies its arguments, this torch none"
)
def test_one_generator_for_each_row_serves_sensitivity_max():
    eg = ExpectedGradients(model(), references=REFERENCES)

    def sensitivity(rows, generators):
        return sensitivity_max(
            eg.attribute, X[rows], lambda x: x, n_perturb_samples=4, target=1, n_steps=50, generator=generators
        )

    together = sensitivity([0, 1], seeded(5, 6))
    assert together.shape == (2,)
    torch.testing.assert_close(together[:1], sensitivity([0], seeded(5)))


@pytest.mark.parametrize("target", [None, 7, -9])
def test_samp_refuses_a_wrong_or_missing_target_where_nothing_moves(target):
    samp = SAMP(model(), insertion_baselines=0)
    with pytest.raises((ArgumentError, ModelOutputError), match="target|several"):
        samp.attribute(torch.zeros(1, 4), target=target)
    assert torch.equal(samp.attribute(torch.zeros(1, 4), target=1), torch.zeros(1, 4))


def test_weighted_ig_without_references_acts_as_ig_from_zero_in_a_neuron_variant():
    network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
    theirs = captum.attr.NeuronIntegratedGradients(network, network[1]).attribute(X, 1)
    wg = WeightedIG(network)
    wg.gradient_func = construct_neuron_grad_fn(network[1], 1)  # what Captum's neuron variants put in place
    with pytest.warns(UserWarning, match="WeightedIntegratedGradients has no references and acts as IntegratedGrad"):
        ours = wg.attribute.__wrapped__(wg, X)
    torch.testing.assert_close(ours, theirs.float(), rtol=1e-5, atol=1e-6)  # captum 0.7 returns float64


def test_the_adaptive_rule_says_how_many_gradients_each_row_took_and_stops_early():
    ig = IntegratedGradients(lambda x: (3 * x).sin().sum(1))
    x = torch.tensor([[0.01], [2.0]], dtype=torch.float64)
    maps, delta, counts = ig.attribute(
        x, method="adaptive", n_steps=200, tol=0.01, return_convergence_delta=True, return_n_gradients=True
    )
    assert counts.tolist()[0] == 6 < counts.tolist()[1] < 60
    assert bool((delta.abs() <= 0.01 * (3 * x).sin().sum(1).abs()).all())
    assert maps.shape == x.shape


def test_the_adaptive_rule_warns_where_all_its_gradients_were_not_enough():
    ig = IntegratedGradients(lambda x: (40 * x).sin().sum(1))
    with pytest.warns(UserWarning, match=r"1 of 1 paths took all 8 gradients of `n_steps`"):
        _, counts = ig.attribute(torch.ones(1, 1), method="adaptive", n_steps=8, tol=0.001, return_n_gradients=True)
    assert counts.tolist() == [8]


@pytest.mark.parametrize("method", ["gausslegendre", "stratified", None])
def test_rules_without_a_tolerance_count_what_they_were_given(method):
    eg = ExpectedGradients(model(), references=REFERENCES)
    _, counts = eg.attribute(X, target=0, method=method, n_steps=7, return_n_gradients=True)
    assert counts.tolist() == [21, 21] if method == "gausslegendre" else [7, 7]


def test_own_fits_follow_the_models_weights_and_given_ones_are_known_again():
    network = torch.nn.Linear(4, 3)
    lpi = LocalPathIntegration(network, references=REFERENCES)
    options = {"target": 1, "method": "gausslegendre", "n_steps": 4}
    lpi.attribute(X, **options)
    with torch.no_grad():
        network.weight.copy_(torch.arange(12.0).reshape(3, 4).cos())
    fresh = LocalPathIntegration(network, references=REFERENCES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(lpi.attribute(X, **options), fresh.attribute(X, **options))
