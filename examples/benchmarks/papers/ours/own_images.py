"""The images by which candidates are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from examples.benchmarks.engine.networks import GREY, preparation_of
from examples.benchmarks.engine.samples import Files, Samples, load_samples

PHOTOGRAPHS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "rocket.jpg",
)
SIDE = 0.7  # of the shorter side
N_DIGITS = 60


@dataclass(frozen=True)
class Crops:
    """Five squares of each photograph: the centre and the four corners, without labels."""

    photographs: Files

    def __len__(self) -> int:
        return 5 * len(self.photographs)

    def __getitem__(self, index: int) -> tuple[Image.Image, int | None]:
        photograph, _ = self.photographs[index // 5]
        side = round(SIDE * min(photograph.size))
        width, height = photograph.width - side, photograph.height - side
        left, top = ((width // 2, height // 2), (0, 0), (width, 0), (0, height), (width, height))[index % 5]
        return photograph.crop((left, top, left + side, top + side)), None


def tuning_samples(network: str) -> Samples:
    """Squares of scikit-image's photographs, or for the digits network some of the digits on which it was trained."""
    if network == "five-layers":
        return load_samples("digits-train", GREY, N_DIGITS)
    import skimage.data

    folder = Path(skimage.data.__file__).parent  # not its functions, which look for a newer file on the network
    crops = Crops(Files(tuple(folder / name for name in PHOTOGRAPHS), (None,) * len(PHOTOGRAPHS)))
    return Samples("crops", crops, tuple(range(len(crops))), preparation_of(network))


def reporting_samples(network: str) -> Samples:
    """The 20 ImageNet images, or 200 test digits."""
    if network == "five-layers":
        return load_samples("digits", GREY, 200)
    return load_samples("imagenet20", preparation_of(network))
