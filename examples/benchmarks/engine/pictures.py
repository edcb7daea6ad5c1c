"""Small pictures for the galleries."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from torch import Tensor

SIDE = 160


def heat_map(values: Tensor) -> bytes:
    """A map (H, W) as WebP: red above zero and blue below, full colour at the 99th percentile of its size."""
    from matplotlib import colormaps

    array = values.detach().double().cpu().numpy()
    limit = np.quantile(np.abs(array), 0.99)
    limit = limit if limit > 0 else max(float(np.abs(array).max()), 1e-30)
    colored = colormaps["RdBu_r"]((np.clip(array / limit, -1, 1) + 1) / 2)[..., :3]
    return _encoded(colored)


def photograph(image: Tensor) -> bytes:
    """An image (H, W, C) in [0, 1] as WebP."""
    array = image.detach().cpu().numpy()
    return _encoded(np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array)


def _encoded(colors: np.ndarray) -> bytes:
    picture = Image.fromarray((np.clip(colors, 0, 1) * 255).astype(np.uint8)).resize((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=70)
    return file.getvalue()
