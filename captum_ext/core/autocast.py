"""Mixed precision: the model runs in the caller's, this package's own arithmetic outside of it.

Inside `torch.autocast`, matrix products and convolutions are done in half precision, also those of a blur or of a
regression on segments. A public function is decorated with `own_precision`; the model is called inside
`callers_autocast`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

import torch

_P = ParamSpec("_P")
_R = TypeVar("_R")

_DEVICES = ("cpu", "cuda", "xpu", "mps")
#: What was on when the outermost of this package's functions was called: (device type, dtype) of each.
_CALLERS: ContextVar[tuple[tuple[str, torch.dtype], ...] | None] = ContextVar("callers_autocast", default=None)


def own_precision(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Run a function outside of autocast, but for the model's calls."""

    @functools.wraps(function)
    def outside(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        active = active_autocast()
        if not active:
            return function(*args, **kwargs)
        token = _CALLERS.set((*(_CALLERS.get() or ()), *active))
        try:
            with ExitStack() as stack:
                for device, dtype in active:
                    stack.enter_context(torch.autocast(device, dtype=dtype, enabled=False))
                return function(*args, **kwargs)
        finally:
            _CALLERS.reset(token)

    return outside


@contextmanager
def callers_autocast() -> Iterator[None]:
    """The autocast of the caller, for a call of the model."""
    active = _CALLERS.get()
    if not active:
        yield
        return
    token = _CALLERS.set(None)  # what the model calls of this package is a call of its own
    try:
        with ExitStack() as stack:
            for device, dtype in active:
                stack.enter_context(torch.autocast(device, dtype=dtype))
            yield
    finally:
        _CALLERS.reset(token)


def is_callers_autocast() -> bool:
    """Whether the model's calls are in mixed precision."""
    return bool(_CALLERS.get())


def active_autocast() -> list[tuple[str, torch.dtype]]:
    """Device type and dtype of each autocast that is on."""
    return [(device, dtype) for device in _DEVICES if (dtype := _dtype_of(device)) is not None]


def _dtype_of(device: str) -> torch.dtype | None:
    """The dtype of the device's autocast, None where it is off or unknown to this torch."""
    if not hasattr(torch, "get_autocast_dtype"):  # torch 2.3
        if device == "cpu":
            return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
        return torch.get_autocast_gpu_dtype() if device == "cuda" and torch.is_autocast_enabled() else None
    try:
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    except RuntimeError:  # a device without autocast
        return None
