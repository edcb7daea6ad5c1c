"""What can be seen of the model behind a forward function, and what would make its numbers wrong without a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeAlias, TypeVar

import torch
from torch import nn

from captum_ext.core.model_search import find_module, modules_behind
from captum_ext.core.types import ForwardFunc
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: A buffer by its module and its name there.
Buffer: TypeAlias = tuple[nn.Module, str]

_DYNAMIC_QUANTIZATION = ("torch.ao.nn.quantized.dynamic", "torch.nn.quantized.dynamic")


def device_of(forward_func: ForwardFunc) -> torch.device | None:
    """Where the model's parameters are, if that can be seen: samples are moved there."""
    module = find_module(forward_func)
    parameter = None if module is None else next(module.parameters(), None)
    return None if parameter is None else parameter.device


@contextmanager
def frozen_parameters(forward_func: ForwardFunc) -> Iterator[None]:
    """Switch off gradients of the model's parameters inside the block: autograd then keeps fewer activations.

    Only flags that this block switched off are switched on again, so that nested or concurrent blocks agree. Another
    thread that trains the same module at the same time would miss gradients while the block lasts.
    """
    parameters = [
        parameter
        for module in modules_behind(forward_func)
        for parameter in module.parameters()
        if parameter.requires_grad and parameter.is_leaf
    ]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def check_rows_independent(forward_func: ForwardFunc, allow_batch_statistics: bool = False) -> None:
    """Refuse batch norm that uses the statistics of its batch, and warn of active dropout.

    With batch statistics a row's score depends on the rows beside it, and in training mode every pass changes the
    model's running statistics.

    Raises:
        ArgumentError: names the module; `allow_batch_statistics` allows it.
    """
    active = [part for module in modules_behind(forward_func) for part in module.named_modules()]
    for name, part in active:
        if not allow_batch_statistics and _uses_batch_statistics(part):
            why = "is in training mode" if part.training else "has no running statistics"
            raise ArgumentError(
                "forward_func",
                "a model in eval mode (model.eval()), whose rows do not depend on each other; "
                "allow_batch_statistics=True allows it where there is such an argument",
                f"batch norm that mixes the rows of a batch: {_label(name, part)} {why}",
            )
    for name, part in active:
        if part.training and _drops(part):
            warn_caller(
                f"Dropout is active in {_label(name, part)}: scores are random, and so is what is computed from "
                "them. Call model.eval() first."
            )
            return


def observing(hook: Callable[_P, _R]) -> Callable[_P, _R]:
    """Mark a hook that leaves a pass's outputs as they are: `hooks_of` does not count it."""
    hook.only_observes = True  # type: ignore[attr-defined]
    return hook


def hooks_of(module: nn.Module) -> list[Any]:
    """The hooks of a module, not of those inside of it, that may change what it returns."""
    hooks = [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]
    return [hook for hook in hooks if not getattr(hook, "only_observes", False)]


def check_gradients_right(forward_func: ForwardFunc) -> None:
    """Refuse dynamically quantised layers, whose gradients torch computes wrongly.

    Raises:
        ArgumentError: names the layer.
    """
    for module in modules_behind(forward_func):
        for name, part in module.named_modules():
            if type(part).__module__.startswith(_DYNAMIC_QUANTIZATION):
                raise ArgumentError(
                    "forward_func",
                    "a model without dynamic quantisation, since torch takes no (or wrong) gradients through it: "
                    "explain the model as it was before",
                    _label(name, part),
                )


def training_buffers(forward_func: ForwardFunc) -> list[Buffer]:
    """Buffers of modules in training mode, which a forward pass may change."""
    return [
        (part, name)
        for module in modules_behind(forward_func)
        for part in module.modules()
        if part.training
        for name, _ in part.named_buffers(recurse=False)
    ]


@contextmanager
def kept(buffers: list[Buffer]) -> Iterator[None]:
    """Put the buffers back as they were, after errors too: what is in them, and the tensors themselves."""
    before = [(part, name, part.get_buffer(name)) for part, name in buffers]
    values = [buffer.detach().clone() for _, _, buffer in before]
    try:
        yield
    finally:
        with torch.no_grad():
            for (part, name, buffer), value in zip(before, values, strict=True):
                if not torch.equal(buffer, value):
                    buffer.copy_(value)
                if getattr(part, name, None) is not buffer:  # the module assigned another
                    setattr(part, name, buffer)


def _uses_batch_statistics(part: nn.Module) -> bool:
    if not isinstance(part, nn.modules.batchnorm._BatchNorm):
        return False
    return bool(part.training or part.running_mean is None)


def _drops(part: nn.Module) -> bool:
    """Whether a module in training mode draws random numbers: dropout under its usual names."""
    if isinstance(part, nn.modules.dropout._DropoutNd):
        return bool(part.p > 0)
    if isinstance(part, nn.RNNBase):
        return bool(part.dropout > 0 and part.num_layers > 1)
    if isinstance(part, nn.MultiheadAttention):
        return bool(part.dropout > 0)
    is_stochastic_depth = type(part).__name__ in ("DropPath", "StochasticDepth", "DropBlock2d")
    rates = [getattr(part, name, 0.0) for name in ("drop_prob", "p")]
    return is_stochastic_depth and any(isinstance(rate, float) and rate > 0 for rate in rates)


def _label(name: str, part: nn.Module) -> str:
    return f"{type(part).__name__} {name!r}" if name else type(part).__name__
