"""What a run was made with, as JSON: small values as they are, tensors, weights and code by a digest of their content.

Equal settings have equal descriptions, in another process too. Different ones have different descriptions, but for what
cannot be seen from the object: global variables that a function reads, and files.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import re
import types
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Subset, TensorDataset
from torch.utils.hooks import RemovableHandle

from captum_ext.core.model_search import is_filled

# What Captum's methods remember between calls or while one lasts; this package's say their settings themselves.
_NOT_SETTINGS = {"gradient_func", "interpretable_model", "verbose", "layers"}
_NOT_SETTINGS |= {"backward_handles", "backward_hooks", "forward_handles", "removable_handles"}
_NOT_SETTINGS |= {"_original_state_dict", "_is_output_shape_valid"}
_NOT_SETTINGS |= {"relevance_input", "relevance_output", "_has_single_input"}
_NOT_SETTINGS |= {"_handle_input_hooks", "_handle_output_hook"}
_PLAIN = (type(None), bool, int, float, str, Tensor, np.ndarray, np.generic)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial)
_DEEPEST = 6
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class Fingerprints:
    """Descriptions of values; a model that is described elsewhere, and its layers, count by name."""

    def __init__(self, model: Any = None, known: Mapping[int, str] | None = None) -> None:
        self._known = dict(known or {})
        if model is not None:
            self._known[id(model)] = "the model"
        if isinstance(model, nn.Module):
            self._known.update({id(module): f"layer {name}" for name, module in model.named_modules() if name})

    def of(self, value: Any, depth: int = 0) -> Any:
        """A description of a value."""
        if id(value) in self._known:
            return self._known[id(value)]
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # NaN differs from itself
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Tensor | np.ndarray):
            return f"{type(value).__name__} {tuple(value.shape)} {value.dtype} {digest(value)}"
        if isinstance(value, nn.Module):
            return of_module(value, self._known)
        if isinstance(value, torch.device):
            return value.type  # whichever of several it is
        if isinstance(value, np.generic | torch.dtype):
            return str(value)
        if isinstance(value, os.PathLike):
            return os.fsdecode(value)
        if depth >= _DEEPEST or isinstance(value, RemovableHandle | weakref.ref | type | types.ModuleType):
            return _name(value if isinstance(value, type) else type(value))
        return self._of_structure(value, depth + 1)

    def _of_structure(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return {str(key): self.of(entry, depth) for key, entry in value.items()}
        if isinstance(value, set | frozenset):
            return sorted(repr(self.of(entry, depth)) for entry in value)
        if isinstance(value, list | tuple):
            return [self.of(entry, depth) for entry in value]
        if isinstance(value, functools.partial):
            return [self.of(value.func, depth), self.of(value.args, depth), self.of(value.keywords, depth)]
        if isinstance(value, types.MethodType):
            return [self._of_function(value.__func__, depth), self.of(value.__self__, depth)]
        if isinstance(value, types.FunctionType):
            return self._of_function(value, depth)
        if isinstance(value, types.BuiltinFunctionType):
            return str(value.__qualname__)
        return self._of_object(value, depth)

    def _of_function(self, function: Any, depth: int) -> Any:
        if not isinstance(function, types.FunctionType):
            return _name(function)
        bound = [cell.cell_contents for cell in function.__closure__ or () if is_filled(cell)]
        values = [function.__defaults__, function.__kwdefaults__, bound]
        described = [self.of(entry, depth) for entry in values if entry]
        about = f"{_name(function)} {hashlib.sha256(_code(function.__code__).encode()).hexdigest()[:16]}"
        return [about, *described] if described else about

    def _of_object(self, value: Any, depth: int) -> Any:
        if callable(getattr(value, "settings", None)):
            settings = {"forward_func": getattr(value, "forward_func", None), **value.settings()}
            return {"class": _name(type(value)), **{name: self.of(entry, depth) for name, entry in settings.items()}}
        content = dict(getattr(value, "__dict__", {}))
        slots = [name for base in type(value).__mro__ for name in _slots(base)]
        content.update({name: getattr(value, name) for name in slots if hasattr(value, name)})
        content = {name: entry for name, entry in content.items() if name not in _NOT_SETTINGS}
        if not content:
            return _ADDRESS.sub("", repr(value))
        return {"class": _name(type(value)), **{name: self.of(entry, depth) for name, entry in content.items()}}


def of_module(module: nn.Module, known: Mapping[int, str] | None = None) -> str:
    """A network by its layers, their settings, modes and plain public attributes, and its weights and buffers."""
    modes = "".join("t" if one.training else "e" for one in module.modules())
    prints = Fingerprints(module, known)
    attributes = json.dumps([_attributes(one, prints) for one in module.modules()], sort_keys=True)
    described = f"{_ADDRESS.sub('', repr(module))} {modes} {attributes}"
    structure = hashlib.sha256(described.encode()).hexdigest()[:8]
    buffers = {name: value for name, value in module.named_buffers() if not name.rpartition(".")[2].startswith("_")}
    return f"{_name(type(module))} {structure} {digest(*{**buffers, **module.state_dict()}.items())}"


def _attributes(module: nn.Module, prints: Fingerprints) -> list[Any]:
    """What `forward` may read beside weights; private names are what a model remembers while it runs."""
    if type(module).__module__.startswith(
        "torch._dynamo"
    ):  # the wrapper of a compiled model, which is described itself
        return []
    return [
        (name, prints.of(value))
        for name, value in sorted(vars(module).items())
        if not name.startswith("_") and name != "training"
        if name == "rule" or _is_plain(value)  # `rule` is where Captum's LRP looks
    ]


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(entry) for entry in value)
    return isinstance(value, _PLAIN + _FUNCTIONS)


def of_dataset(dataset: Any) -> dict[str, Any]:
    """A data set by its class, length, files and transformations, and what it is made of where that can be seen."""
    prints = Fingerprints()
    description: dict[str, Any] = {"class": type(dataset).__qualname__, "n_samples": len(dataset)}
    if isinstance(dataset, Subset):
        description |= {"indices": prints.of(np.asarray(dataset.indices)), "of": of_dataset(dataset.dataset)}
    elif isinstance(dataset, ConcatDataset):
        description["of"] = [of_dataset(one) for one in dataset.datasets]
    elif isinstance(dataset, TensorDataset):
        description["tensors"] = prints.of(dataset.tensors)
    for name in ("transform", "target_transform", "class_to_idx"):
        value = getattr(dataset, name, None)
        if value is not None:
            description[name] = prints.of(value)
    if isinstance(getattr(dataset, "_fingerprint", None), str):  # of Hugging Face's, which digest their content
        description["fingerprint"] = dataset._fingerprint
    if callable(getattr(dataset, "settings", None)):
        description["settings"] = prints.of(dataset.settings())
    return description


def digest(*parts: Any) -> str:
    """The first 16 hexadecimal digits of a SHA-256 of tensors and arrays, or of pairs of a name and one of them."""
    sha = hashlib.sha256()
    for part in parts:
        name, value = part if isinstance(part, tuple) else ("", part)
        sha.update(name.encode())
        if isinstance(value, Tensor):
            content = value.detach().cpu().contiguous()
            sha.update(f"{tuple(content.shape)} {content.dtype}".encode())
            sha.update(content.reshape(-1).view(torch.uint8).numpy().data)  # also of bfloat16, and without a copy
        elif isinstance(value, np.ndarray) and value.dtype != object:
            sha.update(f"{value.shape} {value.dtype}".encode())
            sha.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        else:
            sha.update(_ADDRESS.sub("", repr(value)).encode())
    return sha.hexdigest()[:16]


def digest_of_names(names: list[str]) -> str:
    """The same of a list of texts."""
    return hashlib.sha256("\0".join(names).encode(errors="surrogateescape")).hexdigest()[:16]


def _code(code: types.CodeType) -> str:
    """What a function does, without where it stands."""
    return repr((code.co_code, code.co_names, [_constant(one) for one in code.co_consts]))


def _constant(value: Any) -> str:
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, frozenset):  # its own order is that of this process's hashes
        return repr(sorted(_constant(entry) for entry in value))
    return repr([_constant(entry) for entry in value]) if isinstance(value, tuple) else repr(value)


def _slots(base: type) -> list[str]:
    slots = base.__dict__.get("__slots__", ())
    return [slots] if isinstance(slots, str) else [name for name in slots if not name.startswith("__")]


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
