"""A small network, two images and the names of the CAM classes, for the tests of the CAMs."""

import numpy as np
import torch
from torch import nn

from captum_ext.upsampling import USUUpsampler

PLAIN = [
    "FEM",
    "AblationCAM",
    "EigenCAM",
    "EigenGradCAM",
    "GradCAM",
    "GradCAMElementWise",
    "GradCAMPlusPlus",
    "HiResCAM",
    "KPCA_CAM",
    "LayerCAM",
    "ScoreCAM",
    "SegEigenCAM",
    "ShapleyCAM",
    "XGradCAM",
]
ALL = [*PLAIN, "FinerCAM", "FullGrad", "RandomCAM", "RefineCAM", "SESS"]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


def pictures():
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def usu(**options):
    return USUUpsampler(segmenter="grid", **options)


def called(cam, images, targets, **options):
    np.random.seed(0)  # noqa: NPY002 (RandomCAM draws from it)
    return cam(images, targets, **options)
