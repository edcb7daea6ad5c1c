"""Where the tensors of a layer have the rows of the inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_ext.core.checks import describe
from captum_ext.core.types import Tensors
from captum_ext.exceptions import ArgumentError

_SAME = 0.02  # of the largest element: a row of two against the row alone, also in half precision


@dataclass(frozen=True)
class Layout:
    """Rows along a dimension, or as blocks of dimension 0.

    Attributes:
        dim: along which rows lie: 0 of most layers, 1 of the hidden state of a recurrent layer or with time first.
        block: entries of dimension 0 that belong to one row, one after the other: T of a layer that gets a sequence as
            (N * T, D).
    """

    dim: int = 0
    block: int = 1

    def rows(self, tensor: Tensor, n_rows: int) -> Tensor:
        """The tensor as rows (n_rows, ...).

        Raises:
            ArgumentError: it does not have so many.
        """
        if tensor.dim() <= self.dim or tensor.shape[self.dim] != n_rows * self.block:
            raise _no_rows(describe(tensor) + f" for {n_rows} rows")
        if self.block > 1:
            return tensor.reshape(n_rows, self.block, *tensor.shape[1:])
        return tensor.movedim(self.dim, 0)

    def tensor(self, rows: Tensor) -> Tensor:
        """Rows (P, ...) as the layer has them, contiguous unless it has them as they are."""
        if self.block > 1:
            return rows.flatten(0, 1)
        return rows.movedim(0, self.dim).contiguous() if self.dim else rows


def find_layouts(activations: Callable[[list[int]], Tensors], n_rows: int) -> tuple[Layout, ...]:
    """The layout of every tensor of a layer, from what it is for the first row alone and beside another.

    A dimension that grows from one row to two holds the rows, whatever its size happens to be in the whole batch.

    Args:
        activations: a function of row numbers that runs the model on these rows.
        n_rows: N.

    Raises:
        ArgumentError: no dimension grows with the rows, or it cannot be said which entries belong to which row.
    """
    one, two = activations([0]), activations([0, min(1, n_rows - 1)])
    if len(one) != len(two):
        raise _no_rows(f"{len(one)} tensors for one row and {len(two)} for two")
    return tuple(_layout(single, pair) for single, pair in zip(one, two, strict=True))


def rows_first(tensors: Tensors, n_rows: int) -> bool:
    """Whether all tensors can have their rows in dimension 0."""
    return all(tensor.dim() > 0 and len(tensor) == n_rows for tensor in tensors)


def _layout(single: Tensor, pair: Tensor) -> Layout:
    grown = [dim for dim in range(single.dim()) if pair.dim() != single.dim() or single.shape[dim] != pair.shape[dim]]
    received = f"tensors of shape {tuple(single.shape)} for one row and {tuple(pair.shape)} for two"
    if len(grown) != 1 or pair.shape[grown[0]] != 2 * single.shape[grown[0]]:
        raise _no_rows(received)
    dim, size = grown[0], single.shape[grown[0]]
    if size == 1:
        return Layout(dim)
    if dim == 0 and _same(pair[:size], single) and not _same(pair[::2], single):
        return Layout(0, size)
    raise _no_rows(received + ", of which it cannot be said which entries belong to which row")


def _same(one: Tensor, other: Tensor) -> bool:
    largest = float(other.abs().max()) if other.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=_SAME * largest)


def _no_rows(received: str) -> ArgumentError:
    return ArgumentError("layer", "one whose activations have one row for each row of the inputs", received)
