"""CAMs of adapted models: their own layer, tokens as maps of each image's own size, and nothing to pass for either."""

import numpy as np
import pytest
import torch
from torch import nn

from captum_ext.exceptions import AdaptError, ArgumentError, ArgumentTypeError
from captum_ext.models import adapt
from captum_ext.models.targets import ClassTarget
from captum_ext.upsampling import USU
from tests.models.networks import Conv, LikeHuggingFace, Text, Transformer

host = pytest.importorskip("pytorch_grad_cam")
ours = pytest.importorskip("captum_ext_integrations.grad_cam")

TARGET = host.utils.model_targets.ClassifierOutputTarget
TARGETS = [TARGET(1), TARGET(2)]
PATCH, BEFORE = 4, 5  # a class token and four registers
NAMES = [name for name in ours.CAM_CLASSES if name not in ("CAM", "FullGrad", "SESS")]
OTHER_SIZES = [(12, 20), (8, 8), (20, 8)]


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Transformer(before=BEFORE, patch=PATCH).eval()


@pytest.fixture
def adapted(network):
    return adapt(network, size=(8, 12), mean=0.5, std=0.5)


def images_of(*size):
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(size[0]))


def grid_of(height, width):
    """What one writes by hand: tokens (N, 5 + h * w, C) of images of one size as maps."""

    def reshape(tokens):
        patches = tokens[:, BEFORE:].transpose(1, 2)
        return patches.unflatten(2, (height // PATCH, width // PATCH))

    return reshape


def called(cam, images, targets=TARGETS, **options):
    np.random.seed(0)  # noqa: NPY002 (RandomCAM draws from it)
    return cam(images.clone(), targets, **options)


def by_hand(name, network, images, layer=None, **options):
    """The host's map with a layer and a function for this size of images."""
    layer = network.blocks[1].norm1 if layer is None else layer
    if name == "AblationCAM":
        options["ablation_layer"] = host.AblationLayerVit()
    return called(getattr(host, name)(network, [layer], grid_of(*images.shape[2:]), **options), images)


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "ShapleyCAM"])
def test_with_nothing_but_the_model_the_map_is_the_hosts_of_its_last_block(name, network, adapted):
    images = images_of(8, 12)
    assert adapted.layer is network.blocks[1].norm1
    assert np.array_equal(called(getattr(ours, name)(adapted), images), by_hand(name, network, images))


def test_shapley_cam_of_tokens_has_the_weights_of_the_tokens_maps(network, adapted):
    """The host's class fails here: it multiplies weights of maps with tokens."""
    images, targets = images_of(8, 12), [TARGET(0), TARGET(2)]
    kept = []
    handle = adapted.layer.register_forward_hook(lambda _, __, output: kept.append(output))
    scores = network(images)
    handle.remove()
    (slope,) = torch.autograd.grad(scores[0, 0] + scores[1, 2], kept, create_graph=True)
    (product,) = torch.autograd.grad(slope, kept, kept[0])
    weights = grid_of(8, 12)(slope - product / 2).mean((2, 3), keepdim=True)
    expected = (weights * grid_of(8, 12)(kept[0])).sum(1).clamp(min=0).detach().numpy()
    assert expected.any()
    raw = ours.ShapleyCAM(adapted, upsampler="nearest", normalize=False)(images, targets)
    np.testing.assert_allclose(raw[:, ::PATCH, ::PATCH], expected, rtol=1e-4, atol=1e-5 * expected.max())
    scaled = host.utils.image.scale_cam_image(host.utils.image.scale_cam_image(expected, (12, 8)))
    np.testing.assert_allclose(ours.ShapleyCAM(adapted)(images, targets), scaled, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["GradCAM", "ScoreCAM", "AblationCAM"])
@pytest.mark.parametrize("upsampler", [None, "nearest"])
def test_one_object_takes_images_of_one_size_after_the_other(name, upsampler, network, adapted):
    cam = getattr(ours, name)(adapted, upsampler=upsampler)
    for size in OTHER_SIZES:
        images = images_of(*size)
        fresh = getattr(ours, name)(network, [adapted.layer], grid_of(*size), upsampler=upsampler)
        assert np.array_equal(called(cam, images), called(fresh, images))


@pytest.mark.parametrize("upsampler", [None, USU(segmenter="grid")])
def test_augmentations_are_read_as_images_of_their_own_size(upsampler, network, adapted):
    images = images_of(12, 20)
    cam = ours.GradCAM(adapted, upsampler=upsampler)
    called(cam, images_of(8, 8))
    written = ours.GradCAM(network, [adapted.layer], grid_of(12, 20), upsampler=upsampler)
    assert np.array_equal(called(cam, images, aug_smooth=True), called(written, images, aug_smooth=True))


def test_what_the_model_is_called_with_between_forward_and_backward_changes_no_map(network, adapted):
    images, other = images_of(12, 20), images_of(8, 8)

    def first_after_another_call(output):
        adapted(other)
        return output[0]

    cam = ours.GradCAM(adapted)
    maps = cam(images, [first_after_another_call] * 2)
    written = ours.GradCAM(network, [adapted.layer], grid_of(12, 20))
    assert np.array_equal(maps, written(images, [TARGET(0)] * 2))


def test_a_pass_that_is_not_the_cams_leaves_nothing_in_it(adapted):
    with ours.GradCAM(adapted) as cam:
        called(cam, images_of(8, 12))
        kept = list(cam.activations_and_grads.activations)
        adapted(images_of(20, 8))
        adapted.model(images_of(12, 20))
        assert [id(one) for one in cam.activations_and_grads.activations] == [id(one) for one in kept]


@pytest.mark.parametrize("layer", ["blocks.0", "blocks.0.norm1", "blocks.1.norm1"])
def test_other_layers_of_tokens_are_read_by_the_same_grid(layer, network, adapted):
    images, chosen = images_of(12, 20), network.get_submodule(layer)
    expected = by_hand("GradCAM", network, images, chosen)
    assert np.array_equal(called(ours.GradCAM(adapted, [chosen]), images), expected)


def test_features_that_are_maps_stay_as_they_are_beside_tokens(network, adapted):
    images = images_of(12, 20)
    maps = called(ours.GradCAM(adapted, [network.patches]), images)
    assert np.array_equal(maps, called(host.GradCAM(network, [network.patches]), images))
    both = called(ours.GradCAM(adapted, [network.patches, adapted.layer], upsampler="nearest", normalize=False), images)
    each = [
        called(ours.GradCAM(adapted, [layer], upsampler="nearest", normalize=False), images)
        for layer in (network.patches, adapted.layer)
    ]
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, rtol=1e-5, atol=1e-7)


def test_a_reshape_function_of_the_callers_own_wins(network, adapted):
    images = images_of(8, 12)
    turned = lambda tokens: grid_of(8, 12)(tokens).flip(3)  # noqa: E731
    maps = called(ours.GradCAM(adapted, reshape_transform=turned), images)
    assert np.array_equal(maps, called(host.GradCAM(network, [adapted.layer], turned), images))
    given = ours.GradCAM(adapted, [adapted.layer], reshape_transform=adapted.to_grid)
    assert np.array_equal(called(given, images), by_hand("GradCAM", network, images))


def test_tokens_of_channels_last_features_are_ablated_by_channel(network, adapted):
    images = images_of(8, 12)
    mine = called(ours.AblationCAM(adapted, upsampler="nearest", normalize=False), images)
    whole, features = through(network, adapted.layer, images, lambda output: output)
    drops = []
    for channel in range(8):
        less, _ = through(network, adapted.layer, images, ablated(channel))
        drops.append([1 - less[n, c] / whole[n, c] for n, c in enumerate((1, 2))])
    expected = torch.einsum("kn,nkhw->nhw", torch.tensor(drops), grid_of(8, 12)(features)).clamp(min=0)
    np.testing.assert_allclose(mine[:, ::PATCH, ::PATCH], expected, rtol=1e-4, atol=1e-4 * float(expected.max()))


def ablated(channel):
    """The host's ablation: one channel of all tokens far below the smallest number, of every image its own."""

    def replace(output):
        changed = output.clone()
        for row in changed:
            row[:, channel] = row.min() - 1e7
        return changed

    return replace


def through(network, layer, images, replace):
    """Outputs with what a layer returns replaced, and what it returned."""
    kept = []

    def hook(_, __, output):
        kept.append(output)
        return replace(output)

    handle = layer.register_forward_hook(hook)
    with torch.no_grad():
        outputs = network(images)
    handle.remove()
    return outputs, kept[0]


def test_a_failing_pass_leaves_the_model_with_its_layer_and_no_hook(adapted, network):
    class Failing(host.AblationLayerVit):
        def __call__(self, x):
            raise RuntimeError("in the ablation")

    cam = ours.AblationCAM(adapted, ablation_layer=Failing())
    layer, hooks = adapted.layer, len(adapted.layer._forward_hooks)
    with pytest.raises(RuntimeError, match="in the ablation"):
        called(cam, images_of(8, 12))
    assert network.blocks[1].norm1 is layer
    assert adapted.layer is layer
    assert len(layer._forward_hooks) == hooks


def test_a_model_that_returns_objects_is_explained_as_the_network_inside(network):
    adapted = adapt(LikeHuggingFace(network, image_size=8))
    images = images_of(12, 20)  # larger than its positions are for: to_grid reads them all the same
    expected = by_hand("GradCAM", network, images)
    assert np.array_equal(called(ours.GradCAM(adapted), images), expected)


def test_full_grad_has_all_layers_with_a_bias_of_any_model(adapted, network):
    images = images_of(8, 12)
    expected = called(host.FullGrad(network, []), images)
    assert np.array_equal(called(ours.FullGrad(adapted), images), expected)
    assert np.array_equal(called(ours.FullGrad(network), images), expected)


def test_cam_and_sess_need_no_layer_of_an_adapted_model_either():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Conv().eval()
    adapted, images = adapt(network, size=16, mean=0.5, std=0.5), images_of(16, 16)
    assert adapted.layer is network[1]
    maps = called(ours.CAM(network, [network[1]]), images)
    assert np.array_equal(called(ours.CAM(adapted), images), maps)
    assert np.array_equal(called(ours.CAM(adapted), images, [ClassTarget(1), ClassTarget(2)]), maps)
    options = {"scales": [16, 24]}
    expected = called(host.SESS(network, [network[1]], **options), images)
    assert np.array_equal(called(ours.SESS(adapted, **options), images), expected)


@pytest.mark.parametrize("name", [name for name in ours.CAM_CLASSES if name != "FullGrad"])
def test_a_plain_module_needs_its_layers(name, network):
    expected = "`target_layers` to be a list of modules of the model; only of what captum_ext.models.adapt makes of a"
    with pytest.raises(ArgumentError, match=expected):
        getattr(ours, name)(network)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("layers", "error", "received"),
    [
        (lambda net: net.norm, ArgumentTypeError, "LayerNorm"),
        (lambda net: net.blocks, ArgumentTypeError, "Sequential"),  # whose blocks the host would take one by one
        (lambda _: ["norm"], ArgumentTypeError, "str 'norm' in it"),
        (lambda _: [], ArgumentError, "an empty list"),
    ],
)
def test_what_is_no_list_of_layers_is_refused(layers, error, received, network):
    with pytest.raises(error, match=f"`target_layers` to be a list of modules of the model.* got .*{received}"):
        ours.GradCAM(network, layers(network))


def test_models_without_places_say_why():
    with pytest.raises(AdaptError, match="has no image input"):
        ours.GradCAM(adapt(Text()))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    with pytest.raises(AdaptError, match="There is no layer to explain"):
        ours.GradCAM(adapt(flat, size=4, mean=0.5, std=0.5, channels=3))


@pytest.mark.parametrize("name", ["GradCAM", "FullGrad", "CAM"])
def test_a_function_is_no_model_whose_layers_could_be_recorded(name, network):
    with pytest.raises(
        ArgumentTypeError, match="`model` to be a torch.nn.Module, whose layers are recorded, but got function"
    ):
        getattr(ours, name)(lambda images: network(images), [network.norm])
