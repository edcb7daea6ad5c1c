"""Signed ranks against SciPy, and the elimination against a literal one that shares no code with it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from captum_ext.selection import boundaries
from captum_ext.selection.elimination import Elimination
from captum_ext.selection.signed_ranks import paired_z, signed_rank_z

# of scipy's before 1.15, about what is compared here: its number is the same
pytestmark = pytest.mark.filterwarnings("ignore:Sample size too small for normal approximation")

SPENT = 0.9


def scipys_z(differences):
    """SciPy's statistic without its correction, zeros and NaN left out."""
    changed = differences[np.isfinite(differences) & (differences != 0)]
    if not len(changed):
        return 0.0
    z = wilcoxon(changed, method="approx", correction=False).zstatistic
    return float(np.sign(np.sum(np.sign(changed) * _ranks(np.abs(changed)))) * abs(z))


def _ranks(values):
    return np.array([np.mean(np.flatnonzero(np.sort(values) == value)) + 1 for value in values])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4).map(lambda k: k / 2) | st.just(float("nan")), min_size=1, max_size=25))
def test_signed_ranks_are_scipys(values):
    differences = np.array(values)
    np.testing.assert_allclose(signed_rank_z(differences), scipys_z(differences), atol=1e-12)


def test_signed_ranks_of_many_rows_are_those_of_each():
    rows = np.random.default_rng(0).normal(size=(3, 4, 11))
    expected = [[scipys_z(row) for row in one] for one in rows]
    np.testing.assert_allclose(signed_rank_z(rows), expected, atol=1e-12)


def literal(scores, controls, looks, n_images, alpha=0.05):
    """One table (K, n), look by look, in plain words: who is left, who has beaten the controls."""
    alpha *= SPENT
    fractions = [look / n_images for look in looks]
    active, passed, dropped_by = set(range(len(scores))), set(), {}
    for number, look in enumerate(looks):

        def z(one, other):
            return scipys_z(one[:look] - other[:look])  # noqa: B023

        def limit(level):
            return boundaries(level, fractions)[number]  # noqa: B023

        def led():
            total = {k: sum(z(scores[k], scores[j]) for j in active if j != k) for k in sorted(active)}  # noqa: B023
            leader = max(total, key=total.get)
            return leader, sorted(((z(scores[leader], scores[j]), j) for j in active - {leader}), reverse=True)  # noqa: B023

        again = True
        while again:
            leader, ahead = led()
            again = False
            for place, (value, j) in enumerate(ahead):
                m = len(ahead) - place
                if value < limit(alpha / (m * (m + 1))):
                    break
                active.discard(j)
                dropped_by[j] = leader
                again = True
        leader, ahead = led()
        if ahead and min(ahead)[0] >= limit(alpha / 2):
            dropped_by.update(dict.fromkeys([j for _, j in ahead], leader))
            active = {leader}
        grows = True
        while grows:
            left = [k for k in range(len(scores)) if k not in passed]
            least = sorted(((min(z(scores[k], c) for c in controls), k) for k in left), reverse=True)
            before = len(passed)
            for place, (value, k) in enumerate(least):
                if value < limit(alpha / (2 * (len(least) - place))):
                    break
                passed.add(k)
            for k in list(passed):
                while k in dropped_by:
                    k = dropped_by[k]
                    passed.add(k)
            grows = len(passed) > before
    return active, passed, dropped_by


@pytest.mark.parametrize("seed", range(12))
def test_the_elimination_is_the_literal_one(seed):
    generator = np.random.default_rng(seed)
    n_methods, n_images = int(generator.integers(1, 6)), int(generator.integers(10, 45))
    scores = generator.normal(size=(n_methods, n_images)) + generator.uniform(0, 2.5, size=(n_methods, 1))
    controls = generator.normal(size=(2, n_images)) + 0.4
    looks = [*range(5, n_images, 5), n_images]
    race = Elimination(1, n_methods, looks, n_images)
    for number, look in enumerate(looks):
        race.look(number, scores[None, :, :look], controls[None, :, :look])
    active, passed, dropped_by = literal(scores, controls, looks, n_images)
    assert set(np.flatnonzero(race.active[0])) == active
    assert set(np.flatnonzero(race.passed[0])) == passed
    assert {k: int(by) for k, by in enumerate(race.dropped_by[0]) if by >= 0} == dropped_by


def test_tables_side_by_side_are_each_decided_alone():
    scores = np.random.default_rng(1).normal(size=(7, 4, 30)) + np.linspace(0, 1.5, 4)[:, None]
    looks = [10, 20, 30]
    together = Elimination(7, 4, looks, 30)
    for number, look in enumerate(looks):
        together.look(number, scores[..., :look])
    for table in range(7):
        alone = Elimination(1, 4, looks, 30)
        for number, look in enumerate(looks):
            alone.look(number, scores[table : table + 1, :, :look])
        np.testing.assert_array_equal(alone.dropped_by[0], together.dropped_by[table])


def test_a_method_alone_is_left_and_its_statistic_against_itself_is_nothing():
    assert paired_z(np.ones((1, 1, 5))).tolist() == [[[0.0]]]
    race = Elimination(1, 1, [5], 5)
    race.look(0, np.ones((1, 1, 5)))
    assert race.decided.all()


def test_a_simulation_without_a_difference_rarely_names_a_method():
    from examples.benchmarks.measurements.choosing import Scene, by_signed_ranks

    for methods in (2, 3):
        assert by_signed_ranks(Scene(methods, 40), 2000).used <= 0.05
    assert by_signed_ranks(Scene(1, 40, controls=3), 2000).used <= 0.05
