"""Optional dependencies: imported where they are used, with an error that names the extra."""

from __future__ import annotations

import importlib
from types import ModuleType

from captum_ext.exceptions import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, which the extra `captum-ext[extra]` installs.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is needed here. Install it with: pip install 'captum-ext[{extra}]'"
        ) from error
