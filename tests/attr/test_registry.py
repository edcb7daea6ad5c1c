"""One registry of names: every name has its class, other classes are MODULE:CLASS, and mistakes list what there is."""

import sys

import captum.attr
import pytest

import captum_ext.attr
from captum_ext.attr import METHODS, SAMP, method_class
from captum_ext.attr.registry import method_settings
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

NAMES = {
    "ExpectedGradients": ["ExpectedGradients", "EG", "eg"],
    "ImportantDirectionIG": ["ImportantDirectionIG", "IDGI", "idgi"],
    "IntegratedGradients": ["IntegratedGradients", "ig"],
    "LocalPathIntegration": ["LocalPathIntegration", "LPI", "lpi"],
    "SalientManipulationPath": ["SalientManipulationPath", "SAMP", "samp", "samp++"],
    "WeightedIntegratedGradients": ["WeightedIntegratedGradients", "WeightedIG", "weighted-ig"],
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_class_has_its_name_its_alias_and_the_name_of_the_shell(kind):
    assert [name for name in METHODS if METHODS[name].__name__ == kind] == NAMES[kind]
    assert {method_class(name) for name in NAMES[kind]} == {getattr(captum_ext.attr, kind)}


def test_every_method_that_is_exported_and_needs_no_layer_has_a_name():
    exported = (getattr(captum_ext.attr, name) for name in captum_ext.attr.__all__)
    methods = {value for value in exported if isinstance(value, type) and hasattr(value, "attribute")}
    inside = (captum.attr.LayerAttribution, captum.attr.NeuronAttribution)
    assert {kind for kind in methods if not issubclass(kind, inside)} == set(METHODS.values())


def test_the_list_cannot_be_changed_by_accident():
    with pytest.raises(TypeError, match="does not support item assignment"):
        METHODS["mine"] = SAMP


@pytest.mark.parametrize(("name", "settings"), [("samp", {"momentum": 0, "step_bound": None}), ("samp++", {})])
def test_the_shells_samp_is_plain_and_its_samp_plus_plus_has_momentum_and_bound(name, settings):
    assert method_settings(name) == settings


def test_settings_of_a_name_are_a_copy():
    method_settings("samp")["momentum"] = 1
    assert method_settings("samp")["momentum"] == 0
    assert method_settings(SAMP) == {}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of modules that can be imported as long as the test runs."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_callers_class_needs_attribute_only(folder):
    (folder / "plain_one.py").write_text(
        "class Mine:\n    def attribute(self, inputs, target=None):\n        return 7\n"
    )
    kind = method_class("plain_one:Mine")
    assert kind().attribute(None) == 7
    assert method_class(kind) is kind
    assert method_class("captum.attr:Saliency") is captum.attr.Saliency


def test_an_unknown_name_lists_those_that_there_are():
    with pytest.raises(ArgumentError, match=r"`method` to be one of IntegratedGradients, ig, .*, or MODULE:CLASS, but"):
        method_class("lime")


def test_a_module_that_cannot_be_imported_says_why(folder):
    (folder / "broken_one.py").write_text("raise RuntimeError('first line\\nsecond line')\n")
    for name, reason in (
        ("no_such_module:Mine", r"ModuleNotFoundError: No module named 'no_such_module'"),
        ("broken_one:Mine", r"RuntimeError: first line"),
        (":Mine", r"ValueError: Empty module name"),
    ):
        with pytest.raises(ArgumentError, match=rf"that can be imported, but got '{name}' \({reason}\)"):
            method_class(name)


def test_a_class_that_is_not_there_or_has_no_attribute_lists_those_of_the_module(folder):
    (folder / "mixed_one.py").write_text(
        "attribute = 3\nclass Other: pass\nclass Mine:\n    def attribute(self, inputs): pass\n"
    )
    for name in ("mixed_one:Meine", "mixed_one:Other", "mixed_one:attribute", "mixed_one:"):
        with pytest.raises(ArgumentError, match=rf"has `attribute` \(mixed_one:Mine\), but got '{name}'"):
            method_class(name)
    with pytest.raises(ArgumentError, match=r"has `attribute` \(math has none\), but got 'math:Mine'"):
        method_class("math:Mine")


def test_other_classes_and_other_things_are_refused():
    with pytest.raises(ArgumentError, match="`method` to be a class with `attribute`, but got dict"):
        method_class(dict)
    with pytest.raises(ArgumentTypeError, match="`method` to be a name or a class, but got int 3"):
        method_class(3)
