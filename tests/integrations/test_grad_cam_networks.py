"""CAMs of networks in half precision, frozen, that change their input, or that hold tokens or channels last."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.integrations.cam_networks import ALL, PLAIN, Net, called, network, pictures, usu

host = pytest.importorskip("pytorch_grad_cam")
ours = pytest.importorskip("captum_ext_integrations.grad_cam")

TARGET = host.utils.model_targets.ClassifierOutputTarget


@pytest.fixture
def model():
    return network()


@pytest.fixture
def images():
    return pictures()


def test_maps_of_channels_last_features_as_of_swin_are_turned(images):
    class Channelwise(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.norm, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8), nn.Linear(8, 5)

        def forward(self, x):
            return self.head(torch.tanh(self.norm(self.embed(x).permute(0, 2, 3, 1))).mean((1, 2)))

    model = Channelwise()
    turned = lambda features: features.permute(0, 3, 1, 2)  # noqa: E731
    cam = ours.LayerCAM(model, [model.norm], reshape_transform=turned, upsampler=usu(), normalize=False)
    assert cam(images, [TARGET(1), TARGET(2)]).shape == (2, 16, 24)


def test_a_reshape_transform_turns_tokens_into_a_grid(images):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Conv2d(3, 8, 8, stride=8)
            self.norm = nn.LayerNorm(8)
            self.head = nn.Linear(8, 5)

        def forward(self, x):
            tokens = self.embed(x).flatten(2).transpose(1, 2)
            tokens = torch.cat([torch.zeros(len(x), 1, 8), tokens], 1)
            return self.head(torch.tanh(self.norm(tokens)).mean(1))

    def grid(tokens):
        return tokens[:, 1:].reshape(len(tokens), 2, 3, 8).permute(0, 3, 1, 2)

    model = Tokens()
    cam = ours.GradCAM(model, [model.norm], reshape_transform=grid, upsampler=usu(), normalize=False)
    fine = cam(images, [TARGET(1), TARGET(2)])
    assert fine.shape == (2, 16, 24)
    assert cam.activations_and_grads.reshape_transform is grid


# The error that half precision leaves; Eigen classes and kernels amplify it.
TOLERANCE = {torch.float16: 0.02, torch.bfloat16: 0.08}
SIGN_IS_FREE = ("EigenCAM", "EigenGradCAM", "KPCA_CAM", "SegEigenCAM")


class WithNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6)
        self.second, self.head = nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.Linear(8, 5)

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.tanh(self.norm(self.first(x))))).mean((2, 3)))


def with_norm(dtype):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WithNorm()
        for tensor in (model.norm.running_mean, model.norm.running_var, model.norm.weight, model.norm.bias):
            tensor.data = torch.rand_like(tensor) + 0.5
    return model.eval().to(dtype)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in ALL if name not in SIGN_IS_FREE])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("upsampler", "targets"), [(None, None), ("nearest", [TARGET(1), TARGET(3)])])
def test_half_precision_has_the_map_of_single_precision(name, dtype, upsampler, targets, images):
    square, maps = images[:, :, :, :16], []
    for precision in (torch.float32, dtype):
        model = with_norm(precision)
        cam = getattr(ours, name)(model, [model.second], upsampler=upsampler)
        maps.append(called(cam, square.to(precision), targets))
    assert maps[1].dtype == np.float32
    np.testing.assert_allclose(maps[1], maps[0], rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SIGN_IS_FREE)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("upsampler", [None, "nearest"])
def test_projections_of_half_precision_are_finite(name, dtype, upsampler, images):
    model = with_norm(dtype)
    cam = getattr(ours, name)(model, [model.second], upsampler=upsampler)
    shown = cam(images.to(dtype), None)
    assert np.isfinite(shown).all()
    assert shown.max() == pytest.approx(1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in ALL if name not in ("EigenCAM", "EigenGradCAM", "SegEigenCAM")])
def test_in_float16_without_an_upsampler_the_result_is_the_hosts_bit_for_bit(name, images):
    results = []
    for library in (host, ours):
        model = with_norm(torch.float16)
        results.append(called(getattr(library, name)(model, [model.second]), images.half(), [TARGET(1), TARGET(3)]))
    assert np.array_equal(*results, equal_nan=True)


def test_score_cam_in_half_precision_takes_channels_that_are_constant(images):
    model = with_norm(torch.float16)
    model.second.weight.data[0], model.second.bias.data[0] = 0, 1
    cam = ours.ScoreCAM(model, [model.second], upsampler="nearest")
    assert np.isfinite(cam(images.half(), [TARGET(1), TARGET(3)])).all()


OPERATIONS = {
    "subtract and divide": (lambda x: x.sub_(0.3).div_(0.2), lambda x: (x - 0.3) / 0.2),
    "relu": (lambda x: torch.relu_(x.sub_(0.5)), lambda x: torch.relu(x - 0.5)),
    "normalize": (lambda x: nn.functional.normalize(x, out=x), nn.functional.normalize),
}


class Preparing(Net):
    def __init__(self, operation):
        super().__init__()
        self.operation = operation

    def forward(self, x):
        return super().forward(self.operation(x))


def preparing(operation):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Preparing(operation)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "operation"),
    [*((name, "subtract and divide") for name in ("CAM", *ALL)), ("GradCAM", "relu"), ("GradCAM", "normalize")],
)
@pytest.mark.parametrize("upsampler", [None, "nearest", "usu"])
def test_a_model_that_changes_its_input_neither_changes_the_images_nor_the_map(name, operation, upsampler, images):
    square, options = images[:, :, :, :16], {"scales": [16, 24]} if name == "SESS" else {}
    maps = []
    for changes in OPERATIONS[operation]:
        model, given = preparing(changes), square.clone()
        chosen = usu(scorer="deletion") if upsampler == "usu" else upsampler
        maps.append(called(getattr(ours, name)(model, [model.second], upsampler=chosen, **options), given, None))
        assert torch.equal(given, square)
        assert not model._forward_pre_hooks
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-5, atol=1e-5)


def test_a_model_that_changes_its_input_can_be_smoothed_over_augmentations(images):
    maps = []
    for operation in OPERATIONS["subtract and divide"]:
        model, given = preparing(operation), images.clone()
        cam = ours.GradCAM(model, [model.second], upsampler=usu(scorer="deletion"))
        maps.append(cam(given, None, aug_smooth=True))
        assert torch.equal(given, images)
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("upsampler", [None, "nearest"])
def test_after_an_error_of_the_model_no_guard_is_left(upsampler, model, images):
    cam = ours.GradCAM(model, [model.second], upsampler=upsampler)
    with pytest.raises(RuntimeError, match="expected input"):
        cam(images[:, :2], [TARGET(1), TARGET(3)])
    assert not model._forward_pre_hooks
    assert not model._forward_hooks


NEEDS_GRADIENTS = [name for name in PLAIN if name not in ("AblationCAM", "EigenCAM", "FEM", "KPCA_CAM", "ScoreCAM")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["CAM", *NEEDS_GRADIENTS, "FinerCAM", "FullGrad", "RefineCAM"])
@pytest.mark.parametrize("frozen", ["backbone", "all"])
@pytest.mark.parametrize("upsampler", [None, "nearest"])
def test_a_frozen_network_has_the_map_that_it_had_before(name, frozen, upsampler, model, images):
    targets = [TARGET(1), TARGET(3)]
    before = called(getattr(ours, name)(model, [model.second], upsampler=upsampler), images, targets)
    (model if frozen == "all" else model.first).requires_grad_(False)
    model.second.requires_grad_(False)
    after = called(getattr(ours, name)(model, [model.second], upsampler=upsampler), images, targets)
    assert np.array_equal(before, after)
    assert not any(parameter.requires_grad for parameter in model.second.parameters())
