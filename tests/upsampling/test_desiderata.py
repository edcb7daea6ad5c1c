"""Desiderata: what the report says of upsamplers whose properties are known."""

import pytest
import torch

from captum_ext.upsampling import USU, InterpolationUpsampler, USUUpsampler, check_desiderata

# Which of D1 to D4 hold, by the definitions.
KNOWN = {
    "USU": (USUUpsampler(), (True, True, True, True)),
    "USU at a low temperature": (USUUpsampler(temperature=0.05), (True, True, True, True)),
    "power": (USUUpsampler(potential="power"), (True, True, False, True)),
    "log-odds": (USUUpsampler(potential="log-odds"), (True, True, False, True)),
    "global-mass": (USUUpsampler(redistribution="global-mass"), (False, True, True, False)),
    "global-area": (USUUpsampler(redistribution="global-area"), (False, True, True, False)),
    "nearest": (InterpolationUpsampler("nearest"), (True, True, False, True)),
    "bilinear": (InterpolationUpsampler("bilinear"), (False, False, False, False)),
    "bicubic": (InterpolationUpsampler("bicubic"), (False, False, False, False)),
    "lanczos": (InterpolationUpsampler("lanczos"), (False, False, False, False)),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize(("size", "grid"), [((56, 56), (7, 7)), ((23, 31), (4, 5))])
def test_each_upsampler_satisfies_what_its_definition_says(name, size, grid):
    upsampler, expected = KNOWN[name]
    report = check_desiderata(upsampler, size=size, grid=grid, n_cases=8)
    assert tuple(d.satisfied for d in (report.d1, report.d2, report.d3, report.d4)) == expected


# Which of D1-G and D4' hold, by theorem 6 and by the definitions.
RELAXED = {
    "usu": (True, True),
    "usu-paper": (True, True),
    "usu-fixed": (True, True),
    "usu-iwmr": (True, True),
    "nearest": (True, True),
    "bicubic": (False, False),
    "lanczos": (False, False),
}


@pytest.mark.parametrize("name", RELAXED)
@pytest.mark.parametrize(("size", "grid"), [((56, 56), (7, 7)), ((23, 31), (4, 5))])
def test_each_upsampler_satisfies_of_the_relaxed_desiderata_what_theorem_6_says(name, size, grid):
    report = check_desiderata(name, size=size, grid=grid, n_cases=8)
    assert (report.d1_g.satisfied, report.d4_prime.satisfied) == RELAXED[name]


@pytest.mark.parametrize("redistribution", ["global-mass", "global-area"])
def test_global_redistribution_loses_d1_and_d4_and_keeps_the_relaxed_ones(redistribution):
    report = check_desiderata(USU(redistribution=redistribution, importance_temperature=0.05), n_cases=8)
    assert report.d1.error > 0.1
    assert report.d4.error > 0.1
    assert report.d1_g.error < 1e-12
    assert report.d4_prime.error < 1e-12


def test_bilinear_interpolation_keeps_the_maps_mass_where_the_sizes_divide_and_is_not_semi_local():
    for size, kept in (((56, 56), True), ((23, 31), False)):
        report = check_desiderata("bilinear", size=size, grid=(7, 7), n_cases=8)
        assert report.d1_g.satisfied == kept
        assert not report.d4_prime.satisfied


class Altered:
    """Redistribution, and then what would violate one of the relaxed desiderata."""

    def __init__(self, alter):
        self.alter = alter

    def redistribute(self, coarse, score_map):
        return self.alter(USU().redistribute(coarse, score_map), coarse, score_map)


def test_what_breaks_one_relaxed_desideratum_is_found_and_by_how_much():
    doubled = check_desiderata(Altered(lambda fine, coarse, scores: 2 * fine), n_cases=4)
    assert doubled.d1_g.error == pytest.approx(1)
    assert doubled.d4_prime.satisfied
    # every map keeps its mass, but its cells do not get what their importance decides
    weighed = check_desiderata(
        Altered(lambda fine, _, scores: fine * scores * fine.sum() / (fine * scores).sum()), n_cases=1
    )
    assert weighed.d1_g.error > 0.01
    # shares within a cell that depend on the whole map's scores
    hotter = check_desiderata(
        Altered(lambda _, coarse, scores: USU(temperature=float(scores.mean())).redistribute(coarse, scores)),
        n_cases=4,
    )
    assert hotter.d1.satisfied
    assert hotter.d1_g.satisfied
    assert not hotter.d4_prime.satisfied


def test_the_papers_method_conserves_mass_to_1e_6_and_is_local():
    for preset in (USU.paper(), USU.fixed()):
        report = check_desiderata(preset)
        assert report.d1.error < 1e-6
        assert report.d4.satisfied
        assert report.d2.satisfied
        assert report.d3.satisfied


def test_cells_without_mass_do_not_make_the_report_undefined():
    report = check_desiderata(USU(redistribution="global-area", importance_temperature=1e-4), n_cases=8)
    for name in ("d1", "d2", "d4", "d1_g", "d4_prime"):
        assert getattr(report, name).error == pytest.approx(getattr(report, name).error)  # not NaN
    assert report.d1_g.satisfied
    assert report.d4_prime.satisfied


def test_d1_of_bilinear_interpolation_is_the_leaked_share_of_the_mass():
    coarse = torch.rand(32, 7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fine = InterpolationUpsampler("bilinear")(coarse, torch.zeros(32, 1, 56, 56))[:, 0]
    sums = fine.reshape(32, 7, 8, 7, 8).sum((2, 4))
    expected = float((sums - coarse * 64).abs().sum() / (coarse * 64).sum())
    assert check_desiderata(InterpolationUpsampler("bilinear")).d1.error == pytest.approx(expected)
    assert expected > 0.05


def test_masses_are_exact_where_the_coarse_map_sums_the_truth_and_errors_exclude_each_other():
    report = check_desiderata(USUUpsampler(), n_cases=4)
    assert report.mass_excess == pytest.approx(0, abs=1e-12)
    assert report.mass_deficit == pytest.approx(0, abs=1e-12)
    assert report.alpha == pytest.approx(report.beta)
    assert report.alpha > 0
    leaking = check_desiderata(InterpolationUpsampler("bilinear"), n_cases=4)
    assert leaking.mass_excess > 0.001
    assert leaking.alpha >= leaking.mass_excess


def test_cases_repeat_and_leave_the_global_random_state_alone():
    state = torch.get_rng_state()
    assert check_desiderata(USUUpsampler(), n_cases=2) == check_desiderata(USUUpsampler(), n_cases=2)
    assert torch.equal(torch.get_rng_state(), state)
