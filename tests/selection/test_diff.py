"""Whether explanations changed: measures, the noise floor, the test's level and power, limits, and bad input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import spearmanr
from torch import nn
from torch.utils.data import TensorDataset

from captum_ext.attr import ExpectedGradients, IntegratedGradients
from captum_ext.dataset import RunOptions, attribute_dataset
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, RunFolderError
from captum_ext.selection import DiffOptions, diff, map_similarity
from captum_ext.selection.diffing import permuted_p, summary_of
from captum_ext.selection.similarity import moved

pytest.importorskip("pyarrow")


def random(seed):
    return np.random.default_rng(seed)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), ties=st.booleans())
def test_correlation_and_overlap_are_those_of_their_definitions(seed, ties):
    first, second = random(seed).normal(size=(2, 3, 5, 6))
    if ties:
        first, second = first.round(), second.round()
    found = map_similarity(first, second, top=0.2)
    for row in range(3):
        expected = spearmanr(first[row].ravel(), second[row].ravel()).statistic
        assert found["correlation"][row] == pytest.approx(expected, abs=1e-12)
        order = [sorted(range(30), key=lambda k, one=one: (-one[row].ravel()[k], k))[:6] for one in (first, second)]
        assert found["overlap"][row] == len(set(order[0]) & set(order[1])) / 6


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(2, 5))
def test_moved_mass_is_the_cheapest_assignment_of_equal_grains(seed, size):
    grains = random(seed).integers(0, 3, size=(2, size, size)) + 0
    grains[:, 0, 0] += 1
    short = grains.reshape(2, -1).sum(1).argmin()
    grains[short, -1, -1] += abs(int(grains[0].sum() - grains[1].sum()))
    places = [
        [(i, j) for i in range(size) for j in range(size) for _ in range(grains[side, i, j])] for side in range(2)
    ]
    cost = np.linalg.norm(np.array(places[0])[:, None] - np.array(places[1])[None], axis=2) / size
    rows, columns = linear_sum_assignment(cost)
    expected = cost[rows, columns].mean()
    assert moved(grains[0].astype(float), grains[1].astype(float)) == pytest.approx(expected, abs=1e-9)


def test_cells_hold_the_sizes_of_all_their_pixels():
    first = np.zeros((1, 9, 14))
    first[0, 8, 13], first[0, 0, 0] = -2.0, 1.0
    second = np.zeros((1, 9, 14))
    second[0, 8, 12], second[0, 1, 1] = 4.0, 2.0
    assert map_similarity(first, second)["moved"].tolist() == [0]  # within cells


def test_mass_moves_in_units_of_the_longer_side():
    first = np.zeros((1, 4, 8))
    first[0, 0, 0] = 1.0
    down, right = np.roll(first, 3, 1), np.roll(first, 3, 2)
    assert map_similarity(first, down, grid=4)["moved"][0] == pytest.approx(3 / 8)
    assert map_similarity(first, right, grid=8)["moved"][0] == pytest.approx(3 / 8)


def test_a_constant_map_and_one_that_is_not_finite_have_no_similarity():
    maps = np.stack([np.eye(4), np.ones((4, 4)), np.full((4, 4), np.nan), np.zeros((4, 4))])
    found = map_similarity(maps, np.stack([np.eye(4)] * 4))
    for values in found.values():
        assert np.isfinite(values).tolist() == [True, False, False, False]
    assert {name: float(values[0]) for name, values in found.items()} == {"correlation": 1, "overlap": 1, "moved": 0}


class Kinked(nn.Module):
    """Images (N, 1, 6, 6) to three scores, with kinks; another seed is another model."""

    def __init__(self, seed=0, factor=1.0):
        super().__init__()
        source = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(torch.randn(36, 20, generator=source) * factor)
        self.last = nn.Parameter(torch.randn(20, 3, generator=source))

    def forward(self, x):
        return (x.flatten(1) @ self.first).relu() @ self.last


def images(count=20, seed=0):
    return TensorDataset(torch.rand(count, 1, 6, 6, generator=torch.Generator().manual_seed(seed)))


def run(folder, model=None, seed=0, data=None, target=0, batch_size=16, n_steps=12, references=4):
    source = torch.Generator().manual_seed(99)
    method = ExpectedGradients(model or Kinked().eval(), references=torch.rand(references, 1, 6, 6, generator=source))
    options = RunOptions(seed=seed, batch_size=batch_size, show_progress=False)
    return attribute_dataset(
        method, data or images(), folder, target=target, attribute_kwargs={"n_steps": n_steps}, run=options
    )


def test_a_model_does_not_differ_from_itself_in_95_percent_of_trials(tmp_path):
    """Two seeds and two batch sizes; examples/benchmarks/measurements/differences.py has more trials."""
    found = []
    for trial in range(20):
        data = images(8, seed=trial)
        runs = [
            run(tmp_path / f"{trial}-{k}", seed=3 * trial + k, data=data, batch_size=(8, 3)[k % 2]) for k in range(3)
        ]
        found.append(diff(runs[0], runs[1], noise=runs[2:], options=DiffOptions(margin=0)).differs)
    assert sum(found) <= 3  # at a level of 5 % more than 3 of 20 have a chance of 2 %


def test_the_level_of_the_test_is_kept_for_skewed_similarities_and_several_repeats():
    source, options = random(0), DiffOptions(n_permutations=499)
    for repeats in (1, 3):
        p = [permuted_p(-source.lognormal(sigma=1.5, size=(1 + repeats, 12)), options) for _ in range(400)]
        assert np.mean(np.array(p) <= 0.05) <= 0.08


def test_a_difference_is_beyond_every_single_repeat():
    level = np.array([0.70, 0.72, 0.69, 0.71])[:, None]  # noise that all images share
    near = random(3).normal(size=(4, 40)) * 0.01 + level
    measured = {"correlation": near, "overlap": np.full((4, 40), 0.9), "moved": np.full((4, 40), 0.01)}
    one = {name: values[:2] for name, values in measured.items()}
    assert summary_of(one, {}, DiffOptions())["correlation"]["differs"]  # one repeat cannot tell
    assert not summary_of(measured, {}, DiffOptions(margin=0))["correlation"]["differs"]
    near[0] -= 0.1
    assert summary_of(measured, {}, DiffOptions())["correlation"]["differs"]


def test_two_models_differ_and_the_images_that_changed_most_come_first(tmp_path):
    first, other = Kinked(0).eval(), Kinked(0).eval()
    with torch.no_grad():
        other.first += 0.6 * torch.randn(other.first.shape, generator=torch.Generator().manual_seed(1))
    a, b = run(tmp_path / "a", first, seed=1), run(tmp_path / "b", other, seed=1)
    noise = run(tmp_path / "noise", first, seed=2)
    found = diff(a, tmp_path / "b", noise=[noise])
    assert found.differs
    assert found.sentence.startswith("The explanations differ by more than noise does (")
    assert "model" in found.settings
    assert found.n_images == 20
    change = (found.images["correlation_noise"] - found.images["correlation"]).tolist()
    assert change == sorted(change, reverse=True)
    assert found.summary.loc["correlation", "mean"] == pytest.approx(found.images["correlation"].mean())
    assert "| correlation |" in found.to_markdown()
    assert len(b) == 20


def test_without_a_repeat_there_are_numbers_and_no_verdict(tmp_path):
    found = diff(run(tmp_path / "a"), run(tmp_path / "b", seed=5))
    assert found.differs is None
    assert found.sentence.startswith("How much of it is noise is not known: no repeat of the first run was given.")
    assert "names of files" in found.notes[0]


def test_what_is_beyond_a_limit_is_named(tmp_path):
    a, b = run(tmp_path / "a"), run(tmp_path / "b", Kinked(7).eval())
    found = diff(a, b, limits={"correlation": 0.99, "moved": 1.5})
    assert found.beyond == ("correlation",)
    assert found.sentence.endswith("Beyond their limits: correlation.")
    assert diff(a, a, limits={"correlation": 0.99, "overlap": 1, "moved": 0}).beyond == ()


def test_images_without_a_row_without_a_map_and_with_another_target_do_not_count(tmp_path):
    data = torch.rand(12, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    data[3] = 0

    class Zero(Kinked):
        def forward(self, x):
            return super().forward(x) * (x.flatten(1).amax(1) > 0).float()[:, None]

    model, other = Zero(0).eval(), Zero(0).eval()
    with torch.no_grad():
        other.last += 0.8 * torch.randn(20, 3, generator=torch.Generator().manual_seed(2))
    runs = []
    for name, net in (("a", model), ("b", other)):
        method = IntegratedGradients(net)
        runs.append(
            attribute_dataset(
                method, TensorDataset(data), tmp_path / name, target="predicted", run=RunOptions(show_progress=False)
            )
        )
    with torch.no_grad():
        others = (model(data).argmax(1) != other(data).argmax(1)).nonzero().squeeze(1).tolist()
    found = diff(*runs)
    assert others
    assert found.left_out["the runs explain other targets"] == tuple(others)
    assert found.left_out["a map is constant or not finite"] == (3,)
    assert found.n_images == 11 - len(others)
    assert f"{len(others)} images do not count: the runs explain other targets." in found.notes


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    a = run(tmp_path / "a")
    with pytest.raises(ArgumentError, match="`run_b`.*over the same images as run_a, 20"):
        diff(a, run(tmp_path / "fewer", data=images(7)))
    with pytest.raises(ArgumentError, match="`run_b`.*with the target of run_a"):
        diff(a, run(tmp_path / "target", target=1))
    with pytest.raises(ArgumentError, match=r"`noise\[0\]`.*a repeat of run_a.*another model"):
        diff(a, a, noise=[run(tmp_path / "model", Kinked(3).eval())])
    few = run(tmp_path / "few", data=images(4))
    with pytest.raises(ArgumentError, match="at least 5 images that count in all runs.*4"):
        diff(few, few)
    large = TensorDataset(torch.rand(20, 1, 4, 9, generator=torch.Generator().manual_seed(0)))
    other = attribute_dataset(
        IntegratedGradients(Kinked().eval()), large, tmp_path / "shape", target=0, run=RunOptions(show_progress=False)
    )
    with pytest.raises(ArgumentError, match="`run_b`.*with maps of the shape of run_a's"):
        diff(a, other)
    with pytest.raises(ArgumentTypeError, match="`run_b`.*a folder"):
        diff(a, 3)
    with pytest.raises(ArgumentTypeError, match="`noise`.*a sequence of runs"):
        diff(a, a, noise=str(tmp_path / "a"))
    with pytest.raises(RunFolderError):
        diff(a, tmp_path / "nothing")
    with pytest.raises(ArgumentError, match="`limits`.*correlation, overlap, moved"):
        diff(a, a, limits={"speed": 1})
    with pytest.raises(ArgumentError, match=r"`limits\['correlation'\]`.*from -1 to 1"):
        diff(a, a, limits={"correlation": 1.5})  # every run would be beyond it
    with pytest.raises(ArgumentError, match=r"`limits\['overlap'\]`.*from 0 to 1"):
        diff(a, a, limits={"overlap": -0.5})  # and none below it


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"alpha": 1}, "alpha"),
        ({"margin": -1}, "margin"),
        ({"n_permutations": 0}, "n_permutations"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options, name):
    with pytest.raises(ArgumentError, match=name):
        DiffOptions(**options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": np.zeros((1, 3))}, r"`first`.*\(N, H, W\)"),
        ({"second": np.zeros((2, 3, 3))}, "`second`.*of the shape of the first"),
        ({"top": 0}, "`top`"),
        ({"grid": 17}, "`grid`"),
    ],
)
def test_maps_that_cannot_be_compared_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        map_similarity(**{"first": np.zeros((1, 3, 3)), "second": np.zeros((1, 3, 3)), **arguments})
