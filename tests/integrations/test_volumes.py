"""Volumes and signals in the adapters: CAMs of three-dimensional networks, layer attributions, Quantus' metrics."""

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from captum_ext.exceptions import ArgumentError
from captum_ext.metrics import deletion, insertion
from captum_ext.upsampling import USU, InterpolationUpsampler, pool_attribution
from captum_ext_integrations.captum_layers import redistribute_layer_attribution

pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam")
ours = pytest.importorskip("captum_ext_integrations.grad_cam")
pytest.importorskip("quantus")
quantus_metrics = pytest.importorskip("captum_ext_integrations.quantus_metrics")
ClassifierOutputTarget = pytest.importorskip("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget

SIZE, GRID = (4, 6, 10), (2, 3, 5)
TARGETS = [ClassifierOutputTarget(1), ClassifierOutputTarget(0)]


def network(conv, pool, channels=2):
    """Cells of side 2, each with features of its own mean, and a head that averages them."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = conv(channels, 3, 2, stride=2), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(3, 2)
    model = nn.Sequential(*layers).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.linspace(-0.5, 1, model[0].weight.numel()).reshape(model[0].weight.shape))
        model[4].weight.copy_(torch.tensor([[1.0, -0.5, 2.0], [1.0, 1.5, -0.1]]))
    return model


@pytest.fixture
def model():
    return network(nn.Conv3d, nn.AdaptiveAvgPool3d)


@pytest.fixture
def volumes():
    return torch.rand(2, 2, *SIZE, generator=torch.Generator().manual_seed(0))


def coarse_cam(model, volumes):
    """Grad-CAM by hand: where the head averages, a channel's weight is its class weight over the number of cells."""
    features = model[1](model[0](volumes)).detach()
    classes = torch.tensor([1, 0])
    weights = model[4].weight.detach()[classes] / features[0, 0].numel()
    return torch.einsum("nc,ncdhw->ndhw", weights, features).clamp(min=0)


@pytest.mark.parametrize("upsampler", [USU(segmenter="grid"), USU(), "nearest"])
def test_grad_cam_of_a_volume_keeps_each_cells_mass(model, volumes, upsampler):
    cam = ours.GradCAM(model, [model[1]], upsampler=upsampler, normalize=False, as_tensor=True)
    maps = cam(volumes, TARGETS)
    assert maps.shape == (2, *SIZE)
    torch.testing.assert_close(pool_attribution(maps, GRID)[:, 0], coarse_cam(model, volumes))
    scaled = ours.GradCAM(model, [model[1]], upsampler=upsampler)(volumes, TARGETS)
    np.testing.assert_allclose(scaled, (maps / maps.amax((1, 2, 3), keepdim=True)).numpy(), rtol=1e-5)


def test_the_map_goes_to_the_volumes_own_size_and_no_other_order_of_it(model):
    volume = torch.zeros(1, 2, *SIZE)
    volume[..., 2:4, 0:2, 8:10] = 1  # one cell, (1, 0, 4)
    with torch.no_grad():
        model[0].bias.zero_()
    cam = ours.GradCAM(model, [model[1]], upsampler="nearest")(volume, [ClassifierOutputTarget(0)])
    expected = np.zeros(SIZE)
    expected[2:4, 0:2, 8:10] = 1
    np.testing.assert_allclose(cam[0], expected)


def test_a_cam_of_depth_1_is_that_of_the_image():
    flat, deep = network(nn.Conv2d, nn.AdaptiveAvgPool2d), network(nn.Conv3d, nn.AdaptiveAvgPool3d)
    deep[0] = nn.Conv3d(2, 3, (1, 2, 2), stride=(1, 2, 2))
    with torch.no_grad():
        deep[0].weight.copy_(flat[0].weight[:, :, None])
        deep[0].bias.copy_(flat[0].bias)
    images = torch.rand(2, 2, 6, 10, generator=torch.Generator().manual_seed(0))
    expected = ours.GradCAM(flat, [flat[1]], upsampler=USU())(images, TARGETS)
    found = ours.GradCAM(deep, [deep[1]], upsampler=USU())(images[:, :, None], TARGETS)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["CAM", "GradCAM", "HiResCAM", "LayerCAM", "GradCAMElementWise", "GradCAMPlusPlus"])
def test_the_hosts_classes_for_volumes_are_upsampled_and_without_upsampler_the_hosts(model, volumes, name):
    if name != "CAM":  # which the host does not have
        theirs = getattr(pytorch_grad_cam, name)(model, [model[1]])(volumes, TARGETS)
        assert np.array_equal(getattr(ours, name)(model, [model[1]])(volumes, TARGETS), theirs)
    options = {"upsampler": "nearest", "normalize": False, "as_tensor": True}
    maps = getattr(ours, name)(model, [model[1]], **options)(volumes, TARGETS)
    assert maps.shape == (2, *SIZE)
    smooth = getattr(ours, name)(model, [model[1]], **options)(volumes, TARGETS, aug_smooth=True)
    assert smooth.shape == (2, *SIZE)


def test_fullgrad_is_for_images(model, volumes):
    with pytest.raises(NotImplementedError, match=r"FullGrad is for images \(N, C, H, W\), not \(2, 2, 4, 6, 10\)"):
        ours.FullGrad(model, [], upsampler="nearest")(volumes, TARGETS)


@pytest.mark.parametrize("kind", ["signals", "volumes"])
def test_layer_attributions_keep_each_cells_mass(kind):
    model = {
        "signals": lambda: network(nn.Conv1d, nn.AdaptiveAvgPool1d),
        "volumes": lambda: network(nn.Conv3d, nn.AdaptiveAvgPool3d),
    }[kind]()
    size, grid = {"signals": ((10,), (5,)), "volumes": (SIZE, GRID)}[kind]
    x = torch.rand(2, 2, *size, generator=torch.Generator().manual_seed(0))
    layer = captum.attr.LayerGradientXActivation(model, model[1]).attribute(x, target=1)
    dims = size[0] if kind == "signals" else size
    fine = redistribute_layer_attribution(layer, dims, x, model, target=1, upsampler=USU(segmenter="grid"))
    assert fine.shape == (2, 3, *size)
    for channel in range(3):
        torch.testing.assert_close(pool_attribution(fine[:, [channel]], grid), layer[:, [channel]])
    repeated = redistribute_layer_attribution(
        layer, dims, x, model, target=1, upsampler=InterpolationUpsampler("nearest")
    )
    expected = captum.attr.LayerAttribution.interpolate(layer, dims, interpolate_mode="nearest")
    torch.testing.assert_close(repeated, expected)


@pytest.mark.parametrize(
    ("layer", "dims", "inputs", "name", "message"),
    [
        ((1, 2, 2), (4, 4), (1, 2, 4), "interpolate_dims", "one number"),
        ((1, 2, 2, 2, 2), (4, 4), (1, 2, 4, 4, 4), "interpolate_dims", "one or three numbers"),
        ((1, 2), 4, (1, 2, 4), "layer_attribution", r"of shape \(N, C, h, w\), \(N, C, d, h, w\) or \(N, C, t\)"),
        ((1, 2, 2, 2), 4, (1, 2, 4), "inputs", "of 4 dimensions, as the layer's attribution"),
    ],
)
def test_layer_attributions_of_other_dimensions_are_refused(layer, dims, inputs, name, message):
    with pytest.raises(ArgumentError, match=f"`{name}` to be {message}"):
        redistribute_layer_attribution(torch.ones(layer), dims, torch.ones(inputs), lambda x: x.flatten(1))


@pytest.mark.filterwarnings("ignore:.* keep more than half of their score")
def test_quantus_metrics_take_voxels(model, volumes):
    maps = coarse_cam(model, volumes).repeat_interleave(2, 1).repeat_interleave(2, 2).repeat_interleave(2, 3)[:, None]
    classes = torch.tensor([1, 0])
    arrays = volumes.numpy(), classes.numpy(), maps.numpy()
    scores = quantus_metrics.Deletion(n_steps=4)(model, *arrays, channel_first=True)
    np.testing.assert_allclose(scores, deletion(model, volumes, maps, classes, n_steps=4).auc, rtol=1e-5)
    scores = quantus_metrics.Insertion(n_steps=4)(model, *arrays, channel_first=True)
    np.testing.assert_allclose(scores, insertion(model, volumes, maps, classes, n_steps=4).auc, rtol=1e-5)
