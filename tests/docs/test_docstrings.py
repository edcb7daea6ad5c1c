"""Docstrings of this package become reStructuredText: formulas, code, links, lists; examples stay as they are."""

import pytest

pytest.importorskip("pytorch_grad_cam")
pytest.importorskip("quantus")

from accessible import mended
from docstrings import process, signature


def made(*lines, name="captum_ext.attr.Something"):
    given = list(lines)
    process(None, "class", name, None, None, given)
    return given


def test_formulas_in_a_line_and_on_their_own():
    assert made(r"The sum is $\sum_i \phi_i = F(x)$.") == [r"The sum is :math:`\sum_i \phi_i = F(x)`."]
    assert made("$$a = b", "c$$") == ["", ".. math:: a = b c", ""]


def test_a_formula_that_goes_over_a_line_is_one():
    assert made("so that $a +", "b$ is") == ["so that :math:`a + b` is"]


def test_code_is_literal_and_a_public_name_is_a_link():
    assert made('with `method="adaptive"`') == ['with ``method="adaptive"``']
    assert made("a `ReferenceDistribution` of") == [
        "a :py:obj:`ReferenceDistribution <captum_ext.references.ReferenceDistribution>` of"
    ]


def test_the_file_of_a_page_is_a_link_to_it():
    assert made("see `docs/error-bars.md`") == ["see :doc:`docs/error-bars.md </error-bars>`"]


def test_a_list_below_a_sentence_gets_its_empty_line():
    assert made("Deviations:", "    * one", "      goes on", "    * two") == [
        "Deviations:",
        "",
        "    * one",
        "      goes on",
        "    * two",
    ]


def test_a_table_of_markdown_is_one_also_where_it_is_set_in_or_a_cell_is_empty():
    assert made("    | | `a` |", "    | --- | --- |", "    | b | $c$ |", "") == [
        "    .. list-table::",
        "       :header-rows: 1",
        "",
        "       * -",
        "         - ``a``",
        "       * - b",
        "         - :math:`c`",
        *("", ""),
    ]


def test_entries_below_a_heading_become_a_list_but_not_those_of_arguments():
    assert made("Columns of the table:", "    n: samples", "    p: a", "        value") == [
        "Columns of the table:",
        "",
        "    * n: samples",
        "    * p: a",
        "      value",
    ]
    assert made("Args:", "    n: samples") == ["Args:", "    n: samples"]


def test_defaults_without_a_literal_are_dots():
    given = "(a: int = <factory>, b: Callable = <function Kind.<lambda>>, c: str = '<')"
    shown = "(a: int = ..., b: Callable = ..., c: str = '<')"
    assert signature(None, "class", "a.b", None, None, given, None) == (shown, None)
    assert signature(None, "attribute", "a.b", None, None, None, None) is None


def test_what_looks_like_markup_is_text():
    assert made("the change |a| of x1 * x2") == [r"the change \|a\| of x1 * x2"]
    assert made("`**kwargs` and **kw") == [r"``**kwargs`` and \*\*kw"]


def test_examples_stay_as_they_are():
    example = [">>> print('`a` $b$ |c|')", "`a` $b$ |c|"]
    assert made("Example:", *[f"    {line}" for line in example])[-2:] == [f"    {line}" for line in example]


def test_options_of_commands_stay_whole_and_text_in_quotes_as_it_is():
    before = '<div class="highlight-sh notranslate"><pre>a<span class="w"> </span>--no-python "--b"</pre>'
    better = mended(before)
    assert better == before.replace("--no-python", '<span class="whole">--no-python</span>')
    assert mended(better) == better
    assert mended('<span class="pre">--limit</span>') == '<span class="pre whole">--limit</span>'


def test_pages_are_mended_once():
    page = '<aside class="sidebar-drawer"><dl>\n<dd><em class="sig-param">a</em>, </dd>\n</dl>'
    better = mended(page)
    assert '<span class="sig-line"><em class="sig-param">a</em>, </span>' in better
    assert 'aria-label="All pages"' in better
    assert mended(better) == better
    assert mended("<dl><dt>word</dt><dd>what it is</dd></dl>") == "<dl><dt>word</dt><dd>what it is</dd></dl>"
