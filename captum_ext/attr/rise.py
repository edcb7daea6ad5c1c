"""RISE: randomized input sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, overload

import torch
from captum.attr import PerturbationAttribution
from torch import Tensor

from captum_ext.attr.paths.errors import check_kind
from captum_ext.core.autocast import own_precision
from captum_ext.core.blur import check_dims, space_dims
from captum_ext.core.captum import log_usage
from captum_ext.core.checks import MOST_STEPS, check_baselines, check_bool, check_number, check_positive_int, check_seed
from captum_ext.core.chunks import for_each_chunk
from captum_ext.core.devices import double, on_device
from captum_ext.core.progress import counted
from captum_ext.core.request import Request
from captum_ext.core.tensors import accumulation_dtype, along_sides
from captum_ext.core.types import Baselines, ForwardFunc, Target
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

_LARGEST_GRID = 256
_AT_ONCE = 2**22  # cells whose random numbers are drawn together
_MOST_CELLS = 2**28  # of all masks, a byte each


class RISE(PerturbationAttribution):  # type: ignore[misc]
    r"""Randomized Input Sampling for Explanation (Petsiuk, Das and Saenko, BMVC 2018).

    https://arxiv.org/abs/1806.07421

    $$S(\lambda) = \frac{1}{n\,p} \sum_{i=1}^{n} F(x \odot M_i + b \odot (1 - M_i)) \, M_i(\lambda)$$

    for random masks $M_i$: a coarse grid, each cell of which is kept with probability p, upsampled bilinearly to one
    cell more than the image in all directions, and cropped at a random place, so that no pixel is always at an edge.
    Only scores are asked for: the model may be a black box.

    Args:
        forward_func: the model; its outputs are scored as they are. The paper's scores are probabilities.
        grid: cells of the coarse grid along each side; the paper has 7.
        probability: p, of keeping a cell, from 1e-6 to below 1; the paper has 0.5.
        seed: of the masks, which are the same for all rows: from 0 to 2^63 - 1.
        dims: how many of the last dimensions are masked: None for the two of images and the three of volumes
            (N, C, D, H, W); 1 for signals (N, C, T); 2 for all frames of videos (N, C, T, H, W) alike.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError, ArgumentError: a setting that cannot be used.

    Example:
        >>> import torch
        >>> from captum_ext.attr import RISE
        >>> image = torch.ones(1, 1, 8, 8)
        >>> maps = RISE(lambda x: x[..., :4].mean((1, 2, 3)), grid=2).attribute(image, n_samples=500)
        >>> bool(maps[..., :4].mean() > maps[..., 4:].mean())  # where the score comes from
        True

    Deviations from the paper: the map is shared equally by the channels of a location, so that attributions have the
    shape of the inputs and a location's sum is $S(\lambda)$. Masked pixels fade to `baselines` where the paper fades to
    zero, which is the default. Masks are made when they are needed, and of each only its coarse cells are stored, a
    byte for each: memory is that of the rows in flight. A map says where the score comes from and is not complete: its
    sum is no difference of scores.

    Nearly all the time is the network's own. Where half precision is faster, call `attribute` inside `torch.autocast`:
    only the network is affected, and rounding averages out over the masks.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        *,
        grid: int = 7,
        probability: float = 0.5,
        seed: int = 0,
        dims: int | None = None,
        allow_batch_statistics: bool = False,
    ) -> None:
        super().__init__(forward_func)
        self.grid = check_positive_int("grid", grid, _LARGEST_GRID)
        expected = "a number from 1e-6 to 1, the latter excluded"
        self.probability = check_number("probability", probability, expected, lambda value: 1e-6 <= value < 1)
        self.seed = check_seed("seed", seed)
        self.dims = check_dims("dims", dims)
        self.allow_batch_statistics = check_bool("allow_batch_statistics", allow_batch_statistics)

    def settings(self) -> dict[str, Any]:
        """What the attributions depend on beside the model and the arguments of `attribute`."""
        settings = {"grid": self.grid, "probability": self.probability, "seed": self.seed}
        return settings if self.dims is None else {**settings, "dims": self.dims}

    @overload
    def attribute(
        self,
        inputs: Tensor,
        baselines: Baselines = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_samples: int = ...,
        internal_batch_size: int | None = ...,
        *,
        return_standard_error: Literal[False] = ...,
        show_progress: bool = ...,
    ) -> Tensor: ...

    @overload
    def attribute(
        self,
        inputs: Tensor,
        baselines: Baselines = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_samples: int = ...,
        internal_batch_size: int | None = ...,
        *,
        return_standard_error: Literal[True, "location"],
        show_progress: bool = ...,
    ) -> tuple[Tensor, Tensor]: ...

    @log_usage
    @own_precision
    def attribute(
        self,
        inputs: Tensor,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_samples: int = 4000,
        internal_batch_size: int | None = None,
        *,
        return_standard_error: bool | str = False,
        show_progress: bool = False,
    ) -> Any:
        r"""Explain images.

        Args:
            inputs: (N, C, H, W), floating point; volumes (N, C, D, H, W); signals (N, C, T) with `dims=1`.
            baselines: what masked pixels fade to, as in Captum: a number, one image (1, C, H, W) or one for each input.
            target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
            additional_forward_args: as in Captum; see `PathAttribution.attribute`.
            n_samples: masks for each image, as many passes forwards; the paper has 4,000 (8,000 for ResNet-50). At
                most 2 ** 28 // grid ** 2 (of volumes ** 3, of signals ** 1), whose cells take 256 MB.
            internal_batch_size: rows given to the model at once. None: chosen by device and row size. The result does
                not depend on it.
            return_standard_error: also return standard errors, from the same passes: True for every element, or
                "location" for the sums over channels, S itself, (N, 1, H, W). Masks are drawn independently, so that
                the variance of the mean, $\frac{1}{n (n - 1)} \sum_i (x_i - \bar x)^2$ of
                $x_i = F(\cdot) M_i(\lambda) / p$, is estimated without bias. All rows have the same masks: their errors
                are not independent of each other.
            show_progress: show a bar that counts passes.

        Returns:
            Of the inputs' shape, float32 for half precision, else the inputs' dtype; in units of the score. Then, if
            asked for, the standard errors.

        Raises:
            ArgumentTypeError, ArgumentError: inputs that are no images, arguments that do not fit.
            NonFiniteError: NaN or infinity in inputs, baselines or scores; see `captum_ext.on_nonfinite`.
            ModelOutputError: `forward_func` did not return one score for each row.
        """
        if not isinstance(inputs, Tensor):
            raise ArgumentTypeError("inputs", "a tensor of images (N, C, H, W)", type(inputs).__name__)
        n_samples = check_positive_int("n_samples", n_samples, MOST_STEPS)
        request = Request(
            self.forward_func,
            inputs,
            target,
            additional_forward_args,
            internal_batch_size,
            allow_batch_statistics=self.allow_batch_statistics,
        )
        (images,) = request.inputs
        dims = space_dims("inputs", images, self.dims)
        most = _MOST_CELLS // self.grid**dims
        if n_samples > most:
            grid, received = " x ".join([str(self.grid)] * dims), f"{n_samples:,} masks, whose cells would not fit"
            raise ArgumentError("n_samples", f"at most {most:,} with a grid of {grid}", f"{received} into memory")
        (fill,) = check_baselines(baselines, request.inputs)
        masks = Masks.drawn(self, n_samples, tuple(images.shape[-dims:]))
        show_progress = check_bool("show_progress", show_progress)
        wanted = check_kind(return_standard_error)
        if wanted and n_samples < 2:
            raise ArgumentError("n_samples", "at least 2 where `return_standard_error` is given", str(n_samples))
        with counted("RISE", n_samples * len(images), "pass", show_progress) as on_done:
            scores = _scores(request, masks, fill, on_done)
        total, squares = _weighted_sums(request, masks, double(scores), with_squares=bool(wanted))
        share = 1 / (n_samples * self.probability * math.prod(images.shape[1:-dims]))
        result = request.formatted((_returned(total * share, images).expand_as(images).contiguous(),))
        if squares is None:
            return result
        variance = (squares - total.square() / n_samples).clamp(min=0) * n_samples / (n_samples - 1)
        error = _returned(variance.sqrt() * share, images)
        if wanted is True:
            return result, request.formatted((error.expand_as(images).contiguous(),))
        return result, request.formatted((error * math.prod(images.shape[1:-dims]),))


@dataclass(frozen=True)
class Masks:
    """Random masks, as the numbers that they are made of.

    Attributes:
        kept: (n, grid, grid) which cells are kept; as many times `grid` as the masks have dimensions, but one cell
            along the depth of a volume of depth 1, whose masks are those of an image.
        shift: (n, 2) where each mask is cropped, in pixels below a cell's height and width.
        size: (H, W).
    """

    kept: Tensor
    shift: Tensor
    size: tuple[int, ...]

    @classmethod
    def drawn(cls, method: RISE, n_samples: int, size: tuple[int, ...]) -> Masks:
        """The masks of a method, whose seed they depend on alone."""
        generator = torch.Generator().manual_seed(method.seed)
        is_flat = len(size) == 3 and size[0] == 1
        grids = [1 if is_flat and axis == 0 else method.grid for axis in range(len(size))]
        kept = torch.empty(n_samples, *grids, dtype=torch.bool, device="cpu")
        for part in torch.split(kept, max(1, _AT_ONCE // math.prod(grids))):
            numbers = torch.rand(part.shape, generator=generator, dtype=torch.float32, device="cpu")
            torch.lt(numbers, method.probability, out=part)
        drawn = [
            torch.randint(-(-side // method.grid), (n_samples,), generator=generator, device="cpu")
            for side in size[is_flat:]
        ]
        shift = [torch.zeros(n_samples, dtype=torch.long, device="cpu")] * is_flat + drawn
        return cls(kept, torch.stack(shift, 1), size)

    def __len__(self) -> int:
        return len(self.kept)

    def at(self, which: Tensor, like: Tensor) -> Tensor:
        """The masks (m, H, W) with these numbers (m,), in the dtype of arithmetic on images, on their device.

        Multilinear interpolation weighs each direction apart: a mask of an image is a product of three matrices.
        """
        dtype, device = accumulation_dtype(like.dtype), like.device
        kept = on_device(self.kept[which].to(dtype), device)
        weights = [
            on_device(self._weights(axis, self.shift[which, axis]).to(dtype), device) for axis in range(len(self.size))
        ]
        return along_sides(kept, weights)

    def _weights(self, axis: int, shift: Tensor) -> Tensor:
        """(m, side, grid): the share that each cell has in each pixel along one side."""
        grid, side = self.kept.shape[1 + axis], self.size[axis]
        larger = (grid + 1) * -(-side // grid)
        pixel = torch.arange(side, device="cpu") + shift[:, None]
        place = ((pixel + 0.5) * grid / larger - 0.5).clamp(0, grid - 1)
        return (1 - (place[..., None] - torch.arange(grid, device="cpu")).abs()).clamp(min=0)


def _with_channels(maps: Tensor, images: Tensor) -> Tensor:
    """Maps (P, H, W), broadcastable to images (N, C, H, W): with one channel, and one of whatever else comes before."""
    return maps.reshape(len(maps), *(1,) * (images.dim() - maps.dim()), *maps.shape[1:])


def _scores(request: Request, masks: Masks, fill: Tensor, on_done: Callable[[int], object]) -> Tensor:
    """Score (n, N) of every image under every mask."""
    (images,), n_rows = request.inputs, request.n_rows

    def values(points: Tensor, rows: Tensor) -> Tensor:
        numbers, place = torch.unique_consecutive(points // n_rows, return_inverse=True)
        mask = _with_channels(masks.at(numbers, images)[on_device(place, images.device)], images)
        taken = images[on_device(rows, images.device)]
        below = fill if len(fill) == 1 else fill[on_device(rows, fill.device)]
        scores = request.model.scores(((below + mask * (taken - below)).to(images.dtype),), rows)
        on_done(len(rows))
        return scores

    return request.evaluate(request.rows.repeat(len(masks)), values).reshape(len(masks), n_rows)


def _returned(maps: Tensor, images: Tensor) -> Tensor:
    """Maps (N, H, W) with one channel, in the dtype and on the device of attributions of the images."""
    return _with_channels(maps.to(accumulation_dtype(images.dtype)).to(images.device), images)


def _weighted_sums(
    request: Request, masks: Masks, scores: Tensor, *, with_squares: bool
) -> tuple[Tensor, Tensor | None]:
    """Sums (N, H, W), float64, of the masks times the scores (n, N) under them, and of the squares of these."""
    (images,) = request.inputs
    total = torch.zeros(request.n_rows, *masks.size, dtype=torch.float64, device=scores.device)
    squares = torch.zeros_like(total) if with_squares else None

    def add(part: slice) -> None:
        mask = masks.at(torch.arange(part.start, part.stop, device="cpu"), images).to(scores.device).double()
        total.add_(torch.einsum("mn,m...->n...", scores[part], mask))
        if squares is not None:
            squares.add_(torch.einsum("mn,m...->n...", scores[part].square(), mask.square_()))

    for_each_chunk(len(masks), request.limit.for_batch(1), add)
    return total, squares
