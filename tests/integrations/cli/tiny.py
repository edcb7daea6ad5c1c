"""Models of a caller, for MODULE:FUNCTION."""

import torch
from torch import nn


def model():
    """A small network with fixed weights and three classes."""
    generator = torch.Generator().manual_seed(0)
    built = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 7, 3))
    for parameter in built.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return built


def no_model():
    """Something else."""
    return 3


#: Rows of every gradient of the outputs of `counted()`.
gradients = []


class _Counted(nn.Sequential):
    def forward(self, inputs):
        outputs = super().forward(inputs)
        if outputs.requires_grad:
            outputs.register_hook(lambda gradient: gradients.append(len(gradient)))
        return outputs


def counted():
    """The same network, which notes its gradients."""
    return _Counted(*model())


def other():
    """The same network with other weights."""
    built = model()
    for parameter in built.parameters():
        parameter.data = parameter.data.flip(0) * 2
    return built
