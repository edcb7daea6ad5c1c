"""Maps in TensorBoard: beside the numbers of a training, from step to step on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from captum_ext.exceptions import ArgumentTypeError
from captum_ext.visualize import figure_pixels, show_maps
from captum_ext.visualize.looks import Caption, Look


class _Writer(Protocol):
    """A SummaryWriter of torch, tensorboardX or Lightning's logger (`logger.experiment`)."""

    def add_image(self, tag: str, img_tensor: Any, global_step: int | None = None, *, dataformats: str = "CHW") -> Any:
        """Write an image."""


def log_maps(
    writer: _Writer,
    tag: str,
    maps: Any,
    images: Any = None,
    *,
    step: int | None = None,
    model: Any = None,
    titles: str | Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
    caption: Caption = Caption(),
    look: Look = Look(),
) -> None:
    """Write the figure of `captum_ext.visualize.show_maps` as an image.

    Args:
        writer: of torch (`torch.utils.tensorboard.SummaryWriter`) or tensorboardX.
        tag: under which it is found.
        maps: as of `show_maps`, like all that follow.
        images: photographs.
        step: of the training.
        model: which undoes the normalisation of `images`.
        titles: of the images.
        limits: one range for all steps, so that their colours compare; None: each step has its own.
        caption: title, unit and notes.
        look: colours, overlay and outline.

    Raises:
        ArgumentTypeError: something else than a writer; what `show_maps` raises.
        MissingExtraError: matplotlib is not installed (extra `plot`).

    Example:
        >>> import torch
        >>> from captum_ext_integrations.tensorboard_images import log_maps
        >>> class Writer:  # stands for torch.utils.tensorboard.SummaryWriter()
        ...     def add_image(self, tag, img_tensor, global_step=None, *, dataformats="CHW"):
        ...         print(tag, img_tensor.dtype, global_step, dataformats)
        >>> log_maps(Writer(), "IG", torch.randn(2, 3, 8, 8), step=100, limits=(-2.0, 2.0))
        IG uint8 100 HWC
    """
    if not callable(getattr(writer, "add_image", None)):
        raise ArgumentTypeError("writer", "a SummaryWriter, with a method add_image", type(writer).__name__)
    figure = show_maps(maps, images, model=model, titles=titles, limits=limits, caption=caption, look=look)
    writer.add_image(tag, figure_pixels(figure), step, dataformats="HWC")
