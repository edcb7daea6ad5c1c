"""`explain` and `as_quantus_explain`: methods by name, one set of arguments for several, other models, other names."""

import sys

import captum.attr
import numpy as np
import pytest
import torch
from torch import nn

from captum_ext import SAMP, USU, ExpectedGradients, LocalPathIntegration
from captum_ext.attr import ImportantDirectionIG
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

quantus = pytest.importorskip("quantus")
from captum_ext_integrations.quantus_explain import as_quantus_explain, explain  # noqa: E402
from captum_ext_integrations.quantus_metrics import DiffID  # noqa: E402
from tests.integrations.test_quantus_metrics import Net  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]


@pytest.fixture
def model():
    return Net().eval()


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)


Y = np.array([0, 1, 2])


@pytest.mark.parametrize("name", ["IDGI", "ImportantDirectionIG"])
def test_names_and_aliases_are_known_and_channels_are_summed(model, x, name):
    maps = explain(model, x, Y, method=name, n_steps=6)
    expected = ImportantDirectionIG(model).attribute(torch.from_numpy(x), target=torch.from_numpy(Y), n_steps=6)
    np.testing.assert_allclose(maps, expected.sum(1, keepdim=True).numpy(), rtol=1e-5, atol=1e-7)
    assert explain(model, x, Y, method=name, n_steps=6, reduce_axes=()).shape == x.shape


def test_one_set_of_arguments_serves_several_methods(model, x):
    references = torch.from_numpy(x[::-1].copy())
    shared = {"references": references, "n_steps": 8, "momentum": 0.3, "seed": 3, "device": "cpu"}
    maps = {name: explain(model, x, Y, method=name, **shared) for name in ("EG", "LPI", "WeightedIG", "SAMP", "IDGI")}
    assert all(one.shape == (3, 1, 8, 8) for one in maps.values())
    samp = SAMP(model, momentum=0.3).attribute(torch.from_numpy(x), target=torch.from_numpy(Y), n_steps=8)
    np.testing.assert_allclose(maps["SAMP"], samp.sum(1, keepdim=True).numpy(), rtol=1e-4, atol=1e-6)
    seeded = [torch.Generator().manual_seed(3) for _ in range(3)]
    eg = ExpectedGradients(model, references=references)
    expected = eg.attribute(torch.from_numpy(x), target=torch.from_numpy(Y), n_steps=8, generator=seeded)
    np.testing.assert_allclose(maps["EG"], expected.sum(1, keepdim=True).numpy(), rtol=1e-4, atol=1e-6)


def test_random_methods_do_not_depend_on_the_batch(model, x):
    shared = {"references": torch.from_numpy(x[::-1].copy()) * 2, "n_steps": 8, "method": "EG"}
    together = explain(model, x, Y, **shared)
    np.testing.assert_allclose(explain(model, x[1:2], Y[1:2], **shared), together[1:2], rtol=1e-4, atol=1e-6)


def test_an_argument_that_no_method_knows_is_refused(model, x):
    with pytest.raises(TypeError, match=r"explain\(\) got an unexpected keyword argument 'refs'"):
        explain(model, x, Y, method="EG", refs=1)


def test_other_names_are_handed_to_quantus_without_our_arguments(model, x):
    ours = explain(model, x, Y, method="Saliency", references=torch.zeros(1, 3, 8, 8), n_steps=3)
    np.testing.assert_array_equal(ours, quantus.explain(model, x, Y, method="Saliency"))


def test_cams_are_made_by_name_with_an_upsampler(model, x):
    pytest.importorskip("pytorch_grad_cam")
    plain = explain(model, x, Y, method="GradCAM", target_layers=["conv"])
    assert plain.shape == (3, 1, 8, 8)
    model.train()
    usu = USU(segmenter="grid", scorer="deletion")
    maps = explain(model, x, Y, method="GradCAM", target_layers=[model.conv], upsampler=usu)
    assert maps.shape == (3, 1, 8, 8)
    assert [model.training, model.norm.training] == [True, True]
    with pytest.raises(ArgumentError, match="`target_layers` to be names of the model's modules, but got 'last'"):
        explain(model, x, Y, method="GradCAM", target_layers=["last"])
    with pytest.raises(ArgumentError, match="`target_layers` to be given for a CAM"):
        explain(model, x, Y, method="GradCAM")


def test_a_configured_object_is_an_explain_func(model, x):
    method = captum.attr.IntegratedGradients(model)
    maps = as_quantus_explain(method, attribute_kwargs={"n_steps": 7})(model, x, Y, method="anything", device="cpu")
    expected = method.attribute(torch.from_numpy(x), target=torch.from_numpy(Y), n_steps=7)
    np.testing.assert_allclose(maps, expected.sum(1, keepdim=True).detach().numpy(), rtol=1e-5, atol=1e-7)
    assert as_quantus_explain(method, reduce_axes=(), attribute_kwargs={"n_steps": 7})(model, x, Y).shape == x.shape
    with pytest.raises(ArgumentTypeError, match="an attribution object, or a function that makes one, but got int"):
        as_quantus_explain(3)


def test_another_model_is_explained_by_a_copy_with_references_fitted_anew(x):
    first, second = Net().eval(), Net().eval()
    with torch.no_grad():
        second.head.weight.mul_(-1)
    references = torch.from_numpy(np.random.default_rng(1).normal(size=(6, 3, 8, 8)).astype(np.float32))
    lpi = LocalPathIntegration(first, references=references)
    rule = {"n_steps": 8, "method": "gausslegendre"}
    explain_func = as_quantus_explain(lpi, attribute_kwargs=rule)
    of_first, of_second = explain_func(first, x, Y), explain_func(second, x, Y)
    expected = as_quantus_explain(LocalPathIntegration(second, references=references), attribute_kwargs=rule)
    np.testing.assert_allclose(of_second, expected(second, x, Y), rtol=1e-4, atol=1e-6)
    assert not np.allclose(of_first, of_second)
    np.testing.assert_allclose(explain_func(first, x, Y), of_first)
    assert lpi.forward_func is first


def test_evaluate_runs_unchanged_with_new_methods_and_metrics(model, x):
    results = quantus.evaluate(
        metrics={"DiffID": DiffID(score_scale="none"), "Sparseness": quantus.Sparseness(disable_warnings=True)},
        xai_methods={"EG": explain, "SAMP": explain, "Saliency": explain},
        model=model,
        x_batch=x,
        y_batch=Y,
        explain_func_kwargs={"references": torch.from_numpy(x[::-1].copy()) * 2, "n_steps": 6},
    )
    assert set(results) == {"EG", "SAMP", "Saliency"}
    maps = explain(model, x, Y, method="SAMP", n_steps=6)
    assert results["SAMP"]["DiffID"] == DiffID(score_scale="none")(model, x, Y, maps)


def test_randomisation_metrics_can_explain_changed_models(model, x):
    metric = quantus.RandomLogit(num_classes=4, seed=0, disable_warnings=True)
    scores = metric(
        model, x, Y, explain_func=as_quantus_explain(ImportantDirectionIG(model), attribute_kwargs={"n_steps": 4})
    )
    assert len(scores) == 3


def test_double_precision_models_are_explained_in_their_own_precision(x):
    linear = nn.Linear(4, 3).double()
    maps = explain(linear, x[:, 0, 0, :4], Y, method="SAMP", n_steps=2)
    assert maps.dtype == np.float64


def test_wrapped_forward_functions_are_kept_and_other_models_refused(model, x):
    ig = captum.attr.IntegratedGradients(lambda v: model(v).softmax(1))
    explain_func = as_quantus_explain(ig, attribute_kwargs={"n_steps": 7})
    expected = ig.attribute(torch.from_numpy(x), target=torch.from_numpy(Y), n_steps=7).sum(1, keepdim=True)
    np.testing.assert_allclose(explain_func(model, x, Y), expected.detach().numpy(), rtol=1e-5, atol=1e-7)
    with pytest.raises(ArgumentError, match="a function from a model to a method, since Quantus passes another model"):
        explain_func(Net().eval(), x, Y)


@pytest.mark.parametrize("kind", [captum.attr.Saliency, captum.attr.DeepLift])
def test_captums_methods_explain_other_models_by_a_function_only(kind, model, x):
    other = Net().eval()
    with torch.no_grad():
        other.head.weight.mul_(-1)
    with pytest.raises(ArgumentError, match=f"got a {kind.__name__} of one model"):
        as_quantus_explain(kind(model))(other, x, Y)
    if kind is captum.attr.Saliency:
        factory = as_quantus_explain(kind)
        expected = kind(other).attribute(torch.from_numpy(x), target=torch.from_numpy(Y)).sum(1, keepdim=True)
        np.testing.assert_allclose(factory(other, x, Y), expected.numpy(), rtol=1e-5, atol=1e-7)


def test_randomised_layers_change_the_explanations_that_mprt_compares(x):
    model = Net().eval()
    metric = quantus.MPRT(disable_warnings=True, return_average_correlation=False)
    explain_func = as_quantus_explain(ImportantDirectionIG(model), attribute_kwargs={"n_steps": 4})
    scores = metric(model, x, Y, explain_func=explain_func, explain_func_kwargs={})
    values = np.array([value for layer in scores.values() for value in np.ravel(layer)], dtype=float)
    assert np.isfinite(values).all()
    assert values.min() < 0.99


def test_integrated_gradients_by_name_heed_steps_and_baselines(model, x):
    few, many = (explain(model, x, Y, method="IntegratedGradients", n_steps=n) for n in (2, 40))
    assert not np.allclose(few, many)
    expected = captum.attr.IntegratedGradients(model).attribute(
        torch.from_numpy(x), 0.5, target=torch.from_numpy(Y), n_steps=9
    )
    actual = explain(model, x, Y, method="IntegratedGradients", n_steps=9, baselines=0.5)
    np.testing.assert_allclose(actual, expected.sum(1, keepdim=True).detach().numpy(), rtol=1e-4, atol=1e-6)


def test_one_layer_needs_no_list_and_modules_of_another_model_are_refused(model, x):
    pytest.importorskip("pytorch_grad_cam")
    alone = explain(model, x, Y, method="GradCAM", target_layers="conv")
    np.testing.assert_array_equal(alone, explain(model, x, Y, method="GradCAM", target_layers=model.conv))
    with pytest.raises(ArgumentError, match="names of modules, where Quantus passes a copy"):
        explain(model, x, Y, method="GradCAM", target_layers=[Net().conv])
    with pytest.raises(ArgumentError, match="`targets` to be labels within the model's outputs"):
        explain(model, x, Y + 9, method="GradCAM", target_layers="conv")


def test_reversed_arrays_are_explained(model, x):
    views, copies = (explain(model, one, Y, method="IDGI", n_steps=2) for one in (x[::-1], x[::-1].copy()))
    np.testing.assert_array_equal(views, copies)


def test_an_unknown_name_lists_those_of_this_package_too():
    model = torch.nn.Linear(2, 3)
    x, y = np.ones((1, 2), dtype=np.float32), np.zeros(1, dtype=int)
    with pytest.raises(ArgumentError, match=r"one of .*GuidedIG, .*a name of Quantus's own \(did you mean .*BlurIG"):
        explain(model, x, y, method="blurig")
    with pytest.raises(ArgumentError, match=r"Quantus's own, but got 'nothing like it'"):
        explain(model, x, y, method="nothing like it")


def test_without_pytorch_grad_cam_the_name_of_a_cam_is_answered_with_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    for name in [name for name in sys.modules if name.startswith("captum_ext_integrations.grad_cam")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("captum_ext_integrations.grad_cam", raising=False)
    with pytest.raises(ArgumentError, match=r"a CAM class \(pip install 'captum-ext\[grad-cam\]'\), .*got 'GradCAM'"):
        explain(torch.nn.Linear(2, 3), np.ones((1, 2), np.float32), np.zeros(1, dtype=int), method="GradCAM")
