"""The CAM classes of pytorch-grad-cam: the host's bit for bit without an upsampler, mass-true with one."""

import numpy as np
import pytest
import torch
from torch import nn

from captum_ext.exceptions import ArgumentError
from captum_ext.upsampling import InterpolationUpsampler, USUUpsampler

host = pytest.importorskip("pytorch_grad_cam")
ours = pytest.importorskip("captum_ext_integrations.grad_cam")

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
TARGET = host.utils.model_targets.ClassifierOutputTarget


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net()


@pytest.fixture
def images():
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def usu(**options):
    return USUUpsampler(segmenter="grid", **options)


def called(cam, images, targets, **options):
    np.random.seed(0)  # noqa: NPY002 (RandomCAM draws from it)
    return cam(images, targets, **options)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("explained", ["targets", "largest"])
def test_without_an_upsampler_the_result_is_the_hosts_bit_for_bit(name, explained, model, images):
    targets = [TARGET(1), TARGET(3)] if explained == "targets" else None
    results = []
    for library in (host, ours):
        cam = getattr(library, name)(model, [model.second])
        results.append(called(cam, images.clone(), targets))
        cam = None
    assert results[0].dtype == results[1].dtype
    assert np.array_equal(results[0], results[1], equal_nan=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PLAIN)
def test_with_an_upsampler_the_map_sums_to_the_mass_of_the_raw_one_in_every_cell(name, model, images):
    cam = getattr(ours, name)(model, [model.second], upsampler=usu(), normalize=False)
    raw = []
    original = cam._coarse_maps
    cam._coarse_maps = lambda *args: raw.append(original(*args)) or raw[-1]
    fine = called(cam, images, [TARGET(1), TARGET(3)])
    assert fine.shape == (2, 16, 24)
    coarse = raw[0][0].numpy()
    sums = fine.reshape(2, 4, 4, 6, 4).sum((2, 4))
    np.testing.assert_allclose(sums, coarse * 16, rtol=1e-5, atol=1e-6)
    assert fine.min() >= 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name in ALL if name != "SESS"])
def test_for_display_a_map_is_divided_by_its_maximum_and_nothing_is_subtracted(name, model, images):
    shown = called(getattr(ours, name)(model, [model.second], upsampler=usu()), images, [TARGET(1), TARGET(3)])
    plain = called(
        getattr(ours, name)(model, [model.second], upsampler=usu(), normalize=False), images, [TARGET(1), TARGET(3)]
    )
    highest = plain.max((1, 2), keepdims=True)
    np.testing.assert_allclose(shown, plain / np.where(highest > 0, highest, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_full_grad_adds_the_inputs_own_term_to_each_layers_redistributed_channels(model, images):
    cam = ours.FullGrad(model, [], upsampler=usu(), normalize=False)
    raw = []
    original = cam._coarse_maps
    cam._coarse_maps = lambda *args: raw.append(original(*args)) or raw[-1]
    targets = [TARGET(1), TARGET(3)]
    fine = cam(images, targets)
    leaf = images.clone().requires_grad_()
    scores = model(leaf)
    gradient = torch.autograd.grad(scores[0, 1] + scores[1, 3], leaf)[0]
    torch.testing.assert_close(raw[0][0], (gradient * images).abs().sum(1))
    assert [tuple(one.shape[1:]) for one in raw[0]] == [(16, 24), (8, 12), (4, 6)]
    mass = sum(one.sum((1, 2)) * (16 * 24 / one[0].numel()) for one in raw[0])
    np.testing.assert_allclose(fine.sum((1, 2)), mass.numpy(), rtol=1e-5)
    smoothed = cam(images, targets, aug_smooth=True)
    assert smoothed.shape == fine.shape
    with pytest.raises(NotImplementedError, match="FullGrad with an upsampler has no eigen_smooth"):
        cam(images, targets, eigen_smooth=True)


@pytest.mark.filterwarnings("ignore")
def test_sess_upsamples_its_patches(model, images):
    square = images[:, :, :, :16]
    shown = ours.SESS(model, [model.second], scales=[16, 24], upsampler=usu())(square, [TARGET(1), TARGET(3)])
    assert shown.shape == (2, 16, 16)


def test_nothing_of_the_scoring_passes_is_kept_and_a_second_call_gives_the_same(model, images):
    cam = ours.GradCAM(model, [model.second], upsampler=usu())
    first = cam(images, None)
    kept = len(cam.activations_and_grads.activations), len(cam.activations_and_grads.gradients)
    assert kept == (1, 1)
    assert type(cam.activations_and_grads.activations) is list
    assert np.array_equal(first, cam(images, None))


def test_without_targets_the_largest_output_is_explained(model, images):
    with torch.no_grad():
        largest = [TARGET(index) for index in model(images).argmax(1).tolist()]
    cam = ours.GradCAM(model, [model.second], upsampler=usu())
    assert np.array_equal(cam(images, None), cam(images, largest))


def test_several_layers_with_different_grids_are_scored_once_and_averaged(model, images):
    spent = []
    counting = model.register_forward_hook(lambda module, given, output: spent.append(len(output)))
    arguments = {"upsampler": usu(scorer="deletion"), "normalize": False}
    targets = [TARGET(1), TARGET(3)]
    both = ours.GradCAM(model, [model.first, model.second], **arguments)(images, targets)
    passes = sum(spent)
    counting.remove()
    each = [ours.GradCAM(model, [layer], **arguments)(images, targets) for layer in (model.first, model.second)]
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, rtol=1e-5, atol=1e-7)
    n_segments = len(usu()._levels(images)[0][0].unique())
    assert passes == 2 + 2 * n_segments


def test_augmentation_smoothing_scores_once_and_keeps_the_mass_of_the_mean_map(model, images):
    spent = []
    counting = model.register_forward_hook(lambda module, given, output: spent.append(len(output)))
    cam = ours.GradCAM(model, [model.second], upsampler=usu(scorer="deletion"), normalize=False)
    targets = [TARGET(1), TARGET(3)]
    fine = cam(images, targets, aug_smooth=True)
    counting.remove()
    n_augmentations = len(list(cam.tta_transforms))
    assert sum(spent) == 2 * n_augmentations + 2 * len(usu()._levels(images)[0][0].unique())
    raw = []
    original = cam._coarse_maps
    cam._coarse_maps = lambda *args: raw.append(original(*args)) or raw[-1]
    for transform in cam.tta_transforms:
        cam(transform.augment_image(images), targets)
    coarse = [
        transform.deaugment_mask(maps[0][:, None])[:, 0]
        for transform, maps in zip(cam.tta_transforms, raw, strict=True)
    ]
    expected = torch.stack(coarse).mean(0).numpy() * 16
    np.testing.assert_allclose(fine.reshape(2, 4, 4, 6, 4).sum((2, 4)), expected, rtol=1e-5, atol=1e-6)
    assert cam.upsampler is not None


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_are_explained_and_tensors_returned_on_request(dtype, model, images):
    cam = ours.GradCAM(model.to(dtype), [model.second], upsampler=usu(), as_tensor=True)
    shown = cam(images.to(dtype), None)
    assert isinstance(shown, torch.Tensor)
    assert shown.dtype == torch.float32
    assert float(shown.max()) == 1


def test_interpolation_can_be_compared_behind_the_same_argument(model, images):
    arguments = {"upsampler": InterpolationUpsampler("nearest"), "normalize": False}
    nearest = ours.GradCAM(model, [model.second], **arguments)(images, [TARGET(1), TARGET(3)])
    constant = usu(scorer="constant")
    redistributed = ours.GradCAM(model, [model.second], upsampler=constant, normalize=False)(
        images, [TARGET(1), TARGET(3)]
    )
    np.testing.assert_allclose(redistributed, nearest, rtol=1e-5, atol=1e-7)


def test_the_hosts_gradients_of_parameters_are_all_that_changes(model, images):
    before = [p.detach().clone() for p in model.parameters()]
    state = torch.get_rng_state()
    with ours.GradCAM(model, [model.second], upsampler=usu()) as cam:
        cam(images, None)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(not module._forward_hooks for module in model.modules())


def test_what_cannot_be_upsampled_is_refused(model, images):
    cam = ours.GradCAM(model, [model.second], upsampler=usu())
    with pytest.raises(ArgumentError, match="`targets` to be one for each of the 2 images, but got 1"):
        cam(images, [TARGET(1)])
    volumes = nn.Sequential(nn.Conv3d(1, 2, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    with pytest.raises(NotImplementedError, match=r"for images \(N, C, H, W\), not \(1, 1, 6, 6, 6\)"):
        ours.GradCAM(volumes, [volumes[0]], upsampler=usu())(torch.rand(1, 1, 6, 6, 6), [TARGET(0)])


# What the host's own suite runs its classes on: a torchvision network, one or two images, eigen_smooth on and off.
HOST_SUITE = ["AblationCAM", "EigenCAM", "EigenGradCAM", "FullGrad", "GradCAM", "GradCAMElementWise", "GradCAMPlusPlus"]
HOST_SUITE += ["HiResCAM", "KPCA_CAM", "LayerCAM", "RandomCAM", "ScoreCAM", "ShapleyCAM", "XGradCAM", "FinerCAM"]


@pytest.fixture(scope="module")
def resnet():
    torchvision = pytest.importorskip("torchvision")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torchvision.models.resnet18(weights=None).eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HOST_SUITE)
@pytest.mark.parametrize(("n_images", "eigen_smooth"), [(1, True), (2, False)])
def test_on_the_hosts_own_configurations_the_result_is_the_hosts(name, n_images, eigen_smooth, resnet):
    batch = torch.rand(n_images, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    targets = [TARGET(100)] * n_images
    results = []
    for library in (host, ours):
        cam = getattr(library, name)(resnet, [resnet.layer4[-1]])
        results.append(called(cam, batch.clone(), targets, eigen_smooth=eigen_smooth))
    assert results[0].shape == (n_images, 32, 32)
    assert np.array_equal(results[0], results[1], equal_nan=True)


@pytest.mark.parametrize("name", ["GradCAM", "LayerCAM"])
def test_augmentation_smoothing_without_an_upsampler_is_the_hosts(name, model, images):
    results = [
        called(getattr(library, name)(model, [model.second]), images, [TARGET(1), TARGET(3)], aug_smooth=True)
        for library in (host, ours)
    ]
    assert np.array_equal(*results)


def test_the_hosts_own_example_works_with_one_import_and_one_argument_changed(model, images):
    with ours.GradCAM(model=model, target_layers=[model.second], upsampler=usu()) as cam:
        grayscale_cam = cam(input_tensor=images, targets=[TARGET(1), TARGET(3)])
        grayscale_cam = grayscale_cam[0, :]
        rgb_image = images[0].permute(1, 2, 0).numpy()
        visualization = host.utils.image.show_cam_on_image(rgb_image, grayscale_cam, use_rgb=True)
        assert cam.outputs.shape == (2, 5)
    assert visualization.shape == (16, 24, 3)
    assert visualization.dtype == np.uint8
