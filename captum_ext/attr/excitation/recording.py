"""A pass of the model in which every operation leaves its rule in the graph, and what has none is named."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_ext.attr.excitation.operations import READERS, Call, is_unit
from captum_ext.attr.excitation.rules import Through, Uses, excited, kind_of, rule_of
from captum_ext.exceptions import ArgumentError

# Operations that move units, copy them or choose one: what autograd gives back to each is what it wins.
_MOVING = """
    AccumulateGrad AdaptiveMaxPool2D AdaptiveMaxPool3D Alias Amax AsStrided Cat Clone ConstantPadNd CopyBackwards
    CopySlices Expand Flip Gather Index IndexSelect MaskedFill Max MaxPool2DWithIndices MaxPool3DWithIndices
    MkldnnMaxPool2D Permute PixelShuffle PixelUnshuffle ReflectionPad1D ReflectionPad2D ReflectionPad3D Repeat
    ReplicationPad1D ReplicationPad2D ReplicationPad3D Reshape ReshapeAlias Roll Select Slice Split SplitWithSizes
    Squeeze Stack T ToCopy Transpose Unbind Unfold Unsqueeze UnsafeSplit UnsafeView View Where
"""
_MOVES = frozenset(_MOVING.split())
# Those that do so in place, also in a part of a tensor, where the graph does not show what was done.
_MOVES_IN_PLACE = (
    "copy_",
    "__setitem__",
    "fill_",
    "zero_",
    "masked_fill_",
    "squeeze_",
    "unsqueeze_",
    "t_",
    "transpose_",
)


class Recording(TorchFunctionMode):
    """Inside the block, operations on what depends on the inputs keep their rules for the way down.

    Args:
        modules: those of the model, which are named where an operation has no rule.

    Attributes:
        uses: how many operations read the result of each node of the graph.
    """

    def __init__(self, modules: list[nn.Module]) -> None:
        super().__init__()
        self._names = {part: name for module in modules for name, part in module.named_modules()}
        self.uses: Uses = {}
        self._unknown: dict[Any, str] = {}
        self._hidden: list[str] = []

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The operation, with its rule if it has one."""
        kwargs = kwargs or {}
        call = _read(func, args, kwargs)
        units = [(one, one.grad_fn, one._version) for one in _tensors((*args, *kwargs.values())) if is_unit(one)]
        if call is not None:
            result = self.called(call)
        else:
            result = func(*args, **kwargs)
            changes_part = any(one._is_view() and one._version > version for one, _, version in units)
            self._note(func, result, [node for _, node, _ in units], changes_part)
        if any(one.grad_fn is not None for one in _tensors((result,))):
            for _, node, _ in units:
                self.uses[node] = self.uses.get(node, 0) + 1
        return result

    def called(self, call: Call) -> Tensor:
        """The value of a call, with its rule in the graph."""
        changed, *others = call.inputs
        if call.in_place:
            others = [one.clone() if one is changed else one for one in others]
        return excited(call.rule, self.uses, changed, *others, in_place=call.in_place)

    def watched(self, unit: Tensor) -> Tensor:
        """A copy of a unit for what comes next, which may change it in place."""
        self.uses[unit.grad_fn] = self.uses.get(unit.grad_fn, 0) + 1
        return self.called(Call(Through(torch.clone), (unit,)))

    def forget(self) -> None:
        """Let go of the graph, which holds on to this."""
        self.uses.clear()
        self._unknown.clear()

    def _note(self, func: Any, result: Any, sources: list[Any], changes_part: bool) -> None:
        """Remember an operation that has no rule, should what it computes be on the way down."""
        if changes_part and getattr(func, "__name__", "") not in _MOVES_IN_PLACE:
            self._hidden.append(self._described(func))
        for one in _tensors((result,)):
            for node in [] if one.grad_fn is None else _between(one.grad_fn, sources):
                if not _is_known(node):
                    self._unknown.setdefault(node, self._described(func))

    def _described(self, func: Any) -> str:
        """An operation by its name, and the innermost module that calls it."""
        name = getattr(func, "__name__", str(func))
        frame: types.FrameType | None = sys._getframe(3)
        while frame is not None:
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and owner in self._names:
                return f"{name} in {type(owner).__name__} {self._names[owner]!r}".removesuffix(" ''")
            frame = frame.f_back
        return name

    def check(self, scores: Tensor, ends: list[Any]) -> None:
        """Raise unless every operation between the nodes `ends` and the scores has a rule.

        Raises:
            ArgumentError: names an operation that has none.
        """
        without = [
            self._unknown.get(node, node.name()) for node in _between(scores.grad_fn, ends) if not _is_known(node)
        ]
        if without or self._hidden:
            raise ArgumentError(
                "forward_func",
                "a model of convolutions, linear layers, averages, maxima, sums, batch norm in eval mode, constant "
                "factors and activations that nowhere fall, up to its scores before any softmax, since Excitation "
                "Backprop has no rule for other operations",
                (without + self._hidden)[0],
            )


def _read(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
    """What is known of a call; None: it has no rule, or nothing is kept of it."""
    reader = READERS.get(func) if torch.is_grad_enabled() else None
    if reader is None:
        return None
    try:
        return reader(*args, **kwargs)
    except TypeError:  # arguments with which the operation has no rule
        return None


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


def _is_known(node: Any) -> bool:
    return rule_of(node) is not None or kind_of(node) in _MOVES


def _between(top: Any, ends: list[Any]) -> list[Any]:
    """The nodes of a graph from which one of the ends is reached, which are not among them."""
    finished: dict[Any, bool] = dict.fromkeys(ends, True)
    waiting = [top]
    while waiting:
        node = waiting[-1]
        below = [] if node in finished else [one for one, _ in node.next_functions if one is not None]
        missing = [one for one in below if one not in finished]
        waiting += missing
        if not missing:
            finished.setdefault(node, any(finished[one] for one in below))
            waiting.pop()
    return [node for node, reaches in finished.items() if reaches and node not in ends]
