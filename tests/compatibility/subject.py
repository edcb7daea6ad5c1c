"""A network of the table with an image, a score and what is computed of them by hand, without `captum_ext.models`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.models import AdaptedModel, adapt
from captum_ext.models.targets import DetectionTarget, RegionTarget, SimilarityTarget
from tests.compatibility.networks import Network

_MOST_SCORES = 12  # that are tried for one with a CAM
SAME = 1e-4  # of the largest number
STEP = 0.005  # of the way to another image: farther, networks with random weights need thousands of gradients


class NotTriedError(Exception):
    """A check that is not for this network."""


class UnequalError(Exception):
    """What was found is not what it has to be."""


@dataclass(frozen=True)
class Score:
    """A score in both forms: the target of this package, and a function of the network's outputs, written by hand."""

    target: Any
    by_hand: Callable[[Any], Tensor]


@dataclass(frozen=True)
class Subject:
    """What checks need.

    Attributes:
        network: the row.
        net: the model.
        adapted: adapted.
        image: (1, C, ...).
        near: two more, half a hundredth of the way from the image to others; to the first the score changes more.
        score: of the image, at which the CAM is not zero.
        coarse: GradCAM on the layer's grid, by hand.
    """

    network: Network
    net: nn.Module
    adapted: AdaptedModel
    image: Tensor
    near: Tensor
    score: Score
    coarse: Tensor

    def scores(self, images: Tensor) -> Tensor:
        """Scores (N,) of images, one pass for each, as the network itself gives them."""
        with torch.no_grad():
            return torch.stack([self.score.by_hand(self.network.outputs(self.net, one[None])) for one in images])


def make_subject(network: Network, net: nn.Module, adapted: AdaptedModel) -> Subject:
    """An image, and the score of it that changes most from zeros on, of those whose GradCAM is not zero.

    Raises:
        UnequalError: no gradient reaches the layer from any of them.
    """
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (3, adapted.channels, *adapted.size), generator=generator) / 255  # as pictures are
    with torch.no_grad():
        outputs, empty = (network.outputs(net, one) for one in (images[:1], torch.zeros_like(images[:1])))
    scores = list(itertools.islice(scores_of(network.kind, outputs, adapted.size), _MOST_SCORES))
    scores.sort(key=lambda score: -abs(float(score.by_hand(outputs)) - float(score.by_hand(empty))))
    near = images[:1] + STEP * (images[1:] - images[:1])
    for score in scores:
        coarse = grad_cam_by_hand(network, net, adapted.layer, images[:1], score)
        if float(coarse.max()) > 0:
            subject = Subject(network, net, adapted, images[:1], near, score, coarse)
            changes = (subject.scores(images[:1]) - subject.scores(near)).abs()
            return replace(subject, near=near[changes.argsort(descending=True)])
    raise UnequalError("no score has a CAM: at the positions of the layer all weighted sums are zero or below")


def adapted_of(network: Network, net: nn.Module) -> AdaptedModel:
    """The network adapted, for images of the size of the checks."""
    return adapt(net, **(network.needs | ({} if network.size is None else {"size": network.size})))


def scores_of(kind: str, outputs: Any, size: tuple[int, ...]) -> Iterator[Score]:
    """Scores to choose from."""
    if kind == "scores":
        for index in range(outputs.shape[1]):
            yield Score(index, lambda found, index=index: found[0, index])
    elif kind == "maps":
        outputs = getattr(outputs, "logits", outputs)
        mask = torch.zeros(outputs.shape[2:], dtype=torch.bool)
        mask[: mask.shape[0] // 2, mask.shape[1] // 4 :] = True
        for index in range(outputs.shape[1]):
            target = RegionTarget(mask, index, reduce="mean")
            yield Score(target, lambda found, index=index: found[0, index][mask].sum() / mask.sum())
    elif kind == "embedding":
        for seed in range(_MOST_SCORES):
            text = torch.randn(outputs.shape[1], generator=torch.Generator().manual_seed(seed))
            yield Score(SimilarityTarget(text), lambda found, text=text: _cosine(found[0], text))
    else:
        found = outputs[0] if isinstance(outputs, list) else _of_queries(outputs, size)
        for (x0, y0, x1, y1), label in zip(found["boxes"].tolist(), found["labels"].tolist(), strict=True):
            right, down = 0.06 * (x1 - x0), 0.04 * (y1 - y0)
            if min(right, down) <= 0.1:
                continue
            box = (x0 + right, y0 + down, x1 - down, y1 - right)  # where boxes are equal, overlap has no gradient
            target = DetectionTarget(box, label, min_iou=0.5, size=None if isinstance(outputs, list) else size)
            yield Score(target, lambda found, box=box, label=label: _best(found, box, label, size))


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum() / (one.square().sum().sqrt() * other.square().sum().sqrt())


def _of_queries(outputs: Any, size: tuple[int, ...]) -> dict[str, Tensor]:
    """Detections of queries of transformers, in pixels, each with its likeliest class."""
    scores, labels = outputs.logits[0].softmax(-1)[:, :-1].max(1)
    x, y, width, height = outputs.pred_boxes[0].unbind(-1)
    corners = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
    return {"boxes": corners * torch.tensor([size[1], size[0]] * 2), "scores": scores, "labels": labels}


def _best(outputs: Any, box: tuple[float, ...], label: int, size: tuple[int, ...]) -> Tensor:
    """The largest product of score and overlap among detections of a label, one after the other."""
    if isinstance(outputs, list):
        boxes, scores = (outputs[0][name][outputs[0]["labels"] == label] for name in ("boxes", "scores"))
    else:
        boxes, scores = _of_queries(outputs, size)["boxes"], outputs.logits[0].softmax(-1)[:, label]
    best = torch.zeros(())
    for (x0, y0, x1, y1), score in zip(boxes, scores, strict=True):
        width = torch.clamp(torch.clamp(x1, max=box[2]) - torch.clamp(x0, min=box[0]), min=0)
        height = torch.clamp(torch.clamp(y1, max=box[3]) - torch.clamp(y0, min=box[1]), min=0)
        shared = width * height
        joined = (x1 - x0) * (y1 - y0) + (box[2] - box[0]) * (box[3] - box[1]) - shared
        if float(shared / joined) >= 0.5 and float(score * shared / joined) > float(best):
            best = score * shared / joined
    return best


def grad_cam_by_hand(network: Network, net: nn.Module, layer: nn.Module, image: Tensor, score: Score) -> Tensor:
    """Selvaraju et al. 2017, equations 1 and 2: max(0, sum_k mean(dy / dA_k) A_k), on the grid that the row says."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        kept.append(output)
        return output.clone()  # what follows may work in place

    handle = layer.register_forward_hook(keep)
    try:
        value = score.by_hand(network.outputs(net, image.clone().requires_grad_()))
    finally:
        handle.remove()
    if not value.requires_grad:
        return torch.zeros(network.grid)
    (gradient,) = torch.autograd.grad(value, kept[0], allow_unused=True)
    if gradient is None:
        return torch.zeros(network.grid)
    features, slopes = positions(kept[0].detach(), network), positions(gradient, network)
    summed = sum(slopes[k].mean() * features[k] for k in range(len(features)))
    return torch.as_tensor(summed).clamp(min=0)


def positions(features: Tensor, network: Network) -> Tensor:
    """Features of the first row as (C, *grid), by the row's own words.

    Raises:
        UnequalError: they are not on its grid.
    """
    one, grid = features[0], network.grid
    if features.dim() == 3 and len(one) >= network.prefix + math.prod(grid):
        return one[network.prefix : network.prefix + math.prod(grid)].T.reshape(-1, *grid)
    if tuple(one.shape[1:]) == grid:
        return one
    if tuple(one.shape[:-1]) == grid:
        return one.movedim(-1, 0)
    raise UnequalError(f"features of shape {tuple(features.shape)} at the layer, and not of a grid of {grid}")
