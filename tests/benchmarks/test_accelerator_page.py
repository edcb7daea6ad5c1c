"""The page about GPUs is written from the files of figures, and from nothing else."""

import json
from pathlib import Path

from examples.benchmarks.accelerator.gpu_page import page

ROOT = Path(__file__).parents[2]


def test_the_page_in_the_documentation_is_that_of_the_stored_figures():
    files = sorted((ROOT / "examples" / "benchmarks" / "results").glob("gpu-*.json"))
    assert (ROOT / "docs" / "gpu.md").read_text() == page([json.loads(file.read_text()) for file in files])


def test_columns_that_some_rows_lack_stay_empty_there():
    rows = [{"rows": 64, "ours of bare": 0.5}, {"rows": 8, "MB": 1234.5}]
    written = page([{"environment": {"card": "A card", "torch": "2.11"}, "runs": 3, "throughput": rows}])
    assert "## A card\n\ntorch 2.11\n" in written
    table = "| rows | ours of bare | MB |\n| --- | --- | --- |\n| 64 | 0.5 |  |\n| 8 |  | 1234 |\n"
    assert table in written
    assert written.count("### ") == 1


def test_a_part_that_found_nothing_says_so_and_the_day_stands_beside_the_card():
    written = page([{"environment": {"card": "A card", "measured": "2026-01-02"}, "runs": 3, "graphs": []}])
    assert "## A card, measured 2026-01-02\n" in written
    assert written.count("### ") == written.count("Not measured.") == 1


def test_files_of_one_card_and_day_are_one_section_and_others_one_each():
    first, second, other = ({"environment": {"card": card}, "runs": 3} for card in ("A", "A", "B"))
    files = [{**first, "throughput": [{"rows": 1}]}, {**other, "throughput": [{"rows": 2}]}]
    files.append({**second, "throughput": [{"rows": 3}], "graphs": [{"rows": 4}]})
    written = page(files)
    assert written.count("## A\n") == written.count("## B\n") == 1
    assert "| rows |\n| --- |\n| 1 |\n| 3 |\n" in written
    assert files[0]["throughput"] == [{"rows": 1}]
