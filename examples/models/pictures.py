"""What the examples of models share: photographs of scikit-image, and their command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image


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
