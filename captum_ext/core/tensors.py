"""Arithmetic on rows that keeps its precision: dtypes of sums, columns of numbers, and sums in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_ext.core.rows import count_batches
from captum_ext.core.types import Tensors

CPU = torch.device("cpu")  # named wherever numbers are planned: the caller's default device may be another
_WITHOUT_FLOAT64 = {"mps"}


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of arithmetic on rows, and in which Captum returns attributions: float32 for half precision."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def has_float64(device: torch.device) -> bool:
    """Whether the device computes in float64."""
    return device.type not in _WITHOUT_FLOAT64


def double(value: Tensor) -> Tensor:
    """The tensor in float64: on its device, or on the CPU where the device has no float64."""
    return value.double() if has_float64(value.device) else value.cpu().double()


def on_device(value: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device, in float32 where it is float64 and the device has none."""
    return (value.float() if value.dtype == torch.float64 and not has_float64(device) else value).to(device)


def as_column(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers (P,) shaped to multiply rows of `like` (P, ...), in the dtype of arithmetic on them."""
    column = numbers.to(accumulation_dtype(like.dtype)).to(like.device)
    return column.reshape(-1, *(1,) * (like.dim() - 1))


def flat(value: Tensor) -> Tensor:
    """Rows (P, elements) of a tensor (P, ...), also of none."""
    return value.reshape(len(value), math.prod(value.shape[1:]))


def row_sums(values: Tensors) -> Tensor:
    """Sum (P,) of each row over all tensors (P, ...), float64 on the CPU."""
    sums = [flat(value).sum(1, dtype=torch.float64) if has_float64(value.device) else None for value in values]
    return torch.stack(
        [
            flat(value.cpu()).sum(1, dtype=torch.float64) if total is None else total.cpu()
            for value, total in zip(values, sums, strict=True)
        ]
    ).sum(0)


def displacement(value: Tensor, start: Tensor) -> Tensor:
    """Input minus start, in the dtype of arithmetic on rows."""
    wide = accumulation_dtype(value.dtype)
    return value.to(wide) - start.to(wide)


class Sums:
    """Sums of rows like those of the tensors given, kept in float64 whatever their dtype.

    Thousands of float32 terms would leave three digits of a sum. Where the device has no float64 the sums are on the
    CPU.
    """

    def __init__(self, like: Tensors, n_sums: int) -> None:
        self._like = like
        self._totals = tuple(
            torch.zeros(
                n_sums, *value.shape[1:], dtype=torch.float64, device=value.device if has_float64(value.device) else CPU
            )
            for value in like
        )

    def add(self, where: Tensor, values: Tensors) -> None:
        """Add values (P, ...) to the sums `where` (P,)."""
        n_sums = len(self._totals[0])
        n_batches = count_batches(where, n_sums)
        for total, value in zip(self._totals, values, strict=True):
            if n_batches is None:
                total.index_add_(0, where.to(total.device), value.to(total.device).double())
                continue
            for batch in torch.split(value.to(total.device), n_sums):  # batch by batch: no float64 copy of them
                total += batch

    def scale(self, rows: slice, factors: Tensors) -> None:
        """Multiply the sums `rows` by their factors (P, ...)."""
        for total, factor in zip(self._totals, factors, strict=True):
            total[rows] *= factor.to(total.device)

    def result(self) -> Tensors:
        """The sums in the dtype and on the device in which attributions are returned."""
        return tuple(
            total.to(accumulation_dtype(value.dtype)).to(value.device)
            for total, value in zip(self._totals, self._like, strict=True)
        )
