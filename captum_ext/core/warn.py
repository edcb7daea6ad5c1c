"""Warnings that point at the caller's own line, however deep below it they arise."""

from __future__ import annotations

import sys
import warnings

from captum_ext.core.text import shown

_INSIDE = ("captum_ext.", "captum.")


def warn_caller(message: str) -> None:
    """Warn at the innermost line that is neither this package's nor Captum's; names of others in it are shown."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(shown(message), UserWarning, stacklevel=level)
