"""For users of pytorch-grad-cam: its function under its name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.checks import check_bool, check_number, describe
from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.visualize.arrays import colorize
from captum_ext.visualize.inputs import Array, as_numbers


def show_cam_on_image(
    img: Any, mask: Any, use_rgb: bool = False, colormap: int | None = None, image_weight: float = 0.5
) -> NDArray[np.uint8]:
    """`show_cam_on_image` of pytorch-grad-cam, with colours that can be read: the same arguments, type and shape.

    `image_weight * img + (1 - image_weight) * colours`. Change the import, and nothing else. `overlay` keeps zero free
    of colour, takes a range for several maps, and numbers that are not in [0, 1].

    Args:
        img: (H, W, 3) in [0, 1], red first with `use_rgb`, else blue first.
        mask: (H, W) in [0, 1], as the host's CAM classes return a row; a tensor may be given, too.
        use_rgb: the order of colours, of the image and of the result.
        colormap: one of OpenCV's numbers, such as `cv2.COLORMAP_JET`, which is the host's default and brightest in the
            middle. None: white at 0, then orange, dark brown at 1 (`colorize`).
        image_weight: in [0, 1].

    Returns:
        (H, W, 3), 8 bits.

    Deviations from the host: the result is not divided by its own maximum, which gave every image a scale of its own,
    and NaN for a black one; numbers beyond [0, 1], which it wrapped around, are refused, as is a mask of another size.

    Raises:
        ArgumentTypeError, ArgumentError: other shapes or numbers.
        NonFiniteError: NaN or infinity in the mask.
        MissingExtraError: `colormap` is given, and OpenCV is not installed.

    Example:
        >>> import numpy as np
        >>> from captum_ext.visualize import show_cam_on_image
        >>> show_cam_on_image(np.ones((1, 2, 3)), np.array([[0.0, 1.0]]), use_rgb=True).tolist()
        [[[255, 255, 255], [188, 145, 129]]]
    """
    pixels, values = as_numbers("img", img), as_numbers("mask", mask)
    check_bool("use_rgb", use_rgb)
    weight = check_number("image_weight", image_weight, "a number in [0, 1]", lambda value: 0 <= value <= 1)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ArgumentError("img", "of shape (H, W, 3)", describe(img) if pixels.ndim == 0 else f"{pixels.shape}")
    if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
        raise ArgumentError("img", "in [0, 1]", f"numbers from {pixels.min():.3g} to {pixels.max():.3g}")
    if values.shape != pixels.shape[:2]:
        raise ArgumentError("mask", f"of the image's size {pixels.shape[:2]}", f"shape {values.shape}")
    if np.isfinite(values).all() and not (values.min() >= 0 and values.max() <= 1):
        received = f"numbers from {values.min():.3g} to {values.max():.3g}; `overlay` shows them"
        raise ArgumentError("mask", "in [0, 1]", received)
    colours = colorize(values, (0, 1), "magnitude") if colormap is None else _of_opencv(values, colormap)
    if not use_rgb:
        colours = colours[..., ::-1]
    return (255 * weight * pixels + (1 - weight) * colours).astype(np.uint8)


def _of_opencv(values: Array, colormap: int) -> NDArray[np.uint8]:
    """OpenCV's colours, red first."""
    if isinstance(colormap, bool) or not isinstance(colormap, int):
        raise ArgumentTypeError(
            "colormap", "None or a number of OpenCV's, such as cv2.COLORMAP_JET", describe(colormap)
        )
    cv2 = require("cv2", "grad-cam")
    try:
        colours = cv2.applyColorMap(np.uint8(255 * values), colormap)
    except cv2.error as error:
        raise ArgumentError("colormap", "one of OpenCV's numbers", str(colormap)) from error
    return np.asarray(colours, dtype=np.uint8)[..., ::-1]
