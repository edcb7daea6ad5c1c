"""What is known of a model, and where it is known from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

_T = TypeVar("_T", covariant=True)

GIVEN = "given"
FOUND = "found by a pass"
CONFIG = "the model's config"
DEFAULT = "default"
#: Of what nothing says: its value is None.
UNKNOWN = "not known"


@dataclass(frozen=True)
class Fact(Generic[_T]):
    """A value with its origin, as `print(adapted)` shows it."""

    value: _T
    origin: str


def unknown() -> Fact[None]:
    """Nothing says it."""
    return Fact(None, UNKNOWN)
