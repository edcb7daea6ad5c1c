"""Which output of a model a folder of images stands for: by a file, by the model's names, or by its place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from captum_ext.core.regular_files import regular_file
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.cli.classes import class_of
from captum_ext_integrations.cli.messages import say
from captum_ext_integrations.cli.models import LoadedModel

#: In place of a file: folder 7 is class 7.
NUMBERS = "numbers"
_MOST_BYTES = 2**24
_FORMS = (
    "a file with one folder of a class a line, in the order of the model's outputs; or JSON: a list like that, "
    '{"folder": 7} or {"7": "folder"}'
)


def labels_of(folders: list[str], loaded: LoadedModel, labels: str | None) -> dict[str, int] | None:
    """The label of each folder; None: its place among the folders, which are as many as the model's outputs.

    Without `labels` folders that all have names of the model's classes are these classes.

    Raises:
        ArgumentError: a folder without a label or with one that the model does not have, or another number of folders
            than outputs where nothing else says what they are.
        OSError: the file cannot be read.
    """
    found = _by_names(folders, loaded) if labels is None else _given(folders, labels)
    if found is None:
        if len(folders) != loaded.n_classes:
            expected = '"label" only with one folder for each class of the model, with its names, or with --labels'
            raise ArgumentError("target", expected, f"{len(folders)} folders for {loaded.n_classes} outputs")
        return None
    beyond = [f"{label} of folder {name}" for name, label in found.items() if label >= loaded.n_classes]
    if beyond:
        raise ArgumentError("labels", f"numbers from 0 to {loaded.n_classes - 1}, the model's outputs", beyond[0])
    return found


def _by_names(folders: list[str], loaded: LoadedModel) -> dict[str, int] | None:
    if not loaded.class_names:
        return None
    try:
        found = {name: class_of(loaded, name.replace("_", " ")) for name in folders}
    except ArgumentError:  # an unknown name, or one of several classes
        return None
    labels = {name: label for name, label in found.items() if isinstance(label, int)}
    if len(labels) < len(folders) or len(set(labels.values())) < len(folders):
        return None
    say(f"{len(folders)} folders are classes of the model by their names")
    return labels


def _given(folders: list[str], labels: str) -> dict[str, int]:
    known = {name: int(name) for name in folders if name.isdecimal()} if labels == NUMBERS else _read(Path(labels))
    without = [name for name in folders if name not in known]
    if without:
        expected = "a label for each folder" if labels != NUMBERS else '"numbers" only where all folders are numbers'
        raise ArgumentError("labels", expected, f"none for {len(without)} of them, such as {without[0]!r}")
    return {name: known[name] for name in folders}


def _read(path: Path) -> dict[str, int]:
    """Labels by the names of folders."""
    with regular_file(path) as file:
        content = file.read(_MOST_BYTES)
    try:
        text = content.decode()
        known = _of_json(json.loads(text)) if path.suffix == ".json" else _of_lines(text.splitlines())
    except (ValueError, RecursionError) as error:
        raise ArgumentError("labels", _FORMS, f"{path}: {error}") from error
    return known


def _of_json(value: Any) -> dict[str, int]:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return _of_lines(value)
    if isinstance(value, dict) and all(type(label) is int and label >= 0 for label in value.values()):
        return value
    if isinstance(value, dict) and all(key.isdecimal() for key in value):
        # Of ["n01440764", "tench"], as the list of ImageNet's classes has them, a folder may have either name.
        pairs = [(name, int(key)) for key, names in value.items() for name in _names(names)]
        return _unique(pairs)
    raise ValueError("JSON of another form")


def _names(names: Any) -> list[str]:
    several = [names] if isinstance(names, str) else names
    if not isinstance(several, list) or not all(isinstance(name, str) for name in several):
        raise ValueError("JSON of another form")
    return several


def _of_lines(lines: Iterable[str]) -> dict[str, int]:
    """Names by their place; a line may say more behind the name, as "n01440764 tench, Tinca tinca"."""
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if len(set(names)) < len(names):
        raise ValueError("a name that is there twice")
    firsts = _unique([(name.split()[0], label) for label, name in enumerate(names) if name])
    return {**firsts, **{name: label for label, name in enumerate(names)}}


def _unique(pairs: list[tuple[str, int]]) -> dict[str, int]:
    """Without names of several labels."""
    labels: dict[str, set[int]] = {}
    for name, label in pairs:
        labels.setdefault(name, set()).add(label)
    return {name: next(iter(ones)) for name, ones in labels.items() if len(ones) == 1}
