"""The modules behind a forward function: itself, or what a Python function, an object or a partial runs."""

from __future__ import annotations

import dis
import functools
import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from captum_ext.core.types import ForwardFunc

# A list or mapping of more entries is data, and not looked through for models.
_MOST_MODELS = 64
_NEVER = (str, bytes, int, float, complex, Tensor, np.ndarray, types.ModuleType, types.CodeType)


def find_module(forward_func: ForwardFunc) -> nn.Module | None:
    """The module that a forward function is: itself, the owner of a bound method, or inside a partial."""
    while isinstance(forward_func, functools.partial):
        forward_func = forward_func.func
    owner = getattr(forward_func, "__self__", forward_func)
    return owner if isinstance(owner, nn.Module) else None


def modules_behind(forward_func: ForwardFunc) -> list[nn.Module]:
    """Every module that a forward function is, holds or, being a Python function, names; not those inside of them.

    Functions and methods that it names are looked through, too, and of an object no more than the attributes that they
    name: what else it holds may never run.
    """
    modules: dict[int, nn.Module] = {}
    seen: set[tuple[int, int]] = set()
    waiting: list[Any] = [forward_func]
    while waiting:
        value = waiting.pop()
        owner = value.__self__ if inspect.ismethod(value) else None
        key = id(value.__func__ if inspect.ismethod(value) else value), id(owner)
        if key in seen:
            continue
        seen.add(key)
        if isinstance(value, nn.Module):
            modules[id(value)] = value
        elif isinstance(owner, nn.Module):
            waiting.append(owner)
        elif isinstance(value, functools.partial):
            given = [*value.args, *value.keywords.values()]
            waiting += [value.func, *(one for one in given if callable(one))]
            for one in given:
                waiting += _attributes(one, _names_in(value.func))
        elif inspect.ismethod(value):
            waiting += [value.__func__, *_attributes(owner, _names_in(value))]
        elif inspect.isfunction(value):
            waiting += _reached(value)
        elif inspect.ismethod(getattr(value, "__call__", None)):  # noqa: B004 (the method itself is looked through)
            waiting.append(value.__call__)
        elif value is forward_func and hasattr(value, "__dict__"):
            waiting += [one for one in vars(value).values() if isinstance(one, nn.Module)]
    return list(modules.values())


def _reached(function: types.FunctionType) -> Iterator[Any]:
    """What a function closes over, has as defaults, or reads from its globals, as far as it can be a model."""
    loaded, attributes = _names(function.__code__)
    cells = [cell.cell_contents for cell in function.__closure__ or () if is_filled(cell)]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for value in (*cells, *defaults):
        if _may_run(value):
            yield value
        yield from _attributes(value, attributes)
    for value in (function.__globals__.get(name) for name in loaded):
        if _may_run(value) and (not inspect.isfunction(value) or value.__globals__ is function.__globals__):
            yield value
        yield from _attributes(value, attributes)


def _may_run(value: Any) -> bool:
    return isinstance(value, nn.Module | functools.partial) or inspect.isfunction(value) or inspect.ismethod(value)


def _attributes(value: Any, names: frozenset[str]) -> Iterator[Any]:
    """The entries of a container, and the attributes of another object under these names, that can be models."""
    if value is None or isinstance(value, (*_NEVER, nn.Module, functools.partial)) or inspect.isroutine(value):
        return
    if isinstance(value, list | tuple | set | frozenset | Mapping):
        entries = value.values() if isinstance(value, Mapping) else value
        yield from (one for one in entries if len(value) <= _MOST_MODELS and _may_run(one))
        return
    if not isinstance(value, type) and callable(value) and inspect.ismethod(value.__call__):
        yield value.__call__
    for name in names:
        attribute = inspect.getattr_static(value, name, None)
        if inspect.isfunction(attribute) or isinstance(attribute, staticmethod | classmethod):
            attribute = getattr(value, name)
        if _may_run(attribute):
            yield attribute
        elif isinstance(attribute, list | tuple | Mapping):
            yield from _attributes(attribute, names)


def _names_in(function: Any) -> frozenset[str]:
    code = getattr(function, "__code__", None)
    return frozenset() if code is None else _names(code)[1]


@functools.lru_cache(maxsize=512)
def _names(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The globals and the attributes that a function's code names, that of functions inside of it included."""
    loaded, attributes = set(), set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            loaded.add(instruction.argval)
        elif instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            attributes.add(instruction.argval)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more = _names(inner)
            loaded |= more[0]
            attributes |= more[1]
    return frozenset(loaded), frozenset(attributes)


def is_filled(cell: Any) -> bool:
    """Whether a variable that a function closes over has a value yet."""
    try:
        cell.cell_contents  # noqa: B018 (raises where a variable has no value yet)
    except ValueError:
        return False
    return True
