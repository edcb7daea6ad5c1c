"""Fitting references to a large data set: memory grows with the outputs, not with the images.

python -m examples.benchmarks.measurements.fit_memory [--samples 100000]
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from captum_ext import ReferenceDistribution
from examples.benchmarks.engine.reporting import print_table
from examples.benchmarks.engine.timing import measured

SIDE, N_CLASSES = 64, 100


class Synthetic(Dataset[tuple[Tensor, int]]):
    """Images made when they are asked for: a coloured gradient and a disc, different for every index."""

    def __init__(self, n_samples: int) -> None:
        self.n_samples = n_samples
        axis = torch.linspace(-1, 1, SIDE)
        self.x, self.y = axis[None, :], axis[:, None]

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        angle = torch.tensor(0.1 * index)
        disc = ((self.x - angle.cos() / 2) ** 2 + (self.y - angle.sin() / 2) ** 2 < 0.1).float()
        ramp = self.x * (0.7 * angle).sin() + self.y * (0.3 * angle).cos()
        return torch.stack([disc, ramp, disc * ramp]), index % N_CLASSES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--fast", action="store_true", help="a smaller run that shows that everything works")
    options = parser.parse_args()
    n_samples = 2_000 if options.fast else options.samples
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, N_CLASSES)
    ).eval()
    ReferenceDistribution.fit(model, Synthetic(100), n_references=5)  # loads scikit-learn, which is not counted
    rows = []
    for count in (n_samples // 10, n_samples):
        with measured() as used:
            ReferenceDistribution.fit(model, Synthetic(count), n_neighborhoods=4, n_references=20, show_progress=True)
        images, outputs = (count * numel * 4 / 2**20 for numel in (3 * SIDE**2, N_CLASSES))
        rows.append([count, used.seconds, round(used.megabytes), round(outputs), round(images)])
    print_table(
        f"Fitting 4 neighbourhoods x 20 references, {SIDE} x {SIDE} RGB, {N_CLASSES} outputs",
        ["samples", "seconds", "peak growth MB", "outputs MB", "images MB"],
        rows,
    )


if __name__ == "__main__":
    main()
