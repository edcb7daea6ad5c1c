"""The methods that `choose` compares by name, each made for the same budget of gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from captum_ext.attr import METHODS, IntegratedGradients, method_class, method_settings
from captum_ext.core.checks import describe
from captum_ext.core.types import ForwardFunc
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.selection.cams import GradCam
from captum_ext.selection.measured import FORWARD_SHARE
from captum_ext.selection.setting import Setting, baseline

#: From a budget of gradients to arguments of `attribute`.
Steps = Callable[[int], dict[str, Any]]


@dataclass(frozen=True)
class Candidate:
    """A method that can be compared.

    Attributes:
        build: makes it: an object with `attribute(inputs, target=...)`, or a function `f(inputs, target)`.
        steps: arguments of `attribute` for a budget of gradients.
        optimises: criteria that the method itself optimises.
        line: what it is.
        remade: whether it can be made for another model; an object of the caller's is for one.
        least: gradients with which it still is what it is.
    """

    build: Callable[[Setting], Any]
    steps: Steps = field(default=lambda budget: {"n_steps": budget})
    optimises: tuple[str, ...] = ()
    line: str = ""
    remade: bool = True
    least: int = 1


class FromBaselines:
    """Integrated Gradients from each image's own baselines, which share the budget; the mean of the maps.

    Args:
        forward_func: the model.
        names: of the baselines: zero, mean, blur.
    """

    def __init__(self, forward_func: ForwardFunc, names: tuple[str, ...]) -> None:
        self.forward_func, self.names = forward_func, names

    def settings(self) -> dict[str, Any]:
        """What the maps depend on beside the model."""
        return {"names": self.names}

    def attribute(self, inputs: Tensor, target: Any = None, *, n_steps: int) -> Tensor:
        """Maps of the images' shape."""
        method, each = IntegratedGradients(self.forward_func), max(1, n_steps // len(self.names))
        maps = [method.attribute(inputs, baseline(name, inputs), target, n_steps=each) for name in self.names]
        return torch.stack(maps).mean(0)


def _from(*names: str) -> Callable[[Setting], Any]:
    return lambda setting: FromBaselines(setting.forward_func, names)


def _named(name: str, **settings: Any) -> Callable[[Setting], Any]:
    def build(setting: Setting) -> Any:
        return method_class(name)(setting.forward_func, **{**method_settings(name), **settings})

    return build


def _with_references(name: str) -> Callable[[Setting], Any]:
    def build(setting: Setting) -> Any:
        if setting.references is None:
            raise ArgumentError("references", f"images for {name}, none of which is explained", "None")
        return method_class(name)(setting.forward_func, references=setting.references)

    return build


def _weighted(setting: Setting) -> Any:
    return method_class("weighted-ig")(setting.forward_func, references=setting.standard_baselines)


def _samp(share: int, **settings: Any) -> Callable[[Setting], Any]:
    """SAMP with a bound that lets its walk end within the budget, of which each direction has a share."""

    def build(setting: Setting) -> Any:
        bound = min(10.0, setting.gradients / share / 2)
        return method_class("samp++")(setting.forward_func, step_bound=bound, **settings)

    return build


def _half(budget: int) -> dict[str, Any]:
    return {"n_steps": max(1, budget // 2)}


def _cam(upsampler: str) -> Callable[[Setting], Any]:
    return partial(GradCam.of_setting, upsampler=upsampler)


_GAMES = ("insertion", "deletion")
#: The default methods.
CANDIDATES: Mapping[str, Candidate] = MappingProxyType(
    {
        "ig": Candidate(_named("ig"), line="Integrated Gradients from zero"),
        "ig-mean": Candidate(_from("mean"), line="Integrated Gradients from each image's mean colour"),
        "ig-blur": Candidate(_from("blur"), line="Integrated Gradients from the blurred image"),
        "ig-blur-zero": Candidate(_from("blur", "zero"), line="Integrated Gradients from SAMP's two baselines"),
        "ig-adaptive": Candidate(
            _named("ig"),
            lambda budget: {"n_steps": budget, "method": "adaptive"},
            line="Integrated Gradients from zero, with points where the error is largest",
        ),
        "eg": Candidate(_with_references("eg"), line="Expected Gradients: the mean over references"),
        "lpi": Candidate(_with_references("lpi"), line="Local Path Integration: references weighted by density"),
        "weighted-ig": Candidate(
            _weighted,
            optimises=("deletion",),
            line="Weighted Integrated Gradients over the standard baselines",
            least=21,  # three for each of seven baselines, which the order of their pixels needs
        ),
        "samp": Candidate(_named("samp"), _half, _GAMES, "Salient Manipulation Path, both directions"),
        "samp++": Candidate(_samp(2), _half, _GAMES, "SAMP with momentum and a step bound"),
        "samp++-insertion": Candidate(
            _samp(1, direction="insertion"), optimises=("insertion",), line="SAMP++, the insertion direction alone"
        ),
        "idgi": Candidate(_named("idgi"), line="Important Direction IG from zero"),
        "gradcam": Candidate(_cam("bilinear"), lambda _: {}, line="GradCAM, upsampled bilinearly"),
        "gradcam-usu": Candidate(_cam("usu"), lambda _: {}, _GAMES, "GradCAM, upsampled by USU"),
        "xrai": Candidate(_named("xrai"), _half, line="XRAI: regions by Integrated Gradients"),
        "rise": Candidate(
            lambda setting: method_class("rise")(setting.forward_func, seed=setting.seed),
            lambda budget: {"n_samples": max(1, round(budget / FORWARD_SHARE))},
            line="RISE: random masks, of the scores as they are",
        ),
    }
)


def candidate_of(argument: str, name: str, value: Any = None, known: Mapping[str, Candidate] = CANDIDATES) -> Candidate:
    """A candidate by what the caller gives: a name, MODULE:CLASS, a class, an object or a function.

    Raises:
        ArgumentError, ArgumentTypeError: nothing of that.
    """
    value = name if value is None else value
    if isinstance(value, Candidate):
        return value
    if isinstance(value, str) and value in known:
        return known[value]
    if isinstance(value, str) and ":" not in value and value not in METHODS:
        raise ArgumentError(
            argument, f"some of {', '.join(known)}, names of attr.METHODS, or MODULE:CLASS", repr(value)
        )
    if isinstance(value, str | type):
        return _of_class(method_class(value), method_settings(value))
    attribute = getattr(value, "attribute", None)
    if not callable(attribute) and not callable(value):
        raise ArgumentTypeError(
            f"{argument}[{name!r}]", "a name, a class, an object with attribute(...), or a function", describe(value)
        )
    options = _steps_of(attribute) if callable(attribute) else lambda _: {}
    return Candidate(lambda _: value, options, line="the caller's own", remade=False)


def _of_class(kind: type[Any], settings: Mapping[str, Any]) -> Candidate:
    """A class made as CLASS(model), with `references=` and the budget where it takes them."""

    def build(setting: Setting) -> Any:
        taken = inspect.signature(kind).parameters
        given: dict[str, Any] = dict(settings)
        if "references" in taken and setting.references is not None:
            given["references"] = setting.references
        if "seed" in taken:
            given["seed"] = setting.seed
        return kind(setting.forward_func, **given)

    return Candidate(build, _steps_of(kind.attribute), line="the caller's own")


def _steps_of(attribute: Any) -> Steps:
    taken = inspect.signature(attribute).parameters
    if "n_steps" in taken:
        return lambda budget: {"n_steps": budget}
    if "n_samples" in taken:
        return lambda budget: {"n_samples": max(1, round(budget / FORWARD_SHARE))}
    return lambda _: {}
