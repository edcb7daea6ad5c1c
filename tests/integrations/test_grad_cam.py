"""The CAM classes of pytorch-grad-cam without an upsampler: the host's arguments, and its maps bit for bit."""

import functools
import inspect

import numpy as np
import pytest
import torch

from captum_ext.exceptions import ArgumentTypeError
from tests.integrations.cam_networks import ALL, called, network, pictures, usu

host = pytest.importorskip("pytorch_grad_cam")
ours = pytest.importorskip("captum_ext_integrations.grad_cam")

TARGET = host.utils.model_targets.ClassifierOutputTarget


@pytest.fixture
def model():
    return network()


@pytest.fixture
def images():
    return pictures()


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
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("upsampler", [None, "nearest"])
def test_a_tensor_has_the_values_of_the_array(name, upsampler, model, images):
    square, targets = images[:, :, :, :16], [TARGET(1), TARGET(3)]
    array, tensor = (
        called(
            getattr(ours, name)(model, [model.second], upsampler=upsampler, as_tensor=as_tensor),
            square.clone(),
            targets,
        )
        for as_tensor in (False, True)
    )
    assert isinstance(array, np.ndarray)
    assert isinstance(tensor, torch.Tensor)
    assert tensor.dtype == torch.float32
    assert np.array_equal(array, tensor.numpy(), equal_nan=True)


def test_smoothing_gives_a_tensor_without_an_upsampler_too(model, images):
    array, tensor = (
        ours.GradCAM(model, [model.second], as_tensor=as_tensor)(images, [TARGET(1), TARGET(3)], aug_smooth=True)
        for as_tensor in (False, True)
    )
    assert np.array_equal(array, tensor.numpy())


META = ["FinerCAM", "RefineCAM", "SESS"]
BASES = {
    "GradCAM": {},
    "AblationCAM": {"ratio_channels_to_ablate": 0.5},
    "FEM": {"k": 1},
    "KPCA_CAM": {"kernel": "rbf", "gamma": 0.1},
    "FullGrad": {},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", META)
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("library", [host, ours], ids=["the host's base", "our base"])
def test_a_base_method_may_be_the_hosts_or_ours_and_is_the_hosts_without_an_upsampler(
    name, base, library, model, images
):
    square, targets = images[:, :, :, :16], [TARGET(1), TARGET(3)]
    expected = called(
        getattr(host, name)(model, [model.second], base_method=getattr(host, base)), square.clone(), targets
    )
    chosen = getattr(library, base)
    actual = called(getattr(ours, name)(model, [model.second], base_method=chosen), square.clone(), targets)
    assert np.array_equal(expected, actual, equal_nan=True)
    upsampled = called(
        getattr(ours, name)(model, [model.second], base_method=chosen, upsampler="nearest"), square, targets
    )
    with_ours = getattr(ours, name)(model, [model.second], base_method=getattr(ours, base), upsampler="nearest")
    assert np.array_equal(upsampled, called(with_ours, square, targets))
    assert base == "FEM" or not np.array_equal(upsampled, actual)  # FEM finds nothing in this network


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["RefineCAM", "SESS"])
@pytest.mark.parametrize("base", ["AblationCAM", "FEM", "KPCA_CAM"])
def test_options_of_the_base_method_go_to_it_as_in_the_host(name, base, model, images):
    square, targets = images[:, :, :, :16], [TARGET(1), TARGET(3)]
    results = [
        called(
            getattr(library, name)(model, [model.second], base_method=getattr(host, base), **BASES[base]),
            square.clone(),
            targets,
        )
        for library in (host, ours)
    ]
    assert np.array_equal(*results)
    partially = functools.partial(getattr(host, base), **BASES[base])
    result = called(getattr(ours, name)(model, [model.second], base_method=partially), square.clone(), targets)
    assert np.array_equal(results[0], result)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", META)
def test_a_base_method_of_the_callers_own_gets_the_upsampler(name, model, images):
    class Doubled(host.GradCAM):
        def __init__(self, model, target_layers, reshape_transform=None, factor=2):
            super().__init__(model, target_layers, reshape_transform)
            self.factor = factor

        def get_cam_weights(self, *given):
            return self.factor * super().get_cam_weights(*given)

    square, targets = images[:, :, :, :16], [TARGET(1), TARGET(3)]
    for base in (
        Doubled,
        functools.partial(Doubled, factor=4),
        lambda *given, **options: ours.GradCAM(*given, **options),
    ):
        expected = getattr(ours, name)(model, [model.second], base_method=ours.GradCAM, upsampler="nearest")
        cam = getattr(ours, name)(model, [model.second], base_method=base, upsampler="nearest")
        np.testing.assert_allclose(cam(square, targets), expected(square, targets), rtol=1e-5, atol=1e-7)
        plain = getattr(host, name)(model, [model.second], base_method=base)
        cam = getattr(ours, name)(model, [model.second], base_method=base)
        assert np.array_equal(cam(square, targets), plain(square, targets))


@pytest.mark.parametrize("name", META)
def test_what_cannot_be_a_base_method_is_named(name, model):
    with pytest.raises(ArgumentTypeError, match="`base_method` to be a CAM class, .* but got str 'GradCAM'"):
        getattr(ours, name)(model, [model.second], base_method="GradCAM")
    plain = lambda model, layers, turned: host.GradCAM(model, layers, turned)  # noqa: E731
    with pytest.raises(ArgumentTypeError, match="`base_method` to be a CAM class, or a function that takes upsampler"):
        getattr(ours, name)(model, [model.second], base_method=plain, upsampler="usu")


@pytest.mark.parametrize("name", ALL)
def test_the_hosts_arguments_keep_their_names_places_and_defaults_and_ours_are_keywords(name):
    theirs, mine = (inspect.signature(getattr(library, name)).parameters for library in (host, ours))
    positional = [one for one in theirs.values() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert list(mine)[: len(positional)] == [one.name for one in positional]
    for one in positional:
        if one.name not in ("base_method", "ablation_layer", "target_layers"):
            assert mine[one.name].default == one.default
    assert mine["target_layers"].default is None
    keywords = [one.name for one in mine.values() if one.kind is one.KEYWORD_ONLY]
    assert keywords[-3:] == ["upsampler", "normalize", "as_tensor"]
    assert all(one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) for one in mine.values())


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
