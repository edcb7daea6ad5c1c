"""Photographs of the samples of a run, where they still are: as the model saw them, if that is known."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.text import shown
from captum_ext.dataset.file_marks import MARKS, mark_of, read_marks
from captum_ext.exceptions import ArgumentError, RunFolderError
from captum_ext.images.files import open_image

_CLASSES = "captum_ext_integrations.cli.preparation."
_MOST_SIDE = 2048  # of a photograph that is sent as it is


class NoPhotographError(Exception):
    """Why there is no photograph of a sample."""


@dataclass(frozen=True)
class Fit:
    """How a photograph became the image of the model, as the shell's preparation does it.

    Attributes:
        resize: length of the shorter side; None: the photograph's own.
        crop: side of the central crop after that; None: there is none.
        enlarge: whether a smaller photograph is resized, too.
        interpolation: of Pillow, by torchvision's name.
    """

    resize: int | None = None
    crop: int | None = None
    enlarge: bool = True
    interpolation: str = "bilinear"

    @classmethod
    def of_run(cls, manifest: Mapping[str, Any]) -> Fit | None:
        """The fit that a run of the shell says in its manifest; None: it says none."""
        transform = manifest["configuration"].get("dataset", {})
        transform = transform.get("transform") if isinstance(transform, Mapping) else None
        if not isinstance(transform, Mapping) or not str(transform.get("class", "")).startswith(_CLASSES):
            return None
        kind = str(transform["class"]).removeprefix(_CLASSES)
        resize, crop = transform.get("resize"), transform.get("crop")
        how = str(transform.get("interpolation", "bilinear"))
        if kind not in ("Preparation", "WholePreparation") or not all(_is_side(one) for one in (resize, crop)):
            return None
        whole = kind == "WholePreparation"
        return cls(resize, None if whole else crop, bool(transform.get("enlarge", True)), how)

    def __call__(self, image: Any) -> Any:
        """A Pillow image as the model saw it, but for its normalisation."""
        from PIL import Image

        width, height = image.size
        if self.resize is not None and (self.enlarge or min(width, height) > self.resize):
            long = int(self.resize * max(width, height) / min(width, height))
            size = (self.resize, long) if width <= height else (long, self.resize)
            names = Image.Resampling.__members__
            kind = names.get(self.interpolation.partition("-")[0].upper(), Image.Resampling.BILINEAR)
            image = image if size == image.size else image.resize(size, kind)
        if self.crop is None:
            return image
        left, top = (round((side - self.crop) / 2.0) for side in image.size)
        return image.crop((left, top, left + self.crop, top + self.crop))  # black where it is smaller


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 2**14


class Photographs:
    """Photographs in a folder, by the names that a run has of its samples.

    Args:
        root: the folder that names of samples are relative to.
        fit: how the model saw them; None: it is not known, and they are shown beside maps, not below them.
        run: folder of the run, whose marks tell photographs that have changed since.
        n_samples: of the run.

    Raises:
        ArgumentError: no folder.
    """

    def __init__(self, root: Path, fit: Fit | None, run: Path, n_samples: int) -> None:
        if not root.is_dir():
            raise ArgumentError("images", "a folder with the images of the runs", str(root))
        self.root, self.fit = root, fit
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of damaged marks, of which nothing depends here
                self._marks: NDArray[np.int64] = read_marks(run / MARKS, n_samples)
        except (RunFolderError, OSError):
            self._marks = np.full(n_samples, -1, dtype=np.int64)

    def jpeg(self, index: int, name: str | None) -> bytes:
        """The photograph of a sample as JPEG.

        Raises:
            NoPhotographError: why there is none.
        """
        path = self._path_of(name)
        mark = int(self._marks[index]) if 0 <= index < len(self._marks) else -1
        if mark >= 0 and mark_of(path) not in (-1, mark):
            raise NoPhotographError("The file has changed since the run: its photograph is not that of the map.")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = open_image(path)
        except (OSError, ValueError) as error:
            reason = shown(error.strerror or error if isinstance(error, OSError) else error, 200)
            raise NoPhotographError(f"The photograph could not be read: {reason}") from error
        image = image if self.fit is None else self.fit(image)
        image.thumbnail((_MOST_SIDE, _MOST_SIDE))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=92)
        return file.getvalue()

    def _path_of(self, name: str | None) -> Path:
        """The file of a name, inside of the folder: names are of a file that anybody may have written."""
        if not name:
            raise NoPhotographError("The run has no names of files.")
        inside = PurePosixPath(name)
        is_inside = not inside.is_absolute() and ".." not in inside.parts and "\0" not in name
        if not is_inside or (os.name == "nt" and ("\\" in name or ":" in name)):
            raise NoPhotographError("The name leads out of the folder of images: nothing was read.")
        return self.root / inside
