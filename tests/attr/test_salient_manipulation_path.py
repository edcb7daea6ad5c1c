"""SAMP: facts about its paths, the scores along them, ties, and what a caller can get wrong."""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_ext.attr import (
    BlurIG,
    GuidedIG,
    ImportantDirectionIG,
    IntegratedGradients,
    SalientManipulationPath,
    WeightedIntegratedGradients,
)
from captum_ext.attr.samp import walk
from captum_ext.attr.samp.walk import Settings, largest
from captum_ext.core.pixels import Pixels
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError
from captum_ext.testing import SmoothModel, TinyConvNet
from tests.oracles import group_size

ONE_BY_ONE = {"momentum": 0, "step_bound": None, "direction": "insertion", "insertion_baselines": 0}


@pytest.fixture
def x():
    return torch.sin(torch.arange(12, dtype=torch.float64)).reshape(2, 6)


def product(v):
    return v[:, 0] * v[:, 1]


def test_the_greedy_path_is_not_symmetric_and_can_miss_everything():
    samp, x = SalientManipulationPath(product, **ONE_BY_ONE), torch.ones(1, 2)
    assert samp.attribute(x, n_steps=2).tolist() == [[0, 1]]
    maps, delta = samp.attribute(x, n_steps=1, return_convergence_delta=True)
    assert maps.tolist() == [[0, 0]]
    assert delta.tolist() == [-1]
    assert samp.attribute(x, n_steps=1, method="riemann_trapezoid").tolist() == [[0.5, 0.5]]


def test_small_steps_and_the_trapezoid_rule_approach_completeness(x):
    gaps = []
    for bound in (10, 40, 160):
        samp = SalientManipulationPath(SmoothModel(6), step_bound=bound)
        row = []
        for method in ("riemann_left", "riemann_trapezoid"):
            _, delta = samp.attribute(x, target=1, n_steps=6, method=method, return_convergence_delta=True)
            row.append(float(delta.abs().max()))
        gaps.append(row)
    assert gaps[0][0] > 3 * gaps[1][0] > 9 * gaps[2][0]  # the left rule: in proportion to the step
    assert gaps[2][1] < 0.1 * gaps[2][0]
    assert gaps[2][1] < 1e-3


def test_momentum_ranks_and_the_true_gradient_is_added():
    # From (0, 0) to (1, 1) with F = a^2 - b: the gradient of a is 0 at the start, that of b is -1.
    samp = SalientManipulationPath(
        lambda v: v[:, 0] ** 2 - v[:, 1], direction="insertion", insertion_baselines=0, momentum=0.9, step_bound=None
    )
    assert samp.attribute(torch.ones(1, 2), n_steps=2).tolist() == [[0, -1]]


def test_both_directions_are_averaged_and_the_delta_is_against_the_mean_of_the_baselines(x):
    model = SmoothModel(6)
    inserted, removed = torch.full_like(x, 0.3), torch.full_like(x[:1], -0.2)
    arguments = {"insertion_baselines": inserted, "deletion_baselines": removed}
    parts = [
        SalientManipulationPath(model, direction=direction, **arguments).attribute(x, target=2)
        for direction in ("insertion", "deletion")
    ]
    both, delta = SalientManipulationPath(model, **arguments).attribute(x, target=2, return_convergence_delta=True)
    torch.testing.assert_close(both, (parts[0] + parts[1]) / 2)
    own, starts = model(x)[:, 2], (model(inserted)[:, 2] + model(removed)[:, 2]) / 2
    torch.testing.assert_close(delta, both.sum(1) - (own - starts))


def test_images_start_from_their_blur_and_end_at_zero_everything_else_at_zero_both_ways():
    net, images = TinyConvNet(), torch.rand(2, 2, 8, 8, dtype=torch.float64)
    _, paths = SalientManipulationPath(net).attribute(images, target=1, return_path=True)
    from captum_ext.images import gaussian_blur

    torch.testing.assert_close(paths["insertion"].scores[:, 0], net(gaussian_blur(images))[:, 1].detach())
    torch.testing.assert_close(paths["deletion"].scores[:, 0], net(images)[:, 1].detach())
    rows = torch.ones(1, 3)
    _, paths = SalientManipulationPath(lambda v: v.sum(1) + 7).attribute(rows, return_path=True)
    assert paths["insertion"].scores[0, 0] == 7
    assert paths["deletion"].scores[0, -1] == 7


def test_the_scores_along_the_path_are_returned_with_the_share_that_was_moved():
    samp = SalientManipulationPath(lambda v: v @ torch.tensor([4.0, 2.0, 1.0]), **ONE_BY_ONE)
    x = torch.tensor([[1.0, 1.0, 2.0], [1.0, 0.0, 0.0]])
    maps, delta, paths = samp.attribute(x, n_steps=3, return_convergence_delta=True, return_path=True)
    assert list(paths) == ["insertion"]
    assert paths["insertion"].moved[0].tolist() == [0.0, 0.25, 0.5, 1.0]
    assert paths["insertion"].scores[0].tolist() == [0.0, 4.0, 6.0, 8.0]
    assert paths["insertion"].scores[1, :2].tolist() == [0.0, 4.0]  # only one pixel differs from the baseline
    assert paths["insertion"].moved[1, 2:].isnan().all()
    assert delta.tolist() == [0, 0]
    assert maps[1].tolist() == [4, 0, 0]


def test_the_trapezoid_rule_takes_the_last_score_from_its_last_gradient():
    calls = []

    def forward(v):
        calls.append(torch.is_grad_enabled())
        return v.sum(1)

    samp = SalientManipulationPath(forward, **ONE_BY_ONE)
    _, paths = samp.attribute(torch.ones(1, 2), n_steps=2, method="riemann_trapezoid", return_path=True)
    assert paths["insertion"].moved[0].tolist() == [0.0, 0.5, 1.0]
    assert paths["insertion"].scores[0].tolist() == [0.0, 1.0, 2.0]


@given(seed=st.integers(0, 10_000), step_bound=st.sampled_from([1, 10, 100]), steps=st.integers(1, 9))
def test_a_baseline_a_few_ulps_away_is_reached_within_the_bound_on_gradients(seed, step_bound, steps):
    taken = []

    def forward(v):
        taken.append(len(v))
        return v.square().sum(1)

    start = torch.randn(1, 6, generator=torch.Generator().manual_seed(seed))
    end = start
    for _ in range(steps):
        end = torch.nextafter(end, end * 2)
    samp = SalientManipulationPath(forward, direction="insertion", step_bound=step_bound)
    maps = samp.attribute(end, baselines=start, n_steps=3)
    assert bool(maps.isfinite().all())
    assert len(taken) <= 3 + step_bound


@pytest.mark.parametrize("step_bound", [10, 100])
def test_moves_below_the_resolution_of_the_dtype_are_not_credited_twice(step_bound):
    samp = SalientManipulationPath(lambda v: v.square().sum(1), direction="insertion", step_bound=step_bound)
    x, baseline = torch.tensor([[1000.001]]), torch.tensor([[1000.0]])
    assert float(samp.attribute(x, baselines=baseline)) == pytest.approx(2000 * float(x - baseline), rel=1e-3)


def test_projections_that_overflow_are_an_error_not_a_loop():
    samp = SalientManipulationPath(lambda v: (v[:, 0] * 3e38 - v[:, 1] * 3e38).sum((1, 2)), insertion_baselines=0)
    with pytest.raises(NonFiniteError, match="NaN or infinity at step 0 of the insertion path of row 0"):
        samp.attribute(torch.full((1, 2, 2, 2), 100.0))


@pytest.mark.parametrize("method", [SalientManipulationPath, ImportantDirectionIG])
def test_one_number_a_row_is_an_input_too(method):
    maps = method(lambda v: 3 * v).attribute(torch.tensor([1.0, 2.0]), n_steps=4)
    assert maps.tolist() == pytest.approx([3, 6])


def test_an_input_equal_to_its_baseline_gets_zero_without_a_gradient(x):
    def no_gradient(v):
        assert not torch.is_grad_enabled()  # one forward tells whether the target is one of the outputs
        return v.sum(1)

    maps = SalientManipulationPath(no_gradient).attribute(x, baselines=x)
    assert torch.equal(maps, torch.zeros_like(x))
    _, paths = SalientManipulationPath(SmoothModel(6)).attribute(x, x, target=1, return_path=True)
    assert paths["insertion"].moved.tolist() == [[1.0], [1.0]]


def test_a_gradient_that_is_not_finite_is_named_with_row_direction_and_step():
    def forward(v):
        return v.sum(1) + 1 / (v[:, 1] - 2)

    samp = SalientManipulationPath(forward, **ONE_BY_ONE)
    x = torch.tensor([[0.5, 1.0], [0.5, 2.0]])
    with pytest.raises(
        NonFiniteError, match="finite gradients, but got NaN or infinity at step 1 of the insertion path of row 1"
    ):
        samp.attribute(x, n_steps=2)


def test_equal_projections_are_taken_in_order_whatever_the_batch():
    values = torch.tensor([[0.0, 2.0, 0.0, 0.0, 2.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    allowed = torch.tensor([[True, True, True, True, True], [False, True, True, False, True]])
    assert largest(values, allowed, torch.tensor([3, 2])).int().tolist() == [[1, 1, 0, 0, 1], [0, 1, 1, 0, 0]]
    assert largest(values, allowed, torch.tensor([9, 4])).equal(allowed)
    assert largest(values - 5, allowed, torch.tensor([1, 1])).int().tolist() == [[0, 1, 0, 0, 0], [0, 1, 0, 0, 0]]


def test_rows_do_not_wait_for_each_other_and_the_limit_is_kept():
    rows = []

    def forward(v):
        rows.append(len(v))
        return v.sum(1)

    x = torch.zeros(5, 4)
    for row in range(5):
        x[row, : row + 1 if row < 4 else 0] = 1
    samp = SalientManipulationPath(forward, **ONE_BY_ONE)
    samp.attribute(x, n_steps=4, internal_batch_size=3)
    assert (
        sum(rows) == 1 + 2 + 3 + 4 + 1
    )  # one gradient for every pixel that differs; one forward for the last row's target
    assert max(rows) == 3
    assert len(rows) < 7


def test_a_step_that_runs_out_of_memory_after_the_model_is_taken_again_as_if_it_were_the_first_time(x, monkeypatch):
    samp = SalientManipulationPath(SmoothModel(6), momentum=0.9)
    expected, expected_paths = samp.attribute(x, target=1, return_path=True)
    calls = []

    def failing(*arguments):
        calls.append(1)
        if len(calls) in (2, 5):
            raise torch.cuda.OutOfMemoryError("out of memory")
        return largest(*arguments)

    monkeypatch.setattr(walk, "largest", failing)
    actual, paths = samp.attribute(x, target=1, return_path=True)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(paths["deletion"].scores, expected_paths["deletion"].scores, equal_nan=True)


def test_halving_the_rows_when_memory_runs_out_changes_nothing(x):
    model, failed = SmoothModel(6), []

    def forward(v):
        if len(v) > 2:
            failed.append(len(v))
            raise torch.cuda.OutOfMemoryError("out of memory")
        return model(v)

    expected = SalientManipulationPath(model).attribute(x, target=1)
    torch.testing.assert_close(SalientManipulationPath(forward).attribute(x, target=1), expected)
    assert failed == [4]


@pytest.mark.parametrize("per_row", [False, True])
def test_features_of_a_mask_move_together_across_the_tensors_of_a_tuple(per_row):
    mask = (torch.tensor([[0, 1]]), torch.tensor([[1, 5]]))
    if per_row:
        mask = tuple(one.repeat(2, 1) for one in mask)
    samp = SalientManipulationPath(lambda a, b: a.sum(1) + 2 * b.sum(1), feature_mask=mask, **ONE_BY_ONE)
    inputs = (torch.ones(2, 2), torch.ones(2, 2))
    _, paths = samp.attribute(inputs, n_steps=3, return_path=True)
    assert paths["insertion"].scores[0].tolist() == [0.0, 3.0, 5.0, 6.0]


def test_masks_of_their_own_for_each_row_count_each_rows_pixels():
    pixels = Pixels((torch.zeros(2, 4),), torch.tensor([[0, 0, 0, 7], [1, 2, 3, 4]]))
    assert pixels.count == 6
    assert pixels.counts(torch.tensor([0, 1, 1])).tolist() == [2, 4, 4]
    totals = pixels.totals((torch.arange(8.0).reshape(2, 4),), torch.tensor([0, 1]))
    assert totals.tolist() == [[3, 0, 0, 0, 0, 3], [0, 4, 5, 6, 7, 0]]


def test_without_multiplying_by_inputs_elements_get_their_mean_gradient(x):
    weight = torch.tensor([1.0, -2.0, 3.0, 4.0, 0.5, 6.0], dtype=torch.float64)
    maps = SalientManipulationPath(lambda v: v @ weight, multiply_by_inputs=False).attribute(x)
    expected = torch.where(x == 0, 0.0, weight.expand_as(x))
    torch.testing.assert_close(maps, expected)


@pytest.mark.parametrize(
    ("settings", "error", "reason"),
    [
        ({"direction": "up"}, ArgumentError, '`direction` to be one of "both", "insertion", "deletion"'),
        ({"momentum": 1}, ArgumentError, r"`momentum` to be a number in \[0, 1\), but got int 1"),
        ({"momentum": "a"}, ArgumentTypeError, r"`momentum` to be a number in \[0, 1\)"),
        (
            {"step_bound": 0},
            ArgumentError,
            "`step_bound` to be None or a positive number of at most 1,000,000, but got int 0",
        ),
        ({"step_bound": float("inf")}, ArgumentError, "`step_bound` to be None or a positive number"),
        ({"credit": "momentum"}, ArgumentError, '`credit` to be one of "gradient", "velocity"'),
        ({"insertion_baselines": "grey"}, ArgumentError, '`insertion_baselines` to be one of "blur", "rise"'),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, error, reason):
    with pytest.raises(error, match=reason):
        SalientManipulationPath(product, **settings)


@pytest.mark.parametrize(
    ("mask", "error", "reason"),
    [
        (torch.ones(1, 2), ArgumentTypeError, "`feature_mask` to be a tensor of integers"),
        (torch.ones(1, 3).long(), ArgumentError, r"as the input \(4, 2\) and broadcastable to it"),
        (torch.ones(3, 2).long(), ArgumentError, r"as the input \(4, 2\) and broadcastable to it"),
        ((torch.ones(1, 2).long(),) * 2, ArgumentError, r"1 mask\(s\), one for each input tensor, but got 2"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask, error, reason):
    with pytest.raises(error, match=reason):
        SalientManipulationPath(product, feature_mask=mask).attribute(torch.ones(4, 2))


def test_other_arguments_that_cannot_be_used_are_refused():
    samp = SalientManipulationPath(product)
    with pytest.raises(ArgumentError, match='"riemann_left", "riemann_trapezoid", but got str \'adaptive\''):
        samp.attribute(torch.ones(1, 2), method="adaptive")
    with pytest.raises(ArgumentError, match="`pixels_in_step` to be an integer of at least 1, but got 0"):
        samp.attribute(torch.ones(1, 2), pixels_in_step=0)
    with pytest.raises(ArgumentError, match="`n_steps` to be an integer of at least 1, but got 0"):
        samp.attribute(torch.ones(1, 2), n_steps=0)
    wrong = SalientManipulationPath(product, deletion_baselines=torch.ones(1, 5))
    with pytest.raises(ArgumentError, match=r"`deletion_baselines` to be of the input's shape \(1, 2\)"):
        wrong.attribute(torch.ones(1, 2))


def test_scores_are_refused_where_gradients_come_from_elsewhere(x):
    for method in (SalientManipulationPath, ImportantDirectionIG):
        replaced = method(SmoothModel(6))
        replaced.gradient_func = lambda **_: None
        with pytest.raises(ArgumentError, match="since a layer or neuron variant is at work"):
            replaced.attribute(x, target=1, **({"return_path": True} if method is SalientManipulationPath else {}))


@pytest.mark.parametrize("power", [0.25, 0.5])
def test_idgi_names_a_gradient_that_is_not_finite(power):
    with pytest.raises(NonFiniteError, match="NaN or infinity at alpha 0 of the path of row 1"):
        ImportantDirectionIG(lambda v: v.abs().pow(power).sum(1) * 1.0).attribute(
            torch.tensor([[1.0, 4.0], [1.0, 2.0]]), baselines=torch.tensor([[0.5, 0.5], [0.0, 1.0]]), n_steps=4
        )


@pytest.mark.parametrize("method", [SalientManipulationPath, ImportantDirectionIG, WeightedIntegratedGradients])
def test_data_parallel_models_are_explained(method, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parallel = nn.DataParallel(SmoothModel(6))
    arguments = {"method": "riemann_left"}
    expected = method(SmoothModel(6)).attribute(x, target=1, **arguments)
    torch.testing.assert_close(method(parallel).attribute(x, target=1, **arguments), expected)


def test_idgi_has_one_rule_and_always_multiplies(x):
    with pytest.raises(ArgumentError, match='`method` to be None or "riemann_left"'):
        ImportantDirectionIG(SmoothModel(6)).attribute(x, target=1, method="stratified")
    with pytest.raises(ArgumentError, match="`multiply_by_inputs` to be True"):
        ImportantDirectionIG(SmoothModel(6), multiply_by_inputs=False)


def test_idgi_credits_changes_without_a_gradient_to_its_neighbours_and_takes_one_forward():
    passes = {True: 0, False: 0}

    def forward(v):
        passes[torch.is_grad_enabled()] += len(v)
        return torch.relu(v[:, 0] - 0.5) + torch.relu(v[:, 1] - 0.7)

    maps, delta = ImportantDirectionIG(forward).attribute(torch.ones(1, 2), n_steps=4, return_convergence_delta=True)
    assert passes == {True: 4, False: 2}  # the input, and the baseline for the delta
    assert float(maps.sum()) == pytest.approx(0.8)
    assert delta.abs().item() < 1e-6
    flat = ImportantDirectionIG(lambda v: torch.relu(v.sum(1) - 5)).attribute(torch.ones(1, 2), n_steps=4)
    assert flat.tolist() == [[0, 0]]


@pytest.mark.parametrize("method", [SalientManipulationPath, ImportantDirectionIG])
def test_noise_tunnel_and_progress_work(method, x, capsys):
    import captum.attr

    explainer = method(SmoothModel(6))
    maps = captum.attr.NoiseTunnel(explainer).attribute(x, nt_samples=2, target=1, baselines=0)
    assert maps.shape == x.shape
    explainer.attribute(x, target=1, show_progress=True)
    assert "gradient" in capsys.readouterr().err


def test_module_state_survives_an_error_in_the_middle(x):
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = SmoothModel(6), 0

        def forward(self, v):
            self.calls += 1
            if self.calls == 3:
                raise KeyError("the model's own error")
            return self.inner(v)

    model = Fails().train()
    with pytest.raises(KeyError, match="the model's own error"):
        SalientManipulationPath(model).attribute(x, target=1)
    assert model.training
    assert model.inner.weight.requires_grad
    assert model.inner.weight.grad is None


def test_with_the_same_baselines_all_path_methods_agree_on_a_linear_model(x):
    weight = torch.arange(6, dtype=torch.float64)
    expected = IntegratedGradients(lambda v: v @ weight).attribute(x, 0.25)
    torch.testing.assert_close(SalientManipulationPath(lambda v: v @ weight).attribute(x, 0.25), expected)


@pytest.mark.parametrize("rule", ["gausslegendre", "riemann_right", "riemann_middle"])
@pytest.mark.parametrize("method", [SalientManipulationPath, ImportantDirectionIG, GuidedIG, BlurIG])
def test_rules_of_captum_that_a_method_does_not_have_are_taken_for_its_own_with_a_warning(method, rule):
    if method is BlurIG and rule == "riemann_middle":
        pytest.skip("which it has")
    images = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    explainer = method(lambda x: (x**2).sum((1, 2, 3)))
    name = {SalientManipulationPath: "SAMP", ImportantDirectionIG: "IDGI"}.get(method, method.__name__)
    with pytest.warns(UserWarning, match=f'{name} has no rule "{rule}".* takes "riemann_left" in its place'):
        maps = explainer.attribute(images, n_steps=3, method=rule)
    torch.testing.assert_close(maps, explainer.attribute(images, n_steps=3))


@pytest.mark.parametrize(
    ("n_pixels", "n_steps", "size"),
    [
        (784, 14, 56),
        (50176, 14, 3584),
        (784, 79, 10),
        (1024, 103, 10),
        (784, 100, 8),
        (784, 300, 3),
        (784, 700, 1),
        (9, 4, 3),
        (9, 100, 1),
        (5, 1, 5),
    ],
)
def test_groups_are_as_near_to_n_steps_as_groups_of_equal_size_can_be(n_pixels, n_steps, size):
    assert int(Settings(("insertion",), n_steps, 0, None, False).sizes(torch.tensor([n_pixels]))) == size
    assert group_size(n_pixels, n_steps) == size


@given(n_pixels=st.integers(1, 400), n_steps=st.integers(1, 500))
def test_no_other_size_gives_a_nearer_number_of_groups(n_pixels, n_steps):
    settings = Settings(("insertion",), n_steps, 0, None, False)
    assert int(settings.sizes(torch.tensor([n_pixels]))) == group_size(n_pixels, n_steps)


def test_pixels_in_a_step_can_be_given_themselves():
    gradients = []

    def model(v):
        gradients.append(len(v))
        return v.sum(1)

    SalientManipulationPath(model, step_bound=None).attribute(torch.ones(1, 7), 0, n_steps=2, pixels_in_step=3)
    assert sum(gradients) == 2 * 3


def test_momentum_ranks_and_by_choice_is_credited_too():
    x = torch.tensor([[1.0, 1.0]])
    # Slopes are (2, 1) at (0, 0) and (4, 6) at (1, 0); velocities half of the first, and a half of both.
    model = lambda v: 2 * v[:, 0] + v[:, 0] ** 2 + v[:, 1] + 5 * v[:, 0] * v[:, 1]  # noqa: E731
    both = [
        SalientManipulationPath(model, credit=credit, **ONE_BY_ONE | {"momentum": 0.5}).attribute(x, n_steps=2)
        for credit in ("gradient", "velocity")
    ]
    assert both[0].tolist() == [[2, 6]]
    assert both[1].tolist() == [[1, 3.25]]


@pytest.mark.parametrize("seed", range(5))
def test_without_momentum_the_credits_are_the_same(seed, x):
    maps = [
        SalientManipulationPath(SmoothModel(6), momentum=0, credit=credit).attribute(x, target=1)
        for credit in ("gradient", "velocity")
    ]
    torch.testing.assert_close(*maps, rtol=0, atol=0)
