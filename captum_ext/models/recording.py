"""One pass of a model, with what every module returned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.captum import run_forward
from captum_ext.core.fast_path import every_module_runs
from captum_ext.core.inspection import frozen_parameters, kept, training_buffers
from captum_ext.core.model import recorded
from captum_ext.core.random import globally_seeded
from captum_ext.exceptions import AdaptError
from captum_ext.models.entries import Entry, unwrapped

_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
_LONGEST = 300  # characters of a model's own error


@dataclass(frozen=True)
class Call:
    """A module that returned during the pass.

    Attributes:
        name: of the module in the model.
        module: itself.
        output: what it returned, if that is a tensor in floating point with a row for each input; else None.
        received: shape of what it returned, or its type.
        channels_last: whether its features have their channels at the end, where a module says it.
    """

    name: str
    module: nn.Module
    output: Tensor | None
    received: str
    channels_last: bool | None


@dataclass
class Recording:
    """What is known after the pass.

    Attributes:
        inputs: what gradients are taken of; of text the ids, which have none.
        returned: by the model.
        calls: in the order in which modules returned.
        times: how often each module was called.
        head: what the last linear layer of rows got, if its weights are all zero.
    """

    inputs: Tensor
    returned: Any = None
    calls: list[Call] = field(default_factory=list)
    times: Counter[str] = field(default_factory=Counter)
    head: Tensor | None = None


@contextmanager
def recorded_pass(model: nn.Module, entry: Entry, inputs: Tensor, hint: str, interpolate: bool) -> Iterator[Recording]:
    """A pass of a model, in its own mode; its buffers, hooks and the global random numbers are put back.

    The graph of the pass lives as long as what is yielded.

    Raises:
        AdaptError: the model fails.
    """
    inside = unwrapped(model)
    recording = Recording(inputs)
    handles = []
    buffers = kept(training_buffers(inside))  # put back at the end: the way back needs them as the pass left them
    quiet = globally_seeded(0, 0, inputs.device)
    with quiet, every_module_runs(), frozen_parameters(inside), buffers, torch.enable_grad():
        try:
            for name, module in inside.named_modules():
                if entry.takes == "text" and isinstance(module, nn.Embedding):  # ids have no gradient
                    handles.append(module.register_forward_hook(_as_leaf))
                if name and not isinstance(module, torch.jit.ScriptModule):
                    handles.append(module.register_forward_hook(_noted(recording, name, len(inputs))))
            _run(inside, entry, inputs, recording, interpolate)
        except AdaptError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:_LONGEST].removesuffix(".")
            raise AdaptError(f"The model fails for {_said(inputs, entry)}: {reason}. {hint}") from error
        finally:
            for handle in handles:
                handle.remove()
        yield recording


def _run(model: nn.Module, entry: Entry, inputs: Tensor, recording: Recording, interpolate: bool) -> None:
    def forward(*given: Tensor) -> Any:
        return entry(model, given[0], interpolate=interpolate)

    if entry.takes == "text":
        recording.returned = run_forward(forward, (inputs,), None)
    else:
        (recording.inputs,), recording.returned = recorded(forward, (inputs,), None)


def _said(inputs: Tensor, entry: Entry) -> str:
    what = "token ids" if entry.takes == "text" else "images"
    return f"{what} of shape {tuple(inputs.shape)}"


def _noted(recording: Recording, name: str, n_rows: int) -> Callable[..., None]:
    def note(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        recording.times[name] += 1
        readable = isinstance(output, Tensor) and output.is_floating_point() and output.shape[:1] == (n_rows,)
        received = f"{tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        recording.calls.append(Call(name, module, output if readable else None, received, _says(module, output)))
        first = given[0] if given else None
        if isinstance(module, nn.Linear) and isinstance(first, Tensor) and first.dim() == 2 and first.requires_grad:
            recording.head = None if bool(torch.any(module.weight != 0)) else first

    return note


def _says(module: nn.Module, output: Any) -> bool | None:
    """Whether a layer's features have their channels last, from what it does to channels; None: it does not say it."""
    if not isinstance(output, Tensor):
        return None
    if isinstance(module, nn.Linear):
        return True
    if isinstance(module, _FIRST):
        return False
    weight = getattr(module, "weight", None)
    if "Norm" not in type(module).__name__ or not isinstance(weight, Tensor) or weight.dim() != 1 or output.dim() < 3:
        return None
    first, last = (output.shape[axis] == len(weight) for axis in (1, -1))
    if first and last:  # a norm over the last dimension, unless it is one of images by its name
        return None if type(module) is not nn.LayerNorm else True
    return None if first == last else last


def _as_leaf(_module: nn.Module, _given: Any, output: Any) -> Any:
    """An embedding's output as a tensor that gradients are taken of."""
    return output.detach().requires_grad_() if isinstance(output, Tensor) else output
