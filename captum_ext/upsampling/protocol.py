"""What an upsampler is: one call, and for those that score the image first, two steps that adapters reuse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from captum_ext.core.checks import describe
from captum_ext.core.types import ForwardFunc, Target
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.upsampling.redistribution import as_maps
from captum_ext.upsampling.settings import check_size


class Upsampler(Protocol):
    """Anything with this call: an object of this package, of your own, or a plain function.

    Example:
        >>> import torch
        >>> from captum_ext.upsampling import check_desiderata
        >>> def repeated(coarse, inputs, forward_func, target=None, additional_forward_args=None, size=None):
        ...     height, width = inputs.shape[2:] if size is None else size
        ...     maps = coarse.reshape(len(coarse), 1, *coarse.shape[-2:])
        ...     return torch.nn.functional.interpolate(maps, (height, width))
        >>> check_desiderata(repeated).d1.satisfied
        True
    """

    def __call__(
        self,
        coarse: Tensor,
        inputs: Tensor,
        forward_func: ForwardFunc,
        target: Target = None,
        additional_forward_args: Any = None,
        size: tuple[int, ...] | None = None,
    ) -> Tensor:
        """Upsample `coarse` (N, h, w) or (N, 1, h, w) to (N, 1, H, W); for inputs of one or three dimensions, signals
        (N, C, T) and volumes (N, C, D, H, W), maps of as many, if the upsampler is for them.

        Args:
            coarse: attribution on a grid, for the images of `inputs`.
            inputs: (N, C, H, W), as the model takes them.
            forward_func: the model, called with images and `additional_forward_args`.
            target: of the model's outputs, as in Captum.
            additional_forward_args: as in Captum.
            size: (H, W) of the result. None: that of the inputs.
        """
        ...


@runtime_checkable
class ScoringUpsampler(Protocol):
    """An upsampler that scores the image's pixels first: adapters do this once for all maps of the same images.

    An optional attribute `probability` says that the softmax of the model's outputs is scored, for adapters whose
    targets are functions of the outputs. Where an optional attribute `skip_empty` is true, `score_map` also gets the
    maps that will be upsampled to the inputs' size, as `maps=`.

    Example:
        >>> from captum_ext.upsampling import InterpolationUpsampler, ScoringUpsampler, USUUpsampler
        >>> isinstance(USUUpsampler(), ScoringUpsampler), isinstance(InterpolationUpsampler(), ScoringUpsampler)
        (True, False)
    """

    def score_map(
        self, inputs: Tensor, forward_func: ForwardFunc, target: Target = None, additional_forward_args: Any = None
    ) -> Tensor:
        """Scores (N, 1, H, W) in [0, 1] of the images' pixels.

        Args:
            inputs: images (N, C, H, W), volumes or signals.
            forward_func: the model.
            target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
            additional_forward_args: as in Captum.
        """
        ...

    def redistribute(self, coarse: Tensor, score_map: Tensor, size: tuple[int, ...] | None = None) -> Tensor:
        """Upsample `coarse` to (N, 1, H, W) by a score map, without any pass through the model.

        Args:
            coarse: (N, h, w) or (N, 1, h, w).
            score_map: what `score_map` returned.
            size: (H, W) of the result. None: that of the score map.
        """
        ...


def upsample_maps(
    upsampler: Upsampler | ScoringUpsampler,
    maps: Iterable[Tensor],
    inputs: Tensor,
    forward_func: ForwardFunc,
    target: Target = None,
    additional_forward_args: Any = None,
    size: tuple[int, ...] | None = None,
) -> list[Tensor]:
    """Upsample several maps of the same images, whose pixels are scored once for all of them.

    Args:
        upsampler: any; what it returns is checked.
        maps: (N, h, w) or (N, 1, h, w) each, of any grids; (N, t) or (N, 1, t) for signals (N, C, T), and
            (N, d, h, w) or (N, 1, d, h, w) for volumes.
        inputs: see `Upsampler`, as what follows.
        forward_func: the model.
        target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
        additional_forward_args: as in Captum.
        size: (H, W) of the results. None: that of the inputs.

    Returns:
        A tensor (N, 1, H, W) for each map, (N, 1, T) for signals and (N, 1, D, H, W) for volumes.

    Raises:
        ArgumentTypeError, ArgumentError: an upsampler that returns something else.

    Example:
        >>> import torch
        >>> from captum_ext.upsampling import InterpolationUpsampler, upsample_maps
        >>> maps = [torch.rand(2, 2, 2), torch.rand(2, 4, 4)]
        >>> images, upsampler = torch.rand(2, 3, 8, 8), InterpolationUpsampler("nearest")
        >>> fine = upsample_maps(upsampler, maps, images, lambda x: x.sum((1, 2, 3)))
        >>> [tuple(one.shape) for one in fine]
        [(2, 1, 8, 8), (2, 1, 8, 8)]
    """
    dims = inputs.dim() - 2
    fine_size = check_size("size", tuple(inputs.shape[2:]) if size is None else size, dims)
    if dims == 1:  # (N, 1, t) alone may be a map of one row
        maps = [as_maps("maps", one, dims) for one in maps]
    if isinstance(upsampler, ScoringUpsampler):
        maps = list(maps)
        shows_maps = getattr(upsampler, "skip_empty", False) and fine_size == tuple(inputs.shape[2:])
        shown: dict[str, Any] = {"maps": maps} if shows_maps else {}
        scores = upsampler.score_map(inputs, forward_func, target, additional_forward_args, **shown)
        results = [upsampler.redistribute(one, scores, size) for one in maps]
    else:
        results = [upsampler(one, inputs, forward_func, target, additional_forward_args, size) for one in maps]
    for fine in results:
        _check_fine(fine, (len(inputs), 1, *fine_size))
    return results


def _check_fine(fine: Any, shape: tuple[int, ...]) -> None:
    expected = f"a function that returns a tensor of shape {shape}"
    if not isinstance(fine, Tensor):
        raise ArgumentTypeError("upsampler", expected, f"one that returned {describe(fine)}")
    if tuple(fine.shape) != shape:
        raise ArgumentError("upsampler", expected, f"one that returned {describe(fine)}")
