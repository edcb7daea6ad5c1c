"""Every row of docs/models.md is what is found; `make compatibility` runs this, `make test` does not."""

from pathlib import Path

import pytest

networks = pytest.importorskip("tests.compatibility.networks").networks
examine = pytest.importorskip("tests.compatibility.table").examine

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
NETWORKS = {f"{network.library}, {network.name}": network for network in networks()}


@pytest.mark.compatibility
@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_of_the_page_is_what_is_found(name):
    row = examine(NETWORKS[name])
    assert row.line in PAGE.read_text(encoding="utf-8").splitlines(), row.reasons


def test_the_page_has_a_row_for_every_network_and_fifty_at_least():
    lines = [line.split(" | ")[:2] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    found = [f"{library.removeprefix('| ')}, {name}" for library, name in lines[2:]]  # behind the head of the table
    assert found == list(NETWORKS)
    assert len(found) >= 50
