"""Arithmetic on rows that keeps its precision: dtypes of sums, columns of numbers, and sums in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_ext.core.devices import CPU, doubles, has_float64, on_device
from captum_ext.core.rows import count_batches
from captum_ext.core.types import Tensors


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of arithmetic on rows, and in which Captum returns attributions: float32 for half precision."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def as_column(numbers: Tensor, like: Tensor) -> Tensor:
    """Numbers (P,) shaped to multiply rows of `like` (P, ...), in the dtype of arithmetic on them."""
    column = on_device(numbers.to(accumulation_dtype(like.dtype)), like.device)
    return column.reshape(-1, *(1,) * (like.dim() - 1))


def flat(value: Tensor) -> Tensor:
    """Rows (P, elements) of a tensor (P, ...), also of none."""
    return value.reshape(len(value), math.prod(value.shape[1:]))


def row_sum(value: Tensor) -> Tensor:
    """Sum (P,) of each row of a tensor (P, ...) in float64: on its device, or on the CPU where that has no float64."""
    there = value if has_float64(value.device) else value.cpu()
    return flat(there).sum(1, dtype=torch.float64)


def row_sums(values: Tensors) -> Tensor:
    """Sum (P,) of each row over all tensors (P, ...), float64 on the CPU."""
    return torch.stack(doubles(*(row_sum(value) for value in values))).sum(0)


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
                total.index_add_(0, on_device(where, total.device), value.to(total.device).double())
                continue
            there = value.to(total.device)
            if there.device.type == "cpu":  # batch by batch: no float64 copy of them
                for batch in torch.split(there, n_sums):
                    total += batch
            else:  # in one go, which an accelerator does without a copy
                total += there.reshape(n_batches, *total.shape).sum(0, dtype=torch.float64)

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


def along_sides(values: Tensor, matrices: list[Tensor]) -> Tensor:
    """Values (P, ...) times a matrix along each of their last dimensions, one to three: the same matrix (out, in) for
    all of them, or (P, out, in) one for each."""

    def shaped(matrix: Tensor) -> Tensor:
        return matrix if matrix.dim() == 2 else matrix.reshape(len(matrix), *between, *matrix.shape[1:])

    if values.dim() == 2:
        return along_sides(values[:, None], matrices)[:, 0]
    between = (1,) * (values.dim() - 3)  # dimensions between the number of a value and a matrix's two
    if len(matrices) == 3 and matrices[0].shape[-2:] != (1, 1):
        values = (values.movedim(-3, -1) @ shaped(matrices[0]).transpose(-2, -1)).movedim(-1, -3)
    if len(matrices) > 1:
        values = shaped(matrices[-2]) @ values
    return values @ shaped(matrices[-1]).transpose(-2, -1)
