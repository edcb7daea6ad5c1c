"""The messages of this package's errors, read from its source: class, argument, text, and where they are raised."""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("captum_ext", "integrations/captum_ext_integrations")
OF_ARGUMENTS = ("ArgumentError", "ArgumentTypeError", "NonFiniteError")
HOLE = "…"  # what only the call knows


@dataclass(frozen=True)
class Message:
    """One place where an error is raised.

    Attributes:
        error: name of its class.
        argument: the argument that it names; `HOLE` where the call knows it, empty where there is none.
        text: what it says, with `HOLE` for what only the call knows.
        place: file, from the root of the repository.
        line: of the place.
    """

    error: str
    argument: str
    text: str
    place: str
    line: int


@functools.cache
def error_names() -> frozenset[str]:
    """Every class of an error that this package defines and a user may see."""
    names = {name for path in _files() for name in _errors_of(path)}
    return frozenset(name for name in names if not name.startswith("_"))


@functools.cache
def messages() -> tuple[Message, ...]:
    """All of them, by class and argument."""
    found = [message for path in _files() for message in _of_file(path)]
    return tuple(sorted(found, key=lambda one: (one.error, one.argument.lower(), one.text, one.place, one.line)))


def _files() -> list[Path]:
    return sorted(path for folder in SHIPPED for path in (ROOT / folder).rglob("*.py"))


def _errors_of(path: Path) -> list[str]:
    classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    seen = [one for one in classes if "within this package only" not in (ast.get_docstring(one) or "")]
    return [one.name for one in seen if any(_name(base).endswith(("Error", "Exception")) for base in one.bases)]


def _of_file(path: Path) -> list[Message]:
    tree = ast.parse(path.read_text())
    constants = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    place = str(path.relative_to(ROOT))
    return [
        _message(node, constants, place)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _name(node.func) in error_names()
    ]


def _message(node: ast.Call, constants: dict[str, ast.expr], place: str) -> Message:
    error, given = _name(node.func), [_text(argument, constants) for argument in node.args]
    if error in OF_ARGUMENTS:
        argument, expected = (*given, HOLE, HOLE)[:2]
        text = f"Expected argument `{argument}` to be {expected}, but got {HOLE}."
        return Message(error, argument, text, place, node.lineno)
    if error == "ArgumentsConflictError":
        names = _names_in(node.args[0]) if node.args else []
        argument = " and ".join(names) or HOLE
        reason = given[1] if len(given) > 1 else HOLE
        text = f"The arguments {' and '.join(f'`{name}`' for name in names) or HOLE} do not fit each other: {reason}."
        return Message(error, argument, text, place, node.lineno)
    return Message(error, "", given[0] if given else HOLE, place, node.lineno)


def _text(node: ast.expr, constants: dict[str, ast.expr], depth: int = 0) -> str:
    """A string as it is written, with `HOLE` for what it takes from variables."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, constants, depth) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left, constants, depth) + _text(node.right, constants, depth)
    if isinstance(node, ast.Name) and node.id in constants and depth < 3:
        return _text(constants[node.id], constants, depth + 1)
    return HOLE


def _names_in(node: ast.expr) -> list[str]:
    return [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
