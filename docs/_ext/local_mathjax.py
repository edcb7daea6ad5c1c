"""MathJax from an installed package, copied into the site; pages that have a formula load it from there."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError

HERE = "_static/mathjax"


def setup(app: Any) -> dict[str, bool]:
    app.setup_extension("sphinx.ext.mathjax")
    app.connect("config-inited", _point)
    app.connect("build-finished", _copy)
    return {"parallel_read_safe": True}


def _point(app: Any, config: Any) -> None:
    config.mathjax_path = "mathjax/tex-chtml.js"
    config.mathjax3_config = {
        "options": {"enableMenu": False},
        "chtml": {"displayAlign": "left", "displayIndent": "2em"},
    }


def _copy(app: Any, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        source = _package()
        target = Path(app.outdir) / HERE
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "tex-chtml.js", target)
        fonts = "output/chtml/fonts/woff-v2"
        shutil.copytree(source / fonts, target / fonts, dirs_exist_ok=True)


def _package() -> Path:
    """The folder of MathJax inside of the package django-static-mathjax, which needs no Django."""
    found = importlib.util.find_spec("mathjax")
    if found is None or not found.submodule_search_locations:
        raise ExtensionError("MathJax is not installed: pip install django-static-mathjax, or the extra docs")
    return Path(found.submodule_search_locations[0]) / "static" / "mathjax" / "es5"
