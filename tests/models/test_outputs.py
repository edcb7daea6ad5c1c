"""Which part of what a model returns has the rows."""

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from captum_ext.exceptions import AdaptError, ArgumentError, ArgumentTypeError, ModelOutputError, OutputRowsError
from captum_ext.models import adapt
from tests.models.networks import Returning


@dataclass
class ModelOutput:
    logits: Any
    loss: Any = None


GoogLeNetOutputs = namedtuple("GoogLeNetOutputs", ["logits", "aux"])


@pytest.mark.parametrize(
    ("wrap", "shown"),
    [
        (lambda scores, images: scores, "the output"),
        (lambda scores, images: {"logits": scores, "loss": None}, "output 'logits'"),
        (lambda scores, images: ModelOutput(scores), "output 'logits'"),
        (lambda scores, images: GoogLeNetOutputs(scores, scores), "output 'logits'"),
        (lambda scores, images: {"probabilities": scores}, "output 'probabilities'"),
        (lambda scores, images: (scores, images), "output 0"),
        (lambda scores, images: (images, scores), "output 1"),
        (lambda scores, images: [scores], "output 0"),
    ],
)
def test_scores_are_found_and_are_the_models(wrap, shown):
    torch.manual_seed(0)
    net = Returning(wrap).eval()
    adapted = adapt(net, size=8)
    images = torch.rand(3, 3, 8, 8)
    assert f"scores (N, 4) from {shown} " in str(adapted)
    assert torch.equal(adapted(images), net.net(images))
    assert (adapted.kind, adapted.n_outputs) == ("scores", 4)


@pytest.mark.parametrize("output", ["second", 1, lambda returned: returned["second"]])
def test_a_part_that_is_given_is_taken(output):
    net = Returning(
        lambda scores, images: (scores, 2 * scores) if output == 1 else {"first": scores, "second": 2 * scores}
    ).eval()
    adapted = adapt(net, size=8, output=output)
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(adapted(images), 2 * net.net(images))
    assert "(given)" in str(adapted).splitlines()[1]


@pytest.mark.parametrize(
    ("wrap", "received"),
    [
        (
            lambda scores, images: (scores, scores),
            "several parts that may be the scores: tuple of 0: (2, 4), 1: (2, 4)",
        ),
        (lambda scores, images: {"a": scores, "b": scores}, "several parts .*: dict of a: (2, 4), b: (2, 4)"),
        (lambda scores, images: {"a": scores[0]}, "no part with a row for each image: dict of a: (4,)"),
    ],
)
def test_what_is_not_clear_is_an_error_that_lists_the_parts(wrap, received):
    match = received.replace("(", r"\(").replace(")", r"\)") + ".*Pass output="
    with pytest.raises(AdaptError, match=match):
        adapt(Returning(wrap).eval(), size=8)


@pytest.mark.parametrize(
    ("output", "error", "match"),
    [
        ("probs", ArgumentError, r"a part of what the model returns: dict of logits: \(2, 4\), labels: \(2,\)"),
        (3, ArgumentError, "a part of what the model returns"),
        (None, AdaptError, None),
        (1.5, ArgumentTypeError, "a key, an attribute, a position or a function"),
        (lambda returned: returned["logits"][:1], OutputRowsError, "one row for each of the 2 images"),
        (lambda returned: "cat", ModelOutputError, "to be a tensor, but got str 'cat'"),
        ("labels", ModelOutputError, "classes that are chosen already have no gradient"),
    ],
)
def test_a_part_that_is_not_there_or_has_no_scores_is_refused(output, error, match):
    net = Returning(lambda scores, images: {"logits": scores, "labels": scores.argmax(1)}).eval()
    if output is None:
        assert adapt(net, size=8).kind == "scores"
        return
    with pytest.raises(error, match=match):
        adapt(net, size=8, output=output)


def test_maps_of_a_segmentation_have_a_row_for_each_image():
    net = Returning(lambda scores, images: {"out": scores[:, :, None, None] * images[:, :1]}).eval()
    adapted = adapt(net, size=8)
    assert (adapted.kind, adapted.n_outputs) == ("maps", 4)
    assert adapted(torch.rand(2, 3, 8, 8)).shape == (2, 4, 8, 8)


def test_detections_stay_as_the_model_returns_them():
    def found(scores, images):
        return [
            {"boxes": torch.zeros(k, 4), "scores": row[:k], "labels": torch.ones(k)} for k, row in enumerate(scores, 1)
        ]

    adapted = adapt(Returning(found).eval(), size=8)
    images = torch.rand(3, 3, 8, 8)
    assert [len(one["boxes"]) for one in adapted(images)] == [1, 2, 3]
    assert adapted.kind == "detections"
    none = adapt(Returning(lambda scores, images: [{"scores": row[:0]} for row in scores]).eval(), size=8)
    assert "no detection in random images" in str(none)
    fewer = adapt(Returning(lambda scores, images: found(scores, images)[:2]).eval(), size=8)
    with pytest.raises(OutputRowsError, match="detections for each of the 3 images"):
        fewer(images)


def test_detections_of_transformers_stay_whole():
    def found(scores, images):
        return {"logits": scores[:, None], "pred_boxes": scores[:, None].sigmoid()}

    adapted = adapt(Returning(found).eval(), size=8)
    assert adapted.kind == "detections"
    assert set(adapted(torch.rand(2, 3, 8, 8))) == {"logits", "pred_boxes"}


def test_an_output_that_changes_later_is_refused():
    net = Returning(lambda scores, images: {"logits": scores}).eval()
    adapted = adapt(net, size=8)
    net.wrap = lambda scores, images: {"other": scores}
    with pytest.raises(ModelOutputError, match="no part 'logits'"):
        adapted(torch.rand(2, 3, 8, 8))
