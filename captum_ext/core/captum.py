"""The only place where names that Captum keeps private are imported.

Captum moves them between releases; the tests run against the lowest and the newest supported version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from captum._utils.common import (
    _format_additional_forward_args,  # pyright: ignore[reportPrivateUsage]
    _run_forward,  # pyright: ignore[reportPrivateUsage]
    _select_targets,  # pyright: ignore[reportPrivateUsage]
)
from captum.log import log_usage as _log_usage
from torch import Tensor

from captum_ext.core.types import ForwardFunc, Target, Tensors

_Function = TypeVar("_Function", bound=Callable[..., Any])


def log_usage(function: _Function) -> _Function:
    """Captum's own decorator: its wrappers (NoiseTunnel, layers, neurons) call `attribute.__wrapped__`."""
    return cast(_Function, _log_usage()(function))


def format_forward_args(additional_forward_args: Any) -> tuple[Any, ...] | None:
    """`additional_forward_args` as a tuple, or None."""
    return cast("tuple[Any, ...] | None", _format_additional_forward_args(additional_forward_args))


def run_forward(forward_func: ForwardFunc, inputs: Tensors, forward_args: tuple[Any, ...] | None) -> Any:
    """The whole output of the model, before a target is selected."""
    return _run_forward(forward_func, inputs, None, forward_args)


def is_neuron_gradient(gradient_func: Callable[..., Any]) -> bool:
    """Whether Captum's neuron variants made this function: it explains the inputs, not the activations of a layer."""
    return getattr(gradient_func, "__module__", None) == "captum._utils.gradient"


def select_targets(outputs: Tensor, target: Target) -> Tensor:
    """The entries of `outputs` that `target` names, by Captum's rules."""
    return cast(Tensor, _select_targets(outputs, cast(Any, target)))
