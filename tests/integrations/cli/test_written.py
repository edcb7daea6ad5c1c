"""Files of the command line are whole or not there: half of one never takes the place of a good one."""

import errno
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from captum_ext_integrations.cli import pictures, tables
from captum_ext_integrations.cli.written import write
from tests.integrations.cli.calls import FEW_STEPS, TINY, fail, succeed

OLD = b"what was there before"
COMMANDS = {
    "map.npy": ["explain", "cat.png", *FEW_STEPS, "--out", "map.npy"],
    "map.png": ["explain", "cat.png", *FEW_STEPS, "--out", "map.png"],
    "cam.png": ["upsample", "cat.png", *TINY, "--upsampler", "bilinear", "--layer", "0", "--out", "cam.png"],
    "scores/scores.csv": ["evaluate", "photos", *FEW_STEPS, "--method", "ig", "--out", "scores"],
    "scores/scores.png": ["evaluate", "photos", *FEW_STEPS, "--method", "ig", "--out", "scores"],
}


def left(folder):
    """Temporary files that were forgotten."""
    return [path for path in folder.rglob(".*") if ".tmp" in path.name]


@pytest.fixture
def full_disk(monkeypatch):
    """A disk on which half of a file finds room; the name says of which."""
    really = Path.write_bytes

    def fill(suffix):
        def half(self, content):
            if self.suffix != suffix:
                return really(self, content)
            really(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "write_bytes", half)

    return fill


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_leaves_what_was_there_and_names_the_file(name, here, full_disk):
    (here / name).parent.mkdir(exist_ok=True)
    (here / name).write_bytes(OLD)
    full_disk(Path(name).suffix)
    assert fail(*COMMANDS[name]) == f"Error: {name}: No space left on device"
    assert (here / name).read_bytes() == OLD
    assert left(here) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_is_replaced_by_a_whole_one(name, here):
    (here / name).parent.mkdir(exist_ok=True)
    (here / name).write_bytes(OLD)
    succeed(*COMMANDS[name])
    assert (here / name).read_bytes() != OLD
    assert left(here) == []


def test_a_figure_that_cannot_be_drawn_leaves_what_was_there(here, monkeypatch):
    def broken(self, file, **_):
        file.write(b"half")
        raise MemoryError("no room for a figure")

    (here / "map.png").write_bytes(OLD)
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", broken)
    assert "MemoryError: no room for a figure" in fail(*COMMANDS["map.png"])
    assert (here / "map.png").read_bytes() == OLD
    assert left(here) == []


def test_no_file_may_grow_beyond_the_limit_of_the_process(tmp_path):
    target = tmp_path / "map.npy"
    target.write_bytes(OLD)
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from captum_ext_integrations.cli.written import write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write(Path(sys.argv[1]), bytes(5000))\n"
        "except OSError as error:\n    print(error.filename, error.strerror)\n"
    )
    found = subprocess.run([sys.executable, "-c", code, target], capture_output=True, text=True, check=True)
    assert found.stdout == f"{target} {os.strerror(errno.EFBIG)}\n"
    assert target.read_bytes() == OLD
    assert left(tmp_path) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_a_folder_without_permission_is_named(tmp_path):
    with pytest.raises(OSError, match="No such file or directory: .*nowhere/map.npy"):
        write(tmp_path / "nowhere" / "map.npy", b"")


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_a_folder_of_the_name_of_a_picture_is_refused_before_anything_is_computed(suffix, here):
    (here / f"map{suffix}").mkdir()
    message = fail("explain", "cat.png", "--model", "no_such:model", "--out", f"map{suffix}")
    assert f"--out to be a file whose name ends in .png or .npy, but got map{suffix}, which is a folder" in message


def test_names_in_the_table_are_no_formulas_and_numbers_stay_numbers():
    table = pd.DataFrame({"metric": ["diff_id"] * 2, "method": ["=1+1", "-x, y"], "mean": [-0.5, 1e-3], "n": [1, 2]})
    found = pd.read_csv(io.BytesIO(tables.as_csv(table)))
    assert found["method"].tolist() == ["'=1+1", "'-x, y"]
    assert found["mean"].tolist() == [-0.5, 1e-3]
    assert found["n"].tolist() == [1, 2]


def test_names_in_the_manifest_are_exact(here):
    (here / "odd").mkdir()
    name = "\x1b]0;title\x07 \u202e|<!--$x$.png"
    Image.new("RGB", (40, 40), "red").save(here / "odd" / name)
    (here / "odd" / "=two\nlines.png").write_text("no image")
    from captum_ext.dataset import DatasetAttributions
    from tests.integrations.cli.calls import call

    result = call("run", "odd", *FEW_STEPS, "--out", "out")
    assert r"no row: =two\nlines.png: " in result.output
    assert DatasetAttributions("out").table().to_pydict()["name"] == [name]
    assert json.loads((here / "out/manifest.json").read_text())["failures"][0]["name"] == "=two\nlines.png"


@pytest.mark.parametrize("text", ["$\\frac$", "\x1b[2J\n", "猫", "a" * 5000, "_hidden", "<b>|"])
def test_a_figure_has_any_name(text, tmp_path):
    path = tmp_path / "map.png"
    pictures.draw_maps(np.zeros((2, 2, 3)), {text: np.eye(2)}, pictures.Caption(text, text, (text,)), path)
    with Image.open(path) as image:
        assert image.size[0] < 1000


def test_what_a_killed_process_left_of_a_file_is_removed_when_it_is_written_again(tmp_path):
    for name in (".map.0123456789ab.tmp.png", ".other.0123456789ab.tmp.png"):
        (tmp_path / name).write_bytes(b"half of it")
    write(tmp_path / "map.png", b"all of it")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.0123456789ab.tmp.png", "map.png"]
    assert (tmp_path / "map.png").read_bytes() == b"all of it"
