"""Arguments that a docstring leaves to another one ("as in `insertion`", "as the base class"), put on its page.

A page of the reference stands alone. What an argument is comes from the docstring itself; else from that of a base
class, of the method of the same name there, of the class itself, or of what the docstring names in backticks.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

from public_names import canonical, is_property, pages

OF_PYTHON = {"self", "cls", "args", "kwargs"}
OURS = ("captum_ext", "captum_ext_integrations")
_SECTION = re.compile(r"^(Args|Attributes):$")
_ENTRY = re.compile(r"^    (?P<names>\w+(?:, \w+)*):(?: (?P<text>.*))?$")
_NAMED = re.compile(r"`([\w.]+)(?:\(\))?`")


def entries(text: str) -> dict[str, str]:
    """Argument to description, of the sections of a docstring that have them."""
    found: dict[str, str] = {}
    inside, names = False, []
    for line in inspect.cleandoc(text or "").splitlines():
        if line and not line.startswith(" "):
            inside = bool(_SECTION.match(line))
        elif inside and (entry := _ENTRY.match(line)):
            names = entry["names"].split(", ")
            found |= dict.fromkeys(names, entry["text"] or "")
        elif inside and names and line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def arguments(value: Any) -> list[str]:
    """Names of what a function or a constructor takes, in their order."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return []
    return [name for name in signature.parameters if name not in OF_PYTHON]


def missing(value: Any, text: str) -> list[str]:
    """Arguments that a docstring has no entry for."""
    known = entries(text)
    return [name for name in arguments(value) if name not in known]


def borrowed(full_name: str, value: Any, text: str) -> dict[str, str]:
    """Entries of other docstrings for the arguments that this one has none for."""
    left = missing(value, text)
    found: dict[str, str] = {}
    for other in _others(full_name, value, text):
        known = entries(other)
        for name in left:
            if known.get(name) and name not in found:
                found[name] = known[name]
    return {name: found[name] for name in left if name in found}


def completed(full_name: str, value: Any, lines: list[str]) -> list[str]:
    """The lines of a docstring with the borrowed entries behind its own."""
    extra = borrowed(full_name, value, "\n".join(lines))
    if not extra:
        return lines
    added = [f"    {name}: {said}" for name, said in extra.items()]
    if "Args:" in lines:
        place = lines.index("Args:") + 1
        while place < len(lines) and (not lines[place].strip() or lines[place].startswith(" ")):
            place += 1
        while not lines[place - 1].strip():
            place -= 1
        return [*lines[:place], *added, *lines[place:]]
    later = [place for place, line in enumerate(lines) if line in ("Raises:", "Returns:", "Example:", "Attributes:")]
    place = later[0] if later else len(lines)
    before = lines[:place] if place and not lines[place - 1].strip() else [*lines[:place], ""]
    return [*before, "Args:", *added, "", *lines[place:]]


def _others(full_name: str, value: Any, text: str) -> Iterator[str]:
    owner = value if inspect.isclass(value) else _object(full_name.rpartition(".")[0])
    if inspect.isclass(owner):
        yield from _of_class(owner, full_name.rpartition(".")[2] if owner is not value else "")
    for word in _NAMED.findall(text):
        target = canonical(word, full_name.rpartition(".")[0])
        if target is None and inspect.isclass(owner) and hasattr(owner, word):
            yield inspect.getdoc(getattr(owner, word)) or ""
        elif target is not None:
            yield _text(target)
            for deeper in _NAMED.findall(_text(target)):
                if further := canonical(deeper, target.rpartition(".")[0]):
                    yield _text(further)


def _of_class(owner: type[Any], method: str) -> Iterator[str]:
    ours = [one for one in owner.__mro__ if one.__module__.split(".")[0] in OURS]
    for one in ours:
        member = vars(one).get(method) if method else None
        yield getattr(getattr(member, "__func__", member), "__doc__", None) or ""
    for one in ours:
        yield one.__doc__ or ""
    if method:
        for name in ("attribute", "__call__"):
            yield inspect.getdoc(getattr(owner, name, None)) or ""


def _text(target: str) -> str:
    """The docstring of a page, or of a member of what has one."""
    if target in pages():
        return inspect.getdoc(pages()[target].value) or ""
    owner, _, member = target.rpartition(".")
    value = pages()[owner].value if owner in pages() else None
    if value is None or is_property(value, member):
        return ""
    return inspect.getdoc(getattr(value, member)) or ""


def _object(full_name: str) -> Any:
    if full_name in pages():
        return pages()[full_name].value
    module, _, name = full_name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name, None) if module else None
    except ImportError:
        return None
