"""Every path method passes every conformance check: one registration line for each."""

import warnings
from collections.abc import Callable

import pytest
from torch import nn

from captum_ext.attr import (
    ExpectedGradients,
    GuidedIG,
    ImportantDirectionIG,
    IntegratedGradients,
    LayerExpectedGradients,
    LayerImportantDirectionIG,
    LayerIntegratedGradients,
    LayerLocalPathIntegration,
    LayerWeightedIntegratedGradients,
    LocalPathIntegration,
    SalientManipulationPath,
    WeightedIntegratedGradients,
)
from captum_ext.references import ReferenceDistribution
from captum_ext.testing import CHECKS, MethodCase


def integrated_gradients(forward_func, references):
    """Integrated Gradients has no references: it is checked with its default baseline, zero."""
    return IntegratedGradients(forward_func)


def expected_gradients(forward_func, references):
    return ExpectedGradients(forward_func, references=references)


def local_path_integration(forward_func, references):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer members than asked for: neighbourhoods of different sizes are meant
        fitted = ReferenceDistribution.fit(forward_func, references, n_neighborhoods=2, n_references=3)
    return LocalPathIntegration(forward_func, references=fitted)


def weighted(**settings):
    """By logit: some checks change the shape of the outputs, and with it what softmax would be."""
    return lambda forward_func, references: WeightedIntegratedGradients(
        forward_func, references=references, score="logit", **settings
    )


def manipulated(**settings):
    return lambda forward_func, references: Plain(forward_func, **settings)


class Plain(SalientManipulationPath):
    """SAMP with the baselines that the checks know, the references' neighbourhood aside: zero for both directions."""

    def __init__(self, forward_func, **settings):
        super().__init__(forward_func, insertion_baselines=0, **settings)


class Passing(nn.Module):
    """Lets its inputs pass."""

    def forward(self, *inputs):
        return inputs if len(inputs) > 1 else inputs[0]


class Behind(nn.Module):
    """A forward function behind a layer that lets its inputs pass: a method there is one at the inputs."""

    def __init__(self, forward_func, n_inputs):
        super().__init__()
        self.forward_func, self.n_inputs, self.layer = forward_func, n_inputs, Passing()

    def forward(self, *given):
        passed = self.layer(*given[: self.n_inputs])
        return self.forward_func(*(passed if isinstance(passed, tuple) else (passed,)), *given[self.n_inputs :])


def at_layer(kind, **settings):
    def make(forward_func, references):
        model = Behind(forward_func, len(references) if isinstance(references, tuple) else 1)
        if kind not in (LayerIntegratedGradients, LayerImportantDirectionIG):
            settings["references"] = references
        if kind is LayerLocalPathIntegration:
            settings["references"] = local_path_integration(forward_func, references).references
        return kind(model, model.layer, **settings)

    return make


CASES = [
    MethodCase("IG", integrated_gradients),
    MethodCase("GuidedIG", lambda forward_func, references: GuidedIG(forward_func), completeness=0.05),
    MethodCase("IG-adaptive", integrated_gradients, {"method": "adaptive"}),
    MethodCase("IG-stratified", integrated_gradients, {"method": "stratified"}, random=True),
    MethodCase("EG", expected_gradients, random=True, completeness=0.02),
    MethodCase("EG-gausslegendre", expected_gradients, {"method": "gausslegendre"}),
    MethodCase("EG-adaptive", expected_gradients, {"method": "adaptive"}),
    MethodCase("LPI", local_path_integration, random=True, completeness=0.02),
    MethodCase("LPI-gausslegendre", local_path_integration, {"method": "gausslegendre"}),
    MethodCase("WG", weighted(), random=True, completeness=0.02),
    MethodCase("WG-filtered", weighted(keep=0.8, search="grid"), {"method": "riemann_middle"}),
    MethodCase("WG-adaptive", weighted(rtol=0), {"method": "adaptive"}),
    MethodCase("IDGI", lambda forward_func, references: ImportantDirectionIG(forward_func), linear=False),
    MethodCase("LayerIG", at_layer(LayerIntegratedGradients)),
    MethodCase("LayerEG", at_layer(LayerExpectedGradients), random=True, completeness=0.02),
    MethodCase("LayerEG-adaptive", at_layer(LayerExpectedGradients), {"method": "adaptive"}),
    MethodCase("LayerLPI", at_layer(LayerLocalPathIntegration), random=True, completeness=0.02),
    MethodCase("LayerWG", at_layer(LayerWeightedIntegratedGradients, score="logit"), random=True, completeness=0.02),
    MethodCase("LayerIDGI", at_layer(LayerImportantDirectionIG), linear=False),
    MethodCase("SAMP", manipulated(momentum=0, step_bound=None), completeness=None),
    MethodCase("SAMP-deletion", manipulated(direction="deletion", momentum=0.9), completeness=None),
    MethodCase("SAMP++", manipulated(), completeness=None),
    MethodCase("SAMP++-trapezoid", manipulated(), {"method": "riemann_trapezoid"}, completeness=None),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_method_conforms(case: MethodCase, check: Callable[[MethodCase], None]) -> None:
    check(case)
