"""Maps as pictures: pure functions from numbers to colours, and thin figures over them.

    from captum_ext.visualize import save_figure, show_maps
    save_figure(show_maps({"IG": maps, "LPI": others}, images, model=adapted), "maps.png")

`colorize`, `overlay`, `outline`, `symmetric_limits` and `share_outside` take tensors and arrays, return arrays and need
no matplotlib; the functions `show_...` (extra `plot`) return a matplotlib `Figure` that pyplot does not know. Maps that
stand beside each other have one scale; zero is white, and the darker, the larger. Every name is shown as it is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captum_ext.visualize.arrays import Outside, colorize, outline, overlay, share_outside, symmetric_limits
    from captum_ext.visualize.cams import show_cam_on_image
    from captum_ext.visualize.figures import show_comparison, show_maps
    from captum_ext.visualize.lines import show_curves, show_path
    from captum_ext.visualize.looks import Caption, Look, save_figure
    from captum_ext.visualize.palettes import PALETTES, Palette
    from captum_ext.visualize.scores import show_scores
    from captum_ext.visualize.segments import show_segments
    from captum_ext.visualize.slices import show_slices
    from captum_ext.visualize.tokens import show_tokens

__all__ = [
    "PALETTES",
    "Caption",
    "Look",
    "Outside",
    "Palette",
    "colorize",
    "outline",
    "overlay",
    "save_figure",
    "share_outside",
    "show_cam_on_image",
    "show_comparison",
    "show_curves",
    "show_maps",
    "show_path",
    "show_scores",
    "show_segments",
    "show_slices",
    "show_tokens",
    "symmetric_limits",
]

# Imported on first use: whoever only needs the colours, as the page that shows a run, waits for no torch.
_HOMES = {
    "Outside": "arrays",
    "colorize": "arrays",
    "outline": "arrays",
    "overlay": "arrays",
    "share_outside": "arrays",
    "symmetric_limits": "arrays",
    "show_cam_on_image": "cams",
    "show_comparison": "figures",
    "show_maps": "figures",
    "show_curves": "lines",
    "show_path": "lines",
    "Caption": "looks",
    "Look": "looks",
    "save_figure": "looks",
    "PALETTES": "palettes",
    "Palette": "palettes",
    "show_scores": "scores",
    "show_segments": "segments",
    "show_slices": "slices",
    "show_tokens": "tokens",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
