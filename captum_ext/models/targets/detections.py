"""A target among detections: the object that is found at a box."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from captum_ext.core.checks import check_choice, check_count, check_number, describe
from captum_ext.core.output_rows import describe_output
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.models.targets.reading import entry_of

#: What a detector found in one image: boxes (M, 4) as x0, y0, x1, y1 in pixels, and scores (M, K) of every class, or
#: scores (M,) and labels (M,), or scores (M,) alone where there is one class.
Found: TypeAlias = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]

_SETS = ("logits", "pred_logits")


@dataclass(frozen=True)
class DetectionTarget:
    r"""How surely an object is found at a box: $\max_d \; s_d \, \mathrm{IoU}(b_d, b)$ over detections of its label.

    The product of the detection's score with its overlap (intersection over union) is the similarity of detections in
    Petsiuk et al., "Black-box Explanation of Object Detectors via Saliency Maps", CVPR 2021
    (https://arxiv.org/abs/2006.03204), with the score of the label in place of the cosine between class scores: both
    the class and the place enter, and gradients flow through both. Detections whose overlap is below `min_iou` do not
    count. Where none is left, which is common for perturbed images, the score is zero, and so is its gradient: curves
    and segment scores are right, and paths of gradients have a gap there, which the delta shows.

    The output of a row is, by what it holds:

    - "boxes" (M, 4), "labels" (M,), "scores" (M,): a detection each, as of torchvision's detectors;
    - "logits" (or "pred_logits") (Q, K + 1) and "pred_boxes" (Q, 4): queries, as of DETR in transformers, whose boxes
      are centre, width and height as shares of the image, and whose scores are probabilities; needs `size`;
    - anything else with `read`, a function that makes of it (boxes, scores), as of YOLO's heads: boxes (M, 4) in
      pixels and scores (M, K) of every class, or scores (M,) and, as a third, labels (M,).

    Args:
        box: x0, y0, x1, y1 in pixels of the image as the model takes it.
        label: the class, in the detector's numbers; None: any.
        min_iou: the least overlap that counts, above 0 and up to 1.
        size: (H, W) of the image as the model takes it, for boxes that are shares; a box beyond it is refused. None:
            that of the inputs, in which methods, metrics and CAMs look for the box.
        probability: of DETR-like logits: "softmax" with a last class for no object, or "sigmoid" of each class, as
            Deformable DETR and RT-DETR have them.
        read: a function of the row's output, see above.

    Raises:
        ArgumentError, ArgumentTypeError: a box that is none or outside of the image, numbers out of range; when called,
            an output that holds no detections, or no such class.

    Example:
        >>> import torch
        >>> from captum_ext.models.targets import DetectionTarget
        >>> boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0]])
        >>> found = {"boxes": boxes, "labels": torch.tensor([3, 7]), "scores": torch.tensor([0.5, 0.9])}
        >>> DetectionTarget((0, 0, 10, 10), label=3)(found), DetectionTarget((0, 0, 10, 10), label=None)(found)
        (tensor(0.5000), tensor(0.7200))
        >>> DetectionTarget((20, 20, 30, 30), label=3)(found)  # nothing there
        tensor(0.)
    """

    box: tuple[float, float, float, float]
    label: int | None = None
    min_iou: float = 0.5
    size: tuple[int, int] | None = None
    probability: str = "softmax"
    read: Callable[[Any], Found] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", _checked_box(self.box))
        if self.label is not None:
            object.__setattr__(self, "label", check_count("label", self.label))
        least = check_number("min_iou", self.min_iou, "a number above 0 and up to 1", lambda value: 0 < value <= 1)
        object.__setattr__(self, "min_iou", least)
        check_choice("probability", self.probability, ("softmax", "sigmoid"))
        if self.read is not None and not callable(self.read):
            raise ArgumentTypeError("read", "a function of a row's output, or None", describe(self.read))
        if self.size is not None:
            self._check_size(self.size)

    def __call__(self, output: Any) -> Tensor:
        """The best product of score and overlap, (), in one row's output; zero where nothing is found at the box."""
        boxes, scores = self._found(output)
        overlaps = _overlaps(boxes, torch.tensor(self.box, dtype=boxes.dtype, device=boxes.device))
        products = (scores * overlaps)[~(overlaps < self.min_iou)]  # also one that is NaN, which is no zero
        return products.max() if len(products) else scores[:0].sum()  # zero, in the graph of the scores

    def check_image(self, size: tuple[int, int]) -> None:
        """Refuse images of this size (H, W) if the box is outside of them; methods, metrics and CAMs ask.

        With a `size` of its own, which is that of the detector's images, others may be what is given.

        Raises:
            ArgumentError: no detection in the image could have a part of the box.
        """
        height, width = size
        if self.size is not None:
            return
        x0, y0, x1, y1 = self.box
        if x0 >= width or y0 >= height:
            expected = (
                f"within the image, {width} wide and {height} high (or pass size=(H, W) of the image as the detector "
                "gets it, if forward_func makes another one of its inputs)"
            )
            raise ArgumentError("box", expected, str(self.box))
        inside = (min(x1, width) - max(x0, 0.0)) * (min(y1, height) - max(y0, 0.0))
        if inside < self.min_iou * (x1 - x0) * (y1 - y0):
            warn_caller(
                f"The box {self.box} is mostly outside of the image, {width} wide and {height} high: what is found "
                f"inside of it cannot overlap by min_iou={self.min_iou:g}, and the score is zero."
            )

    def _found(self, output: Any) -> tuple[Tensor, Tensor]:
        """Boxes (m, 4) in pixels, and scores (m,), of those detections that have the label."""
        if self.read is not None:
            found = self.read(output)
            if not isinstance(found, tuple | list) or len(found) not in (2, 3):
                raise ArgumentError(
                    "read", "a function that returns (boxes, scores)", f"one that returns {describe(found)}"
                )
            return self._labelled(*found)
        if all(_holds(output, name) for name in ("boxes", "labels", "scores")):
            return self._labelled(*(entry_of(output, name) for name in ("boxes", "scores", "labels")))
        logits = next((name for name in _SETS if _holds(output, name)), None)
        if logits is None or not _holds(output, "pred_boxes"):
            expected = (
                "of a detector that returns boxes, labels and scores, or logits and pred_boxes; `read` is for others"
            )
            raise ArgumentError("target", expected, describe_output(output))
        return self._of_queries(entry_of(output, logits), entry_of(output, "pred_boxes"))

    def _of_queries(self, logits: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        if self.size is None:
            expected = "(H, W) of the image as the model takes it, as this detector's boxes are shares of it"
            raise ArgumentError("size", expected, "None")
        scores = logits.softmax(-1)[:, :-1] if self.probability == "softmax" else logits.sigmoid()
        centre, half = shares[:, :2], shares[:, 2:] / 2
        pixels = torch.tensor([self.size[1], self.size[0]] * 2, dtype=shares.dtype, device=shares.device)
        return self._labelled(torch.cat([centre - half, centre + half], 1) * pixels, scores)

    def _labelled(self, boxes: Any, scores: Any, labels: Any = None) -> tuple[Tensor, Tensor]:
        tensors = (boxes, scores) if labels is None else (boxes, scores, labels)
        if not all(isinstance(one, Tensor) for one in tensors) or boxes.dim() != 2 or boxes.shape[1] != 4:
            raise ArgumentError("target", "of boxes (M, 4) and scores", ", ".join(map(describe, tensors)))
        if any(len(one) != len(boxes) for one in tensors) or scores.dim() > (2 if labels is None else 1):
            expected = "of as many scores, (M,) or (M, K), as boxes (M, 4)"
            raise ArgumentError("target", expected, ", ".join(map(describe, tensors)))
        if labels is not None:
            chosen = slice(None) if self.label is None else labels == self.label
            return boxes[chosen], scores[chosen]
        if scores.dim() == 1:
            if self.label is not None:
                raise ArgumentError("label", "None, as this detector gives no labels", str(self.label))
            return boxes, scores
        if self.label is None:
            return boxes, scores.amax(1)
        if self.label >= scores.shape[1]:
            raise ArgumentError("label", f"a class from 0 to {scores.shape[1] - 1}, the detector's", str(self.label))
        return boxes, scores[:, self.label]

    def _check_size(self, size: Any) -> None:
        is_pair = isinstance(size, tuple | list) and len(size) == 2
        if not is_pair or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in size):
            raise ArgumentError("size", "(H, W), two positive integers", describe(size))
        object.__setattr__(self, "size", tuple(size))
        if self.box[0] >= size[1] or self.box[1] >= size[0]:
            raise ArgumentError("box", f"within the image, {size[1]} wide and {size[0]} high", str(self.box))


def _checked_box(box: Any) -> tuple[float, ...]:
    expected = "four finite numbers x0, y0, x1, y1 in pixels, from zero, with x0 < x1 and y0 < y1"
    try:
        numbers = tuple(float(number) for number in box)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise ArgumentTypeError("box", expected, describe(box)) from error
    if len(numbers) != 4 or not all(math.isfinite(number) for number in numbers):
        raise ArgumentError("box", expected, describe(box))
    if numbers[2] <= max(0.0, numbers[0]) or numbers[3] <= max(0.0, numbers[1]):
        raise ArgumentError("box", expected, str(numbers))
    return numbers


def _holds(output: Any, name: str) -> bool:
    try:
        return entry_of(output, name) is not None
    except ArgumentError:
        return False


def _overlaps(boxes: Tensor, box: Tensor) -> Tensor:
    """Intersection over union (M,) of boxes (M, 4) with one; of a box without area it is zero."""
    sides = (torch.minimum(boxes[:, 2:], box[2:]) - torch.maximum(boxes[:, :2], box[:2])).clamp(min=0)
    shared = sides.prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1) + (box[2:] - box[:2]).prod()
    return shared / (areas - shared)
