"""Maps that say nothing of the model's reasons: what a method has to beat."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_ext.attr import IntegratedGradients
from captum_ext.core.model_search import find_module
from captum_ext.core.random import fresh_generator
from captum_ext.core.request import Request
from captum_ext.core.target_functions import is_function
from captum_ext.exceptions import ArgumentError
from captum_ext.selection.candidates import Candidate
from captum_ext.selection.setting import Setting

_DRAWS = 20  # of weights, until scores depend on the image
_ENOUGH = 0.9  # of the images: a control without a score on more than a tenth is left out
_ROUNDING = 1e-5
_SOBEL = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))


class RandomMaps:
    """A random number for each pixel."""

    def settings(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def attribute(
        self,
        inputs: Tensor,
        target: Any = None,  # noqa: ARG002
        *,
        generator: Sequence[torch.Generator] | None = None,
    ) -> Tensor:
        """Maps (N, 1, H, W)."""
        drawn = generator or [fresh_generator() for _ in inputs]
        return torch.stack([torch.rand(1, *inputs.shape[2:], generator=one) for one in drawn]).to(inputs)


class Edges:
    """How strong the edges of the image are: Sobel's filters, summed over channels. The model is not asked."""

    def settings(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def attribute(self, inputs: Tensor, target: Any = None) -> Tensor:  # noqa: ARG002
        """Maps (N, 1, H, W)."""
        filters = torch.tensor(_SOBEL, dtype=inputs.dtype, device=inputs.device)
        both = torch.stack([filters, filters.T])[:, None]
        channels = inputs.flatten(0, 1)[:, None]
        slopes = functional.conv2d(functional.pad(channels, (1, 1, 1, 1), mode="replicate"), both)
        strength = slopes.square().sum(1).sqrt()
        return strength.reshape(len(inputs), -1, *inputs.shape[2:]).sum(1, keepdim=True)


class OtherImage:
    """Integrated Gradients of another image for this image's class: of one of the same class where there is one."""

    def __init__(self, setting: Setting) -> None:
        self.forward_func = setting.forward_func
        self.others, self.targets = setting.others, list(setting.their_targets)

    def settings(self) -> dict[str, Any]:
        """Which images there are."""
        return {"others": self.others}

    def attribute(self, inputs: Tensor, target: Any = None, *, n_steps: int) -> Tensor:
        """Maps of the images' shape."""
        chosen = torch.stack([self._other(*row) for row in zip(inputs, _classes(target, len(inputs)), strict=True)])
        return IntegratedGradients(self.forward_func).attribute(chosen, target=target, n_steps=n_steps)

    def _other(self, image: Tensor, wanted: Any) -> Tensor:
        different = [number for number, one in enumerate(self.others) if not torch.equal(one.to(image), image)]
        if not different:
            raise ArgumentError("dataset", "with images that differ, for the control other-image", "copies of one")
        same = [number for number in different if self.targets[number] == wanted]
        return self.others[(same or different)[0]].to(image)


def _classes(target: Any, n_rows: int) -> list[Any]:
    """The class of each row; None where there are none."""
    if target is None or is_function(target):
        return [None] * n_rows
    classes = torch.as_tensor(target).reshape(-1).tolist()
    return classes if len(classes) == n_rows else classes * n_rows


def random_network(setting: Setting) -> Any:
    """Integrated Gradients of a copy of the model whose weights are in random order, each layer's among themselves.

    Small networks of ReLUs often come out dead: the same scores whatever the image. Another order is drawn then.
    """
    module = find_module(setting.forward_func)
    if module is None:
        raise ArgumentError("model", "a module, for the control random-network", type(setting.forward_func).__name__)
    for shift in range(_DRAWS):
        drawn = randomised(module, (setting.seed + shift) % 2**63)
        if _is_alive(drawn, setting.others):
            return IntegratedGradients(drawn)
    expected = f"one whose scores depend on the image with its weights in one of {_DRAWS} random orders"
    raise ArgumentError("model", f"{expected}, for the control random-network", "the same scores whatever the image")


def _is_alive(module: nn.Module, images: Tensor) -> bool:
    """Whether the scores of nearly all images are others than those of zeros, which Integrated Gradients adds up to."""
    both = [Request(module, one, None, channels_last=False).outputs for one in (images, torch.zeros_like(images[:1]))]
    scores, zero = (one.detach().double().reshape(len(one), -1) for one in both)
    changed = ((scores - zero).abs() > _ROUNDING * scores.abs()).any(1)
    return bool(changed.double().mean() >= _ENOUGH)


def randomised(module: nn.Module, seed: int, names: Sequence[str] | None = None) -> nn.Module:
    """A copy of a model whose parameters are in random order, each among its own numbers; None: all of them."""
    copied = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in copied.named_parameters():
            order = torch.randperm(parameter.numel(), generator=generator)  # drawn also of what stays
            if names is None or name in names:
                flat = parameter.detach().reshape(-1).clone()
                parameter.copy_(flat[order.to(flat.device)].reshape(parameter.shape))
    return copied


def _steps(budget: int) -> dict[str, Any]:
    return {"n_steps": budget}


#: The default controls.
CONTROLS: Mapping[str, Candidate] = MappingProxyType(
    {
        "random": Candidate(lambda _: RandomMaps(), lambda _: {}, line="random maps"),
        "edges": Candidate(lambda _: Edges(), lambda _: {}, line="edges of the image"),
        "random-network": Candidate(random_network, _steps, line="IG of a network with weights in random order"),
        "other-image": Candidate(OtherImage, _steps, line="IG of another image, of the class where there is one"),
    }
)
