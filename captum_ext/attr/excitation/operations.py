"""Which operations have a rule, and what in their arguments is a unit and what a weight.

Readers have the signatures of the operations, as far as these have rules; other calls have none.
"""
# ruff: noqa: A002 (torch calls an input `input`, also where it is given by name)

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from captum_ext.attr.excitation.rules import Operation, Through, Weighted


@dataclass(frozen=True)
class Call:
    """A call of an operation that has a rule: the inputs that may win, and whether the first is changed in place."""

    rule: Weighted | Through
    inputs: tuple[Tensor, ...]
    in_place: bool = False


#: From the arguments of a call to what is known of it; None, or a TypeError: a call without a rule.
Reader: TypeAlias = Callable[..., Call | None]


def is_unit(value: Any) -> bool:
    """Whether a value depends on the inputs of the model: a leaf with gradients is a parameter that nobody froze."""
    return isinstance(value, Tensor) and value.grad_fn is not None


def _affine(operation: Operation) -> Reader:
    """Convolutions and linear layers: input, weight, bias, and what else there is."""

    def read(input: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any) -> Call | None:
        if not is_unit(input) or is_unit(weight) or is_unit(bias):
            return None
        weight, bias = weight.detach(), None if bias is None else bias.detach()

        def by(sign: int) -> Operation:
            return lambda x: operation(x, (sign * weight).clamp(min=0).to(x.dtype), None, *args, **kwargs)

        return Call(Weighted(lambda x: operation(x, weight, bias, *args, **kwargs), by(1), by(-1)), (input,))

    return read


def _product(operation: Operation) -> Reader:
    """Matrix products with a constant."""

    def read(input: Any, other: Any) -> Call | None:
        if is_unit(input) == is_unit(other):
            return None
        unit_is_first = is_unit(input)
        unit, constant = (input, other.detach()) if unit_is_first else (other, input.detach())

        def of(matrix: Tensor) -> Operation:
            return lambda x: operation(*((x, matrix.to(x.dtype)) if unit_is_first else (matrix.to(x.dtype), x)))

        plus, minus = (of((sign * constant).clamp(min=0)) for sign in (1, -1))
        return Call(Weighted(of(constant), plus, minus), (unit,))

    return read


def _mean(operation: Operation) -> Reader:
    """Averages and sums, whose weights are not negative."""

    def read(input: Any, *args: Any, **kwargs: Any) -> Call | None:
        def apply(x: Tensor) -> Tensor:
            return operation(x, *args, **kwargs)

        return Call(Weighted(apply, apply), (input,)) if is_unit(input) and kwargs.get("out") is None else None

    return read


def _interpolation(input: Any, *args: Any, **kwargs: Any) -> Call | None:
    mode = args[2] if len(args) > 2 else kwargs.get("mode", "nearest")
    return None if mode == "bicubic" else _mean(functional.interpolate)(input, *args, **kwargs)  # has negative weights


def _sum(operation: Operation, signs: tuple[int, int], in_place: bool = False) -> Reader:
    """Sums and differences: of two units, which share; of a unit and a constant, which is a bias."""

    def read(input: Any, other: Any) -> Call | None:
        if not (is_unit(input) or is_unit(other)):
            return None
        if not is_unit(other):
            return Call(Through(lambda x: operation(x, other), signs[0]), (input,), in_place)
        if not is_unit(input):
            return Call(Through(lambda x: operation(input, x), signs[1]), (other,))
        if signs == (1, 1):
            return Call(Weighted(operation, torch.add), (input, other), in_place)
        return Call(Weighted(operation, *(_one_of(signs.index(sign)) for sign in (1, -1))), (input, other), in_place)

    return read


def _one_of(place: int) -> Operation:
    return lambda one, other: (one, other)[place] + 0 * (one, other)[1 - place]


def _scale(operation: Operation, in_place: bool = False) -> Reader:
    """Products with a constant, and quotients by one."""

    def read(input: Any, other: Any) -> Call | None:
        if is_unit(input) == is_unit(other):
            return None
        if is_unit(input):
            return Call(Through(lambda x: operation(x, other), _sign(other)), (input,), in_place)
        if operation is torch.mul and not in_place:
            return Call(Through(lambda x: operation(input, x), _sign(input)), (other,))
        return None

    return read


def _sign(factor: Tensor | float) -> Tensor | float:
    return factor.detach().sign() if isinstance(factor, Tensor) else float((factor > 0) - (factor < 0))


def _negative(input: Any) -> Call | None:
    return Call(Through(torch.neg, -1.0), (input,)) if is_unit(input) else None


def _activation(operation: Operation, in_place: bool = False) -> Reader:
    """Activations that nowhere fall."""

    def read(input: Any, *args: Any, inplace: bool = False, **kwargs: Any) -> Call | None:
        if args and isinstance(args[-1], bool):
            *args, inplace = args  # type: ignore[assignment]

        def apply(x: Tensor) -> Tensor:
            return operation(x, *args, **kwargs)

        if not is_unit(input) or kwargs.get("out") is not None or not _rises(apply):
            return None
        return Call(Through(apply, rests=True), (input,), in_place or inplace)

    return read


def _rises(operation: Operation) -> bool:
    """Whether a function of numbers nowhere falls, as a leaky ReLU of a negative slope does."""
    return bool((operation(torch.linspace(-8, 8, 65, device="cpu")).diff() >= 0).all())


def _batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Call | None:
    if training or not is_unit(input):
        return None
    sign = 1.0 if weight is None else weight.detach().sign().reshape(-1, *(1,) * (input.dim() - 2))
    constants = (running_mean, running_var, weight, bias)

    def value(x: Tensor) -> Tensor:
        return functional.batch_norm(x, *constants, False, momentum, eps)

    return Call(Through(value, sign), (input,))


_C: Any = torch._C._nn
#: Operations by what a mode of torch sees of them.
READERS: Mapping[Any, Reader] = {
    **{
        operation: _affine(operation)
        for operation in (
            torch.conv1d,
            torch.conv2d,
            torch.conv3d,
            torch.conv_transpose1d,
            torch.conv_transpose2d,
            torch.conv_transpose3d,
            functional.linear,
        )
    },
    **dict.fromkeys((torch.matmul, Tensor.matmul, Tensor.__matmul__), _product(torch.matmul)),
    **dict.fromkeys((torch.mm, Tensor.mm), _product(torch.mm)),
    **{
        operation: _mean(operation)
        for operation in (
            functional.avg_pool1d,
            functional.avg_pool2d,
            functional.avg_pool3d,
            functional.adaptive_avg_pool1d,
            functional.adaptive_avg_pool2d,
            functional.adaptive_avg_pool3d,
            _C.adaptive_avg_pool2d,
            _C.adaptive_avg_pool3d,
            torch.mean,
            Tensor.mean,
            torch.sum,
            Tensor.sum,
        )
    },
    functional.interpolate: _interpolation,
    **dict.fromkeys((torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__), _sum(torch.add, (1, 1))),
    **dict.fromkeys((Tensor.add_, Tensor.__iadd__), _sum(torch.add, (1, 1), in_place=True)),
    **dict.fromkeys((torch.sub, Tensor.sub, Tensor.__sub__), _sum(torch.sub, (1, -1))),
    **dict.fromkeys((Tensor.sub_, Tensor.__isub__), _sum(torch.sub, (1, -1), in_place=True)),
    Tensor.__rsub__: _sum(lambda one, other: torch.sub(other, one), (-1, 1)),
    **dict.fromkeys((torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__), _scale(torch.mul)),
    **dict.fromkeys((Tensor.mul_, Tensor.__imul__), _scale(torch.mul, in_place=True)),
    **dict.fromkeys((torch.div, Tensor.div, Tensor.__truediv__), _scale(torch.div)),
    **dict.fromkeys((Tensor.div_, Tensor.__itruediv__), _scale(torch.div, in_place=True)),
    **dict.fromkeys((torch.neg, Tensor.neg, Tensor.__neg__), _negative),
    functional.batch_norm: _batch_norm,
    **dict.fromkeys((functional.relu, torch.relu, Tensor.relu), _activation(torch.relu)),
    **dict.fromkeys((torch.relu_, Tensor.relu_), _activation(torch.relu, in_place=True)),
    **dict.fromkeys((functional.tanh, torch.tanh, Tensor.tanh), _activation(torch.tanh)),
    **dict.fromkeys((functional.sigmoid, torch.sigmoid, Tensor.sigmoid), _activation(torch.sigmoid)),
    **{
        operation: _activation(operation)
        for operation in (
            functional.relu6,
            functional.hardtanh,
            functional.leaky_relu,
            functional.elu,
            functional.selu,
            functional.celu,
            functional.softplus,
            functional.hardsigmoid,
            functional.softsign,
        )
    },
}
