"""What a comparison of methods comes down to, as a sentence with numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from captum_ext.core.text import shown


class Kind(str, Enum):
    """The three answers.

    Attributes:
        USE: one method is better than all others, and than its controls.
        TIED: several methods beat their controls, and cannot be told apart.
        NONE: no method beats its controls.
    """

    USE = "use"
    TIED = "cannot be told apart"
    NONE = "none beats its controls"


@dataclass(frozen=True)
class Standing:
    """What became of one method.

    Attributes:
        name: of the method.
        n: images with a score.
        mean: of the scores that decide.
        cost: gradients for an image, forwards counted by their share; None where it is not known.
        dropped_by: the leader that was significantly better; None: it was not dropped.
        dropped_after: images that were seen by then.
        beats_controls: whether it is significantly better than each of its controls, or a worse method is.
        unbeaten: controls that it is not significantly better than, if it does not beat them all.
        nearest_control: the control that is hardest to beat; None where there are none.
        above_control: mean difference from that control.
        optimises: criteria that decide and that the method itself optimises.
    """

    name: str
    n: int
    mean: float
    cost: float | None = None
    dropped_by: str | None = None
    dropped_after: int | None = None
    beats_controls: bool = True
    unbeaten: tuple[str, ...] = ()
    nearest_control: str | None = None
    above_control: float = float("nan")
    optimises: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """One of three answers; `str(answer)` is a sentence.

    Attributes:
        kind: which.
        methods: the method to use; or those that are left, beat their controls and cannot be told apart, the cheapest
            first; or none.
        standings: of all methods, the best mean first.
        n_images: images that were looked at.
        n_available: images that there were.
        n_looks: looks at the data.
        alpha: the error over all looks and methods.
        controls: what has to be beaten.
        left_out: method or control -> why it does not count.
        notes: further sentences, such as what the answer would be without a criterion that a method optimises.
    """

    kind: Kind
    methods: tuple[str, ...]
    standings: tuple[Standing, ...]
    n_images: int
    n_available: int
    n_looks: int
    alpha: float
    controls: tuple[str, ...] = ()
    left_out: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()

    def standing(self, name: str) -> Standing:
        """That of a method.

        Args:
            name: of the method.
        """
        return next(one for one in self.standings if one.name == name)

    @property
    def sentence(self) -> str:
        """The answer without its notes."""
        if self.kind is Kind.USE:
            return self._use(self.methods[0])
        return self._tied() if self.kind is Kind.TIED else self._none()

    def __str__(self) -> str:
        return " ".join([self.sentence, *self.notes])

    def _use(self, name: str) -> str:
        best = self.standing(name)
        others = [one for one in self.standings if one.name != name]
        level = f"{self.alpha:.3g} over all {self.n_looks} looks and all methods"
        against = f"the {len(others)} other methods" if len(others) > 1 else "the other method"
        said = f"Use {shown(name)}. On {self._seen()} it is significantly better than "
        said += f"each of {against}" if len(others) > 1 else against
        if not others:
            said = f"Use {shown(name)}, the only method: on {self._seen()} it is significantly better"
        else:
            near = others[0]
            said += f" (mean score {best.mean:.3g}, next {shown(near.name)} with {near.mean:.3g}"
            said += f"; paired signed-rank tests, {level})"
        if self.controls:
            said += f"{' and' if others else ''} than its controls ({_listed(self.controls)}"
            said += f"; {level})" if not others else ")"
        return said + "."

    def _tied(self) -> str:
        left = [one.name for one in self.standings if one.dropped_by is None]
        unproved = [name for name in left if name not in self.methods]
        cheapest = self.standing(self.methods[0])
        ordered = [*self.methods, *unproved]
        said = f"{_listed(ordered)} cannot be told apart on {self._seen()}; "
        if len(self.methods) == 1:
            said += f"{shown(self.methods[0])} is the only one of them that beats its controls"
        elif unproved:
            said += (
                f"of those that beat their controls, {_listed(self.methods)}, {shown(cheapest.name)} is the cheapest"
            )
        else:
            said += f"{shown(cheapest.name)} is the cheapest"
        said += f" ({cheapest.cost:.3g} gradients an image)" if cheapest.cost is not None else ""
        n_worse = len(self.standings) - len(left)
        worse = {0: "", 1: " 1 other method is worse."}.get(n_worse, f" {n_worse} other methods are worse.")
        return f"{said}.{worse}"

    def _none(self) -> str:
        count = len(self.standings)
        who = (
            f"None of the {count} methods beats its controls" if count > 1 else "The method does not beat its controls"
        )
        best = self.standings[0]
        said = f"{who} ({_listed(self.controls)}) on {self._seen()}"
        if best.nearest_control is None:
            return f"{said}."
        difference = f"mean difference from {shown(best.nearest_control)} {best.above_control:+.2g}"
        return f"{said}: {shown(best.name)}, the best, is not better than {_listed(best.unbeaten)} ({difference})."

    def _seen(self) -> str:
        if self.n_images == self.n_available:
            return f"all {self.n_images} images"
        return f"{self.n_images} of {self.n_available} images"


def _listed(names: Sequence[str]) -> str:
    shorter = [shown(name) for name in names]
    return shorter[0] if len(shorter) == 1 else f"{', '.join(shorter[:-1])} and {shorter[-1]}"


def about_controls(standings: Sequence[Standing]) -> list[str]:
    """Sentences about methods that do not beat all of their controls, together where it is the same ones."""
    failed: dict[tuple[str, ...], list[str]] = {}
    for one in standings:
        if not one.beats_controls:
            failed.setdefault(one.unbeaten, []).append(one.name)
    return [_about_controls(controls, names) for controls, names in failed.items()]


def _about_controls(controls: Sequence[str], names: Sequence[str]) -> str:
    one, its = len(names) == 1, "control" if len(controls) == 1 else "controls"
    return f"{_listed(names)} {'does' if one else 'do'} not beat {'its' if one else 'their'} {its} {_listed(controls)}."


def mean_of(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """The mean of the numbers that there are; NaN where there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
