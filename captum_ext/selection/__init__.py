"""Which explanation to trust here: methods compared on a model and its images, with error control."""

from __future__ import annotations

from typing import TYPE_CHECKING

from captum_ext.core.lazy import on_first_use

if TYPE_CHECKING:
    from captum_ext.selection.answers import Answer, Kind, Standing
    from captum_ext.selection.candidates import CANDIDATES, Candidate
    from captum_ext.selection.checks import CHECKS
    from captum_ext.selection.choice import Choice
    from captum_ext.selection.choosing import choose
    from captum_ext.selection.controls import CONTROLS
    from captum_ext.selection.criteria import CRITERIA, Criterion
    from captum_ext.selection.deciding import decide
    from captum_ext.selection.difference import Difference
    from captum_ext.selection.diffing import DiffOptions, diff
    from captum_ext.selection.options import ChooseOptions
    from captum_ext.selection.setting import Setting
    from captum_ext.selection.similarity import map_similarity
    from captum_ext.selection.spending import boundaries

__all__ = [
    "CANDIDATES",
    "CHECKS",
    "CONTROLS",
    "CRITERIA",
    "Answer",
    "Candidate",
    "Choice",
    "ChooseOptions",
    "Criterion",
    "DiffOptions",
    "Difference",
    "Kind",
    "Setting",
    "Standing",
    "boundaries",
    "choose",
    "decide",
    "diff",
    "map_similarity",
]

_HOMES = {
    "CHECKS": "captum_ext.selection.checks",
    "CANDIDATES": "captum_ext.selection.candidates",
    "CONTROLS": "captum_ext.selection.controls",
    "CRITERIA": "captum_ext.selection.criteria",
    "Candidate": "captum_ext.selection.candidates",
    "Choice": "captum_ext.selection.choice",
    "ChooseOptions": "captum_ext.selection.options",
    "Criterion": "captum_ext.selection.criteria",
    "DiffOptions": "captum_ext.selection.diffing",
    "Difference": "captum_ext.selection.difference",
    "diff": "captum_ext.selection.diffing",
    "map_similarity": "captum_ext.selection.similarity",
    "Setting": "captum_ext.selection.setting",
    "choose": "captum_ext.selection.choosing",
    "Answer": "captum_ext.selection.answers",
    "Kind": "captum_ext.selection.answers",
    "Standing": "captum_ext.selection.answers",
    "boundaries": "captum_ext.selection.spending",
    "decide": "captum_ext.selection.deciding",
}

__getattr__, __dir__ = on_first_use(__name__, _HOMES)
