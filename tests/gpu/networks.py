"""Networks whose passes weigh something, with weights that depend on nothing."""

import torch
from torch import nn


class Convolutions(nn.Module):
    """Three layers on images (N, 3, H, W), with what a user has: batch norm, an activation in place, a linear head.

    It is smooth: a ReLU at zero would turn a rounding into another gradient.
    """

    def __init__(self, width=32, depth=3):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers = []
            for k in range(depth):
                layers += [nn.Conv2d(width if k else 3, width, 3, padding=1), nn.BatchNorm2d(width), nn.SiLU(True)]
            self.features = nn.Sequential(*layers)
            self.head = nn.Linear(width, 5)
        self.batches = []

    def forward(self, x):
        self.batches.append(len(x))
        return self.head(self.features(x).mean((2, 3)))


def images(n, side, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1
