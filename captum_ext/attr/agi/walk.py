"""The paths of Adversarial Gradient Integration, step by step: those that have arrived are not asked about again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from captum_ext.core.checks import check_fill, describe
from captum_ext.core.chunks import for_each_chunk
from captum_ext.core.devices import double, on_device
from captum_ext.core.request import Request
from captum_ext.core.rows import count_batches
from captum_ext.core.tensors import Sums, accumulation_dtype
from captum_ext.core.types import Baselines, Tensors
from captum_ext.exceptions import ArgumentError, ModelOutputError

ScoreFunc: TypeAlias = Callable[[Tensor], Tensor]
_ROUNDING = 1e-4  # of the range of valid values, by which inputs may be beyond its ends


@dataclass(frozen=True)
class Paths:
    """Paths by their row (P,) and false class (P,), on the CPU."""

    row: Tensor
    false_class: Tensor


@dataclass(frozen=True)
class Room:
    """How far a step goes, and between which values: one row, or one for each input, of every tensor."""

    step: Tensors
    low: Tensors | None
    high: Tensors | None

    @classmethod
    def of(cls, step_size: Baselines, bounds: tuple[Baselines, Baselines] | None, inputs: Tensors) -> Room:
        """The settings of a method, which fit the inputs.

        Raises:
            ArgumentTypeError, ArgumentError, NonFiniteError: they do not, or inputs are out of bounds.
        """
        wide = tuple(one.to(accumulation_dtype(one.dtype)) for one in inputs)
        step = check_fill("step_size", step_size, wide)
        if any(bool((one <= 0).any()) for one in step):
            raise ArgumentError("step_size", "positive everywhere", "zero or less somewhere")
        if bounds is None:
            return cls(step, None, None)
        low, high = (check_fill(f"bounds[{k}]", value, wide) for k, value in enumerate(bounds))
        for value, least, most in zip(wide, low, high, strict=True):
            span = most - least
            if bool((span <= 0).any()):
                raise ArgumentError("bounds", "lowest values that are below the highest everywhere", "others")
            beyond = torch.maximum(least - value, value - most) > _ROUNDING * span
            if bool(beyond.any()):
                row = int(beyond.flatten(1).any(1).nonzero()[0])
                raise ArgumentError("inputs", "within `bounds`", f"row {row}, which is beyond")
        return cls(step, low, high)

    def beyond(self, k: int, points: Tensor, direction: Tensor, rows: Tensor) -> Tensor:
        """Points (P, ...) of the tensor k, of the rows (P,), one step further in a direction."""
        there = points + _row(self.step[k], rows) * direction
        if self.low is None or self.high is None:
            return there
        return there.clamp(_row(self.low[k], rows), _row(self.high[k], rows))


def _row(values: Tensor, rows: Tensor) -> Tensor:
    return values if len(values) == 1 else values[on_device(rows, values.device)]


class Problem:
    """The model's classes at the inputs, how they are scored, and how paths go.

    Attributes:
        n_classes: K.
        targets: the target's class (N,).
        predicted: the class (N,) that the model predicts.
        scores: of the targets (N,).
    """

    def __init__(self, request: Request, score: str | ScoreFunc, room: Room, n_steps: int, from_input: bool) -> None:
        self.request, self.room, self.n_steps, self.from_input = request, room, n_steps, from_input
        self._score = score
        if request.model.has_functions:
            expected = "the index of a class, or one for each row, as paths lead to the model's other classes"
            raise ArgumentError("target", expected, describe(request.model.target))
        outputs = request.outputs
        if outputs.dim() != 2 or outputs.shape[1] < 2:
            raise ModelOutputError(
                f"Expected forward_func to return outputs (N, K) of at least two classes, but got {describe(outputs)}."
            )
        self.n_classes = outputs.shape[1]
        numbers = torch.arange(self.n_classes, device="cpu").expand(len(outputs), -1)
        self.targets = request.model.select(numbers, request.rows)  # whatever form the caller gave
        self.predicted = outputs.argmax(1).cpu()
        self.scores = self.score(outputs, self.targets)

    def score(self, outputs: Tensor, classes: Tensor, log: bool = False) -> Tensor:
        """Score (P,) of the class (P,) in outputs (P, K); with `log` one that rises wherever it does."""
        wide = outputs.to(accumulation_dtype(outputs.dtype))
        if self._score == "softmax":
            wide = wide.log_softmax(1) if log else wide.softmax(1)
        elif callable(self._score):
            wide = self._score(wide)
            if not isinstance(wide, Tensor) or wide.shape != outputs.shape:
                raise ArgumentError("score", "a function that keeps the shape of outputs", describe(wide))
        return wide.gather(1, on_device(classes, wide.device)[:, None])[:, 0]


class _Walk:
    """Some paths on their way: where they are, what they are credited with, and which of them go on."""

    def __init__(self, problem: Problem, paths: Paths) -> None:
        self.problem, self.row, self.false_class = problem, paths.row, paths.false_class
        self.start = tuple(
            value[on_device(self.row, value.device)].to(accumulation_dtype(value.dtype))
            for value in problem.request.inputs
        )
        self.point = tuple(one.clone() for one in self.start)
        self.credit = tuple(torch.zeros_like(one) for one in self.start)
        self.end_score = double(problem.scores).cpu()[self.row]
        self.goes_on = problem.predicted[self.row] != self.false_class

    def step(self) -> None:
        """One step of every path that goes on, but of those that turn out to have arrived."""
        problem, request, chosen = self.problem, self.problem.request, self._asked()
        rows, classes = self.row[chosen], self.false_class[chosen]

        def read(outputs: Tensor) -> tuple[Tensor, ...]:
            uphill = problem.score(outputs, classes, log=True)
            return uphill, problem.score(outputs, problem.targets[rows])

        points = self._as_inputs(chosen)
        outputs, (uphill, explained) = request.model.outputs_and_gradients(points, rows, read)
        self.end_score[chosen] = double(problem.score(outputs, problem.targets[rows])).cpu()
        self.goes_on[chosen] &= outputs.argmax(1).cpu() != classes
        self._move(chosen, uphill, explained)

    def _move(self, chosen: Tensor, uphill: Tensors, explained: Tensors) -> None:
        """Bring those of the chosen paths that go on to the end of their step, by the gradients of both classes."""
        place = self.goes_on[chosen].nonzero().squeeze(1)
        from_input, moved = self.problem.from_input, torch.zeros(len(place), dtype=torch.bool, device="cpu")
        for k, (point, credit) in enumerate(zip(self.point, self.credit, strict=True)):
            here, there = (on_device(one, point.device) for one in (chosen[place], place))
            begin = (self.start[k] if from_input else point)[here]
            end = self.problem.room.beyond(k, begin, uphill[k][there].to(point.dtype).sign(), self.row[chosen[place]])
            moved |= (end != begin).flatten(1).any(1).cpu()
            credit[here] -= explained[k][there].to(credit.dtype) * (end - begin)
            point[here] = end
        if not from_input:
            self.goes_on[chosen[place]] = moved

    def finish(self) -> None:
        """Find the scores at the ends of those paths that did not arrive."""
        problem, request, chosen = self.problem, self.problem.request, self._asked()
        if not bool(self.goes_on.any()):
            return
        outputs = request.model.outputs(self._as_inputs(chosen), self.row[chosen])
        self.end_score[chosen] = double(problem.score(outputs, problem.targets[self.row[chosen]])).cpu()

    def _asked(self) -> Tensor:
        """The paths that the model is asked about: those that go on, or all where batches have to be whole."""
        everyone = torch.arange(len(self.row), device="cpu")
        return everyone if self.problem.request.fills_batches else everyone[self.goes_on]

    def _as_inputs(self, chosen: Tensor) -> Tensors:
        return tuple(
            point[on_device(chosen, point.device)].to(value.dtype)
            for point, value in zip(self.point, self.problem.request.inputs, strict=True)
        )


def integrated(
    problem: Problem, paths: Paths, ends_matter: bool, on_done: Callable[[int], object]
) -> tuple[Tensors, Tensor]:
    """Attributions of all rows, and how far the score falls along all paths of each row (N,)."""
    request = problem.request
    sums, fall = Sums(request.inputs, request.n_rows), torch.zeros(request.n_rows, dtype=torch.float64, device="cpu")
    begin = double(problem.scores).cpu()

    def walk(part: slice) -> None:
        chosen = Paths(paths.row[part], paths.false_class[part])
        walk = _Walk(problem, chosen)
        for _ in range(problem.n_steps):
            if not bool(walk.goes_on.any()):
                break
            walk.step()
        if ends_matter:
            walk.finish()
        sums.add(chosen.row, walk.credit)
        fall.index_add_(0, chosen.row, begin[chosen.row] - walk.end_score)
        on_done(len(chosen.row))

    are_batches = count_batches(paths.row, request.n_rows) is not None
    for_each_chunk(len(paths.row), request.limit, walk, batches=are_batches)
    return sums.result(), fall
