"""What is explained: a class, the similarity with a text, a region of a segmentation, or an object that was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.output_rows import split_rows
from captum_ext.exceptions import ArgumentError
from captum_ext.models.targets import DetectionTarget, OutputTarget, RegionTarget, SimilarityTarget
from captum_ext_integrations.cli.classes import class_of
from captum_ext_integrations.cli.models import LoadedModel
from captum_ext_integrations.cli.object_masks import mask_in_view
from captum_ext_integrations.cli.preparation import Box, Placement

_ONE_BY_ONE = "call explain or upsample for each picture, with its --box or --region and --out"
#: A class, "predicted" or "label", or a function of one image's output.
Target = int | str | Callable[[Any], Tensor]


@dataclass(frozen=True)
class TargetSpec:
    """What is to be explained, as it was asked for.

    Attributes:
        target: a class by number or name, "predicted" or "label".
        box: an object of a detector, in pixels of the picture.
        region: of a segmentation: a box like that, or the file of a mask.
    """

    target: int | str = "predicted"
    box: Box | None = None
    region: Box | Path | None = None


@dataclass(frozen=True)
class Chosen:
    """What is explained of one picture.

    Attributes:
        target: for methods and metrics.
        name: of it.
        box: in the model's image, to be drawn.
        mask: (H, W) of the model's image, to be drawn.
    """

    target: int | Callable[[Any], Tensor]
    name: str
    box: Box | None = None
    mask: Tensor | None = None


def chosen_of(loaded: LoadedModel, inputs: Tensor, size: tuple[int, int], spec: TargetSpec) -> Chosen:
    """What is explained of one picture of this size (width, height), which is prepared as `inputs` (1, C, H, W).

    Raises:
        ArgumentError: something that the model does not have, or that is not in the picture.
    """
    _check_fits(loaded, spec)
    if spec.target == "label":
        raise ArgumentError("target", 'a name, a number or "predicted" for one photograph', '"label"')
    if loaded.similarity is not None:
        return Chosen(_similarity(loaded, spec), loaded.class_names[0])
    if loaded.kind == "embedding":
        return Chosen(_coordinate(loaded, spec.target), f"coordinate {spec.target} of the embedding")
    with torch.no_grad():
        outputs = loaded.model(inputs)
    if loaded.kind == "maps":
        return _region(loaded, outputs[0], inputs, size, spec)
    if loaded.kind == "detections":
        return _detection(loaded, split_rows(outputs, 1)[0], inputs, size, spec)
    chosen = _class(loaded, spec.target, lambda: int(outputs.argmax(1)))
    return Chosen(chosen, loaded.class_name(chosen))


def target_of_folder(loaded: LoadedModel, spec: TargetSpec) -> Target:
    """What is explained of every picture of a folder.

    Raises:
        ArgumentError: something that is of one picture only.
    """
    _check_fits(loaded, spec)
    for option in ("box", "region"):
        if getattr(spec, option) is not None:
            expected = f"given for one picture: in others it is another place ({_ONE_BY_ONE})"
            raise ArgumentError(option, expected, "it for a folder")
    if loaded.kind in ("maps", "detections"):
        what = "a segmentation" if loaded.kind == "maps" else "a detector"
        expected = (
            f"that of a classifier or of texts for a folder: of {what} every picture has a place of its own "
            f"({_ONE_BY_ONE})"
        )
        raise ArgumentError("target", expected, repr(spec.target))
    if loaded.similarity is not None:
        return _similarity(loaded, spec)
    return _coordinate(loaded, spec.target) if loaded.kind == "embedding" else class_of(loaded, spec.target)


def _check_fits(loaded: LoadedModel, spec: TargetSpec) -> None:
    for option, kind, of in (("box", "detections", "detectors"), ("region", "maps", "segmentation networks")):
        if getattr(spec, option) is not None and loaded.kind != kind:
            what = {"scores": "scores of classes", "embedding": "an embedding"}.get(loaded.kind, loaded.kind)
            raise ArgumentError(option, f"given for {of} only", f"it for a model that returns {what}")


def _class(loaded: LoadedModel, target: int | str, predicted: Callable[[], int]) -> int:
    """A class by number or name, or the predicted one."""
    named = class_of(loaded, target)
    chosen = predicted() if isinstance(named, str) else named
    if not 0 <= chosen < loaded.n_classes:
        raise ArgumentError("target", f"an index from 0 to {loaded.n_classes - 1}, the model's outputs", str(chosen))
    return chosen


def _similarity(loaded: LoadedModel, spec: TargetSpec) -> SimilarityTarget:
    if spec.target != "predicted" or loaded.similarity is None:
        expected = "left out with one --text, whose similarity is explained; of several texts it is one"
        raise ArgumentError("target", expected, repr(spec.target))
    return loaded.similarity


def _coordinate(loaded: LoadedModel, target: int | str) -> OutputTarget:
    """The target of a model that returns embeddings, where no text is given."""
    if isinstance(target, str):
        ways = '--text "a photo of a cat", or ' if loaded.has_texts else ""
        expected = f"{ways}the number of a coordinate, as the model returns embeddings and no classes"
        raise ArgumentError("target", expected, repr(target))
    if not 0 <= target < loaded.n_classes:
        raise ArgumentError("target", f"an index from 0 to {loaded.n_classes - 1}, the embedding's", str(target))
    return OutputTarget(target)


def _region(loaded: LoadedModel, maps: Tensor, inputs: Tensor, size: tuple[int, int], spec: TargetSpec) -> Chosen:
    """The mean of a class's logits in a region: the one that is given, or where the model predicts the class."""
    predicted = maps.argmax(0)
    made = (int(inputs.shape[2]), int(inputs.shape[3]))
    mask = None if spec.region is None else _mask(loaded.preparation.placement(size), spec.region, size, made)
    of_region = predicted if mask is None else predicted[_fitted(mask, tuple(predicted.shape))]
    chosen = _class(loaded, spec.target, lambda: int(of_region.flatten().bincount().argmax()))
    where = "in the region"
    if mask is None:
        mask, where = (predicted == chosen).cpu(), "where it is predicted"
        if not bool(mask.any()):
            name = loaded.class_name(chosen)
            expected = f"given for {name}, which the model predicts nowhere in this picture (x0,y0,x1,y1 or a mask)"
            raise ArgumentError("region", expected, "nothing")
    target = RegionTarget(mask, chosen, reduce="mean")
    return Chosen(target, f"{loaded.class_name(chosen)} {where}", mask=_fitted(mask, made))


def _fitted(mask: Tensor, size: tuple[int, ...]) -> Tensor:
    """A mask in another size, by its nearest neighbour."""
    shown = torch.nn.functional.interpolate(mask[None, None].float(), size=size, mode="nearest-exact")
    return shown[0, 0] > 0


def _mask(placement: Placement, region: Box | Path, size: tuple[int, int], made: tuple[int, int]) -> Tensor:
    """A region of the picture as a mask (h, w) of the model's image."""
    if isinstance(region, Path):
        mask = mask_in_view("region", region, placement, size, made)
    else:
        x0, y0, x1, y1 = _inside("region", region, placement, size, made)
        rows, columns = (torch.arange(side) + 0.5 for side in made)  # a pixel is in the box if its centre is
        mask = ((rows >= y0) & (rows < y1))[:, None] & (columns >= x0) & (columns < x1)
    if not bool(mask.any()):
        raise ArgumentError("region", "one of which a pixel is in what the model sees of the picture", str(region))
    return mask


def _inside(name: str, box: Box, placement: Placement, size: tuple[int, int], made: tuple[int, int]) -> Box:
    """A box of the picture in the model's image, cut at its border.

    Raises:
        ArgumentError: it is outside of the picture, or of what the model sees of it.
    """
    width, height = size
    if box[0] >= width or box[1] >= height or box[2] > width or box[3] > height or min(box) < 0:
        raise ArgumentError(name, f"within the picture, {width} wide and {height} high", _text(box))
    x0, y0, x1, y1 = placement.into(box)
    cut = max(x0, 0.0), max(y0, 0.0), min(x1, float(made[1])), min(y1, float(made[0]))
    if cut[0] >= cut[2] or cut[1] >= cut[3]:
        seen = _text(placement.back((0.0, 0.0, float(made[1]), float(made[0]))))
        raise ArgumentError(name, f"in what the model sees of the picture, {seen} (--resize, --crop)", _text(box))
    return cut


def _detection(loaded: LoadedModel, output: Any, inputs: Tensor, size: tuple[int, int], spec: TargetSpec) -> Chosen:
    """An object at a box; of "predicted" the most confident one, there or anywhere."""
    made = (int(inputs.shape[2]), int(inputs.shape[3]))
    placement = loaded.preparation.placement(size)
    boxes, scores, labels, probability = found_in(output, made, len(loaded.class_names))
    named = class_of(loaded, spec.target)
    box = None if spec.box is None else _inside("box", spec.box, placement, size, made)
    make = partial(DetectionTarget, size=made, probability=probability)
    at = torch.ones(len(boxes), dtype=torch.bool) if isinstance(named, str) else labels == named
    if box is not None:
        every = zip(boxes, scores, labels, strict=True)
        at &= torch.tensor([bool(make(box)(_one(found)) > 0) for found in every], dtype=torch.bool)
    if not bool(at.any()):
        order = scores.argsort(descending=True)[:3].tolist()
        listed = "; ".join(
            f"{loaded.class_name(int(labels[k]))} {scores[k]:.2g} at {_seen(placement, _tuple(boxes[k]), size)}"
            for k in order
        )
        raise _nothing_found(loaded, named, spec, listed)
    best = int(scores.where(at, torch.tensor(-1.0)).argmax())
    label = int(labels[best])
    box = _tuple(boxes[best]) if box is None else box
    where = _seen(placement, box, size)
    return Chosen(make(box, label), f"{loaded.class_name(label)} at {where}", box=box)


def _one(found: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    return {name: one[None] for name, one in zip(("boxes", "scores", "labels"), found, strict=True)}


def found_in(output: Any, size: tuple[int, int], n_names: int) -> tuple[Tensor, Tensor, Tensor, str]:
    """Boxes (M, 4) in pixels, scores and labels (M,) of a detector's output for one image, and how scores are made.

    Of DETR and its like each query is a detection, of its most probable class. Their logits have a last class for no
    object where they are one more than the names of classes.

    Raises:
        ArgumentError: an output without boxes.
    """
    if isinstance(output, Mapping) and {"boxes", "labels", "scores"} <= set(output):
        boxes, scores, labels = (output[name].detach().cpu() for name in ("boxes", "scores", "labels"))
        return boxes.float(), scores.float(), labels, "softmax"
    logits, shares = (_value(output, name) for name in ("logits", "pred_boxes"))
    if logits is None or shares is None:
        raise ArgumentError("model", "a detector that returns boxes, labels and scores", type(output).__name__)
    logits, shares = logits.detach().cpu().float(), shares.detach().cpu().float()
    probability = "sigmoid" if logits.shape[-1] == n_names else "softmax"
    every = logits.sigmoid() if probability == "sigmoid" else logits.softmax(-1)[:, :-1]
    scores, labels = every.max(-1)
    centre, half = shares[:, :2], shares[:, 2:] / 2
    boxes = torch.cat([centre - half, centre + half], 1) * torch.tensor([size[1], size[0]] * 2)
    return boxes, scores, labels, probability


def _value(output: Any, name: str) -> Any:
    return output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)


def _nothing_found(loaded: LoadedModel, named: int | str, spec: TargetSpec, listed: str) -> ArgumentError:
    """That no detection is there, with the most confident ones that are."""
    what = "an object" if isinstance(named, str) else loaded.class_name(named)
    there = f"found here are {listed}" if listed else "this picture has no detection"
    if spec.box is None:
        return ArgumentError("target", "the class of an object that is found in the picture", f"{what}; {there}")
    expected = f"around {what} that is found, with half of both areas in common"
    return ArgumentError("box", expected, f"{_text(spec.box)}; {there}")


def _seen(placement: Placement, box: Box, size: tuple[int, int]) -> str:
    """A box of the model's image in pixels of the picture, as --box takes it."""
    x0, y0, x1, y1 = placement.back(box)
    width, height = size
    return _text((max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))))


def _tuple(box: Tensor) -> Box:
    x0, y0, x1, y1 = box.tolist()
    return x0, y0, x1, y1


def _text(box: Box) -> str:
    return ",".join(f"{value:.0f}" for value in box)
