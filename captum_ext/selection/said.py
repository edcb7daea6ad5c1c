"""Warnings of many calls, each kind of which is said once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from captum_ext.core.text import shown
from captum_ext.core.warn import warn_caller

_NUMBERS = re.compile(r"[\d.,]*\d(?: of [\d.,]*\d)?(?:, \d+)*")


class Said:
    """What was warned of, by kind: messages that differ in numbers alone are of one."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[str, list[str]]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Keep the warnings of a method inside the block; other classes of warnings than the caller's pass."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for one in caught:
            if issubclass(one.category, UserWarning):
                self._keep(str(one.message), name)
            else:
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)

    def tell(self) -> None:
        """Warn of each kind once, with the methods that it is of."""
        for message, names in self._kinds.values():
            warn_caller(f"{', '.join(shown(name) for name in names)}: {message}")
        self._kinds = {}

    def _keep(self, message: str, name: str) -> None:
        if "samples have no row" in message:  # which the table says
            return
        kind = _NUMBERS.sub("#", message)
        names = self._kinds.setdefault(kind, (message, []))[1]
        if name not in names:
            names.append(name)
