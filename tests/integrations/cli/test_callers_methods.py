"""`--method MODULE:CLASS`: path methods and other classes of a caller, with references and steps if they take them."""

import sys

import numpy as np
import pandas as pd
import pytest
import torch

from captum_ext.attr import RISE, ExpectedGradients, IntegratedGradients
from captum_ext.core.fingerprints import Fingerprints
from captum_ext.dataset import DatasetAttributions
from captum_ext.exceptions import ArgumentError
from captum_ext.images import open_image
from captum_ext_integrations.cli import methods
from captum_ext_integrations.cli.methods import MethodSpec
from captum_ext_integrations.cli.models import ModelSpec, Preparation, load_model
from captum_ext_integrations.cli.references import reference_images
from tests.integrations.cli import tiny
from tests.integrations.cli.calls import TINY, fail, succeed

CODE = """
from dataclasses import dataclass

import torch
from captum.attr import GradientAttribution
from captum_ext.attr import ExpectedGradients, IntegratedGradients, LocalPathIntegration


class Straight(IntegratedGradients):
    pass


class FromReferences(ExpectedGradients):
    def __init__(self, forward_func, *, references):
        super().__init__(forward_func, references=references)


class Local(LocalPathIntegration):
    pass


class GradientTimesInput:
    def __init__(self, model):
        self.model = model

    def attribute(self, inputs, target=None):
        inputs = inputs.detach().requires_grad_()
        scores = self.model(inputs).gather(1, torch.as_tensor(target).reshape(-1, 1))
        (gradients,) = torch.autograd.grad(scores.sum(), inputs)
        return (inputs * gradients).detach()


@dataclass(frozen=True)
class Frozen(GradientTimesInput):
    model: torch.nn.Module


class OfCaptum(GradientAttribution):
    def attribute(self, inputs, target=None):
        return inputs * self.gradient_func(self.forward_func, (inputs,), target)[0]


class Sixes(GradientTimesInput):
    def attribute(self, inputs, target=None, n_steps=1):
        return torch.full_like(inputs, n_steps) / 3


class NoModel:
    def attribute(self, inputs, target=None):
        return inputs
"""


@pytest.fixture
def module(here, monkeypatch):
    """The module `mine_NUMBER` of a caller in the current folder; every test has one of its own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    name = f"mine_{abs(hash(str(here)))}"
    (here / f"{name}.py").write_text(CODE)
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def cat(here):
    return Preparation(32, 32, (0.5,) * 3, (0.5,) * 3)(open_image(here / "cat.png"))[None]


def explained(*arguments):
    succeed("explain", "cat.png", *TINY, "--target", 2, "--out", "map.npy", "--method", *arguments)
    return np.load("map.npy")


def test_a_path_method_of_the_caller_is_explained_with_the_budget_as_its_steps(module, cat):
    expected = IntegratedGradients(tiny.model()).attribute(cat, target=2, n_steps=4)[0].sum(0)
    np.testing.assert_allclose(explained(f"{module}:Straight", "--n-steps", 4), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", ["GradientTimesInput", "Frozen", "OfCaptum"])
def test_a_class_that_is_no_path_method_needs_attribute_only(kind, module, cat):
    cat.requires_grad_()
    (gradients,) = torch.autograd.grad(tiny.model()(cat)[0, 2], cat)
    expected = (cat * gradients)[0].sum(0).detach()
    np.testing.assert_allclose(explained(f"{module}:{kind}"), expected, rtol=1e-5, atol=1e-8)


def test_classes_of_captum_are_named_likewise(here):
    np.testing.assert_array_equal(explained("captum.attr:Saliency"), explained("saliency"))


def test_steps_are_passed_where_attribute_takes_them(module, here):
    assert np.unique(explained(f"{module}:Sixes", "--n-steps", 6)).tolist() == [6.0]  # three channels of 6 / 3
    assert np.unique(explained(f"{module}:Sixes")).tolist() == [20.0]
    assert "--n-steps to be given with a method that has it" in fail(
        "explain", "cat.png", *TINY, "--method", f"{module}:GradientTimesInput", "--n-steps", 4
    )


def test_references_are_passed_where_the_constructor_takes_them(module, cat, here):
    loaded = load_model(ModelSpec(TINY[1], None, None, 32, 32, (0.5,) * 3, (0.5,) * 3, "cpu"))
    references = reference_images(loaded, here / "photos")
    eg = ExpectedGradients(loaded.model, references=references)
    generator = [torch.Generator().manual_seed(0)]
    expected = eg.attribute(cat, target=2, n_steps=400, generator=generator)[0].sum(0)
    actual = explained(f"{module}:FromReferences", "--references", "photos", "--n-steps", 400)
    assert np.corrcoef(actual.ravel(), expected.ravel())[0, 1] > 0.999
    name = f"{module}:FromReferences"
    assert f"--references to be given for {name} (--references FOLDER or FILE)" in fail(
        "explain", "cat.png", *TINY, "--method", name
    )
    assert f"given with a method that has it (eg, lpi, weighted-ig), but got it with {module}:OfCaptum" in fail(
        "explain", "cat.png", *TINY, "--method", f"{module}:OfCaptum", "--references", "photos"
    )


def test_a_subclass_of_lpi_gets_fitted_references(module, here):
    succeed("fit-references", "photos", *TINY, "--n-references", 3, "--out", "fitted.safetensors")
    options = ["--references", "fitted.safetensors", "--n-steps", 4]
    np.testing.assert_array_equal(explained(f"{module}:Local", *options), explained("lpi", *options))


def test_a_folder_is_run_with_a_callers_class_and_gone_on_with_while_its_code_stays(module, here):
    arguments = ["run", "photos", *TINY, "--method", f"{module}:GradientTimesInput", "--out", "out"]
    assert "4 of 4 images in out" in succeed(*arguments)
    assert DatasetAttributions("out").maps().shape == (4, 32, 32)
    succeed(*arguments)
    (here / f"{module}.py").write_text(CODE.replace("return (inputs * gradients)", "return (gradients)"))
    del sys.modules[module]
    for cached in (here / "__pycache__").glob("*"):
        cached.unlink()
    assert "given.code.attribute was" in fail(*arguments)


def test_methods_of_the_caller_are_compared_with_those_of_the_package(module, here):
    names = ["ig", f"{module}:GradientTimesInput", f"{module}:Straight"]
    chosen = [part for name in names for part in ("--method", name)]
    output = succeed("evaluate", "photos", *TINY, *chosen, "--n-steps", 4, "--metric", "deletion", "--out", "scores")
    assert f"{module}:GradientTimesInput" in output
    table = pd.read_csv("scores/scores.csv").set_index("method")
    assert table.index.tolist() == names
    assert table.loc[f"{module}:Straight", "mean"] == table.loc["ig", "mean"]
    assert (here / f"scores/{module}.Straight/manifest.json").exists()  # no colon, which some file systems refuse


def test_mistakes_in_the_name_of_a_class_are_one_line(module, here):
    explain = ["explain", "cat.png", *TINY, "--method"]
    assert "(ModuleNotFoundError: No module named 'no_such_module')" in fail(*explain, "no_such_module:Mine")
    assert f"but got '{module}:Frozn'" in fail(*explain, f"{module}:Frozn")
    assert f"{module}:GradientTimesInput" in fail(*explain, f"{module}:Frozn")
    assert "TypeError: NoModel() takes no arguments" in fail(*explain, f"{module}:NoModel")
    assert 'one of "ig", "eg"' in fail(*explain, "Mine")
    assert "or MODULE:CLASS, but got 'Mine'" in fail(*explain, "Mine")


def test_the_current_folder_comes_last_so_that_no_file_in_it_replaces_an_installed_module(here, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "this", raising=False)
    (here / "this.py").write_text("class Mine:\n    def attribute(self, inputs, target=None): pass\n")
    with pytest.raises(ArgumentError, match=r"has `attribute` \(this has none\), but got 'this:Mine'"):
        MethodSpec("this:Mine", ModelSpec(TINY[1]))
    assert sys.path[-1] == str(here)


def test_the_help_says_that_the_code_of_the_module_is_run():
    for command in ("explain", "evaluate", "run"):
        text = " ".join(succeed(command, "--help").split())
        assert "MODULE:CLASS, your own class, or Captum's, with attribute(inputs, target=...)" in text
        assert "this runs the code of MODULE" in text
    assert "MODULE:CLASS" in succeed("list")


def test_the_shell_lists_every_lower_case_name_of_the_registry():
    from captum_ext.attr import METHODS

    assert {name for name in METHODS if name.islower()} <= set(methods.METHODS)


def test_code_of_a_class_is_described_alike_in_every_process():
    spec = MethodSpec("captum.attr:Saliency", ModelSpec(TINY[1]))
    assert "attribute" in spec.code
    assert " at 0x" not in str(Fingerprints().of(spec.code))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("LPI", "lpi"),
        ("LocalPathIntegration", "lpi"),
        ("GuidedIG", "guided-ig"),
        ("c-MWP", "c-mwp"),
        ("SAMP", "samp++"),
        ("SalientManipulationPath", "samp++"),
        ("samp", "samp"),
        ("GradCAM", "gradcam"),
        ("lPi", "lPi"),
        ("captum.attr:Saliency", "captum.attr:Saliency"),
    ],
)
def test_the_names_of_classes_are_the_methods_of_the_shell_that_do_the_same(name, key):
    assert methods.name_in_shell(name) == key


def test_every_name_of_the_registry_is_one_of_the_shell():
    from captum_ext.attr import METHODS

    assert {methods.name_in_shell(name) for name in METHODS} <= set(methods.METHODS)


def test_the_number_of_masks_is_an_option_of_rise_and_of_classes_that_take_it(cat, here):
    for seed in (0, 5):
        expected = RISE(tiny.model(), seed=seed).attribute(cat, target=2, n_samples=30)[0].sum(0)
        actual = explained("RISE", "--n-samples", 30, "--seed", seed)
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-8)
    assert np.isfinite(explained("captum.attr:KernelShap", "--n-samples", 3)).all()
    message = "--n-samples to be given with a method that has it (rise), but got it with ig"
    assert message in fail("explain", "cat.png", *TINY, "--method", "ig", "--n-samples", 30)
