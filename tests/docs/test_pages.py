"""The README is short and runs with the plain installation; what pages show can be found."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GENERATED = {"messages.md"}
PAGES = [ROOT / "README.md", *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name not in GENERATED)]
COMMAND = re.compile(r"python -m (examples(?:\.\w+)+)([^\n`|)]*)")
PLAIN = {"PIL", "captum_ext", "skimage", "torch", "torchvision"}  # of the installation, and torchvision


def fenced(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_readme_is_short_and_has_no_tables():
    assert len(README.splitlines()) <= 150
    assert not re.search(r"^\|", README, flags=re.MULTILINE)


def test_the_readmes_program_needs_the_plain_installation_and_torchvision_alone():
    (program,) = fenced(README, "python")
    assert len(program.splitlines()) <= 15
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported <= PLAIN


def test_the_readmes_commands_are_run_by_the_page_that_it_leads_to():
    (shown,) = fenced(README, "bash")
    page = (ROOT / "docs" / "view.md").read_text()
    run = [line.strip() for line in page.splitlines() if line.strip().startswith(".venv/bin/")]
    assert shown.splitlines() == run


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_programs_of_a_page_can_be_read(path):
    for program in fenced(path.read_text(), "python"):
        compile(program, str(path), "exec")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_that_a_page_names_exist_and_know_their_options(path):
    for module, rest in COMMAND.findall(path.read_text()):
        place = ROOT / Path(*module.split("."))
        source = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
        assert source.exists(), f"{path.name}: {module}"
        text = source.read_text()
        if place.is_dir():
            text += "".join(one.read_text() for one in place.rglob("*.py"))
        for imported in re.findall(r"from (examples[\w.]*) import", text):
            whole = ROOT / Path(*imported.split(".")).with_suffix(".py")
            text += whole.read_text() if whole.exists() else ""
        for option in re.findall(r"(?<=\s)--[a-z][\w-]+", rest):
            assert option in text, f"{path.name}: {module} {option}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pictures_of_a_page_exist_and_say_what_they_show(path):
    for alt, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", path.read_text()):
        assert len(alt) > 10, f"{path.name}: {target}"
        assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_page_of_the_folder_is_in_the_navigation():
    listed = set()
    for path in [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "coming-from").glob("*.md"))]:
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL):
            lines = [line.strip() for line in tree.splitlines() if line.strip() and not line.startswith(":")]
            names = [re.sub(r".*<(.+)>", r"\1", line) for line in lines]
            listed |= {(path.parent / f"{name}.md").resolve() for name in names}
    pages = {path.resolve() for path in PAGES[1:] if "_build" not in path.parts and path.name != "index.md"}
    assert {str(page.relative_to(ROOT)) for page in pages - listed} == set()
