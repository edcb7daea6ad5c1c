"""The kinds of cases that a campaign tries, by name."""

from types import ModuleType

KINDS: dict[str, ModuleType] = {}
