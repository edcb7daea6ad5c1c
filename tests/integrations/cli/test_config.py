"""Long calls from a file: the same as on the command line, which wins; keys and types that are none are named."""

import numpy as np
import pytest

from captum_ext.dataset import DatasetAttributions
from tests.integrations.cli.calls import FEW_STEPS, call, fail, succeed

MODEL = """
model = "tests.integrations.cli.tiny:model"
resize = 32
crop = 32
mean = 0.5
std = [0.5, 0.5, 0.5]
"""


@pytest.fixture
def written(here):
    """Writes a file and returns its name."""

    def write(text):
        (here / "call.toml").write_text(text)
        return "call.toml"

    return write


def test_a_file_gives_what_the_command_line_would_and_the_command_line_wins(written, here):
    name = written(MODEL + 'n_steps = 4\ntarget = 2\nout = "a.npy"\n')
    succeed("explain", "cat.png", "--config", name)
    succeed("explain", "cat.png", *FEW_STEPS, "--target", 2, "--out", "b.npy")
    np.testing.assert_array_equal(np.load("a.npy"), np.load("b.npy"))
    succeed("explain", "--config", name, "cat.png", "--target", 1, "--out", "c.npy")
    succeed("explain", "cat.png", *FEW_STEPS, "--target", 1, "--out", "d.npy")
    np.testing.assert_array_equal(np.load("c.npy"), np.load("d.npy"))
    assert not np.array_equal(np.load("a.npy"), np.load("c.npy"))


def test_a_table_has_the_options_of_one_command(written, here):
    name = written(
        MODEL
        + '[run]\nfolder = "photos"\nmaps = false\nmetric = ["deletion"]\nlimit = 2\nn-steps = 3\nengine = "local"\n'
        + '[explain]\nimage = "cat.png"\nmethod = "saliency"\n'
    )
    succeed("run", "--config", name, "--out", "out")
    rows = DatasetAttributions("out").table().to_pydict()
    assert len(rows["deletion"]) == 2
    assert "map" not in rows
    assert "saliency: class" in succeed("explain", "--config", name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n-stpes = 3", "call.toml: 'n-stpes' is no option here. Close ones are n-steps"),
        ("config = 'a'", "call.toml: 'config' is no option here"),
        ("limit = 3", "call.toml: 'limit' is no option here"),
        ("n-steps = '3'", "call.toml: expected n-steps to be an integer, but got '3'"),
        ("n-steps = true", "call.toml: expected n-steps to be an integer, but got True"),
        ("n-steps = 2.5", "call.toml: expected n-steps to be an integer, but got 2.5"),
        ("method = 3", "call.toml: expected method to be a text, but got 3"),
        ("text = [1]", "call.toml: expected text to be a text, but got 1"),
        ("mean = ['a']", "call.toml: expected mean to be a number, but got 'a'"),
        ("explain = 3", "call.toml: expected explain to be a table, [explain], but got 3"),
        ("n-steps = = 1", "call.toml is no TOML: "),
        ("model = 'x:y'\nn-steps = 0", "call.toml: Invalid value for '--n-steps'"),
        (MODEL + "box = '1,1,3'", "call.toml: Expected --box to be four numbers"),
        (
            MODEL + "n-steps = 3\nmethod = 'saliency'",
            "call.toml: Expected --n-steps to be given with a method that has",
        ),
        (MODEL + "target = 7", "call.toml: Expected --target to be an index from 0 to 2"),
    ],
)
def test_a_key_or_a_type_that_is_none_is_named_with_the_file(text, message, written):
    assert message in fail("explain", "cat.png", "--config", written(text))


def test_what_the_command_line_says_is_not_told_of_the_file(written):
    name = written(MODEL + "n-steps = 3\ntarget = 1")
    assert fail("explain", "cat.png", "--config", name, "--n-steps", 0).startswith("Error: Invalid value")
    assert fail("explain", "cat.png", "--config", name, "--target", 7).startswith("Error: Expected --target")
    assert fail("explain", "cat.png", *FEW_STEPS, "--target", 7).startswith("Error: Expected --target")


def test_a_file_that_is_not_there_is_named(here):
    assert "Invalid value for '--config': nowhere.toml: No such file" in fail(
        "explain", "cat.png", "--config", "nowhere.toml"
    )
    assert "photos" in fail("explain", "cat.png", "--config", "photos")


def test_what_the_file_does_not_have_is_still_asked_for(written):
    result = call("explain", "cat.png", "--config", written("n-steps = 3"))
    assert "Missing option '--model'" in result.output


@pytest.mark.parametrize("command", ["explain", "upsample", "evaluate", "fit-references", "run"])
def test_every_command_with_a_model_has_it(command):
    assert "--config FILE" in succeed(command, "--help")
