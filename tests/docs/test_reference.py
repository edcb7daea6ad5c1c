"""Every public name has a page of its own, and its page is complete: what goes in, what comes out, an example."""

import enum
import inspect

import pytest

pytest.importorskip("pytorch_grad_cam")
pytest.importorskip("quantus")

from completing import completed, entries, missing
from public_names import canonical, comment_of, everything, exported, is_property, members, pages
from reference_pages import page_of, text_of_module

from tests.test_api_surface import PUBLIC

ALL = {f"{one.module}.{one.name}": one for one in everything()}
DESCRIBED = {
    name: one
    for name, one in pages().items()
    if (inspect.isclass(one.value) and not issubclass(one.value, enum.Enum)) or inspect.isroutine(one.value)
}
# Authors of methods read these beside the text of their module, which says what all have in common.
FOR_AUTHORS = ("captum_ext.attr.paths.", "captum_ext.exceptions.")


def left_out(name, value, text):
    """Arguments that the page of a name says nothing of."""
    lines = inspect.cleandoc(text or "").splitlines()
    return missing(value, "\n".join(completed(name, value, lines)))


def own_text(kind, name):
    """The docstring of a member, from the class of this package that describes it."""
    for owner in kind.__mro__:
        if name in vars(owner):
            member = getattr(vars(owner)[name], "__func__", vars(owner)[name])
            if member.__doc__:
                return member.__doc__
    return ""


@pytest.mark.parametrize(
    "module", [module for module in PUBLIC if module.__name__ != "captum_ext"], ids=lambda m: m.__name__
)
def test_every_public_name_of_a_module_has_a_page(module):
    assert set(PUBLIC[module]) <= set(exported(module.__name__))
    for name in PUBLIC[module]:
        assert ALL[f"{module.__name__}.{name}"].page in pages()


def test_names_of_the_package_itself_lead_to_the_page_of_their_module():
    assert ALL["captum_ext.LPI"].page == "captum_ext.attr.LocalPathIntegration"
    assert ALL["captum_ext.USU"].page == "captum_ext.upsampling.USUUpsampler"
    assert ALL["captum_ext.Shared"].page == "captum_ext.Shared"
    assert "captum_ext.LPI" in page_of(pages()["captum_ext.attr.LocalPathIntegration"])


def test_a_table_of_names_is_described_by_its_own_module():
    said = {
        name: comment_of(one)
        for name, one in pages().items()
        if name not in DESCRIBED and not inspect.isclass(one.value)
    }
    assert [name for name, text in said.items() if not text] == []
    assert len(set(said.values())) == len(said)


def test_all_that_a_module_says_is_on_its_page():
    table = "| one | two |\n| --- | --- |\n| `a` | b_ |"
    text = f"What it is.\n\n    a = 1\n\n    b = 2\n\n{table}\n\nExample:\n    >>> 1\n    1"
    assert text_of_module(text, "captum_ext.attr") == [
        *("What it is.", ""),
        *(".. code-block:: python", "", "   a = 1", "", "   b = 2", ""),
        *(".. list-table::", "   :header-rows: 1", "", "   * - one", "     - two", "   * - ``a``", "     - b_", ""),
        *("Example:", "", ">>> 1", "1", ""),
    ]


@pytest.mark.parametrize("name", [name for name in DESCRIBED if not name.startswith(FOR_AUTHORS)])
def test_every_argument_of_a_public_name_has_an_entry(name):
    value = DESCRIBED[name].value
    assert left_out(name, value, value.__doc__) == []


@pytest.mark.parametrize(
    "name",
    [name for name, one in DESCRIBED.items() if inspect.isclass(one.value) and not name.startswith(FOR_AUTHORS)],
)
def test_every_argument_of_a_method_has_an_entry(name):
    kind = DESCRIBED[name].value
    methods = [member for member in members(kind) if not is_property(kind, member)]
    left = {one: left_out(f"{name}.{one}", getattr(kind, one), own_text(kind, one)) for one in methods}
    assert {one: names for one, names in left.items() if names} == {}


def test_what_a_docstring_leaves_to_another_is_put_on_its_page():
    lines = ["Flips pixels.", "", "The other arguments are those of `insertion`.", "", "Example:", "    >>> 1", "    1"]
    page = completed("captum_ext.metrics.something", lambda inputs, target, pixels: None, lines)
    assert page[4:6] == ["Args:", "    inputs: (N, ...) or a tuple of such tensors."]
    assert any(line.startswith("    target: as in Captum") for line in page)
    assert not any(line.startswith("    pixels:") for line in page)
    assert page[-3:] == lines[-3:]


def test_entries_are_read_from_a_docstring():
    text = """What it does.

    Args:
        first: one thing,
            over two lines.
        second, third: others.

    Raises:
        ArgumentError: no entry.
    """
    assert entries(text) == {"first": "one thing, over two lines.", "second": "others.", "third": "others."}


@pytest.mark.parametrize("name", DESCRIBED)
def test_every_page_has_an_example_or_says_what_an_object_holds(name):
    if not name.startswith(FOR_AUTHORS):
        text = DESCRIBED[name].value.__doc__ or ""
        assert "Example:" in text or "Attributes:" in text, name


def test_words_of_docstrings_lead_to_pages():
    assert canonical("ReferenceDistribution") == "captum_ext.references.ReferenceDistribution"
    assert canonical("images.Blur") == "captum_ext.images.Blur"
    assert canonical("ReferenceDistribution.fit") == "captum_ext.references.ReferenceDistribution.fit"
    assert canonical("attribute", "captum_ext.attr") is None
    assert canonical("nothing") is None
