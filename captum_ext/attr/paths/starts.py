"""Where the straight paths of every row begin, and how much each of them counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from captum_ext.core.checks import describe
from captum_ext.core.devices import CPU, on_device
from captum_ext.core.types import Tensors
from captum_ext.exceptions import ArgumentError

_ROUNDING = 1e-4  # weights may come in float32


@dataclass(frozen=True)
class Starts:
    """Where the paths of every row begin, and how much each path counts.

    Attributes:
        values: the distinct starting points, one tensor (R, ...) for each input tensor.
        index: (N, K) integers below R: path k of row i starts at `values[index[i, k]]`.
        weight: (N, K) float64, non-negative, rows sum to one; zero marks a path that is not there, a row of zeros a row
            without paths. All indices and weights are on the CPU.

    Raises:
        ArgumentError: shapes, indices or weights that are not so.

    Example:
        >>> import torch
        >>> from captum_ext.attr.paths import Starts
        >>> values = (torch.zeros(2, 3),)  # two references, shared by four inputs
        >>> starts = Starts(values, torch.tensor([[0, 1]] * 4), torch.full((4, 2), 0.5, dtype=torch.float64))
        >>> len(starts)
        8
    """

    values: Tensors
    index: Tensor
    weight: Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.values, tuple) or not self.values:
            raise ArgumentError("values", "a tuple with one tensor (R, ...) for each input", describe(self.values))
        n_values = min(len(value) for value in self.values)
        if self.index.dim() != 2 or self.index.shape != self.weight.shape:
            shapes = f"{tuple(self.index.shape)} and weights {tuple(self.weight.shape)}"
            raise ArgumentError("index", "(N, K) like the weights", shapes)
        if self.index.numel() and not 0 <= int(self.index.min()) <= int(self.index.max()) < n_values:
            received = f"{int(self.index.min())} to {int(self.index.max())}"
            raise ArgumentError("index", f"from 0 to {n_values - 1}, the starting points", received)
        sums = self.weight.sum(1)
        if not bool(((self.weight >= 0).all(1) & (((sums - 1).abs() < _ROUNDING) | (sums == 0))).all()):
            raise ArgumentError("weight", "non-negative numbers whose rows sum to one", f"sums {sums.tolist()[:8]}")

    def __len__(self) -> int:
        """Number of paths that are there, of all rows."""
        return int((self.weight > 0).sum())

    def paths(self) -> tuple[Tensor, Tensor]:
        """Row and number within the row (Q,) of every path that is there."""
        row, path = self.weight.nonzero(as_tuple=True)
        return row, path

    def numbers(self) -> Tensor:
        """The place (N, K) of every path in `paths`, -1 for those that are not there."""
        numbers = torch.full(self.weight.shape, -1, dtype=torch.long, device=CPU)
        numbers[self.paths()] = torch.arange(len(self), device=CPU)
        return numbers

    def only(self, rows: Tensor) -> Starts:
        """The same starts with the paths of the rows marked in `rows` (N,) alone."""
        return Starts(self.values, self.index, torch.where(rows[:, None], self.weight, 0.0))

    def at(self, index: Tensor, like: Tensors) -> Tensors:
        """Starting points (P, ...) on the devices of `like`, copies."""
        return tuple(
            on_device(value[on_device(index, value.device)], tensor.device)
            for value, tensor in zip(self.values, like, strict=True)
        )


def baseline_starts(baselines: Tensors, n_rows: int) -> Starts:
    """One path a row, from baselines of one row (shared) or `n_rows` rows (one each)."""
    shared = all(baseline.shape[0] == 1 for baseline in baselines)
    if shared:
        index = torch.zeros(n_rows, 1, dtype=torch.long, device=CPU)
    else:
        index = torch.arange(n_rows, device=CPU)[:, None]
        baselines = tuple(baseline.expand(n_rows, *baseline.shape[1:]) for baseline in baselines)
    return Starts(baselines, index, torch.ones(n_rows, 1, dtype=torch.float64, device=CPU))
