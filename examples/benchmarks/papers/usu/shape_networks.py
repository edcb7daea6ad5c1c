"""The paper's CNN and MLP for shapes and patterns, trained with and without the right-for-the-right-reasons loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from examples.benchmarks.engine.training import Report, accuracy, fit_classifier, trained
from examples.benchmarks.papers.usu.shapes import PATTERNS, SHAPES, SIDE, Drawn, draw_patterns, draw_shapes


def cnn(n_classes: int) -> nn.Sequential:
    """Three blocks of 5 x 5 convolutions (16, 32, 64), ReLU, max pooling; 4 x 4 average pooling; 1024 -> 128 -> n."""
    layers: list[nn.Module] = []
    for before, width in zip((1, 16, 32), (16, 32, 64), strict=True):
        layers += [nn.Conv2d(before, width, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, n_classes)]
    return nn.Sequential(*layers, *head).to(memory_format=torch.channels_last)


def mlp(n_classes: int) -> nn.Sequential:
    """50,176 inputs, hidden layers of 256 and 64."""
    sizes = (SIDE * SIDE, 256, 64)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, width in pairwise(sizes):
        layers += [nn.Linear(before, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], n_classes))


@dataclass(frozen=True)
class Task:
    """Images to draw and a network to train on them.

    Attributes:
        images: "shapes" or "patterns".
        architecture: "CNN" or "MLP".
        constrained: whether the loss keeps gradients inside the ground truth (RRR).
        n: images; 70 % are for training, 15 % for validation, 15 % for tests, as in the paper.
        epochs: of training.
        learning_rate: of Adam.
    """

    images: str
    architecture: str
    constrained: bool
    n: int
    epochs: int
    learning_rate: float

    @property
    def name(self) -> str:
        """Such as "RRR-CNN"."""
        return f"{'RRR' if self.constrained else 'vanilla'}-{self.architecture}"

    @property
    def splits(self) -> tuple[range, range, range]:
        """Indices for training, validation and tests."""
        first, second = round(0.7 * self.n), round(0.85 * self.n)
        return range(first), range(first, second), range(second, self.n)

    def draw(self, indices: range, seed: int) -> Drawn:
        """Images of the task."""
        return (draw_shapes if self.images == "shapes" else draw_patterns)(indices, seed)

    def network(self, cache: Path, seed: int) -> tuple[nn.Module, Report]:
        """The trained network and its accuracies."""
        classes = len(SHAPES if self.images == "shapes" else PATTERNS)
        build: Callable[[int], nn.Sequential] = cnn if self.architecture == "CNN" else mlp

        def train(model: nn.Module) -> Report:
            training, validation, test = (self.draw(indices, seed) for indices in self.splits)
            masks = training.masks if self.constrained else None
            fit_classifier(
                model,
                training.images,
                training.labels,
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                masks=masks,
                title=f"{self.name} on {self.images}",
            )
            return {
                "validation_accuracy": accuracy(model, validation.images, validation.labels),
                "test_accuracy": accuracy(model, test.images, test.labels),
                "training_images": len(training),
            }

        path = cache / f"{self.images}-{self.name}.safetensors"
        return trained(path, lambda: build(classes), train, {**vars(self), "seed": seed})
