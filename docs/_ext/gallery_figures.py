"""The figures of the gallery, what a block leaves under the name `figure`, which is none of pyplot's; and its order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

from captum_ext.visualize import save_figure

NAME = "figure"
FIRST = ("first_maps", "samp_and_its_control", "cam_upsampling", "words", "paired_comparison")


def place(script: str) -> tuple[int, str]:
    """Where a script stands: what a newcomer reads first comes first, what is not named last."""
    name = Path(script).stem.removeprefix("plot_")
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)


def scraped(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the figure of a block, once, and say where it is."""
    found = block_vars["example_globals"].pop(NAME, None)
    if found is None:
        return ""
    path = next(block_vars["image_path_iterator"])
    save_figure(found, path, dpi=100)
    title = Path(block_vars["src_file"]).read_text().split('"""')[1].strip().splitlines()[0]
    return str(figure_rst([path], gallery_conf["src_dir"], fig_titles=title))
