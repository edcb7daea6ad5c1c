"""State dicts where trainers put them: inside of checkpoints, and under the names that wrappers of a model give."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from captum_ext_integrations.cli.pickle_headers import Stored

_DEEPEST = 3  # containers around a state dict
# What DataParallel, torch.compile, FSDP and activation checkpointing put into names, at the front or in the middle.
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_PREFIXES = ("", "model.", "model.model.")  # of Lightning and other trainers, which hold the model as `self.model`
_AVERAGES = ("ema", "swa", "averag", "shadow", "teacher")  # in names of containers
_N_AVERAGED = "n_averaged"  # which torch.optim.swa_utils.AveragedModel counts beside its weights
_OLD_DENSENET = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var|num_batches_tracked))$"
)


@dataclass(frozen=True)
class StateDict:
    """A state dict of a checkpoint, seen by a model.

    Attributes:
        place: keys of the containers around it; () where the file is the state dict itself.
        names: from its names to the model's; to themselves where the model has none like them.
        beside: names that belong to something beside the model, such as a loss.
        n_known: how many of the model's names are there.
    """

    place: tuple[str, ...]
    names: dict[str, str]
    beside: tuple[str, ...] = ()
    n_known: int = 0

    @property
    def key(self) -> str:
        """The place as one text."""
        return ".".join(self.place)

    @property
    def is_average(self) -> bool:
        """Whether its containers say that it is a mean over the training."""
        return any(word in self.key.lower() for word in _AVERAGES)

    def within(self, path: Path) -> str:
        """The place in a file, for messages."""
        return "".join([str(path), *(f"[{key!r}]" for key in self.place)])

    def taken(self, content: Any) -> dict[str, Tensor]:
        """What a file holds at this place, under the model's names.

        Raises:
            TypeError: other things than its header says.
        """
        for key in self.place:
            content = content[key]
        tensors = OrderedDict((name, content[key]) for key, name in self.names.items())
        if not all(isinstance(value, Tensor) for value in tensors.values()):
            raise TypeError("its header is that of a state dict, but its content is not")
        if all(key == name for key, name in self.names.items()) and hasattr(content, "_metadata"):
            tensors._metadata = content._metadata  # type: ignore[attr-defined]
        return tensors


def state_dicts(header: Any) -> dict[tuple[str, ...], Mapping[Any, Stored]]:
    """All mappings in a header that hold tensors and nothing else, by their places."""
    return dict(_inside(header, ()))


def _inside(header: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Stored]]]:
    if not isinstance(header, Mapping):
        return
    if all(isinstance(entry, Stored) for entry in header.values()) and (header or not place):
        yield place, header
    elif len(place) < _DEEPEST:
        for key, entry in header.items():
            yield from _inside(entry, (*place, str(key)))


def seen_by(wanted: Iterable[str], names: Iterable[str], place: tuple[str, ...]) -> StateDict:
    """A state dict with its names brought to those of a model: as they are, or without what wrappers add.

    Of several ways the one that finds most of the model's names.
    """
    known, names = set(wanted), list(names)
    best = StateDict(place, {name: name for name in names}, n_known=len(known.intersection(names)))
    for prefix in _PREFIXES:
        other = _without(prefix, known, names, place)
        if other is not None and other.n_known > best.n_known:
            best = other
    return best


def _without(prefix: str, known: set[str], names: list[str], place: tuple[str, ...]) -> StateDict | None:
    """Names without wrappers and a prefix; None where two of them would be the same."""
    of_model = {_bare(name): name for name in known}
    if len(of_model) < len(known):
        return None
    inside = {name: bare.removeprefix(prefix) for name in names if (bare := _bare(name)).startswith(prefix)}
    renamed = {name: of_model.get(bare, bare) for name, bare in inside.items() if bare != _N_AVERAGED}
    if len(set(renamed.values())) < len(renamed):
        return None
    beside = tuple(name for name in names if name not in inside and name != _N_AVERAGED)
    return StateDict(place, renamed, beside, len(known.intersection(renamed.values())))


def _bare(name: str) -> str:
    return _modern(".".join(part for part in name.split(".") if part not in _WRAPPERS))


def modern_names(loaded: dict[str, Tensor]) -> dict[str, Tensor]:
    """Torchvision's DenseNet files have names from before 2017, such as `denselayer1.norm.1.weight`."""
    if not any(_OLD_DENSENET.match(key) for key in loaded):
        return loaded
    return {_modern(key): value for key, value in loaded.items()}


def _modern(name: str) -> str:
    return _OLD_DENSENET.sub(r"\1\2", name)
