"""Looking through runs: a page that is served, or written to a folder."""

from __future__ import annotations

import webbrowser
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from captum_ext.core.optional import require
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.cli.messages import say, warn

if TYPE_CHECKING:
    from captum_ext_integrations.viewer.questions import Question
    from captum_ext_integrations.viewer.server import Page

OK = 0
_BY_NUMBER = ("index", "name")


@dataclass(frozen=True)
class ViewJob:
    """What is to be seen, as it was asked for."""

    runs: list[Path]
    images: Path | None = None
    resize: int | None = None
    crop: int | None = None
    classes: Path | None = None
    sort: str = "index"
    smallest: bool = False
    where: str = ""
    samples: tuple[int, ...] = ()
    limit: int = 10


def serve(job: ViewJob, port: int, browser: bool) -> int:
    """Serve the page until Ctrl-C."""
    require("starlette", "view")
    from captum_ext_integrations.viewer.serving import Serving

    serving = Serving(_page(job), port)
    link = _question(job).link()
    address = serving.url + (f"?{link}" if link else "")
    say(f"{address} (Ctrl-C ends it)")
    if browser and not webbrowser.open(address):
        warn("No browser could be opened: copy the address into one.")
    serving.here()
    return OK


def write(job: ViewJob, folder: Path) -> int:
    """Write the page of some samples to a folder."""
    require("starlette", "view")
    from captum_ext_integrations.viewer import export

    page = _page(job)
    written = export.export(page, folder, _question(job), job.limit, job.samples, warn)
    numbers = ", ".join(map(str, written[:10])) + (", ..." if len(written) > 10 else "")
    say(f"{len(written)} samples: {numbers}", str(folder / export.INDEX), str(folder / export.TABLE))
    return OK


def _page(job: ViewJob) -> Page:
    from captum_ext_integrations.viewer.classes import Classes
    from captum_ext_integrations.viewer.collection import opened
    from captum_ext_integrations.viewer.photographs import Fit
    from captum_ext_integrations.viewer.server import Page, photographs_of

    classes = None if job.classes is None else Classes.of_file(job.classes)
    collection = opened(job.runs, classes)
    if collection.key_of(job.sort) is None:
        known = ", ".join(one.key for one in collection.columns())
        raise ArgumentError("sort", f"one of {known}", repr(job.sort))
    fit = None if job.resize is None and job.crop is None else Fit(job.resize, job.crop)
    return Page(collection, photographs_of(collection, job.images, fit))


def _question(job: ViewJob) -> Question:
    """What is asked for: by the link of a page, and over it by --sort."""
    from captum_ext_integrations.viewer.questions import Question

    pairs = dict(parse_qsl(job.where.partition("?")[2] or job.where, keep_blank_values=True))
    question, said = Question.of(pairs)
    if said:
        raise ArgumentError("where", "a page's address, or what is behind the ? of one", said[0])
    if job.sort != "index" or not question.sort:
        question = replace(question, sort=job.sort, descending=not job.smallest and job.sort not in _BY_NUMBER)
    return question
