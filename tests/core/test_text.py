"""Text of others on a terminal, in Markdown, in a spreadsheet and in a figure."""

import csv
import io
import unicodedata

import pytest

from captum_ext.core.text import from_csv, in_csv, in_figure, in_markdown, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x1b[2K\x9b31m", r"\x1b[2K\x9b31m"),
        ("one\nError: two\r\tthree", r"one\nError: two\r\tthree"),
        ("\u2028\u2029\x85\x0b\x0c", r"\u2028\u2029\x85\x0b\x0c"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\u2066a\u2069\u200e\u061c\ufeff\u00ad", r"\u2066a\u2069\u200e\u061c\ufeff\xad"),
        ("\U000e0041", r"\U000e0041"),
        ("caf\udce9.png", r"caf\xe9.png"),
        ("\ud800", r"\ud800"),
        ("\x00\x7f", r"\x00\x7f"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_shown_as_an_escape(text, expected):
    assert shown(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Größe",
        "猫の写真",
        "קטינה",
        "गर्भवती क्\u200dष",
        "\u0645\u06cc\u200c\u062e\u0648",
        "👩\u200d🔬",
        "a\xa0b\u3000c",
        "\\n",
        "C:\\new",
    ],
)
def test_letters_of_all_languages_stay_as_they_are(text):
    assert shown(text) == in_figure(text) == in_csv(text) == text


def test_no_character_of_unicode_comes_through_that_a_terminal_obeys():
    every = "".join(map(chr, range(0x110000)))
    left = {character for character in shown(every) if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")}
    assert left == set()
    shown(every).encode()


def test_of_a_very_long_text_the_middle_is_left_out():
    assert shown("a" * 50 + "b" * 1000 + "c" * 50, most=100) == "a" * 50 + " ... 1000 characters ... " + "c" * 50
    assert shown("a" * 100, most=100) == "a" * 100
    assert shown("a" * 105, most=100) == "a" * 105  # saying what is left out would be longer
    assert shown("\n" * 100, most=100) == r"\n" * 25 + " ... 100 characters ... " + r"\n" * 25


def test_an_error_is_shown_as_its_message():
    assert shown(OSError("a\nb")) == r"a\nb"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("<!-- <script>", r"\<!-- \<script>"),
        ("[a](javascript:b)", r"\[a\](javascript:b)"),
        ("*a* _b_ `c` ~~d~~ $e$ &lt;", r"\*a\* \_b\_ \`c\` \~\~d\~\~ \$e\$ \&lt;"),
        ("a\\|b", r"a\\\|b"),
        ("a\nb", r"a\\nb"),
        ("my_module:MyMethod", "my_module:MyMethod"),
        ("___a__b", r"\_\_\_a\_\_b"),
        ("p < 0.05 & n > 3", "p < 0.05 & n > 3"),
        ("SAMP + bound, R = 200", "SAMP + bound, R = 200"),
    ],
)
def test_markdown_is_plain_text(text, expected):
    assert in_markdown(text) == expected


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@sum(a1)", " =1", "\u3000=1", "\uff1d1", "'=1", "''-x"])
def test_no_cell_is_a_formula_and_the_text_comes_back(text):
    cell = in_csv(text)
    assert cell == "'" + text
    assert from_csv(cell) == text


@pytest.mark.parametrize("text", ["a=1", "it's", "'quoted'", "LPI, 1 n.", 'say "x"', "", "'", "a;b", "1"])
def test_other_cells_stay_and_come_back(text):
    assert in_csv(text) == text == from_csv(text)
    file = io.StringIO()
    csv.writer(file).writerow([in_csv(text)])
    assert next(csv.reader(io.StringIO(file.getvalue()))) == [text]


def test_breaks_and_tabs_before_a_formula_are_shown():
    assert in_csv("\t=1") == r"\t=1"
    assert in_csv("\r=1") == r"\r=1"


@pytest.mark.parametrize("text", ["$", "$x$", "$\\frac$", "a$b", "\\$", "$$", "x_1^2", "\n", "{}", "%", "_hidden"])
def test_a_figure_draws_text_as_it_reads(text):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    FigureCanvasAgg(figure)
    title = figure.suptitle(in_figure(text))
    figure.canvas.draw()
    drawn, is_formula = title._preprocess_math(title.get_text())
    assert (drawn, is_formula) == (shown(text), False)
