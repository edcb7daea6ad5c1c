"""Options that several commands have: each group is declared once, as a dataclass, and handed over as one object."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from captum_ext_integrations.cli.config import config_option
from captum_ext_integrations.cli.loading import computing
from captum_ext_integrations.cli.messages import names_of_options
from captum_ext_integrations.cli.options import (
    BoxOption,
    Channels,
    Classes,
    Crop,
    Device,
    Layer,
    Mean,
    Model,
    References,
    Region,
    Resize,
    Samples,
    Seed,
    Std,
    Steps,
    Target,
    Texts,
    Upsampler,
    Weights,
    WeightsKey,
    box_of,
    number_or_name,
    numbers,
    region_of,
)

if TYPE_CHECKING:
    from captum_ext_integrations.cli.methods import MethodSpec
    from captum_ext_integrations.cli.models import ModelSpec
    from captum_ext_integrations.cli.targets import TargetSpec

_CONFIG = "config"
_Command = TypeVar("_Command", bound=Callable[..., int])


def with_groups(command: _Command) -> _Command:
    """The command with the fields of each group in the place of the parameter that is the group.

    Typer reads a function's signature, so that help, completion and messages see options like all others.
    """
    hints = inspect.get_annotations(command, eval_str=True)  # typing.get_type_hints of 3.10 wraps some
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = groups.get(parameter.name)
        single = parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY)
        parameters += [single] if kind is None else _of_group(kind)
    if groups:
        parameters.append(_config_of(parameters))

    @functools.wraps(command)
    def run(**given: Any) -> int:
        given.pop(_CONFIG, None)  # read before, as defaults of the others
        for name, kind in groups.items():
            given[name] = kind(**{field.name: given.pop(field.name) for field in fields(kind)})
        return command(**given)

    run.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": int}
    run.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    return typing.cast(_Command, run)


def _config_of(parameters: list[inspect.Parameter]) -> inspect.Parameter:
    """The option that reads all others from a file."""
    hints = {one.name: one.annotation for one in parameters}

    def declared() -> None:
        """What `names_of_options` looks at."""

    declared.__annotations__ = hints
    option = config_option(names_of_options(declared), hints)
    return inspect.Parameter(_CONFIG, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)


def _of_group(group: Any) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]


@dataclass(frozen=True)
class ModelOptions:
    """The model, and how it wants its images."""

    model: Model
    weights: Weights = None
    weights_key: WeightsKey = None
    n_classes: Classes = None
    resize: Resize = None
    crop: Crop = None
    mean: Mean = None
    std: Std = None
    channels: Channels = None
    text: Texts = None
    device: Device = "auto"

    @property
    def spec(self) -> ModelSpec:
        """The same for what computes."""
        made: ModelSpec = computing("models").ModelSpec(
            self.model,
            self.weights,
            self.n_classes,
            self.resize,
            self.crop,
            numbers("mean", self.mean),
            numbers("std", self.std),
            self.device,
            self.weights_key,
            self.channels,
            tuple(self.text or ()),
        )
        return made


@dataclass(frozen=True)
class TargetOptions:
    """What is explained."""

    target: Target = "predicted"
    box: BoxOption = None
    region: Region = None

    @property
    def spec(self) -> TargetSpec:
        """The same for what computes."""
        box, region = box_of("box", self.box), region_of(self.region)
        made: TargetSpec = computing("targets").TargetSpec(number_or_name(self.target), box, region)
        return made


@dataclass(frozen=True)
class MethodOptions:
    """Settings of methods, of which each method has some."""

    references: References = None
    n_steps: Steps = None
    n_samples: Samples = None
    layer: Layer = None
    upsampler: Upsampler = None
    seed: Seed = 0

    def spec(self, name: str, model: ModelSpec) -> MethodSpec:
        """One method with all that is given."""
        methods = computing("methods")
        made: MethodSpec = methods.MethodSpec(methods.name_in_shell(name), model, seed=self.seed, **self._settings)
        return made

    def specs(self, names: list[str], model: ModelSpec) -> list[MethodSpec]:
        """Several methods, each with what it has of what is given."""
        methods = computing("methods")
        once = list(dict.fromkeys(map(methods.name_in_shell, names)))
        made: list[MethodSpec] = methods.MethodSpec.several(once, model, self.seed, **self._settings)
        return made

    @property
    def _settings(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "seed"}
