"""Guided Integrated Gradients: a path that moves the features first whose gradients are small."""

from __future__ import annotations

import math
from typing import Any, Literal, overload

import torch
from torch import Tensor

from captum_ext.attr.paths.integration import PathProblem
from captum_ext.attr.paths.path_method import InputsT, PathMethod, progress
from captum_ext.attr.paths.quadrature import own_rule
from captum_ext.attr.paths.starts import baseline_starts
from captum_ext.core.autocast import own_precision
from captum_ext.core.captum import log_usage
from captum_ext.core.checks import MOST_STEPS, check_baselines, check_bool, check_number, check_positive_int
from captum_ext.core.chunks import for_each_chunk
from captum_ext.core.devices import double, on_device
from captum_ext.core.inspection import frozen_parameters
from captum_ext.core.request import Request
from captum_ext.core.tensors import Sums, flat
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors, Tensors
from captum_ext.exceptions import ArgumentError

_ROUNDING = 1e-9  # relative and absolute, as the authors' code has it


class GuidedIG(PathMethod):
    r"""Guided Integrated Gradients (Kapishnikov, Venugopalan, Avci, Wedin, Terry and Bolukbasi, "Guided Integrated
    Gradients: An Adaptive Path Method for Removing Noise", CVPR 2021).

    https://arxiv.org/abs/2106.09788

    $$\phi = \sum_k \nabla F(x_k) \odot (x_{k+1} - x_k), \qquad x_0 = x', \; x_K = x$$

    From every point the share `fraction` of the features whose partial derivatives are smallest in absolute value goes
    towards the input, so far that the L1 distance to it falls by 1/K in every step. No feature is further from the
    straight path than `max_dist` of its length, before or behind.

    Args:
        forward_func: the model.
        multiply_by_inputs: only True: the path itself is made of differences of inputs.
        fraction: share of the features that go at once; the authors' code has 0.25.
        max_dist: how far from the straight path a feature may be, as a share of the path: 0 is Integrated Gradients
            with points at the beginning of every step, 1 lets features go in any order. The code has 0.02.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError, ArgumentError: a setting that cannot be used.

    Example:
        >>> import torch
        >>> from captum_ext.attr import GuidedIG
        >>> guided = GuidedIG(lambda x: x[:, 0] * x[:, 1], max_dist=1, fraction=0.5)
        >>> guided.attribute(torch.tensor([[1.0, 1.0]]), baselines=torch.tensor([[0.0, 0.5]]), n_steps=3)
        tensor([[1., 0.]])

    Deviations from the authors' code: rows, also of several tensors, go through the model together. A step ends where
    no feature may go on, which the code would repeat without end. The gradient at the end of the path is not taken, as
    in the code; the gap (`return_convergence_delta`) is that of a left Riemann sum.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        multiply_by_inputs: bool = True,
        *,
        fraction: float = 0.25,
        max_dist: float = 0.02,
        allow_batch_statistics: bool = False,
    ) -> None:
        if not check_bool("multiply_by_inputs", multiply_by_inputs):
            raise ArgumentError("multiply_by_inputs", "True, as the path is made of differences of inputs", "False")
        super().__init__(forward_func, allow_batch_statistics=allow_batch_statistics)
        self.fraction = check_number("fraction", fraction, "a number in (0, 1]", lambda value: 0 < value <= 1)
        self.max_dist = check_number("max_dist", max_dist, "a number in [0, 1]", lambda value: 0 <= value <= 1)

    @overload
    def attribute(
        self,
        inputs: InputsT,
        baselines: Baselines = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        return_convergence_delta: Literal[False] = ...,
        *,
        show_progress: bool = ...,
    ) -> InputsT: ...

    @overload
    def attribute(
        self,
        inputs: InputsT,
        baselines: Baselines = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        *,
        return_convergence_delta: Literal[True],
        show_progress: bool = ...,
    ) -> tuple[InputsT, Tensor]: ...

    @log_usage
    @own_precision
    def attribute(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str | None = None,
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        show_progress: bool = False,
    ) -> Any:
        r"""Explain inputs; the model has to score each row by itself.

        Args:
            inputs: (N, ...) or a tuple of such tensors, floating point.
            baselines: where the paths begin, as in Captum: a number, one row, one row for each input, or a tuple.
            target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
            additional_forward_args: as in Captum; see `PathAttribution.attribute`.
            n_steps: K, as many gradients for each row; the authors' code has 200.
            method: None or "riemann_left", the only rule of this method; Captum's others are taken for it, with a
                warning.
            internal_batch_size: rows given to the model at once. None: chosen by device and row size.
            return_convergence_delta: also return the delta.
            show_progress: show a bar that counts gradients.

        Returns:
            Attributions of the shape of the inputs (float32 for half precision, else the inputs' dtype); then, if asked
            for, the delta (N,), in units of the score: $\sum_i \phi_i - (F(x) - F(x'))$.

        Raises:
            ArgumentTypeError, ArgumentError: arguments that cannot be used or do not fit.
            NonFiniteError: NaN or infinity in inputs, baselines or gradients; see `captum_ext.on_nonfinite`.
            ModelOutputError: `forward_func` did not return one score for each row, or one without a gradient.
            InferenceModeError: called under `torch.inference_mode()`.
        """
        request = self.request(inputs, baselines, target, additional_forward_args, internal_batch_size)
        n_steps = check_positive_int("n_steps", n_steps, MOST_STEPS)
        own_rule(method, ("riemann_left",), "GuidedIG")
        show = check_bool("show_progress", show_progress)
        starts = baseline_starts(check_baselines(baselines, request.inputs), request.n_rows)
        with (
            frozen_parameters(self.forward_func),
            progress(self.get_name(), request.n_rows * n_steps if show else None) as on_done,
        ):
            problem = PathProblem(request, starts, on_done=on_done)
            attributions = self._walked(problem, n_steps)
            self.check_inputs_used(problem)
            results: list[Any] = [request.formatted(attributions)]
            if return_convergence_delta:
                results.append(self.delta(problem, attributions))
        return results[0] if len(results) == 1 else tuple(results)

    def _walked(self, problem: PathProblem, n_steps: int) -> Tensors:
        """Attributions of all rows, of as many at once as may be in flight."""
        request = problem.request
        sums = Sums(problem.inputs, request.n_rows)

        def walk(part: slice) -> None:
            rows = request.rows[part]
            ends, starts = problem.ends_of(rows, torch.zeros_like(rows))
            path = _Path(_joined(starts), _joined(ends), self.fraction, self.max_dist)
            for step in range(1, n_steps + 1):
                points = _parted(path.point, ends)
                gradients = _joined(problem.model.gradients(points, rows))
                path.move(self._finite(request, gradients, rows, step), step / n_steps)
                if problem.on_done is not None:
                    problem.on_done(len(rows))
            sums.add(rows, _parted(path.attribution, ends, path.attribution.dtype))

        for_each_chunk(request.n_rows, problem.limit, walk, batches=True)
        return sums.result()

    @staticmethod
    def _finite(request: Request, gradients: Tensor, rows: Tensor, step: int) -> Tensor:
        """The gradients; rows where they are not finite are met."""
        for bad in (~gradients.isfinite()).any(1).nonzero().squeeze(1).tolist():
            row = int(rows[bad])
            received = f"NaN or infinity at step {step} of the path of row {row}"
            request.left_out.meet(row, "forward_func", "of finite gradients", received)
        return gradients.nan_to_num(posinf=0, neginf=0) if request.left_out.rows else gradients


class _Path:
    """Where the rows are on their paths, (P, n) numbers each, and what they are credited with so far."""

    def __init__(self, start: Tensor, end: Tensor, fraction: float, max_dist: float) -> None:
        self.start, self.end, self.max_dist = start, end, max_dist
        self.point, self.attribution = start.clone(), torch.zeros_like(start)
        self.length = (end - start).abs().sum(1)
        self.smallest = math.floor(fraction * (start.shape[1] - 1)) + 1  # so many gradients are small

    def move(self, gradients: Tensor, alpha: float) -> None:
        """Bring every row to the distance (1 - alpha) of its length from its end."""
        before = self.point
        least, most = max(alpha - self.max_dist, 0.0), min(alpha + self.max_dist, 1.0)
        span = self.end - self.start
        behind, furthest = self.start + span * least, self.start + span * most
        share = torch.where(span == 0, most, (self.point - self.start) / torch.where(span == 0, 1.0, span))
        is_open = self.length > 0
        self.point = torch.where(is_open[:, None] & (share < least), behind, self.point)
        wanted = self.length * (1 - alpha)
        while bool(is_open.any()):
            is_open = self._advance(gradients.abs(), furthest, wanted, is_open)
        self.attribution += (self.point - before) * gradients

    def _advance(self, size: Tensor, furthest: Tensor, wanted: Tensor, is_open: Tensor) -> Tensor:
        """Move the features with the smallest gradients of each open row; which rows have still to go on (P,)."""
        distance = (self.point - self.end).abs().sum(1)
        is_open = is_open & ~torch.isclose(wanted, distance, rtol=_ROUNDING, atol=_ROUNDING)
        size = torch.where(self.point == furthest, torch.inf, size)
        threshold = size.kthvalue(self.smallest, dim=1, keepdim=True).values
        chosen = (size <= threshold) & size.isfinite() & is_open[:, None]
        room = torch.where(chosen, (self.point - furthest).abs(), 0.0).sum(1)
        share = (distance - wanted) / torch.where(room > 0, room, 1.0)
        far = (share > 1)[:, None]
        target = torch.where(far, furthest, self.point + (furthest - self.point) * share[:, None])
        self.point = torch.where(chosen & (room > 0)[:, None], target, self.point)
        return is_open & (room > 0) & (share > 1)


def _joined(tensors: Tensors) -> Tensor:
    """All numbers of each row (P, n), in float64 where the device has it."""
    return torch.cat(
        [double(flat(one)).to(tensors[0].device) if _wide(one) else flat(one).float() for one in tensors], 1
    )


def _wide(tensor: Tensor) -> bool:
    return double(tensor[:0]).device == tensor.device


def _parted(numbers: Tensor, like: Tensors, dtype: torch.dtype | None = None) -> Tensors:
    """Numbers of each row (P, n) in the shapes of the tensors, on their devices and, unless given, in their dtypes."""
    parts = torch.split(numbers, [math.prod(one.shape[1:]) for one in like], 1)
    return tuple(
        on_device(part, one.device).to(dtype or one.dtype).reshape(one.shape)
        for part, one in zip(parts, like, strict=True)
    )
