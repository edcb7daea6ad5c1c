"""Layers inside of a model: seeing the tensors that pass them, and putting others in their place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from captum_ext.core.checks import FLOATS, describe
from captum_ext.core.compiled import NOT_COMPILED, compiled_parts
from captum_ext.core.fast_path import every_module_runs
from captum_ext.core.model_search import find_module, modules_behind
from captum_ext.core.types import ForwardFunc, Tensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

#: One layer, or several that do not depend on each other.
Layers: TypeAlias = nn.Module | list[nn.Module]
#: Called with a layer's place in the list and what passes it; returns what takes its place, or None.
PassThrough: TypeAlias = Callable[[int, Any], Any]


@dataclass(frozen=True)
class Site:
    """The outputs, or the inputs, of one or several layers of a model.

    Of an output, all floating tensors count, also in tuples, lists and dictionaries inside of each other; of an input
    those among the positional arguments, or where there are none, among the keyword arguments.

    Attributes:
        layers: the modules.
        at_input: whether what goes into them is meant.
    """

    layers: tuple[nn.Module, ...]
    at_input: bool = False

    def run(self, forward_func: ForwardFunc, given: tuple[Any, ...], pass_through: PassThrough) -> Any:
        """What a function returns for the arguments `given`, with hooks on the layers while it runs.

        Raises:
            ArgumentError: a layer is not run, or more than once.
        """
        seen: set[int] = set()

        def once(place: int, passing: Any) -> Any:
            if place in seen:
                label = self.label(forward_func, place)
                raise ArgumentError("layer", "one that the model runs once in a pass", f"{label}, which it runs again")
            seen.add(place)
            return pass_through(place, passing)

        handles: list[torch.utils.hooks.RemovableHandle] = []
        try:
            for place, layer in enumerate(self.layers):
                handles.append(_hooked(layer, place, once, self.at_input))
            with every_module_runs():
                outputs = forward_func(*given)
        finally:
            for handle in handles:
                handle.remove()
        for place in range(len(self.layers)):
            if place not in seen:
                self._refuse_unreached(forward_func, place)
        return outputs

    def label(self, forward_func: ForwardFunc, place: int) -> str:
        """A layer by its class and its name in the model."""
        layer = self.layers[place]
        named = [pair for module in modules_behind(forward_func) for pair in module.named_modules()]
        names = [name for name, part in named if part is layer and name]
        return f"{type(layer).__name__} {names[0]!r}" if names else type(layer).__name__

    def _refuse_unreached(self, forward_func: ForwardFunc, place: int) -> None:
        models = modules_behind(forward_func)
        label = self.label(forward_func, place)
        if models and not any(part is self.layers[place] for module in models for part in module.modules()):
            raise ArgumentError("layer", "a module of the model", f"{label}, which is none of its modules")
        for compiled, _ in (one for module in models for one in compiled_parts(module)):
            raise ArgumentError("forward_func", NOT_COMPILED, f"{compiled}, which does not run the hook on {label}")
        raise ArgumentError("layer", "one that forward_func runs", f"{label}, which it does not reach")


def check_layers(layer: Any) -> tuple[nn.Module, ...]:
    """The layers as a tuple.

    Raises:
        ArgumentTypeError: not a module or a list of modules.
        ArgumentError: an empty list, or the same module twice.
    """
    layers = tuple(layer) if isinstance(layer, list | tuple) else (layer,)
    if not all(isinstance(one, nn.Module) for one in layers):
        raise ArgumentTypeError("layer", "a module of the model or a list of modules", describe(layer))
    if len({id(one) for one in layers}) != len(layers) or not layers:
        raise ArgumentError("layer", "a non-empty list of different modules", describe(layer))
    return layers


def check_one_device(forward_func: ForwardFunc, device_ids: Any) -> None:
    """Refuse models whose batches are split among several devices.

    Raises:
        ArgumentError: names DataParallel.
    """
    expected = "a model on one device (of nn.DataParallel the `module` inside of it)"
    module = find_module(forward_func)
    if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
        raise ArgumentError("forward_func", expected, f"DataParallel on devices {list(module.device_ids)}")
    if device_ids is not None and len(device_ids) > 1:
        raise ArgumentError("device_ids", f"None or one device: layers need {expected}", describe(device_ids))


def _hooked(layer: nn.Module, place: int, pass_through: PassThrough, at_input: bool) -> Any:
    if not at_input:
        return layer.register_forward_hook(lambda _module, _given, output: pass_through(place, output))

    def before(_module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        by_position = bool(floating(given)) or not floating(named)
        changed = pass_through(place, given if by_position else named)
        if changed is None:
            return None
        return (changed, named) if by_position else (given, changed)

    return layer.register_forward_pre_hook(before, with_kwargs=True)


def floating(passing: Any) -> list[Tensor]:
    """The floating tensors in a structure of tuples, lists and dictionaries, in order."""
    if isinstance(passing, Tensor):
        return [passing] if passing.dtype in FLOATS else []
    if isinstance(passing, Mapping):
        passing = list(passing.values())
    if isinstance(passing, list | tuple):
        return [tensor for entry in passing for tensor in floating(entry)]
    return []


def with_tensors(passing: Any, tensors: Iterator[Tensor]) -> Any:
    """The same structure with other tensors in the place of its floating ones."""
    if isinstance(passing, Tensor):
        return next(tensors) if passing.dtype in FLOATS else passing
    if isinstance(passing, Mapping):
        changed: Any = copy.copy(passing)
        for key, entry in passing.items():
            changed[key] = with_tensors(entry, tensors)
        return changed
    if isinstance(passing, list | tuple):
        entries = [with_tensors(entry, tensors) for entry in passing]
        if hasattr(passing, "_fields"):  # a named tuple
            return type(passing)(*entries)
        return entries if isinstance(passing, list) else tuple(entries)
    return passing


def copies(passing: Any) -> Tensors:
    """What a layer's floating tensors are now, whatever the model does to them later.

    Raises:
        ArgumentError: there are none.
    """
    tensors = floating(passing)
    if not tensors:
        raise ArgumentError("layer", "one that gives (or takes) floating tensors", describe(passing))
    return tuple(tensor.clone() for tensor in tensors)
