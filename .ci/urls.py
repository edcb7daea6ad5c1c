"""The addresses that PyPI shows, for the build: of the repository that a release is made in, which no file names.

`release.yml` sets PROJECT_URL and DOCS_URL. Without them there are none. A wheel that is built from an sdist has the
sdist's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


def urls(environment: Mapping[str, str]) -> dict[str, str]:
    found = {}
    if repository := environment.get("PROJECT_URL", "").rstrip("/"):
        found = {
            "Source": repository,
            "Issues": f"{repository}/issues",
            "Changelog": f"{repository}/blob/main/CHANGELOG.md",
        }
    if documentation := environment.get("DOCS_URL", "").rstrip("/"):
        found["Documentation"] = documentation
    return found


class Addresses(MetadataHookInterface):
    """What hatchling calls."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in `project.urls`."""
        metadata["urls"] = urls(os.environ)
