"""Segments that need no score: those in cells without mass, in which nothing is redistributed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from captum_ext.upsampling.neighbourhoods import Cells
from captum_ext.upsampling.scoring import Segments, unit_scores


def scored_where_mass_is(labels: Tensor, maps: list[Tensor], score: Callable[[Tensor], Segments]) -> list[Tensor]:
    """Scores (H, W) in [0, 1] of each image's segments that have mass in any of the maps, by these alone; else 0.

    `labels` are (N, H, W) and maps (N, h, w) of any grids, in other dimensions likewise; `score` gives raw scores of
    all segments of labels, and gets those of an image that have no mass as one.
    """
    shown = []
    parts = [_merged(*pair) for pair in zip(labels, _has_mass(labels, maps), strict=True)]
    raw = score(torch.stack([part for part, _ in parts]))
    for (part, has_rest), scores in zip(parts, raw, strict=True):
        own = scores[1:] if has_rest else scores
        unit = unit_scores([own])[0] if len(own) else own
        shown.append((torch.cat([torch.zeros_like(scores[:1]), unit]) if has_rest else unit)[part])
    return shown


def _has_mass(labels: Tensor, maps: list[Tensor]) -> Tensor:
    """Which pixels (N, H, W) lie in a cell with mass of any map."""
    found = torch.zeros_like(labels, dtype=torch.bool)
    for one in maps:
        cells = Cells(tuple(one.shape[1:]), tuple(labels.shape[1:]), labels.device)
        found |= cells.spread((one != 0).to(labels.device))
    return found


def _merged(label: Tensor, has_mass: Tensor) -> tuple[Tensor, bool]:
    """Labels (H, W) from zero in which all segments without mass are segment zero, and whether there are any."""
    wanted = torch.zeros(int(label.max()) + 1, dtype=torch.bool, device=label.device)
    wanted[label[has_mass]] = True
    if bool(wanted.all()):
        return label, False
    return torch.where(wanted, wanted.long().cumsum(0), 0)[label], True
