"""Maps as pictures: pure functions from numbers to colours, and thin figures over them.

    from captum_ext.visualize import save_figure, show_maps
    save_figure(show_maps({"IG": maps, "LPI": others}, images, model=adapted), "maps.png")

`colorize`, `overlay`, `outline`, `symmetric_limits` and `share_outside` take tensors and arrays, return arrays and need
no matplotlib; the functions `show_...` (extra `plot`) return a matplotlib `Figure` that pyplot does not know. Maps that
stand beside each other have one scale; zero is white, and the darker, the larger. Every name is shown as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from captum_ext.core.lazy import on_first_use

if TYPE_CHECKING:
    from captum_ext.visualize.arrays import Outside, colorize, outline, overlay, share_outside, symmetric_limits
    from captum_ext.visualize.cams import show_cam_on_image
    from captum_ext.visualize.figures import show_comparison, show_errors, show_maps
    from captum_ext.visualize.forest import Effect, ForestLine, Mark, show_forest
    from captum_ext.visualize.lines import show_curves, show_path
    from captum_ext.visualize.looks import Caption, Look, figure_pixels, save_figure
    from captum_ext.visualize.palettes import PALETTES, Palette
    from captum_ext.visualize.ranks import show_ranks
    from captum_ext.visualize.scores import show_scores
    from captum_ext.visualize.segments import show_segments
    from captum_ext.visualize.slices import show_slices
    from captum_ext.visualize.tokens import show_tokens

__all__ = [
    "PALETTES",
    "Caption",
    "Effect",
    "ForestLine",
    "Look",
    "Mark",
    "Outside",
    "Palette",
    "colorize",
    "figure_pixels",
    "outline",
    "overlay",
    "save_figure",
    "share_outside",
    "show_cam_on_image",
    "show_comparison",
    "show_curves",
    "show_errors",
    "show_forest",
    "show_maps",
    "show_path",
    "show_ranks",
    "show_scores",
    "show_segments",
    "show_slices",
    "show_tokens",
    "symmetric_limits",
]

# Imported on first use: whoever only needs the colours, as the page that shows a run, waits for no torch.
_HOMES = {
    "Outside": "captum_ext.visualize.arrays",
    "colorize": "captum_ext.visualize.arrays",
    "outline": "captum_ext.visualize.arrays",
    "overlay": "captum_ext.visualize.arrays",
    "share_outside": "captum_ext.visualize.arrays",
    "symmetric_limits": "captum_ext.visualize.arrays",
    "show_cam_on_image": "captum_ext.visualize.cams",
    "show_comparison": "captum_ext.visualize.figures",
    "show_errors": "captum_ext.visualize.figures",
    "show_maps": "captum_ext.visualize.figures",
    "Effect": "captum_ext.visualize.forest",
    "ForestLine": "captum_ext.visualize.forest",
    "Mark": "captum_ext.visualize.forest",
    "show_forest": "captum_ext.visualize.forest",
    "show_curves": "captum_ext.visualize.lines",
    "show_path": "captum_ext.visualize.lines",
    "Caption": "captum_ext.visualize.looks",
    "Look": "captum_ext.visualize.looks",
    "figure_pixels": "captum_ext.visualize.looks",
    "save_figure": "captum_ext.visualize.looks",
    "PALETTES": "captum_ext.visualize.palettes",
    "Palette": "captum_ext.visualize.palettes",
    "show_ranks": "captum_ext.visualize.ranks",
    "show_scores": "captum_ext.visualize.scores",
    "show_segments": "captum_ext.visualize.segments",
    "show_slices": "captum_ext.visualize.slices",
    "show_tokens": "captum_ext.visualize.tokens",
}

__getattr__, __dir__ = on_first_use(__name__, _HOMES)
