"""Which methods are left after each look: the statistics of `choose`, on tables of scores alone, many at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from captum_ext.selection.signed_ranks import Numbers, paired_z, signed_rank_z
from captum_ext.selection.spending import boundaries

Flags = NDArray[np.bool_]
_SPENT = 0.9  # of alpha: the rest is for what the normal distribution of signed ranks is off by


class Elimination:
    """Methods that are dropped, and methods that have beaten their controls, in S tables side by side.

    At a look, the leader is the method whose paired statistics against the others that are left have the largest sum.
    Of these m others those are dropped, the worst first, whose statistic exceeds the boundary of the one-sided level
    `alpha` / (m (m + 1)): a Bonferroni correction over all ordered pairs of what is left, which shrinks as methods are
    dropped (Holm's step-down with a leader that the same data have chosen). All others are dropped at once where each
    statistic exceeds the boundary of `alpha` / 2: that the winner of many is better than the next best is tested as one
    pair, two-sided (Gutmann and Maymin, "Is the Selected Population the Best?", Annals of Statistics 15, 1987, for
    independent normal populations; the simulation of `docs/choose.md` checks it for what this is). A method has beaten
    its controls once the smallest of its statistics against them exceeds the boundary of the one-sided level
    `alpha` / (2 m), m methods having not (Holm over the methods; all controls have to be beaten, which needs no
    correction). Boundaries are those of `boundaries`, so that all looks together keep the level; they spend nine tenths
    of `alpha`, and leave the rest for what the normal distribution of signed ranks is off by.

    Attributes:
        active: (S, K) methods that are left.
        passed: (S, K) methods that have beaten their controls, or a method that has.
        leader: (S,) the leader of the last look.
        dropped_by: (S, K) the leader that a method was dropped for; -1.
        dropped_at: (S, K) the look; -1.
    """

    def __init__(self, n_tables: int, n_methods: int, looks: Sequence[int], n_images: int, alpha: float = 0.05) -> None:
        fractions, alpha = [look / n_images for look in looks], _SPENT * alpha
        others = range(1, n_methods)
        # (looks, m): of m others, or of m methods that have not beaten their controls; none has no boundary
        self._of_pairs = _table([alpha / (m * (m + 1)) for m in others], fractions)
        self._of_controls = _table([alpha / (2 * m) for m in range(1, n_methods + 1)], fractions)
        self._counts = np.ones((n_tables, n_methods), dtype=bool)
        self.active = np.ones((n_tables, n_methods), dtype=bool)
        self.passed = np.zeros((n_tables, n_methods), dtype=bool)
        self.leader = np.zeros(n_tables, dtype=np.int64)
        self.dropped_by = np.full((n_tables, n_methods), -1)
        self.dropped_at = np.full((n_tables, n_methods), -1)

    def look(self, number: int, scores: Numbers, controls: Numbers | None = None) -> None:
        """Take the scores (S, K, n) of all images so far, and those of C controls (S, C, n), at a look."""
        z = paired_z(scores)
        while self._drop(number, z):  # with fewer that are left another may lead
            pass
        self._win(number, z)
        if controls is None:
            self.passed[:] = self._counts
            return
        least = np.min([signed_rank_z(scores - controls[:, [c]]) for c in range(controls.shape[1])], axis=0)
        self._pass(number, least)

    def leave_out(self, method: int) -> None:
        """A method that no longer counts, and is no longer corrected for."""
        self._counts[:, method] = self.active[:, method] = self.passed[:, method] = False

    def control_limit(self, number: int) -> Numbers:
        """(S,) what a statistic against a control has to exceed at a look, for the methods that have not passed."""
        left = (self._counts & ~self.passed).sum(1)
        limits: Numbers = self._of_controls[number, left]
        return limits

    @property
    def decided(self) -> Flags:
        """(S,) tables in which one method is left that has beaten its controls."""
        decided: Flags = (self.active.sum(1) == 1) & (self.active & self.passed).any(1)
        return decided

    def _drop(self, number: int, z: Numbers) -> bool:
        """One step; whether anything was dropped."""
        ahead, others = self._led(z)
        return self._out(number, _stepped_down(ahead, others, self._of_pairs[number]))

    def _win(self, number: int, z: Numbers) -> None:
        """Drop all others where the leader is ahead of each of them at the level of a single pair."""
        ahead, others = self._led(z)
        if self._of_pairs.shape[1] > 1:
            ahead_of_all = np.where(others, ahead, np.inf).min(1, keepdims=True) >= self._of_pairs[number, 1]
            self._out(number, others & ahead_of_all)

    def _led(self, z: Numbers) -> tuple[Numbers, Flags]:
        """(S, K) the statistics of the leader against the others that are left, and which these are."""
        tables = np.arange(len(z))
        among = np.where(self.active[:, None, :] & self.active[:, :, None], z, 0.0)
        self.leader = np.where(self.active, among.sum(2), -np.inf).argmax(1)
        others = self.active.copy()
        others[tables, self.leader] = False
        return np.where(others, z[tables, self.leader], -np.inf), others

    def _out(self, number: int, methods: Flags) -> bool:
        """Drop methods for the leader; whether there are any."""
        self.active &= ~methods
        self.dropped_by = np.where(methods, self.leader[:, None], self.dropped_by)
        self.dropped_at = np.where(methods, number, self.dropped_at)
        return bool(methods.any())

    def _pass(self, number: int, least: Numbers) -> None:
        """Methods that beat all controls, and those for which one was dropped that does."""
        while True:
            left = self._counts & ~self.passed
            found = _stepped_down(np.where(left, least, -np.inf), left, self._of_controls[number])
            for table, method in zip(*np.nonzero(self.passed | found), strict=True):
                better = self.dropped_by[table, method]
                if better >= 0:
                    found[table, better] = True
            if not (found & left).any():
                return
            self.passed |= found


def _table(levels: Sequence[float], fractions: Sequence[float]) -> Numbers:
    """(looks, 1 + levels) boundaries, the first column without one."""
    return np.stack([np.full(len(fractions), np.inf), *(boundaries(level, fractions) for level in levels)], axis=1)


def _stepped_down(z: Numbers, among: Flags, limits: Numbers) -> Flags:
    """(S, K) those of `among` whose statistics, the largest first, exceed the limit for as many as are left."""
    order = np.argsort(-z, axis=1, kind="stable")
    left = among.sum(1, keepdims=True) - np.arange(z.shape[1])
    exceeds = np.take_along_axis(z, order, 1) >= limits[np.clip(left, 0, len(limits) - 1)]
    exceeds = np.logical_and.accumulate(exceeds & (left > 0), axis=1)
    found = np.zeros_like(among)
    np.put_along_axis(found, order, exceeds, 1)
    return found
