"""Small pictures for the galleries, and the figures of the page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from captum_ext.metrics import Comparison
from captum_ext.visualize import Caption, colorize, save_figure, show_curves, show_scores, symmetric_limits

SIDE = 160


def heat_map(values: Tensor) -> bytes:
    """A map (H, W) as WebP: orange above zero and blue below, full colour at the 99th percentile of its size."""
    values = values.detach().cpu()
    limits = symmetric_limits(values, quantile=0.99) if bool(values.isfinite().any()) else (-1.0, 1.0)
    return _encoded(colorize(values, limits, "signed", nonfinite=(128, 128, 128)))


def photograph(image: Tensor) -> bytes:
    """An image (H, W, C) in [0, 1] as WebP."""
    array = image.detach().cpu().numpy()
    colors = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array
    return _encoded((np.clip(colors, 0, 1) * 255).astype(np.uint8))


def _encoded(colors: np.ndarray) -> bytes:
    picture = Image.fromarray(colors).resize((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=70)
    return file.getvalue()


def comparison_figure(metric: str, comparison: Comparison) -> bytes:
    """Every sample's score with means and intervals, and its difference from the control's, as PNG."""
    return _png(show_scores({metric: comparison}))


def curves_figure(curve: str, curves: Mapping[str, np.ndarray]) -> bytes:
    """Mean curves of methods, as PNG."""
    lines = {}
    for method, scores in curves.items():
        n = len(scores)  # DiffID has nine points inside (0, 1), the games eleven from 0 to 1
        share = np.linspace(0, 1, n) if n == 11 else np.arange(1, n + 1) / (n + 1)
        lines[method] = (share, np.asarray(scores))
    return _png(show_curves(lines, caption=Caption(unit=f"{curve}, mean score")))


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    save_figure(figure, file, dpi=75)
    return file.getvalue()
