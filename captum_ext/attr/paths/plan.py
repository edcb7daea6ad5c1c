"""How a caller wants gradients to be spent on straight paths: a rule, a budget, and where random points come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from captum_ext.attr.paths.adaptive import MINIMAL_STEPS, integrate_adaptively
from captum_ext.attr.paths.integration import PathIntegral, integrate
from captum_ext.attr.paths.points import Starts, default_points, rule_points, stratified_points
from captum_ext.attr.paths.quadrature import RULES
from captum_ext.core.checks import check_choice, describe
from captum_ext.core.random import fresh_generator
from captum_ext.core.types import Tensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

METHODS = (*RULES, "stratified", "adaptive")
Generators = torch.Generator | Sequence[torch.Generator]


@dataclass(frozen=True)
class Plan:
    """A positive `n_steps`, the method, one generator for each row, and `tol`, which fit together.

    Raises:
        ArgumentError: a value that cannot be used, or two that do not fit together.
    """

    n_steps: int
    method: str | None
    generators: Sequence[torch.Generator]
    tol: float | None = None

    def __post_init__(self) -> None:
        if self.method is not None:
            check_choice("method", self.method, METHODS)
        if self.method == "adaptive" and self.n_steps < MINIMAL_STEPS:
            raise ArgumentError("n_steps", f'at least {MINIMAL_STEPS} for method "adaptive"', str(self.n_steps))
        if self.tol is None:
            return
        if self.method != "adaptive":
            received = f"{self.tol} with method {self.method!r}"
            raise ArgumentError("tol", 'None unless method is "adaptive"', received)
        if not isinstance(self.tol, int | float) or not self.tol > 0:
            raise ArgumentError("tol", "a positive number", describe(self.tol))

    @property
    def is_shared(self) -> bool:
        """Whether `n_steps` gradients are shared by all paths of a row that has several."""
        return self.method in (None, "stratified")

    def n_gradients(self, starts: Starts) -> int:
        """At most so many gradients will be taken."""
        n_paths = len(starts.weight) if self.is_shared else int((starts.weight > 0).sum())
        return n_paths * self.n_steps

    def carry_out(self, problem: PathIntegral) -> Tensors:
        """The integral of every row, or of every path where the problem keeps them apart."""
        if self.method == "adaptive":
            return integrate_adaptively(problem, self.n_steps, self.tol)
        if self.method is None:
            return integrate(problem, default_points(problem.starts, self.n_steps, self.generators))
        if self.method == "stratified":
            return integrate(problem, stratified_points(problem.starts, self.n_steps, self.generators))
        return integrate(problem, rule_points(problem.starts, self.method, self.n_steps))


def generators_for(generator: Generators | None, n_rows: int) -> Sequence[torch.Generator]:
    """One generator for each row: the given ones, the given one for all, or a fresh one.

    Raises:
        ArgumentTypeError: neither a generator nor a sequence of them.
        ArgumentError: another number of generators than of rows, or generators of another device than the CPU.
    """
    if generator is None:
        return [fresh_generator()] * n_rows
    if isinstance(generator, torch.Generator):
        given: Sequence[torch.Generator] = [generator] * n_rows
    elif isinstance(generator, Sequence) and all(isinstance(entry, torch.Generator) for entry in generator):
        given = generator
    else:
        raise ArgumentTypeError("generator", "a torch.Generator or a sequence of them", describe(generator))
    if len(given) != n_rows:
        raise ArgumentError("generator", f"one, or one for each of the {n_rows} rows", f"{len(given)} generators")
    if any(entry.device.type != "cpu" for entry in given):
        raise ArgumentError("generator", "on the CPU, where points are planned", str(given[0].device))
    return given
