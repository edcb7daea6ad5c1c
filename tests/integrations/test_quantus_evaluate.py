"""Settings of each method in `quantus.evaluate`: what becomes of a dictionary, and how `quantus_methods` mends it."""

import numpy as np
import pytest
import torch

from captum_ext.exceptions import ArgumentError, ArgumentTypeError

quantus = pytest.importorskip("quantus")
from captum_ext_integrations.quantus_metrics import Deletion, explain, quantus_methods  # noqa: E402
from tests.integrations.test_quantus_metrics import Net  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]

Y = np.array([0, 1, 2])
SPARSENESS = {"Sparseness": quantus.Sparseness(abs=True, normalise=False, disable_warnings=True)}


@pytest.fixture
def model():
    return Net().eval()


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def references(x):
    return torch.from_numpy(x[::-1].copy()) * 2


def sparseness(model, x, maps):
    return SPARSENESS["Sparseness"](model, x, Y, maps)


def evaluate(model, x, methods, metrics=SPARSENESS, **arguments):
    return quantus.evaluate(metrics, methods, model, x, Y, **{"explain_func_kwargs": {}, **arguments})


def test_quantus_scores_plain_gradients_under_the_name_of_a_method_with_settings(model, x):
    """The defect that `quantus_methods` is for; when this fails, Quantus has mended it."""
    results = evaluate(model, x, {"LPI": {"n_steps": 5}, "Saliency": {}}, explain_func_kwargs=None)
    gradients = quantus.explain(model, x, Y, method="Gradient")
    assert results["LPI"]["Sparseness"] == results["Saliency"]["Sparseness"] == sparseness(model, x, gradients)


def test_settings_belong_to_the_method_whose_name_they_stand_behind(model, x, references):
    methods = {
        "LPI": {"n_steps": 5, "references": references},
        "EG": {"n_steps": 3, "references": references},
        "EG, many": {"method": "EG", "n_steps": 40, "references": references},
        "Saliency": {},
    }
    results = evaluate(model, x, quantus_methods(methods))
    for name, settings in methods.items():
        maps = explain(model, x, Y, **{"method": name, **settings})
        assert results[name]["Sparseness"] == sparseness(model, x, maps)
    assert len({tuple(row["Sparseness"]) for row in results.values()}) == 4
    np.testing.assert_array_equal(
        results["Saliency"]["Sparseness"], sparseness(model, x, quantus.explain(model, x, Y, method="Saliency"))
    )


def test_settings_win_over_those_that_all_methods_share(model, x, references):
    methods = quantus_methods({"EG": {"n_steps": 3}, "LPI": {}})
    results = evaluate(model, x, methods, explain_func_kwargs={"n_steps": 6, "references": references})
    for name, n_steps in (("EG", 3), ("LPI", 6)):
        maps = explain(model, x, Y, method=name, n_steps=n_steps, references=references)
        assert results[name]["Sparseness"] == sparseness(model, x, maps)


def test_functions_and_arrays_stay_as_they_are(model, x):
    maps = explain(model, x, Y, method="IDGI", n_steps=4)
    methods = quantus_methods({"given": maps, "IDGI": explain, "idgi": {"n_steps": 4}})
    assert methods["given"] is maps
    assert methods["IDGI"] is explain
    results = evaluate(model, x, methods, {"Deletion": Deletion()}, explain_func_kwargs={"n_steps": 4})
    assert results["given"] == results["IDGI"] == results["idgi"]


def test_metrics_that_explain_again_do_it_by_the_same_settings(model, x):
    calls = []

    class Asking(quantus.Sparseness):
        def evaluate_batch(self, x_batch, a_batch, **others):
            again = self.explain_func(model, x_batch, Y, **self.explain_func_kwargs)
            calls.append(np.array_equal(again, a_batch))
            return super().evaluate_batch(x_batch=x_batch, a_batch=a_batch, **others)

    metrics = {"asking": Asking(abs=False, normalise=False, disable_warnings=True)}
    evaluate(model, x, quantus_methods({"IDGI": {"n_steps": 3}}), metrics)
    assert calls == [True]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (
            {"nsteps": 5, "refs": 1},
            ArgumentError,
            r"`methods\['LPI'\]` to be arguments of `explain`, but got nsteps, refs",
        ),
        ({"inputs": 5}, ArgumentError, r"arguments of `explain`, but got inputs"),
        (5, ArgumentTypeError, r"`methods\['LPI'\]` to be settings, a function or an array, but got int 5"),
    ],
)
def test_what_is_no_setting_is_refused_before_anything_is_explained(value, error, message):
    with pytest.raises(error, match=message):
        quantus_methods({"LPI": value})


@pytest.mark.parametrize("name", ["LPI", "IntegratedGradients", "GradCAM"])
def test_metrics_of_this_package_refuse_gradients_under_the_name_of_a_method_of_this_package(name, model, x, capsys):
    if name == "GradCAM":
        pytest.importorskip("pytorch_grad_cam")
    with pytest.raises(KeyError, match="call_kwargs_empty"):  # what is left of the error in `quantus.evaluate`
        evaluate(model, x, {name: {"n_steps": 5}}, {"Deletion": Deletion()}, explain_func_kwargs=None)
    assert f'quantus_methods({{"{name}": {{...}}}}) with settings, but got maps of "{name}"' in capsys.readouterr().out
    gradients = quantus.explain(model, x, Y, method="Gradient")
    with pytest.raises(ArgumentError, match=f'`xai_methods` to be .* but got maps of "{name}" that are the plain grad'):
        Deletion()(
            model, x, Y, gradients, explain_func=quantus.explain, explain_func_kwargs={"method": name, "n_steps": 5}
        )


def test_maps_that_are_given_under_the_name_of_a_method_are_scored(model, x):
    maps = explain(model, x, Y, method="EG", baselines=0, n_steps=4)
    results = evaluate(model, x, {"EG": maps}, {"Deletion": Deletion()}, explain_func_kwargs=None)
    assert results["EG"]["Deletion"] == Deletion()(model, x, Y, maps)
    gradients = quantus.explain(model, x, Y, method="Gradient")
    results = evaluate(model, x, {"Gradient": gradients}, {"Deletion": Deletion()}, explain_func_kwargs=None)
    assert results["Gradient"]["Deletion"] == Deletion()(model, x, Y, gradients)


def test_settings_that_quantus_cannot_explain_by_are_no_reason_to_refuse_maps(model, x):
    maps = explain(model, x, Y, method="EG", baselines=0, n_steps=4)
    given = {"explain_func": quantus.explain, "explain_func_kwargs": {"method": "EG", "reduce_axes": 3}}
    assert Deletion()(model, x, Y, maps, **given) == Deletion()(model, x, Y, maps)


def test_looking_for_gradients_leaves_the_mode_of_the_model(model, x):
    maps = explain(model, x, Y, method="EG", baselines=0, n_steps=4)
    model.train()
    model.head.eval()
    Deletion()(model, x, Y, maps, explain_func=quantus.explain, explain_func_kwargs={"method": "EG"})
    assert [model.training, model.norm.training, model.head.training] == [True, True, False]
