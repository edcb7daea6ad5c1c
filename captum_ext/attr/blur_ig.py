"""Blur Integrated Gradients: the path from a blurred image to the image."""

from __future__ import annotations

from typing import Any, Literal, overload

import torch
from captum.attr import GradientAttribution
from torch import Tensor

from captum_ext.attr.paths.path_method import OnDone
from captum_ext.attr.paths.quadrature import own_rule
from captum_ext.core.autocast import own_precision
from captum_ext.core.blur import LARGEST_SIGMA, blur_matrix, check_dims, space_dims
from captum_ext.core.captum import log_usage
from captum_ext.core.checks import MOST_STEPS, check_bool, check_choice, check_number, check_positive_int, describe
from captum_ext.core.chunks import for_each_chunk
from captum_ext.core.devices import doubles, on_device
from captum_ext.core.inspection import frozen_parameters
from captum_ext.core.model import compute_gradients
from captum_ext.core.progress import counted
from captum_ext.core.request import Request
from captum_ext.core.tensors import Sums, accumulation_dtype, along_sides, row_sum
from captum_ext.core.types import Baselines, ForwardFunc, Target
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

BORDERS = ("reflect", "zero")
METHODS = ("riemann_left", "riemann_middle")


class BlurIG(GradientAttribution):  # type: ignore[misc]
    r"""Blur Integrated Gradients (Xu, Venugopalan and Sundararajan, "Attribution in Scale and Space", CVPR 2020).

    https://arxiv.org/abs/2004.03383

    $$\phi(x) = -\int_0^{\sigma_{max}} \frac{\partial F(L(\sigma))}{\partial L(\sigma)}
    \frac{\partial L(\sigma)}{\partial \sigma} \, d\sigma$$

    for the image $L(\sigma)$ blurred by a Gaussian with standard deviation $\sigma$ in pixels. No baseline is chosen:
    the path begins at the image without its details, and attributions sum to $F(x) - F(L(\sigma_{max}))$.

    Args:
        forward_func: the model.
        max_sigma: standard deviation, in pixels, at which the path begins; the authors' code has 50.
        border: what is beyond the image: "reflect", its mirror image; or "zero", as in the authors' code.
        dims: how many of the last dimensions are blurred, as in `images.gaussian_blur`: None for the two of images and
            the three of volumes (N, C, D, H, W); 1 for signals (N, C, T); 2 for each frame of videos (N, C, T, H, W).
        derivative_step: None: a step counts the gradient times the difference of the blurred images at its ends. A
            number of pixels: times the derivative, by a difference over so many, and the step's width; the authors'
            code has 0.01.
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError, ArgumentError: a setting that cannot be used.

    Example:
        >>> import torch
        >>> from captum_ext.attr import BlurIG
        >>> image = torch.zeros(1, 1, 5, 5)
        >>> image[..., 2, 2] = 1
        >>> maps, delta = BlurIG(lambda x: x[:, 0, 2, 2], max_sigma=9).attribute(image, return_convergence_delta=True)
        >>> maps[0, 0, 2, 2].round(decimals=2), delta.abs() < 1e-6  # of the centre's 1, the blur leaves 0.04
        (tensor(0.9600), tensor([True]))

    Deviations from the authors' code: with `border="zero"`, `derivative_step=0.01` and 100 steps there are none. Their
    derivative is zero at the sharp image, whose neighbours weigh nothing in a kernel that narrow, and so leaves the
    first step out; without it the sum is exact for linear models. With a border of zero the rim of a bright image
    darkens along the path, and is credited for it.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        *,
        max_sigma: float = 50.0,
        border: str = "reflect",
        derivative_step: float | None = None,
        dims: int | None = None,
        allow_batch_statistics: bool = False,
    ) -> None:
        super().__init__(forward_func)
        expected = f"a positive number of at most {LARGEST_SIGMA:,}"
        self.max_sigma = check_number("max_sigma", max_sigma, expected, lambda value: 0 < value <= LARGEST_SIGMA)
        self.border = check_choice("border", border, BORDERS)
        expected = "None, or a number from 1e-6 to 1"
        if derivative_step is not None:
            derivative_step = check_number(
                "derivative_step", derivative_step, expected, lambda value: 1e-6 <= value <= 1
            )
        self.derivative_step = derivative_step
        self.dims = check_dims("dims", dims)
        self.allow_batch_statistics = check_bool("allow_batch_statistics", allow_batch_statistics)

    def settings(self) -> dict[str, Any]:
        """What the attributions depend on beside the model and the arguments of `attribute`."""
        settings = {"max_sigma": self.max_sigma, "border": self.border, "derivative_step": self.derivative_step}
        return settings if self.dims is None else {**settings, "dims": self.dims}

    def has_convergence_delta(self) -> bool:
        """Whether `return_convergence_delta` is supported: yes."""
        return True

    @overload
    def attribute(
        self,
        inputs: Tensor,
        baselines: None = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        return_convergence_delta: Literal[False] = ...,
        *,
        show_progress: bool = ...,
    ) -> Tensor: ...

    @overload
    def attribute(
        self,
        inputs: Tensor,
        baselines: None = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        *,
        return_convergence_delta: Literal[True],
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
        n_steps: int = 50,
        method: str | None = None,
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        show_progress: bool = False,
    ) -> Any:
        r"""Explain images.

        Args:
            inputs: (N, C, H, W), floating point; volumes (N, C, D, H, W); signals (N, C, T) with `dims=1`.
            baselines: None: the path has its own beginning.
            target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
            additional_forward_args: as in Captum; see `PathAttribution.attribute`.
            n_steps: steps of equal width in the standard deviation, as many gradients for each image.
            method: where a step takes its gradient: "riemann_left" (None), at its sharper end, as the authors' code; or
                "riemann_middle", at half of its width. Captum's other rules are taken for the first, with a warning.
            internal_batch_size: rows given to the model at once. None: chosen by device and row size. The result does
                not depend on it.
            return_convergence_delta: also return the delta.
            show_progress: show a bar that counts gradients.

        Returns:
            Attributions of the inputs' shape, float32 for half precision, else the inputs' dtype; then, if asked for,
            the delta (N,), in units of the score: $\sum_i \phi_i - (F(x) - F(L(\sigma_{max})))$.

        Raises:
            ArgumentTypeError, ArgumentError: inputs that are no images, baselines, arguments that do not fit.
            NonFiniteError: NaN or infinity in the inputs or what the model gives; see `captum_ext.on_nonfinite`.
            ModelOutputError: `forward_func` did not return one score for each row, or one without a gradient.
            InferenceModeError: called under `torch.inference_mode()`.
        """
        if not isinstance(inputs, Tensor):
            raise ArgumentTypeError("inputs", "a tensor of images (N, C, H, W)", type(inputs).__name__)
        if baselines is not None:
            raise ArgumentError("baselines", "None, since the path begins at the blurred image", describe(baselines))
        n_steps = check_positive_int("n_steps", n_steps, MOST_STEPS)
        method = own_rule(method, METHODS, "BlurIG")
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
        space_dims("inputs", images, self.dims)
        show_progress = check_bool("show_progress", show_progress)
        with (
            frozen_parameters(self.forward_func),
            counted("BlurIG", n_steps * len(images), "gradient", show_progress) as on_done,
        ):
            sums = self._integrated(request, n_steps, method, on_done)
        attributions = sums.result()[0]
        result = request.formatted((attributions,))
        if not return_convergence_delta:
            return result
        return result, self._delta(request, attributions)

    def _integrated(self, request: Request, n_steps: int, method: str, on_done: OnDone) -> Sums:
        """Sums (N, ...) over the steps of gradient times difference of blurred images."""
        (images,), sums = request.inputs, Sums(request.inputs, request.n_rows)
        rows = request.rows.repeat(n_steps)
        step = torch.arange(n_steps, device="cpu").repeat_interleave(request.n_rows)

        def add(part: slice) -> None:
            row, sharper = rows[part], step[part].double()
            taken = images[on_device(row, images.device)].to(accumulation_dtype(images.dtype))
            width = self.max_sigma / n_steps
            sigma = sharper * width if method == "riemann_left" else (sharper + 0.5) * width
            at = self._blurred(taken, sigma)
            gradients = request.model.gradients((at.to(images.dtype),), row)
            sums.add(row, (gradients[0].to(at.dtype) * self._sharpening(taken, sharper * width, sigma, at, width),))
            on_done(len(row))

        for_each_chunk(len(rows), request.limit, add, batches=True)
        return sums

    def _sharpening(self, images: Tensor, low: Tensor, sigma: Tensor, at: Tensor, width: float) -> Tensor:
        """How images (P, C, H, W) sharpen in a step that ends at low (P,); `at` is their blur by sigma (P,)."""
        if self.derivative_step is not None:
            return (at - self._blurred(images, sigma + self.derivative_step)) * (width / self.derivative_step)
        sharper = at if bool((sigma == low).all()) else self._blurred(images, low)
        return sharper - self._blurred(images, low + width)

    def _blurred(self, images: Tensor, sigma: Tensor) -> Tensor:
        """Images (P, C, H, W), each blurred by its own standard deviation (P,)."""
        different, place = torch.unique(sigma, return_inverse=True)
        dims = space_dims("inputs", images, self.dims)
        along = [
            on_device(torch.stack([blur_matrix(side, float(one), self.border) for one in different]), images.device).to(
                images.dtype
            )[on_device(place, images.device)]
            for side in images.shape[-dims:]
        ]
        return along_sides(images, along)

    def _delta(self, request: Request, attributions: Tensor) -> Tensor:
        (images,) = request.inputs

        def values(points: Tensor, row: Tensor) -> Tensor:
            taken = images[on_device(row, images.device)].to(accumulation_dtype(images.dtype))
            blurred = self._blurred(
                taken, torch.full((len(points),), self.max_sigma, dtype=torch.float64, device="cpu")
            )
            return request.model.scores((blurred.to(images.dtype),), row)

        begin, end, explained = doubles(
            request.evaluate(request.rows, values), request.scores, row_sum(attributions).to(images.device)
        )
        return request.left_out.blanked((explained - (end - begin)).to(attributions.dtype).to(attributions.device))
