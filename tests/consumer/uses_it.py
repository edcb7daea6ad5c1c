"""A project that uses the installed package: what its type checker sees. `make package` runs mypy and pyright on it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import assert_type

from captum_ext import ReferenceDistribution
from captum_ext.attr import IntegratedGradients, LocalPathIntegration
from captum_ext.metrics import PerturbationCurve, deletion
from captum_ext.models import AdaptedModel, adapt
from captum_ext.upsampling import USUUpsampler, redistribute


def uses() -> None:
    """Checked, not called."""
    network: nn.Module = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    images = torch.rand(2, 3, 2, 2)

    assert_type(IntegratedGradients(network).attribute(images, target=0), Tensor)
    maps, delta = IntegratedGradients(network).attribute(images, target=0, return_convergence_delta=True)
    assert_type(maps, Tensor)
    assert_type(delta, Tensor)

    fitted = ReferenceDistribution.fit(network, images)
    assert_type(fitted, ReferenceDistribution)
    assert_type(LocalPathIntegration(network, references=fitted).attribute((images,), target=0), tuple[Tensor, ...])
    assert_type(deletion(network, images, maps, 0), PerturbationCurve)
    assert_type(adapt(network, size=2, mean=0.5, std=0.5), AdaptedModel)
    assert_type(USUUpsampler().temperature, float)
    assert_type(redistribute(torch.ones(1, 1, 1), torch.rand(1, 2, 2), temperature=0.3), Tensor)
