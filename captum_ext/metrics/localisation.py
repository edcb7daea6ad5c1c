"""Where attributions lie: against a mask of the object, and how concentrated they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from captum_ext.core.checks import check_choice, check_dense, check_numbers, describe
from captum_ext.core.devices import has_float64, on_device
from captum_ext.core.types import TensorOrTensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError


def iou(attributions: Tensor, masks: Tensor, *, threshold: str = "area") -> Tensor:
    r"""Intersection over union of the most attributed pixels and the object.

    $$\mathrm{IoU} = |T \cap M| / |T \cup M|$$

    Args:
        attributions: (N, H, W) or (N, C, H, W), summed over channels; volumes (N, C, D, H, W); signals (N, C, T), which
            masks (N, 1, T) tell from images (N, H, W).
        masks: object pixels, boolean or 0 and 1, (N, H, W), (N, 1, H, W) or (H, W) for all, and likewise of volumes; of
            signals (N, 1, T), or (1, 1, T) for all.
        threshold: which pixels T are: "area", as many as the mask has, largest first (of equal ones the first in raster
            order); "best", those above whichever value gives the largest IoU, an upper bound that knows the answer.

    Returns:
        (N,) in [0, 1]; NaN where the map is constant or not finite, or the mask empty.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import iou
        >>> mask = torch.tensor([[[1, 1], [0, 0]]])
        >>> iou(torch.tensor([[[0.9, 0.1], [0.2, 0.0]]]), mask)
        tensor([0.3333])
        >>> iou(torch.tensor([[[0.9, 0.1], [0.2, 0.0]]]), mask, threshold="best")
        tensor([0.6667])
    """
    check_choice("threshold", threshold, ("area", "best"))
    values, inside = _flat(attributions, masks)
    usable = _is_defined(values) & inside.any(1)
    safe = torch.where(usable[:, None], values, 0.0)
    ranked, order = safe.sort(dim=1, descending=True, stable=True)
    hits = inside.gather(1, order).cumsum(1).to(safe.dtype)
    chosen = torch.arange(1, safe.shape[1] + 1, dtype=safe.dtype, device=safe.device)
    area = inside.sum(1, keepdim=True).to(safe.dtype)
    ratio = hits / (chosen + area - hits)
    if threshold == "area":
        result = ratio.gather(1, (area.long() - 1).clamp(min=0)).squeeze(1)
    else:
        ends_value = torch.ones_like(inside)
        ends_value[:, :-1] = ranked[:, 1:] != ranked[:, :-1]  # a threshold cannot part equal values
        result = torch.where(ends_value, ratio, 0.0).amax(1)
    return torch.where(usable, result, torch.nan)


def concentration(attributions: Tensor, masks: Tensor) -> Tensor:
    """Share of the positive attribution that lies on the object; arguments as `iou`.

    Returns:
        (N,) in [0, 1]; NaN where nothing is positive or the map is not finite.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import concentration
        >>> concentration(torch.tensor([[[3.0, -1.0], [1.0, 0.0]]]), torch.tensor([[1, 1], [0, 0]]))
        tensor([0.7500])
    """
    values, inside = _flat(attributions, masks)
    positive = values.clamp(min=0)
    total = positive.sum(1)
    share = torch.where(inside, positive, 0.0).sum(1) / total
    return torch.where(values.isfinite().all(1) & (total > 0), share, torch.nan)


def pointing_game(attributions: Tensor, masks: Tensor) -> Tensor:
    """Whether the largest attribution lies on the object (Zhang et al., "Top-down Neural Attention by Excitation
    Backprop", IJCV 2018); arguments as `iou`. https://arxiv.org/abs/1608.00507.

    Of several largest pixels, the share that lies there. No tolerance around the object, unlike the paper.

    Returns:
        (N,) in [0, 1]; NaN where the map is constant or not finite.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import pointing_game
        >>> pointing_game(torch.tensor([[[3.0, 1.0], [1.0, 3.0]]]), torch.tensor([[1, 1], [0, 0]]))
        tensor([0.5000])
    """
    values, inside = _flat(attributions, masks)
    usable = _is_defined(values)
    largest = values == torch.where(usable, values.amax(1), torch.nan)[:, None]
    share = (largest & inside).sum(1) / largest.sum(1)
    return torch.where(usable, share.to(values.dtype), torch.nan)


def gini(attributions: Tensor) -> Tensor:
    r"""Gini index of absolute attributions (Chalasani et al., "Concise Explanations of Neural Networks using
    Adversarial Training", ICML 2020): 0 when all are equal, 1 - 1/n when one has everything.

    https://arxiv.org/abs/1810.06583

    $$G = 1 - 2 \sum_k \frac{a_{(k)}}{|a|_1} \cdot \frac{n - k + 1/2}{n}, \qquad a_{(1)} \le \dots \le a_{(n)}$$

    Sparse is not right: random scores make maps sparser, too (`docs/results.md`). Each element counts by itself; sum
    over channels first to have pixels.

    Args:
        attributions: (N, ...).

    Returns:
        (N,) in [0, 1); NaN where all are zero or one is not finite.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import gini
        >>> gini(torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 5.0]]))
        tensor([0.0000, 0.7500])
    """
    if check_numbers("attributions", attributions).numel() == 0 or attributions.dim() == 0:
        raise ArgumentError("attributions", "of shape (N, ...), with at least one number", describe(attributions))
    ranked = _widened(attributions).reshape(len(attributions), -1).abs().sort(dim=1).values
    n_values = ranked.shape[1]
    position = torch.arange(1, n_values + 1, dtype=ranked.dtype, device=ranked.device)
    return 1 - 2 * (ranked * (n_values - position + 0.5) / n_values).sum(1) / ranked.sum(1)


def attribution_variance(attributions: TensorOrTensors, *, normalize: str = "none") -> Tensor:
    r"""Variance of attributions over pixels: what SAMP's concentration principle maximises (Zhang et al., "Path Choice
    Matters for Clear Attributions in Path Methods", ICLR 2024, definition 1 and equation 5).

    https://arxiv.org/abs/2401.10442

    $$\mathrm{Var}(A) = \frac{1}{n} \sum_i (a_i - \bar a)^2$$

    The paper compares paths between the same ends, whose attributions have the same sum: there more variance is more
    concentration. Maps with other sums, such as SAMP's own, whose sum is not the score difference, are larger or
    smaller as a whole; `normalize="mean"` divides each by the mean of its absolute values first. A map without negative
    values then has 0 where all pixels are equal, and n - 1 where one has everything.

    Args:
        attributions: (N, ...) or a tuple of such tensors. Four dimensions (N, C, H, W) are summed over channels; of
            anything else an element is a pixel. Over a tuple there is one variance.
        normalize: "none", in squared units of the score; or "mean", see above, without a unit.

    Returns:
        (N,), not negative; NaN where a value is not finite, and with "mean" where all are zero.

    Raises:
        ArgumentTypeError: attributions that are no tensors of numbers.
        ArgumentError: another `normalize`, or tensors without a value or of different numbers of rows.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import attribution_variance
        >>> maps = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 8.0]])
        >>> attribution_variance(maps), attribution_variance(maps, normalize="mean")
        (tensor([ 0., 12.]), tensor([0., 3.]))
    """
    check_choice("normalize", normalize, ("none", "mean"))
    given = attributions if isinstance(attributions, tuple) else (attributions,)
    expected = "of shape (N, ...), with at least one number"
    if not given:
        raise ArgumentError("attributions", expected, "an empty tuple")
    for part in given:
        if check_numbers("attributions", part).numel() == 0 or part.dim() == 0 or len(part) != len(given[0]):
            raise ArgumentError("attributions", expected, describe(part))
    wide = [_widened(part) for part in given]
    pixels = torch.cat(
        [on_device((p.sum(1) if p.dim() == 4 else p).reshape(len(p), -1), wide[0].device) for p in wide], 1
    )
    if normalize == "mean":
        pixels = pixels / pixels.abs().mean(1, keepdim=True)
    return pixels.var(1, unbiased=False)


def _widened(attributions: Tensor) -> Tensor:
    detached = attributions.detach()
    if not detached.is_floating_point():
        return detached.double() if has_float64(detached.device) else detached.float()
    return detached.to(torch.promote_types(detached.dtype, torch.float32))


def _flat(attributions: Tensor, masks: Any) -> tuple[Tensor, Tensor]:
    """Pixel maps (N, pixels) and whether each pixel is on the object."""
    check_numbers("attributions", attributions)
    if attributions.dim() not in (3, 4, 5) or len(attributions) == 0:
        expected = "of shape (N, H, W) or (N, C, H, W), a volume's (N, C, D, H, W) or a signal's (N, C, T)"
        raise ArgumentError("attributions", expected, describe(attributions))
    if not isinstance(masks, Tensor) or masks.is_complex():
        raise ArgumentTypeError("masks", "a tensor, boolean or of 0 and 1", describe(masks))
    check_dense("masks", masks)
    values = _widened(attributions)
    of_steps = values.dim() == 3 and masks.dim() == 3 and masks.shape[1] == 1 < values.shape[1]
    values = values.sum(1) if values.dim() > 3 or of_steps else values
    given = masks[:, 0] if masks.dim() == values.dim() + 1 and masks.shape[1] == 1 else masks
    given = given[None] if given.dim() == values.dim() - 1 else given
    if given.dim() != values.dim() or given.shape[1:] != values.shape[1:] or len(given) not in (1, len(values)):
        expected = f"of shape {tuple(values.shape)} or {tuple(values.shape[1:])}, as the attributions"
        raise ArgumentError("masks", expected, describe(masks))
    if not bool(((given == 0) | (given == 1)).all()):
        raise ArgumentError("masks", "boolean, or 0 and 1", f"values from {given.min()} to {given.max()}")
    inside = given.to(values.device).bool().expand_as(values)
    return values.flatten(1), inside.flatten(1)


def _is_defined(values: Tensor) -> Tensor:
    """Whether each row is finite and not constant, so that its pixels have an order."""
    return values.isfinite().all(1) & (values.amax(1) > values.amin(1))
