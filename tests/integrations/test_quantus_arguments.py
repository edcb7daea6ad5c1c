"""What `explain` takes: each argument of each method and of `quantus.explain`, with Quantus's meaning for ours, too."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from captum_ext import USU, WeightedIG
from captum_ext.attr import METHODS, RISE
from captum_ext.exceptions import ArgumentError

pytest.importorskip("pytorch_grad_cam")
quantus = pytest.importorskip("quantus")
from quantus.functions import explanation_func  # noqa: E402

from captum_ext_integrations import grad_cam, quantus_explain  # noqa: E402
from captum_ext_integrations.quantus_explain import explain  # noqa: E402
from tests.integrations.test_quantus_metrics import Net  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]

LISTED = inspect.signature(explain).parameters
# What is said otherwise, or is another thing in Quantus, as `method` is.
NOT_FOR_QUANTUS = {"forward_func", "self", "inputs", "target", "method"}
OF_CAMS = {"target_layers", "upsampler", "reshape_transform"}
OF_ALL = {"model", "inputs", "targets", "method", "seed", "device"}


def read_by_quantus():
    """Names that the module of `quantus.explain` looks up in its keyword arguments, and `device`, which it lists."""
    names = {"device"}
    for node in ast.walk(ast.parse(Path(explanation_func.__file__).read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "kwargs.get":
            names.add(node.args[0].value)
        elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "kwargs":
            names.add(node.slice.value)
        elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]) == "kwargs":
            names.add(node.left.value)
    return names


def taken_by(kind):
    """Arguments of the constructor and of `attribute`, but for those by which `attribute` returns more than maps."""
    names = [name for one in (kind.__init__, kind.attribute) for name in inspect.signature(one).parameters]
    return {name for name in names if not name.startswith("return_")} - NOT_FOR_QUANTUS


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_of_a_registered_method_is_listed(name):
    assert taken_by(METHODS[name]) <= set(LISTED)


def test_every_argument_that_quantus_reads_is_listed_and_handed_on():
    assert read_by_quantus() <= set(LISTED)
    assert read_by_quantus() - {"method"} == set(quantus_explain._OF_QUANTUS)


def test_no_argument_is_listed_that_nothing_takes_and_none_stands_for_any_others():
    taken = {name for kind in METHODS.values() for name in taken_by(kind)}
    assert set(LISTED) == taken | read_by_quantus() | OF_CAMS | OF_ALL
    assert all(one.kind is not one.VAR_KEYWORD for one in LISTED.values())
    assert str(LISTED["references"].default) == "<not given>"


def linear(weights):
    """x @ weights of the flattened input, without bias."""
    weights = torch.tensor(weights, dtype=torch.float32)
    layer = nn.Linear(*weights.shape, bias=False)
    layer.weight.data = weights.T.clone()
    return layer


X = np.array([[1.0, 2.0]], dtype=np.float32)
TWO_CLASSES = [[3.0, 1.0], [1.0, 2.0]]  # logits 5 and 5 at X, in which the classes differ by (2, -1) @ x
TARGET = np.array([0])


def probability_of(x, difference):
    """Integrated Gradients of sigmoid(difference @ x) from zero."""
    total = (difference * x).sum()
    return difference * x / total * (1 / (1 + np.exp(-total)) - 0.5)


def test_softmax_true_explains_the_probability():
    x = np.array([[1.0, 1.0]], dtype=np.float32)
    maps = explain(linear(TWO_CLASSES), x, TARGET, method="IntegratedGradients", softmax=True, n_steps=30)
    np.testing.assert_allclose(maps, probability_of(x, np.array([[2.0, -1.0]])), rtol=1e-5)


def test_softmax_false_explains_the_logits_of_a_model_that_ends_in_softmax():
    model = nn.Sequential(linear(TWO_CLASSES), nn.Softmax(dim=-1))
    maps = explain(model, X, TARGET, method="IntegratedGradients", softmax=False, n_steps=2)
    np.testing.assert_allclose(maps, [[3.0, 2.0]], rtol=1e-6)


@pytest.mark.parametrize("ending", [[], [nn.Softmax(dim=-1)]])
def test_without_softmax_the_model_is_explained_as_it_is(ending):
    x = np.array([[1.0, 1.0]], dtype=np.float32)
    model = nn.Sequential(linear(TWO_CLASSES), *ending)
    maps = explain(model, x, TARGET, method="IntegratedGradients", n_steps=30)
    expected = probability_of(x, np.array([[2.0, -1.0]])) if ending else [[3.0, 1.0]]
    np.testing.assert_allclose(maps, expected, rtol=1e-5)


def test_weighted_ig_does_not_take_the_softmax_of_probabilities():
    model, references = Net().eval(), torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32))
    maps = explain(model, x, [1, 2], method="WeightedIG", references=references, n_steps=8, softmax=True)
    probabilities = nn.Sequential(model, nn.Softmax(dim=-1))
    weighted = WeightedIG(probabilities, references=references, score=lambda p: p)
    generator = [torch.Generator().manual_seed(0) for _ in range(2)]
    expected = weighted.attribute(x, target=torch.tensor([1, 2]), n_steps=8, generator=generator)
    np.testing.assert_allclose(maps, expected.sum(1, keepdim=True).numpy(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("layer", ["conv", "module"])
def test_a_cam_of_the_softmax_finds_the_layers_of_the_model_and_leaves_its_mode(layer):
    model = Net().train()
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    y = np.array([1, 2])
    layers = model.conv if layer == "module" else "conv"
    maps = explain(model, x, y, method="HiResCAM", target_layers=layers, softmax=True)
    assert [model.training, model.norm.training] == [True, True]
    probabilities = nn.Sequential(model, nn.Softmax(dim=-1)).eval()
    with grad_cam.HiResCAM(probabilities, [model.conv]) as cam:
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        expected = cam(torch.from_numpy(x), targets=[ClassifierOutputTarget(1), ClassifierOutputTarget(2)])
    np.testing.assert_allclose(maps[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_a_cam_of_the_logits_finds_the_layers_of_the_copy_without_softmax():
    model = nn.Sequential(Net(), nn.Softmax(dim=-1)).eval()
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    maps = explain(model, x, [1, 2], method="GradCAM", target_layers="0.conv", softmax=False)
    np.testing.assert_array_equal(maps, explain(model[0], x, [1, 2], method="GradCAM", target_layers="conv"))


IMAGES = np.arange(1, 13, dtype=np.float32).reshape(1, 2, 2, 3)  # one image, (H, W, C)
FIRST = np.moveaxis(IMAGES, -1, 1).copy()
WEIGHTS = np.linspace(-1, 1, 12, dtype=np.float32)
FLAT = nn.Sequential(nn.Flatten(), linear(WEIGHTS[:, None].tolist()))  # of (C, H, W)
PRODUCTS = FIRST * WEIGHTS.reshape(1, 3, 2, 2)


@pytest.mark.parametrize(("keepdims", "shape"), [(True, (1, 1, 2, 2)), (False, (1, 2, 2))])
def test_keepdims_keeps_or_drops_the_dimensions_that_are_summed(keepdims, shape):
    maps = explain(FLAT, FIRST, TARGET, method="IntegratedGradients", n_steps=2, keepdims=keepdims)
    assert maps.shape == shape
    np.testing.assert_allclose(maps.reshape(2, 2), PRODUCTS[0].sum(0), rtol=1e-5)


def test_other_axes_are_summed_on_request_but_not_that_of_the_samples():
    settings = {"method": "IntegratedGradients", "n_steps": 2}
    maps = explain(FLAT, FIRST, TARGET, **settings, reduce_axes=(2, -1), keepdims=False)
    np.testing.assert_allclose(maps, PRODUCTS.sum((2, 3)), rtol=1e-5)
    for axes in ((0,), (1, -4), (4,), (-5,)):
        with pytest.raises(ArgumentError, match="`reduce_axes` to be dimensions from 1 to 3, or counted from the end"):
            explain(FLAT, FIRST, TARGET, **settings, reduce_axes=axes)


@pytest.mark.parametrize("given", [{}, {"channel_first": True}, {"channel_first": None}])
def test_channels_come_first_unless_the_call_says_otherwise(given):
    maps = explain(FLAT, FIRST, TARGET, method="IntegratedGradients", n_steps=2, reduce_axes=(), **given)
    np.testing.assert_allclose(maps, PRODUCTS, rtol=1e-5)


def test_inputs_with_channels_last_are_explained_in_their_layout():
    settings = {"method": "IntegratedGradients", "n_steps": 2, "channel_first": False}
    maps = explain(FLAT, IMAGES, TARGET, **settings)
    np.testing.assert_allclose(maps, np.moveaxis(PRODUCTS, 1, -1).sum(-1, keepdims=True), rtol=1e-5)
    maps = explain(FLAT, IMAGES, TARGET, **settings, reduce_axes=(), baseline=IMAGES / 2)
    np.testing.assert_allclose(maps, np.moveaxis(PRODUCTS, 1, -1) / 2, rtol=1e-5)
    maps = explain(linear(TWO_CLASSES), X, TARGET, **settings)  # a table has no channels
    np.testing.assert_allclose(maps, [[3.0, 2.0]], rtol=1e-6)


@pytest.mark.parametrize(
    "baseline", [0.5, np.full((1, 2), 0.5), torch.full((1, 2), 0.5)], ids=["number", "array", "tensor"]
)
@pytest.mark.parametrize("name", ["baseline", "baselines"])
def test_a_baseline_serves_under_the_name_of_quantus_and_under_that_of_captum(name, baseline):
    if name == "baselines" and isinstance(baseline, np.ndarray):
        baseline = torch.from_numpy(baseline)
    maps = explain(linear(TWO_CLASSES), X, TARGET, method="EG", n_steps=2, **{name: baseline})
    np.testing.assert_allclose(maps, [[1.5, 1.5]], rtol=1e-6)


def test_two_names_of_the_baseline_are_not_given_at_once():
    with pytest.raises(ArgumentError, match="`baseline` to be left out where `baselines` is given, but got both"):
        explain(linear(TWO_CLASSES), X, TARGET, method="EG", baseline=0, baselines=1)


@pytest.mark.parametrize("method", ["SAMP", "GradCAM"])
def test_another_library_is_refused_for_methods_that_it_does_not_have(method):
    with pytest.raises(ArgumentError, match=f"`xai_lib` to be \"captum\" or left out for {method}, .* got 'zennit'"):
        explain(Net(), FIRST, TARGET, method=method, xai_lib="zennit")
    maps = explain(linear(TWO_CLASSES), X, TARGET, method="IDGI", xai_lib="captum", n_steps=2)
    assert maps.sum() == pytest.approx(5)


def test_xai_lib_kwargs_are_arguments_of_the_constructor_and_win():
    model = linear(TWO_CLASSES)
    given = {"method": "SAMP", "n_steps": 2, "direction": "insertion", "insertion_baselines": 0}
    np.testing.assert_allclose(explain(model, X, TARGET, **given), [[3.0, 2.0]], rtol=1e-6)
    maps = explain(model, X, TARGET, **given, xai_lib_kwargs={"insertion_baselines": 0.5})
    np.testing.assert_allclose(maps, [[1.5, 1.5]], rtol=1e-6)
    with pytest.raises(ArgumentError, match="`xai_lib_kwargs` to be arguments of SalientManipulationPath, but got abs"):
        explain(model, X, TARGET, **given, xai_lib_kwargs={"abs": True})
    raw = explain(Net().eval(), FIRST, TARGET, method="GradCAM", target_layers="conv", upsampler=USU(segmenter="grid"))
    summed = explain(
        Net().eval(),
        FIRST,
        TARGET,
        method="GradCAM",
        target_layers="conv",
        upsampler=USU(segmenter="grid"),
        xai_lib_kwargs={"normalize": False},
    )
    np.testing.assert_allclose(raw, summed / summed.max(), rtol=1e-5)


def test_arguments_of_quantus_are_handed_to_its_methods(model_and_images):
    model, x, y = model_and_images
    for name, given in (
        ("InputXGradient", {"softmax": True, "keepdims": False}),
        ("DeepLift", {"baseline": torch.zeros(1, 3, 8, 8)}),
        ("Occlusion", {"window": (3, 4, 4), "reduce_axes": (), "xai_lib": "captum"}),
        ("LayerGradCam", {"gc_layer": "model.conv", "interpolate": (4, 4), "interpolate_mode": "bilinear"}),
        ("Control Var. Constant", {"constant_value": 0.5, "channel_first": True}),
    ):
        ours = explain(model, x, y, method=name, references=x, n_steps=3, **given)
        np.testing.assert_array_equal(ours, quantus.explain(model, x, y, method=name, **given))


@pytest.fixture
def model_and_images():
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    return Net().eval(), x, np.array([0, 1])


class GradientTimesInput:
    """A method of a caller, which is no path method."""

    def __init__(self, model, factor=1.0):
        self.model, self.factor = model, factor

    def attribute(self, inputs, target=None):
        inputs = inputs.detach().requires_grad_()
        scores = self.model(inputs).gather(1, target[:, None])
        return self.factor * inputs.detach() * torch.autograd.grad(scores.sum(), inputs)[0]


def test_a_callers_class_is_explained_by_its_module_and_name():
    name = f"{__name__}:GradientTimesInput"
    np.testing.assert_allclose(explain(linear(TWO_CLASSES), X, TARGET, method=name, n_steps=9), [[3.0, 2.0]])
    maps = explain(linear(TWO_CLASSES), X, TARGET, method=name, xai_lib_kwargs={"factor": 2.0})
    np.testing.assert_allclose(maps, [[6.0, 4.0]])
    with pytest.raises(ArgumentError, match="that can be imported, but got 'no_such_module:Mine'"):
        explain(linear(TWO_CLASSES), X, TARGET, method="no_such_module:Mine")


def test_the_shells_names_mean_what_they_mean_in_the_shell(model_and_images):
    model, x, y = model_and_images
    plain = explain(model, x, y, method="samp", n_steps=4)
    np.testing.assert_array_equal(plain, explain(model, x, y, method="SAMP", momentum=0, step_bound=None, n_steps=4))
    bounded = explain(model, x, y, method="samp", step_bound=2, n_steps=4)
    np.testing.assert_array_equal(bounded, explain(model, x, y, method="SAMP", momentum=0, step_bound=2, n_steps=4))
    np.testing.assert_array_equal(
        explain(model, x, y, method="samp++", n_steps=4), explain(model, x, y, method="SAMP", n_steps=4)
    )


@pytest.mark.parametrize("seed", [0, 5])
def test_the_seed_reaches_a_method_that_has_it_in_its_constructor(seed):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)).eval(), torch.rand(1, 3, 8, 8)
    expected = RISE(model, seed=seed).attribute(x, target=1, n_samples=20).sum(1, keepdim=True)
    maps = explain(model, x.numpy(), np.array([1]), method="RISE", seed=seed, n_samples=20)
    np.testing.assert_allclose(np.asarray(maps).reshape(8, 8), expected.reshape(8, 8), rtol=1e-5)
