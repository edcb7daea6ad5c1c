"""Gaussian blur of images, volumes and signals: the input without details, equally strong wherever it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from captum_ext.core.autocast import own_precision
from captum_ext.core.checks import check_number, check_numbers, check_positive_int, describe
from captum_ext.core.pixels import warn_of_frames
from captum_ext.core.tensors import along_sides
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError

#: How strong a blur is: a standard deviation in pixels, "rise", or None for the rule of this package.
Sigma: TypeAlias = float | str | None

#: Words for a blurred image where baselines or a fill are asked for.
BLUR_WORDS = ("blur", "rise")

# The weakest of those measured that hides the class at every size: examples/benchmarks/measurements/blur.py.
_SIGMA, _LARGEST_SIDE = 12.0, 224
_RISE_SIGMA, _RISE_KERNEL = 5.0, 11  # Evaluation.ipynb and evaluation.py in github.com/eclique/RISE
_MOST = 0.5  # share of its score beyond which a blurred input shows what it should hide
_TRUNCATED = 4  # standard deviations, as SciPy's gaussian_filter
LARGEST_SIGMA = 10_000


@own_precision
def gaussian_blur(images: Tensor, sigma: Sigma = None, *, dims: int | None = None) -> Tensor:
    r"""Blur images until nothing can be made out: where insertion starts, and what stands for missing pixels.

    $$L = K_H \, x \, K_W^\top, \qquad K_{ij} \propto \exp(-(i - j)^2 / 2 \sigma^2)$$

    and likewise along the one or three dimensions of signals and volumes,

    with kernels that end at four standard deviations. Beyond its border an image is mirrored, again and again where the
    kernel is wider than the image, so that every channel keeps its mean.

    Args:
        images: (N, C, H, W), volumes (N, C, D, H, W), or with `dims=1` signals (N, C, T).
        sigma: None: 12 pixels up to a shorter side of 224 pixels, 12/224 of it beyond; of a volume the shorter of its
            two longest sides counts, of a signal its length. A number: the standard deviation in pixels, the same along
            all sides. "rise": the blur of RISE's evaluation, see below, for images.
        dims: how many of the last dimensions are blurred, from 1 to 3. None: the two of images, the three of volumes.
            Two of a volume's blur each of its slices, or each frame of a video (N, C, T, H, W). Three dimensions may be
            a signal, the embeddings (N, L, E) of a text or an image without its batch: say `dims=1` for a signal.

    Returns:
        Of the images' shape, in their dtype.

    The default is our own, and measured (`python -m examples.benchmarks.measurements.blur`): a share of the side hides
    the class at 224 pixels and not at 28, where digits are still read after a blur of 12/224 of the side (98 % of
    them, against 22 % at 12 pixels and 12 % for the mean colour).

    "rise" is what the authors of RISE (Petsiuk, Das and Saenko, BMVC 2018, https://arxiv.org/abs/1806.07421) blur with
    in their evaluation (https://github.com/eclique/RISE, `Evaluation.ipynb`): 11 x 11 weights of a Gaussian of 5
    pixels, what lies beyond them mirrored back in, and zeros beyond the border of the image. Theirs are images of 224
    pixels, and the kernel is not scaled to others here. It is weak: at 224 pixels it leaves the class to 8 of 20 images
    on EfficientNet-Lite0, and 60 % of the logit on average.

    Raises:
        ArgumentTypeError: images that are no tensor of numbers, a `sigma` that is none.
        ArgumentError: images of another shape, another word, a `sigma` that is not positive, `dims` that the images do
            not have, "rise" for others than images.

    Example:
        >>> import torch
        >>> from captum_ext.images import gaussian_blur
        >>> gaussian_blur(torch.tensor([[[[0.0, 0.0, 1.0, 0.0]]]]), sigma=0.5).squeeze()
        tensor([2.6387e-04, 1.0645e-01, 7.8657e-01, 1.0671e-01])
        >>> gaussian_blur(torch.tensor([[[0.0, 0.0, 1.0, 0.0]]]), sigma=0.5, dims=1).squeeze()
        tensor([2.6387e-04, 1.0645e-01, 7.8657e-01, 1.0671e-01])
    """
    check_numbers("images", images)
    dims, sigma = _dims_of(images, check_dims("dims", dims)), check_sigma("sigma", sigma)
    if isinstance(sigma, str) and dims != 2:
        raise ArgumentError("sigma", f"a number or None for a blur of {dims} dimension(s)", '"rise", a blur of images')
    wide = images.to(torch.float64 if images.dtype == torch.float64 else torch.float32)
    sides = images.shape[-dims:]
    if sigma is None:
        sigma = _SIGMA * max(1.0, sorted(sides)[-2:][0] / _LARGEST_SIDE)
    # As matrices, since convolutions with so long a kernel and one channel a group are slow on a CPU. In this order:
    # some devices have no float64.
    along = [
        (rise_matrix(size) if isinstance(sigma, str) else blur_matrix(size, sigma, "reflect"))
        .to(wide.dtype)
        .to(wide.device)
        for size in sides
    ]
    return along_sides(wide, along).to(images.dtype)


def _dims_of(images: Tensor, dims: int | None) -> int:
    """How many of the last dimensions of these images are blurred."""
    if images.numel() == 0:
        raise ArgumentError("images", "with at least one pixel", describe(images))
    return space_dims("images", images, dims)


def space_dims(name: str, images: Tensor, dims: int | None) -> int:
    """How many of the last dimensions are those of space: `dims`, else two of images and three of volumes.

    Raises:
        ArgumentError: images that do not have them, with a batch and channels before.
    """
    if dims is None and images.dim() not in (4, 5):
        expected = "a batch of images (N, C, H, W) or volumes (N, C, D, H, W), or of signals (N, C, T) with dims=1"
        raise ArgumentError(name, expected, describe(images))
    if dims is not None and not dims + 2 <= images.dim() <= 5:
        expected = f"of {dims + 2} to 5 dimensions for dims={dims}, the batch and the channels first"
        raise ArgumentError(name, expected, describe(images))
    if dims is None:
        warn_of_frames((images,))
    return images.dim() - 2 if dims is None else dims


@dataclass(frozen=True, repr=False)
class Blur:
    """A blurred input, of a strength of one's own, wherever "blur" may be given as baselines or as a fill.

    The word "blur" stands for `Blur()` and "rise" for `Blur("rise")`.

    Attributes:
        sigma: None, a standard deviation in pixels, or "rise", as in `gaussian_blur`.
        dims: None, or how many of the last dimensions are blurred; 1 says that inputs (N, C, T) are signals.

    Raises:
        ArgumentTypeError, ArgumentError: a `sigma` or `dims` that is none of these.

    Example:
        >>> import torch
        >>> from captum_ext.images import Blur
        >>> from captum_ext.metrics import insertion
        >>> x = torch.eye(4)[None, None]
        >>> curve = insertion(lambda x: x[:, 0, 0, 0], x, x, baselines=Blur(sigma=2), n_steps=1)
        >>> curve.scores  # of the blurred image, and of the image
        tensor([[0.2862, 1.0000]])
    """

    sigma: Sigma = None
    dims: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma", check_sigma("sigma", self.sigma))
        object.__setattr__(self, "dims", check_dims("dims", self.dims))

    def __call__(self, images: Tensor) -> Tensor:
        """Blur images (N, C, H, W), volumes, or with `dims=1` signals."""
        return gaussian_blur(images, self.sigma, dims=self.dims)

    def of_located(self, values: Tensor) -> Tensor:
        """Blur images, volumes, or signals (N, C, T) that are known to be such, along all their dimensions unless
        `dims` says otherwise.

        Args:
            values: (N, C, T), (N, C, H, W) or (N, C, D, H, W).
        """
        return gaussian_blur(values, self.sigma, dims=values.dim() - 2 if self.dims is None else self.dims)

    def __repr__(self) -> str:
        dims = "" if self.dims is None else f", dims={self.dims}"
        return f"Blur(sigma={self.sigma!r}{dims})"

    def __str__(self) -> str:
        words = {None: '"blur"', "rise": '"rise"'}
        return words[self.sigma] if self.dims is None and self.sigma in words else repr(self)


def as_blur(given: object) -> Blur | None:
    """The blur that a caller gave, by a word or as an object; None for anything else."""
    if isinstance(given, Blur):
        return given
    words = {"blur": Blur(), "rise": Blur("rise")}
    return words.get(given) if isinstance(given, str) else None


def check_blur(argument: str, blur: Blur, values: Tensor) -> None:
    """Raise unless images, volumes or signals have the dimensions along which a caller's `argument` blurs.

    Raises:
        ArgumentError: they do not, or it is the blur of RISE and they are no images.
    """
    dims, shape = values.dim() - 2 if blur.dims is None else blur.dims, tuple(values.shape)
    if not 1 <= dims <= values.dim() - 2 <= 3:
        raise ArgumentError(argument, f"a blur along dimensions of the inputs {shape} after the channels", str(blur))
    if blur.sigma == "rise" and dims != 2:
        raise ArgumentError(argument, f'"blur" for inputs {shape}, since the blur of RISE is one of images', str(blur))


def check_sigma(name: str, sigma: Sigma) -> Sigma:
    """Return `sigma` if it says how strong a blur is.

    Raises:
        ArgumentTypeError: no number, and no word.
        ArgumentError: another word, or a number that is not positive or too large.
    """
    if sigma is None or (isinstance(sigma, str) and sigma == "rise"):
        return sigma
    expected = f'a positive number of at most {LARGEST_SIGMA:,}, "rise" or None'
    if isinstance(sigma, str):
        raise ArgumentError(name, expected, describe(sigma))
    return check_number(name, sigma, expected, lambda value: 0 < value <= LARGEST_SIGMA)


def check_dims(name: str, dims: int | None) -> int | None:
    """Return `dims` if it is None or from 1 to 3.

    Raises:
        ArgumentTypeError: no integer.
        ArgumentError: another integer.
    """
    return None if dims is None else check_positive_int(name, dims, 3)


def blur_matrix(size: int, sigma: float, border: str) -> Tensor:
    """Weights (size, size), float64 on the CPU, of every pixel of a line in every blurred one; sigma 0 changes nothing.

    The kernel ends at four standard deviations and sums to one, also where it is cut by the border; beyond it are the
    line's mirror images ("reflect") or zeros ("zero").
    """
    radius = int(_TRUNCATED * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, device="cpu")
    kernel = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2)) if radius else torch.ones(1, dtype=torch.float64)
    kernel = kernel / kernel.sum()
    if border == "zero":
        return _banded(kernel, size)
    period = 2 * size
    around = torch.zeros(period, dtype=torch.float64, device="cpu")
    around.scatter_add_(0, offsets.remainder(period), kernel)
    place = torch.arange(size, device="cpu")[:, None] + torch.arange(period, device="cpu")
    place = place.remainder(period)
    weights = torch.zeros(size, size, dtype=torch.float64, device="cpu")
    return weights.scatter_add_(1, torch.minimum(place, period - 1 - place), around.expand(size, -1).contiguous())


def rise_matrix(size: int) -> Tensor:
    """The same for RISE's kernel: a point in the middle of 11 pixels, blurred as SciPy does, with zeros beyond."""
    return _banded(blur_matrix(_RISE_KERNEL, _RISE_SIGMA, "reflect")[_RISE_KERNEL // 2], size)


def _banded(kernel: Tensor, size: int) -> Tensor:
    """A kernel of odd length around every pixel of a line, cut by its ends."""
    radius = len(kernel) // 2
    place = torch.arange(size, device="cpu")
    distance = (place[None, :] - place[:, None]).clamp(-radius - 1, radius + 1)
    return torch.nn.functional.pad(kernel, (1, 1))[distance + radius + 1]


def warn_where_class_shows(argument: str, blur: Blur, at_blurred: Tensor, at_inputs: Tensor) -> None:
    """Warn, once for all rows, where blurred inputs keep more than half of the inputs' positive scores, both (N,)."""
    showing = int(((at_inputs > 0) & (at_blurred > _MOST * at_inputs)).sum())
    if showing:
        warn_caller(
            f"{showing} of {len(at_inputs)} rows keep more than half of their score when blurred ({argument}={blur}): "
            "what the blur was to hide still shows, and numbers that start from it say little. Pass another "
            f"{argument}: captum_ext.images.Blur(sigma=...) with a larger sigma, in pixels, or baselines such as zero."
        )
