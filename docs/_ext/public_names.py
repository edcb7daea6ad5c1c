"""The public names, module by module, and the one page that each has."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

# Of `captum_ext_integrations.grad_cam` its own classes: its other names are the host's, and described there.
CAMS = (
    *("CAM", "FEM", "KPCA_CAM", "SESS", "AblationCAM", "EigenCAM", "EigenGradCAM", "FinerCAM", "FullGrad", "GradCAM"),
    *("GradCAMElementWise", "GradCAMPlusPlus", "HiResCAM", "LayerCAM", "RandomCAM", "RefineCAM", "ScoreCAM"),
    *("SegEigenCAM", "ShapleyCAM", "XGradCAM"),
)
# Modules in the order of the reference: title, and what is public where a module has no `__all__`.
MODULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "captum_ext.attr": ("Attribution methods", ()),
    "captum_ext.references": ("References and baselines", ()),
    "captum_ext.upsampling": ("Upsampling", ()),
    "captum_ext.metrics": ("Metrics", ()),
    "captum_ext.selection": ("Choosing a method", ()),
    "captum_ext.visualize": ("Figures", ()),
    "captum_ext.images": ("Images", ()),
    "captum_ext.segmentation": ("Segmentation", ("MultiScaleSegmenter", "Segmenter", "spread_over_segments")),
    "captum_ext.models": ("Any model", ()),
    "captum_ext.models.targets": ("Targets", ()),
    "captum_ext.dataset": ("Whole data sets", ()),
    "captum_ext": ("What all share", ()),
    "captum_ext_integrations.grad_cam": ("Inside pytorch-grad-cam", CAMS),
    "captum_ext_integrations.captum_layers": ("Captum's coarse maps", ("redistribute_layer_attribution",)),
    "captum_ext_integrations.quantus_metrics": ("Inside Quantus", ()),
    "captum_ext_integrations.ray_data": ("On a Ray cluster", ()),
    "captum_ext.testing": ("Conformance of a method", ("CHECKS", "MethodCase")),
    "captum_ext.attr.paths": ("Writing a path method", ()),
    "captum_ext.exceptions": ("Errors", ()),
}
NO_OBJECT = {"__version__"}


@dataclass(frozen=True)
class Public:
    """A public name: where it is imported from, what it is, and the name that has its page."""

    module: str
    name: str
    value: Any
    home: str  # module of its page
    title: str

    @property
    def page(self) -> str:
        """Full name of what has the page."""
        return f"{self.home}.{self.title}"

    @property
    def is_alias(self) -> bool:
        """Whether the page is that of another name."""
        return (self.home, self.title) != (self.module, self.name)


@functools.cache
def present() -> tuple[str, ...]:
    """The modules that can be imported here: one that needs Ray, say, is left out where that is missing."""
    found = []
    for module in MODULES:
        try:
            importlib.import_module(module)
        except ImportError:
            continue
        found.append(module)
    return tuple(found)


def exported(module: str) -> list[str]:
    """The names of a module that are public."""
    loaded = importlib.import_module(module)
    listed = MODULES[module][1]
    if listed:
        return list(listed)
    if module == "captum_ext.exceptions":
        return [
            name
            for name, value in vars(loaded).items()
            if inspect.isclass(value) and issubclass(value, Exception) and not name.startswith("_")
        ]
    return [name for name in loaded.__all__ if name not in NO_OBJECT]


@functools.cache
def everything() -> tuple[Public, ...]:
    """All public names. What is imported from two places, or has a short name, has the page of its first place."""
    found: list[Public] = []
    homes: dict[int, tuple[str, str]] = {}
    for module in present():
        loaded = importlib.import_module(module)
        names = exported(module)
        for name in sorted(names, key=lambda one: (one != getattr(getattr(loaded, one), "__name__", one), one)):
            value = getattr(loaded, name)
            is_named = inspect.isclass(value) or inspect.isfunction(value)
            home = homes.setdefault(id(value), (module, name)) if is_named else (module, name)
            found.append(Public(module, name, value, *home))
    return tuple(found)


@functools.cache
def pages() -> dict[str, Public]:
    """One public name for each page."""
    return {one.page: one for one in everything() if not one.is_alias}


@functools.cache
def _by_word() -> dict[str, str]:
    words: dict[str, str] = {}
    for one in everything():
        short = one.module.removeprefix("captum_ext.").removeprefix("captum_ext_integrations.")
        for word in (
            one.name,
            f"{short}.{one.name}",
            f"{one.module}.{one.name}",
            f"{one.module.rpartition('.')[2]}.{one.name}",
        ):
            words.setdefault(word, one.page)
    return words


def canonical(word: str, home: str = "") -> str | None:
    """The full name of the page of a word in a docstring, or None."""
    word = word.removesuffix("()")
    here = f"{home}.{word}"
    if here in pages():
        return here
    found = _by_word().get(word)
    if found is None and word.count("."):
        owner, _, member = word.rpartition(".")
        page = _by_word().get(owner)
        if page and inspect.isclass(pages()[page].value) and member in members(pages()[page].value):
            return f"{page}.{member}"
    return found


def members(kind: type[Any]) -> list[str]:
    """Public methods and properties of a class that this package defines and describes itself.

    What authors of methods override is on the pages of `captum_ext.attr.paths`, what authors of metrics for Quantus do
    on that of `TorchMetric`; the hosts call the rest of a CAM and of a metric, and nobody else does.
    """
    from_us = [one for one in kind.__mro__ if one.__module__.split(".")[0] in ("captum_ext", "captum_ext_integrations")]
    names: dict[str, None] = {}
    for owner in from_us:
        for name, value in vars(owner).items():
            described = getattr(value, "__func__", value)
            is_member = inspect.isroutine(described) or isinstance(value, property | functools.cached_property)
            if not name.startswith("_") and is_member and described.__doc__:
                names.setdefault(name, None)
    hidden = _hidden(kind)
    names = {name: None for name in names if name not in hidden}
    first = [name for name in ("attribute", "fit", "load", "save") if name in names]
    return first + [name for name in names if name not in first]


def _hidden(kind: type[Any]) -> set[str]:
    if kind.__module__ == "captum_ext_integrations.grad_cam":
        return set(dir(kind))
    if kind.__module__ == "captum_ext_integrations._quantus_base":
        return {"batch_preprocess", "evaluate_batch"}
    if kind.__module__ == "captum_ext_integrations.quantus_metrics":
        return set(dir(kind))
    if kind.__module__.startswith("captum_ext.attr.") and not kind.__module__.startswith("captum_ext.attr.paths"):
        hooks = importlib.import_module("captum_ext.attr.paths")
        bases = (hooks.PathMethod, hooks.PathAttribution, hooks.ReferencePathAttribution)
        return {name for base in bases for name in vars(base)} - {"attribute", "settings"} | {"evaluate_at"}
    return set()


def is_property(kind: type[Any], name: str) -> bool:
    """Whether a member is read without a call."""
    return isinstance(inspect.getattr_static(kind, name), property | functools.cached_property)


def comment_of(public: Public) -> str:
    """What stands above a table of names in the source, behind `#:`: in its module, else wherever the name is."""
    for path in _sources(public.home):
        found = re.search(rf"((?:^#: .*\n)+)^{public.name}\b", path.read_text(), flags=re.MULTILINE)
        if found:
            return " ".join(line.removeprefix("#: ") for line in found[1].splitlines())
    return ""


def _sources(module: str) -> list[Path]:
    """Files in which a name of a module may be made, the likeliest first."""
    roots = [ROOT / "captum_ext", ROOT / "integrations" / "captum_ext_integrations"]
    own = [root.parent.joinpath(*module.split(".")) for root in roots]
    files = [path for one in own for path in (one.with_suffix(".py"), *_below(one))]
    return [path for path in (*files, *_below(roots[0]), *_below(roots[1])) if path.exists()]


def _below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"), key=lambda path: (len(path.parts), path))
