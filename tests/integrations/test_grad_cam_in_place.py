"""What works in place after a target layer overwrites no activation that a CAM is made of."""

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from captum_ext.attr import ExcitationBackprop, LayerIntegratedGradients

host = pytest.importorskip("pytorch_grad_cam")
ours = pytest.importorskip("captum_ext_integrations.grad_cam")

TARGET = host.utils.model_targets.ClassifierOutputTarget
TARGETS, CLASSES = [TARGET(1), TARGET(3)], torch.tensor([1, 3])
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def added(x):
    x += 0.3 * x.detach().flip(3)
    return x


OPERATIONS = {
    "ReLU(inplace)": (nn.ReLU(inplace=True), nn.ReLU()),
    "relu_": (functional.relu_, functional.relu),
    "hardswish": (nn.Hardswish(inplace=True), nn.Hardswish()),
    "leaky_relu_": (lambda x: functional.leaky_relu_(x, 0.3), lambda x: functional.leaky_relu(x, 0.3)),
    "dropout": (nn.Dropout(inplace=True), nn.Dropout()),
    "+=": (added, lambda x: x + 0.3 * x.detach().flip(3)),
    "mul_ and clamp_": (lambda x: x.mul_(2).clamp_(-0.2, 0.4), lambda x: (x * 2).clamp(-0.2, 0.4)),
}


class Net(nn.Module):
    """A target layer, an operation, a mean over positions and a linear layer."""

    def __init__(self, operation):
        super().__init__()
        self.layer, self.fc, self.operation = nn.Conv2d(3, 6, 4, stride=4), nn.Linear(6, 5), operation
        for k, parameter in enumerate(self.parameters()):
            grid = torch.arange(parameter.numel(), dtype=torch.float32).reshape(parameter.shape)
            parameter.data = torch.sin(1.3 * grid + k)

    def forward(self, x):
        return self.fc(self.operation(self.layer(x)).mean((2, 3)))


def nets(operation):
    """The network that works in place, and the one that does not."""
    return [Net(one).eval() for one in OPERATIONS[operation]]


def called(cam):
    np.random.seed(0)  # noqa: NPY002 (RandomCAM draws from it)
    return cam(IMAGES.clone(), TARGETS)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("upsampler", [None, "nearest"])
@pytest.mark.parametrize(
    ("name", "operation"),
    [
        *(("GradCAM", operation) for operation in OPERATIONS),
        *((name, "+=") for name in ours.CAM_CLASSES if name not in ("CAM", "GradCAM")),
        *((name, "ReLU(inplace)") for name in ours.CAM_CLASSES if name != "GradCAM"),
    ],
)
def test_the_map_is_that_of_the_network_which_does_not_work_in_place(name, operation, upsampler):
    options = {"scales": [16]} if name == "SESS" else {}
    maps = [called(getattr(ours, name)(net, [net.layer], upsampler=upsampler, **options)) for net in nets(operation)]
    assert np.array_equal(*maps)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_grad_cam_is_captums_layer_grad_cam(operation):
    net, _ = nets(operation)
    captums = captum.attr.LayerGradCam(net, net.layer).attribute(IMAGES, target=CLASSES, relu_attributions=True)
    expected = captums[:, 0].detach().numpy()
    assert (expected.max((1, 2)) > 0).all()
    raw = called(ours.GradCAM(net, [net.layer], upsampler="nearest", normalize=False))
    np.testing.assert_allclose(raw[:, ::4, ::4], expected, rtol=1e-5, atol=1e-7)
    scaled = host.utils.image.scale_cam_image(host.utils.image.scale_cam_image(expected, (16, 16)))
    np.testing.assert_allclose(called(ours.GradCAM(net, [net.layer])), scaled, rtol=1e-4, atol=1e-5)


def test_grad_cam_before_an_operation_in_place_is_gradients_times_activations():
    model = nn.Sequential(nn.Conv2d(3, 2, 4, stride=4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        model[0].weight.copy_(torch.sin(1.3 * torch.arange(96.0)).reshape(2, 3, 4, 4))
        activation = model[0](IMAGES)
    cam = ours.GradCAM(model, [model[0]], upsampler="nearest", normalize=False)
    fine = cam(IMAGES, [TARGET(0), TARGET(0)])
    weight = (activation[:, 0] > 0).float().mean((1, 2), keepdim=True) / activation[0, 0].numel()
    expected = (weight * activation[:, 0]).clamp(min=0)
    assert expected.any()
    np.testing.assert_allclose(fine[:, ::4, ::4], expected, rtol=1e-5, atol=1e-9)


def test_several_layers_that_are_overwritten_one_after_the_other():
    maps = []
    for in_place in (True, False):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            first, second, head = nn.Conv2d(3, 6, 4, stride=4), nn.Conv2d(6, 6, 1), nn.Linear(6, 5)
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        net = nn.Sequential(first, nn.ReLU(in_place), second, nn.Hardswish(in_place), pool, head)
        maps.append(called(ours.GradCAM(net, [first, second])))
    assert np.array_equal(*maps)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_layer_attributions_of_captum_ext_are_of_what_the_layer_returned(operation):
    found = [
        LayerIntegratedGradients(net, net.layer).attribute(IMAGES, target=CLASSES, n_steps=4) for net in nets(operation)
    ]
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize("operation", ["ReLU(inplace)", "relu_"])
def test_excitation_backprop_of_a_layer_is_of_what_it_returned(operation):
    found = [ExcitationBackprop(net, net.layer).attribute(IMAGES, target=CLASSES) for net in nets(operation)]
    torch.testing.assert_close(*found, rtol=0, atol=0)


class Branches(nn.Module):
    """Two branches of one input, of which autograd computes the first one's gradient first."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.fc = nn.Conv2d(3, 4, 4, stride=4), nn.Conv2d(3, 4, 4, stride=4), nn.Linear(4, 5)
        for k, parameter in enumerate(self.parameters()):
            grid = torch.arange(parameter.numel(), dtype=torch.float32).reshape(parameter.shape)
            parameter.data = torch.sin(1.3 * grid + k)

    def forward(self, x):
        left, right = self.left(x), self.right(x)
        right = right.sigmoid()  # computed first, so that its gradient is the last
        left = left.tanh().square().cos()
        return self.fc((left - 3 * right).mean((2, 3)))


def test_each_gradient_belongs_to_its_activation_whatever_is_computed_first():
    net = Branches().eval()
    options = {"upsampler": "nearest", "normalize": False}
    both = called(ours.GradCAM(net, [net.left, net.right], **options))
    each = [called(ours.GradCAM(net, [layer], **options)) for layer in (net.left, net.right)]
    assert all(one.any() for one in each)
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, rtol=1e-5, atol=1e-8)
