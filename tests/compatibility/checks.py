"""What a tick in the table stands for: one function for each column, which raises what is not as it has to be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from captum_ext.attr import IntegratedGradients, LocalPathIntegration, SalientManipulationPath
from captum_ext.metrics import deletion, diff_id, insertion
from captum_ext.segmentation import Segmenter
from captum_ext.upsampling import USU, InterpolationUpsampler
from captum_ext_integrations.grad_cam import GradCAM
from tests.compatibility.shell import shell
from tests.compatibility.subject import SAME, Subject, UnequalError

COMPLETENESS = 0.02  # of the change of the score
ROUNDING = 1e-6  # of the score itself, beside these
COMPLETENESS_OF_SAMP = 0.05  # of the range of the scores along its path
FINE = {"method": "adaptive", "tol": COMPLETENESS / 2, "n_steps": 100}
STEPS_OF_SAMP = (40, 160)
MASS = 1e-4  # of the largest cell


def integrated_gradients(subject: Subject) -> None:
    """Attributions sum to F(x) - F(x'), x' half a hundredth of the way to another image."""
    image, start = subject.image, subject.near[:1]
    maps = IntegratedGradients(subject.adapted).attribute(image, start, target=subject.score.target, **FINE)
    change = subject.scores(image) - subject.scores(start)
    _complete(subject, maps, change, change.abs(), COMPLETENESS)


def local_path_integration(subject: Subject) -> None:
    """Attributions sum to F(x) minus the mean of F over two such images, which have the same density."""
    method = LocalPathIntegration(subject.adapted, references=subject.near)
    maps = method.attribute(subject.image, target=subject.score.target, **FINE)
    changes = subject.scores(subject.image) - subject.scores(subject.near)
    _complete(subject, maps, changes.mean(), changes.abs().mean(), COMPLETENESS)


def salient_manipulation_path(subject: Subject) -> None:
    """Attributions sum to F(x) - F(x') plus the delta; with small steps the delta is small beside the path's changes.

    Quarters of the image move one after the other, together in forty steps, or in more where these are too large.
    """
    image, start = subject.image, subject.near[:1]
    change = subject.scores(image) - subject.scores(start)
    for steps in STEPS_OF_SAMP:
        method = SalientManipulationPath(
            subject.adapted, direction="insertion", step_bound=steps, feature_mask=_quarters(image.shape[2:])
        )
        maps, delta, paths = method.attribute(
            image, start, target=subject.score.target, n_steps=4, method="riemann_trapezoid",
            return_convergence_delta=True, return_path=True,
        )  # fmt: skip
        size = paths["insertion"].scores.max() - paths["insertion"].scores.min()
        _complete(subject, maps - delta / maps.numel(), change, size, 10 * SAME)
        if float(delta.abs()) <= COMPLETENESS_OF_SAMP * float(size):
            break
    _complete(subject, maps, change, size, COMPLETENESS_OF_SAMP)


def _quarters(size: tuple[int, ...]) -> Tensor:
    """Numbers of the quarters of an image, or of the frames of a clip, (1, 1, ...)."""
    rows, columns = (torch.arange(side) * 2 // side for side in size[-2:])
    return (rows[:, None] * 2 + columns).expand(1, 1, *size)


def _complete(subject: Subject, maps: Tensor, change: Tensor, size: Tensor, tolerance: float) -> None:
    gap = abs(float(maps.double().sum()) - float(change))
    rounding = ROUNDING * float(subject.scores(subject.image).abs())
    if not math.isfinite(gap) or gap > tolerance * float(size) + rounding:
        raise UnequalError(
            f"the attributions sum to {float(maps.sum()):.4g} where the score changes by {float(change):.4g}"
        )


def grad_cam(subject: Subject) -> None:
    """The map of each cell is the sum of the layer's features, weighted by their mean gradients, as by hand."""
    found = _cam(subject, InterpolationUpsampler("nearest"))
    cells = torch.stack([found[place] for place in _centres(found.shape, subject.coarse.shape)])
    gap = float((cells - subject.coarse.flatten()).abs().max() / subject.coarse.max())
    if not gap <= SAME:
        raise UnequalError(f"differs from the formula by {gap:.1e} of the largest cell")


def usu(subject: Subject) -> None:
    """The pixels of each cell sum to the cell times their number."""
    found = _cam(subject, USU(segmenter=Segmenter("slic", 8)))
    owner = _owners(found.shape, subject.coarse.shape)
    n_cells = subject.coarse.numel()
    sums = torch.zeros(n_cells, dtype=torch.float64).index_add(0, owner.flatten(), found.double().flatten())
    wanted = subject.coarse.double().flatten() * torch.bincount(owner.flatten(), minlength=n_cells)
    gap = float((sums - wanted).abs().max() / wanted.max())
    if not gap <= MASS:
        raise UnequalError(f"the mass of a cell is off by {gap:.1e} of the largest")


def _cam(subject: Subject, upsampler: object) -> Tensor:
    """GradCAM of the image (H, W), or (D, H, W)."""
    target = subject.score.target
    targets = [target if callable(target) else lambda output: output[target]]
    adapted = subject.adapted
    with GradCAM(
        adapted, [adapted.layer], reshape_transform=adapted.to_grid, upsampler=upsampler, normalize=False,
        as_tensor=True,
    ) as cam:  # fmt: skip
        found: Tensor = cam(subject.image, targets)[0].cpu()
    return found


def _owners(size: tuple[int, ...], grid: tuple[int, ...]) -> Tensor:
    """Number of the cell that each pixel belongs to: pixel i of n is of cell i * cells // n."""
    places = [torch.arange(pixels) * cells // pixels for pixels, cells in zip(size, grid, strict=True)]
    owner = torch.zeros(tuple(size), dtype=torch.long)
    for axis, place in enumerate(places):
        shape = [1] * len(grid)
        shape[axis] = len(place)
        owner = owner * grid[axis] + place.reshape(shape)
    return owner


def _centres(size: tuple[int, ...], grid: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The pixel in the middle of each cell."""
    sides = [
        [(2 * k + 1) * pixels // (2 * cells) for k in range(cells)] for pixels, cells in zip(size, grid, strict=True)
    ]
    return list(itertools.product(*sides))


def metrics(subject: Subject) -> None:
    """Curves end at the scores of the image and of what stands for missing pixels; three metrics are finite."""
    image, target, adapted = subject.image, subject.score.target, subject.adapted
    own, empty = (float(subject.scores(one)) for one in (image, torch.zeros_like(image)))
    maps = torch.rand(image.shape[0], 1, *image.shape[2:], generator=torch.Generator().manual_seed(2))
    inserted = insertion(adapted, image, maps, target, baselines=0, n_steps=4)
    deleted = deletion(adapted, image, maps, target, baselines=0, n_steps=4)
    size = max(abs(own), abs(empty))
    for curve, ends in ((inserted, (empty, own)), (deleted, (own, empty))):
        gap = max(abs(float(curve.scores[0, place]) - end) for place, end in zip((0, -1), ends, strict=True))
        if not gap <= SAME * size:
            raise UnequalError(
                f"a curve ends {gap:.1e} from the scores of image and fill, which are {own:.3g}, {empty:.3g}"
            )
    areas = [float(curve.auc) for curve in (inserted, deleted, diff_id(adapted, image, maps, target))]
    if not all(map(math.isfinite, areas)):
        raise UnequalError(f"areas of {areas}")


CHECKS: dict[str, Callable[[Subject], None]] = {
    "IG": integrated_gradients,
    "LPI": local_path_integration,
    "SAMP": salient_manipulation_path,
    "GradCAM": grad_cam,
    "USU": usu,
    "metrics": metrics,
    "shell": shell,
}
