"""captum-ext view, from the shell."""

import json
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("starlette")
pytest.importorskip("statsmodels")
pytest.importorskip("typer")
pytest.importorskip("uvicorn")

from tests.integrations.cli.calls import fail, succeed
from tests.integrations.viewer.runs import small_run

PROGRAM = [sys.executable, "-c", "from captum_ext_integrations.cli import main; main()"]


def test_it_serves_until_it_is_stopped_without_torch(tmp_path):
    run = small_run(tmp_path / "ig")
    with subprocess.Popen([*PROGRAM, "view", run, "--sort", "score"], stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", line)[0]
            assert f"{address}?sort=score&descending=1" in line
            with urllib.request.urlopen(address + "api/rows") as answer:
                assert json.load(answer)["total"] == 12
            with open(f"/proc/{process.pid}/maps") as file:
                assert "libtorch" not in file.read()
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) in (0, 130)


def test_the_ten_samples_on_which_two_runs_disagree_most_are_written(tmp_path):
    runs = [small_run(tmp_path / name, seed=k) for k, name in enumerate(("ig", "lpi"))]
    output = succeed("view", *runs, "--sort", "disagreement", "--export", tmp_path / "page")
    assert "10 samples: " in output
    assert str(tmp_path / "page" / "index.html") in output.replace("\n", "")
    assert "Maps without photographs: --images FOLDER says where they are" in output


def test_filters_come_from_the_address_of_a_page(tmp_path):
    run = small_run(tmp_path / "ig")
    address = "http://127.0.0.1:1/x/?sort=score&right=wrong&descending=1"
    assert "4 samples: " in succeed("view", run, "--where", address, "--export", tmp_path / "page")
    said = fail("view", run, "--where", "right=x", "--export", tmp_path / "page")
    assert "--where to be a page's address, or what is behind the ? of one, but got “x” for “right”" in said


def test_mistakes_are_said_with_the_names_of_options(tmp_path):
    run = small_run(tmp_path / "ig")
    assert "--sort to be one of index, name, target@0" in fail("view", run, "--sort", "nothing")
    assert "--images to be a folder with the images" in fail("view", run, "--images", tmp_path / "nothing")
    assert "--sample to be numbers of samples" in fail("view", run, "--sample", "99", "--export", tmp_path / "page")
    assert "is no folder of a run" in fail("view", tmp_path / "nothing")
    assert "is no folder of a run" in fail("view", run / "manifest.json")
