"""Captum's own methods where they run: LRP, DeepLift, DeepSHAP, GradientShap, SmoothGrad, GradCAM, LIME, Shapley."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from captum.attr import (
    LRP,
    DeepLift,
    DeepLiftShap,
    GradientShap,
    LayerGradCam,
    Lime,
    NoiseTunnel,
    Saliency,
    ShapleyValueSampling,
)
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, nn
from torch.nn import functional

from captum_ext.segmentation import Segmenter
from examples.benchmarks.engine.explanations import Asked, Explain, Explained, Methods, Setting

_AT_ONCE = 5  # samples of GradientShap, which runs all that it is asked for at once
_LIME_PASSES = 50  # forwards; at 0.4 of a gradient each they cost as much as 20 gradients
_PERMUTATIONS = 10  # of Shapley values; each takes a forward for every block of pixels
_NOISE = 0.15  # of SmoothGrad, of the range of each image
_SMALL = 64  # a side below which superpixels make no sense, and Shapley values of blocks can be paid
# Layers with rules of their own in both DeepLift and LRP, beside linear ones.
_SUPPORTED = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_NEUTRAL = (nn.Flatten, nn.Dropout, nn.Identity)
_WITH_RULES = ("LRP", "DeepLift (zero)", "DeepSHAP")


def why_not(model: nn.Module) -> dict[str, str]:
    """Methods that cannot explain this model, with the reason."""
    hidden = sorted(set(_own_forwards(model)))
    if hidden:  # what happens between their modules, such as additions, has no rule; modules may be used twice
        reason = f"Captum's rules need a sequence of modules, not {', '.join(hidden)}"
        return dict.fromkeys(_WITH_RULES, reason)
    modules = [module for module in model.modules() if not list(module.children())]
    unknown = sorted({type(module).__name__ for module in modules if type(module) not in (*_SUPPORTED, *_NEUTRAL)})
    if not unknown:
        return {}
    reason = f"Captum has no rule for {', '.join(unknown)}"
    return dict.fromkeys(_WITH_RULES, reason)


def _own_forwards(module: nn.Module) -> Iterator[str]:
    """Classes below a module that combine modules in another way than one after the other."""
    for one in module.children():
        if isinstance(one, nn.Sequential):
            yield from _own_forwards(one)
        elif list(one.children()):
            yield type(one).__name__


def _copied(model: nn.Module) -> nn.Module:
    """A copy to hang rules and hooks on, which do not go together with modules that work in place."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return copied


def captum_methods(setting: Setting) -> Methods:
    """Those that run on the network."""
    methods = {
        "LRP": _lrp(setting),
        "DeepLift (zero)": _deep_lift(setting),
        "DeepSHAP": _deep_shap(setting),
        "GradientShap": _gradient_shap(setting),
        "SmoothGrad": _smooth_grad(setting),
        "GradCAM (bilinear)": _grad_cam(setting),
        "LIME": _lime(setting),
    }
    if setting.network.preparation.size < _SMALL:
        methods["ApproShapley"] = _shapley(setting)
    missing = why_not(setting.network.model)
    return {name: explain for name, explain in methods.items() if name not in missing}


@contextmanager
def _global_randomness(seed: int) -> Iterator[None]:
    """Seed the global random states, from which Captum draws, and put them back."""
    state = np.random.get_state()  # noqa: NPY002
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


def _lrp(setting: Setting) -> Explain:
    def explain(asked: Asked) -> Explained:
        copied = _copied(setting.network.model)
        for module in copied.modules():
            if isinstance(module, nn.Flatten):
                module.rule = EpsilonRule()  # reshapes relevance; Captum has no rule for it
        return Explained(LRP(copied).attribute(asked.images.clone().requires_grad_(), target=asked.target).detach())

    return explain


def _deep_lift(setting: Setting) -> Explain:
    def explain(asked: Asked) -> Explained:
        images = asked.images.clone().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that it hangs hooks on the modules
            maps, delta = DeepLift(_copied(setting.network.model)).attribute(
                images, torch.zeros_like(images), asked.target, return_convergence_delta=True
            )
        return Explained(maps.detach(), delta.detach())

    return explain


def _deep_shap(setting: Setting) -> Explain:
    """DeepLift against as many images of the pool as there are gradients in the budget."""
    every = max(1, len(setting.pool) // setting.budget)
    references = setting.pool[::every][: setting.budget]

    def one(image: Tensor, target: int) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it says that it hangs hooks on the modules
            explainer = DeepLiftShap(_copied(setting.network.model))
            return explainer.attribute(image[None].clone().requires_grad_(), references, target).detach()

    return lambda asked: Explained(torch.cat([one(*each) for each in zip(asked.images, asked.target, strict=True)]))


def _smooth_grad(setting: Setting) -> Explain:
    """Mean |gradient| at noisy copies, as many as the budget, a few at a time."""
    explainer = NoiseTunnel(Saliency(setting.network.model))

    def one(image: Tensor, target: int, seed: int) -> Tensor:
        with _global_randomness(seed):
            return explainer.attribute(
                image[None].clone().requires_grad_(),
                nt_type="smoothgrad",
                nt_samples=setting.budget,
                nt_samples_batch_size=_AT_ONCE,
                stdevs=_NOISE * float(image.max() - image.min()),
                target=target,
            ).detach()

    return _one_by_one(one)


def _shapley(setting: Setting) -> Explain:
    """Shapley values of blocks of 4 x 4 pixels that become zero, from random permutations."""
    explainer = ShapleyValueSampling(setting.network.model)

    def one(image: Tensor, target: int, seed: int) -> Tensor:
        with _global_randomness(seed):
            return explainer.attribute(
                image[None],
                target=target,
                feature_mask=_blocks(image),
                n_samples=_PERMUTATIONS,
                perturbations_per_eval=10,
            ).detach()

    return _one_by_one(one)


def _one_by_one(one: Callable[[Tensor, int, int], Tensor]) -> Explain:
    """An explanation of each image by itself, with its own seed."""
    return lambda asked: Explained(
        torch.cat([one(*each) for each in zip(asked.images, asked.target, asked.seeds, strict=True)])
    )


def _blocks(image: Tensor) -> Tensor:
    """Blocks of 4 x 4 pixels (1, 1, H, W) of an image with equal sides."""
    block = torch.arange(image.shape[-1], device=image.device) // 4
    return (block[:, None] * (int(block.max()) + 1) + block)[None, None]


def _gradient_shap(setting: Setting) -> Explain:
    """References from the pool, as many as the budget, a few at a time."""
    explainer = GradientShap(setting.network.model)

    def one(image: Tensor, target: int, seed: int) -> Tensor:
        total = torch.zeros_like(image[None])
        with _global_randomness(seed):
            for start in range(0, setting.budget, _AT_ONCE):
                count = min(_AT_ONCE, setting.budget - start)
                maps = explainer.attribute(image[None], setting.pool, n_samples=count, target=target)
                total += count / setting.budget * maps.detach()
        return total

    return _one_by_one(one)


def _grad_cam(setting: Setting) -> Explain:
    network = setting.network

    def explain(asked: Asked) -> Explained:
        if network.to_grid is None:
            coarse = LayerGradCam(network.model, network.layer).attribute(asked.images, asked.target)
        else:
            coarse = _token_grad_cam(setting, asked)
        fine = functional.interpolate(
            coarse.detach().relu(), size=asked.images.shape[2:], mode="bilinear", align_corners=False
        )
        return Explained(fine)

    return explain


def _token_grad_cam(setting: Setting, asked: Asked) -> Tensor:
    """GradCAM over a transformer's tokens, which Captum's class takes for a map of one dimension."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, arguments: object, output: Tensor) -> Tensor:  # noqa: ARG001
        kept.append(output if output.requires_grad else output.requires_grad_())
        return kept[-1]

    handle = setting.network.layer.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            scores = setting.network.model(asked.images).gather(1, asked.classes)
            gradients = torch.autograd.grad(scores.sum(), kept[0])[0]
    finally:
        handle.remove()
    to_grid = setting.network.to_grid
    if to_grid is None:
        raise TypeError("_token_grad_cam needs a network with tokens")
    weights = to_grid(gradients).mean((2, 3), keepdim=True)
    return (weights * to_grid(kept[0])).sum(1, keepdim=True)


def _lime(setting: Setting) -> Explain:
    preparation = setting.network.preparation

    def one(image: Tensor, target: int, seed: int) -> Tensor:
        labels = _segments(image)
        with _global_randomness(seed):
            maps = Lime(setting.network.model).attribute(
                image[None], target=target, feature_mask=labels, n_samples=_LIME_PASSES, perturbations_per_eval=5
            )
        return maps.detach()

    def _segments(image: Tensor) -> Tensor:
        if image.shape[-1] < _SMALL:
            return _blocks(image)
        return Segmenter()(preparation.displayable(image[None]).permute(0, 3, 1, 2))[:, None].to(image.device)

    return _one_by_one(one)
