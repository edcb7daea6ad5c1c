"""What the model is given: whole batches step by step, arguments as Captum tiles them, single rows beyond the limit."""

import captum.attr
import numpy as np
import pytest
import torch

from captum_ext import Shared
from captum_ext.attr import (
    ExpectedGradients,
    IntegratedGradients,
)
from captum_ext.exceptions import ArgumentError
from tests.core.recorded import RULES, Recorded, numbers, squares

# What the model is given


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("limit", [3, 4, 6, 7, 100])
def test_the_model_is_given_the_points_and_arguments_that_captum_gives_it(method, limit):
    x, baseline, scale, targets = numbers(3, 2), numbers(1, 2) + 1, torch.tensor([1.0, 2.0, 3.0]), [0, 1, 0]
    ours, theirs = (Recorded(lambda v, s, _: v.square() * s[:, None]) for _ in range(2))
    arguments = {"target": targets, "additional_forward_args": (scale, "word"), "n_steps": 5, "method": method}
    IntegratedGradients(ours).attribute(x, baseline, internal_batch_size=limit, **arguments)
    captum.attr.IntegratedGradients(theirs).attribute(x, baseline, internal_batch_size=limit, **arguments)
    assert ours.sizes == theirs.sizes
    for one, other in zip(ours.calls, theirs.calls, strict=True):
        torch.testing.assert_close(one[0], other[0])
        torch.testing.assert_close(one[1], other[1])
        assert one[2] == "word"


def test_as_many_whole_batches_at_once_are_given_as_the_limit_allows():
    forward = Recorded(squares)
    IntegratedGradients(forward).attribute(numbers(3, 2), n_steps=5, internal_batch_size=8)
    assert forward.sizes == [6, 6, 3]
    forward = Recorded(squares)
    ExpectedGradients(forward, references=numbers(2, 2)).attribute(
        numbers(3, 2), n_steps=3, method="riemann_left", internal_batch_size=8
    )
    assert forward.sizes == [6, 6, 6]


def test_arguments_with_an_entry_for_each_row_are_repeated_and_not_interleaved():
    forward = Recorded(squares)
    follows = torch.tensor([1.0, 2.0]), torch.arange(6).reshape(2, 3)
    IntegratedGradients(forward).attribute(
        numbers(2, 2), additional_forward_args=follows, n_steps=3, internal_batch_size=6
    )
    ((_, one, other),) = forward.calls
    assert one.tolist() == [1.0, 2.0] * 3
    assert other.tolist() == [[0, 1, 2], [3, 4, 5]] * 3


def test_what_is_shared_is_given_as_it_is_however_many_rows_there_are():
    edges, table = torch.tensor([[0, 1], [1, 0]]), {"a": 1}
    for limit in (1, 2, 6):
        forward = Recorded(squares)
        seen = []
        IntegratedGradients(lambda x, *rest, seen=seen, forward=forward: seen.append(rest) or forward(x)).attribute(
            numbers(2, 2),
            additional_forward_args=(Shared(edges), Shared(table)),
            n_steps=6,
            internal_batch_size=limit,
        )
        assert set(forward.sizes) == {limit}
        assert all(torch.equal(one, edges) and one is not edges and other is table for one, other in seen)


@pytest.mark.parametrize(
    "unknown",
    [torch.arange(10).reshape(2, 5), torch.zeros(1, 4), [1, 2], np.ones((3, 2)), {"a": 1}, (1, 2)],
    ids=["edges", "one row", "list", "array", "mapping", "tuple"],
)
def test_arguments_of_unknown_role_go_with_one_whole_batch_at_a_time_as_they_are(unknown):
    x, scale = numbers(3, 2), torch.tensor([1.0, 2.0, 3.0])
    for limit in (None, 3, 7):
        forward = Recorded(squares)
        IntegratedGradients(forward).attribute(
            x, additional_forward_args=(scale, unknown, 0.5, None), n_steps=4, internal_batch_size=limit
        )
        assert forward.sizes == [3] * 4
        for _, follows, same, number, none in forward.calls:
            assert follows.tolist() == scale.tolist()
            assert type(same) is type(unknown)
            np.testing.assert_equal(np.asarray(same), np.asarray(unknown))
            assert (number, none) == (0.5, None)


def test_numbers_words_and_functions_are_for_all_rows_and_limit_nothing():
    forward = Recorded(squares)
    IntegratedGradients(forward).attribute(
        numbers(3, 2), additional_forward_args=(2, "word", None, torch.tensor(3.0), len), n_steps=4
    )
    assert forward.sizes == [12]
    assert forward.calls[0][1:] == [2, "word", None, torch.tensor(3.0), len]


def test_of_more_rows_than_the_limit_arguments_follow_their_row():
    forward = Recorded(lambda x, s, *_: x.square().sum(1) * s)
    x, scale, edges = numbers(5, 2), torch.arange(1.0, 6.0), torch.zeros(2, 9)
    actual = IntegratedGradients(forward).attribute(
        x, additional_forward_args=(scale, Shared(edges)), n_steps=4, internal_batch_size=3
    )
    torch.testing.assert_close(actual, x.square() * scale[:, None])
    assert max(forward.sizes) == 3
    for points, follows, shared in forward.calls:
        row = [int((point / x).std(1).argmin()) for point in points]  # the input that the point is a share of
        assert follows.tolist() == scale[row].tolist()
        assert shared.shape == (2, 9)


def test_of_more_rows_than_the_limit_an_argument_of_unknown_role_is_an_error_that_names_shared():
    with pytest.raises(ArgumentError, match=r"`internal_batch_size` .*at least 3.*wrapped in captum_ext.Shared.*got 2"):
        IntegratedGradients(squares).attribute(
            numbers(3, 2), additional_forward_args=torch.zeros(2, 9), internal_batch_size=2
        )


def test_without_a_limit_a_batch_of_any_size_stays_whole_beside_an_argument_of_unknown_role():
    forward = Recorded(squares)
    x = numbers(300, 2)  # more than a CPU gets at once by default
    actual = IntegratedGradients(forward).attribute(x, additional_forward_args=torch.zeros(2, 9), n_steps=2)
    assert forward.sizes == [300, 300]
    torch.testing.assert_close(actual, x.square())


def test_targets_are_tiled_as_arguments_are():
    x = numbers(3, 4)
    for target in ([0, 3, 1], torch.tensor([0, 3, 1])):
        for limit in (2, 3, 7, None):
            actual = IntegratedGradients(lambda v: v.square()).attribute(
                x, target=target, internal_batch_size=limit, n_steps=4
            )
            expected = torch.zeros_like(x).scatter_(1, torch.tensor([[0], [3], [1]]), 1.0) * x.square()
            torch.testing.assert_close(actual, expected)


def test_no_call_is_larger_than_the_limit_where_an_input_is_not_used():
    forward = Recorded(lambda a, b: a.square().sum(1))
    IntegratedGradients(forward).attribute((numbers(6, 2), numbers(6, 2)), n_steps=3, internal_batch_size=2)
    assert max(forward.sizes) == 2
