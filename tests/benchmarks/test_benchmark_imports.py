"""Imports of the examples: from the engine upwards and never back, in no circle, and only what the package shows."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
BENCHMARKS = EXAMPLES / "benchmarks"

# Each room of examples/benchmarks may import from itself and from these; modules beside the rooms may import from all.
ROOMS = {
    "engine": (),
    "papers.lpi": ("engine",),
    "papers.ours": ("engine",),
    "papers.samp": ("engine",),
    "papers.usu": ("engine",),
    "papers.wg": ("engine",),
    "questions": ("engine",),
    "measurements": ("engine",),
    "accelerator": ("engine", "measurements"),
    "performance": ("engine", "measurements"),
}
BESIDE = {"__main__", "report", "suite"}
OUTSIDE = {"examples.real_data", "examples.vit_grad_cam"}  # what the rooms may use of the other examples
PACKAGE = ("captum_ext", "captum_ext_integrations")


def dotted(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


PATHS = {dotted(path): path for path in sorted(EXAMPLES.rglob("*.py"))}


def imports(source):
    """Every import of a module with the names that it takes, those inside of functions included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)


def modules_of_examples(source):
    """The modules of the examples that a module imports, `from folder import module` being one of them."""
    for module, names in imports(source):
        targets = {f"{module}.{name}" for name in names} & PATHS.keys() or {module}
        yield from targets & PATHS.keys()


def room_of(name):
    """The room of a module of the benchmarks, "" for those beside the rooms; of other examples their own name."""
    inside = name.removeprefix("examples.benchmarks.")
    if inside == name:
        return name
    rooms = [room for room in ROOMS if inside == room or inside.startswith(f"{room}.")]
    assert rooms or inside in BESIDE or inside == "papers", f"{name} is in no room: add it to ROOMS or to BESIDE"
    return rooms[0] if rooms else ""


def arrows_back(name, source):
    """What a module imports although its room may not."""
    room = room_of(name)
    if room not in ROOMS:
        return []
    allowed = {room, *ROOMS[room], *OUTSIDE}
    return [target for target in modules_of_examples(source) if room_of(target) not in allowed]


def private_names(source):
    """What a module imports from the package although it is not shown."""
    for module, names in imports(source):
        parts = [*module.split("."), *names]
        if parts[0] in PACKAGE and any(part.startswith("_") for part in parts):
            yield f"{module}: {', '.join(names)}"


@pytest.mark.parametrize("name", PATHS)
def test_no_room_imports_from_one_that_is_built_on_it_and_no_paper_from_another(name):
    assert arrows_back(name, PATHS[name].read_text()) == []


@pytest.mark.parametrize("name", PATHS)
def test_examples_import_public_names_of_the_package_only(name):
    assert list(private_names(PATHS[name].read_text())) == []


def test_the_rule_sees_an_arrow_back_a_neighbour_and_a_private_name():
    lazy = "def late():\n    from examples.benchmarks.papers.usu import shapes\n"
    assert arrows_back("examples.benchmarks.engine.store", lazy) == ["examples.benchmarks.papers.usu.shapes"]
    assert arrows_back("examples.benchmarks.papers.wg.wg_methods", lazy) == ["examples.benchmarks.papers.usu.shapes"]
    assert arrows_back("examples.benchmarks.papers.usu.axioms", lazy) == []
    assert arrows_back("examples.benchmarks.measurements.rows", "from examples.benchmarks import report") == [
        "examples.benchmarks.report"
    ]
    assert arrows_back("examples.benchmarks.suite", lazy) == []
    assert arrows_back("examples.benchmarks.engine.store", "import examples.quickstart") == ["examples.quickstart"]
    assert list(private_names("import captum_ext._rows\nfrom captum.attr import _utils")) == ["captum_ext._rows: "]
    assert list(private_names("from captum_ext.attr import _core")) == ["captum_ext.attr: _core"]


def test_no_imports_go_in_a_circle():
    sorter = TopologicalSorter({name: set(modules_of_examples(path.read_text())) for name, path in PATHS.items()})
    assert set(sorter.static_order()) == set(PATHS)


def test_no_two_files_of_the_benchmarks_share_a_name():
    rows = BENCHMARKS / "results" / "own" / "rows"  # a file for each candidate, in a folder for each experiment
    files = [
        path
        for path in BENCHMARKS.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.is_relative_to(rows)
    ]
    names = Counter(path.name for path in files)
    assert sorted(name for name, count in names.items() if count > 1) == ["__init__.py", "__main__.py"]
