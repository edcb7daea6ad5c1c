"""Expected Gradients and LPI: neighbourhoods, densities, and the number of gradients (Figure 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from captum_ext import ExpectedGradients, LocalPathIntegration, ReferenceDistribution
from captum_ext.attr import IntegratedGradients
from examples.benchmarks.engine.explanations import Methods, Setting, from_baselines, from_references

REFERENCES = 20
BATCH = 16
GRADIENTS = (5, 10, 50)  # beside the budget, as in Figure 6


def lpi_methods(setting: Setting) -> Methods:
    """By name; "1 n." is one neighbourhood."""
    main, model = setting.neighborhoods[0], setting.network.model
    fitted = _fitted(setting, (1, *setting.neighborhoods))
    equal = {n: LocalPathIntegration(model, references=equal_densities(fitted[n])) for n in (1, main)}
    return {
        "EG": from_references(ExpectedGradients(model, references=setting.pool), setting.budget),
        **{
            f"LPI, {n} n.": from_references(LocalPathIntegration(model, references=one), setting.budget)
            for n, one in fitted.items()
        },
        **{f"LPI, {n} n., equal densities": from_references(lpi, setting.budget) for n, lpi in equal.items()},
    }


def lpi_budgets(setting: Setting) -> Methods:
    """Other numbers of gradients, as in Figure 6 (left)."""
    main, model = setting.neighborhoods[0], setting.network.model
    eg, ig = ExpectedGradients(model, references=setting.pool), IntegratedGradients(model)
    fitted = _fitted(setting, (1, main))
    chosen: Methods = {}
    for count in GRADIENTS:  # EG's delta would take a forward of the whole pool: it stands in the table of the budget
        chosen[f"IG (zero), {count} gradients"] = from_baselines(ig, ["zero"], setting, n_steps=count)
        chosen[f"EG, {count} gradients"] = from_references(eg, count, with_delta=False)
        for n, one in fitted.items():
            lpi = LocalPathIntegration(model, references=one)
            chosen[f"LPI, {n} n., {count} gradients"] = from_references(lpi, count)
    return chosen


def _fitted(setting: Setting, numbers: Iterable[int]) -> dict[int, ReferenceDistribution]:
    """References by number of neighbourhoods; the pool goes through the network once."""
    with torch.no_grad():
        outputs = torch.cat([setting.network.model(images) for images in setting.pool.split(BATCH)])
    return {
        n: ReferenceDistribution.fit_outputs(
            outputs, lambda places: setting.pool[places], n, REFERENCES, seed=setting.seed
        )
        for n in numbers
    }


def equal_densities(fitted: ReferenceDistribution) -> ReferenceDistribution:
    """The same references with equal weights inside each neighbourhood."""
    return replace(fitted, density=[torch.full_like(density, 1 / len(density)) for density in fitted.density])
