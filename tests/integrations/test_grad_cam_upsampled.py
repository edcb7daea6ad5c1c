"""The CAM classes of pytorch-grad-cam with an upsampler: mass-true maps, and what the scoring costs."""

import numpy as np
import pytest
import torch
from torch import nn

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.segmentation import Segmenter
from captum_ext.upsampling import InterpolationUpsampler, USUUpsampler, redistribute
from tests.integrations.cam_networks import ALL, PLAIN, called, network, pictures, usu

host = pytest.importorskip("pytorch_grad_cam")
ours = pytest.importorskip("captum_ext_integrations.grad_cam")

TARGET = host.utils.model_targets.ClassifierOutputTarget


@pytest.fixture
def model():
    return network()


@pytest.fixture
def images():
    return pictures()


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
