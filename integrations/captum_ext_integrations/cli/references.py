"""References of the command line: images of a folder, or what was fitted to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from captum_ext.core.request import Request
from captum_ext.dataset.samples import Samples
from captum_ext.exceptions import ArgumentError
from captum_ext.images import ImageFolder
from captum_ext.references import ReferenceDistribution
from captum_ext_integrations.cli.images import folder_of
from captum_ext_integrations.cli.messages import warn
from captum_ext_integrations.cli.models import LoadedModel

MOST_REFERENCES = 20
_LOADED_AT_ONCE = 64
_MOST_NAMED = 10


def fit(
    loaded: LoadedModel,
    images: ImageFolder,
    n_neighborhoods: int = 1,
    n_references: int | None = None,
    *,
    seed: int = 0,
    on_done: Callable[[int, int], object] | None = None,
) -> tuple[ReferenceDistribution, list[str]]:
    """`ReferenceDistribution.fit` on the images that can be read, and the others by name with their errors.

    `n_references` is 20 unless it is given, or the number of images where there are fewer.

    Raises:
        ArgumentError: fewer than two that can be read.
    """
    _check_one_size(loaded)
    if loaded.kind == "detections":
        expected = (
            "those of a model that returns numbers for each image, which lpi compares; eg and weighted-ig take them"
        )
        raise ArgumentError("references", expected, "those of a detector")
    samples = Samples(images, _LOADED_AT_ONCE, 0)
    places: list[int] = []
    outputs: list[Tensor] = []
    unreadable: list[str] = []
    for read in samples.read([True] * len(samples), seed):
        unreadable += [f"{samples.name(failure.index)}: {failure.error}" for failure in read.failures]
        if read.batch is not None:
            places += read.batch.indices
            request = Request(loaded.model, read.batch.inputs.to(loaded.device))
            outputs.append(request.outputs.to("cpu", torch.float32))
        if on_done is not None:
            on_done(len(places) + len(unreadable), len(samples))
    if len(places) < 2:
        raise _too_few(2, len(places), images, unreadable)

    def collect(chosen: list[int]) -> Tensor:
        return torch.stack([images[places[place]][0] for place in chosen])

    n_references = min(MOST_REFERENCES, len(places)) if n_references is None else n_references
    fitted = ReferenceDistribution.fit_outputs(torch.cat(outputs), collect, n_neighborhoods, n_references, seed=seed)
    return fitted, unreadable


def fitted_references(loaded: LoadedModel, path: Path) -> ReferenceDistribution:
    """What a file holds, or a fit of one neighbourhood to all images of a folder, for those who have no file yet."""
    if not path.is_dir():
        return ReferenceDistribution.load(path)
    fitted, unreadable = fit(loaded, folder_of(loaded, path))
    _warn_of(unreadable, path)
    return fitted


def reference_images(loaded: LoadedModel, path: Path) -> Tensor:
    """At most 20 images of a folder, or all of a file of fitted references, on the model's device."""
    if not path.is_dir():
        fitted = ReferenceDistribution.load(path)
        sets = [fitted.references_as_tuple(i)[0] for i in range(len(fitted.density))]
        return torch.cat(sets).to(loaded.device)
    _check_one_size(loaded)
    images = folder_of(loaded, path, MOST_REFERENCES)
    samples = Samples(images, len(images), 0)
    read = samples.read_batch(range(len(images)), 0)
    unreadable = [f"{samples.name(failure.index)}: {failure.error}" for failure in read.failures]
    if read.batch is None:
        raise _too_few(1, 0, images, unreadable)
    _warn_of(unreadable, path)
    return read.batch.inputs.to(loaded.device)


def _check_one_size(loaded: LoadedModel) -> None:
    """Refuse images of several sizes, as those of models that see the whole picture."""
    if not loaded.preparation.is_square:
        expected = "images of one size, as --crop makes them where the model's own preparation keeps whole pictures"
        raise ArgumentError("references", expected, "whole pictures of several sizes")


def _too_few(least: int, n_read: int, images: ImageFolder, unreadable: Sequence[str]) -> ArgumentError:
    first = f": {unreadable[0]}" if unreadable else ""
    return ArgumentError(
        "references", f"at least {least} images that can be read", f"{n_read} of {len(images)} in {images.root}{first}"
    )


def _warn_of(unreadable: Sequence[str], path: Path) -> None:
    if unreadable:
        more = [f"and {len(unreadable) - _MOST_NAMED} more"] if len(unreadable) > _MOST_NAMED else []
        named = "; ".join([*unreadable[:_MOST_NAMED], *more])
        warn(f"{len(unreadable)} files in {path} are no references, since they cannot be read: {named}")
