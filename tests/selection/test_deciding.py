"""The three answers from tables of scores, as sentences, and what is refused."""

import numpy as np
import pytest

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.selection import Kind, decide

GENERATOR = np.random.default_rng(0)
NOISE = GENERATOR.normal(size=(6, 60))
EASE = 3 * GENERATOR.normal(size=60)  # of the images, for all methods alike


def scores(**means):
    return {name: EASE + NOISE[place] + mean for place, (name, mean) in enumerate(means.items())}


def test_a_method_that_is_better_than_all_others_and_the_controls_is_to_be_used():
    answer = decide(scores(ig=0.0, eg=0.1, lpi=2.0), {"random": EASE + NOISE[4] - 3})
    assert answer.kind is Kind.USE
    assert answer.methods == ("lpi",)
    assert answer.n_images < 60
    said = f"Use lpi. On {answer.n_images} of 60 images it is significantly better than each of the 2 other methods"
    assert str(answer).startswith(said)
    assert "and than its controls (random)" in str(answer)
    assert answer.standing("ig").dropped_by == "lpi"
    assert answer.standing("ig").dropped_after <= answer.n_images


def test_methods_that_cannot_be_told_apart_are_named_with_the_cheapest():
    answer = decide(scores(ig=2.0, eg=2.1, rise=0.0), costs={"ig": 20, "eg": 12.5, "rise": 1})
    assert answer.kind is Kind.TIED
    assert answer.methods == ("eg", "ig")
    said = "eg and ig cannot be told apart on all 60 images; eg is the cheapest (12.5 gradients an image). "
    assert str(answer) == said + "1 other method is worse."


def test_methods_that_beat_no_control_are_no_answer():
    answer = decide(scores(ig=0.0, eg=0.1), {"random": EASE + NOISE[4] - 3, "edges": EASE + NOISE[5] + 1})
    assert answer.kind is Kind.NONE
    assert answer.methods == ()
    said = "None of the 2 methods beats its controls (random and edges) on all 60 images: eg, the best, is not better "
    assert str(answer).startswith(said + "than edges (mean difference from edges -")


def test_the_method_that_is_a_control_is_named_as_not_beating_it():
    edges = EASE + NOISE[5] - 3
    answer = decide({**scores(ig=1.0), "mine": edges}, {"edges": edges, "random": EASE + NOISE[4] - 3})
    assert answer.kind is Kind.USE
    assert answer.methods == ("ig",)
    assert answer.standing("mine").unbeaten == ("edges", "random")
    assert str(answer).endswith("mine does not beat its controls edges and random.")


def test_one_method_is_compared_with_its_controls_alone():
    assert str(decide(scores(ig=2.0), {"random": EASE - 1})).startswith("Use ig, the only method: on ")
    answer = decide(scores(ig=0.0), {"random": EASE})
    assert str(answer).startswith("The method does not beat its controls (random) on all 60 images")


def test_scores_without_spread_cannot_be_told_apart():
    answer = decide({"a": np.ones(10), "b": np.ones(10)})
    assert answer.kind is Kind.TIED
    assert set(answer.methods) == {"a", "b"}


def test_a_method_without_scores_on_many_images_is_left_out_and_named():
    table = scores(ig=0.0, eg=2.0)
    table["ig"][::3] = np.nan
    answer = decide(table, {"random": EASE - 5})
    assert answer.left_out == {"ig": "no score on 2 of 5 images on which another has one"}
    assert answer.methods == ("eg",)


def test_images_without_any_score_do_not_count_and_are_told_of():
    table = scores(ig=0.0, eg=2.0)
    for column in table.values():
        column[:3] = np.nan
    answer = decide(table)
    assert answer.methods == ("eg",)
    assert "On 3 of these images no method has a score: they do not count." in str(answer)


def test_the_order_of_the_images_within_a_group_does_not_matter():
    table = scores(ig=0.0, eg=0.8, lpi=0.9)
    shuffled = {name: column.reshape(-1, 5)[:, ::-1].reshape(-1) for name, column in table.items()}
    one, other = decide(table), decide(shuffled)
    assert (one.kind, one.methods, one.n_images) == (other.kind, other.methods, other.n_images)


def test_there_are_no_more_than_twenty_looks():
    assert decide({"a": np.arange(200.0), "b": np.arange(200.0)}, group_size=1).n_looks == 20


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({}, ArgumentError, "`scores` to be of at least one method"),
        ({"a": [1.0] * 4}, ArgumentError, "of at least 5 images"),
        ({"a": [1.0] * 6, "b": [1.0] * 7}, ArgumentError, "one score of each image for every method"),
        ({"a": [float("nan")] * 6}, ArgumentError, "on which the criteria that decide are defined"),
        ({"a": "text"}, ArgumentTypeError, r"`scores\['a'\]` to be numbers"),
        ({"a": [[1.0]]}, ArgumentError, "one number for each image"),
        ([1.0], ArgumentTypeError, "a mapping of names to scores"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(given, error, match):
    with pytest.raises(error, match=match):
        decide(given)


@pytest.mark.parametrize("alpha", [0, 1, -0.1])
def test_a_level_that_is_none_is_refused(alpha):
    with pytest.raises(ArgumentError, match="`alpha`"):
        decide({"a": [1.0] * 6}, alpha=alpha)


def test_a_group_of_nothing_is_refused():
    with pytest.raises(ArgumentError, match="`group_size`"):
        decide({"a": [1.0] * 6}, group_size=0)
