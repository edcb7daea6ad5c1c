"""`captum-ext choose`: the answer on the screen, its tables, figure and paragraph in the folder."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from captum_ext.exceptions import ArgumentError
from captum_ext.selection import Choice, ChooseOptions
from captum_ext.selection import choose as compared
from captum_ext.selection.criteria import DECIDING
from captum_ext.visualize import save_figure
from captum_ext_integrations.cli import html_pages
from captum_ext_integrations.cli.images import folder_of, labelled_folder_of
from captum_ext_integrations.cli.messages import say, say_table
from captum_ext_integrations.cli.models import LoadedModel, ModelSpec, import_from_here, load_model
from captum_ext_integrations.cli.object_masks import FolderMasks
from captum_ext_integrations.cli.progress import bar
from captum_ext_integrations.cli.references import reference_images
from captum_ext_integrations.cli.targets import TargetSpec, target_of_folder
from captum_ext_integrations.cli.written import write

_COLUMNS = ("n", "score", "gradients", "forwards", "seconds", "beats_controls", "dropped_by")


@dataclass(frozen=True)
class ChooseJob:
    """What is compared, as it was asked for."""

    folder: Path
    model: ModelSpec
    target: TargetSpec
    out: Path
    methods: tuple[str, ...] = ()
    controls: tuple[str, ...] | None = None
    references: Path | None = None
    masks: Path | None = None
    labels: str | None = None
    limit: int | None = None
    page: Path | None = None

    def images(self, loaded: LoadedModel, target: Any) -> Any:
        """The folder, prepared for the model."""
        if self.out.resolve().is_relative_to(self.folder.resolve()):
            raise ArgumentError("out", f"outside of {self.folder}, whose files are the images", str(self.out))
        if target == "label":
            return labelled_folder_of(loaded, self.folder, self.limit, self.labels)
        if self.labels is not None:
            raise ArgumentError("labels", "given with --target label only", f"{self.labels!r} with {target!r}")
        return folder_of(loaded, self.folder, self.limit)


def settings(
    gradients: float,
    seconds: float | None,
    decide_by: Sequence[str] | None,
    group_size: int,
    alpha: float,
    seed: int,
) -> ChooseOptions:
    """The options of `choose` as the shell has them."""
    return ChooseOptions(
        gradients=gradients,
        seconds=seconds,
        decide_by=tuple(decide_by or DECIDING),
        group_size=group_size,
        alpha=alpha,
        seed=seed,
    )


def choose(job: ChooseJob, options: ChooseOptions) -> int:
    """The answer, a table, and files of both."""
    html_pages.check_page(job.page)
    import_from_here()
    loaded = load_model(job.model)
    target = target_of_folder(loaded, job.target)
    images = job.images(loaded, target)
    prepared = loaded.preparation
    references = None if job.references is None else reference_images(loaded, job.references)
    masks = None if job.masks is None else FolderMasks(images, job.masks)
    with bar("images") as on_done:
        choice = compared(
            loaded.model,
            images,
            job.out,
            methods=list(job.methods) or None,
            controls=None if job.controls is None else list(job.controls),
            target=target,
            references=references,
            mean=tuple(prepared.mean),
            std=tuple(prepared.std),
            options=replace(options, masks=masks, show_progress=on_done),
        )
    _show(choice)
    _write(choice, job, options)
    return 0


def _show(choice: Choice) -> None:
    table = choice.table
    columns = [name for name in _COLUMNS if name in table]
    rows = [[str(name), *(_cell(row[column]) for column in columns)] for name, row in table.iterrows()]
    say_table(["method", *columns], rows)
    say("", choice.answer.sentence, *choice.answer.notes, "")


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or value != value else f"{float(value):.3g}"


def _write(choice: Choice, job: ChooseJob, options: ChooseOptions) -> None:
    """Tables, the paragraph and the figure, and a page on request."""
    picture = _picture(choice)
    files = {
        "answer.txt": "\n".join([choice.answer.sentence, *choice.answer.notes, ""]),
        "methods.csv": choice.to_csv(),
        "methods.tex": choice.to_latex(),
        "paragraph.tex": choice.paragraph(latex=True) + "\n",
    }
    for name, text in files.items():
        write(job.out / name, text.encode())
        say(str(job.out / name))
    if picture is not None:
        write(job.out / "ranks.png", picture)
        say(str(job.out / "ranks.png"))
    say(f"captum-ext view {job.out / 'methods'}/* --images {job.folder}")
    if job.page is not None:
        answer = [choice.answer.sentence, *choice.answer.notes]
        table = choice.table.reset_index()
        write(job.page, html_pages.of_choice(answer, table, picture, choice.paragraph(), options.seed))
        say(str(job.page))


def _picture(choice: Choice) -> bytes | None:
    """The diagram of mean ranks, where several methods have images in common."""
    try:
        figure = choice.plot()
    except ArgumentError:
        return None
    file = io.BytesIO()
    save_figure(figure, file, dpi=150)
    return file.getvalue()
