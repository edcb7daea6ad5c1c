"""Adversarial Gradient Integration against the algorithm of the paper, path by path, and where its paths are known."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from captum_ext import on_nonfinite, testing
from captum_ext.attr import AGI
from captum_ext.exceptions import (
    ArgumentError,
    ArgumentTypeError,
    InferenceModeError,
    ModelOutputError,
    NonFiniteError,
)
from tests.core.entries import numbers
from tests.oracles import agi as oracle

WEIGHTS = numbers(4, 2, 3).flip(1).double() * 3


def bumpy(x):
    """Four classes with curvature, as logits."""
    flat = x.flatten(1)
    return flat @ WEIGHTS.flatten(1).T.to(x) + (2 * flat).sin().cumsum(1)[:, :4]


def linear(x):
    """Two classes, of which one rises as the other falls."""
    return torch.stack([x[:, 0] + x[:, 1], -x[:, 0] - x[:, 1]], 1)


def counting(model):
    seen = []

    def counted(x):
        seen.append(len(x))
        return model(x)

    return counted, seen


@given(
    rows=st.integers(1, 4),
    steps=st.integers(1, 12),
    step_size=st.floats(0.02, 0.4),
    classes=st.lists(st.integers(0, 3), min_size=2, max_size=4, unique=True),
    bounded=st.booleans(),
    from_input=st.booleans(),
    batch=st.integers(1, 9),
)
def test_the_map_is_that_of_the_papers_algorithm(rows, steps, step_size, classes, bounded, from_input, batch):
    inputs = numbers(rows, 2, 3).double()
    bounds = (-1.0, 1.0) if bounded else None
    targets = [k % 4 for k in range(rows)]
    expected = torch.stack(
        [
            oracle(bumpy, x, t, [c for c in classes if c != t], step_size, steps, bounds, from_input)
            for x, t in zip(inputs, targets, strict=True)
        ]
    )
    method = AGI(
        bumpy, false_classes=classes, step_size=step_size, bounds=bounds, steps_from="input" if from_input else "point"
    )
    actual = method.attribute(inputs, target=targets, n_steps=steps, internal_batch_size=batch)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


def test_a_path_ends_where_the_model_takes_the_input_for_the_other_class():
    x = torch.tensor([[1.0, 0.25]])
    method = AGI(linear, step_size=0.25, score="logit")
    # the sum falls from 1.25 by 0.5 a step, to -0.25 in three steps; the slope of the target is 1
    attributions, delta = method.attribute(x, target=0, return_convergence_delta=True)
    assert attributions.tolist() == [[0.75, 0.75]]
    assert delta.tolist() == [0.0]
    assert method.attribute(x, target=0, n_steps=2).tolist() == [[0.5, 0.5]]


def test_steps_from_the_input_are_counted_from_it_every_time():
    method = AGI(linear, step_size=0.25, score="logit", steps_from="input")
    # the point stays one step away from the input, where the model's class is still the target's
    assert method.attribute(torch.tensor([[1.0, 0.25]]), target=0, n_steps=4).tolist() == [[1.0, 1.0]]


def test_bounds_stop_a_step_and_a_path_that_cannot_move_any_more_ends():
    model, seen = counting(lambda x: linear(x) + torch.tensor([9.0, 0.0]))  # the other class is out of reach
    method = AGI(model, step_size=0.4, bounds=(0, 1), score="logit")
    attributions, delta = method.attribute(torch.tensor([[1.0, 0.25]]), target=0, return_convergence_delta=True)
    torch.testing.assert_close(attributions, torch.tensor([[1.0, 0.25]]))
    assert float(delta.abs()) < 1e-6
    assert sum(seen) == 1 + 4  # the input, three steps, and one that shows that there is no more way


def test_the_delta_is_the_gap_to_the_falls_of_the_score_and_shrinks_with_the_steps():
    inputs = numbers(3, 2, 3).double()
    gaps = []
    for step_size in (0.1, 0.01):
        method = AGI(bumpy, step_size=step_size, n_false_classes=3)
        attributions, delta = method.attribute(
            inputs, target=0, n_steps=round(1 / step_size), return_convergence_delta=True
        )
        falls = attributions.flatten(1).sum(1) - delta
        assert bool((falls > 0).any())
        gaps.append(float(delta.abs().max()))
    assert gaps[1] < 0.2 * gaps[0]


def test_a_class_that_is_predicted_already_adds_nothing():
    x = torch.tensor([[-1.0, -1.0]])
    attributions, delta = AGI(linear).attribute(x, target=0, return_convergence_delta=True)
    assert attributions.tolist() == [[0.0, 0.0]]
    assert delta.tolist() == [0.0]


def test_a_class_whose_probability_is_zero_in_float32_is_reached_all_the_same():
    x = torch.tensor([[80.0, 80.0]])
    attributions = AGI(lambda x: 10 * linear(x), step_size=1.0).attribute(x, target=0, n_steps=300)
    # after 80 steps both classes are as probable: a slope of 20 p (1 - p) = 5 in the step to the other one
    torch.testing.assert_close(attributions, torch.tensor([[5.0, 5.0]]))


def test_false_classes_are_drawn_without_the_target_and_without_repetition():
    chosen = []

    def model(x):
        return bumpy(x)

    class Watched(AGI):
        def _paths(self, problem, generators):
            paths = super()._paths(problem, generators)
            chosen.append((paths.row.tolist(), paths.false_class.tolist()))
            return paths

    inputs = numbers(3, 2, 3)
    for k in (1, 2, 3, 20):
        Watched(model, n_false_classes=k).attribute(inputs, target=[0, 1, 3], n_steps=1)
        rows, classes = chosen[-1]
        assert len(rows) == 3 * min(k, 3)
        for row, target in enumerate([0, 1, 3]):
            own = [c for r, c in zip(rows, classes, strict=True) if r == row]
            assert len(set(own)) == len(own) == min(k, 3)
            assert target not in own


def test_a_row_with_a_generator_of_its_own_does_not_depend_on_the_rows_beside_it():
    inputs, method = numbers(3, 2, 3), AGI(bumpy, n_false_classes=1)
    together = method.attribute(inputs, target=1, generator=[torch.Generator().manual_seed(k) for k in range(3)])
    for k in range(3):
        alone = method.attribute(inputs[k : k + 1], target=1, generator=torch.Generator().manual_seed(k))
        torch.testing.assert_close(together[k : k + 1], alone)


@pytest.mark.parametrize(
    "check",
    [
        testing.check_chunks_do_not_matter,
        testing.check_batch_equals_singles,
        testing.check_tuple_equals_concatenation,
        testing.check_dtypes,
        testing.check_layouts,
        testing.check_nothing_is_changed,
        testing.check_errors_restore_state,
        testing.check_models_that_change_their_input,
        testing.check_copies,
        testing.check_repeatable,
    ],
    ids=lambda check: check.__name__.removeprefix("check_"),
)
def test_it_conforms_where_a_model_has_classes(check):
    check(testing.MethodCase("AGI", lambda forward_func, references: AGI(forward_func), random=True))


def test_every_pass_is_one_of_the_papers_and_no_more_rows_are_in_flight_than_allowed():
    inputs, targets, limit = numbers(5, 2, 3).double(), [0, 1, 2, 3, 0], 4
    bare, calls = counting(bumpy)
    for x, target in zip(inputs, targets, strict=True):
        bare(x[None])  # which class is predicted
        for label in set(range(4)) - {target}:
            point = x
            for _ in range(20):
                leaf = point.clone().requires_grad_()
                outputs = bare(leaf[None])
                if int(outputs.argmax()) == label:
                    break
                slope = torch.autograd.grad(outputs.softmax(1)[0, label], leaf)[0]
                point = point + 0.05 * slope.sign()
    model, seen = counting(bumpy)
    AGI(model).attribute(inputs, target=targets, internal_batch_size=limit)
    assert max(seen) == limit
    assert sum(seen) <= sum(calls)


def test_a_step_size_and_bounds_for_each_channel():
    x, std = torch.tensor([[[[0.5]], [[0.5]]]]), torch.tensor([[[[0.5]], [[0.25]]]])
    method = AGI(lambda x: linear(x.flatten(1)), step_size=0.1 / std, bounds=(0, 1 / std), score="logit")
    attributions = method.attribute(x, target=0, n_steps=2)
    torch.testing.assert_close(attributions.flatten(), torch.tensor([0.4, 0.5]))  # 0.2 a step; 0.4, then zero


def test_a_function_makes_scores_of_what_are_probabilities_already():
    inputs = numbers(2, 2, 3).double()
    logits = AGI(bumpy).attribute(inputs, target=1, n_steps=5)
    probabilities = AGI(lambda x: bumpy(x).softmax(1), score=lambda p: p).attribute(inputs, target=1, n_steps=5)
    torch.testing.assert_close(logits, probabilities)


def test_a_row_whose_scores_are_not_finite_is_named_or_left_out():
    inputs = numbers(2, 2, 3)

    def model(x):
        return torch.where(x[:, :1, 0] == inputs[0, 0, 0], 1.0, float("nan")) * bumpy(x)

    with pytest.raises(NonFiniteError, match="row 1"):
        AGI(model, steps_from="input").attribute(inputs, target=1, n_steps=1)
    with on_nonfinite("nan"):
        attributions, delta = AGI(model).attribute(inputs, target=1, n_steps=1, return_convergence_delta=True)
    torch.testing.assert_close(attributions[:1], AGI(bumpy).attribute(inputs[:1], target=1, n_steps=1))
    assert bool(attributions[1].isnan().all())
    assert bool(delta[1].isnan())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n_false_classes": 0}, ArgumentError, "`n_false_classes` to be an integer of at least 1"),
        ({"false_classes": 3}, ArgumentTypeError, "`false_classes` to be a sequence of distinct indices"),
        ({"false_classes": [1, 1]}, ArgumentError, "`false_classes` to be a sequence of distinct indices"),
        ({"false_classes": []}, ArgumentError, "`false_classes` to be a sequence of distinct indices"),
        ({"step_size": 0}, ArgumentError, "`step_size` to be a number from 1e-30 to 1e30, but got int 0"),
        ({"bounds": 1}, ArgumentTypeError, "`bounds` to be None, or a tuple of lowest and highest values"),
        ({"steps_from": "start"}, ArgumentError, '`steps_from` to be one of "point", "input"'),
        ({"score": "probability"}, ArgumentError, '`score` to be one of "softmax", "logit"'),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        AGI(bumpy, **settings)


@pytest.mark.parametrize(
    ("settings", "given", "error", "message"),
    [
        ({}, {"target": 4}, ArgumentError, "`target` to be an index from 0 to 3"),
        ({}, {"target": None}, ModelOutputError, "Pass a target that selects one"),
        ({}, {"n_steps": 0}, ArgumentError, "`n_steps` to be an integer of at least 1"),
        ({"false_classes": [4]}, {}, ArgumentError, "`false_classes` to be indices from 0 to 3, but got the index 4"),
        (
            {"false_classes": [1]},
            {},
            ArgumentError,
            "`false_classes` to be classes of which at least one is not the target",
        ),
        ({"step_size": torch.zeros(1, 2, 3)}, {}, ArgumentError, "`step_size` to be positive everywhere"),
        ({"step_size": torch.ones(5)}, {}, ArgumentError, "`step_size` to be of the input's shape"),
        ({"bounds": (1, 0)}, {}, ArgumentError, "`bounds` to be lowest values that are below the highest"),
        ({"bounds": (0, 0.01)}, {}, ArgumentError, "`inputs` to be within `bounds`, but got row 0, which is beyond"),
        ({"bounds": ("a", 1)}, {}, ArgumentTypeError, r"`bounds\[0\]` to be a tensor or a number"),
        ({"score": lambda p: p[:, :1]}, {}, ArgumentError, "`score` to be a function that keeps the shape of outputs"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(settings, given, error, message):
    with pytest.raises(error, match=message):
        AGI(bumpy, **settings).attribute(**{"inputs": numbers(2, 2, 3), "target": 1, "n_steps": 3, **given})


def test_a_model_without_classes_and_inference_mode_are_refused():
    with pytest.raises(ModelOutputError, match="at least two classes, but got a tensor of shape"):
        AGI(lambda x: x.flatten(1).sum(1)).attribute(numbers(2, 2, 3))
    with torch.inference_mode(), pytest.raises(InferenceModeError, match="need gradients"):
        AGI(bumpy).attribute(numbers(2, 2, 3), target=1)
