"""What standard errors say of a map: how far it is from exact, which locations would change, how many gradients do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_ext.core.checks import MOST_STEPS, check_number, check_positive_int, check_tensor, check_tensors, describe
from captum_ext.core.devices import CPU, double
from captum_ext.core.pixels import has_space
from captum_ext.core.tensors import flat, row_sum
from captum_ext.core.types import TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError

_MOST_COMPARED = 1024  # locations of the top that are compared two by two


def relative_error(attributions: TensorOrTensors, standard_error: TensorOrTensors) -> Tensor:
    r"""How far maps are expected to be from exact ones, as a share of these.

    $$\sqrt{\frac{\sum_i s_i^2}{\sum_i \phi_i^2 - \sum_i s_i^2}}$$

    The expected square of a map that is off by chance is the exact one's plus that of its error: hence the difference.

    Args:
        attributions: (N, ...), or a tuple of such tensors, as `attribute` returns them.
        standard_error: of the same shapes, as `attribute(..., return_standard_error=True)` returns them.

    Returns:
        (N,) float64 on the CPU; infinity for a map that is no larger than its error, zero for one of zeros without any.

    Raises:
        ArgumentTypeError, ArgumentError: no such tensors.

    Example:
        >>> import torch
        >>> from captum_ext.attr import relative_error
        >>> relative_error(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.3, 0.4]]))
        tensor([0.1005], dtype=torch.float64)
    """
    maps, errors = _checked(attributions, standard_error)
    noise = _square(errors)
    exact = (_square(maps) - noise).clamp(min=0)
    return torch.where(noise > 0, (noise / exact).sqrt(), noise.sqrt())


def n_steps_for(
    precision: float,
    attributions: TensorOrTensors,
    standard_error: TensorOrTensors,
    n_steps: int,
    *,
    rate: float = 1.0,
) -> Tensor:
    r"""How many gradients (N,) make maps so precise, from maps and standard errors that took `n_steps` each.

    $$n' = \Big\lceil n \, \Big(\frac{e}{\text{precision}}\Big)^{2 / \text{rate}} \Big\rceil$$

    e is `relative_error`. Variance falls as n to the power of -`rate`.

    Args:
        precision: the `relative_error` that is wanted, a positive number.
        attributions: (N, ...), or a tuple of such tensors, as `attribute` returns them.
        standard_error: of the same shapes, as `attribute(..., return_standard_error=True)` returns them.
        n_steps: gradients, or masks, that they took.
        rate: 1 with several references and for masks. For a single baseline, whose points are in strata that become
            narrower, 2 where gradients have jumps along the path and up to 3 where they are smooth.

    Returns:
        (N,) int64 on the CPU, at least 2. At most a million: where that is not enough, or a map is no larger than its
        error, a million.

    Raises:
        ArgumentTypeError, ArgumentError: arguments that are not so.

    Example:
        >>> import torch
        >>> from captum_ext.attr import n_steps_for
        >>> n_steps_for(0.05, torch.tensor([[3.0, 4.0]]), torch.tensor([[0.3, 0.4]]), 50)  # from 10 % to 5 %
        tensor([203])
    """
    precision = check_number("precision", precision, "a positive number", lambda value: 0 < value < math.inf)
    rate = check_number("rate", rate, "a number from 1 to 3", lambda value: 1 <= value <= 3)
    n_steps = check_positive_int("n_steps", n_steps, MOST_STEPS)
    error = relative_error(attributions, standard_error)
    wanted = (n_steps * (error / precision) ** (2 / rate)).ceil().nan_to_num(nan=MOST_STEPS, posinf=MOST_STEPS)
    return wanted.clamp(2, MOST_STEPS).long()


def expected_change(attributions: Tensor, standard_error: Tensor, *, top: float = 0.05) -> Tensor:
    r"""What share of the largest attributions another draw of the points is expected to change.

    The larger of two shares, for values $\phi_i$ and $\phi_i'$ of two draws that differ by $\sqrt 2 \, s_i$:

    * of the `top` locations those that would no longer be among them,
      $\frac{1}{k} \sum_i \Phi\big((t - \phi_i) / (\sqrt 2 s_i)\big)$ with t between the k-th and the next value;
    * of the pairs of them those whose order would be reversed,
      $\frac{2}{k (k - 1)} \sum_{i < j} \Phi\big(-|\phi_i - \phi_j| / \sqrt{2 (s_i^2 + s_j^2)}\big)$.

    Errors of neighbours are taken as independent, and values as they are: the largest of noisy values are too large, so
    that a map of noise looks more settled than it is (one of noise alone has about 0.5, not 0.95).

    Args:
        attributions: (N, ...). Images (N, C, H, W) with errors (N, 1, H, W) are summed over channels.
        standard_error: of the same shape, or of locations, as `attribute(..., return_standard_error="location")`
            returns them.
        top: share of the locations.

    Returns:
        (N,) float64 on the CPU, from 0 (nothing would change) to 1.

    Raises:
        ArgumentTypeError, ArgumentError: arguments that are not so.

    Example:
        >>> import torch
        >>> from captum_ext.attr import expected_change
        >>> maps = torch.tensor([[4.0, 3.0, 0.0, 0.0]])
        >>> expected_change(maps, torch.zeros(1, 4), top=0.5), expected_change(maps, torch.ones(1, 4), top=0.5)
        (tensor([0.], dtype=torch.float64), tensor([0.3085], dtype=torch.float64))
    """
    top = check_number("top", top, "a share of locations, above 0 and at most 1", lambda value: 0 < value <= 1)
    value, error = check_tensor("attributions", attributions), check_tensor("standard_error", standard_error)
    (value,), (error,) = _checked(_located(value, error), error)
    return expected_changes((value,), (error,), top)


def expected_changes(attributions: Tensors, standard_error: Tensors, top: float) -> Tensor:
    """`expected_change` of the locations of all tensors (N, ...) together."""
    values, errors = (
        torch.cat([flat(double(one)).cpu() for one in tensors], 1) for tensors in (attributions, standard_error)
    )
    count = max(1, round(top * values.shape[1]))
    largest, order = values.sort(dim=1, descending=True, stable=True)
    spread = errors.gather(1, order)[:, :count] * 2**0.5
    replaced = torch.zeros(len(values), dtype=torch.float64, device=CPU)
    if count < values.shape[1]:
        threshold = (largest[:, count - 1 : count] + largest[:, count : count + 1]) / 2
        replaced = _below(largest[:, :count] - threshold, spread).mean(1)
    return torch.maximum(replaced, _reversed(largest[:, :count], spread))


def _reversed(values: Tensor, spread: Tensor) -> Tensor:
    """Expected share (N,) of the pairs of values (N, k) whose order differs between two draws."""
    count = values.shape[1]
    if count < 2:
        return torch.zeros(len(values), dtype=torch.float64, device=CPU)
    step = -(-count // _MOST_COMPARED)
    some, errors = values[:, ::step], spread[:, ::step]
    shares = []
    for value, error in zip(some, errors, strict=True):  # a row at a time: pairs take memory
        first, second = torch.triu_indices(len(value), len(value), 1, device=CPU)
        shares.append(_below((value[first] - value[second]).abs(), torch.hypot(error[first], error[second])).mean())
    return torch.stack(shares)


def _below(distance: Tensor, spread: Tensor) -> Tensor:
    """Probability that a normal number is below zero whose mean is the distance, which is not negative."""
    share = torch.special.ndtr(-distance / torch.where(spread > 0, spread, 1.0))
    return torch.where(spread > 0, share, 0.0)


def _located(attributions: Tensor, standard_error: Tensor) -> Tensor:
    if not has_space(attributions) or standard_error.dim() != attributions.dim():
        return attributions
    return attributions.sum(1, keepdim=True) if standard_error.shape[1] == 1 else attributions


def _checked(attributions: TensorOrTensors, standard_error: TensorOrTensors) -> tuple[Tensors, Tensors]:
    maps = check_tensors("attributions", attributions)
    errors = check_tensors("standard_error", standard_error)
    if [one.shape for one in maps] != [one.shape for one in errors]:
        expected = f"of the attributions' shape(s) {[tuple(one.shape) for one in maps]}"
        raise ArgumentError("standard_error", expected, str([describe(one) for one in errors]))
    if any(bool((one < 0).any()) for one in errors):
        raise ArgumentError("standard_error", "without negative numbers", "some below zero")
    return maps, errors


def _square(values: Tensors) -> Tensor:
    """Sum of squares (N,) over all tensors, float64 on the CPU."""
    return torch.stack([row_sum(double(value).square()).cpu() for value in values]).sum(0)
