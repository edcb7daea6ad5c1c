"""Explanations by name: what they share, and the controls that stand beside every paper's method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LocalPathIntegration,
    WeightedIntegratedGradients,
)
from captum_ext.references import standard_baselines
from examples.benchmarks.engine.networks import Network


@dataclass(frozen=True)
class Setting:
    """What methods are built from.

    Attributes:
        network: to explain.
        pool: images (M, C, H, W) for references, none of which is explained.
        budget: gradients for each map.
        groups: of pixels in each of SAMP++'s directions. Its bound of a tenth of the way makes ten moves of each
            direction at least, so that few groups bring it near the budget, but never to it.
        neighborhoods: numbers of them beside one; the first is what the claims are about.
        seed: of fits.
        fast: few passes where a method has many, to see that everything works.
    """

    network: Network
    pool: Tensor
    budget: int = 20
    groups: int = 9
    neighborhoods: tuple[int, ...] = (9, 4, 7)
    seed: int = 0
    fast: bool = False

    def baselines(self, images: Tensor) -> Tensor:
        """The seven standard baselines (N, 7, C, H, W) of images."""
        preparation = self.network.preparation
        return standard_baselines(images, (0.0, 1.0), mean=preparation.mean, std=preparation.std)


@dataclass(frozen=True)
class Asked:
    """Images to explain.

    Attributes:
        images: (N, C, H, W).
        target: class of each.
        seeds: of each, from its index in the data set, so that a map does not depend on its batch.
    """

    images: Tensor
    target: list[int]
    seeds: Sequence[int]

    @property
    def classes(self) -> Tensor:
        """The targets (N, 1), beside the images."""
        return torch.tensor(self.target, device=self.images.device)[:, None]

    def generators(self) -> list[torch.Generator]:
        """Fresh generators, one for each image."""
        return [torch.Generator().manual_seed(seed) for seed in self.seeds]


@dataclass(frozen=True)
class Explained:
    """Maps (N, C, H, W) or (N, 1, H, W), and by how much each misses the score difference, where that is known."""

    maps: Tensor
    delta: Tensor | None = None


SAMP_GRADIENTS = 28  # at least what SAMP++ takes, whose bound makes moves of its own beside the budget
Explain = Callable[[Asked], Explained]
Methods = dict[str, Explain]


def from_baselines(
    explainer: IntegratedGradients | ImportantDirectionIG,
    baselines: Sequence[str],
    setting: Setting,
    n_steps: int | None = None,
    method: str | None = None,
) -> Explain:
    """A straight path from each of the named baselines, which share the budget; the mean of the maps."""
    n_steps = (setting.budget if n_steps is None else n_steps) // len(baselines)

    def explain(asked: Asked) -> Explained:
        pairs = [
            explainer.attribute(
                asked.images,
                named_baseline(name, asked.images, setting),
                asked.target,
                n_steps=n_steps,
                method=method,
                return_convergence_delta=True,
            )
            for name in baselines
        ]
        maps, deltas = zip(*pairs, strict=True)
        return Explained(torch.stack(maps).mean(0), torch.stack(deltas).mean(0))

    return explain


def from_references(
    method: ExpectedGradients | LocalPathIntegration | WeightedIntegratedGradients,
    n_steps: int,
    with_delta: bool = True,
) -> Explain:
    """Straight paths from the references that a method holds, `n_steps` gradients in total.

    The delta takes a forward of every reference, which a method that draws few of many does not need otherwise.
    """

    def explain(asked: Asked) -> Explained:
        shared: dict[str, Any] = {"target": asked.target, "n_steps": n_steps, "generator": asked.generators()}
        if not with_delta:
            return Explained(method.attribute(asked.images, **shared))
        return Explained(*method.attribute(asked.images, return_convergence_delta=True, **shared))

    return explain


def named_baseline(name: str, images: Tensor, setting: Setting) -> Tensor:
    """Baselines of the images' shape: zero, black, white, mean (each image's colour), blur, uniform (noise)."""
    if name == "zero":
        return torch.zeros_like(images)
    if name == "blur":
        return setting.network.blurred(images)
    place = {"black": 0, "white": 1, "grey": 2, "mean": 3, "uniform": 5}[name]
    return setting.baselines(images)[:, place]


def controls(setting: Setting) -> Methods:
    """Random maps, gradients, and Integrated Gradients from every baseline that a paper's method has."""
    model = setting.network.model
    ig, idgi = IntegratedGradients(model), ImportantDirectionIG(model)

    def random(asked: Asked) -> Explained:
        return Explained(
            torch.stack([torch.rand(asked.images.shape[2:], generator=one)[None] for one in asked.generators()]).to(
                asked.images
            )
        )

    def gradient(asked: Asked) -> Explained:
        images = asked.images.clone().requires_grad_()
        scores = model(images).gather(1, asked.classes)
        return Explained(torch.autograd.grad(scores.sum(), images)[0])

    return {
        "random": random,
        "gradient": gradient,
        "gradient x input": lambda asked: Explained(gradient(asked).maps * asked.images),
        **{f"IG ({name})": from_baselines(ig, [name], setting) for name in ("zero", "black", "mean", "blur")},
        "IG (zero, adaptive)": from_baselines(ig, ["zero"], setting, method="adaptive"),
        "IG (blur + zero)": from_baselines(ig, ["blur", "zero"], setting),
        **{
            f"IG ({' + '.join(names)}), {SAMP_GRADIENTS} gradients": from_baselines(
                ig, names, setting, n_steps=SAMP_GRADIENTS
            )
            for names in (("zero",), ("blur", "zero"), ("white", "zero"), ("uniform", "zero"))
        },
        "IDGI (zero)": from_baselines(idgi, ["zero"], setting),
    }
