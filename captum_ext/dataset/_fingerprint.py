"""What a run was made with, as JSON: small values as they are, tensors and weights by a digest of their content."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_NOT_SETTINGS = {"_fitted", "_warned", "forward_func", "gradient_func"}  # what methods remember, and the model
_DEEPEST = 6


def fingerprint(value: Any, depth: int = 0) -> Any:
    """A description that is equal for equal values and, up to functions of one name, differs for others.

    Models count by class and state dict, functions by name, objects by their class and attributes.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} {value.dtype} {digest(value)}"
    if isinstance(value, nn.Module):
        return f"{_name(type(value))} {digest(*value.state_dict().items())}"
    if isinstance(value, Mapping):
        return {str(key): fingerprint(entry, depth + 1) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [fingerprint(entry, depth + 1) for entry in value]
    if isinstance(value, functools.partial):
        return [fingerprint(value.func, depth + 1), fingerprint(value.args), fingerprint(value.keywords)]
    if callable(value) and hasattr(value, "__qualname__"):
        owner = getattr(value, "__self__", None)
        return (
            _name(value) if owner is None or isinstance(owner, type) else [_name(value), fingerprint(owner, depth + 1)]
        )
    return _of_object(value, depth)


def digest(*parts: Any) -> str:
    """The first 16 hexadecimal digits of a SHA-256 of tensors, or of pairs of a name and a tensor."""
    found = hashlib.sha256()
    for part in parts:
        name, tensor = part if isinstance(part, tuple) else ("", part)
        found.update(name.encode())
        if isinstance(tensor, Tensor):
            content = tensor.detach().cpu().contiguous()
            found.update(f"{tuple(content.shape)} {content.dtype}".encode())
            found.update(content.reshape(-1).view(torch.uint8).numpy().tobytes())  # also of bfloat16
        else:
            found.update(repr(tensor).encode())
    return found.hexdigest()[:16]


def digest_of_names(names: list[str]) -> str:
    """The same of a list of texts."""
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]


def _of_object(value: Any, depth: int) -> Any:
    if isinstance(value, np.generic | torch.dtype | torch.device):
        return str(value)
    if depth >= _DEEPEST:
        return _name(type(value))
    if is_dataclass(value):
        content = {field.name: getattr(value, field.name) for field in fields(value)}
    else:
        content = {key: entry for key, entry in getattr(value, "__dict__", {}).items() if key not in _NOT_SETTINGS}
    if not content:
        return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    return {"class": _name(type(value)), **{key: fingerprint(entry, depth + 1) for key, entry in content.items()}}


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"
