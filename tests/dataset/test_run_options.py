"""What a run is told of how to go: checked when it is said, not in the middle of the run."""

import numpy as np
import pytest

from captum_ext.dataset import RunOptions, attribute_dataset
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from tests.dataset.toy import Images, Linear, linear


def test_options_are_those_of_a_run_that_nobody_asked_anything_of():
    assert RunOptions() == RunOptions(None, 0, 0, 256, True, None, True)


def test_numbers_of_numpy_become_numbers_of_python():
    options = RunOptions(np.int64(2), np.int64(3), np.int64(4), np.int64(5))
    assert [type(number) for number in (options.batch_size, options.seed, options.num_workers)] == [int] * 3
    assert options == RunOptions(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"batch_size": 0}, ArgumentError, "`batch_size` to be an integer of at least 1, but got 0"),
        ({"batch_size": 2.0}, ArgumentTypeError, "`batch_size` to be an integer of at least 1, but got float 2.0"),
        ({"shard_rows": 0}, ArgumentError, "`shard_rows` to be an integer of at least 1, but got 0"),
        ({"shard_rows": None}, ArgumentTypeError, "`shard_rows` to be an integer of at least 1, but got NoneType"),
        ({"num_workers": -1}, ArgumentError, "`num_workers` to be an integer from 0, but got -1"),
        ({"num_workers": True}, ArgumentTypeError, "`num_workers` to be an integer from 0, but got bool True"),
        ({"seed": -1}, ArgumentError, "`seed` to be an integer from 0, but got -1"),
        ({"seed": 2**63}, ArgumentError, r"`seed` to be an integer from 0 to 2\^63 - 1, but got 9223372036854775808"),
        ({"seed": "0"}, ArgumentTypeError, "`seed` to be an integer from 0, but got str '0'"),
        ({"resume": 1}, ArgumentTypeError, "`resume` to be True or False, but got int 1"),
        ({"configuration": "a"}, ArgumentTypeError, "`configuration` to be a mapping or None, but got str 'a'"),
        ({"show_progress": None}, ArgumentTypeError, "`show_progress` to be True, False or a function, but got None"),
    ],
)
def test_options_that_cannot_be_used_say_so(change, error, message):
    with pytest.raises(error, match=message):
        RunOptions(**change)


def test_a_run_takes_options_and_nothing_that_looks_like_them(tmp_path):
    with pytest.raises(ArgumentTypeError, match="`run` to be RunOptions, but got dict {'batch_size': 2}"):
        attribute_dataset(linear(), Images(2), tmp_path / "out", target=0, run={"batch_size": 2})
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_limited_goes_on_with_the_rows_of_one_that_is_not(tmp_path):
    rows = {"fields": ("score", "map"), "target": 0}
    for limit in (2, 4, None):
        options = RunOptions(batch_size=2, limit=limit, show_progress=False)
        part = attribute_dataset(linear(), Images(5), tmp_path / "parts", **rows, run=options)
        assert len(part) == (limit or 5)
        assert part.complete == (limit is None)
    whole = RunOptions(batch_size=2, show_progress=False)
    undisturbed = attribute_dataset(linear(), Images(5), tmp_path / "whole", **rows, run=whole)
    assert part.table().equals(undisturbed.table())
    assert part.maps().equal(undisturbed.maps())


def test_a_limit_of_no_samples_is_refused():
    with pytest.raises(ArgumentError, match="`limit` to be an integer of at least 1, but got 0"):
        RunOptions(limit=0)


class Emptying:
    """A method that changes the images that it is given, after it has explained them."""

    def __init__(self):
        self.forward_func = Linear().eval()

    def attribute(self, inputs, target=None):
        maps = inputs * Linear().weight.detach()[0].reshape(1, 2, 2, 1)
        inputs.zero_()
        return maps


def test_a_method_that_changes_its_images_is_scored_on_what_they_were(tmp_path):
    rows = {"fields": ("deletion",), "target": 0, "run": RunOptions(show_progress=False)}
    changed = attribute_dataset(Emptying(), Images(4), tmp_path / "changed", **rows)
    undisturbed = attribute_dataset(linear(), Images(4), tmp_path / "undisturbed", **rows)
    assert changed.table(["deletion"]) == undisturbed.table(["deletion"])
