"""Names of classes, where they are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captum_ext.core.files import opened
from captum_ext.core.text import shown
from captum_ext.exceptions import ArgumentError

_MOST_BYTES = 1 << 24


class Classes:
    """Number of a class -> its name.

    Args:
        names: by number.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self.names = dict(names)
        self._folded = {number: name.casefold() for number, name in self.names.items()}

    @classmethod
    def of_file(cls, path: Path) -> Classes:
        """The lines of a file: line k, from 0, names class k.

        Raises:
            ArgumentError: not a text of UTF-8, or larger than such a list.
            OSError: it cannot be read.
        """
        with opened(path, _ClassesError, links=True, most=_MOST_BYTES) as file:
            try:
                lines = file.read().decode().splitlines()
            except UnicodeDecodeError as error:
                raise ArgumentError("classes", "a text file in UTF-8 with one class a line", str(path)) from error
        return cls(dict(enumerate(lines)))

    @classmethod
    def of_runs(cls, manifests: Sequence[Mapping[str, Any]]) -> Classes:
        """The names of folders, where a run says that its labels, which stand for the model's classes, are theirs."""
        for manifest in manifests:
            configuration = manifest["configuration"]
            labels = (configuration.get("dataset") or {}).get("class_to_idx")
            if configuration.get("target") == "label" and isinstance(labels, Mapping):
                return cls({value: str(name) for name, value in labels.items() if isinstance(value, int)})
        return cls({})

    def name(self, number: float) -> str:
        """What is shown of a class: its name with its number, or the number alone."""
        name = self.names.get(int(number))
        return f"{int(number)}" if name in (None, str(int(number))) else f"{shown(name, 80)} ({int(number)})"

    def numbers(self, text: str) -> list[int]:
        """The classes that a text means: a number is itself, other text is part of names."""
        text = text.strip()
        if text.isascii() and text.isdecimal() and len(text) < 10:
            return [int(text)]
        folded = text.casefold()
        return [number for number, name in self._folded.items() if folded in name]


class _ClassesError(ArgumentError):
    """A file of classes that is none; made with one sentence as the readers of files make their errors."""

    def __init__(self, message: str) -> None:
        super().__init__("classes", "a text file with one class a line", message)
