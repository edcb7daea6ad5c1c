"""Methods of other papers that the four are compared with, as far as they run on the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from captum_ext.attr import AGI, RISE, XRAI, BlurIG, ExcitationBackprop, GuidedIG
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations import grad_cam
from examples.benchmarks.engine.explanations import Asked, Explain, Explained, Methods, Setting
from examples.benchmarks.engine.networks import Network

MASKS = 1000  # of RISE, a forward each; the paper has 4,000
FEW_MASKS = 50  # at 0.4 of a gradient each they cost as much as 20 gradients
AGI_CLASSES, AGI_STEPS = 20, 20  # of the paper; each step takes two gradients
_PIXEL = 0.05  # AGI's step, in images from 0 to 1


def rival_methods(setting: Setting) -> Methods:
    """By name; with the budget where it is one of gradients."""
    model, budget = setting.network.model, setting.budget
    few_classes = 2
    methods = {
        "GuidedIG (zero)": _path(GuidedIG(model).attribute, budget),
        "BlurIG": _path(BlurIG(model).attribute, budget),
        "AGI": _agi(setting, few_classes, budget // (2 * few_classes)),
        "XRAI": _xrai(setting),
        f"RISE, {FEW_MASKS} masks": _rise(setting, FEW_MASKS),
        f"RISE, {MASKS} masks": _rise(setting, MASKS),
    }
    missing = why_no_rival(setting.network)
    return methods | {name: explain for name, explain in _of_layers(setting.network).items() if name not in missing}


def why_no_rival(network: Network) -> dict[str, str]:
    """Methods that cannot explain this network, with the reason."""
    if network.to_grid is not None:
        return dict.fromkeys(_of_layers(network), "it needs maps, not tokens")
    size = network.preparation.size
    black = network.black.expand(1, -1, size, size)
    reasons = {name: _refusal(explain, Asked(black, [0], [0])) for name, explain in _of_layers(network).items()}
    return {name: reason for name, reason in reasons.items() if reason}


def _refusal(explain: Explain, asked: Asked) -> str:
    """Why a method does not explain a network; nothing where it does."""
    try:
        explain(asked)
    except ArgumentError as error:
        return str(error)
    return ""


def _of_layers(network: Network) -> dict[str, Explain]:
    """Methods that know some kinds of networks only; they read the layer that GradCAM does, or the pixels."""
    pixels = ExcitationBackprop(network.model)
    return {
        "CAM": _cam(network),
        "MWP": _excitation(network, contrastive=False),
        "c-MWP": _excitation(network, contrastive=True),
        "MWP, pixels": lambda asked: Explained(pixels.attribute(asked.images, asked.target).detach()),
    }


def paper_agi(setting: Setting) -> Methods:
    """AGI with the paper's numbers of classes and steps, forty times the budget."""
    return {"AGI, paper": _agi(setting, *((3, 3) if setting.fast else (AGI_CLASSES, AGI_STEPS)))}


def _path(attribute: Callable[..., Any], n_steps: int) -> Explain:
    def explain(asked: Asked) -> Explained:
        return Explained(*attribute(asked.images, target=asked.target, n_steps=n_steps, return_convergence_delta=True))

    return explain


def _agi(setting: Setting, n_classes: int, n_steps: int) -> Explain:
    std = torch.tensor(setting.network.preparation.std, device=setting.network.device)[None, :, None, None]
    agi = AGI(setting.network.model, n_false_classes=n_classes, step_size=_PIXEL / std)

    def explain(asked: Asked) -> Explained:
        return Explained(
            agi.attribute(asked.images, target=asked.target, n_steps=n_steps, generator=asked.generators())
        )

    return explain


def _xrai(setting: Setting) -> Explain:
    """From black and white, which share the budget."""
    network, xrai = setting.network, XRAI(setting.network.model)
    white = network.black + 1 / torch.tensor(network.preparation.std, device=network.device)[None, :, None, None]

    def explain(asked: Asked) -> Explained:
        side = asked.images.shape[2:]
        baselines = [one.expand(1, -1, *side) for one in (network.black, white)]
        return Explained(
            xrai.attribute(asked.images, baselines, target=asked.target, n_steps=max(1, setting.budget // 2))
        )

    return explain


def _rise(setting: Setting, n_masks: int) -> Explain:
    """Of probabilities, as in the paper."""
    rise = RISE(lambda images: setting.network.model(images).softmax(1), seed=setting.seed)
    n_samples = min(n_masks, FEW_MASKS) if setting.fast else n_masks
    return lambda asked: Explained(rise.attribute(asked.images, target=asked.target, n_samples=n_samples))


def _cam(network: Network) -> Explain:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    options: dict[str, Any] = {"upsampler": "bilinear", "normalize": False, "as_tensor": True}

    def explain(asked: Asked) -> Explained:
        targets = [ClassifierOutputTarget(target) for target in asked.target]
        maps = grad_cam.CAM(network.model, [network.layer], **options)(asked.images, targets)
        return Explained(torch.as_tensor(maps)[:, None].detach())

    return explain


def _excitation(network: Network, contrastive: bool) -> Explain:
    backprop = ExcitationBackprop(network.model, network.layer, contrastive=contrastive, upsampler="bilinear")
    return lambda asked: Explained(backprop.attribute(asked.images, asked.target).detach())
