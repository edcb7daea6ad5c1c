"""A decision from a table of scores: the same, look by look, as `choose` makes while it computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captum_ext.core.checks import check_number, check_positive_int, describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.selection.answers import Answer, Kind, Standing, about_controls, mean_of
from captum_ext.selection.elimination import Elimination
from captum_ext.selection.signed_ranks import Numbers, signed_rank_z

FEWEST = 5  # images, with fewer of which no difference could be seen
MOST_LOOKS = 20
_MOST_UNDEFINED = 0.1  # share of the images on which a method may have no score


def decide(
    scores: Mapping[str, Any],
    controls: Mapping[str, Any] | None = None,
    *,
    costs: Mapping[str, float] | None = None,
    group_size: int = 5,
    alpha: float = 0.05,
    optimises: Mapping[str, Sequence[str]] | None = None,
) -> Answer:
    r"""Which method is best, from scores of the same images, looked at in groups as if they came one after another.

    After each group, the leader is compared with each other method by Wilcoxon's signed-rank test of the paired
    differences, and methods that are significantly worse are dropped. The boundaries of all looks together keep the
    level (`boundaries`), and p-values are corrected for all pairs that are left, step by step as methods are dropped
    (Holm): where no method is better than all others, one is called so in at most `alpha` of all cases, and where one
    is, it is dropped in at most that many. `docs/choose.md` has the simulation.

    Args:
        scores: method -> scores (N,), higher is better; NaN where a method has none. An image without a score does not
            count in that method's comparisons; a method without scores on more than a tenth of the images is left out.
        controls: control -> scores (N,), all of which a method has to beat to be the answer. None: nothing.
        costs: method -> gradients for an image, by which one of several equals is named.
        group_size: images between two looks; more where there would be more than 20 looks.
        alpha: see above.
        optimises: method -> criteria that decide and that the method itself optimises, which the answer then says.

    Returns:
        The answer, "use X", "X, Y, Z cannot be told apart", or "none beats its controls", with numbers.

    Raises:
        ArgumentError: fewer than 5 images, no method, numbers of images that differ, or no image with a score.
        ArgumentTypeError: no numbers.

    Example:
        >>> from captum_ext.selection import decide
        >>> scores = {"IG": [0.1, 0.3, 0.2, 0.4] * 5, "LPI": [0.5, 0.8, 0.9, 0.7] * 5}
        >>> answer = decide(scores, {"random": [0.0] * 20})
        >>> answer.kind.value, answer.methods, answer.n_images
        ('use', ('LPI',), 15)
    """
    alpha = check_number("alpha", alpha, "a level between 0 and 1", lambda value: 0 < value < 1)
    table, against = _columns("scores", scores), _columns("controls", controls or {})
    counts = {len(column) for column in (*table.values(), *against.values())}
    if not table:
        raise ArgumentError("scores", "of at least one method", "none")
    if len(counts) > 1:
        raise ArgumentError(
            "scores", "one score of each image for every method and control", f"{sorted(counts)} scores"
        )
    n_images = counts.pop()
    race = Race(tuple(table), tuple(against), n_images, group_size=group_size, alpha=alpha)
    for look in race.looks:
        race.look({name: column[:look] for name, column in table.items()}, {n: c[:look] for n, c in against.items()})
        if race.decided:
            break
    return race.answer(costs or {}, optimises or {})


def looks_of(n_images: int, group_size: int) -> list[int]:
    """Images that are seen at each look: after each group, at most `MOST_LOOKS`.

    Raises:
        ArgumentError: too few images.
    """
    group_size = check_positive_int("group_size", group_size)
    if n_images < FEWEST:
        raise ArgumentError(
            "dataset", f"of at least {FEWEST} images, for a comparison that can show anything", str(n_images)
        )
    group_size = max(group_size, -(-n_images // MOST_LOOKS))
    return [*range(group_size, n_images, group_size), n_images]


class Race:
    """A comparison under way.

    Args:
        methods: their names.
        controls: their names.
        n_images: that there are.
        group_size: see `decide`.
        alpha: see `decide`.

    Attributes:
        looks: images that are seen at each look.
    """

    def __init__(
        self, methods: Sequence[str], controls: Sequence[str], n_images: int, *, group_size: int, alpha: float
    ) -> None:
        self.methods, self.controls, self.n_images, self.alpha = tuple(methods), tuple(controls), n_images, alpha
        self.looks = looks_of(n_images, group_size)
        self._state = Elimination(1, len(self.methods), self.looks, n_images, alpha)
        self._scores: dict[str, Numbers] = {}
        self._against: dict[str, Numbers] = {}
        self._left_out: dict[str, str] = {}
        self._counted: NDArray[np.bool_] = np.zeros(0, dtype=bool)  # images on which any has a score
        self._number = 0

    @property
    def decided(self) -> bool:
        """Whether nothing more can change: one method is left, and beats its controls."""
        return bool(self._state.decided[0])

    @property
    def n_seen(self) -> int:
        """Images at the last look."""
        return self.looks[self._number - 1] if self._number else 0

    @property
    def active(self) -> tuple[str, ...]:
        """Methods that are left."""
        return tuple(name for name, left in zip(self.methods, self._state.active[0], strict=True) if left)

    def leave_out(self, name: str, why: str) -> None:
        """A method that cannot go on, or a control that is none."""
        self._left_out[name] = why
        if name in self.methods:
            self._state.leave_out(self.methods.index(name))

    def look(self, scores: Mapping[str, Numbers], controls: Mapping[str, Numbers]) -> None:
        """All scores of the images so far, at the next look; a method that was dropped may have fewer."""
        n_seen = self.looks[self._number]
        self._scores = {name: _filled(scores.get(name, ()), n_seen) for name in self.methods}
        self._against = {name: _filled(controls.get(name, ()), n_seen) for name in self.controls}
        some = [column for one in (self._scores, self._against) for column in one.values()]
        self._counted = np.logical_or.reduce([np.isfinite(column) for column in some])
        if self._counted.any():
            for name in self.active:
                self._leave_out_undefined(name, self._scores[name])
            for name in self.controls:
                self._leave_out_undefined(name, self._against[name])
        against = [column for name, column in self._against.items() if name not in self._left_out]
        together = np.stack([self._scores[name] for name in self.methods])[None]
        self._state.look(self._number, together, np.stack(against)[None] if against else None)
        self._number += 1

    def answer(self, costs: Mapping[str, float], optimises: Mapping[str, Sequence[str]]) -> Answer:
        """What can be said after the looks so far.

        Raises:
            ArgumentError: no method has scores.
        """
        counted = [name for name in self.methods if name not in self._left_out]
        if not counted:
            received = "; ".join(f"{name}: {why}" for name, why in self._left_out.items())
            raise ArgumentError("methods", "with at least one that has scores on these images", received)
        if not self._counted.any():
            expected = "of images on which the criteria that decide are defined"
            raise ArgumentError("dataset", expected, f"{self.n_seen} on which no method has a score")
        standings = [self._standing(name, costs.get(name), tuple(optimises.get(name, ()))) for name in counted]
        standings.sort(key=lambda one: (one.dropped_by is not None, -one.mean))
        left = [one for one in standings if one.dropped_by is None]
        proved = [one for one in left if one.beats_controls]
        kind = Kind.NONE if not proved else Kind.USE if len(left) == 1 else Kind.TIED
        proved.sort(key=lambda one: (one.cost is None, one.cost or 0.0))
        controls = tuple(name for name in self.controls if name not in self._left_out)
        n_seen = self.n_seen
        notes = about_controls(standings) if kind is not Kind.NONE else []
        undefined = int((~self._counted).sum())
        if undefined:
            notes.append(f"On {undefined} of these images no method has a score: they do not count.")
        shared = (n_seen, self.n_images, len(self.looks), self.alpha, controls, dict(self._left_out), tuple(notes))
        return Answer(kind, tuple(one.name for one in proved), tuple(standings), *shared)

    def _leave_out_undefined(self, name: str, column: Numbers) -> None:
        counted = column[self._counted]
        undefined = int((~np.isfinite(counted)).sum())
        if undefined > max(_MOST_UNDEFINED * len(counted), 1) and name not in self._left_out:
            self.leave_out(name, f"no score on {undefined} of {len(counted)} images on which another has one")

    def _standing(self, name: str, cost: float | None, optimises: tuple[str, ...]) -> Standing:
        place, column = self.methods.index(name), self._scores[name]
        by, at = int(self._state.dropped_by[0, place]), int(self._state.dropped_at[0, place])
        against = [one for one in self.controls if one not in self._left_out]
        z = {one: float(signed_rank_z(column - self._against[one])) for one in against}
        nearest = min(z, key=lambda one: z[one], default=None)
        beats = bool(self._state.passed[0, place]) or not against
        limit = np.inf if beats else float(self._state.control_limit(self._number - 1)[0])
        unbeaten = () if beats else tuple(one for one in against if z[one] < limit or one == nearest)
        above = float("nan") if nearest is None else mean_of(column - self._against[nearest])
        return Standing(
            name=name,
            n=int(np.isfinite(column).sum()),
            mean=mean_of(column),
            cost=cost,
            dropped_by=None if by < 0 else self.methods[by],
            dropped_after=None if by < 0 else self.looks[at],
            beats_controls=beats,
            unbeaten=unbeaten,
            nearest_control=nearest,
            above_control=above,
            optimises=optimises,
        )


def _columns(argument: str, scores: Any) -> dict[str, Numbers]:
    """Scores by name as arrays (N,)."""
    if not isinstance(scores, Mapping):
        raise ArgumentTypeError(argument, "a mapping of names to scores", describe(scores))
    columns = {}
    for name, values in scores.items():
        label = f"{argument}[{name!r}]"
        try:
            column = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ArgumentTypeError(label, "numbers", describe(values)) from error
        if column.ndim != 1:
            raise ArgumentError(label, "one number for each image, (N,)", f"shape {column.shape}")
        columns[str(name)] = np.where(np.isfinite(column), column, np.nan)
    return columns


def _filled(values: Any, n_seen: int) -> Numbers:
    """Scores of the images so far, with NaN where there are none."""
    column = np.full(n_seen, np.nan)
    given = np.asarray(values, dtype=np.float64)[:n_seen]
    column[: len(given)] = given
    return column
