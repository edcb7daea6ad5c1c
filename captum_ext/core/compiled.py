"""Models that torch.compile or TorchScript made, whose layers cannot be seen by hooks once they are compiled.

What torch.compile makes of a model keeps the hooks that were there when it was first called, and never sees those that
come later: they are not run, without a word. A scripted or traced model runs none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

#: What to pass instead, for messages.
NOT_COMPILED = (
    "a model that is not compiled, since hooks on layers are not run where a graph was compiled without them: of "
    "torch.compile(model) its `_orig_mod`, of model.compile() `copy.copy(model)`, both with the same weights"
)

_SCRIPTED = (torch.jit.ScriptModule, torch.jit.ScriptFunction)


def is_scripted(part: Any) -> bool:
    """Whether torch.jit made a module or function."""
    return isinstance(part, _SCRIPTED)


def compiled_parts(model: Any) -> list[tuple[str, Any]]:
    """What of a model, or function, is compiled, with its class and name: it itself or modules inside of it."""
    named = model.named_modules() if isinstance(model, nn.Module) else [("", model)]
    return [
        (f"{type(part).__name__} {name!r}" if name else type(part).__name__, part)
        for name, part in named
        if is_scripted(part) or _is_compiled(part)
    ]


def _is_compiled(part: Any) -> bool:
    """Whether torch.compile made it: around a module, in place, of its `forward`, or of a function."""
    wrapped = isinstance(getattr(part, "_orig_mod", None), nn.Module)
    in_place = getattr(part, "_compiled_call_impl", None) is not None
    return wrapped or in_place or _is_compiled_function(part) or _is_compiled_function(getattr(part, "forward", None))


def _is_compiled_function(function: Any) -> bool:
    is_excluded = getattr(function, "_torchdynamo_disable", False)  # torch.compiler.disable leaves the same mark
    return hasattr(function, "_torchdynamo_orig_callable") and not is_excluded
