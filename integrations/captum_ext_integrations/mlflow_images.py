"""Maps among the artifacts of an MLflow run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from captum_ext.core.optional import require
from captum_ext.visualize import figure_pixels, show_maps
from captum_ext.visualize.looks import Caption, Look


def log_maps(
    file: str,
    maps: Any,
    images: Any = None,
    *,
    model: Any = None,
    titles: str | Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    caption: Caption = Caption(),
    look: Look = Look(),
) -> None:
    """Log the figure of `captum_ext.visualize.show_maps` as an artifact of the active MLflow run.

    Args:
        file: of the artifact, such as "maps/epoch_3.png".
        maps: as of `show_maps`, like all that follow.
        images: photographs.
        model: which undoes the normalisation of `images`.
        titles: of the images.
        limits: one range for several artifacts, so that their colours compare; None: each has its own.
        caption: title, unit and notes.
        look: colours, overlay and outline.

    Raises:
        MissingExtraError: mlflow or matplotlib is not installed (extra `mlflow`).
        ArgumentError, ArgumentTypeError: what `show_maps` raises.

    MLflow's own errors reach the caller: of a file whose suffix is no image's, or of a server that does not answer.
    """
    mlflow: Any = require("mlflow", "mlflow")
    figure = show_maps(maps, images, model=model, titles=titles, limits=limits, caption=caption, look=look)
    mlflow.log_image(figure_pixels(figure), file)
