"""Runs as a table: what is in it, in which order, and what is said of runs that are not whole."""

import shutil
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from captum_ext.dataset.file_marks import MARKS, write_marks
from captum_ext.exceptions import ArgumentError, RunFolderError
from captum_ext_integrations.viewer import answers
from captum_ext_integrations.viewer.classes import Classes
from captum_ext_integrations.viewer.collection import opened
from captum_ext_integrations.viewer.disagreement import disagreement
from captum_ext_integrations.viewer.questions import Question
from tests.integrations.viewer.runs import columns_of, small_run, write_run


@pytest.fixture
def run(tmp_path):
    return small_run(tmp_path / "ig")


def indices(collection, **asked):
    order = collection.order(Question(**asked))
    return collection.index[order].tolist()


def test_rows_come_in_the_order_of_a_column_and_what_has_no_number_comes_last(tmp_path):
    score = [3.0, np.nan, 1.0, 2.0]
    columns = columns_of(range(4), np.ones((4, 2, 2)), ["d", "c", "b", "a"], score=score)
    found = opened([write_run(tmp_path / "run", columns, 4, target=None)])
    assert indices(found, sort="score") == [2, 3, 0, 1]
    assert indices(found, sort="score", descending=True) == [0, 3, 2, 1]
    assert indices(found, sort="score@0", least=2.0) == [3, 0]
    assert indices(found, sort="score", most=2.0) == [2, 3]
    assert indices(found, sort="name") == [3, 2, 1, 0]
    assert indices(found, sort="unknown") == [0, 1, 2, 3]
    assert "There is no column “unknown”" in answers.rows(found, Question(sort="unknown"), [])["said"][0]


def test_the_order_and_the_filters_are_said_in_words(tmp_path):
    one = opened([small_run(tmp_path / "ig")])
    assert answers.rows(one, Question(), [])["asked"] == ""
    assert answers.asked(one, Question(sort="score", least=0.5, most=2)) == "by score, smallest first, from 0.5, to 2"
    several = opened([tmp_path / "ig", small_run(tmp_path / "lpi", seed=1)])
    by_both = Question(sort="disagreement", descending=True, right="wrong", state="row", name="a\n", target="7")
    assert answers.asked(several, by_both) == (
        "by disagreement of ig and lpi, largest first, name has “a\\n”, target has “7”, wrong in a run, with a row in "
        "each run"
    )
    assert answers.asked(several, Question(sort="score@1")) == "by score of lpi, smallest first"
    assert answers.asked(several, Question(descending=True)) == "by number of the sample, largest first"


def test_filters_by_name_class_prediction_and_right_or_wrong(run):
    found = opened([run])
    assert indices(found, name="B/") == [1, 3, 5, 7, 9, 11]
    assert indices(found, target="1") == [1, 3, 5, 7, 9, 11]
    assert indices(found, prediction="1", target="0") == [0, 6]
    assert indices(found, right="wrong") == [0, 3, 6, 9]
    assert indices(found, right="right", target="1") == [1, 5, 7, 11]
    assert indices(found, name="nothing") == []


def test_right_or_wrong_is_not_known_of_a_run_that_explains_predictions(tmp_path):
    found = opened([small_run(tmp_path / "run", target="predicted")])
    assert indices(found, right="wrong") == indices(found, right="right") == []
    unknown = "No run knows which predictions are right: those with --target label do."
    assert answers.rows(found, Question(right="wrong"), [])["said"] == [unknown]
    known = opened([small_run(tmp_path / "label"), tmp_path / "run"])
    assert answers.rows(known, Question(right="wrong"), [])["said"] == []


def test_ten_thousand_classes_are_asked_for_by_number_or_by_a_part_of_their_names(run):
    classes = Classes({k: f"Class {k:05d}" for k in range(10_000)} | {1: "tiger cat"})
    found = opened([run], classes)
    assert indices(found, target="TIGER") == [1, 3, 5, 7, 9, 11]
    assert indices(found, target="class 00000") == [0, 2, 4, 6, 8, 10]
    row = answers.rows(found, Question(), [])["rows"][1]
    assert row["classes"] == {"target@0": "tiger cat (1)", "prediction@0": "tiger cat (1)"}


def test_the_names_of_classes_are_those_of_the_folders_where_labels_were_explained(tmp_path):
    dataset = {"class": "ImageFolder", "n_samples": 12, "files": "1", "class_to_idx": {"cat": 0, "dog": 1}}
    assert opened([small_run(tmp_path / "a", dataset=dataset)]).classes.name(1) == "dog (1)"
    other = opened([small_run(tmp_path / "b", dataset=dataset, target="predicted")])
    assert other.classes.name(1) == "1"  # folders are not the classes of the model there


def test_several_runs_stand_beside_each_other_and_are_compared(tmp_path):
    folders = [small_run(tmp_path / "ig"), small_run(tmp_path / "more" / "ig", seed=1, n=12)]
    found = opened(folders)
    assert found.labels == ["ig (1)", "ig (2)"]
    found.comparisons.compute()
    first, second = (np.stack([found.map_of(run, place) for place in range(12)]) for run in range(2))
    expected = disagreement(first, second)
    np.testing.assert_allclose(found.values("disagreement@0-1"), expected, atol=1e-6)
    assert indices(found, sort="disagreement", descending=True) == np.argsort(-expected, kind="stable").tolist()


def test_maps_are_compared_in_the_background_which_makes_way_and_ends_when_told(tmp_path):
    found = opened([small_run(tmp_path / name, seed=k) for k, name in enumerate("ab")])
    found.comparisons.make_way()
    found.comparisons.start()
    found.comparisons.stop()
    while not found.comparisons.is_done:
        time.sleep(0.01)
    assert np.isnan(found.values("disagreement@0-1")).all()
    found.read_again()
    found.comparisons.make_way()
    found.comparisons.start()
    while not found.comparisons.is_done:
        time.sleep(0.01)
    assert found.comparisons.share == 1
    assert np.isfinite(found.values("disagreement@0-1")).all()


def test_a_sample_that_has_failed_in_one_run_is_there_with_its_error(tmp_path):
    failures = [{"index": 3, "name": "b/3.png", "error": "OSError: broken"}]
    chance = np.random.default_rng(0)
    names = [f"{k}.png" for k in (0, 1, 2)]
    part = columns_of((0, 1, 2), chance.normal(size=(3, 4, 4)), names, score=[1.0, 2.0, 3.0])
    whole = columns_of(range(4), chance.normal(size=(4, 4, 4)), [*names, "b/3.png"], score=[1.0, 2.0, 3.0, 4.0])
    folders = [write_run(tmp_path / "a", part, 4, failures=failures), write_run(tmp_path / "b", whole, 4)]
    found = opened(folders)
    assert found.notices == []
    row = answers.rows(found, Question(state="failed"), [])["rows"]
    assert [(one["index"], one["name"], one["errors"], one["has"]) for one in row] == [
        (3, "b/3.png", ["OSError: broken", None], [False, True])
    ]
    assert indices(found, state="row") == [0, 1, 2]
    found.comparisons.compute()
    assert np.isnan(found.values("disagreement@0-1")).tolist() == [False, False, False, True]


def test_runs_without_a_sample_in_common_are_refused(tmp_path):
    first = small_run(tmp_path / "a")
    dataset = {"class": "ImageFolder", "files": "2"}
    other = small_run(tmp_path / "b", n=8, names=[f"other/{k}.png" for k in range(8)], dataset=dataset)
    expected = (
        r"`runs` to be over the same samples as a, or some of them, but got .*\(a of 12, b of 8\) without a sample"
    )
    with pytest.raises(ArgumentError, match=expected):
        opened([first, other])
    unnamed = small_run(tmp_path / "c", dataset={"class": "TensorDataset"})
    assert "taken for granted" in " ".join(opened([first, unnamed]).notices)
    with pytest.raises(ArgumentError, match="without a sample in common"):
        opened([first, write_run(tmp_path / "d", columns_of(range(2), np.ones((2, 2, 2)), score=[1.0, 2.0]), 2)])


def test_of_runs_over_other_samples_those_are_shown_that_all_have_by_name(tmp_path):
    first = small_run(tmp_path / "all")
    names = ["b/7.png", "b/1.png", "new.png", "a/4.png", "twice.png", "twice.png"]
    failures = [{"index": 6, "name": "a/2.png", "error": "OSError: broken"}]
    scores = [7.0, 1.0, 0.0, 4.0, 0.0, 0.0]
    maps = np.random.default_rng(9).normal(size=(6, 4, 4))
    dataset = {"class": "ImageFolder", "files": "2"}
    other = write_run(
        tmp_path / "some", columns_of(range(6), maps, names, score=scores), 7, failures=failures, dataset=dataset
    )
    found = opened([first, other])
    assert indices(found) == [1, 2, 4, 7]
    assert found.values("score@1")[[0, 2, 3]].tolist() == [1, 4, 7]
    assert np.isnan(found.values("score@1")[1])
    assert found.error(1, 1) == "OSError: broken"
    assert [found.name(place) for place in range(4)] == ["b/1.png", "a/2.png", "a/4.png", "b/7.png"]
    np.testing.assert_allclose(found.map_of(1, 3), maps[0], atol=2e-3)
    np.testing.assert_array_equal(found.map_of(0, 3), opened([first]).map_of(0, 7))
    found.comparisons.compute()
    expected = disagreement(np.stack([found.map_of(0, k) for k in (0, 2, 3)]), maps[[1, 3, 0]])
    np.testing.assert_allclose(found.values("disagreement@0-1")[[0, 2, 3]], expected, atol=1e-3)
    (notice,) = found.notices
    assert notice == (
        "The runs are over other samples (all of 12, some of 7): shown are the 4 that all of them have, by name, with "
        "the numbers of all."
    )
    found.read_again()
    assert indices(found) == [1, 2, 4, 7]
    assert indices(opened([other, first])) == [0, 1, 3, 6]


def test_a_file_of_the_same_name_that_is_another_one_is_left_out(tmp_path):
    first = small_run(tmp_path / "a")
    other = small_run(tmp_path / "b", n=4, dataset={"class": "ImageFolder", "files": "2"})
    write_marks(first / MARKS, np.arange(12))
    write_marks(other / MARKS, np.array([0, -1, 2, 33]))
    found = opened([first, other])
    assert indices(found) == [0, 1, 2]
    assert found.notices[-1].endswith("the numbers of a; 1 of the same name are other files.")
    write_marks(other / MARKS, np.full(4, 99))
    with pytest.raises(ArgumentError, match="without a sample in common; 4 of the same name are other files"):
        opened([first, other])


def test_a_run_that_is_still_written_is_shown_as_far_as_it_is_and_read_again(tmp_path):
    chance = np.random.default_rng(0)
    columns = columns_of(range(4), chance.normal(size=(4, 2, 2)), score=[1.0, 2.0, 3.0, 4.0])
    out = write_run(tmp_path / "run", columns, 8)
    found = opened([out])
    assert indices(found) == [0, 1, 2, 3]
    assert found.notices == ["run has 4 of 8 samples: it is still written, or was stopped."]
    shutil.copytree(out, tmp_path / "before")
    more = columns_of(range(4, 8), chance.normal(size=(4, 2, 2)), score=[1.0, 2.0, 3.0, 0.0])
    whole = {name: np.concatenate([columns[name], more[name]]) for name in columns}
    shutil.rmtree(out)
    write_run(out, whole, 8)
    found.read_again()
    assert indices(found, sort="score")[0] == 7
    assert found.notices == []


def test_damaged_and_missing_files_are_said_and_the_rest_is_shown(run):
    first, second, third = sorted(run.glob("rows-*.parquet"))
    first.write_bytes(first.read_bytes()[:-40])
    third.unlink()
    found = opened([run])
    assert indices(found) == [4, 5, 6, 7]
    damaged, missing, partly = found.notices
    assert f"1 file ({first.name}: " in damaged
    assert "of ig damaged: the rows in there are not shown" in damaged
    assert missing == f"1 file ({third.name}) of ig missing: the rows in there are not shown."
    assert partly.startswith("ig has 4 of 12 samples")
    place = pq.ParquetFile(second).metadata.row_group(0).column(5).data_page_offset + 60
    content = second.read_bytes()
    second.write_bytes(content[:place] + bytes(8) + content[place + 8 :])
    for _ in range(2):
        with pytest.raises(RunFolderError, match=rf"{second.name} is damaged"):
            found.map_of(0, 0)
    (unread,) = found.runs[0].notices[2:]
    assert unread.startswith(f"Of {second.name} of ig maps are not shown, and not compared: ")
    assert str(run) not in unread
    second.unlink()
    with pytest.raises(RunFolderError, match=r"is gone"):
        found.map_of(0, 0)
    assert found.runs[0].notices[3:] == [f"Of {second.name} of ig maps are not shown, and not compared: it is gone."]
    other = opened([run, small_run(run.parent / "lpi")])
    second.mkdir()
    other.comparisons.compute()
    other.read_again()
    assert any(f"{second.name} is a folder" in one for one in other.notices)
    assert not any(str(run) in one for one in other.notices)


def test_files_that_cannot_be_compared_are_said(run, tmp_path):
    found = opened([run, small_run(tmp_path / "lpi", seed=1)])
    first = sorted(run.glob("rows-*.parquet"))[0]
    first.unlink()
    found.comparisons.compute()
    assert found.notices == [f"Of {first.name} of ig maps are not shown, and not compared: it is gone."]
    assert np.isfinite(found.values("disagreement@0-1")).tolist() == [False] * 4 + [True] * 8


def test_what_is_no_run_or_of_a_newer_version_is_refused_in_words(run, tmp_path):
    with pytest.raises(RunFolderError, match=r"holds no run, which has a manifest.json. There are runs in it: ig\."):
        opened([run.parent])
    with pytest.raises(RunFolderError, match="is no folder of a run"):
        opened([tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match=r"empty holds no run, which has a manifest.json\.$"):
        opened([tmp_path / "empty"])
    (tmp_path / "empty" / "manifest.json").write_text("{")
    with pytest.raises(RunFolderError, match="not the manifest of a run"):
        opened([tmp_path / "empty"])
    manifest = run / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 2', '"version": 3'))
    with pytest.raises(RunFolderError, match="written by a newer version"):
        opened([run])
    with pytest.raises(ArgumentError, match="`runs` to be 1 to 16 folders of runs, but got 17"):
        opened([run] * 17)


def test_maps_of_several_channels_and_runs_without_maps_are_said(tmp_path):
    columns = columns_of(range(3), np.ones((3, 2, 2)), score=[1.0, 2.0, 3.0])
    columns = {name: values for name, values in columns.items() if not name.startswith("map")}
    found = opened([write_run(tmp_path / "run", columns, 3, dataset={})])
    assert found.map_of(0, 1) is None
    assert "run has no maps." in found.notices


def test_points_of_curves_are_read_when_a_sample_is_looked_at_and_are_no_columns(run, tmp_path):
    found = opened([small_run(tmp_path / "lpi", curves=True), run])
    assert found.curves_of(1, 5) == {}
    assert found.curves_of(0, 5)["insertion"].tolist() == [[0, 0.25, 0.5, 0.75, 1], [5, 5.25, 5.5, 5.75, 6]]
    keys = [column.key for column in found.columns()]
    assert "insertion@0" in keys
    assert not any("curve" in key for key in keys)
    told = answers.curves(found, 5)
    assert told[0]["insertion"] == {"shares": [0, 0.25, 0.5, 0.75, 1], "scores": [5, 5.25, 5.5, 5.75, 6]}
    assert told[1] == {}
    assert answers.about(found, None)["curves"]
    assert "on the page of a sample" in answers.about(found, None)["no_curves"]
    assert "keep the areas of curves" in answers.about(opened([run]), None)["no_curves"]


def test_nothing_is_written_into_a_run(run):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    found = opened([run])
    found.comparisons.compute()
    found.read_again()
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"page": "-1"}, "“-1” for “page” was left out: it is to be a whole number from 1 to 1000000000."),
        ({"rows": "9" * 30}, "for “rows” was left out"),
        ({"least": "x\x1b[2J"}, "“x\\x1b[2J” for “least” was left out: it is to be a number."),
        ({"right": "<b>"}, "“<b>” for “right” was left out: it is to be one of right, wrong."),
    ],
)
def test_what_nobody_can_mean_in_a_link_is_left_out_and_said(given, said):
    question, found = Question.of(given)
    assert question == Question()
    assert said in found[0]


def test_a_question_is_the_same_when_it_has_been_a_link():
    from urllib.parse import parse_qsl

    asked = Question("score@1", True, "a&b=ü", "7", "cat", "wrong", "row", -1.5, 2.0, 3, 48)
    assert Question.of(dict(parse_qsl(asked.link()))) == (asked, [])
    assert Question().link() == ""
