"""Nodes and weights of integration rules on [0, 1], Captum's under its names and one of our own, in float64."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import special
from torch import Tensor

from captum_ext.core.checks import check_choice, describe
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError

Rule = tuple[Tensor, Tensor]


# NumPy's nodes, which are Captum's, take time with the cube of their number; SciPy's with its square.
_MOST_OF_NUMPY, _MOST_NODES = 1000, 20_000


@functools.lru_cache(maxsize=16)
def _gauss_legendre(n: int) -> Rule:
    if n > _MOST_NODES:
        raise ArgumentError("n_steps", f'at most {_MOST_NODES:,} for method "gausslegendre"', f"{n:,}")
    nodes, weights = (np.polynomial.legendre.leggauss if n <= _MOST_OF_NUMPY else special.roots_legendre)(n)
    return torch.from_numpy(0.5 * (1 + nodes)), torch.from_numpy(0.5 * weights)


def _left(n: int) -> Rule:
    return torch.arange(n, dtype=torch.float64, device="cpu") / n, torch.full(
        (n,), 1 / n, dtype=torch.float64, device="cpu"
    )


def _right(n: int) -> Rule:
    return torch.arange(1, n + 1, dtype=torch.float64, device="cpu") / n, torch.full(
        (n,), 1 / n, dtype=torch.float64, device="cpu"
    )


def _middle(n: int) -> Rule:
    return (torch.arange(n, dtype=torch.float64, device="cpu") + 0.5) / n, torch.full(
        (n,), 1 / n, dtype=torch.float64, device="cpu"
    )


def _graded(n: int) -> Rule:
    """One node in each of n intervals that grow with their distance from the baseline, in the middle of its root."""
    ends = (torch.arange(n + 1, dtype=torch.float64, device="cpu") / n) ** 2
    nodes = ((torch.arange(n, dtype=torch.float64, device="cpu") + 0.5) / n) ** 2
    return nodes, ends.diff()


def _trapezoid(n: int) -> Rule:
    # Captum's weights, for the same numbers: 1/n inside and half of it at the ends, so they sum to (n - 1)/n.
    weights = torch.full((n,), 1 / n, dtype=torch.float64, device="cpu")
    weights[[0, -1]] /= 2
    return torch.linspace(0, 1, n, dtype=torch.float64, device="cpu"), weights


RULES: dict[str, Callable[[int], Rule]] = {
    "gausslegendre": _gauss_legendre,
    "riemann_left": _left,
    "riemann_right": _right,
    "riemann_middle": _middle,
    "riemann_trapezoid": _trapezoid,
    "riemann_graded": _graded,
}


def own_rule(given: str | None, own: Sequence[str], name: str) -> str:
    """The rule of a method that has none but its `own`, of which the first is the default: None stands for it.

    A name of a rule that is not among them is taken for the default as well, with a warning that says so: in a plain
    swap of Captum's IntegratedGradients it may be spelled out.

    Raises:
        ArgumentError: no rule of Captum's.
    """
    if given is None:
        return own[0]
    if not isinstance(given, str) or given not in RULES:
        if len(own) == 1:
            raise ArgumentError("method", f'None or "{own[0]}", the only rule of this method', describe(given))
        return check_choice("method", given, own)
    if given not in own:
        warn_caller(
            f'{name} has no rule "{given}", which is one for the straight paths of Integrated Gradients, and takes '
            f'"{own[0]}" in its place, as method=None does without this warning.'
        )
        return own[0]
    return given


def quadrature(method: str, n_steps: int) -> Rule:
    r"""Nodes (n_steps,) in [0, 1] and weights (n_steps,) of one of Captum's rules, or of "riemann_graded".

    The last has the nodes $((k - 1/2) / n)^2$ with the weights $(2 k - 1) / n^2$, k = 1 to n: the middle rule on the
    roots of the shares of the path. Gradients change fastest near a baseline that shows nothing, and there its nodes
    are close together.

    Convention: as in Captum, the weights of `riemann_trapezoid` sum to `(n_steps - 1) / n_steps`, those of every
    other rule to one.

    Raises:
        ArgumentError: the trapezoid rule with fewer than two steps, Gauss nodes of more than 20,000.
    """
    if method == "riemann_trapezoid" and n_steps < 2:
        raise ArgumentError("n_steps", 'at least 2 for method "riemann_trapezoid"', str(n_steps))
    return RULES[method](n_steps)
