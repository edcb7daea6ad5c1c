"""Classical interpolation behind the call of USU, for comparison."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from captum_ext.core.checks import check_choice, check_numbers, describe
from captum_ext.exceptions import ArgumentError, ArgumentsConflictError, ArgumentTypeError
from captum_ext.upsampling.redistribution import as_maps
from captum_ext.upsampling.settings import check_size

MODES = ("nearest", "bilinear", "bicubic", "lanczos")


class InterpolationUpsampler:
    """Interpolation of the coarse map, which neither looks at the image nor asks the model.

    Signals are interpolated as images of height 1. Volumes are, with each mode, along one side after the other:
    "bilinear" is trilinear there.

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
        size: tuple[int, ...] | None = None,
    ) -> Tensor:
        """Interpolate `coarse` (N, h, w) or (N, 1, h, w) to (N, 1, H, W), by default the size of the inputs; of volumes
        and signals likewise.

        Raises:
            ArgumentTypeError, ArgumentError: a map of another shape, a size that is none.
            NonFiniteError: NaN or infinity in the map.
        """
        if not isinstance(inputs, Tensor) or inputs.is_nested or inputs.dim() not in (3, 4, 5):
            expected = "a batch of images (N, C, H, W), volumes (N, C, D, H, W) or signals (N, C, T)"
            raise ArgumentTypeError("inputs", expected, describe(inputs))
        dims = inputs.dim() - 2
        check_numbers("inputs", inputs)
        if dims == 1 and isinstance(coarse, Tensor) and not coarse.is_nested and coarse.dim() > 3:
            reason = (
                f"a map of shape {tuple(coarse.shape)} belongs to images or volumes, and inputs (N, C, T) are signals"
            )
            raise ArgumentsConflictError(("coarse", "inputs"), reason)
        maps = as_maps("coarse", coarse, dims)
        if len(maps) != len(inputs):
            raise ArgumentError("coarse", f"of {len(inputs)} rows like the inputs", describe(coarse))
        wanted = check_size("size", tuple(inputs.shape[2:]) if size is None else size, dims)
        if dims == 1:
            return self._planes(maps[:, None], (1, wanted[0]))
        if dims == 2:
            return self._planes(maps, (wanted[0], wanted[1]))[:, None]
        depth, height, width = maps.shape[1], wanted[1], wanted[2]
        slices = self._planes(maps.flatten(0, 1), (height, width))
        lines = slices.reshape(len(maps), depth, height * width).transpose(1, 2)
        deep = self._planes(lines, (height * width, wanted[0]))
        return deep.transpose(1, 2).reshape(len(maps), 1, *wanted)

    def _planes(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps (N, h, w) interpolated to (N, H, W); a side whose length does not change is left as it is."""
        if self.mode == "lanczos":
            return torch.stack([_lanczos(one, size) for one in maps])
        corners = None if self.mode == "nearest" else False
        return functional.interpolate(maps[:, None], size=size, mode=self.mode, align_corners=corners)[:, 0]


def _lanczos(coarse: Tensor, size: tuple[int, int]) -> Tensor:
    from PIL import Image

    image = Image.fromarray(coarse.detach().to("cpu", torch.float32).numpy())
    resized = np.asarray(image.resize((size[1], size[0]), Image.Resampling.LANCZOS))
    return torch.from_numpy(resized.copy()).to(coarse)
