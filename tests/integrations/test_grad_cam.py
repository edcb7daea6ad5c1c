"""The CAM classes of pytorch-grad-cam: the host's bit for bit without an upsampler, mass-true with one."""

import functools
import inspect

import numpy as np
import pytest
import torch
from torch import nn

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.segmentation import Segmenter
from captum_ext.upsampling import InterpolationUpsampler, USUUpsampler, redistribute

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


@pytest.mark.parametrize(
    "upsampler", ["usu", "usu-paper", "usu-fixed", "usu-iwmr", "nearest", "bilinear", "bicubic", "lanczos"]
)
def test_upsamplers_are_taken_by_name(upsampler, model, images):
    fine = ours.GradCAM(model, [model.second], upsampler=upsampler, normalize=False)(images, [TARGET(1), TARGET(3)])
    assert fine.shape == (2, 16, 24)


def test_what_is_no_upsampler_is_refused_when_the_cam_is_made_and_leaves_no_hook(model):
    for name in ALL:
        with pytest.raises(
            ArgumentError, match='`upsampler` to be one of "usu", "usu-paper", "usu-fixed", "usu-iwmr", "nearest"'
        ):
            getattr(ours, name)(model, [model.second], upsampler="cubic")
    with pytest.raises(ArgumentTypeError, match="`upsampler` to be .* but got type"):
        ours.GradCAM(model, [model.second], upsampler=USUUpsampler)
    assert all(not module._forward_hooks for module in model.modules())


class Margin:
    """A target that is more than a class: how far one output is above another."""

    def __init__(self, one, other):
        self.one, self.other = one, other

    def __call__(self, output):
        return output[self.one] - output[self.other]


def test_a_plain_function_gets_the_model_the_classes_and_one_map_after_the_other(model, images):
    asked = []

    def upsampler(coarse, inputs, forward_func, target=None, additional_forward_args=None, size=None):
        asked.append((coarse, forward_func, target, additional_forward_args, size))
        return nn.functional.interpolate(coarse[:, None], inputs.shape[2:])

    cam = ours.GradCAM(model, [model.first, model.second], upsampler=upsampler, normalize=False)
    fine = cam(images, [TARGET(1), TARGET(3)])
    nearest = ours.GradCAM(model, [model.first, model.second], upsampler="nearest", normalize=False)
    np.testing.assert_allclose(fine, nearest(images, [TARGET(1), TARGET(3)]), rtol=1e-6)
    assert [tuple(coarse.shape) for coarse, *_ in asked] == [(2, 8, 12), (2, 4, 6)]
    for _, forward_func, target, args, size in asked:
        assert forward_func is model
        assert target.tolist() == [1, 3]
        assert args is None
        assert size is None


def test_targets_that_are_functions_are_scored_through_the_forward_function(model, images):
    asked = []

    def upsampler(coarse, inputs, forward_func, target=None, additional_forward_args=None, size=None):
        asked.append((forward_func(inputs), forward_func(inputs[:1], additional_forward_args[1:]), target))
        return nn.functional.interpolate(coarse[:, None], inputs.shape[2:])

    targets = [Margin(1, 0), Margin(3, 2)]
    ours.GradCAM(model, [model.second], upsampler=upsampler)(images, targets)
    ((scores, of_second_target, target),) = asked
    outputs = model(images)
    torch.testing.assert_close(
        scores, torch.stack([outputs[0, 1] - outputs[0, 0], outputs[1, 3] - outputs[1, 2]])[:, None]
    )
    torch.testing.assert_close(of_second_target, (outputs[0, 3] - outputs[0, 2]).reshape(1, 1))
    assert target == 0


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_classes_are_scored_as_functions_of_the_outputs_are(output, model, images):
    class Own(TARGET):
        pass

    arguments = {"upsampler": usu(output=output), "normalize": False}
    by_class = ours.GradCAM(model, [model.second], **arguments)(images, [TARGET(1), TARGET(3)])
    by_function = ours.GradCAM(model, [model.second], **arguments)(images, [Own(1), Own(3)])
    np.testing.assert_allclose(by_class, by_function, rtol=1e-4)
    from_the_end = ours.GradCAM(model, [model.second], **arguments)(images, [TARGET(-4), TARGET(-2)])
    np.testing.assert_allclose(by_class, from_the_end, rtol=1e-4)


def test_a_scoring_upsampler_of_the_callers_own_scores_once_for_all_layers(model, images):
    class ByBrightness:
        n_scored = 0

        def __call__(self, coarse, inputs, forward_func, target=None, additional_forward_args=None, size=None):
            raise AssertionError("maps are redistributed by one score map")

        def score_map(self, inputs, forward_func, target=None, additional_forward_args=None):
            self.n_scored += 1
            return inputs.mean(1, keepdim=True)

        def redistribute(self, coarse, score_map, size=None):
            return redistribute(coarse, score_map, temperature=0.3)

    upsampler, targets = ByBrightness(), [TARGET(1), TARGET(3)]
    fine = ours.GradCAM(model, [model.first, model.second], upsampler=upsampler, normalize=False)(images, targets)
    assert upsampler.n_scored == 1
    given = USUUpsampler(scorer=images.mean(1))
    expected = ours.GradCAM(model, [model.first, model.second], upsampler=given, normalize=False)(images, targets)
    np.testing.assert_allclose(fine, expected, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["CAM", *PLAIN])
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


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("eigen_smooth", [False, True])
def test_shapley_cam_takes_several_layers_and_a_reshape_transform(turned, eigen_smooth, model, images):
    transform = (lambda features: features.flip(3)) if turned else None
    layers, targets = [model.first, model.second], [TARGET(1), TARGET(3)]
    arguments = {"reshape_transform": transform, "upsampler": "nearest", "normalize": False}
    both = ours.ShapleyCAM(model, layers, **arguments)(images, targets, eigen_smooth=eigen_smooth)
    each = [ours.ShapleyCAM(model, [one], **arguments)(images, targets, eigen_smooth=eigen_smooth) for one in layers]
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, rtol=1e-4, atol=1e-6)
    if turned and not eigen_smooth:
        straight = ours.ShapleyCAM(model, [model.second], upsampler="nearest", normalize=False)(images, targets)
        np.testing.assert_allclose(each[1], straight[:, :, ::-1], rtol=1e-5)


def test_shapley_cams_weights_are_gradient_minus_half_of_hessian_times_activation():
    class Squared(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x):
            return self.layer(x * 1).square().sum((2, 3))

    model, images = Squared(), torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]])
    model.scale = nn.Parameter(torch.ones(1))
    cam = ours.ShapleyCAM(model, [model.layer], upsampler="nearest", normalize=False)
    # Gradient 2a, Hessian times activation 2a: the weight of the first channel is the mean of a, (1 + 3) / 2.
    np.testing.assert_allclose(cam(images, [TARGET(0)])[0], [[2.0, 6.0]])


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
    for name in ("GradCAM", "FinerCAM", "RefineCAM"):
        cam = getattr(ours, name)(model, [model.second], upsampler=usu())
        with pytest.raises(ArgumentError, match="`targets` to be one for each of the 2 images, but got 1"):
            cam(images, [TARGET(1)])
        with pytest.raises(ArgumentTypeError, match="`targets` to be a list of 2 targets, one for each image, but got"):
            cam(images, TARGET(1))
    signals = nn.Sequential(nn.Conv1d(1, 2, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    with pytest.raises(NotImplementedError, match=r"for images .* and volumes .*, not \(1, 1, 6\)"):
        ours.GradCAM(signals, [signals[0]], upsampler=usu())(torch.rand(1, 1, 6), [TARGET(0)])


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


@pytest.mark.parametrize("targets", [[TARGET(1), TARGET(3)], [lambda output: output[1], lambda output: output[3]]])
def test_cam_classes_and_targets_share_the_passes_of_an_upsampler_that_remembers(targets, model, images):
    rows, remembering = [], usu(remember=2)
    model.head.register_forward_hook(lambda module, given, output: rows.append(len(output)))
    others = [TARGET(4), TARGET(0)]
    for asked in (targets, others):
        for name in ("GradCAM", "HiResCAM", "LayerCAM"):
            rows.clear()
            maps, passes = [], []
            for upsampler in (remembering, usu()):
                maps.append(getattr(ours, name)(model, [model.second], upsampler=upsampler)(images, asked))
                passes.append(sum(rows))
                rows.clear()
            scoring = 0 if (asked, name) != (targets, "GradCAM") else passes[1] - len(images)
            assert passes[0] == len(images) + scoring
            np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-6)


def test_several_targets_of_one_image_cost_the_scoring_passes_of_one(model, images):
    rows = []
    model.head.register_forward_hook(lambda module, given, output: rows.append(len(output)))
    cam = ours.GradCAM(model, [model.second], upsampler=usu())
    alone = [cam(images[:1], [TARGET(k)]) for k in (0, 2, 4)]
    passes = rows.copy()
    rows.clear()
    together = cam(images[:1].expand(3, -1, -1, -1), [TARGET(k) for k in (0, 2, 4)])
    assert sum(rows) == 3 + (sum(passes) - 3) // 3
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=0, atol=1e-6)


def test_segments_that_no_layer_has_mass_in_are_not_scored(model, images):
    rows, layers = [], [model.first, model.second]
    model.head.register_forward_hook(lambda module, given, output: rows.append(len(output)))
    targets, options = [TARGET(1), TARGET(3)], {"normalize": False, "as_tensor": True}

    def of(upsampler, layers=layers):
        rows.clear()
        return ours.GradCAM(model, layers, upsampler=upsampler, **options)(images, targets), sum(rows) - len(images)

    nearest = [of("nearest", [layer])[0] for layer in layers]
    labels = Segmenter("grid").of_inputs(images)
    expected = 0
    for row in range(len(images)):
        has_mass = sum(one[row] for one in nearest) != 0
        scored = len(labels[row][has_mass].unique())
        expected += 2 * (scored + int(scored <= int(labels[row].max())))
    maps, passes = of(usu(skip_empty=True))
    assert passes == expected
    assert passes <= of(usu())[1]
    torch.testing.assert_close(maps.sum((1, 2)), sum(nearest).sum((1, 2)) / 2)
