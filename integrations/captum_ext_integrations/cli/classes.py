"""The class that is explained: by number, or by name where the model comes with names."""

from __future__ import annotations

from difflib import get_close_matches

from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.cli.models import LoadedModel

_MOST_NAMED = 8
WORDS = ("predicted", "label")


def class_of(loaded: LoadedModel, target: int | str) -> int | str:
    """A number, or "predicted" or "label", of which each image has its own.

    Names are those of the model, whatever their case; of "tabby, tabby cat" each part is one.

    Raises:
        ArgumentError: an unknown name, or one of several classes; close ones are listed.
    """
    if not isinstance(target, str) or target in WORDS:
        return target
    if not loaded.class_names:
        raise ArgumentError("target", 'a number, "predicted" or "label"', f"{target!r}: this model has no names")
    wanted = target.strip()
    for same in (str, str.casefold):
        found = [
            index
            for index, name in enumerate(loaded.class_names)
            if same(wanted) in map(same, (name, *name.split(", ")))
        ]
        if len(found) == 1:
            return found[0]
        if found:
            raise ArgumentError("target", "the number of one of these classes", f"{target!r}: {_named(loaded, found)}")
    close = _close(loaded, wanted)
    hint = f"close names are {_named(loaded, close)}" if close else f"none of {len(loaded.class_names)} names is close"
    raise ArgumentError("target", 'a number, "predicted", "label" or the name of a class', f"{target!r}; {hint}")


def _close(loaded: LoadedModel, wanted: str) -> list[int]:
    """Classes whose name is like this one, or has it or a word of it inside."""
    names = [name.casefold() for name in loaded.class_names]
    text = wanted.casefold()
    very, somewhat = (
        [names.index(name) for name in get_close_matches(text, names, n=_MOST_NAMED, cutoff=cutoff)]
        for cutoff in (0.8, 0.6)
    )
    inside = [index for index, name in enumerate(names) if text and text in name]
    of_words = [index for index, name in enumerate(names) if set(text.split()) & set(name.split())]
    return list(dict.fromkeys([*very, *inside, *of_words, *somewhat]))[:_MOST_NAMED]


def _named(loaded: LoadedModel, indices: list[int]) -> str:
    return ", ".join(f"{loaded.class_names[index]} ({index})" for index in indices)
