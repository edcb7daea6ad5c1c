"""The stratified rule in rounds, which stop for a row as soon as another draw would hardly change its map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from captum_ext.attr.paths.contrasts import contrasts, warn_of_bounds
from captum_ext.attr.paths.errors import LOCATION, Kinds, reduced
from captum_ext.attr.paths.integration import PathProblem, integrate_with_errors
from captum_ext.attr.paths.points import stratified_points
from captum_ext.attr.paths.precision import expected_changes
from captum_ext.core.devices import CPU, double, on_device
from captum_ext.core.tensors import accumulation_dtype
from captum_ext.core.types import Tensors
from captum_ext.core.warn import warn_caller

_MOST_ROUNDS, _LEAST_POINTS = 10, 8
TOP = 0.05  # the share of locations whose order decides


class Rounds:
    """Averages of independent stratified estimates, with the errors of these averages.

    Every round has as many points: at least two for each path, if `n_steps` allows that, and ten rounds at the most.

    Args:
        problem: what is integrated.
        n_steps: the most gradients for a row.
        kinds: of the errors that are wanted.

    Attributes:
        a_round: points of a round, for each row.
        taken: (N,) rounds that each row took.
    """

    def __init__(self, problem: PathProblem, n_steps: int, kinds: Kinds) -> None:
        self.problem = problem
        self.kinds: Kinds = tuple(dict.fromkeys((LOCATION, *kinds)))
        paths = (problem.starts.weight > 0).sum(1)
        least = max(2 * int(paths.max()) if len(paths) else 0, _LEAST_POINTS)
        self.n_rounds = max(1, min(_MOST_ROUNDS, n_steps // least))
        self.a_round = n_steps // self.n_rounds
        self.taken = torch.zeros(len(paths), dtype=torch.long, device=CPU)
        self._totals: list[Tensor] = []
        self._squares: list[list[Tensor]] = []

    def run(self, generators: Sequence[torch.Generator], tol_map: float) -> None:
        """Rounds until what another draw would change (`expected_change`) is at most `tol_map` for every row."""
        is_open = (self.problem.starts.weight > 0).any(1)
        for _ in range(self.n_rounds):
            self._add(is_open, generators)
            is_open = is_open & (self._changes() > tol_map)
            if not bool(is_open.any()):
                return
        warn_caller(
            f"{int(is_open.sum())} of {len(is_open)} rows took all {self.n_rounds * self.a_round} gradients that "
            "`n_steps` allows, and another draw is still expected to change a larger share of their largest "
            "attributions than `tol_map`. Raise n_steps."
        )

    def means(self) -> Tensors:
        """Attributions (N, ...), as they are returned."""
        return tuple(_returned(total / _column(self.taken, total), like) for total, like in self._pairs(self._totals))

    def errors(self, kind: bool | str) -> Tensors:
        """Their standard errors of a kind, as they are returned."""
        squares = self._squares[self.kinds.index(kind)]
        return tuple(
            _returned(square.sqrt() / _column(self.taken, square), like) for square, like in self._pairs(squares)
        )

    def _add(self, is_open: Tensor, generators: Sequence[torch.Generator]) -> None:
        starts = self.problem.starts.only(is_open)
        planned = contrasts(stratified_points(starts, self.a_round, generators), starts)
        sums, errors = integrate_with_errors(self.problem, planned, self.kinds)
        squares = [[double(error).square() for error in of_kind] for of_kind in errors]
        if not self._totals:
            warn_of_bounds(planned, starts)
            self._totals, self._squares = [double(value) for value in sums], squares
        else:
            self._totals = [total + double(value) for total, value in zip(self._totals, sums, strict=True)]
            self._squares = [
                [old + new for old, new in zip(*of_kind, strict=True)]
                for of_kind in zip(self._squares, squares, strict=True)
            ]
        self.taken += is_open

    def _changes(self) -> Tensor:
        maps = tuple(reduced(value, LOCATION) for value in self.means())
        return expected_changes(maps, self.errors(LOCATION), TOP)

    def _pairs(self, values: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        return list(zip(values, self.problem.inputs, strict=True))


def _column(taken: Tensor, like: Tensor) -> Tensor:
    return on_device(taken.clamp(min=1), like.device).reshape(-1, *(1,) * (like.dim() - 1))


def _returned(value: Tensor, like: Tensor) -> Tensor:
    return value.to(accumulation_dtype(like.dtype)).to(like.device)
