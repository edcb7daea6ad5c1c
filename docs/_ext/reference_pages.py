"""A page for every public name, and a list of them for every module, written before Sphinx reads its pages.

The pages are made in docs/reference, which git ignores. What they say is the docstring's: nothing is typed here.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

from docstrings import is_table, of_prose, table
from public_names import MODULES, Public, comment_of, everything, is_property, members, pages, present

FOLDER = "reference"


def write_pages(folder: Path) -> list[Path]:
    """Write all pages where they are not yet as they should be; what is left of another time is removed."""
    texts = {"index.rst": _index()}
    texts |= {f"{module}.rst": _module_page(module) for module in present()}
    texts |= {f"{page}.rst": page_of(public) for page, public in pages().items()}
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.rst"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    return [folder / name for name in texts]


def page_of(public: Public) -> str:
    """The page of one public name."""
    short = [one for one in everything() if one.page == public.page and one.is_alias]
    others = sorted({f"{one.module}.{one.name}" for one in short})
    lines = [*_title(public.title), f".. currentmodule:: {public.home}", ""]
    lines += [f"``from {public.home} import {public.title}``", ""]
    if others:
        lines += ["Also " + ", ".join(f"``{name}``" for name in others) + ".", ""]
    if inspect.isclass(public.value):
        lines += [f".. autoclass:: {public.page}", *_members(public.value)]
    elif inspect.isroutine(public.value):
        lines += [f".. autofunction:: {public.page}"]
    else:
        comment = of_prose([comment_of(public)], public.home)
        lines += [f".. py:data:: {public.title}", "", *(f"   {line}" for line in comment), "", *_contents(public.value)]
    return "\n".join([*lines, ""])


def _members(kind: type[Any]) -> list[str]:
    lines: list[str] = [""]
    for name in members(kind):
        lines += [f"   .. auto{'property' if is_property(kind, name) else 'method'}:: {name}", ""]
    return lines


def _contents(value: Any) -> list[str]:
    """What a table of names holds."""
    if not hasattr(value, "keys") and not isinstance(value, tuple | list | frozenset):
        return []
    return ["It has: " + ", ".join(f"``{_shown(key)}``" for key in value) + ".", ""]


def _shown(value: Any) -> str:
    return str(getattr(value, "__name__", value))


def _module_page(module: str) -> str:
    title, _ = MODULES[module]
    own = [one for one in everything() if one.module == module]
    lines = [*_title(title), f"``{module}``", "", f".. module:: {module}", ""]
    lines += text_of_module(inspect.getdoc(importlib.import_module(module)) or "", module)
    lines += [".. list-table::", "   :widths: 35 65", ""]
    for one in own:
        lines += [f"   * - :py:obj:`{one.name} <{one.page}>`", f"     - {_summary(one)}"]
    lines += ["", ".. toctree::", "   :hidden:", ""]
    lines += [f"   {one.title} <{one.page}>" for one in own if not one.is_alias]
    return "\n".join([*lines, ""])


def text_of_module(text: str, module: str) -> list[str]:
    """What a module says of itself; a paragraph that is set in is a program, one of bars a table."""
    lines: list[str] = []
    for own in _paragraphs(text):
        if own[0] == "Example:":
            lines += ["Example:", "", *(line.removeprefix("    ") for line in own[1:]), ""]
        elif own[0].startswith("    "):
            lines += [".. code-block:: python", "", *(line and f"   {line.removeprefix('    ')}" for line in own), ""]
        elif is_table(own):
            lines += table(own, module)
        else:
            lines += [*of_prose(own, module), ""]
    return lines


def _paragraphs(text: str) -> list[list[str]]:
    """What empty lines part, but for those inside of a program."""
    found: list[list[str]] = []
    for lines in (block.splitlines() for block in text.split("\n\n")):
        if found and lines[0].startswith("    ") and found[-1][0].startswith("    "):
            found[-1] += ["", *lines]
        else:
            found.append(lines)
    return found


def _summary(public: Public) -> str:
    if public.is_alias and public.home == public.module:
        return f"short name of :py:obj:`{public.title} <{public.page}>`"
    if not (inspect.isclass(public.value) or inspect.isroutine(public.value)):
        return " ".join(of_prose([comment_of(public)], public.home)) or "a table of names"
    first = (inspect.getdoc(public.value) or "").split("\n\n")[0].splitlines()
    return " ".join(" ".join(of_prose(first, public.home)).split())


def _index() -> str:
    lines = [
        *_title("API reference"),
        "Every public name has a page: arguments, shapes, units, errors, an example.",
        "",
    ]
    lines += [
        ".. toctree::",
        "   :maxdepth: 1",
        "",
        *(f"   {MODULES[name][0]} <{name}>" for name in present()),
        "",
    ]
    lines += ["All names:", "", ".. hlist::", "   :columns: 3", ""]
    names = {one.name: one.page for one in everything()}
    lines += [f"   * :py:obj:`{name} <{names[name]}>`" for name in sorted(names, key=str.lower)]
    return "\n".join([*lines, ""])


def _title(text: str) -> list[str]:
    return [text, "=" * len(text), ""]


def _before_reading(app: Any) -> None:
    write_pages(Path(app.srcdir) / FOLDER)


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", _before_reading)
    return {"parallel_read_safe": True}
