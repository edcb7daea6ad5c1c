"""Validation at the boundary: what is checked here is trusted everywhere below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.plain_checks import as_float, bounded, is_meta
from captum_ext.core.plain_checks import check_bool as check_bool
from captum_ext.core.plain_checks import check_choice as check_choice
from captum_ext.core.plain_checks import check_count as check_count
from captum_ext.core.plain_checks import check_number as check_number
from captum_ext.core.plain_checks import check_positive_int as check_positive_int
from captum_ext.core.plain_checks import check_seed as check_seed
from captum_ext.core.plain_checks import describe as describe
from captum_ext.core.types import Baselines, Tensors
from captum_ext.exceptions import (
    ArgumentError,
    ArgumentTypeError,
    InferenceModeError,
    NonFiniteError,
)

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
#: What an embedding takes: token ids.
IDS = (torch.int64, torch.int32)
#: Steps, samples, passes of a call: more would not end in a day, or not fit as a plan.
MOST_STEPS = 1_000_000


def check_dense(name: str, tensor: Tensor) -> Tensor:
    """Return the tensor if its numbers can be read one by one.

    Raises:
        ArgumentTypeError: sparse, nested, quantised, of another layout, or on the device "meta", without numbers.
    """
    if tensor.is_nested or tensor.layout is not torch.strided or tensor.is_quantized or is_meta(tensor):
        raise ArgumentTypeError(name, "a dense tensor", describe(tensor))
    return tensor


def check_numbers(name: str, value: Any) -> Tensor:
    """Return `value` if it is a dense tensor of real numbers, integers among them.

    Raises:
        ArgumentTypeError: it is not.
    """
    known = (*FLOATS, torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
    if not isinstance(value, Tensor) or value.dtype not in known:
        raise ArgumentTypeError(name, "a tensor of numbers", describe(value))
    return check_dense(name, value)


def check_gradients_possible() -> None:
    """Refuse `torch.inference_mode()`, in which no gradient can be taken.

    Raises:
        InferenceModeError: if inference mode is on.
    """
    if torch.is_inference_mode_enabled():
        raise InferenceModeError(
            "Attributions need gradients, and torch.inference_mode() records none. "
            "Call attribute outside of it, or use torch.no_grad(), which is respected and harmless here."
        )


def check_tensors(
    name: str,
    value: Any,
    first_row: int = 0,
    *,
    finite: bool = True,
    allow_ids: bool = False,
    where_ids: str = "have no gradient: explain the layer that embeds them (captum_ext.attr.LayerIntegratedGradients)",
) -> Tensors:
    """Return `value` as a tuple of floating tensors that agree in their number of rows, counted from `first_row`.

    `where_ids` is what the message says of token ids where they are not allowed.

    Raises:
        ArgumentTypeError: not a tensor or a tuple of tensors, or not floating point; `allow_ids` allows int64 and
            int32, too.
        ArgumentError: no row, or numbers of rows that differ.
        NonFiniteError: NaN or infinity; the message names tensor and row. With `finite` off it is not looked for.
    """
    expected = "of a floating point dtype, of at least 16 bits"
    if allow_ids:
        expected += ", or token ids (int64 or int32)"
    tensors = value if isinstance(value, tuple) else (value,)
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise ArgumentTypeError(name, "a tensor or a non-empty tuple of tensors", describe(value))
    for position, tensor in enumerate(tensors):
        label = name if len(tensors) == 1 else f"{name}[{position}]"
        if tensor.dtype not in FLOATS and not (allow_ids and tensor.dtype in IDS):
            said = f"{expected}; token ids {where_ids}" if tensor.dtype in IDS else expected
            raise ArgumentTypeError(label, said, describe(tensor))
        check_dense(label, tensor)
        if tensor.dim() == 0 or tensor.shape[0] == 0:
            raise ArgumentError(label, "a batch (N, ...) with at least one row", describe(tensor))
        if tensor.shape[0] != tensors[0].shape[0]:
            raise ArgumentError(label, f"of {tensors[0].shape[0]} rows like the first tensor", describe(tensor))
        if finite:
            check_finite(label, tensor, first_row)
    return tensors


def check_tensor(name: str, value: Any) -> Tensor:
    """Return `value` if it is one floating tensor of finite numbers with at least one row.

    Raises:
        ArgumentTypeError, ArgumentError, NonFiniteError: as `check_tensors`; a tuple is refused.
    """
    if isinstance(value, tuple):
        raise ArgumentTypeError(name, "a tensor", describe(value))
    return check_tensors(name, value)[0]


def check_finite(name: str, tensor: Tensor, first_row: int = 0) -> None:
    """Raise unless every number is finite.

    Raises:
        NonFiniteError: names the first row with NaN or an infinity.
    """
    if tensor.numel() == 0 or all(map(math.isfinite, torch.stack(torch.aminmax(tensor)).tolist())):
        return  # both ends are finite; one pass, and no tensor of flags
    finite = torch.isfinite(tensor)
    bad = (~finite).reshape(tensor.shape[0], -1).any(1) if tensor.dim() else ~finite.reshape(1)
    row = int(bad.nonzero()[0])
    kind = "NaN" if bool(torch.isnan(tensor.reshape(len(bad), -1)[row]).any()) else "infinity"
    affected = f"{int(bad.sum())} of {len(bad)} rows affected"
    raise NonFiniteError(name, "finite", f"{kind} in row {first_row + row} ({affected})")


def check_baselines(baselines: Baselines, inputs: Tensors) -> Tensors:
    """Return baselines in Captum's meaning as tensors of one row (for all) or N rows (one for each input).

    Raises:
        ArgumentTypeError: a baseline that is neither a tensor nor a number.
        ArgumentError: another number of baselines than of inputs, or a shape that does not fit its input.
        NonFiniteError: NaN or infinity in a baseline.
    """
    given = baselines if isinstance(baselines, tuple) else (baselines,) * (len(inputs) if baselines is None else 1)
    if len(given) != len(inputs):
        raise ArgumentError("baselines", f"{len(inputs)} baseline(s), one for each input tensor", f"{len(given)}")
    result = []
    for position, (baseline, tensor) in enumerate(zip(given, inputs, strict=True)):
        label = "baselines" if len(inputs) == 1 else f"baselines[{position}]"
        result.append(_as_rows(label, 0 if baseline is None else baseline, tensor))
    return tuple(result)


def check_fill(name: str, value: Baselines, inputs: Tensors) -> Tensors:
    """Like `check_baselines`, for an argument `name` of which one number may serve all tensors of a tuple.

    Raises:
        ArgumentTypeError, ArgumentError, NonFiniteError: as `check_baselines`.
    """
    try:
        return check_baselines((value,) * len(inputs) if isinstance(value, Real) else value, inputs)
    except ArgumentError as error:
        raise type(error)(error.argument.replace("baselines", name), error.expected, error.received) from error
    except ArgumentTypeError as error:
        raise ArgumentTypeError(error.argument.replace("baselines", name), error.expected, error.received) from error


def _as_rows(label: str, baseline: Any, tensor: Tensor) -> Tensor:
    """One baseline as a tensor (1, ...) or (N, ...) on the device and in the dtype of its input."""
    row_shape = tuple(tensor.shape[1:])
    if isinstance(baseline, bool):
        raise ArgumentTypeError(label, "a tensor or a number", describe(baseline))
    if isinstance(baseline, Real) and tensor.dtype in IDS:
        token = bounded(label, baseline, 0, torch.iinfo(tensor.dtype).max, "a token id, as the inputs are")
        rows = torch.full((1, *row_shape), token, dtype=tensor.dtype, device=tensor.device)
    elif isinstance(baseline, Real):
        number = as_float(label, "a tensor or a finite number", baseline)
        rows = torch.tensor(number, dtype=torch.float64, device="cpu").to(tensor.dtype).to(tensor.device)
        rows = rows.expand(1, *row_shape).contiguous()
    elif isinstance(baseline, Tensor):
        check_numbers(label, baseline)
        if tensor.dtype in IDS:
            check_same_kind(label, baseline, tensor)
        fits = baseline.dim() > 0 and (
            baseline.shape == tensor.shape or (baseline.shape[0] == 1 and _broadcasts(baseline.shape[1:], row_shape))
        )
        if not fits:
            raise ArgumentError(
                label,
                f"of the input's shape {tuple(tensor.shape)} or one row of it {(1, *row_shape)}",
                describe(baseline)
                + ". A set of references is not passed as `baselines`: give it to the constructor as `references`",
            )
        rows = baseline.detach().to(tensor.device, tensor.dtype)
        rows = rows.expand(rows.shape[0], *row_shape)
    else:
        raise ArgumentTypeError(label, "a tensor or a number", describe(baseline))
    check_finite(label, rows)
    return rows


def _broadcasts(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a row of `shape` can be expanded to a row of shape `wanted`."""
    return len(shape) == len(wanted) and all(size in (1, full) for size, full in zip(shape, wanted, strict=True))


def check_same_kind(name: str, value: Tensor, tensor: Tensor) -> None:
    """Raise unless `value` is of the kind of the input `tensor`: numbers beside numbers, token ids beside token ids.

    Raises:
        ArgumentTypeError: one is floating point, the other is not.
        ArgumentError: ids that the input's dtype does not hold.
    """
    if value.is_floating_point() != tensor.is_floating_point():
        kind = "numbers of a floating point dtype" if tensor.is_floating_point() else "token ids (integers)"
        raise ArgumentTypeError(name, f"{kind}, as the inputs are", describe(value))
    if value.dtype != tensor.dtype and not tensor.is_floating_point() and value.numel():
        most = torch.iinfo(tensor.dtype).max
        if int(value.max()) > most:
            raise ArgumentError(name, f"ids up to {most:,}, which {tensor.dtype} of the inputs holds", describe(value))


def check_same_rows(name: str, values: Tensors, inputs: Tensors) -> None:
    """Raise unless each tensor of `values` has rows of the shape and of the kind of the matching input's.

    Raises:
        ArgumentError: with both shapes.
        ArgumentTypeError: token ids beside numbers.
    """
    if len(values) != len(inputs):
        raise ArgumentError(name, f"a tuple of {len(inputs)} tensor(s) like the inputs", f"{len(values)} tensor(s)")
    for position, (value, tensor) in enumerate(zip(values, inputs, strict=True)):
        label = name if len(inputs) == 1 else f"{name}[{position}]"
        check_same_kind(label, value, tensor)
        if value.shape[1:] != tensor.shape[1:]:
            expected = f"of shape (K, {', '.join(map(str, tensor.shape[1:]))}) to match the input {tuple(tensor.shape)}"
            raise ArgumentError(label, expected, describe(value))
