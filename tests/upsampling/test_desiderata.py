"""Desiderata: what the report says of upsamplers whose properties are known."""

import pytest
import torch

from captum_ext.upsampling import InterpolationUpsampler, USUUpsampler, check_desiderata

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
