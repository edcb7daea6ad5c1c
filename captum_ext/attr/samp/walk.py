"""Greedy paths that move the most salient pixels first: the walk of SAMP, its bound and its momentum.

A walker goes from the start of one path to its end; every input has one walker for each direction. As many walkers as
the row limit allows are under way; one that arrives makes room for the next, so that memory depends neither on the
number of inputs nor on the number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from captum_ext.attr.paths.integration import PathProblem
from captum_ext.core.chunks import for_each_chunk
from captum_ext.core.devices import double, on_device
from captum_ext.core.model import compute_gradients
from captum_ext.core.pixels import Pixels
from captum_ext.core.tensors import Sums, accumulation_dtype, as_column, flat, row_sums
from captum_ext.core.types import Tensors

# A move that is longer than the bound by rounding alone is not shortened: it would leave a speck for one step more.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Settings:
    """How walkers walk.

    Attributes:
        directions: "insertion" (to the input) or "deletion" (from it), one for each path of a row.
        n_steps: groups into which the pixels are divided, as far as it can be; clipped steps come on top.
        momentum: share of the previous velocity in the new one, in [0, 1).
        step_bound: R: no step is longer than 1 / R of the path in the L1 norm; None for no bound.
        trapezoid: whether a move is multiplied by the mean of the gradients at its ends, not by that at its start.
        credits_velocity: whether it is the velocity by which a move is multiplied, in place of the gradient.
        pixels_in_step: size of the groups, in place of `n_steps`.
    """

    directions: Sequence[str]
    n_steps: int
    momentum: float
    step_bound: float | None
    trapezoid: bool
    credits_velocity: bool = False
    pixels_in_step: int | None = None

    def sizes(self, n_pixels: Tensor) -> Tensor:
        """Pixels in a step (P,), for paths of so many pixels (P,): as near to `n_steps` groups as can be.

        Of two sizes that are as near, the larger one: fewer groups.
        """
        if self.pixels_in_step is not None:
            return torch.full_like(n_pixels, self.pixels_in_step)
        larger, smaller = -(-n_pixels // self.n_steps), (n_pixels // self.n_steps).clamp(min=1)
        more, fewer = (-(-n_pixels // size) for size in (smaller, larger))
        return torch.where(more - self.n_steps < self.n_steps - fewer, smaller, larger)

    def most_gradients(self, n_pixels: Tensor) -> Tensor:
        """Walkers of so many pixels (P,) take no more gradients than this."""
        groups = -(-n_pixels // self.sizes(n_pixels))
        return groups + math.floor(self.step_bound or 0) + self.trapezoid


@dataclass
class Walkers:
    """State of the A walkers under way; every field has one entry for each of them.

    Attributes:
        row, path: which path of which input.
        sign: 1 for insertion, -1 for deletion.
        size: pixels in a step.
        bound: longest step, in the L1 norm.
        n_taken, n_clipped: gradients taken so far, and steps that were shortened.
        todo: (A, n) pixels that have not arrived.
        point, end: where the walker is and where it goes, in the dtype in which sums are kept.
        velocity: running mean of gradients, by which pixels are ranked.
        move: the last move; only for the trapezoid rule.
        sums: attributions so far.
    """

    row: Tensor
    path: Tensor
    sign: Tensor
    size: Tensor
    bound: Tensor
    n_taken: Tensor
    n_clipped: Tensor
    todo: Tensor
    point: Tensors
    end: Tensors
    velocity: Tensors
    move: Tensors
    sums: Tensors

    def __len__(self) -> int:
        return len(self.row)

    def only(self, keep: Tensor) -> Walkers:
        """The walkers marked in `keep` (A,)."""
        return Walkers(
            *(_each(lambda value: value[keep.to(value.device)], getattr(self, f.name)) for f in fields(self))
        )

    def joined(self, other: Walkers) -> Walkers:
        """These walkers and then the others."""
        joined: list[Any] = []
        for f in fields(self):
            one, two = getattr(self, f.name), getattr(other, f.name)
            is_tuple = isinstance(one, tuple)
            joined.append(tuple(map(_cat, one, two)) if is_tuple else _cat(one, two))
        return Walkers(*joined)

    def within(self, part: slice) -> Walkers:
        """Views of the walkers in `part`: changed in place, they change these."""
        return Walkers(*(_each(lambda value: value[part], getattr(self, f.name)) for f in fields(self)))


def _cat(one: Tensor, other: Tensor) -> Tensor:
    return torch.cat([one, other])


def _each(function: Any, value: Tensor | Tensors) -> Any:
    return tuple(function(one) for one in value) if isinstance(value, tuple) else function(value)


@dataclass
class Trace:
    """Scores along one walker's path: (share of the L1 distance that was moved, score) at every gradient."""

    moved: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)


class Manipulation:
    """One computation: sends a walker along every path of the problem and sums what it credits.

    With `traced`, `traces` maps (row, path) to the scores along the way, the end excepted. After `run`, `at_starts`
    has the score (N, K) at the start of each path, as far as it is known: NaN where the path has no length, or where a
    variant's gradients come without scores.
    """

    def __init__(self, problem: PathProblem, pixels: Pixels, settings: Settings, traced: bool = False) -> None:
        self.problem, self.pixels, self.settings, self.traced = problem, pixels, settings, traced
        self.at_starts = torch.full(problem.starts.weight.shape, torch.nan, dtype=torch.float64, device="cpu")
        self._first_scores: list[tuple[Tensor, Tensor, Tensor]] = []
        self.traces: dict[tuple[int, int], Trace] = {}
        self.lengths: dict[tuple[int, int], float] = {}

    def run(self) -> Tensors:
        """Attributions of every input: those of its paths, by their weights."""
        total = Sums(self.problem.inputs, self.problem.request.n_rows)
        row, path = self.problem.starts.paths()
        waiting, under_way = 0, self._set_out(row[:0], path[:0])
        while waiting < len(row) or len(under_way):
            free = self.problem.limit.rows - len(under_way)
            if free > 0 and waiting < len(row):
                part = slice(waiting, waiting + free)
                waiting = min(part.stop, len(row))
                under_way = under_way.joined(self._set_out(row[part], path[part]))
            for_each_chunk(
                len(under_way),
                self.problem.limit,
                lambda part: self._advance(under_way.within(part)),  # noqa: B023
                self.problem.on_done,
            )
            under_way = self._arrive(under_way, total)
        for rows, paths, scores in self._first_scores:  # read here, where nothing has to wait for the device
            self.at_starts[rows, paths] = double(scores).cpu()
        return total.result()

    def _set_out(self, row: Tensor, path: Tensor) -> Walkers:
        """Walkers at the start of their paths; those without anything to move are left out."""
        inputs, baselines = self.problem.ends_of(row, path)
        is_insertion = [direction == "insertion" for direction in self.settings.directions]
        inserting = torch.tensor(is_insertion, device="cpu")[path]
        wide = [accumulation_dtype(value.dtype) for value in inputs]
        begins, ends = [], []
        for value, baseline, dtype in zip(inputs, baselines, wide, strict=True):
            where = as_column(inserting.to(value.device), value).bool()
            begins.append(torch.where(where, baseline, value).to(dtype))
            ends.append(torch.where(where, value, baseline).to(dtype))
        distance = tuple((end - begin).abs() for begin, end in zip(begins, ends, strict=True))
        length = row_sums(distance)
        for key, value in zip(_keys(row, path), length.tolist(), strict=True):
            self.lengths[key] = value
        walkers = Walkers(
            row=row,
            path=path,
            sign=torch.where(inserting, 1.0, -1.0).double(),
            size=self.settings.sizes(self.pixels.counts(row)),
            bound=length / self.settings.step_bound if self.settings.step_bound else torch.full_like(length, torch.inf),
            n_taken=torch.zeros(len(row), dtype=torch.long, device="cpu"),
            n_clipped=torch.zeros(len(row), dtype=torch.long, device="cpu"),
            todo=self.pixels.totals(distance, row) > 0,
            point=tuple(begins),
            end=tuple(ends),
            velocity=tuple(torch.zeros_like(end) for end in ends),
            move=tuple(torch.zeros_like(end) for end in ends if self.settings.trapezoid),
            sums=tuple(torch.zeros_like(end) for end in ends),
        )
        return walkers.only(walkers.todo.any(1).cpu())

    def _advance(self, walkers: Walkers) -> None:
        """One gradient and one step of the walkers, which are changed in place when nothing can fail any more."""
        scores, gradients = self._gradients(walkers)
        velocities = self._velocities(walkers, gradients)
        gaps = tuple(end - point for end, point in zip(walkers.end, walkers.point, strict=True))
        chosen = self._chosen(walkers, velocities, gaps)
        masks = self.pixels.spread(chosen, gaps, walkers.row)
        moves = tuple(gap.mul_(mask) for gap, mask in zip(gaps, masks, strict=True))
        clipped = self._clip(walkers, moves)
        points = []
        for point, end, move, mask in zip(walkers.point, walkers.end, moves, masks, strict=True):
            lands = mask & as_column((~clipped).to(point.device), point).bool()
            points.append(torch.where(lands, end, point + move))  # exactly: start + (end - start) need not be the end
            torch.sub(points[-1], point, out=move)  # what is credited is what the dtype let the point move
        shares = self._shares(walkers, moves)
        credited = self._credited(walkers, velocities if self.settings.credits_velocity else gradients, shares)
        arrived = chosen & (~clipped).to(chosen.device)[:, None]
        if scores is not None and len(scores) == len(walkers):
            self._remember(walkers, scores)
        for old, new in zip((walkers.velocity, walkers.point, walkers.move), (velocities, points, shares), strict=True):
            for kept, value in zip(old, new, strict=False):  # no moves are kept for the left rule
                kept.copy_(value)
        for sums, part in zip(walkers.sums, credited, strict=True):
            sums += part
        walkers.todo &= ~arrived
        walkers.n_clipped += clipped
        walkers.n_taken += 1

    def _gradients(self, walkers: Walkers) -> tuple[Tensor | None, Tensors]:
        """Gradients at the walkers' points, in the dtype in which sums are kept, and scores if they are known."""
        model, inputs = self.problem.model, self.problem.inputs
        points = tuple(point.to(value.dtype) for point, value in zip(walkers.point, inputs, strict=True))
        scores = None
        if model.gradient_func is compute_gradients:
            scores, gradients = model.scores_and_gradients(points, walkers.row, strict=self.traced)
        else:
            gradients = model.gradients(points, walkers.row)
        return scores, tuple(
            gradient.to(point.dtype).contiguous() for gradient, point in zip(gradients, walkers.point, strict=True)
        )

    def _velocities(self, walkers: Walkers, gradients: Tensors) -> Tensors:
        """Running means of the gradients."""
        if not self.settings.momentum:
            return gradients
        share = 1 - self.settings.momentum
        return tuple(old.lerp(new, share) for old, new in zip(walkers.velocity, gradients, strict=True))

    def _remember(self, walkers: Walkers, scores: Tensor) -> None:
        setting_out = walkers.n_taken == 0
        if bool(setting_out.any()):
            which = on_device(setting_out, scores.device)
            self._first_scores.append((walkers.row[setting_out], walkers.path[setting_out], scores[which]))
        if self.traced:
            self._record(walkers, scores)

    def _record(self, walkers: Walkers, scores: Tensor) -> None:
        remaining = row_sums(tuple((end - point).abs() for end, point in zip(walkers.end, walkers.point, strict=True)))
        for key, left, score in zip(_keys(walkers.row, walkers.path), remaining, scores.tolist(), strict=True):
            trace = self.traces.setdefault(key, Trace())
            trace.moved.append(1 - float(left) / self.lengths[key])
            trace.scores.append(score)

    def _chosen(self, walkers: Walkers, velocities: Tensors, gaps: Tensors) -> Tensor:
        """The pixels (A, n) that the next step moves: the `size` largest projections of the velocity."""
        projected = tuple(velocity * gap for velocity, gap in zip(velocities, gaps, strict=True))
        gain = self.pixels.totals(projected, walkers.row)
        gain *= walkers.sign.to(gain.device, gain.dtype)[:, None]
        return largest(self._finite(gain, walkers), walkers.todo, walkers.size)

    def _finite(self, gain: Tensor, walkers: Walkers) -> Tensor:
        """The projections; where one is NaN or infinite, as it is wherever a gradient is, its row is met."""
        if math.isfinite(float(gain.sum())):  # one pass; a sum that overflows is looked at more closely
            return gain
        for which in (~torch.isfinite(gain)).any(1).nonzero().squeeze(1).tolist():
            row, direction = int(walkers.row[which]), self.settings.directions[int(walkers.path[which])]
            where = f"step {int(walkers.n_taken[which])} of the {direction} path of row {row}"
            received = f"NaN or infinity at {where}"
            self.problem.request.left_out.meet(row, "forward_func", "of finite gradients", received)
        return gain.nan_to_num(posinf=0, neginf=0) if self.problem.request.left_out.rows else gain

    def _clip(self, walkers: Walkers, moves: Tensors) -> Tensor:
        """Shorten moves that are longer than the bound, whole groups alike; which walkers (A,) that concerns.

        R shortened steps cover the whole path, so no walker is shortened more often: where its moves are below what the
        dtype can resolve, it would never arrive.
        """
        if self.settings.step_bound is None:
            return torch.zeros(len(walkers), dtype=torch.bool, device="cpu")
        norms = row_sums(tuple(move.abs() for move in moves))
        clipped = (norms > walkers.bound * (1 + _ROUNDING)) & (walkers.n_clipped < math.floor(self.settings.step_bound))
        if bool(clipped.any()):
            scale = torch.where(clipped, walkers.bound / norms, 1.0)
            for move in moves:
                move *= as_column(scale, move)
        return clipped

    def _credited(self, walkers: Walkers, gradients: Tensors, shares: Tensors) -> list[Tensor]:
        """Gradient times move; for the trapezoid rule half of this move and half of the last."""
        if not self.settings.trapezoid:
            return [gradient * share for gradient, share in zip(gradients, shares, strict=True)]
        return [
            gradient * (share + last) / 2 for gradient, share, last in zip(gradients, shares, walkers.move, strict=True)
        ]

    def _shares(self, walkers: Walkers, moves: Tensors) -> Tensors:
        """What gradients are multiplied by: the move towards the input, or the share of the way without inputs."""
        if self.problem.multiply_by_inputs:
            if bool((walkers.sign > 0).all()):
                return moves
            return tuple(move * as_column(walkers.sign, move) for move in moves)
        shares = []
        inputs, baselines = self.problem.ends_of(walkers.row, walkers.path)
        for move, value, baseline in zip(moves, inputs, baselines, strict=True):
            whole = (value.to(move.dtype) - baseline.to(move.dtype)).abs()
            shares.append(torch.where(whole > 0, move.abs() / torch.where(whole > 0, whole, 1.0), 0.0))
        return tuple(shares)

    def _arrive(self, walkers: Walkers, total: Sums) -> Walkers:
        """Add what arrived walkers credited to `total`; the others go on."""
        done = ~walkers.todo.any(1).cpu()
        if self.settings.trapezoid and bool(
            done.any()
        ):  # one more gradient, at the end, for the last move's other half
            last = torch.stack([flat(move).any(1).cpu() for move in walkers.move]).any(0)
            done &= ~last
        if not bool(done.any()):
            return walkers
        arrived = walkers.only(done)
        weight = self.problem.starts.weight[arrived.row, arrived.path]
        total.add(arrived.row, tuple(values * as_column(weight, values) for values in arrived.sums))
        return walkers.only(~done)


def largest(values: Tensor, allowed: Tensor, count: Tensor) -> Tensor:
    """Mark the `count` (A,) largest of the allowed values (A, n) in each row, all allowed ones where there are fewer.

    Of equal values the first are taken, whatever the device: `topk` only finds the value of the last one.
    """
    masked = values.masked_fill(~allowed, -torch.inf)
    count = count.to(values.device)
    most = min(int(count.max()), values.shape[1])
    top = masked.topk(most, dim=1).values
    threshold = top.gather(1, (count.clamp(max=most) - 1)[:, None])
    reached = (masked >= threshold) & allowed
    if bool((reached.sum(1) <= count).all()):
        return reached
    above = masked > threshold
    equal = reached & ~above
    missing = count[:, None] - above.sum(1, keepdim=True)
    return above | (equal & (equal.cumsum(1) <= missing))


def _keys(row: Tensor, path: Tensor) -> list[tuple[int, int]]:
    return list(zip(row.tolist(), path.tolist(), strict=True))
