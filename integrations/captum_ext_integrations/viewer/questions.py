"""What is asked of the rows: which, in which order, which page; read from a link, which anybody may have written."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from urllib.parse import urlencode

from captum_ext.core.text import shown

ROWS_OF_A_PAGE = 24
_MOST_ROWS, _MOST_PAGES, _LONGEST = 200, 10**9, 200
# What may be asked for, and how the page says it.
RIGHTS = {"right": "right in every run", "wrong": "wrong in a run"}
STATES = {"row": "with a row in each run", "failed": "without a row in a run"}


@dataclass(frozen=True)
class Question:
    """Which rows are asked for, in which order.

    Attributes:
        sort: key of a column, see `Collection.columns`.
        descending: the largest first.
        name: text in the name of the sample, whatever its case.
        target: number of a class, or text in its name.
        prediction: the same of the predicted class.
        right: "right" or "wrong" where it is known, or "".
        state: "row" for samples with a row in each run, "failed" for those without, or "".
        least: of the column that is sorted by, or None.
        most: see `least`.
        page: from 1.
        rows: of a page.
    """

    sort: str = "index"
    descending: bool = False
    name: str = ""
    target: str = ""
    prediction: str = ""
    right: str = ""
    state: str = ""
    least: float | None = None
    most: float | None = None
    page: int = 1
    rows: int = ROWS_OF_A_PAGE

    @classmethod
    def of(cls, given: Mapping[str, str]) -> tuple[Question, list[str]]:
        """The question of a link, and sentences about what could not be understood in it."""
        said: list[str] = []
        texts = {name: given.get(name, "")[:_LONGEST] for name in ("sort", "name", "target", "prediction")}
        return cls(
            sort=texts.pop("sort") or "index",
            descending=given.get("descending", "") in ("1", "true", "on"),
            **texts,
            right=_choice("right", given, RIGHTS, said),
            state=_choice("state", given, STATES, said),
            least=_number("least", given, said),
            most=_number("most", given, said),
            page=_whole("page", given, 1, _MOST_PAGES, said),
            rows=_whole("rows", given, ROWS_OF_A_PAGE, _MOST_ROWS, said),
        ), said

    def link(self) -> str:
        """The same as the query of a link, without what is as it always is."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}
        return urlencode({name: int(value) if value is True else value for name, value in values.items()})


def _choice(name: str, given: Mapping[str, str], choices: Collection[str], said: list[str]) -> str:
    value = given.get(name, "")
    if value in ("", *choices):
        return value
    said.append(_unknown(name, value, f"one of {', '.join(choices)}"))
    return ""


def _number(name: str, given: Mapping[str, str], said: list[str]) -> float | None:
    text = given.get(name, "").strip()
    try:
        value = float(text) if text else math.nan
    except ValueError:
        said.append(_unknown(name, text, "a number"))
        return None
    return value if math.isfinite(value) else None


def _whole(name: str, given: Mapping[str, str], default: int, most: int, said: list[str]) -> int:
    text = given.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and 1 <= int(text) <= most):
        said.append(_unknown(name, text, f"a whole number from 1 to {most}"))
        return default
    return int(text)


def _unknown(name: str, value: str, expected: str) -> str:
    return f"“{shown(value, 60)}” for “{name}” was left out: it is to be {expected}."
