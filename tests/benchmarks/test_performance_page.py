"""The page about costs is written from kept rows, and every measurement is on it or left out by name."""

import ast
import json
from pathlib import Path

import pytest

from examples.benchmarks.performance.__main__ import ROWS, is_done, kept, work
from examples.benchmarks.performance.performance_page import page
from examples.benchmarks.performance.programs import ELSEWHERE, MEASUREMENTS, PROGRAMS, Program

ROOT = Path(__file__).parents[2]
FOUND = {
    "command": "python -m examples.benchmarks.measurements.speed --runs 3",
    "measured": "2026-01-02",
    "commit": "abc",
    "seconds": 90.0,
    "load": 0.25,
    "machine": {"processor": "A processor", "cores": 2, "memory": "8 GB", "system": "Linux"},
    "versions": {"captum-ext": "0", "captum": "1", "torch": "2", "numpy": "3", "python": "3.12", "scipy": "4"},
    "tables": [{"title": "One", "header": ["call", "seconds"], "rows": [["ours", 0.12345], ["theirs", 12]]}],
}


def test_the_page_in_the_documentation_is_that_of_the_kept_rows():
    written = (ROOT / "docs" / "performance.md").read_text() == page(kept(ROWS))
    assert written, "write it: python -m examples.benchmarks.performance --page"


def test_every_program_that_can_be_run_is_on_the_page_or_left_out_with_a_reason():
    programs = {path.stem for path in MEASUREMENTS.glob("*.py") if '"__main__"' in path.read_text()}
    assert programs - {"accuracy_figure"} == {program.name for program in PROGRAMS} | set(ELSEWHERE)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_every_program_explains_itself_and_knows_its_arguments(program):
    assert program.about
    assert "python -m" not in program.about
    options = [one for one in program.arguments if one.startswith("--")]
    source = ast.unparse(ast.parse((MEASUREMENTS / f"{program.name}.py").read_text()))
    assert all(repr(option) in source for option in [*options, "--fast"])


def test_a_section_has_its_command_its_origin_and_its_tables():
    written = page({"speed": FOUND})
    assert "```sh\npython -m examples.benchmarks.measurements.speed --runs 3\n```\n" in written
    assert "Measured 2026-01-02 in 1.5 minutes at commit abc; A processor, 2 cores, 8 GB, load 0.2 before;" in written
    assert "One:\n\n| call | seconds |\n| --- | --- |\n| ours | 0.123 |\n| theirs | 12 |\n" in written
    assert written.count("Not measured yet.") == len(PROGRAMS) - 1


def test_networks_have_one_name_and_thousands_are_written_out():
    rows = [["efficientnet:8", 4049.6], ["small", 999.4], ["a call: slow", 1.16e-07]]
    written = page({"speed": {**FOUND, "tables": [{"title": "One", "header": ["network", "MB"], "rows": rows}]}})
    table = "| EfficientNet-Lite0 x 8 | 4,050 |\n| five layers, 28 x 28 | 999 |\n| a call: slow | 1.16e-07 |\n"
    assert table in written


def test_the_page_begins_with_links_to_its_sections():
    program = PROGRAMS[0]
    assert "- [Integrated Gradients against Captum's](#integrated-gradients-against-captums)\n" in page({})
    assert program.title == "Integrated Gradients against Captum's"


def test_rows_of_another_command_or_commit_are_measured_again():
    program = Program("speed", "Title", ("--runs", "3"))
    assert is_done(FOUND, program, "abc")
    assert not is_done(FOUND, program, "abd")
    assert not is_done(FOUND, Program("speed", "Title", ("--runs", "5")), "abc")
    assert not is_done(None, program, "abc")


def test_a_program_leaves_the_tables_that_it_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["pytest"])
    monkeypatch.setattr("examples.benchmarks.engine.reporting.PRINTED", [])
    work(Program("desiderata", "What upsampling keeps"), tmp_path, "abc", fast=True)
    found = json.loads((tmp_path / "desiderata.json").read_text())
    (table,) = found["tables"]
    assert table["header"][0] == "upsampler"
    assert all(len(row) == len(table["header"]) for row in table["rows"])
    assert table["title"] in capsys.readouterr().out
    assert "| nearest |" in page({"desiderata": found})
