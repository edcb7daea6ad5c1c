"""The page as HTML: a table that needs no JavaScript, which takes its place where it runs."""

from __future__ import annotations

import html
from dataclasses import replace
from importlib.resources import files
from typing import Any

from captum_ext.core.text import shown
from captum_ext_integrations.viewer.answers import in_words
from captum_ext_integrations.viewer.questions import RIGHTS, STATES, Question

STATIC = {
    "page.css": "text/css; charset=utf-8",
    "maps.js": "text/javascript; charset=utf-8",
    "sources.js": "text/javascript; charset=utf-8",
    "curves.js": "text/javascript; charset=utf-8",
    "keys.js": "text/javascript; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
SCRIPTS = tuple(name for name in STATIC if name.endswith(".js"))  # in the order in which they run
_RIGHTS = {"": "right and wrong", **RIGHTS}
_STATES = {"": "all samples", **STATES}


def static(name: str) -> bytes:
    """A file of the page."""
    return files(__package__).joinpath("static").joinpath(name).read_bytes()


def escaped(text: object) -> str:
    """Text of an element, or of an attribute in double quotes: on one line, and nothing in it is markup."""
    return html.escape(shown(text), quote=True)


def name_html(text: object) -> str:
    """A name of others, whose direction of writing ends where it ends."""
    return f"<bdi>{escaped(text)}</bdi>"


def document(title: str, body: str, head: str) -> bytes:
    """A whole page; `head` has its styles and scripts."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escaped(title)}</title>\n<link rel="icon" href="data:,">\n{head}\n</head>\n<body>\n'
        f'<a class="skip" href="#main">To the samples</a>\n{body}\n</body>\n</html>\n'
    ).encode()


def linked(base: str) -> str:
    """Styles and scripts as files of the server."""
    scripts = "\n".join(f'<script src="{base}static/{name}" defer></script>' for name in SCRIPTS)
    return f'<link rel="stylesheet" href="{base}static/page.css">\n{scripts}'


def header(about: dict[str, Any]) -> str:
    """The runs, how they were made, and what is to be known about them."""
    entries = "".join(
        f"<li>{name_html(run['label'])}: {run['rows']:,} of {run['samples']:,} samples, "
        f"{name_html(run['method'])} of {name_html(run['model'])}, target {name_html(run['target'])}</li>"
        for run in about["runs"]
    )
    notices = "".join(f'<p class="notice">{name_html(one)}</p>' for one in about["notices"])
    runs = f'<h1>Attributions</h1>\n<ul class="runs">{entries}</ul>'
    return f'<header>\n{runs}\n<div id="notices">{notices}</div>\n</header>'


def form(about: dict[str, Any], question: Question, sort: str) -> str:
    """What is asked for, to be changed; without JavaScript a button sends it."""
    sorts = [(one["key"], _title(about, one)) for one in about["columns"]]
    return (
        '<form id="form" method="get" action="." role="search" aria-label="Which samples, in which order">'
        + _select("sort", "Sort by", sorts, sort)
        + _select("descending", "Order", [("", "smallest first"), ("1", "largest first")], "1" * question.descending)
        + _field("name", "Name has", question.name)
        + _field("target", "Target (number or name)", question.target)
        + _field("prediction", "Prediction (number or name)", question.prediction)
        + _select("right", "Prediction is", list(_RIGHTS.items()), question.right)
        + _select("state", "Show", list(_STATES.items()), question.state)
        + f'<div class="between">{_between(question)}</div>'
        + '<button type="submit">Show</button></form>'
    )


def _between(question: Question) -> str:
    return _field("least", "Sorted number from", "" if question.least is None else f"{question.least:g}") + _field(
        "most", "to", "" if question.most is None else f"{question.most:g}"
    )


def table(about: dict[str, Any], answer: dict[str, Any], question: Question, base: str) -> str:
    """The rows as a table, with links to their pages and to those before and after."""
    columns = [one for one in about["columns"] if one["key"] not in ("index", "name")]
    named = any(one["key"] == "name" for one in about["columns"])
    head = ["sample", *(["name"] if named else []), *(_title(about, one) for one in columns)]
    cells = "".join(f'<th scope="col">{name_html(one)}</th>' for one in head)
    lines = "".join(_line(one, columns, named, base, question) for one in answer["rows"])
    said = "".join(f'<p class="notice">{name_html(one)}</p>' for one in answer["said"])
    return (
        f'<main id="main" tabindex="-1">{said}<p>{answer["total"]:,} samples, page {answer["page"]:,} of '
        f"{answer['pages']:,}{_asked(answer)}</p>"
        '<div class="wide" tabindex="0" role="region" aria-label="Table of samples"><table>'
        f"<caption>Samples and their numbers</caption><thead><tr>{cells}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
        f"{_pager(answer, question)}</main>"
    )


def _asked(answer: dict[str, Any]) -> str:
    return f"; {name_html(answer['asked'])}" if answer["asked"] else ""


def _line(row: dict[str, Any], columns: list[dict[str, Any]], named: bool, base: str, question: Question) -> str:
    link = f"{base}sample/{row['index']}" + (f"?{question.link()}" if question.link() else "")
    number = f'<a href="{escaped(link)}">{row["index"]}</a>' if base else row["index"]
    cells = [f'<th scope="row">{number}</th>']
    cells += [f"<td>{name_html(row['name'] or '')}</td>"] if named else []
    for column in columns:
        key = column["key"]
        error = row["errors"][column["run"]] if column["run"] is not None else None
        text = row["classes"].get(key) or in_words(row["values"][key]) or (f"failed: {error}" if error else "")
        cells.append(f"<td>{name_html(text)}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def sample(about: dict[str, Any], row: dict[str, Any], near: dict[str, Any], question: Question) -> str:
    """The page of one sample: its numbers in each run; maps come with JavaScript, the photograph without, too."""
    query = f"?{question.link()}" if question.link() else ""
    links = [f'<a id="back" href="../{escaped(query)}">All samples</a>']
    for key, text in (("before", "Sample before"), ("after", "Next sample")):
        if near[key] is not None:
            links.append(f'<a id="{key}" href="{near[key]}{escaped(query)}">{text}</a>')
    at = (
        f"{near['at']:,} of {near['total']:,} in this order"
        if near["at"]
        else "not among the samples that are asked for"
    )
    photograph = (
        f'<noscript><img src="../photograph/{row["index"]}" alt="photograph of the sample"></noscript>'
        if about["photographs"]
        else ""
    )
    return (
        f'<main id="main" tabindex="-1" data-index="{row["index"]}">'
        f'<nav class="pager" aria-label="Samples">{" ".join(links)}</nav>'
        f"<h2>Sample {row['index']}{': ' if row['name'] else ''}{name_html(row['name'] or '')}</h2><p>{at}</p>"
        f'{photograph}<div id="figure"></div>{numbers(about, row)}</main>'
    )


def numbers(about: dict[str, Any], row: dict[str, Any]) -> str:
    """The numbers of one sample, a line for each column and a column for each run."""
    runs = range(len(about["runs"]))
    names = list(dict.fromkeys(one["name"] for one in about["columns"] if one["run"] is not None))
    keys = {(one["name"], one["run"]): one["key"] for one in about["columns"]}
    lines = [_numbers_line(name, [_value(row, keys.get((name, run))) for run in runs]) for name in names]
    lines += [
        _numbers_line(one["name"], [_value(row, one["key"]), *("" for _ in runs[1:])])
        for one in about["columns"]
        if one["key"].startswith("disagreement")
    ]
    if any(one is not None for one in row["right"]):
        lines.append(
            _numbers_line("prediction is", [{True: "right", False: "wrong"}.get(one, "") for one in row["right"]])
        )
    if any(row["errors"]):
        lines.append(_numbers_line("error", [error or "" for error in row["errors"]]))
    head = "".join(f'<th scope="col">{name_html(run["label"])}</th>' for run in about["runs"])
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Numbers of the sample"><table>'
        f"<caption>Numbers</caption><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _numbers_line(name: str, texts: list[str]) -> str:
    cells = "".join(f"<td>{name_html(text)}</td>" for text in texts)
    return f'<tr><th scope="row">{name_html(name)}</th>{cells}</tr>'


def _value(row: dict[str, Any], key: str | None) -> str:
    return "" if key is None else row["classes"].get(key) or in_words(row["values"][key])


def _pager(answer: dict[str, Any], question: Question) -> str:
    links = []
    for text, page in (("Page before", answer["page"] - 1), ("Next page", answer["page"] + 1)):
        if 1 <= page <= answer["pages"]:
            links.append(f'<a href="./?{escaped(replace(question, page=page).link())}">{text}</a>')
    return f'<nav class="pager" aria-label="Pages">{" ".join(links)}</nav>' if links else ""


def _title(about: dict[str, Any], column: dict[str, Any]) -> str:
    """The name of a column, with that of its run where there are several."""
    several = column["run"] is not None and len(about["runs"]) > 1
    return f"{column['name']} of {about['runs'][column['run']]['label']}" if several else str(column["name"])


def _select(name: str, label: str, options: list[tuple[str, str]], chosen: str) -> str:
    listed = "".join(
        f'<option value="{escaped(value)}"{" selected" if value == chosen else ""}>{escaped(text)}</option>'
        for value, text in options
    )
    return f'<label>{label} <select name="{name}">{listed}</select></label>'


def _field(name: str, label: str, value: str) -> str:
    return f'<label>{label} <input name="{name}" value="{escaped(value)}" maxlength="200" autocomplete="off"></label>'
