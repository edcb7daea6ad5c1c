"""What the commands do; each returns an exit code."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_ext.dataset import DatasetAttributions, MapFormat
from captum_ext.dataset.row_maker import Batch, RowMaker, Settings
from captum_ext.dataset.run import default_fields
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.cli import html_pages, left_out, pictures, tables
from captum_ext_integrations.cli.deltas import about_delta
from captum_ext_integrations.cli.folder_runs import FAILED, OK, FolderRun, layer_of, run_method
from captum_ext_integrations.cli.images import folder_of, picture_of
from captum_ext_integrations.cli.messages import say, say_table
from captum_ext_integrations.cli.methods import CALLERS_CLASS, METHODS, METRICS, MethodSpec
from captum_ext_integrations.cli.models import LoadedModel, ModelSpec, load_model
from captum_ext_integrations.cli.progress import bar
from captum_ext_integrations.cli.references import fit
from captum_ext_integrations.cli.targets import Chosen, TargetSpec, chosen_of, target_of_folder
from captum_ext_integrations.cli.upsamplers import UPSAMPLERS
from captum_ext_integrations.cli.written import check_picture, write

# What the numbers of a map are, where they are not what path methods give.
_UNITS = {
    "saliency": "change of the score with the pixel",
    "input-x-gradient": "input times gradient, in units of the score",
    "gradcam": "mass of the CAM in a pixel, not normalised",
    "cam": "mass of the CAM in a pixel, not normalised",
    "mwp": "winning probability",
    "c-mwp": "winning probability less that of the dual class",
}
_ATTRIBUTION = "attribution of a pixel"
_SUMS_TO_SCORE = f"{_ATTRIBUTION}, in units of the score"


def explain(image: Path, spec: MethodSpec, target: TargetSpec, out: Path, page: Path | None = None) -> int:
    """One photograph to one picture, and to a page on request."""
    check_picture(out)
    html_pages.check_page(page)
    loaded = load_model(spec.model)
    inputs, size = picture_of(loaded, image)
    chosen = chosen_of(loaded, inputs, size, target)
    method = spec.build(loaded)
    fields = tuple(name for name in default_fields(method) if name != "prediction")
    settings = Settings(chosen.target, fields, MapFormat(dtype="float32"), spec.seed, spec.attribute_kwargs)
    columns, failures = RowMaker(method, settings).rows(Batch([0], inputs))
    if failures:
        raise ArgumentError("image", "one whose attributions are finite", failures[0])
    layer, values = layer_of(method), columns["map"][0]
    title = f"{spec.name}{_of_layer(layer)}: {chosen.name}, score {columns['score'][0]:.3g}"
    unit = _UNITS.get(spec.name, _SUMS_TO_SCORE if "delta" in columns else _ATTRIBUTION)
    notes = (f"Layer {layer}",) if layer else ()
    _save(out, {"": values}, loaded, inputs, pictures.Caption(title, unit, notes), chosen)
    delta = float(columns["delta"][0]) if "delta" in columns else None
    say(title if delta is None else f"{title}, convergence delta {delta:.2g}")
    said = [] if delta is None else about_delta(float(values.sum()), delta, spec)
    say(*said, str(out))
    if page is not None:
        numbers = {"score": columns["score"][0], "sum of the map": values.sum(), "delta": delta}
        explained = html_pages.Explained(
            name=image.name,
            photograph=loaded.preparation.displayable(inputs)[0].numpy(),
            values=values,
            method=f"{spec.name}{_of_layer(layer)}",
            model=spec.model.name,
            target=chosen.name,
            unit=unit,
            seed=spec.seed,
            numbers={name: float(value) for name, value in numbers.items() if value is not None},
            notes=said,
        )
        write(page, html_pages.of_explained(explained))
        say(str(page))
    return OK


def upsample(
    image: Path, spec: ModelSpec, cam: str, layer: str | None, upsampler: str, target: TargetSpec, out: Path
) -> int:
    """One CAM: coarse, interpolated, redistributed."""
    from captum_ext_integrations.cli.cams import Cam

    check_picture(out)
    loaded = load_model(spec)
    inputs, size = picture_of(loaded, image)
    chosen = chosen_of(loaded, inputs, size, target)
    explained = chosen.target if callable(chosen.target) else torch.tensor([chosen.target])
    used = Cam(loaded, layer, upsampler, cam)
    maps = {
        name: Cam(loaded, used.layer, name, cam)(inputs, explained)[0].cpu().numpy() for name in ("nearest", "bilinear")
    }
    maps[upsampler] = used(inputs, explained)[0].cpu().numpy()
    title = f"{cam}{_of_layer(used.layer)}: {chosen.name}"
    caption = pictures.Caption(title, _UNITS["gradcam"], (f"Layer {used.layer}",))
    shown = {upsampler: maps[upsampler]} if out.suffix == ".npy" else maps
    _save(out, shown, loaded, inputs, caption, chosen)
    say(f"{title}, upsampled by {upsampler}, mass {maps[upsampler].sum():.4g}", str(out))
    return OK


def fit_references(
    folder: Path,
    spec: ModelSpec,
    out: Path,
    n_neighborhoods: int,
    n_references: int,
    overwrite: bool,
    limit: int | None,
    seed: int,
) -> int:
    """Fitted references in one file."""
    if out.exists() and not overwrite:
        raise ArgumentError("out", "a new file, or --overwrite", str(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    loaded = load_model(spec)
    images = folder_of(loaded, folder, limit)
    with bar("outputs of images") as on_done:
        fitted, unreadable = fit(loaded, images, n_neighborhoods, n_references, seed=seed, on_done=on_done)
    fitted.save(out, overwrite=overwrite)
    say(str(fitted), str(out))
    for failure in unreadable:
        say(f"  left out: {failure}")
    return FAILED if unreadable else OK


def evaluate(
    folder: Path,
    methods: list[MethodSpec],
    metrics: list[str],
    target: TargetSpec,
    out: Path,
    limit: int | None,
    batch_size: int,
    labels: str | None = None,
    page: Path | None = None,
) -> int:
    """Scores of methods on a folder: rows, table, figure, and a page on request."""
    html_pages.check_page(page)
    loaded = load_model(methods[0].model)
    chosen = target_of_folder(loaded, target)
    jobs = [
        FolderRun(
            folder,
            spec,
            chosen,
            out / spec.name.replace(":", "."),
            tuple(metrics),
            maps=False,
            limit=limit,
            batch_size=batch_size,
            labels=labels,
        )
        for spec in methods
    ]
    images = jobs[0].images(loaded)
    built = [spec.build(loaded) for spec in methods]  # a mistake in the last is told before the first has run
    code = max(run_method(job, images, method) for job, method in zip(jobs, built, strict=True))
    runs = {job.method.name: DatasetAttributions(job.out) for job in jobs}
    scores = {name: tables.scores_of(run, metrics) for name, run in runs.items()}
    if not any(len(rows) for rows in scores.values()):
        return FAILED
    table = tables.compared(scores, metrics, control=methods[0].name)
    csv, png = out / "scores.csv", out / "scores.png"
    write(csv, tables.as_csv(table))
    pictures.draw_scores(scores, table, {name: METRICS[name][0] for name in metrics}, png)
    tables.show(table, methods[0].name)
    reasons = left_out.reasons(runs, metrics)
    say(*reasons, str(csv), str(png))
    if page is not None:
        write(page, html_pages.of_scores(table, png.read_bytes(), reasons, methods[0].seed))
        say(str(page))
    return code


def list_names() -> int:
    """What can be asked for."""
    parts = {
        "method": {**{name: entry.line for name, entry in METHODS.items()}, "MODULE:CLASS": CALLERS_CLASS},
        "metric": {name: line for name, (_, line) in METRICS.items()},
        "upsampler": UPSAMPLERS,
    }
    for kind, lines in parts.items():
        say_table([kind, ""], [[name, line] for name, line in lines.items()])
        say("")
    return OK


def _of_layer(layer: str | None) -> str:
    return f" of layer {layer}" if layer else ""


def _save(
    out: Path,
    maps: dict[str, Any],
    loaded: LoadedModel,
    inputs: Tensor,
    caption: pictures.Caption,
    chosen: Chosen,
) -> None:
    """The only map as numbers, or all maps as a picture, in which a box or a region that is explained is framed."""
    if out.suffix == ".npy":
        file = io.BytesIO()
        np.save(file, next(iter(maps.values())))
        write(out, file.getvalue())
    else:
        place = chosen.box if chosen.mask is None else chosen.mask
        pictures.draw_maps(loaded.preparation.displayable(inputs)[0].numpy(), maps, caption, out, place)
