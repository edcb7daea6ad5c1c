"""A target in a map: what a class has in a region."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.checks import check_choice, check_count, check_finite, describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.models.targets.reading import Step, tensor_of

_MAPS = ("out", "logits", "predicted_depth")


@dataclass(frozen=True, eq=False)
class RegionTarget:
    r"""A class's logits in a region of a segmentation: $\sum_{p} m_p \, y_{c,p}$, or that over $\sum_p m_p$.

    The row's output is y (K, h, w), or (K, d, h, w) of volumes: a tensor, or the tensor under "out" (torchvision) or
    "logits" (transformers) of a dict or `ModelOutput`, or `at` a place. A mask of another size, such as that of the
    image, is resized to the output's by its nearest neighbour, if both have the same proportions.

    Args:
        mask: (h, w), (d, h, w) of volumes or (t,) of signals: which positions count; a tensor or an array of booleans,
            or of weights from zero.
        class_index: c.
        reduce: "sum", in units of the logits times positions, or "mean", in units of the logits.
        at: key, attribute or position of the maps in what the model returns. None: itself, or a usual name.

    Raises:
        ArgumentError, ArgumentTypeError, NonFiniteError: a mask that is empty or no mask, or another `reduce`; when
            called, an output without such maps, or whose size the mask does not fit.

    Example:
        >>> import torch
        >>> from captum_ext.attr import IntegratedGradients
        >>> from captum_ext.models.targets import RegionTarget
        >>> mask = torch.tensor([[True, False], [True, False]])
        >>> ig = IntegratedGradients(lambda x: {"out": torch.cat([x, 3 * x], 1)})
        >>> ig.attribute(torch.ones(1, 1, 2, 2), target=RegionTarget(mask, class_index=1))
        tensor([[[[3., 0.],
                  [3., 0.]]]])
    """

    mask: Any = field(repr=False)
    class_index: int
    reduce: str = "sum"
    at: Step | None = None

    def __post_init__(self) -> None:
        expected = "a mask (h, w), (d, h, w) or (t,) of booleans, or of weights from zero of which one is more"
        try:
            mask = torch.as_tensor(self.mask).detach()
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentTypeError("mask", expected, describe(self.mask)) from error
        if mask.is_complex() or mask.dim() not in (1, 2, 3):
            raise ArgumentError("mask", expected, describe(self.mask))
        mask = mask.to(torch.float32)
        check_finite("mask", mask)
        if mask.numel() == 0 or not bool((mask >= 0).all()) or not bool((mask > 0).any()):
            raise ArgumentError("mask", expected, f"{describe(self.mask)}, empty or with numbers below zero")
        object.__setattr__(self, "mask", mask.clone())
        object.__setattr__(self, "class_index", check_count("class_index", self.class_index))
        check_choice("reduce", self.reduce, ("sum", "mean"))

    def __call__(self, output: Any) -> Tensor:
        """The class's sum or mean in the region, (), of one row's output."""
        maps = tensor_of(output, _MAPS, self.at)
        if maps.dim() != self.mask.dim() + 1:
            expected = f"of a model that returns maps of {self.mask.dim()} dimensions a class, as the mask has them"
            raise ArgumentError("target", expected, f"a row of shape {tuple(maps.shape)}")
        if self.class_index >= len(maps):
            received = str(self.class_index)
            raise ArgumentError("class_index", f"a class from 0 to {len(maps) - 1}, the model's maps", received)
        mask: Tensor = self._resized(tuple(maps.shape[1:])).to(maps)
        total: Tensor = (maps[self.class_index] * mask).sum()
        return total if self.reduce == "sum" else total / mask.sum()

    def _resized(self, size: tuple[int, ...]) -> Tensor:
        given: Tensor = self.mask
        own = tuple(given.shape)
        if own == size:
            return given
        scale = max(mine / its for mine, its in zip(own, size, strict=True))
        if any(abs(mine / scale - its) >= 1 for mine, its in zip(own, size, strict=True)):
            raise ArgumentError("mask", f"of the proportions of the model's maps, {size}", f"a mask of size {own}")
        resized: Tensor = nn.functional.interpolate(given[None, None], size=size, mode="nearest-exact")[0, 0]
        if not bool((resized > 0).any()):
            raise ArgumentError(
                "mask", f"one that keeps a position in the model's maps, {size}", "one that is too small"
            )
        return resized
