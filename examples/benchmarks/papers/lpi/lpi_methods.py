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
    model, coarse, fine = setting.network.model, *setting.fine
    fitted = _fitted(setting, (1, coarse, fine))
    eg = ExpectedGradients(model, references=setting.pool)
    ig = IntegratedGradients(model)

    def lpi(n: int, weighted: bool = True) -> LocalPathIntegration:
        return LocalPathIntegration(model, references=fitted[n] if weighted else equal_densities(fitted[n]))

    chosen: Methods = {
        "EG": from_references(eg, setting.budget),
        **{f"LPI, {n} n.": from_references(lpi(n), setting.budget) for n in fitted},
        "LPI, 1 n., equal densities": from_references(lpi(1, weighted=False), setting.budget),
        f"LPI, {coarse} n., equal densities": from_references(lpi(coarse, weighted=False), setting.budget),
    }
    for count in GRADIENTS:  # EG's delta would take a forward of the whole pool: it stands in the table of the budget
        chosen[f"IG (zero), {count} gradients"] = from_baselines(ig, ["zero"], setting, n_steps=count)
        chosen[f"EG, {count} gradients"] = from_references(eg, count, with_delta=False)
        chosen[f"LPI, 1 n., {count} gradients"] = from_references(lpi(1), count)
        chosen[f"LPI, {coarse} n., {count} gradients"] = from_references(lpi(coarse), count)
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
