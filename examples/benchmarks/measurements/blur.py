"""How strong a blur has to be for the class to be gone, at every size of image.

    python -m examples.benchmarks.measurements.blur

Rules for the standard deviation: a share of the shorter side, a number of pixels, "rise" (the blur of RISE's
evaluation, `captum_ext.images.gaussian_blur`), and what any blur tends to, the image's mean colour. Networks: the
benchmark's five layers on the 400 digits that it was not trained on (28 x 28), and on MNIST images of another kind;
EfficientNet-Lite0 on the 20 ImageNet images inside foolbox, whole (224) and their middle (160). No network for images
of 32 pixels comes with a package: there it is EfficientNet-Lite0 with a bilinear enlargement to 224 in front, on the 20
CIFAR-10 and CIFAR-100 images each inside foolbox and on the ImageNet images made smaller, whose predicted classes are
those of such a network, right or not.

For the class that a network gives to the image:

* contrast: standard deviation of the blurred image over that of the image, mean;
* class kept: share of the blurred images that get the same class;
* probability and logit: of the blurred image over that of the image, mean (of MNIST, of which the network is often
  wrong and logits are near zero, the mean of these ratios says nothing: see the median);
* most kept: share of the images whose blurred logit is more than half of their own, which the package warns of;
* valid: share of the rows of which range-normalised insertion can be told (`metrics.insertion`, "range").

The package's default was to be the weakest of the rules that leaves, at every size, the class to at most a quarter of
the images and a tenth of the logit on average.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from captum_ext.images import gaussian_blur
from examples.benchmarks.engine.networks import GREY, load_network, preparation_of
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.samples import load_samples
from examples.real_data import Preparation

ROWS = 5  # given to the model at once
SHARES = {"12/224 of the side": 12 / 224, "1/10 of the side": 0.1, "1/4 of the side": 0.25}
PIXELS = (5, 8, 10, 12, 16)

Rule = Callable[[Tensor], Tensor]


class Enlarged(nn.Module):
    """A network for small images: one for 224 pixels, behind a bilinear enlargement."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        larger = nn.functional.interpolate(images, size=(224, 224), mode="bilinear", align_corners=False)
        logits: Tensor = self.network(larger)
        return logits


def rules(side: int) -> Mapping[str, Rule]:
    """Ways to make an image of this side unrecognisable, by name."""

    def by(sigma: float | str | None) -> Rule:
        return lambda images: gaussian_blur(images, sigma)

    named = {name: by(share * side) for name, share in SHARES.items()}
    named |= {f"{sigma} pixels": by(float(sigma)) for sigma in PIXELS}
    named |= {"rise": by("rise"), "default": by(None)}
    named["mean colour"] = lambda images: images.mean((2, 3), keepdim=True).expand_as(images).contiguous()
    return named


def outputs(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, classes)."""
    with torch.no_grad():
        return torch.cat([model(part) for part in images.split(ROWS)]).double()


def measured(model: nn.Module, images: Tensor) -> list[list[object]]:
    """One row for each rule."""
    own = outputs(model, images)
    label = own.argmax(1)[:, None]
    logit, probability = own.gather(1, label)[:, 0], own.softmax(1).gather(1, label)[:, 0]
    rows: list[list[object]] = []
    for name, rule in rules(min(images.shape[2:])).items():
        blurred = rule(images)
        theirs = outputs(model, blurred)
        left, chance = theirs.gather(1, label)[:, 0], theirs.softmax(1).gather(1, label)[:, 0]
        contrast = blurred.flatten(1).std(1) / images.flatten(1).std(1)
        values = (
            contrast.mean(),
            (theirs.argmax(1) == label[:, 0]).double().mean(),
            (chance / probability).mean(),
            (left / logit).mean(),
            (left / logit).median(),
            ((logit > 0) & (left > 0.5 * logit)).double().mean(),
            (logit - left >= 0.2 * logit.abs()).double().mean(),
        )
        rows.append([name, *(float(value) for value in values)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cache", type=Path, default=Path("outputs/benchmarks/networks"), help="of the trained network"
    )
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    limit = 5 if options.fast else None
    small = load_network("five-layers", options.cache).model
    large = load_network("efficientnet-lite0", options.cache).model
    own = preparation_of("efficientnet-lite0")

    def loaded(name: str, preparation: Preparation) -> Tensor:
        samples = load_samples(name, preparation, limit)
        return samples.load(range(len(samples)))[0]

    def of_side(side: int, name: str) -> Tensor:
        resize = side * own.resize // own.size if name.startswith("imagenet") else side
        return loaded(name, Preparation(size=side, resize=resize, mean=own.mean, std=own.std))

    whole = loaded("imagenet20", own)
    cases: dict[str, tuple[nn.Module, Tensor]] = {
        "digits, 28 x 28, five layers": (small, loaded("digits", GREY)),
        "MNIST, 28 x 28, five layers trained on other digits": (small, loaded("mnist20", GREY)),
        "CIFAR-10, 32 x 32, enlarged in front of EfficientNet-Lite0": (Enlarged(large), of_side(32, "cifar10-20")),
        "CIFAR-100, 32 x 32, the same": (Enlarged(large), of_side(32, "cifar100-20")),
        "ImageNet, 32 x 32, the same": (Enlarged(large), of_side(32, "imagenet20")),
        "ImageNet, 64 x 64, the same": (Enlarged(large), of_side(64, "imagenet20")),
        "ImageNet, 160 x 160, EfficientNet-Lite0": (large, whole[:, :, 32:192, 32:192].contiguous()),
        "ImageNet, 224 x 224, EfficientNet-Lite0": (large, whole),
    }
    header = ["rule", "contrast", "class kept", "probability", "logit", "logit, median", "most kept", "valid"]
    for title, (model, images) in cases.items():
        print_table(f"{title}, {len(images)} images", header, measured(model, images))


if __name__ == "__main__":
    main()
