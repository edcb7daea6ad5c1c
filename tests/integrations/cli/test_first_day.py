"""What a user meets on the first day: classes by name, deltas that are explained, images that do not count."""

import types

import numpy as np
import pytest
from PIL import Image

from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.cli import commands, folder_runs, left_out
from captum_ext_integrations.cli.classes import class_of
from captum_ext_integrations.cli.deltas import about_delta
from captum_ext_integrations.cli.methods import MethodSpec
from captum_ext_integrations.cli.models import ModelSpec
from tests.integrations.cli.calls import FEW_STEPS, call, fail, succeed

NAMES = ("tabby, tabby cat", "tiger cat", "Egyptian cat", "crane", "Crane", "maillot", "maillot")


def named(*names):
    return types.SimpleNamespace(class_names=names)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (3, 3),
        ("predicted", "predicted"),
        ("label", "label"),
        ("tiger cat", 1),
        ("TIGER CAT", 1),
        (" tiger cat ", 1),
        ("tabby cat", 0),
        ("tabby", 0),
        ("tabby, tabby cat", 0),
        ("crane", 3),
        ("Crane", 4),
    ],
)
def test_a_class_goes_by_its_name_whatever_its_case(target, expected):
    assert class_of(named(*NAMES), target) == expected


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("CRANE", r"the number of one of these classes, but got 'CRANE': crane \(3\), Crane \(4\)"),
        ("maillot", r"but got 'maillot': maillot \(5\), maillot \(6\)"),
        ("tigre cat", r"the name of a class, but got 'tigre cat'; close names are tiger cat \(1\), "),
        ("cat", r"close names are .*tiger cat \(1\).*Egyptian cat \(2\)"),
        ("spaceship", r"the name of a class, but got 'spaceship'; none of 7 names is close"),
        ("", r"but got ''; none of 7 names is close"),
    ],
)
def test_an_unknown_or_ambiguous_name_lists_the_close_ones(target, message):
    with pytest.raises(ArgumentError, match=message):
        class_of(named(*NAMES), target)


def test_a_model_without_names_says_so():
    with pytest.raises(ArgumentError, match=r"\"label\", but got 'cat': this model has no names"):
        class_of(named(), "cat")


def test_every_command_takes_a_name(here):
    model = ["--model", "torchvision:resnet18", "--weights", "resnet18.pth", "--crop", "32", "--resize", "32"]
    few = [*model, "--n-steps", "2"]
    by_name = succeed("explain", "cat.png", *few, "--target", "tiger cat", "--out", "name.npy")
    by_number = succeed("explain", "cat.png", *few, "--target", 282, "--out", "number.npy")
    assert by_name.splitlines()[0] == by_number.splitlines()[0]
    assert "tiger cat" in by_name
    np.testing.assert_array_equal(np.load("name.npy"), np.load("number.npy"))
    run = ["run", "photos", *few, "--limit", 1, "--out", "out", "--target"]
    succeed(*run, "tiger cat")
    succeed(*run, 282)
    assert "tabby (281)" in fail("upsample", "cat.png", *model, "--target", "tabbby")
    assert "tabby (281)" in fail("run", "photos", *few, "--target", "tabbby", "--out", "new")
    assert "tabby (281)" in fail("evaluate", "photos", *few, "--method", "ig", "--target", "tabbby", "--out", "new")


def spec(name, n_steps=None):
    return MethodSpec(name, ModelSpec("x:y"), n_steps=n_steps)


def test_a_small_delta_is_not_explained():
    assert about_delta(1.1, 0.1, spec("ig")) == []
    assert about_delta(-1.1, -0.1, spec("ig")) == []
    assert about_delta(0.0, 0.0, spec("ig")) == []


def test_a_large_delta_says_what_it_means_and_what_to_try():
    meaning, tries = about_delta(3.0, -3.0, spec("ig", 25))
    assert meaning.startswith(
        "The attributions should sum to 6, the score minus that of the baseline or the references"
    )
    assert "but sum to 3: off by 50 %." in meaning
    assert tries.startswith("To try: --n-steps 100; or --method idgi, whose attributions sum to the difference")


def test_what_is_tried_fits_the_method():
    assert about_delta(3.0, -3.0, spec("idgi"))[1] == "To try: --n-steps 80."
    assert about_delta(1.0, 1.0, spec("ig"))[0].endswith("sum to 1: off. Read the map with that in mind.")
    assert "--n-steps" not in " ".join(about_delta(3.0, -3.0, spec("captum.attr:DeepLift")))


def test_the_shell_explains_a_large_delta_where_it_prints_it(here, monkeypatch):
    def rows(self, batch):
        return {"score": [1.0], "delta": [0.5], "map": [np.ones((2, 2))]}, {}

    monkeypatch.setattr(commands.RowMaker, "rows", rows)
    lines = succeed("explain", "cat.png", *FEW_STEPS).splitlines()
    assert lines[0].endswith("score 1, convergence delta 0.5")
    assert "should sum to 3.5" in lines[1]
    assert "but sum to 4: off by 14 %" in lines[1]
    assert lines[2].startswith("To try: --n-steps 16; or --method idgi")
    assert lines[3] == "map.png"


class Run:
    """A run of four images as left_out sees it."""

    def __init__(self, rows, failures=()):
        self.rows, self.failures, self.manifest = rows, list(failures), {"n_samples": 4}

    def __len__(self):
        return len(self.rows)

    def table(self):
        columns = {key: [row[key] for row in self.rows] for key in self.rows[0]}
        return types.SimpleNamespace(to_pydict=lambda: columns)


def row(index, **scores):
    return {"index": index, "name": f"{index}.png", "score": 1.0, "insertion": 0.5, "diff_id": 0.5, **scores}


def test_nothing_is_said_where_every_image_counts():
    run = Run([row(index) for index in range(4)])
    assert left_out.reasons({"ig": run, "eg": run}, ["insertion", "diff_id"]) == []


def test_it_is_said_which_image_does_not_count_for_which_method_and_why():
    failed = [{"index": 3, "name": "3.png", "error": "cannot identify image file"}]
    ig = Run([row(0, score=-0.25, diff_id=None), row(1), row(2)], failed)
    cam = Run([row(0, score=-0.25, diff_id=None), row(1, diff_id=float("nan"), insertion=None), row(2)], failed)
    assert left_out.reasons({"ig": ig, "gradcam": cam}, ["insertion", "diff_id"]) == [
        "insertion: 2 of 4 images count. The others:",
        "  1.png: gradcam: the map is constant, so that it ranks no pixels",
        "  3.png: cannot identify image file",
        "diff_id: 1 of 4 images count. The others:",
        "  0.png: the score of the class is -0.25: not positive, so that no share of it can be taken",
        "  1.png: gradcam: the map is constant, so that it ranks no pixels",
        "  3.png: cannot identify image file",
    ]


def test_metrics_with_the_same_images_left_out_share_the_lines():
    run = Run([row(index) for index in range(3)], [{"index": 3, "name": None, "error": "broken"}])
    assert left_out.reasons({"ig": run}, ["insertion", "diff_id"]) == [
        "insertion, diff_id: 3 of 4 images count. The others:",
        "  3: broken",
    ]


def test_of_many_images_that_do_not_count_ten_are_named(monkeypatch):
    run = Run([], [{"index": place, "name": f"{place:02}", "error": "broken"} for place in range(12)])
    run.manifest = {"n_samples": 12}
    lines = left_out.reasons({"ig": run}, ["insertion"])
    assert lines[0] == "insertion: 0 of 12 images count. The others:"
    assert lines[1] == "  00: broken"
    assert lines[-1] == "  and 2 more"
    assert len(lines) == 12


def test_evaluate_says_why_an_image_does_not_count(here):
    (here / "mixed").mkdir()
    for place, color in enumerate(("red", "green", "blue")):
        Image.new("RGB", (40, 40), color).save(here / "mixed" / f"{place}.png")
    (here / "mixed" / "notes.txt").write_text("no image")
    result = call("evaluate", "mixed", *FEW_STEPS, "--method", "ig", "--metric", "deletion", "--out", "scores")
    assert result.exit_code == 1
    lines = result.output.splitlines()
    place = lines.index("deletion: 3 of 4 images count. The others:")
    assert lines[place + 1].startswith("  notes.txt: ")
    assert lines[-2:] == ["scores/scores.csv", "scores/scores.png"]


def test_the_layer_of_a_method_that_has_none_is_none():
    assert folder_runs.layer_of(object()) is None
    assert folder_runs.layer_of(types.SimpleNamespace(layer="a.b")) == "a.b"
    assert folder_runs.layer_of(types.SimpleNamespace(layer=3)) is None
