"""XRAI: attributions of regions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, overload

import torch
from captum.attr import GradientAttribution
from torch import Tensor

from captum_ext.attr.integrated_gradients import IntegratedGradients
from captum_ext.attr.xrai.regions import ALGORITHMS, ranked_regions
from captum_ext.core.autocast import own_precision
from captum_ext.core.captum import log_usage
from captum_ext.core.checks import MOST_STEPS, check_bool, check_choice, check_number, check_positive_int, describe
from captum_ext.core.model import compute_gradients
from captum_ext.core.request import Request
from captum_ext.core.tensors import accumulation_dtype
from captum_ext.core.types import Baselines, ForwardFunc, Target
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.segmentation import MultiScaleSegmenter, Segment, Segmenter, check_labels, masks_of
from captum_ext.upsampling.settings import check_segmenter

_AUTHORS_AREA = 224 * 224


class XRAI(GradientAttribution):  # type: ignore[misc]
    r"""XRAI (Kapishnikov, Bolukbasi, Viegas and Terry, "XRAI: Better Attributions Through Regions", ICCV 2019).

    https://arxiv.org/abs/1906.02825

    $$s_1, s_2, \ldots: \quad s_k = \arg\max_s \; \frac{1}{|s \setminus T_k|} \sum_{i \in s \setminus T_k} A_i,
    \qquad T_k = s_1 \cup \ldots \cup s_{k-1}$$

    for the Integrated Gradients A from a dark and a bright baseline, and segments s of several scales. Every location
    gets the mean of A over what its segment added: regions come before pixels.

    Args:
        forward_func: the model.
        segmenter: None for `captum_ext.segmentation.MultiScaleSegmenter`, as the authors have it; that class with other
            settings; or any other division without overlaps: a `Segmenter`, its name, a function from one image
            (H, W, C) in [0, 1] to labels (H, W), or labels (H, W) or (N, H, W).
        algorithm: "full", the formula above; or "fast": segments in the order of their own densities, overlaps
            included.
        min_pixels: a segment that adds fewer pixels is left out. None: 50 of 224 x 224 pixels, as the authors have it,
            and in proportion for other sizes.
        area: the "full" algorithm ends when a larger share than this is covered; 1 goes on to the end.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError, ArgumentError: a setting that cannot be used.

    Example:
        >>> import torch
        >>> from captum_ext.attr import XRAI
        >>> halves = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]])
        >>> image = torch.arange(8.0).reshape(1, 1, 2, 4)
        >>> xrai = XRAI(lambda x: x[..., 2:].sum((1, 2, 3)), segmenter=halves)
        >>> maps, ranks = xrai.attribute(image, baselines=0, return_segments=True)
        >>> maps[0, 0, 0], ranks[0, 0]  # the mean of 2, 3, 6 and 7
        (tensor([0.0000, 0.0000, 4.5000, 4.5000]), tensor([2, 2, 1, 1]))

    Deviations from the paper: those of the authors' code, of which a pixel's attribution is the largest of its
    channels'. The map is shared equally by the channels of a location, so that attributions have the shape of the
    inputs and a location's sum is its density. Sizes in pixels follow the size of the image; the code has the same
    for all. The integral is computed by Gauss-Legendre quadrature unless another method is named; the code's is
    "linspace". With it, `min_pixels=50` and `MultiScaleSegmenter(dilation=5)` the map is that of the code.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        *,
        segmenter: MultiScaleSegmenter | Segmenter | str | Segment | Tensor | None = None,
        algorithm: str = "full",
        min_pixels: int | None = None,
        area: float = 1.0,
        allow_batch_statistics: bool = False,
    ) -> None:
        super().__init__(forward_func)
        if segmenter is None or isinstance(segmenter, MultiScaleSegmenter):
            self.segmenter: MultiScaleSegmenter | Segmenter | Tensor = segmenter or MultiScaleSegmenter()
        else:
            self.segmenter = check_segmenter(segmenter)
        self.algorithm = check_choice("algorithm", algorithm, ALGORITHMS)
        self.min_pixels = None if min_pixels is None else check_positive_int("min_pixels", min_pixels, MOST_STEPS)
        self.area = check_number("area", area, "a share from 0 to 1", lambda value: 0 <= value <= 1)
        self.allow_batch_statistics = check_bool("allow_batch_statistics", allow_batch_statistics)

    def settings(self) -> dict[str, Any]:
        """What the attributions depend on beside the model and the arguments of `attribute`."""
        return {name: getattr(self, name) for name in ("segmenter", "algorithm", "min_pixels", "area")}

    @overload
    def attribute(
        self,
        inputs: Tensor,
        baselines: Baselines | list[Baselines] = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        *,
        return_segments: Literal[False] = ...,
        show_progress: bool = ...,
    ) -> Tensor: ...

    @overload
    def attribute(
        self,
        inputs: Tensor,
        baselines: Baselines | list[Baselines] = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        *,
        return_segments: Literal[True],
        show_progress: bool = ...,
    ) -> tuple[Tensor, Tensor]: ...

    @log_usage
    @own_precision
    def attribute(
        self,
        inputs: Tensor,
        baselines: Baselines | list[Baselines] = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str | None = None,
        internal_batch_size: int | None = None,
        *,
        return_segments: bool = False,
        show_progress: bool = False,
    ) -> Any:
        r"""Explain images.

        Args:
            inputs: (N, C, H, W), floating point; volumes (N, C, D, H, W) with another segmenter than None; signals
                (N, C, T) with labels (T,) or (N, T).
            baselines: None: two for each image, its lowest and its highest value everywhere, as the authors have it;
                else one as in Captum (a number, one image (1, C, H, W) or one for each input), or a list of such.
            target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
            additional_forward_args: as in Captum; see `PathAttribution.attribute`.
            n_steps: gradients for each image and baseline; the authors' code has 100.
            method: a rule of `IntegratedGradients`, but "stratified"; or "linspace", the authors': points at equal
                distances from end to end, of equal weight.
            internal_batch_size: rows given to the model at once. None: chosen by device and row size. The result does
                not depend on it.
            return_segments: also return the segments.
            show_progress: show a bar that counts gradients, for each baseline.

        Returns:
            Attributions of the inputs' shape, float32 for half precision, else the inputs' dtype, in units of the score
            for each location; then, if asked for, the ranks (N, H, W) of the segments, 1 for the densest.

        Raises:
            ArgumentTypeError, ArgumentError: inputs that are no images, arguments that do not fit, a segmenter that
                gives labels of another size.
            NonFiniteError: NaN or infinity in inputs, baselines or gradients; see `captum_ext.on_nonfinite`.
            ModelOutputError: `forward_func` did not return one score for each row, or one without a gradient.
            InferenceModeError: called under `torch.inference_mode()`.

        Warns:
            UserWarning: an image whose segments are all of it: its map is the same everywhere.
        """
        if not isinstance(inputs, Tensor):
            raise ArgumentTypeError("inputs", "a tensor of images (N, C, H, W)", type(inputs).__name__)
        request = Request(
            self.forward_func,
            inputs,
            target,
            additional_forward_args,
            internal_batch_size,
            gradient_func=compute_gradients,
            allow_batch_statistics=self.allow_batch_statistics,
        )
        (images,) = request.inputs
        self._check_dimensions(images)
        if isinstance(method, str) and method == "stratified":
            raise ArgumentError("method", "a rule without random points", describe(method))
        return_segments = check_bool("return_segments", return_segments)
        integrated = IntegratedGradients(self.forward_func, allow_batch_statistics=self.allow_batch_statistics)

        def from_baseline(baseline: Any, n_steps: int, method: str | None) -> Tensor:
            arguments = (inputs, baseline, target, additional_forward_args, n_steps, method, internal_batch_size)
            return integrated.attribute(*arguments, show_progress=show_progress)

        n_steps = check_positive_int("n_steps", n_steps, MOST_STEPS)
        each = [_by_rule(partial(from_baseline, one), n_steps, method) for one in _all_baselines(baselines, images)]
        density, ranks = self._ranked(images, torch.stack(each).mean(0).amax(1))
        shared = (density / images.shape[1]).to(accumulation_dtype(images.dtype)).to(images.device)
        result = request.formatted((shared[:, None].expand_as(images).contiguous(),))
        return (result, ranks.to(images.device)) if return_segments else result

    def _check_dimensions(self, images: Tensor) -> None:
        """Refuse inputs that the segmenter does not divide; three dimensions are signals where their labels say so."""
        size, shape = images.shape[2:], tuple(images.shape)
        labels = isinstance(self.segmenter, Tensor) and self.segmenter.shape in (size, (len(images), *size))
        fits = images.dim() == 4 or (images.dim() == 3 and labels)
        fits = fits or (images.dim() == 5 and not isinstance(self.segmenter, MultiScaleSegmenter))
        if not fits or images.numel() == 0:
            others = {3: "; of signals (N, C, T) with labels (T,)", 5: "; of volumes with another segmenter"}
            expected = "a batch of images (N, C, H, W)" + others.get(images.dim(), "")
            raise ArgumentError("inputs", expected, f"shape {shape}")

    def _ranked(self, images: Tensor, attribution: Tensor) -> tuple[Tensor, Tensor]:
        """Densities (N, H, W), float64, and ranks (N, H, W) of segments; of a map that is not finite NaN and 0."""
        least = self.min_pixels or max(1, round(50 * math.prod(images.shape[2:]) / _AUTHORS_AREA))
        densities = torch.full(attribution.shape, torch.nan, dtype=torch.float64, device="cpu")
        ranks = torch.zeros(attribution.shape, dtype=torch.long, device="cpu")
        for row in attribution.isfinite().flatten(1).all(1).nonzero().squeeze(1).tolist():
            masks = self._masks(images, row)
            densities[row], ranks[row] = ranked_regions(attribution[row], masks, self.algorithm, least, self.area)
        undivided = (ranks.flatten(1).amax(1) == 1).nonzero().squeeze(1).tolist()
        if undivided:
            warn_caller(
                f"The segments of {len(undivided)} of {len(images)} images (first image {undivided[0]}) are all of the "
                "image, so that its map is the same everywhere: give XRAI a segmenter that divides it, or fewer "
                "min_pixels."
            )
        return densities, ranks

    def _masks(self, images: Tensor, row: int) -> Tensor:
        """The segments (S, H, W) of one of the images."""
        image, size = images[row : row + 1], tuple(images.shape[2:])
        if isinstance(self.segmenter, MultiScaleSegmenter):
            return self.segmenter(image)[0]
        if isinstance(self.segmenter, Tensor):
            return masks_of(check_labels("segmenter", self.segmenter, len(images), size)[row].cpu())
        return masks_of(check_labels("segmenter", self.segmenter.of_inputs(image), 1, size)[0].cpu())


def _by_rule(integrate: Callable[[int, str | None], Tensor], n_steps: int, method: str | None) -> Tensor:
    """Attributions by a rule of Integrated Gradients, or the authors': n_steps - 1 steps, and the last point."""
    if not (isinstance(method, str) and method == "linspace"):
        return integrate(n_steps, method)
    if n_steps == 1:
        return integrate(1, "riemann_left")
    return (integrate(n_steps - 1, "riemann_left") * (n_steps - 1) + integrate(1, "riemann_right")) / n_steps


def _all_baselines(baselines: Any, images: Tensor) -> list[Any]:
    """The baselines to integrate from, each in one of Captum's forms."""
    if isinstance(baselines, list):
        if not baselines:
            raise ArgumentError("baselines", "None, a baseline, or a list of at least one", "an empty list")
        return baselines
    if baselines is not None:
        return [baselines]
    values = images.flatten(1)
    single = (-1, *(1,) * (images.dim() - 1))
    return [ends.reshape(single).expand_as(images) for ends in (values.amin(1), values.amax(1))]
