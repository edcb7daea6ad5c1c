"""Models of a caller, for MODULE:FUNCTION."""

import torch
from torch import nn
from torch.nn import functional


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


def transformer():
    """A transformer with patches of 4 x 4."""
    from tests.models.networks import Transformer

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Transformer()


def unordered():
    """A transformer that reads its patches backwards."""
    built = transformer()
    built.order = lambda length: torch.arange(length).flip(0)
    return built


def for_64():
    """A network that fails for images of other sizes than 64."""
    return nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.Flatten(), nn.Linear(4 * 64, 3))


def averaging():
    """A network whose linear layer takes averages over positions, as CAM needs it."""
    built = nn.Sequential(nn.Conv2d(3, 4, 5, stride=4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    for k, parameter in enumerate(built.parameters()):
        parameter.data = torch.sin(1.3 * torch.arange(parameter.numel()) + k).reshape(parameter.shape)
    return built


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


class _Tutorial(nn.Module):
    """As PyTorch's CIFAR tutorial has it: one pooling for both convolutions."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 5, padding=2)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(4, 6, 5, padding=2)
        self.fc = nn.Linear(6 * 8 * 8, 3)

    def forward(self, inputs):
        inner = self.pool(functional.relu(self.conv1(inputs)))
        return self.fc(self.pool(functional.relu(self.conv2(inner))).flatten(1))


def tutorial():
    """A network with fixed weights that calls a module twice."""
    generator = torch.Generator().manual_seed(0)
    built = _Tutorial().eval()
    for parameter in built.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return built


def grey():
    """A network of one channel and two scores: the mean of its image, and one less."""

    class Mean(nn.Module):
        def forward(self, inputs):
            if inputs.shape[1] != 1:
                raise ValueError(f"one channel, not {inputs.shape[1]}")
            mean = inputs.mean((1, 2, 3))
            return torch.stack([mean, mean - 1], 1)

    return Mean()


def grey_convolutions():
    """A network of one channel with layers that a CAM can explain."""
    built = nn.Sequential(nn.Conv2d(1, 4, 5, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 7, 3))
    for k, parameter in enumerate(built.parameters()):
        parameter.data = torch.sin(1.3 * torch.arange(parameter.numel()) + k).reshape(parameter.shape)
    return built


def by_view():
    """A network that would take the channels of one image for three images."""
    built = nn.Linear(32 * 32, 3)
    built.forward = lambda inputs: nn.functional.linear(inputs.view(-1, 32 * 32), built.weight, built.bias)
    return built


def adapted():
    """The same network with what is known of it."""
    from captum_ext.models import adapt

    return adapt(model(), size=32, mean=0.5, std=0.5, class_names=["zero", "one", "two"])
