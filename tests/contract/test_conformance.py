"""Every path method passes every conformance check: one registration line for each."""

import warnings
from collections.abc import Callable

import pytest

from captum_ext.attr import ExpectedGradients, IntegratedGradients, LocalPathIntegration
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


CASES = [
    MethodCase("IG", integrated_gradients),
    MethodCase("IG-adaptive", integrated_gradients, {"method": "adaptive"}),
    MethodCase("IG-stratified", integrated_gradients, {"method": "stratified"}, random=True),
    MethodCase("EG", expected_gradients, random=True, completeness=0.02),
    MethodCase("EG-gausslegendre", expected_gradients, {"method": "gausslegendre"}),
    MethodCase("EG-adaptive", expected_gradients, {"method": "adaptive"}),
    MethodCase("LPI", local_path_integration, random=True, completeness=0.02),
    MethodCase("LPI-gausslegendre", local_path_integration, {"method": "gausslegendre"}),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_method_conforms(case: MethodCase, check: Callable[[MethodCase], None]) -> None:
    check(case)
