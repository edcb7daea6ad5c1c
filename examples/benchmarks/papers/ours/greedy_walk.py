"""A greedy path from one image to another, written out plainly, with every part of it that candidates change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from captum_ext.images import gaussian_blur

Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Walk:
    """How pixels are moved.

    Attributes:
        moves: gradients of a path; each moves one group of pixels.
        growth: of each group's share over that of the one before: 1 for equal groups, 2 for small ones first.
        by_length: whether a group's share is one of the path's L1 length, not of its pixels.
        momentum: share of the previous gradients in what ranks.
        smoothing: standard deviation, in pixels, of the Gaussian that smooths what ranks; 0: as it is.
        noise: standard deviation of the noise on the points at which gradients are taken, of the input's range.
        soft: around the border of a group, by how much of its share on both sides pixels move by a part only, the less
            the later they would go; what is left of them goes later. 0: every pixel goes at once.
        looks: gradients of each move, whose mean ranks and is credited: at midpoints of equal parts of the first `span`
            of the straight way from the point to the end. 1 with a span of 0: at the point itself.
        span: see `looks`; 1 is Integrated Gradients of all that is left.
        inside: share of a pixel's own projection in what ranks, the rest being the mean of its region.
    """

    moves: int = 25
    growth: float = 1.0
    by_length: bool = True
    momentum: float = 0.5
    smoothing: float = 0.0
    noise: float = 0.0
    soft: float = 0.0
    looks: int = 1
    span: float = 0.0
    inside: float = 1.0

    def shares(self) -> Tensor:
        """What part of the way is behind (moves,) after each move; the last is 1."""
        sizes = torch.tensor(self.growth, dtype=torch.float64) ** torch.arange(self.moves)
        return sizes.cumsum(0) / sizes.sum()


@dataclass(frozen=True)
class Walked:
    """What a path was.

    Attributes:
        group: (N, H, W) in which move a pixel went; -1 where start and end are the same.
        gain: (N, C, H, W) gradient times move.
        running: (N, C, H, W) what ranks times move: with momentum the mean of this move's gradient and earlier ones.
        ranked_by: (N, H, W) what the pixel was ranked by when it went.
        scores: (N, moves + 1) at every point of the path, the end included.
        sign: 1 on the way to the input, -1 on the way from it.
    """

    group: Tensor
    gain: Tensor
    running: Tensor
    ranked_by: Tensor
    scores: Tensor
    sign: int


def walked(
    model: Model,
    start: Tensor,
    end: Tensor,
    target: Sequence[int],
    walk: Walk,
    *,
    sign: int = 1,
    regions: Tensor | None = None,
    seeds: Sequence[int] = (),
) -> Walked:
    """The path from `start` to `end`, (N, C, H, W) each; with `sign=-1` the score is to fall."""
    point, length = start.double(), (end.double() - start.double()).abs().sum(1)
    todo, total = length > 0, length.flatten(1).sum(1)
    group = torch.full(length.shape, -1, dtype=torch.long)
    ranked_by = torch.zeros_like(length)
    gain, running, velocity = (torch.zeros_like(point) for _ in range(3))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    scores = []
    for move, share in enumerate(walk.shares().tolist()):
        score, gradient = _seen(model, point, end, target, walk, generators)
        scores.append(score)
        velocity = gradient if move == 0 else velocity.lerp(gradient, 1 - walk.momentum)
        gap = end.double() - point
        value = sign * (_smoothed(velocity, walk.smoothing) * gap).sum(1)
        value = _in_regions(value, regions, todo, walk.inside)
        weight = length if walk.by_length else (length > 0).double()
        behind = share * (total if walk.by_length else weight.flatten(1).sum(1))
        if walk.soft and share < 1:
            part = _softly(value, todo, weight, behind, walk.soft)
        else:
            part = _first(value, todo, weight, behind).double()
        leaves = (part > 0) & (group < 0)
        group[leaves], ranked_by = move, torch.where(leaves, value, ranked_by)
        moved = part[:, None] * gap
        gain, running = gain + gradient * moved, running + velocity * moved
        point = torch.where((part == 1)[:, None], end.double(), point + moved)
        todo &= part < 1
    with torch.no_grad():
        scores.append(_scores(model, end, target))
    return Walked(group, sign * gain, sign * running, ranked_by, torch.stack(scores, 1), sign)


def _seen(
    model: Model,
    point: Tensor,
    end: Tensor,
    target: Sequence[int],
    walk: Walk,
    generators: Sequence[torch.Generator],
) -> tuple[Tensor, Tensor]:
    """The score at a point, and the mean gradient of what lies before it."""
    ahead = [walk.span * (look + 0.5) / walk.looks for look in range(walk.looks)]
    found = [
        _gradient(model, point.lerp(end.double(), share), end.dtype, target, walk.noise, generators) for share in ahead
    ]
    if ahead == [0.0]:
        return found[0]
    with torch.no_grad():
        score = _scores(model, point.to(end.dtype), target)
    return score, torch.stack([gradient for _, gradient in found]).mean(0)


def _gradient(
    model: Model,
    point: Tensor,
    dtype: torch.dtype,
    target: Sequence[int],
    noise: float,
    generators: Sequence[torch.Generator],
) -> tuple[Tensor, Tensor]:
    at = point.to(dtype)
    if noise:
        scale = noise * (at.flatten(1).amax(1) - at.flatten(1).amin(1))[:, None, None, None]
        at = at + scale * torch.stack([torch.randn(at.shape[1:], generator=one) for one in generators]).to(dtype)
    at = at.detach().clone().requires_grad_()
    scores = _scores(model, at, target)
    (gradient,) = torch.autograd.grad(scores.sum(), at)
    return scores.detach(), gradient.double()


def _scores(model: Model, images: Tensor, target: Sequence[int]) -> Tensor:
    return model(images).gather(1, torch.tensor(list(target))[:, None]).squeeze(1).double()


def _smoothed(velocity: Tensor, sigma: float) -> Tensor:
    return gaussian_blur(velocity, sigma) if sigma else velocity


def _in_regions(value: Tensor, regions: Tensor | None, todo: Tensor, inside: float) -> Tensor:
    """Values mixed with the mean over what is left of their region (N, H, W)."""
    if regions is None or inside == 1:
        return value
    mixed = []
    for one, labels, left in zip(value, regions, todo, strict=True):
        n = int(labels.max()) + 1
        sums = torch.zeros(n, dtype=one.dtype).index_add_(0, labels[left], one[left])
        counts = torch.bincount(labels[left], minlength=n).clamp(min=1)
        mixed.append(inside * one + (1 - inside) * (sums / counts)[labels])
    return torch.stack(mixed)


def _first(value: Tensor, todo: Tensor, weight: Tensor, behind: Tensor) -> Tensor:
    """The pixels (N, H, W) of largest value that bring the weight of all that went to `behind` (N,); at least one."""
    ranked = value.masked_fill(~todo, -torch.inf).flatten(1)
    order = ranked.argsort(dim=1, descending=True, stable=True)
    gone = weight.masked_fill(todo, 0).flatten(1).sum(1, keepdim=True)
    reached = gone + weight.masked_fill(~todo, 0).flatten(1).gather(1, order).cumsum(1)
    taken = reached <= behind[:, None] * (1 + 1e-9)
    taken[:, 0] = True
    chosen = torch.zeros_like(taken).scatter(1, order, taken)
    return chosen.view_as(todo) & todo


def _softly(value: Tensor, todo: Tensor, weight: Tensor, behind: Tensor, soft: float) -> Tensor:
    """The part (N, H, W) by which each pixel moves: 1 well inside of what goes, 0 well behind it, linear between."""
    ranked = value.masked_fill(~todo, -torch.inf).flatten(1)
    order = ranked.argsort(dim=1, descending=True, stable=True)
    gone = weight.masked_fill(todo, 0).flatten(1).sum(1, keepdim=True)
    left = weight.masked_fill(~todo, 0).flatten(1).gather(1, order)
    place = left.cumsum(1) - left / 2
    wanted = (behind[:, None] - gone).clamp(min=0)
    part = ((1 + soft) * wanted - place) / (2 * soft * wanted).clamp(min=1e-300)
    return torch.zeros_like(part).scatter(1, order, part.clamp(0, 1)).view_as(value) * todo
