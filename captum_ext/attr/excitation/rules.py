r"""How winning probabilities go down through one operation.

A unit's probability travels as the size of a signed number, whose sign says for which of its two halves the unit is
meant: a unit that may be negative is the difference of two that are not, $a = a^+ - a^-$, and wherever weights $w$ lead
from $a^+$, weights $-w$ lead from $a^-$. A network of units that are not negative has positive numbers only, and the
rules are the paper's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_ext.core.types import Tensors

Operation: TypeAlias = Callable[..., Tensor]
Uses: TypeAlias = dict[Any, int]
# Operations after which every unit is the same one in another place.
_SHAPES = (
    "Clone",
    "Permute",
    "Reshape",
    "ReshapeAlias",
    "Squeeze",
    "T",
    "Transpose",
    "UnsafeView",
    "Unsqueeze",
    "View",
)


@dataclass(frozen=True)
class Weighted:
    """An affine operation of several units: each wins in proportion to its excitatory part.

    Attributes:
        value: the operation, of the inputs that may win.
        plus: the same with the weights above zero alone, and no bias; None: there are none.
        minus: the same with the weights below zero, turned; None: there are none.
    """

    value: Operation
    plus: Operation | None
    minus: Operation | None = None

    def kept(self, inputs: Tensors, value: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ARG002
        """What the way down needs of a call."""
        return inputs

    def passed(self, signed: Tensor, inputs: Tensors, is_part: bool) -> Tensors:  # noqa: ARG002
        """What the inputs win of `signed`, the probabilities of the outputs."""
        wide = torch.promote_types(signed.dtype, torch.float32)
        up, down = signed.to(wide).clamp(min=0), (-signed).to(wide).clamp(min=0)
        with torch.enable_grad():
            above = [one.detach().to(wide).clamp(min=0).requires_grad_() for one in inputs]
            below = [(-one).detach().to(wide).clamp(min=0).requires_grad_() for one in inputs]
            if not any(bool(one.any()) for one in below):  # as after a ReLU
                below = []
            totals, signals = [], []
            for signal, plus, minus in ((up, self.plus, self.minus), (down, self.minus, self.plus)):
                total = _total(plus, above, minus, below)
                if total is not None and bool(signal.any()):
                    totals.append(total)
                    signals.append(_divided(signal, total.detach()))
            if not totals:
                return tuple(torch.zeros_like(one) for one in inputs)
            shares = torch.autograd.grad(totals, [*above, *below], signals, allow_unused=True)
        won = [_won(part, share) for part, share in zip([*above, *below], shares, strict=True)]
        lost = won[len(inputs) :] or [torch.zeros((), device=signed.device)] * len(inputs)
        return tuple(one - other for one, other in zip(won[: len(inputs)], lost, strict=True))


@dataclass(frozen=True)
class Through:
    """An operation on one unit: a scale, a shift, or an activation that only rises.

    Right after an affine operation that nothing else reads it is a part of it, as batch norm after a convolution. Else
    its input is a unit, and wins where it excites the output.

    Attributes:
        value: the operation.
        sign: of the weight, a number or a tensor that broadcasts.
        rests: an output of zero wins nothing, as of units that are not active.
    """

    value: Operation
    sign: Tensor | float = 1.0
    rests: bool = False

    def kept(self, inputs: Tensors, value: Tensor) -> tuple[Tensor | None, ...]:
        """What the way down needs of a call: the signs of the units, and which outputs are active."""
        return inputs[0].sign().to(torch.int8), (value != 0) if self.rests else None

    def passed(self, signed: Tensor, kept: tuple[Tensor, Tensor | None], is_part: bool) -> Tensors:
        """What the input wins of `signed`; `is_part`: it is the result of an affine operation that nothing else
        reads."""
        signs, active = kept
        won = signed if active is None else signed * active
        won = won * (self.sign.to(signed.device) if isinstance(self.sign, Tensor) else self.sign)
        if not is_part:
            won = won * (won * signs > 0)
        return (won.sum_to_size(signs.shape),)


Rule: TypeAlias = Weighted | Through


class Excited(torch.autograd.Function):
    """An operation whose backward pass is its rule; `uses` counts the operations that read the result of a node."""

    @staticmethod
    def forward(ctx: Any, rule: Rule, uses: Uses, in_place: bool, *inputs: Tensor) -> Tensor:  # noqa: D102
        ctx.rule, ctx.uses = rule, uses
        before = (inputs[0].clone(), *inputs[1:]) if in_place else inputs
        value = rule.value(*before)
        ctx.save_for_backward(*rule.kept(before, value))
        if not in_place:
            return value
        ctx.mark_dirty(inputs[0])
        return inputs[0].copy_(value)

    @staticmethod
    def backward(ctx: Any, signed: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        is_part = _is_affine(ctx.next_functions[0][0], ctx.uses)
        return (None, None, None, *ctx.rule.passed(signed, ctx.saved_tensors, is_part))


def excited(rule: Rule, uses: Uses, *inputs: Tensor, in_place: bool = False) -> Tensor:
    """The value of an operation, with its rule in the graph; with `in_place` it overwrites the first input."""
    result: Tensor = Excited.apply(rule, uses, in_place, *inputs)
    return result


def rule_of(node: Any) -> Rule | None:
    """The rule behind a node of the graph; None: another operation's node."""
    rule = getattr(node, "rule", None)
    return rule if isinstance(rule, Weighted | Through) else None


def kind_of(node: Any) -> str:
    """The name of an operation's node without what comes with the version of torch."""
    name: str = node.name().split("::")[-1]
    return re.sub(r"(Backward)?\d*$", "", name)


def _is_affine(node: Any, uses: Uses) -> bool:
    """Whether a node is an affine operation, maybe in another shape or with a scale, whose result is read once."""
    while node is not None and uses.get(node, 1) == 1:
        rule = rule_of(node)
        if isinstance(rule, Weighted):
            return True
        if kind_of(node) not in _SHAPES and (rule is None or rule.rests):
            return False
        node = node.next_functions[0][0]
    return False


def _total(plus: Operation | None, above: list[Tensor], minus: Operation | None, below: list[Tensor]) -> Tensor | None:
    """What excites each output; None: nothing can."""
    parts = [
        operation(*units) for operation, units in ((plus, above), (minus, below)) if operation is not None and units
    ]
    return sum(parts[1:], parts[0]) if parts else None


def _divided(signal: Tensor, total: Tensor) -> Tensor:
    """Signal / total; zero where nothing excites an output, as the paper defines it."""
    excites = total > torch.finfo(total.dtype).tiny
    return torch.where(excites, signal / torch.where(excites, total, 1.0), 0.0)


def _won(units: Tensor, share: Tensor | None) -> Tensor:
    return torch.zeros_like(units) if share is None else units.detach() * share
