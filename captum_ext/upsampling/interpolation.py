"""Classical interpolation behind the call of USU, for comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from captum_ext.core.checks import check_choice, check_numbers, describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.upsampling.redistribution import as_maps
from captum_ext.upsampling.settings import check_size

MODES = ("nearest", "bilinear", "bicubic", "lanczos")


class InterpolationUpsampler:
    """Interpolation of the coarse map, which neither looks at the image nor asks the model.

    Args:
        mode: "nearest", "bilinear", "bicubic" (torch's, without aligned corners) or "lanczos" (Pillow's, in float32 on
            the CPU, not differentiable).

    Example:
        >>> import torch
        >>> from captum_ext.upsampling import InterpolationUpsampler
        >>> InterpolationUpsampler("nearest")(torch.tensor([[[1.0, 2.0]]]), torch.zeros(1, 3, 1, 4))
        tensor([[[[1., 1., 2., 2.]]]])
    """

    def __init__(self, mode: str = "bilinear") -> None:
        self.mode = check_choice("mode", mode, MODES)

    def __call__(
        self,
        coarse: Tensor,
        inputs: Tensor,
        forward_func: Any = None,  # noqa: ARG002 (the call of USU)
        target: Any = None,  # noqa: ARG002
        additional_forward_args: Any = None,  # noqa: ARG002
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Interpolate `coarse` (N, h, w) or (N, 1, h, w) to (N, 1, H, W), by default the size of the inputs.

        Raises:
            ArgumentTypeError, ArgumentError: a map of another shape, a size that is none.
            NonFiniteError: NaN or infinity in the map.
        """
        maps = as_maps("coarse", coarse)
        if not isinstance(inputs, Tensor) or inputs.is_nested or inputs.dim() != 4:
            raise ArgumentTypeError("inputs", "a batch of images (N, C, H, W)", describe(inputs))
        check_numbers("inputs", inputs)
        if len(maps) != len(inputs):
            raise ArgumentError("coarse", f"of {len(inputs)} rows like the inputs", describe(coarse))
        wanted = check_size("size", inputs.shape[2:] if size is None else size)
        if self.mode == "lanczos":
            return torch.stack([_lanczos(one, wanted) for one in maps])[:, None]
        corners = None if self.mode == "nearest" else False
        return functional.interpolate(maps[:, None], size=wanted, mode=self.mode, align_corners=corners)


def _lanczos(coarse: Tensor, size: tuple[int, int]) -> Tensor:
    from PIL import Image

    image = Image.fromarray(coarse.detach().to("cpu", torch.float32).numpy())
    resized = np.asarray(image.resize((size[1], size[0]), Image.Resampling.LANCZOS))
    return torch.from_numpy(resized.copy()).to(coarse)
