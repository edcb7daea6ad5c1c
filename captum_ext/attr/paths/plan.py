"""How a caller wants gradients to be spent on straight paths: a rule, a budget, and where random points come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from captum_ext.attr.paths.adaptive import (
    MINIMAL_STEPS,
    Outcome,
    integrate_adaptively,
    integrate_paths_adaptively,
)
from captum_ext.attr.paths.contrasts import Contrasts, contrasts, warn_of_bounds
from captum_ext.attr.paths.errors import Kinds, check_kind
from captum_ext.attr.paths.integration import (
    PathProblem,
    integrate,
    integrate_paths,
    integrate_paths_with_errors,
    integrate_with_errors,
)
from captum_ext.attr.paths.points import Points, default_points, rule_points, stratified_points
from captum_ext.attr.paths.quadrature import RULES
from captum_ext.attr.paths.rounds import Rounds
from captum_ext.attr.paths.starts import Starts
from captum_ext.core.checks import MOST_STEPS, check_choice, check_number, check_positive_int, describe
from captum_ext.core.random import fresh_generator
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError, ArgumentTypeError

#: Names of rules that `method=` of `attribute` takes.
METHODS = (*RULES, "stratified", "adaptive")
#: Where random points come from: one generator, or one for each row.
Generators: TypeAlias = torch.Generator | Sequence[torch.Generator]


@dataclass(frozen=True)
class Plan:
    """A positive `n_steps`, the method, one generator for each row, and `tol`, which fit together.

    Raises:
        ArgumentError: a value that cannot be used.
        ArgumentsConflictError: two that do not fit together.
    """

    n_steps: int
    method: str | None
    generators: Sequence[torch.Generator]
    tol: float | None = None
    tol_map: float | None = None
    standard_error: bool | str = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_steps", check_positive_int("n_steps", self.n_steps, MOST_STEPS))
        if self.method is not None:
            check_choice("method", self.method, METHODS)
        if self.method == "adaptive" and self.n_steps < MINIMAL_STEPS:
            raise ArgumentError("n_steps", f'at least {MINIMAL_STEPS} for method "adaptive"', str(self.n_steps))
        if self.tol is not None:
            tol = check_number("tol", self.tol, "a positive number", lambda value: 0 < value < float("inf"))
            object.__setattr__(self, "tol", tol)
            if self.method != "adaptive":
                raise ArgumentsConflictError(("tol", "method"), f'only "adaptive" stops early, not {self.method!r}')
        self._check_errors()

    def _check_errors(self) -> None:
        check_kind(self.standard_error)
        if self.tol_map is not None:
            expected = "a number between 0 and 1, both excluded"
            tol_map = check_number("tol_map", self.tol_map, expected, lambda value: 0 < value < 1)
            object.__setattr__(self, "tol_map", tol_map)
        for name, wanted in (("return_standard_error", self.standard_error), ("tol_map", self.tol_map)):
            if wanted and not self.is_shared:
                reason = f'only the random points of "stratified" have standard errors, not those of {self.method!r}'
                raise ArgumentsConflictError((name, "method"), reason)
            if wanted and self.n_steps < 2:
                raise ArgumentError("n_steps", f"at least 2 where `{name}` is given", str(self.n_steps))

    @property
    def kinds(self) -> Kinds:
        """The standard errors that are wanted: none, or those of every element or location."""
        return (self.standard_error,) if self.standard_error else ()

    @property
    def is_shared(self) -> bool:
        """Whether `n_steps` gradients are shared by all paths of a row that has several."""
        return self.method in (None, "stratified")

    def n_gradients(self, starts: Starts) -> int:
        """At most so many gradients will be taken."""
        n_paths = len(starts.weight) if self.is_shared else len(starts)
        return n_paths * self.n_steps

    def integrate(self, problem: PathProblem) -> Outcome:
        """The integral of every row."""
        if self.method == "adaptive":
            return integrate_adaptively(problem, self.n_steps, self.tol)
        if self.tol_map is not None:
            rounds = Rounds(problem, self.n_steps, self.kinds)
            rounds.run(self.generators, self.tol_map)
            errors = rounds.errors(self.standard_error) if self.standard_error else None
            return Outcome(rounds.means(), rounds.taken * rounds.a_round, errors)
        points = self.points(problem.starts)
        if self.standard_error:
            planned = self.contrasts(points, problem.starts)
            warn_of_bounds(planned, problem.starts)
            sums, errors_of_kinds = integrate_with_errors(problem, planned, self.kinds)
            return Outcome(sums, self._counted(problem, points), errors_of_kinds[0])
        return Outcome(integrate(problem, points), self._counted(problem, points))

    def integrate_paths(self, problem: PathProblem) -> Outcome:
        """The mean gradient of every path."""
        if self.method == "adaptive":
            return integrate_paths_adaptively(problem, self.n_steps, self.tol)
        points = self.points(problem.starts)
        counted = self._counted(problem, points)
        if self.standard_error:
            planned = self.contrasts(points, problem.starts)
            if bool(planned.bounds.any()):
                most = int((problem.starts.weight > 0).sum(1).max())
                expected = f"enough for two points on each path where there are standard errors, {2 * most} or more"
                raise ArgumentError("n_steps", expected, str(self.n_steps))
            sums, spread = integrate_paths_with_errors(problem, planned, self.standard_error)
            return Outcome(sums, counted, None, spread, planned.freedom)
        return Outcome(integrate_paths(problem, points), counted)

    def points(self, starts: Starts) -> Points:
        """The points of every rule that plans all of them beforehand."""
        if self.method is None:
            return default_points(starts, self.n_steps, self.generators)
        if self.method == "stratified":
            return stratified_points(starts, self.n_steps, self.generators)
        return rule_points(starts, self.method, self.n_steps)

    def contrasts(self, points: Points, starts: Starts) -> Contrasts:
        """What the points say of their error.

        Raises:
            ArgumentsConflictError: a row has a single path, which method=None gives nodes that are not random.
        """
        single = (starts.weight > 0).sum(1) == 1
        if self.method is None and bool(single.any()):
            reason = (
                f"method=None takes Gauss nodes on the one path of row {int(single.nonzero()[0])}, which are not "
                'random: pass method="stratified"'
            )
            raise ArgumentsConflictError(("return_standard_error", "method"), reason)
        return contrasts(points, starts)

    @staticmethod
    def _counted(problem: PathProblem, points: Points) -> Tensor:
        return torch.bincount(points.row, minlength=problem.request.n_rows)


def generators_for(generator: Generators | None, n_rows: int) -> Sequence[torch.Generator]:
    """One generator for each row: the given ones, the given one for all, or a fresh one.

    Where a host has repeated each row of its caller's (NoiseTunnel, `sensitivity_max`), each generator serves all the
    rows that were made of its own, in order.

    Raises:
        ArgumentTypeError: neither a generator nor a sequence of them.
        ArgumentError: a number of generators that the rows are no multiple of, or generators of another device than the
            CPU.
    """
    if generator is None:
        return [fresh_generator()] * n_rows
    if isinstance(generator, torch.Generator):
        given: Sequence[torch.Generator] = [generator] * n_rows
    elif isinstance(generator, Sequence) and all(isinstance(entry, torch.Generator) for entry in generator):
        given = generator
    else:
        raise ArgumentTypeError("generator", "a torch.Generator or a sequence of them", describe(generator))
    if len(given) == 0 or n_rows % len(given):
        raise ArgumentError("generator", f"one, or one for each of the {n_rows} rows", f"{len(given)} generators")
    if any(entry.device.type != "cpu" for entry in given):
        raise ArgumentError("generator", "on the CPU, where points are planned", str(given[0].device))
    return [entry for entry in given for _ in range(n_rows // len(given))]
