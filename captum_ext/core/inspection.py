"""What can be seen of the model behind a forward function, and what would make its numbers wrong without a word."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.types import ForwardFunc
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError

_DYNAMIC_QUANTIZATION = ("torch.ao.nn.quantized.dynamic", "torch.nn.quantized.dynamic")


def find_module(forward_func: ForwardFunc) -> nn.Module | None:
    """The module that a forward function is: itself, the owner of a bound method, or inside a partial."""
    while isinstance(forward_func, functools.partial):
        forward_func = forward_func.func
    owner = getattr(forward_func, "__self__", forward_func)
    return owner if isinstance(owner, nn.Module) else None


def modules_behind(forward_func: ForwardFunc) -> list[nn.Module]:
    """Every module that a forward function is, holds or, being a Python function, names; not those inside of them."""
    modules: dict[int, nn.Module] = {}
    seen: set[int] = set()
    waiting: list[Any] = [forward_func]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            modules[id(value)] = value
        elif isinstance(value, functools.partial):
            waiting += [value.func, *value.args, *value.keywords.values()]
        elif inspect.ismethod(value):
            waiting += [value.__self__, value.__func__]
        elif inspect.isfunction(value):
            waiting += _named_values(value)
        elif value is forward_func and hasattr(value, "__dict__"):  # an object with __call__
            waiting += vars(value).values()
    return list(modules.values())


def _named_values(function: Any) -> Iterator[Any]:
    """Modules and functions that a function closes over, has as defaults, or reads from its globals."""
    cells = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for value in (*cells, *defaults):
        if isinstance(value, nn.Module | functools.partial) or inspect.isroutine(value):
            yield value
    for value in (function.__globals__.get(name) for name in function.__code__.co_names):
        is_neighbour = inspect.isfunction(value) and value.__globals__ is function.__globals__
        if isinstance(value, nn.Module) or is_neighbour:
            yield value


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (raises where a variable has no value yet)
    except ValueError:
        return False
    return True


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


def training_buffers(forward_func: ForwardFunc) -> list[Tensor]:
    """Buffers of modules in training mode, which a forward pass may change."""
    return [
        buffer
        for module in modules_behind(forward_func)
        for part in module.modules()
        if part.training
        for buffer in part.buffers(recurse=False)
    ]


@contextmanager
def kept(buffers: list[Tensor]) -> Iterator[None]:
    """Put the buffers back as they were, after errors too."""
    before = [buffer.detach().clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


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
