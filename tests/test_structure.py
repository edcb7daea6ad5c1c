"""The structure that readers rely on, read from the syntax trees: doors, few parameters, no cycles."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = [ROOT / "captum_ext", ROOT / "integrations"]
OUTSIDE = [ROOT / "integrations", ROOT / "examples", ROOT / "tests"]
MOST_PARAMETERS = 10


def files(folders):
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def name_of(path):
    return str(path.relative_to(ROOT))


def dotted(path):
    parts = path.relative_to(ROOT / "integrations" if ROOT / "integrations" in path.parents else ROOT).with_suffix("")
    return ".".join(parts.parts).removesuffix(".__init__")


def imports(tree):
    """Module and names of every import that is executed, those inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def parameters(function, in_class):
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    is_bound = in_class and names and names[0] in ("self", "cls")
    return names[1:] if is_bound else names


def functions(tree):
    """Every function with the names of the classes and functions around it."""

    def inside(node, around, in_class):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield child, around, in_class
                yield from inside(child, [*around, child], False)
            elif isinstance(child, ast.ClassDef):
                yield from inside(child, [*around, child], True)
            else:
                yield from inside(child, around, in_class)

    yield from inside(tree, [], False)


def all_functions(folders):
    return [(path, *entry) for path in files(folders) for entry in functions(ast.parse(path.read_text()))]


@pytest.mark.parametrize("path", files(OUTSIDE), ids=name_of)
def test_adapters_examples_and_tests_come_in_by_public_doors(path):
    for module, names in imports(ast.parse(path.read_text())):
        if module.split(".")[0] == "captum_ext":
            private = [part for part in [*module.split("."), *names] if is_private(part)]
            assert not private, f"{name_of(path)} imports {module} {names}"


def test_no_public_function_takes_keywords_that_it_does_not_name():
    offenders = [
        f"{name_of(path)}:{function.lineno} {function.name}"
        for path, function, around, _ in all_functions([*SHIPPED, ROOT / "examples"])
        if function.args.kwarg is not None
        and not is_private(function.name)
        and not any(isinstance(outer, ast.FunctionDef) or is_private(outer.name) for outer in around)
    ]
    assert offenders == []


def test_functions_take_few_parameters_but_for_captums_attribute_and_constructors():
    counts, offenders = [], []
    for path, function, around, in_class in all_functions([ROOT / "captum_ext"]):
        count = len(parameters(function, in_class))
        counts.append(count)
        is_constructor = function.name == "__init__" and not any(is_private(outer.name) for outer in around)
        if count > MOST_PARAMETERS and function.name != "attribute" and not is_constructor:
            offenders.append(f"{name_of(path)}:{function.lineno} {function.name} takes {count}")
    assert offenders == []
    assert sorted(counts)[int(0.9 * len(counts))] <= 4


def test_no_module_imports_itself_in_a_circle():
    paths = {dotted(path): path for path in files([*SHIPPED, ROOT / "examples"])}
    arrows = {name: imported_modules(path, paths) - {name} for name, path in paths.items()}
    finished, under_way = set(), []

    def visit(name):
        if name in under_way:
            raise AssertionError(" -> ".join([*under_way[under_way.index(name) :], name]))
        if name in finished:
            return
        under_way.append(name)
        for other in sorted(arrows[name]):
            visit(other)
        under_way.pop()
        finished.add(name)

    for name in sorted(paths):
        visit(name)


def test_a_number_that_is_checked_is_used_as_the_float_that_the_check_returns():
    unused = [
        f"{dotted(path)}:{node.lineno}"
        for path in files(SHIPPED)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and getattr(node.value.func, "id", "") == "check_number"
    ]
    assert unused == []  # a Fraction or an int beyond all floats is a number, and fails where tensors meet it


def test_nothing_but_visualize_draws():
    quantus = ROOT / "integrations" / "captum_ext_integrations" / "_quantus_base.py"  # looks at what Quantus has drawn
    drawing = {
        name_of(path)
        for path in files([*SHIPPED, ROOT / "examples", ROOT / "docs" / "_ext"])
        if draws(ast.parse(path.read_text())) and ROOT / "captum_ext" / "visualize" not in path.parents
    }
    assert drawing == {name_of(quantus)}


def draws(tree):
    """Whether matplotlib or Pillow's drawing is imported, for more than type checkers, or asked for by its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    modules = [f"{module}.{name}" for module, names in imports(tree) for name in (names or [""])]
    modules += [
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
        if getattr(node.func, "id", getattr(node.func, "attr", "")) in ("require", "import_module")
    ]
    return any(str(name).startswith(("matplotlib", "PIL.ImageDraw")) for name in modules)


def imported_modules(path, known):
    """Modules of this repository that a module imports when it is imported; a name may be a module, too."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):  # what is imported for type checkers, or in a function, makes no circle
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
        if isinstance(node, ast.FunctionDef):
            node.body = []
    modules = set()
    for module, names in imports(tree):
        deeper = [f"{module}.{name}" for name in names if f"{module}.{name}" in known]
        modules |= set(deeper) or ({module} & set(known))
    return modules
