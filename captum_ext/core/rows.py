"""Rows, as Captum has them: whole batches one after the other, and what the model's further arguments are to them.

N rows are a batch. Points are evaluated step by step, all N rows at one step before the next step, k steps (k * N rows)
at once; forward arguments are tiled k times, as Captum tiles them. So rows that see each other (the nodes of a graph, a
sequence with time first) see the same batch as in a plain call of the model. Only where N itself is more than the
limit, or where a method's rows part ways, are rows taken out of their batch; then every argument has to say whether it
follows the rows.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from captum_ext.core.captum import format_forward_args
from captum_ext.core.checks import describe
from captum_ext.core.devices import on_device
from captum_ext.exceptions import ArgumentError

# What has no rows, beside None and functions.
_SINGLE = (Number, str, bytes, np.generic, Enum, slice, torch.dtype, torch.device, torch.layout)


@dataclass(frozen=True, eq=False)
class Shared:
    """A forward argument that all rows share, whatever its first dimension happens to be.

    Tensors in `additional_forward_args` with one entry for each input follow their row, as in Captum. Wrap what does
    not: the edges of a graph (2, E) beside two inputs, prototypes, class weights. The model gets the value as it is
    (of a tensor or an array a copy), however many rows it is given.

    Without it such an argument is passed as it is with one whole batch at a time, which is right, and slower where the
    batch is small. Captum's own wrappers (layers, neurons) call the model themselves and do not know this class: give
    them a forward function that closes over the value instead. Those of `captum_ext.attr` (`LayerEG`, ...) know it.

    Attributes:
        value: what the model gets.

    Example:
        >>> import torch
        >>> from captum_ext import Shared
        >>> from captum_ext.attr import IntegratedGradients
        >>> weights = torch.tensor([1.0, 2.0])  # one for each feature, and there are two inputs
        >>> ig = IntegratedGradients(lambda x, w: (x * w).sum(1))
        >>> ig.attribute(torch.ones(2, 2), additional_forward_args=Shared(weights))
        tensor([[1., 2.],
                [1., 2.]])
    """

    value: Any


class ForwardArgs:
    """Further arguments of the model, and what each of them is to the rows.

    A tensor with N entries follows the rows. Numbers, texts, None, functions and whatever is wrapped in `Shared` are
    for all of them. Of a tensor with another number of entries or a sparse one, and of a list, array, mapping or any
    other object, it cannot be known.

    Attributes:
        n_rows: N.
        values: the arguments, or None.
    """

    def __init__(self, additional_forward_args: Any, n_rows: int) -> None:
        self.values = format_forward_args(additional_forward_args)
        self.n_rows = n_rows

    @property
    def follow_rows(self) -> bool:
        """Whether any of them follows the rows, so that the output at a point depends on its row."""
        return any(self._follows(value) for value in self.values or ())

    @property
    def unknown(self) -> list[str]:
        """Those of which it cannot be known what they are to the rows, for a message."""
        return [
            f"additional_forward_args[{place}], {_brief(value)}"
            for place, value in enumerate(self.values or ())
            if not self._follows(value) and _is_unknown(value)
        ]

    def of_batches(self, n_batches: int) -> tuple[Any, ...] | None:
        """The arguments of `n_batches` whole batches; those whose role is unknown go with a single one."""
        if self.values is None:
            return None
        return tuple(
            value.repeat(n_batches, *(1,) * (value.dim() - 1)) if self._follows(value) else _handed(value)
            for value in self.values
        )

    def of_rows(self, rows: Tensor) -> tuple[Any, ...] | None:
        """The arguments of single rows (P,) taken out of their batch.

        Raises:
            ArgumentError: names `Shared` where it cannot be known what an argument is to the rows.
        """
        if self.values is None:
            return None
        self.check_known()
        return tuple(
            value[on_device(rows, value.device)] if self._follows(value) else _handed(value) for value in self.values
        )

    def check_known(self) -> None:
        """Refuse arguments whose role is unknown.

        Raises:
            ArgumentError: names the first and `Shared`.
        """
        if self.unknown:
            raise ArgumentError(
                "additional_forward_args",
                f"tensors with one entry for each of the {self.n_rows} rows, or wrapped in captum_ext.Shared, where "
                "rows are taken out of their batch",
                self.unknown[0],
            )

    def _follows(self, value: Any) -> bool:
        if not isinstance(value, Tensor) or value.layout is not torch.strided:  # a sparse one cannot be tiled
            return False
        return value.dim() > 0 and len(value) == self.n_rows


def _handed(value: Any) -> Any:
    """What the model gets of an argument that does not follow the rows: numbers as copies, which it may change."""
    if isinstance(value, Shared):
        return _handed(value.value)
    if isinstance(value, Tensor):
        return value.clone()
    return value.copy() if isinstance(value, np.ndarray) else value


def _is_unknown(value: Any) -> bool:
    if isinstance(value, Tensor | np.ndarray):
        return value.ndim > 0
    if isinstance(value, list | tuple | Mapping):
        return len(value) > 0
    is_function = inspect.isroutine(value) or isinstance(value, functools.partial | nn.Module | type)
    return not (
        value is None or is_function or isinstance(value, (Shared, *_SINGLE))
    )  # a graph, a record: what may it hold?


def _brief(value: Any) -> str:
    return f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else describe(value)


def count_batches(rows: Tensor, n_rows: int) -> int | None:
    """How many whole batches of `n_rows` rows the rows (P,) are, one after the other; None if they are not."""
    if n_rows == 0 or len(rows) == 0 or len(rows) % n_rows:
        return None
    batches = rows.reshape(-1, n_rows)
    return len(batches) if bool((batches == torch.arange(n_rows, device=rows.device)).all()) else None


def step_by_step(row: Tensor, n_rows: int, *, pad: bool = True) -> tuple[Tensor, Tensor]:
    """The order in which points of the rows (P,) make whole batches, step by step.

    Rows with fewer points than others repeat their last one, which then does not count, so that every batch is whole.
    Without `pad`, or if a row has no point at all, there is only the order by steps.

    Returns:
        Indices of points (Q,), Q >= P, and whether each of them counts (Q,).
    """
    by_row = row.argsort(stable=True)
    counts = torch.bincount(row, minlength=n_rows)
    first = counts.cumsum(0) - counts
    step = torch.arange(int(counts.max()) if len(counts) else 0, device=row.device)[:, None]
    exists = step < counts
    if not pad or bool((counts == 0).any()):
        places = (first + step)[exists]
        return by_row[places], torch.ones_like(places, dtype=torch.bool)
    return by_row[(first + torch.minimum(step, counts - 1)).reshape(-1)], exists.reshape(-1)
