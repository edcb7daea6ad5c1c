"""Images for a model: of single files, and of folders."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from captum_ext.exceptions import ArgumentError
from captum_ext.images import ImageFolder, open_image
from captum_ext.images.folders import NO_FOLDERS, class_folders
from captum_ext_integrations.cli.labels import labels_of
from captum_ext_integrations.cli.models import LoadedModel

__all__ = ["ImageFolder", "folder_of", "labelled_folder_of", "open_image", "picture_of"]


def picture_of(loaded: LoadedModel, path: Path) -> tuple[Tensor, tuple[int, int]]:
    """A file as the model takes it, (1, C, H, W) on its device, and its size (width, height) as it is seen.

    Raises:
        OSError: as `captum_ext.images.open_image`.
    """
    prepared = loaded.preparation
    image = open_image(path, channels=prepared.channels, keep_depth=prepared.keep_depth)
    return prepared(image)[None].to(loaded.device), image.size


def folder_of(
    loaded: LoadedModel, root: Path, limit: int | None = None, labels: dict[str, int] | None = None
) -> ImageFolder:
    """The files of a folder, each as the model takes it.

    Raises:
        ArgumentError: as `captum_ext.images.ImageFolder`.
    """
    prepared = loaded.preparation
    channels, keep_depth = prepared.channels, prepared.keep_depth
    return ImageFolder(root, prepared, limit, class_to_idx=labels, channels=channels, keep_depth=keep_depth)


def labelled_folder_of(loaded: LoadedModel, root: Path, limit: int | None, labels: str | None) -> ImageFolder:
    """The same with labels that are the model's outputs, see `labels_of`.

    Raises:
        ArgumentError: a flat folder, or labels that are not the model's.
    """
    names = class_folders(root)
    if not names:
        folder_of(loaded, root, limit)  # says what is wrong with a path that is no folder of images
        received = f"{root}, which has none"
        if labels is not None:
            raise ArgumentError("labels", "given for a folder with one folder for each class", received)
        raise ArgumentError("target", NO_FOLDERS, received)
    return folder_of(loaded, root, limit, labels_of(names, loaded, labels))
