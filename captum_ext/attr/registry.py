"""The methods by name: one list for scripts, for Quantus and for the shell, and a door for a caller's own class."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeGuard

from captum_ext.attr.agi.adversarial_gradient_integration import AGI
from captum_ext.attr.blur_ig import BlurIG
from captum_ext.attr.excitation.excitation_backprop import ExcitationBackprop
from captum_ext.attr.expected_gradients import ExpectedGradients
from captum_ext.attr.guided_ig import GuidedIG
from captum_ext.attr.important_direction_ig import ImportantDirectionIG
from captum_ext.attr.integrated_gradients import IntegratedGradients
from captum_ext.attr.local_path_integration import LocalPathIntegration
from captum_ext.attr.rise import RISE
from captum_ext.attr.samp.salient_manipulation_path import SalientManipulationPath
from captum_ext.attr.weighted_ig.weighted_integrated_gradients import WeightedIntegratedGradients
from captum_ext.attr.xrai.xrai import XRAI
from captum_ext.core.checks import describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

# Short names of a class, beside the name that it has in Python; the shell knows those in lower case.
_SHORT_NAMES: Mapping[type[Any], tuple[str, ...]] = {
    IntegratedGradients: ("ig",),
    ExpectedGradients: ("EG", "eg"),
    LocalPathIntegration: ("LPI", "lpi"),
    WeightedIntegratedGradients: ("WeightedIG", "weighted-ig"),
    ImportantDirectionIG: ("IDGI", "idgi"),
    SalientManipulationPath: ("SAMP", "samp", "samp++"),
    RISE: ("rise",),
    BlurIG: ("blur-ig",),
    GuidedIG: ("guided-ig",),
    AGI: ("agi",),
    XRAI: ("xrai",),
    ExcitationBackprop: ("MWP", "mwp", "c-MWP", "c-mwp"),
}
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "samp": {"momentum": 0, "step_bound": None},
    "c-MWP": {"contrastive": True},
    "c-mwp": {"contrastive": True},
}

#: Every name of every method to its class.
METHODS: Mapping[str, type[Any]] = MappingProxyType(
    {name: kind for kind, names in _SHORT_NAMES.items() for name in (kind.__name__, *names)}
)


def method_class(name: str | type[Any]) -> type[Any]:
    """The class of a method. What a name says beside it ("samp" is SAMP without momentum and bound) is in
    `method_settings`.

    Args:
        name: a key of `METHODS`; or MODULE:CLASS for any other class with `attribute`, whose module is imported, which
            runs its code; or such a class, which is returned as it is.

    Raises:
        ArgumentError: no such name, with those that there are; a module that cannot be imported; or nothing in it that
            is a class with `attribute`.
        ArgumentTypeError: neither a name nor a class.

    Example:
        >>> from captum_ext.attr import method_class
        >>> method_class("LPI").__name__, method_class("captum.attr:Saliency").__name__
        ('LocalPathIntegration', 'Saliency')
    """
    if isinstance(name, type):
        if not _is_method(name):
            raise ArgumentError("method", "a class with `attribute`", name.__qualname__)
        return name
    if not isinstance(name, str):
        raise ArgumentTypeError("method", "a name or a class", describe(name))
    if name in METHODS:
        return METHODS[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ArgumentError("method", f"one of {', '.join(METHODS)}, or MODULE:CLASS", repr(name))
    return _class_in(module, attribute)


def method_settings(name: str | type[Any]) -> dict[str, Any]:
    """What a name says beside its class, as arguments of the constructor; nothing for most.

    Args:
        name: a key of `METHODS`, or anything else, which has no settings.

    Example:
        >>> from captum_ext.attr import method_settings
        >>> method_settings("samp"), method_settings("SAMP")  # plain SAMP, as in the shell; the class's own defaults
        ({'momentum': 0, 'step_bound': None}, {})
    """
    return dict(_SETTINGS.get(name, {})) if isinstance(name, str) else {}


def _class_in(module: str, name: str) -> type[Any]:
    try:
        home = importlib.import_module(module)
    except Exception as error:  # whatever the module does
        reason = (str(error).splitlines() or [""])[0]
        expected = "MODULE:CLASS with a module that can be imported"
        raise ArgumentError("method", expected, f"'{module}:{name}' ({type(error).__name__}: {reason})") from error
    kind = getattr(home, name, None)
    if not _is_method(kind):
        offered = ", ".join(f"{module}:{one}" for one, value in vars(home).items() if _is_method(value))
        expected = f"MODULE:CLASS with a class that has `attribute` ({offered or f'{module} has none'})"
        raise ArgumentError("method", expected, f"'{module}:{name}'")
    return kind


def _is_method(value: Any) -> TypeGuard[type[Any]]:
    return isinstance(value, type) and callable(getattr(value, "attribute", None))
