"""What no CAM can be made of is an error of this library with the reason: outputs, compiled models, layers, targets."""

import copy
import dataclasses
import warnings
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from captum_ext.attr import ExcitationBackprop, LayerIntegratedGradients
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, InferenceModeError, ModelOutputError
from captum_ext.models import adapt
from captum_ext.models.targets import OutputTarget
from tests.models.networks import Conv, Returning

host = pytest.importorskip("pytorch_grad_cam")
ours = pytest.importorskip("captum_ext_integrations.grad_cam")

TARGET = host.utils.model_targets.ClassifierOutputTarget
TARGETS = [TARGET(1), TARGET(2)]
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
GRADIENTS = ["GradCAM", "GradCAMPlusPlus", "FinerCAM", "RefineCAM", "FullGrad", "ShapleyCAM"]


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


@dataclasses.dataclass
class Output:
    logits: torch.Tensor


Pair = namedtuple("Pair", ["scores", "images"])
WRAPPED = {
    "tuple": (lambda scores, images: (scores, images), OutputTarget(0, 1)),
    "named tuple": (Pair, OutputTarget("scores", 1)),
    "list": (lambda scores, _: [{"scores": row} for row in scores], OutputTarget("scores", 1)),
    "dict": (lambda scores, _: {"scores": scores, "loss": None}, OutputTarget("scores", 1)),
    "object": (lambda scores, _: Output(scores), OutputTarget("logits", 1)),
}


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.parametrize(
    "name", ["GradCAM", "EigenCAM", "ScoreCAM", "AblationCAM", "FinerCAM", "RefineCAM", "SESS", "CAM"]
)
def test_what_is_no_tensor_needs_targets_or_adapt_and_the_error_says_so(kind, name):
    model = seeded(lambda: Returning(WRAPPED[kind][0]))
    message = r"to return a tensor of class scores where no targets are given, but got .* Give targets.*models\.adapt"
    for upsampler in (None, "nearest"):
        cam = getattr(ours, name)(model, [model.net[1]], upsampler=upsampler)
        with pytest.raises(ModelOutputError, match=message):
            cam(IMAGES, None)
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


@pytest.mark.parametrize("kind", WRAPPED)
@pytest.mark.parametrize("name", ["GradCAM", "EigenCAM", "ScoreCAM", "AblationCAM", "FinerCAM", "RefineCAM"])
def test_targets_that_read_it_and_an_adapted_model_have_the_map_of_the_scores(kind, name):
    wrap, target = WRAPPED[kind]
    model = seeded(lambda: Returning(wrap))
    expected = getattr(host, name)(model.net, [model.net[1]])(IMAGES, [TARGET(1)] * 2)
    assert np.array_equal(getattr(ours, name)(model, [model.net[1]])(IMAGES, [target] * 2), expected)
    if kind in ("tuple", "dict", "object"):
        adapted = adapt(model, size=16, mean=0.5, std=0.5, output={"tuple": 0, "dict": "scores"}.get(kind))
        assert np.array_equal(getattr(ours, name)(adapted, [model.net[1]])(IMAGES, [TARGET(1)] * 2), expected)


def test_sess_weighs_patches_by_the_scores_of_targets_that_read_them():
    model = seeded(lambda: Returning(WRAPPED["dict"][0]))
    expected = host.SESS(model.net, [model.net[1]], scales=[16, 24], use_softmax_scores=False)(IMAGES, [TARGET(1)] * 2)
    sess = ours.SESS(model, [model.net[1]], scales=[16, 24], use_softmax_scores=False)
    assert np.array_equal(sess(IMAGES, [WRAPPED["dict"][1]] * 2), expected)
    with pytest.raises(
        ArgumentError, match=r"`use_softmax_scores` to be False where the model returns no class scores"
    ):
        ours.SESS(model, [model.net[1]], scales=[16])(IMAGES, [WRAPPED["dict"][1]] * 2)


# What torch.compile made, by each of its ways; backend="eager" traces and compiles nothing more.
COMPILED = {
    "a wrapper": lambda net: torch.compile(net, backend="eager"),
    "in place": lambda net: net.compile(backend="eager") or net,
    "its forward": lambda net: setattr(net, "forward", torch.compile(net.forward, backend="eager")) or net,
    "a part": lambda net: net.__setitem__(0, torch.compile(net[0], backend="eager")) or net,
    "inside of another": lambda net: nn.Sequential(torch.compile(net, backend="eager"), nn.Softmax(-1)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", COMPILED)
@pytest.mark.parametrize("has_run", [False, True])
def test_a_compiled_model_is_refused_run_before_or_not(how, has_run, compiler):
    net = seeded(Conv)
    layer = net[1]
    model = COMPILED[how](net)
    if has_run:
        model(IMAGES)
    for name in ours.CAM_CLASSES:
        message = "`model` to be a model that is not compiled, since hooks on layers are not run where .*`_orig_mod`"
        with pytest.raises(ArgumentError, match=message):
            getattr(ours, name)(model, [layer])
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["a wrapper", "in place"])
def test_what_the_error_says_to_pass_has_the_map_of_the_model_as_it_was(how, compiler):
    expected = ours.GradCAM(model := seeded(Conv), [model[1]])(IMAGES, TARGETS)
    net = seeded(Conv)
    compiled = COMPILED[how](net)
    compiled(IMAGES)
    inside = compiled._orig_mod if how == "a wrapper" else copy.copy(compiled)
    assert np.array_equal(ours.GradCAM(inside, [net[1]])(IMAGES, TARGETS), expected)


@pytest.mark.filterwarnings("ignore")
def test_hooks_on_a_model_that_has_run_compiled_are_not_called(compiler):
    """Why they are refused; should this fail with a later torch, the refusal can go."""
    seen = []
    for has_run in (False, True):
        torch._dynamo.reset()
        net = seeded(Conv)
        compiled = torch.compile(net, backend="eager")
        if has_run:
            compiled(IMAGES)
        calls = []
        net[1].register_forward_hook(lambda *_, calls=calls: calls.append(1))
        compiled(IMAGES)
        seen.append(len(calls))
    assert seen == [1, 0]


@pytest.mark.filterwarnings("ignore")
def test_layer_methods_say_that_the_model_is_compiled(compiler):
    net = seeded(Conv).requires_grad_(False)  # as layer methods have them during their passes
    compiled = torch.compile(net, backend="eager")
    for n_images in (2, 3, 4):  # of any number from then on
        compiled(torch.rand(n_images, 3, 16, 16))
        with torch.no_grad():
            compiled(torch.rand(n_images, 3, 16, 16))
    method = LayerIntegratedGradients(compiled, net[1])
    message = (
        "`forward_func` to be a model that is not compiled, .* OptimizedModule, which does not run the hook on ReLU"
    )
    with pytest.raises(ArgumentError, match=message):
        method.attribute(IMAGES, target=1, n_steps=2)


def test_excitation_backprop_refuses_every_way_to_compile(compiler):
    for how, compiled in COMPILED.items():
        if how != "inside of another":
            with pytest.raises(ArgumentError, match="a model that is not compiled: Excitation Backprop has to see"):
                ExcitationBackprop(compiled(seeded(Conv)))


def test_what_is_excluded_from_compilation_is_not_compiled():
    net = seeded(Conv)
    expected = ours.GradCAM(net, [net[1]])(IMAGES, TARGETS)
    net[2].forward = torch.compiler.disable(net[2].forward)
    assert np.array_equal(ours.GradCAM(net, [net[1]])(IMAGES, TARGETS), expected)


@pytest.mark.filterwarnings("ignore")
def test_a_scripted_part_is_refused_only_with_a_layer_inside_of_it():
    net = seeded(Conv)
    expected = ours.GradCAM(net, [net[1]])(IMAGES, TARGETS)
    scripted = torch.jit.trace(net, IMAGES)
    with pytest.raises(
        ArgumentError, match="`model` to be a model that is not compiled, .* but got TopLevelTracedModule"
    ):
        ours.GradCAM(scripted, [getattr(scripted, "1")])
    head = torch.jit.trace(net[4], torch.ones(2, 6))
    partly = nn.Sequential(*list(net)[:4], head)
    np.testing.assert_allclose(ours.GradCAM(partly, [net[1]])(IMAGES, TARGETS), expected, rtol=1e-5, atol=1e-6)


class TwoHeads(Conv):
    """A layer that nothing calls, and one whose features no score depends on."""

    def __init__(self):
        super().__init__()
        self.unused, self.beside = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)

    def forward(self, x):
        features = self[1](self[0](x))
        self.beside(features)
        return self[4](self[3](self[2](features)))


@pytest.mark.parametrize("upsampler", [None, "nearest"])
@pytest.mark.parametrize("name", ["GradCAM", "LayerCAM", "ShapleyCAM"])
def test_layers_that_have_no_activation_or_no_gradient_are_named(name, upsampler):
    model = seeded(TwoHeads)
    for layers in ([model.unused], [model[1], model.unused]):
        cam = getattr(ours, name)(model, layers, upsampler=upsampler)
        with pytest.raises(
            ArgumentError, match="layers that the model calls, but got Conv2d 'unused', which it does not"
        ):
            cam(IMAGES, TARGETS)
    for layers in ([model.beside], [model.beside, model[1]]):
        cam = getattr(ours, name)(model, layers, upsampler=upsampler)
        with pytest.raises(ArgumentError, match="layers that the scores depend on, but got Conv2d 'beside', which no"):
            cam(IMAGES, TARGETS)
    other = seeded(Conv)
    with pytest.raises(ArgumentError, match="layers that the model calls, but got ReLU, which it does not call"):
        getattr(ours, name)(model, [other[1]], upsampler=upsampler)(IMAGES, TARGETS)


def test_a_layer_that_returns_no_tensor_needs_a_reshape_function():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3, padding=1)

        def forward(self, x):
            return self.conv(x), x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.two, self.fc = Two(), nn.Linear(6, 4)

        def forward(self, x):
            return self.fc(self.two(x)[0].mean((2, 3)))

    model = seeded(Net)
    with pytest.raises(
        ArgumentError, match="layers that return a tensor, or given with a reshape_transform .* Two 'two'"
    ):
        ours.EigenCAM(model, [model.two])(IMAGES, TARGETS)
    first = lambda output: output[0]  # noqa: E731
    maps = ours.EigenCAM(model, [model.two], reshape_transform=first)(IMAGES, TARGETS)
    assert np.array_equal(maps, host.EigenCAM(model, [model.two.conv])(IMAGES, TARGETS))
    with pytest.raises(
        ArgumentError, match="layers that return a tensor with gradients, but got Two 'two', which gives no"
    ):
        ours.GradCAM(model, [model.two], reshape_transform=first)(IMAGES, TARGETS)


@pytest.mark.parametrize("upsampler", [None, "nearest"])
@pytest.mark.parametrize("name", [*GRADIENTS, "EigenCAM", "ScoreCAM", "AblationCAM"])
def test_another_number_of_targets_than_of_images_is_refused(name, upsampler):
    model = seeded(Conv)
    cam = getattr(ours, name)(model, [model[1]], upsampler=upsampler)
    for smooth in ({}, {"aug_smooth": True}) if name not in ("FinerCAM", "RefineCAM") else ({},):
        with pytest.raises(ArgumentError, match="`targets` to be one for each of the 2 images, but got 1"):
            cam(IMAGES, [TARGET(1)], **smooth)
    with pytest.raises(ArgumentTypeError, match="`targets` to be a list of 2 targets, one for each image"):
        cam(IMAGES, TARGET(1))
    with pytest.raises(ArgumentTypeError, match="`input_tensor` to be a tensor of images"):
        cam(IMAGES.numpy(), TARGETS)


@pytest.mark.filterwarnings("ignore:.*FullGrad")
@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("upsampler", [None, "nearest"])
def test_a_frozen_model_without_gradients_around_it_has_its_map_and_the_images_no_gradient(name, upsampler):
    model = seeded(Conv)
    expected = getattr(ours, name)(model, [model[1]], upsampler=upsampler)(IMAGES, TARGETS)
    model.requires_grad_(False)
    given = IMAGES.clone().requires_grad_()
    cam = getattr(ours, name)(model, [model[1]], upsampler=upsampler)
    with torch.no_grad():
        assert np.array_equal(cam(given, TARGETS), expected)
    assert np.array_equal(cam(given, TARGETS), expected)
    assert given.grad is None
    assert given.requires_grad
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
    with torch.inference_mode(), pytest.raises(InferenceModeError, match="torch.inference_mode"):
        cam(IMAGES, TARGETS)


def test_an_image_whose_score_does_not_move_is_said():
    model = seeded(Conv)
    cam = ours.GradCAM(model, [model[1]])
    constant = lambda output: 0 * output[0]  # noqa: E731
    with pytest.warns(
        UserWarning, match=r"The scores of the images \[1\] have no gradient at the target layers, so that"
    ):
        maps = cam(IMAGES, [TARGET(1), constant])
    assert not maps[1].any()
    with pytest.warns(UserWarning, match=r"The scores of the images \[0\] are the same whatever is masked"):
        ours.ScoreCAM(model, [model[1]])(IMAGES, [constant, TARGET(1)])
    with pytest.raises(
        ArgumentError, match=r"scores that are finite and not zero, .* but got others for the images \[1\]"
    ):
        ours.AblationCAM(model, [model[1]])(IMAGES, [TARGET(1), constant])
    assert isinstance(model[1], nn.ReLU)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cam(IMAGES, TARGETS)


def test_what_cannot_be_differentiated_twice_has_no_shapley_cam_and_the_error_says_so():
    class Slope(torch.autograd.Function):
        @staticmethod
        def forward(_, x, slope):
            return 2 * x * slope

        @staticmethod
        def backward(*_):
            raise RuntimeError("double backwards on once not supported")  # as torchvision's roi_align says it

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            context.save_for_backward(x)
            return x.square()

        @staticmethod
        def backward(context, slope):
            return Slope.apply(*context.saved_tensors, slope)

    class Net(Conv):
        def forward(self, x):
            return self[4](self[3](self[2](Once.apply(self[1](self[0](x))))))

    model = seeded(Net)
    with pytest.raises(
        ArgumentError, match="`model` to be one that can be differentiated twice, as ShapleyCAM's Hessian"
    ):
        ours.ShapleyCAM(model, [model[1]])(IMAGES, TARGETS)
    assert ours.GradCAM(model, [model[1]])(IMAGES, TARGETS).any()


class Disordered(nn.Module):
    """Layers that are called in another order than they are defined in; one is not called, one not needed."""

    def __init__(self, defined):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            made = {"first": nn.Conv2d(3, 6, 3), "second": nn.Conv2d(6, 6, 3), "beside": nn.Conv2d(6, 6, 1)}
            made |= {"unused": nn.Conv2d(6, 6, 1), "fc": nn.Linear(6, 4)}
        for name in defined:
            self.add_module(name, made[name])

    def forward(self, x):
        features = self.first(x).tanh()
        if hasattr(self, "beside"):
            self.beside(features)
        return self.fc(self.second(features).relu().mean((2, 3)))


@pytest.mark.parametrize("upsampler", [None, "nearest"])
def test_full_grad_multiplies_each_bias_with_the_gradient_of_its_layer(upsampler):
    expected = host.FullGrad(Disordered(["first", "second", "fc"]), [])(IMAGES.clone(), TARGETS)
    in_order = ours.FullGrad(Disordered(["first", "second", "fc"]), upsampler=upsampler)(IMAGES, TARGETS)
    for defined in (["second", "first", "fc"], ["unused", "second", "beside", "fc", "first"]):
        maps = ours.FullGrad(Disordered(defined), upsampler=upsampler)(IMAGES, TARGETS)
        np.testing.assert_allclose(maps, in_order, rtol=1e-5, atol=1e-5)
    if upsampler is None:
        assert np.array_equal(in_order, expected)
