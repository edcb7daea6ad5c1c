"""The images of a comparison, and the setting that methods are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.checks import check_tensor, check_tensors, describe
from captum_ext.core.inspection import device_of
from captum_ext.core.request import Request
from captum_ext.core.types import ForwardFunc
from captum_ext.dataset.masks import OnMasks
from captum_ext.dataset.samples import Samples
from captum_ext.exceptions import AdaptError, ArgumentError, ArgumentTypeError, CaptumExtError
from captum_ext.metrics import iou
from captum_ext.models import AdaptedModel, adapt
from captum_ext.selection.deciding import looks_of
from captum_ext.selection.options import ChooseOptions
from captum_ext.selection.setting import Setting

_OTHERS = 32  # images at most among which the control looks for another one of the class


@dataclass(frozen=True)
class Subjects:
    """Images that are explained.

    Attributes:
        dataset: as it was given.
        n_images: how many there are.
        target: as it was given.
        setting: for methods.
        first: the first image without NaN or infinity, (1, C, H, W).
        first_target: what is explained of it.
    """

    dataset: Any
    n_images: int
    target: Any
    setting: Setting
    first: Tensor
    first_target: Any

    def __len__(self) -> int:
        return self.n_images


def subjects_of(
    model: ForwardFunc, dataset: Any, target: Any, references: Any, mean: Any, std: Any, options: ChooseOptions
) -> Subjects:
    """The same of what `choose` was given."""
    if not callable(model):
        raise ArgumentTypeError("model", "a module or a function from images to scores", describe(model))
    if (mean is None) != (std is None):
        raise ArgumentError("std" if std is None else "mean", "given together with the other of the two", "None")
    samples = Samples(dataset, options.group_size, 0, model)
    samples.check_labels(target)
    looks_of(len(samples), options.group_size)  # refuses too few
    if options.masks is not None:
        OnMasks(iou, options.masks).check_length(len(samples))
    read = samples.read_batch(range(min(len(samples), _OTHERS)), options.seed)
    if read.batch is None:
        raise ArgumentError("dataset", "of samples that can be read", read.failures[0].error)
    device = device_of(model)
    images = read.batch.inputs if device is None else read.batch.inputs.to(device)
    check_tensors("dataset", images, finite=False)
    if images.dim() != 4:
        raise ArgumentError("dataset", "of images (C, H, W)", f"samples of shape {tuple(images.shape[1:])}")
    finite = images.isfinite().flatten(1).all(1).nonzero()[:, 0].tolist()
    if not finite:
        raise ArgumentError("dataset", "of images without NaN and infinity", f"none among the first {len(images)}")
    images, labels = images[finite], read.batch.labels  # others have no row in the runs
    targets = _targets(model, images, None if labels is None else [labels[row] for row in finite], target)
    adapted, why_not = adapted_to(model, images, mean, std)
    if adapted is not None and mean is None and adapted.mean is not None and adapted.std is not None:
        mean, std = adapted.mean, adapted.std
    given = None if references is None else _references(references, images)
    setting = Setting(
        forward_func=model,
        gradients=int(options.gradients),
        others=images,
        their_targets=targets,
        references=given,
        mean=mean,
        std=std,
        seed=options.seed,
        adapted=adapted,
        why_not_adapted=why_not,
    )
    first_target = target if callable(target) else targets[0]
    return Subjects(dataset, len(samples), target, setting, images[:1], first_target)


def _targets(model: ForwardFunc, images: Tensor, labels: list[int] | None, target: Any) -> list[Any]:
    """The class of each image; None where there are no classes."""
    if target is None or callable(target):
        return [None] * len(images)
    if target == "predicted":
        outputs = Request(model, images, None).outputs
        if outputs.dim() != 2:
            raise ArgumentError("target", "None for a model without classes", '"predicted"')
        return outputs.argmax(1).tolist()
    if target == "label":
        if labels is None:
            raise ArgumentError(
                "target", 'something else than "label", since the samples have none that is an integer', '"label"'
            )
        return list(labels)
    return [int(target)] * len(images)


def _references(references: Any, images: Tensor) -> Tensor:
    given = check_tensor("references", references)
    if given.shape[1:] != images.shape[1:]:
        expected = f"of shape (K, {', '.join(map(str, images.shape[1:]))}), as the images"
        raise ArgumentError("references", expected, describe(given))
    explained = {tuple(one.flatten()[:64].tolist()): one for one in images.cpu()}
    for one in given.cpu():
        twin = explained.get(tuple(one.flatten()[:64].tolist()))
        if twin is not None and torch.equal(twin, one):
            raise ArgumentError("references", "images none of which is explained", "one that is")
    return given.to(images.device, images.dtype)


def adapted_to(model: Any, images: Tensor, mean: Any, std: Any) -> tuple[AdaptedModel | None, str]:
    """The model with its layers, or why there are none."""
    if isinstance(model, AdaptedModel):
        return model, ""
    if not isinstance(model, nn.Module):
        return None, "CAMs need a module with layers."
    try:
        given = {} if mean is None else {"mean": mean, "std": std}
        return adapt(model, size=tuple(images.shape[2:]), channels=images.shape[1], **given), ""
    except (AdaptError, CaptumExtError) as error:
        return None, str(error)
