"""A linear model whose attributions are known, and data sets of images that say what they are."""

import torch
from torch.utils.data import Dataset

from captum_ext.attr import IntegratedGradients

WEIGHT = torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.0, 1.0, 1.0, -1.0]])


class Linear(torch.nn.Module):
    """Images (N, 2, 2, 1) to two scores."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.weight = torch.nn.Parameter(WEIGHT * factor)

    def forward(self, images):
        return images.flatten(1) @ self.weight.T


class Bent(Linear):
    """The same with a kink, so that random points matter."""

    def forward(self, images):
        return super().forward(images).relu() ** 2 + super().forward(images)


class Images(Dataset):
    """Image i is i + 1 times a fixed one; its label is i modulo 2."""

    def __init__(self, n_samples, broken=(), nan=()):
        self.n_samples, self.broken, self.nan = n_samples, broken, nan

    def __len__(self):
        return self.n_samples

    def __getitem__(self, index):
        if index in self.broken:
            raise OSError(f"cannot identify image file {index}.png")
        image = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]]) * (index + 1) / self.n_samples
        return (image * torch.nan if index in self.nan else image), index % 2


def linear():
    return IntegratedGradients(Linear().eval())
