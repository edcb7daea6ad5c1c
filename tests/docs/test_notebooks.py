"""The gallery's scripts as notebooks, run headless from the first cell to the last, which shows a picture."""

import re
from pathlib import Path

import pytest

pytest.importorskip("pytorch_grad_cam")
pytest.importorskip("efficientnet_lite_pytorch")
pytest.importorskip("ipykernel")
pytest.importorskip("nbclient")
pytest.importorskip("sphinx_gallery")

import nbclient
import nbformat
from sphinx_gallery import py_source_parser
from sphinx_gallery.notebook import jupyter_notebook

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples" / "gallery").glob("plot_*.py"))
FIRST_CELL = "%matplotlib inline"

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


def notebook_of(path):
    _, blocks = py_source_parser.split_code_and_text_blocks(path)
    settings = {
        "first_notebook_cell": FIRST_CELL,
        "last_notebook_cell": None,
        "notebook_images": False,
        "pypandoc": False,
        "promote_jupyter_magic": False,
    }
    notebook = nbformat.from_dict(jupyter_notebook(blocks, settings, str(path.parent)))
    for cell in notebook.cells:  # in a file a cell is a list of lines, in nbformat's memory a text
        cell.source = "".join(cell.source)
    return notebook


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_ends_with_a_picture(path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'integrations'}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = notebook_of(path)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert any("image/png" in output.get("data", {}) for output in last.outputs)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_states_its_time(path):
    first_cell = notebook_of(path).cells[1].source
    assert re.search(r"About \d+ seconds of one core\.", first_cell)
