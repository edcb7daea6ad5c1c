"""Text of others on the terminal, in tables, pages, spreadsheets and figures."""

import contextlib
import csv
import io
import json
import types
import warnings
from html.parser import HTMLParser
from pathlib import Path

import markdown_it
import numpy as np
import pandas as pd
import typer
from PIL import Image

from captum_ext.core.text import from_csv, in_markdown, shown
from captum_ext.exceptions import ArgumentError, CaptumExtError
from captum_ext.metrics import compare
from captum_ext_integrations.cli import folder_runs, messages, pictures, progress, tables
from captum_ext_integrations.cli.classes import class_of
from examples.benchmarks.engine.claims import Comparison, Judged, Kind
from examples.benchmarks.engine.page import page
from tests.fuzz.engine import Broken, Case, Outcome
from tests.fuzz.hostile_text import hostile, obeyed

NAME = "text"
SAYS = "names and messages with control characters, markup and formulas where they are shown"
_ABOUT = {
    "versions": {"python": "3"},
    "commit": "1",
    "seed": 0,
    "size": "small",
    "data": "d",
    "digest": "0",
    "machine": {"processor": "p", "cores": 1, "memory": "1 GB"},
    "workers": "1",
    "cost": "nothing",
}


def case(random, folder):
    """A text and a place where it is shown."""
    text = hostile(random)
    name = random.choice(sorted(_PLACES))
    return Case(f"{name} of {ascii(text)[:300]}", lambda: tried(name, text, random, folder))


def tried(name, text, random, folder):
    """Whether the text is harmless there, and still to be read."""
    _PLACES[name](text, random, folder)
    return Outcome.RIGHT


def check(condition, what, found=""):
    if not condition:
        raise Broken(f"{what}: {ascii(found)[:300]}")


def written(work):
    """What `work` writes to the terminal."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        work()
    text = out.getvalue() + err.getvalue()
    check(not obeyed(text), "a terminal obeys", text)
    text.encode()
    return text


def line(text, random, folder):
    for work in (lambda: messages.say(text), lambda: messages.warn(text)):
        said = written(work)
        check(said.count("\n") == 1 and said.endswith("\n"), "not one line", said)


def narrow(text, random, folder):
    first, *others = messages.fitted(f"Error: {text}", random.randint(20, 120)).split("\n")
    check(first.startswith("Error: ") or first == "Error:", "the first line has no mark", first)
    check(all(one.startswith("    ") for one in others), "a line looks like a message", others)
    check(not any(map(obeyed, (first, *others))), "a terminal obeys", others)


def error(text, random, folder):
    raised = random.choice(
        [
            ArgumentError("n_steps", text, "x"),
            ArgumentError(text, "x", text),
            ArgumentError("n_steps", f"`{text}`", f"given.{text} was int"),
            CaptumExtError(text),
            OSError(2, "No such file", text),
            OSError(text),
            RuntimeError(text),
            KeyError(text),
        ]
    )

    def command(n_steps: int = 1) -> int:
        raise raised

    def work():
        with contextlib.suppress(typer.Exit):
            messages.with_messages(command)()

    said = written(work)
    check(said.startswith("Error: ") and said.count("\n") == 1, "not one line", said)


def warning(text, random, folder):
    def command() -> int:
        warnings.warn(text, UserWarning, stacklevel=1)
        return 0

    def work():
        with contextlib.suppress(typer.Exit), warnings.catch_warnings():
            warnings.simplefilter("always")
            messages.with_messages(command)()

    said = written(work)
    check(said.startswith("Warning: ") and said.count("\n") == 1, "not one line", said)


def usage(text, random, folder):
    from captum_ext_integrations.cli.app import app

    wrong = random.choice([[text], ["explain", "a", text], ["explain", "a", "--n-steps", text], ["run", f"--{text}"]])

    def work():
        with contextlib.suppress(SystemExit):
            app([one.replace("\0", "") for one in wrong])

    said = written(work)
    marked = [one for one in said.split("\n") if one.startswith(("Error", "Warning"))]
    check(len(marked) <= 1, "a forged line", said)


def table(text, random, folder):
    said = written(lambda: messages.say_table(["name", text[:20], "n"], [[text[:40], "a", "1"]]))
    check("name" in said, "no table", said)


def failures(text, random, folder):
    failed = [{"name": text, "index": 0, "error": text}] * 2
    run = types.SimpleNamespace(folder=Path("out"), failures=failed, manifest={"n_samples": 3}, complete=True)
    said = written(lambda: folder_runs.report(_Sized(run)))
    check(said.count("\n") == 3, "not one line for each", said)


class _Sized:
    def __init__(self, run):
        self.__dict__.update(vars(run))

    def __len__(self):
        return 1


def bar(text, random, folder):
    def work():
        with progress.bar(text) as done:
            done(1, 2)

    written(work)


def spreadsheet(text, random, folder):
    content = tables.as_csv(_scores(text))
    csv.field_size_limit(max(len(content) + 1, csv.field_size_limit()))  # of the process: others read tables, too
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    check(len(rows) == 2 and len(set(map(len, rows))) == 1, "another number of cells", rows)
    found = dict(zip(*rows, strict=True))
    check(from_csv(found["method"]) == shown(text), "another text", found["method"])
    check(not found["method"].lstrip().startswith(("=", "+", "-", "@")), "a formula", found["method"])
    check(not found["method"].startswith(("\t", "\r", "\n")), "a formula", found["method"])
    check(found["mean"] == "-0.5", "another number", found["mean"])


def _scores(text):
    name = pd.Series([text], dtype=object)
    return pd.DataFrame({"metric": ["diff_id"], "method": name, "mean": [-0.5], "ci_low": [-1.0], "ci_high": [0.5]})


class _Text(HTMLParser):
    """Text by tag, and which tags there are."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.texts, self.handlers, self.comments = [], [], [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.texts.append([tag, ""])

    def handle_data(self, data):
        if self.texts:
            self.texts[-1][1] += data

    def handle_comment(self, data):
        self.comments.append(data)

    def of(self, tag):
        return [text.strip("\n") for name, text in self.texts if name == tag]


def markdown(text, random, folder):
    cell = in_markdown(text)
    source = f"| a | b | c |\n| --- | --- | --- |\n| {cell} | 1 | {cell} |\n"
    html = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(source)
    parsed = _Text(html)
    check(set(parsed.tags) <= {"table", "thead", "tbody", "tr", "th", "td"}, "a tag of its own", html)
    check(not parsed.comments, "a comment", html)
    check(len(parsed.of("td")) == 3, "another number of columns", html)
    found, expected = (" ".join(one.split()) for one in (parsed.of("td")[0], shown(text)))
    check(found == expected, "another text", found)


def comparison(text, random, folder):
    text = text.encode(errors="backslashreplace").decode()  # pandas may keep an index in Arrow's text, which is UTF-8
    names = {text: [1.0, 2.0, 3.0], "other": [2.0, 3.0, 5.0]}
    source = compare(names, text, n_resamples=10).to_markdown()
    parsed = _Text(markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(source))
    check(len(source.splitlines()) == 4 and not obeyed(source), "another number of lines", source)
    check(len(parsed.of("td")) == 2 * len(parsed.of("th")), "another number of columns", source)
    check(" ".join(parsed.of("td")[0].split()) == " ".join(shown(text).split()), "another text", parsed.of("td")[0])


def html(text, random, folder):
    judged = {"LPI": [Judged("LPI", *[text] * 5, 3, text, Kind.HOLDS, (Comparison(text, "better"),))]}
    stored = text.encode(errors="backslashreplace").decode()  # Arrow's text is UTF-8
    names = pd.Series([stored], dtype=object)
    picture = {"picture": [b"a"], "photograph": [b"b"], "method": names, "sample": names}
    about = {**_ABOUT, "data": text, "failures": [text]}
    source = page(judged, {}, {text: pd.DataFrame(picture)}, about, {"LPI": "i"})
    source.encode()
    check(not obeyed(source), "control characters", source)
    parsed = _Text(source)
    plain = {"LPI": [Judged("LPI", *"abcde", 3, "f", Kind.HOLDS, (Comparison("g", "better"),))]}
    usual = _Text(page(plain, {}, {"h": pd.DataFrame(picture)}, about, {"LPI": "i"}))
    check(parsed.tags == usual.tags and not parsed.comments and not parsed.handlers, "a tag of its own", text)
    check(parsed.of("td").count(shown(text)) == usual.of("td").count("a") + 5, "another text", parsed.of("td")[-20:])
    (script,) = parsed.of("script")
    data = next(one for one in script.split("\n") if one.startswith("const galleries = "))
    (gallery,) = json.loads(data.removeprefix("const galleries = ").removesuffix(";"))
    check(gallery["samples"][0]["name"] == shown(stored) == gallery["methods"][0], "another text", gallery["methods"])


def figure(text, random, folder):
    path = folder / "figure.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if random.random() < 0.5:
            maps = {text: np.array([[1.0, -1.0]]), "b": np.array([[0.5, 0.0]])}
            pictures.draw_maps(np.zeros((2, 2, 3)), maps, pictures.Caption(text, text, (text,)), path)
        else:
            scores = {text: pd.DataFrame({"diff_id": [-1.0, 0.0]})}
            pictures.draw_scores(scores, _scores(text), {"diff_id": True}, path)
    with Image.open(path) as image:
        image.load()
        check(100 < image.size[0] < 3000 and 100 < image.size[1] < 2000, "a figure of another size", image.size)


def class_name(text, random, folder):
    names = (text, "dog", "cat, tabby")
    loaded = types.SimpleNamespace(class_names=names)
    try:
        index = class_of(loaded, text)
    except ArgumentError as raised:
        mistake = str(raised)
        written(lambda: messages.warn(mistake))
    else:
        check(index in ("predicted", "label") or names[index] == text or text.strip() in names[index], "another", index)


_PLACES = {
    "line": line,
    "narrow": narrow,
    "error": error,
    "warning": warning,
    "usage": usage,
    "table": table,
    "failures": failures,
    "bar": bar,
    "spreadsheet": spreadsheet,
    "markdown": markdown,
    "comparison": comparison,
    "html": html,
    "figure": figure,
    "class_name": class_name,
}
