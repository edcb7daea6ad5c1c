"""The candidates by name: single changes of a greedy path, combinations of them, and what they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from captum_ext.attr import IntegratedGradients
from captum_ext.images import gaussian_blur
from captum_ext.segmentation import Segmenter
from examples.benchmarks.engine.networks import Network
from examples.benchmarks.papers.ours import pixel_credits
from examples.benchmarks.papers.ours.greedy_walk import Walk, Walked, walked
from examples.benchmarks.papers.ours.mapped import Explain, Mapped
from examples.benchmarks.papers.ours.own_rivals import RIVALS

_HALF = 6.0  # pixels; the blur's own standard deviation is 12
_GROWTH = 1.1  # of 25 moves; of fewer the power that keeps the first and the last share alike
Credit = Callable[[Walked], Tensor]


@dataclass(frozen=True)
class Greedy:
    """Maps along one or several greedy paths, which share the budget; their mean.

    Attributes:
        walk: how each path goes; its moves follow from the budget.
        credit: what its pixels get.
        starts: of insertion paths: "blur", "zero", "mean" (the image's colour), "half" (half of the blur's strength).
        deletes: whether a path from the image to zero is there, too.
        segments: number of superpixels for `walk.inside` below 1.
        moves: of each path, whose looks share its budget; None: as many as it has gradients.
        deletion_share: of the path to zero in the mean; None: as that of each other path.
    """

    walk: Walk = field(default_factory=Walk)
    credit: Credit = pixel_credits.scaled
    starts: tuple[str, ...] = ("blur",)
    deletes: bool = False
    segments: int = 0
    moves: int | None = None
    deletion_share: float | None = None

    def __call__(self, network: Network, image: Tensor, target: Sequence[int], budget: int, seed: int) -> Mapped:
        """The map of one image."""
        n_paths = len(self.starts) + self.deletes
        each = budget // n_paths
        moves = min(each, self.moves or each)
        walk = replace(self.walk, moves=moves, looks=each // moves)
        regions = self._regions(network, image)
        maps, differences = [], []
        for place, name in enumerate(self.starts):
            path = walked(
                network.model, started(name, image), image, target, walk, regions=regions, seeds=[seed + place]
            )
            maps.append(self.credit(path).sum(1, keepdim=True))
            differences.append(float(path.scores[0, -1] - path.scores[0, 0]))
        if self.deletes:
            zero = torch.zeros_like(image)
            path = walked(network.model, image, zero, target, walk, sign=-1, regions=regions, seeds=[seed + 99])
            maps.append(self.credit(path).sum(1, keepdim=True))
            differences.append(float(path.scores[0, 0] - path.scores[0, -1]))
        shares = self._shares(n_paths)
        exact = None if walk.noise else sum(share * one for share, one in zip(shares, differences, strict=True))
        return Mapped(sum(share * one for share, one in zip(shares, maps, strict=True)), exact)  # type: ignore[arg-type]

    def _shares(self, n_paths: int) -> list[float]:
        if not self.deletes or self.deletion_share is None:
            return [1 / n_paths] * n_paths
        return [(1 - self.deletion_share) / (n_paths - 1)] * (n_paths - 1) + [self.deletion_share]

    def _regions(self, network: Network, image: Tensor) -> Tensor | None:
        if not self.segments:
            return None
        preparation = network.preparation
        return Segmenter(n_segments=self.segments, mean=preparation.mean, std=preparation.std).of_inputs(image)


def started(name: str, image: Tensor) -> Tensor:
    """The image from which an insertion path starts."""
    if name == "blur":
        return gaussian_blur(image)
    if name == "half":
        return gaussian_blur(image, _HALF)
    if name == "mean":
        return image.mean((2, 3), keepdim=True).expand_as(image).contiguous()
    return torch.zeros_like(image)


def cam_times_ig(network: Network, image: Tensor, target: Sequence[int], budget: int, seed: int) -> Mapped:  # noqa: ARG001
    """A control: GradCAM, bilinear and without what is negative, times IG from the blurred image."""
    cam = grad_cam(network, image, target)
    ig = IntegratedGradients(network.model).attribute(image, gaussian_blur(image), list(target), n_steps=budget - 1)
    return Mapped(cam * ig.sum(1, keepdim=True))


def grad_cam(network: Network, image: Tensor, target: Sequence[int]) -> Tensor:
    """GradCAM (1, 1, H, W), bilinear."""
    kept: list[Tensor] = []
    handle = network.layer.register_forward_hook(lambda module, inputs, output: kept.append(output))  # noqa: ARG005
    try:
        leaf = image.clone().requires_grad_()
        score = network.model(leaf)[0, target[0]]
        (gradient,) = torch.autograd.grad(score, kept[0])
    finally:
        handle.remove()
    cam = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True).clamp(min=0).detach()
    return torch.nn.functional.interpolate(cam, image.shape[2:], mode="bilinear", align_corners=False)


def _staged(moves: int, span: float) -> Greedy:
    """So many moves, each ranked by the mean gradient of some of the way ahead."""
    return Greedy(Walk(span=span, momentum=0.0, growth=_GROWTH ** (25 / moves)), moves=moves)


def _staged_changes() -> Mapping[str, Explain]:
    """Changes of three moves with the whole way ahead in view."""
    base = _staged(3, 1.0)

    def walk(**changes: object) -> Greedy:
        return replace(base, walk=replace(base.walk, **changes))  # type: ignore[arg-type]

    running = {"credit": pixel_credits.scaled_running}
    return {
        "3 moves, running 0.5": replace(walk(momentum=0.5), **running),
        "5 moves, running 0.5": replace(_staged(5, 1.0), walk=replace(_staged(5, 1.0).walk, momentum=0.5), **running),
        "3 moves, equal": walk(growth=1.0),
        "3 moves, growth 4": walk(growth=4.0),
        "3 moves, arrival": replace(base, credit=pixel_credits.by_arrival),
        "3 moves, levels by gain": replace(base, credit=pixel_credits.by_gain),
        "3 moves, smoothing 1": walk(smoothing=1.0),
        "3 moves, smoothing 2": walk(smoothing=2.0),
        "3 moves, noise 0.1": walk(noise=0.1),
        "3 moves, regions 0.3": replace(walk(inside=0.3), segments=100),
        "3 moves, blur and zero": replace(base, starts=("blur", "zero")),
        "3 moves, blur and mean": replace(base, starts=("blur", "mean")),
        "3 moves, both directions": replace(base, deletes=True),
        "2 moves, both directions": replace(_staged(2, 1.0), deletes=True),
        "1 move": _staged(1, 1.0),
    }


def _singles() -> Mapping[str, Explain]:
    base = Greedy()

    def walk(**changes: object) -> Greedy:
        return replace(base, walk=replace(base.walk, **changes))  # type: ignore[arg-type]

    return {
        "base": base,
        "credit: gradient": replace(base, credit=pixel_credits.gradient),
        "credit: measured by gain": replace(base, credit=pixel_credits.shared_by_gain),
        "credit: measured by square": replace(base, credit=pixel_credits.shared_by_square),
        "credit: arrival": replace(base, credit=pixel_credits.by_arrival),
        "credit: levels by gain": replace(base, credit=pixel_credits.by_gain),
        "growth 0.9": walk(growth=0.9),
        "growth 1.1": walk(growth=1.1),
        "growth 1.2": walk(growth=1.2),
        "by pixels": walk(by_length=False),
        "momentum 0": walk(momentum=0.0),
        "momentum 0.8": walk(momentum=0.8),
        **{
            f"{moves} moves, span {span}": _staged(moves, span)
            for moves, span in ((12, 0.2), (8, 0.5), (5, 0.5), (5, 1.0), (3, 0.5), (3, 1.0), (2, 1.0))
        },
        "smoothing 1": walk(smoothing=1.0),
        "smoothing 2": walk(smoothing=2.0),
        "smoothing 4": walk(smoothing=4.0),
        "smoothing 8": walk(smoothing=8.0),
        "noise 0.05": walk(noise=0.05),
        "noise 0.15": walk(noise=0.15),
        "regions, inside 0.3": replace(base, walk=replace(base.walk, inside=0.3), segments=100),
        "regions, inside 0": replace(base, walk=replace(base.walk, inside=0.0), segments=100),
        "blur and zero": replace(base, starts=("blur", "zero")),
        "blur and mean": replace(base, starts=("blur", "mean")),
        "blur, half the blur": replace(base, starts=("blur", "half")),
        "both directions": replace(base, deletes=True),
        "GradCAM times IG": cam_times_ig,
    }


def _combined() -> Mapping[str, Explain]:
    """What helped, together: few moves, both directions, two starts, running means."""
    two, three = _staged(2, 1.0), _staged(3, 1.0)
    both, starts = {"deletes": True}, ("blur", "zero")
    slow = {"walk": replace(three.walk, momentum=0.5), "credit": pixel_credits.scaled_running}
    return {
        "2 moves, three paths": replace(two, starts=starts, **both),
        "3 moves, three paths": replace(three, starts=starts, **both),
        "3 moves, both directions, running 0.5": replace(three, **both, **slow),
        "3 moves, three paths, running 0.5": replace(three, starts=starts, **both, **slow),
        **{
            f"{moves} moves, both directions, soft {soft}": replace(
                _staged(moves, 1.0), **both, walk=replace(_staged(moves, 1.0).walk, soft=soft)
            )
            for moves, soft in ((2, 0.5), (3, 0.5), (3, 1.0), (3, 1.5), (4, 1.0))
        },
        "3 moves, both directions, soft 1.0, growth 1.5": replace(
            three, **both, walk=replace(three.walk, soft=1.0, growth=1.5)
        ),
        "3 moves, both directions, soft 1.0, running 0.3": replace(
            three, **both, walk=replace(three.walk, soft=1.0, momentum=0.3), credit=pixel_credits.scaled_running
        ),
        "3 moves, both directions, equal": replace(three, **both, walk=replace(three.walk, growth=1.0)),
        "2 moves, both directions, equal": replace(two, **both, walk=replace(two.walk, growth=1.0)),
        "2 moves, both directions, growth 9": replace(two, **both, walk=replace(two.walk, growth=9.0)),
        "2 moves, both directions, growth 1.5": replace(two, **both, walk=replace(two.walk, growth=1.5)),
        **_between(),
        **_weighed(),
    }


def _weighed() -> Mapping[str, Explain]:
    """Two moves in which the direction to zero counts less than that from the blurred image, and three so."""
    asked = ((2, 1.2, 0.0, 0.4), (2, 1.2, 0.0, 0.33), (2, 1.5, 0.0, 0.4), (2, 1.5, 0.0, 0.33), (2, 1.5, 0.0, 0.25))
    asked += ((2, 1.2, 0.25, 0.33), (2, 1.5, 0.25, 0.33), (3, 1.2, 2.0, 0.33))
    return {
        f"{moves} moves, deletion {share}, {f'soft {soft}, ' if soft else ''}growth {growth}": replace(
            _staged(moves, 1.0),
            deletes=True,
            deletion_share=share,
            walk=replace(_staged(moves, 1.0).walk, soft=soft, growth=growth),
        )
        for moves, growth, soft, share in asked
    }


def _between() -> Mapping[str, Explain]:
    """Two moves of other sizes, and three with softer borders: what may be as good as three and as stable as two."""
    asked = ((2, 0.0, 1.2), (2, 0.0, 2.0), (2, 0.25, 1.5), (3, 1.0, 1.2), (3, 1.5, 1.5), (3, 2.0, 1.2))
    return {
        f"{moves} moves, both directions, {f'soft {soft}, ' if soft else ''}growth {growth}": replace(
            _staged(moves, 1.0), deletes=True, walk=replace(_staged(moves, 1.0).walk, soft=soft, growth=growth)
        )
        for moves, soft, growth in asked
    }


#: Single changes, and combinations of those that helped.
CANDIDATES: Mapping[str, Explain] = {**_singles(), **_staged_changes(), **_combined(), **RIVALS}
