"""The methods and metrics that the command line knows by name, each with one line, and classes of the caller."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import torch

from captum_ext.attr import METHODS as CLASSES
from captum_ext.attr import method_class, method_settings
from captum_ext.core.checks import check_choice
from captum_ext.exceptions import ArgumentError
from captum_ext.references import standard_baselines
from captum_ext_integrations.cli.models import LoadedModel, ModelSpec, import_from_here, load_model
from captum_ext_integrations.cli.references import fitted_references, reference_images
from captum_ext_integrations.cli.scoring import Scoring, takes_functions
from captum_ext_integrations.cli.upsamplers import DEFAULT_UPSAMPLER, UPSAMPLERS, upsampler

DEFAULT_STEPS = 20
#: What the help says of MODULE:CLASS.
CALLERS_CLASS = (
    "your own class, or Captum's, with attribute(inputs, target=...), made as CLASS(model); "
    "this runs the code of MODULE"
)
_OPTIONS = ("references", "n_steps", "n_samples", "layer", "upsampler")  # which some methods have and others do not


@dataclass(frozen=True)
class MethodSpec:
    """A method and its settings; small enough to be sent to other processes.

    Attributes:
        name: a key of `METHODS`, or MODULE:CLASS.
        model: what is explained.
        references: a folder of images or a file of fitted references.
        n_steps: gradients for each image; None: 20, where the method has steps.
        n_samples: of RISE, masks for each image; None: its 4,000.
        layer: of CAMs and MWP, as in `model.named_modules()`; None: of CAMs the last one with positions, of MWP the
            input.
        upsampler: of CAMs, and of MWP in a layer, a key of `UPSAMPLERS`; None: "usu".
        seed: of random points, and of RISE's masks.

    Raises:
        ArgumentError: an unknown name, a class that cannot be imported, an option that the method does not have, or
            references that it needs.
    """

    name: str
    model: ModelSpec
    references: Path | None = None
    n_steps: int | None = None
    layer: str | None = None
    upsampler: str | None = None
    seed: int = 0
    n_samples: int | None = None

    def __post_init__(self) -> None:
        entry = entry_of(self.name)
        if self.upsampler is not None:
            check_choice("upsampler", self.upsampler, UPSAMPLERS)
        for option in _OPTIONS:
            if getattr(self, option) is not None:
                _check_option(option, [self.name])
        if entry.needs_references and self.references is None:
            raise ArgumentError("references", f"given for {self.name} (--references FOLDER or FILE)", "nothing")

    @classmethod
    def several(
        cls,
        names: list[str],
        model: ModelSpec,
        seed: int = 0,
        *,
        references: Path | None = None,
        n_steps: int | None = None,
        n_samples: int | None = None,
        layer: str | None = None,
        upsampler: str | None = None,
    ) -> list[MethodSpec]:
        """Several methods, each with those of the options that it has; each option has to be of one of them."""
        values = (references, n_steps, n_samples, layer, upsampler)
        given: dict[str, Any] = {
            option: value for option, value in zip(_OPTIONS, values, strict=True) if value is not None
        }
        offered = {name: entry_of(name).options for name in names}
        for option in given:
            _check_option(option, names)
        return [
            cls(name, model, seed=seed, **{key: value for key, value in given.items() if key in offered[name]})
            for name in names
        ]

    @property
    def attribute_kwargs(self) -> dict[str, Any]:
        """What `attribute` gets beside inputs and target."""
        entry = entry_of(self.name)
        steps = {"n_steps": entry.n_steps(self.budget)} if "n_steps" in entry.options else {}
        return steps if self.n_samples is None else {**steps, "n_samples": self.n_samples}

    @property
    def budget(self) -> int:
        """Gradients for each image."""
        return self.n_steps or DEFAULT_STEPS

    @property
    def code(self) -> dict[str, Any]:
        """The functions of a caller's class, which may change between two runs; of this package's methods none."""
        if self.name in METHODS:
            return {}
        return {name: part for name, part in vars(method_class(self.name)).items() if isinstance(part, FunctionType)}

    def build(self, loaded: LoadedModel | None = None) -> Any:
        """The method on its model, which is loaded unless it is given."""
        return entry_of(self.name).build(loaded or load_model(self.model), self)


@dataclass(frozen=True)
class Entry:
    """A method by name: how it is made, what is said of it, what of `_OPTIONS` it has or needs, `n_steps` by budget."""

    build: Callable[[LoadedModel, MethodSpec], Any]
    line: str
    options: tuple[str, ...] = ("n_steps",)
    n_steps: Callable[[int], int] = int
    needs_references: bool = False


def name_in_shell(name: str) -> str:
    """The key of `METHODS` that is the same method with the same settings as a name of `captum_ext.attr.METHODS`.

    "LPI" is "lpi", and "SAMP", the class as it comes, "samp++"; all other names stay as they are.
    """
    if name in METHODS or name not in CLASSES:
        return {"GradCAM": "gradcam", "CAM": "cam"}.get(name, name)
    meant = method_class(name), method_settings(name)
    keys = [key for key in METHODS if key in CLASSES and (method_class(key), method_settings(key)) == meant]
    return keys[0] if keys else name


def entry_of(name: str) -> Entry:
    """What is known of a method: an entry of `METHODS`, or what a caller's class, MODULE:CLASS, says of itself.

    Raises:
        ArgumentError: no such method.
    """
    if name in METHODS:
        return METHODS[name]
    if ":" not in name:
        names = ", ".join(f'"{one}"' for one in METHODS)
        raise ArgumentError("method", f"one of {names}, or MODULE:CLASS", repr(name))
    import_from_here()
    return _entry_of_class(method_class(name))


def _entry_of_class(kind: type[Any]) -> Entry:
    settings, arguments = inspect.signature(kind).parameters, inspect.signature(kind.attribute).parameters
    options = (
        *(("references",) if "references" in settings else ()),
        *(one for one in ("n_steps", "n_samples") if one in arguments),
    )
    needs_references = "references" in settings and settings["references"].default is inspect.Parameter.empty
    return Entry(partial(_make_for_runs, kind), CALLERS_CLASS, options, needs_references=needs_references)


def _check_option(option: str, names: list[str]) -> None:
    """Refuse an option that none of the methods has."""
    if not any(option in entry_of(name).options for name in names):
        owners = ", ".join(name for name, entry in METHODS.items() if option in entry.options)
        raise ArgumentError(option, f"given with a method that has it ({owners})", f"it with {', '.join(names)}")


def _make(kind: type[Any], loaded: LoadedModel, spec: MethodSpec, settings: Mapping[str, Any] | None = None) -> Any:
    """The method on its model, with references where they were given."""
    made = dict(settings or {})
    if spec.references is not None:
        is_fitted = issubclass(kind, method_class("lpi"))
        made["references"] = (fitted_references if is_fitted else reference_images)(loaded, spec.references)
        if is_fitted:
            made["allow_other_model"] = False  # nobody reads a warning among the rows of a run
    if "seed" in inspect.signature(kind).parameters:  # others draw with the generator of a call
        made.setdefault("seed", spec.seed)
    if kind.__module__.split(".")[0] == "captum_ext" or loaded.takes_classes:
        return kind(loaded.model, **made)
    model = Scoring(loaded.model)
    return takes_functions(kind(model, **made), model)


def _make_for_runs(kind: type[Any], loaded: LoadedModel, spec: MethodSpec) -> Any:
    """A caller's method, which has the model under the name at which a run looks for it."""
    method = _make(kind, loaded, spec)
    if getattr(method, "forward_func", None) is None:
        object.__setattr__(method, "forward_func", loaded.model)  # of a frozen dataclass, too
    return method


def _weighted_integrated_gradients(loaded: LoadedModel, spec: MethodSpec) -> Any:
    prepared = loaded.preparation
    references = partial(standard_baselines, value_range=(0, 1), mean=prepared.mean, std=prepared.std)
    return _make(method_class("weighted-ig"), loaded, spec, {"references": references})


def _bounded_samp(loaded: LoadedModel, spec: MethodSpec) -> Any:
    # Each direction takes at least as many gradients as its bound: the paper's 10 would be a budget of 20 by itself.
    return _make(method_class("samp++"), loaded, spec, {"step_bound": min(10, spec.budget / 4)})


def _agi(loaded: LoadedModel, spec: MethodSpec) -> Any:
    # The paper's step is one of images in [0, 1], and so are the bounds of its authors' code.
    mean, std = (torch.tensor(one).reshape(1, -1, 1, 1) for one in (loaded.preparation.mean, loaded.preparation.std))
    space = {"step_size": 0.05 / std, "bounds": (-mean / std, (1 - mean) / std)}
    return _make(method_class("agi"), loaded, spec, {"n_false_classes": 1, **space})


def _groups(budget: int) -> int:
    """Groups of pixels for each of two directions."""
    return max(1, budget // 2)


def _cam(cam: str, loaded: LoadedModel, spec: MethodSpec) -> Any:
    from captum_ext_integrations.cli.cams import Cam

    return Cam(loaded, spec.layer, spec.upsampler or DEFAULT_UPSAMPLER, cam)


def _excitation_backprop(name: str, loaded: LoadedModel, spec: MethodSpec) -> Any:
    settings = {**method_settings(name), "layer": _layer_of_model(loaded, spec.layer)}
    if spec.layer is not None or spec.upsampler is not None:
        settings["upsampler"] = upsampler(spec.upsampler or DEFAULT_UPSAMPLER, loaded.preparation)
    return _make(method_class(name), loaded, spec, settings)


def _layer_of_model(loaded: LoadedModel, name: str | None) -> str | None:
    """The name of a network's layer in the model that is explained, which may hold the network."""
    if name is None or name not in loaded.layers:
        return name
    layer = loaded.layers[name]
    return next((inside for inside, part in loaded.model.named_modules() if part is layer), name)


def _named(name: str) -> Callable[[LoadedModel, MethodSpec], Any]:
    """How a method of the registry is made, with what its name stands for."""
    return partial(_make, method_class(name), settings=method_settings(name))


_WITH_REFERENCES = ("n_steps", "references")
METHODS: dict[str, Entry] = {
    "ig": Entry(_named("ig"), "Integrated Gradients from the mean colour"),
    "eg": Entry(
        _named("eg"),
        "Expected Gradients: the mean over references (--references)",
        _WITH_REFERENCES,
        needs_references=True,
    ),
    "lpi": Entry(
        _named("lpi"),
        "Local Path Integration: references of the input's neighbourhood (--references)",
        _WITH_REFERENCES,
        needs_references=True,
    ),
    "weighted-ig": Entry(
        _weighted_integrated_gradients,
        "Weighted Integrated Gradients: references weighted by fitness; standard baselines without --references",
        _WITH_REFERENCES,
    ),
    "idgi": Entry(_named("idgi"), "Important Direction IG: every change of the score on the squared gradient"),
    "samp": Entry(
        _named("samp"),
        "Salient Manipulation Path: the greedy path of pixels, n_steps // 2 groups in each of two directions",
        n_steps=_groups,
    ),
    "samp++": Entry(
        _bounded_samp,
        "SAMP with momentum and a step bound of n_steps / 4, at most 10, which may add a few gradients",
        n_steps=_groups,
    ),
    "guided-ig": Entry(_named("guided-ig"), "Guided IG: the path of features with small gradients first"),
    "blur-ig": Entry(_named("blur-ig"), "Blur IG: the path from a blurred image to the image"),
    "agi": Entry(
        _agi, "Adversarial Gradient Integration: at most n_steps steps towards one other class, drawn at random"
    ),
    "xrai": Entry(
        _named("xrai"),
        "XRAI: segments by Integrated Gradients, n_steps // 2 from each of a dark and a bright image",
        n_steps=_groups,
    ),
    "rise": Entry(
        _named("rise"), "RISE: random masks (--n-samples), and the scores of what each of them leaves", ("n_samples",)
    ),
    "mwp": Entry(
        partial(_excitation_backprop, "mwp"),
        "Excitation Backprop: winning probabilities of pixels, or of a layer (--layer), upsampled (--upsampler)",
        ("layer", "upsampler"),
    ),
    "c-mwp": Entry(
        partial(_excitation_backprop, "c-mwp"),
        "Contrastive Excitation Backprop: the same less the probabilities of the opposite class",
        ("layer", "upsampler"),
    ),
    "saliency": Entry(_named("captum.attr:Saliency"), "Captum's absolute gradient", ()),
    "input-x-gradient": Entry(_named("captum.attr:InputXGradient"), "Captum's input times gradient", ()),
    "gradcam": Entry(
        partial(_cam, "GradCAM"), "GradCAM of a layer (--layer), upsampled (--upsampler)", ("layer", "upsampler")
    ),
    "cam": Entry(
        partial(_cam, "CAM"),
        "CAM: the classifier's weights over the maps that it averages (--layer, --upsampler)",
        ("layer", "upsampler"),
    ),
}

METRICS: dict[str, tuple[bool, str]] = {
    "insertion": (True, "area under the score as the most important pixels are inserted; higher is better"),
    "deletion": (False, "area under the score as the most important pixels are deleted; lower is better"),
    "diff_id": (True, "score without the least minus without the most important pixels; higher is better"),
}
