"""What the examples of models share: photographs of scikit-image, a figure of maps, and their command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from captum_ext.core.atomic import replaced
from captum_ext_integrations.cli.pictures import limit_of


def photograph(name: str) -> Image.Image:
    """A photograph of scikit-image that needs no download, such as "chelsea", "coffee" or "astronaut"."""
    from skimage import data

    return Image.fromarray(getattr(data, name)())


def run(main: Callable[..., Any], arguments: Mapping[str, str]) -> None:
    """The command line of an example: its arguments with what they mean, and where the figure goes."""
    parser = argparse.ArgumentParser(prog=f"python -m examples.models.{Path(main.__code__.co_filename).stem}")
    for name, meaning in arguments.items():
        parser.add_argument(name, help=meaning)
    parser.add_argument("--output", type=Path, default=argparse.SUPPRESS)
    torch.manual_seed(0)
    main(**vars(parser.parse_args()))


def save_figure(output: str | Path, picture: Tensor, maps: dict[str, Any], title: str = "") -> None:
    """A picture (H, W, C) beside maps (H, W) or (C, H, W), whose channels are summed; each map has its own scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 1 + len(maps), figsize=(3.2 * (1 + len(maps)), 3.6), layout="constrained")
    axes[0].imshow(picture, cmap="gray")
    axes[0].set_title(title, fontsize=9)
    for axis, (name, values) in zip(axes[1:], maps.items(), strict=True):
        values = np.asarray(values)
        values = values.sum(0) if values.ndim == 3 else values
        limit = limit_of({name: values})
        signed = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        axis.imshow(values, **(signed if values.min() < 0 else {"cmap": "magma", "vmin": 0, "vmax": limit}))
        axis.set_title(name, fontsize=9)
    for axis in axes:
        axis.set_axis_off()
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with replaced(output) as temporary:
        figure.savefig(temporary, dpi=110)
    pyplot.close(figure)
    print(f"Figure: {output.resolve()}")
