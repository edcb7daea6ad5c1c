"""Rows with NaN or infinity: an error that names the first, or NaN in their results while the other rows go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from captum_ext.core.checks import check_choice, check_finite
from captum_ext.core.types import Tensors
from captum_ext.exceptions import NonFiniteError

ACTIONS = ("raise", "nan")
_ACTION: ContextVar[str] = ContextVar("captum_ext.on_nonfinite", default="raise")


@contextmanager
def on_nonfinite(action: str) -> Iterator[None]:
    """What attributions and metrics do, inside of the block, with a row that holds NaN or infinity.

    A row is meant whose inputs are not finite, or for which the model gives scores or gradients that are not. It works
    like `numpy.errstate`: for all calls of the block, also those that an adapter or a host makes, in this thread alone.

    Args:
        action: "raise", as without the block: a `NonFiniteError` that names the row. "nan": the results of the row are
            NaN, and the others are what they are without it. The model is given zeros in place of inputs that are not
            finite.

    Raises:
        ArgumentError: another action.

    Example:
        >>> import torch
        >>> import captum_ext
        >>> from captum_ext.attr import IntegratedGradients
        >>> inputs = torch.tensor([[1.0, 2.0], [torch.nan, 1.0]])
        >>> with captum_ext.on_nonfinite("nan"):
        ...     IntegratedGradients(lambda x: x.sum(1)).attribute(inputs)
        tensor([[1., 2.],
                [nan, nan]])

    Baselines, references, fills and other arguments that belong to no row have to be finite either way. Rows of maps
    that are not finite get NaN from a metric either way, as its documentation says.
    """
    token = _ACTION.set(check_choice("action", action, ACTIONS))
    try:
        yield
    finally:
        _ACTION.reset(token)


class LeftOut:
    """The rows of one call whose results are NaN: none but where `on_nonfinite("nan")` is in force.

    Attributes:
        rows: their numbers.
    """

    def __init__(self) -> None:
        self._allowed = _ACTION.get() == "nan"
        self.rows: set[int] = set()

    def meet(self, row: int, argument: str, expected: str, received: str) -> None:
        """Leave out a row that is not finite.

        Raises:
            NonFiniteError: with these three parts, where it may not be left out.
        """
        if not self._allowed:
            raise NonFiniteError(argument, expected, received)
        self.rows.add(row)

    def stand_ins(self, name: str, inputs: Tensors) -> Tensors:
        """The inputs (N, ...), with zeros for rows that are not finite, which are left out.

        Raises:
            NonFiniteError: there are such rows, and they may not be left out.
        """
        if not self._allowed:
            for position, value in enumerate(inputs):
                check_finite(name if len(inputs) == 1 else f"{name}[{position}]", value)
            return inputs
        bad = torch.stack([_not_finite(value) for value in inputs]).any(0)
        self.rows |= set(bad.nonzero().squeeze(1).tolist())
        if not self.rows:
            return inputs
        return tuple(
            torch.where(bad.to(value.device).reshape(-1, *(1,) * (value.dim() - 1)), 0, value) for value in inputs
        )

    def check(self, values: Tensor, argument: str, what: str) -> None:
        """Look at results (N, ...) of the rows; those that are not finite are met.

        Raises:
            NonFiniteError: names the first row, where it may not be left out.
        """
        if values.numel() == 0 or bool(torch.stack(torch.aminmax(values.detach())).isfinite().all()):
            return
        bad = _not_finite(values)
        for row in bad.nonzero().squeeze(1).tolist():
            affected = f"{int(bad.sum())} of {len(bad)} rows affected"
            self.meet(row, argument, f"of finite {what}", f"NaN or infinity in row {row} ({affected})")

    def blanked(self, values: Tensor) -> Tensor:
        """Results (N, ...) with NaN in the rows that are left out."""
        rows = sorted(row for row in self.rows if row < len(values))
        if not rows:
            return values
        return values.index_fill(0, torch.tensor(rows, device=values.device), torch.nan)


def _not_finite(value: Tensor) -> Tensor:
    """(N,) which rows hold NaN or infinity, on the CPU."""
    return (~value.detach().isfinite()).reshape(len(value), -1).any(1).cpu()
