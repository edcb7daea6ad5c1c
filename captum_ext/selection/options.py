"""How a comparison of methods goes, whatever it compares."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from captum_ext.core.checks import check_count, check_number, check_positive_int, check_seed, describe
from captum_ext.dataset.run_options import OnDone
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.selection.criteria import CRITERIA, DECIDING, check_criteria

_MOST_GRADIENTS = 100_000


@dataclass(frozen=True)
class ChooseOptions:
    """How `choose` goes about it.

    Attributes:
        gradients: budget of each map; a pass forwards counts as 0.4 of one forwards and backwards.
        seconds: budget of each map as it is measured here, instead of `gradients`; None: that counts.
        decide_by: criteria whose mean decides; see `CRITERIA`.
        beside: criteria that are computed and shown, and do not decide.
        group_size: images between two looks; more where there would be more than 20 looks.
        alpha: the chance, over all looks and methods, that a method is called the best which is not.
        seed: of random points, maps, masks and weights, from 0 to 2^63 - 1.
        n_checked: images on which the methods in the answer are looked at for noise, seeds, rounding, sanity and
            completeness (`CHECKS`), which does not decide; 0: none.
        masks: where each image's object is, by index as for `captum_ext.dataset.OnMasks`; None: not known. With them,
            "pointing_game", "concentration" and "iou" are computed, too.
        map_size: side of the maps that are kept. None: 56 where an image is larger, else as they are.
        show_progress: show a bar of the images; or a function of the numbers of done and of all images.

    Raises:
        ArgumentError, ArgumentTypeError: a field that cannot be used, named; a budget below one gradient.

    Example:
        >>> from captum_ext.selection import ChooseOptions
        >>> ChooseOptions(gradients=30, decide_by=("diff_id",)).beside
        ('insertion', 'deletion')
    """

    gradients: float = 20
    seconds: float | None = None
    decide_by: tuple[str, ...] = DECIDING
    beside: tuple[str, ...] | None = None
    group_size: int = 5
    alpha: float = 0.05
    seed: int = 0
    n_checked: int = 3
    masks: Any = field(default=None, repr=False, compare=False)
    map_size: int | None = None
    show_progress: bool | OnDone = True

    def __post_init__(self) -> None:
        expected = f"a budget of 1 to {_MOST_GRADIENTS:,} gradients"
        allowed = lambda value: 1 <= value <= _MOST_GRADIENTS  # noqa: E731
        object.__setattr__(self, "gradients", check_number("gradients", self.gradients, expected, allowed))
        if self.seconds is not None:
            seconds = check_number("seconds", self.seconds, "seconds above 0", lambda value: 0 < value < math.inf)
            object.__setattr__(self, "seconds", seconds)
        object.__setattr__(self, "decide_by", check_criteria("decide_by", self.decide_by, 1))
        beside = DECIDING if self.beside is None else check_criteria("beside", self.beside, 0)
        located = () if self.masks is None else (name for name, criterion in CRITERIA.items() if criterion.on_masks)
        names = dict.fromkeys((*beside, *located))
        object.__setattr__(self, "beside", tuple(name for name in names if name not in self.decide_by))
        without = [name for name in self.criteria if CRITERIA[name].on_masks and self.masks is None]
        if without:
            raise ArgumentError("masks", f"given for {', '.join(without)}", "None")
        check_positive_int("group_size", self.group_size)
        alpha = check_number("alpha", self.alpha, "a level between 0 and 1", lambda value: 0 < value < 1)
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "seed", check_seed("seed", self.seed))
        object.__setattr__(self, "n_checked", check_count("n_checked", self.n_checked))
        if self.map_size is not None:
            check_positive_int("map_size", self.map_size)
        if not callable(self.show_progress) and not isinstance(self.show_progress, bool):
            raise ArgumentTypeError("show_progress", "True, False or a function", describe(self.show_progress))

    @property
    def criteria(self) -> tuple[str, ...]:
        """All that are computed, in one order."""
        asked = {*self.decide_by, *(self.beside or ())}
        return tuple(name for name in CRITERIA if name in asked)
