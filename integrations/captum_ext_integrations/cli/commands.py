"""What the commands do; each returns an exit code."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor

from captum_ext.dataset import DatasetAttributions, MapFormat, RunOptions, attribute_dataset
from captum_ext.dataset.row_maker import Batch, RowMaker, Settings
from captum_ext.dataset.run import default_fields
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.cli import pictures, tables
from captum_ext_integrations.cli.images import Images, open_image
from captum_ext_integrations.cli.messages import say
from captum_ext_integrations.cli.methods import CALLERS_CLASS, METHODS, METRICS, MethodSpec, outputs
from captum_ext_integrations.cli.models import LoadedModel, ModelSpec, load_model
from captum_ext_integrations.cli.references import fit
from captum_ext_integrations.cli.upsamplers import DEFAULT_UPSAMPLER, UPSAMPLERS

OK, FAILED = 0, 1


def explain(image: Path, spec: MethodSpec, target: int | str, out: Path) -> int:
    """One photograph to one picture."""
    _check_picture(out)
    loaded = load_model(spec.model)
    inputs = loaded.preparation(open_image(image))[None].to(loaded.device)
    chosen = _target_of(loaded, inputs, target)
    method = spec.build(loaded)
    fields = tuple(name for name in default_fields(method) if name != "prediction")
    settings = Settings(chosen, fields, MapFormat(dtype="float32"), spec.seed, spec.attribute_kwargs)
    columns, failures = RowMaker(method, settings).rows(Batch([0], inputs))
    if failures:
        raise ArgumentError("image", "one whose attributions are finite", failures[0])
    title = f"{spec.name}: {loaded.class_name(chosen)}, score {columns['score'][0]:.3g}"
    _save(out, columns["map"][0], loaded, inputs, title)
    delta = f", convergence delta {columns['delta'][0]:.2g}" if "delta" in columns else ""
    say(f"{title}{delta}\n{out}")
    return OK


def upsample(
    image: Path, spec: ModelSpec, cam: str, layer: str | None, upsampler: str, target: int | str, out: Path
) -> int:
    """One CAM: coarse, interpolated, redistributed."""
    from captum_ext_integrations.cli.cams import Cam

    _check_picture(out)
    loaded = load_model(spec)
    inputs = loaded.preparation(open_image(image))[None].to(loaded.device)
    chosen = torch.tensor([_target_of(loaded, inputs, target)])
    used = Cam(loaded, layer, upsampler, cam)
    maps = {
        name: Cam(loaded, used.layer, name, cam)(inputs, chosen)[0].cpu().numpy() for name in ("nearest", "bilinear")
    }
    maps[upsampler] = used(inputs, chosen)[0].cpu().numpy()
    title = f"{cam} of {used.layer}: {loaded.class_name(int(chosen))}"
    if out.suffix == ".npy":
        np.save(out, maps[upsampler])
    else:
        pictures.draw_maps(loaded.preparation.displayable(inputs)[0].numpy(), maps, title, out)
    say(f"{title}, upsampled by {upsampler}, mass {maps[upsampler].sum():.4g}\n{out}")
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
    loaded = load_model(spec)
    images = Images(folder, loaded.preparation, limit)
    with _bar("outputs of images") as on_done:
        fitted, unreadable = fit(loaded, images, n_neighborhoods, n_references, seed=seed, on_done=on_done)
    out.parent.mkdir(parents=True, exist_ok=True)
    fitted.save(out, overwrite=overwrite)
    say(f"{fitted}\n{out}")
    for failure in unreadable:
        say(f"  left out: {failure}")
    return FAILED if unreadable else OK


@dataclass(frozen=True)
class FolderRun:
    """A method over a folder of images, as it was asked for."""

    folder: Path
    method: MethodSpec
    target: int | str
    out: Path
    metrics: tuple[str, ...] = ()
    maps: bool = True
    size: int | None = None
    dtype: str | None = None
    limit: int | None = None
    batch_size: int = 8
    resume: bool = True

    def images(self, loaded: LoadedModel) -> Images:
        """The folder, prepared for the model."""
        if self.out.resolve().is_relative_to(self.folder.resolve()):
            raise ArgumentError("out", f"outside of {self.folder}, whose files are the images", str(self.out))
        images = Images(self.folder, loaded.preparation, self.limit)
        if self.target == "label" and images.n_classes != loaded.n_classes:
            received = f"{images.n_classes} folders in {self.folder} for {loaded.n_classes} outputs"
            raise ArgumentError("target", '"label" only with one folder for each class of the model', received)
        return images

    def arguments(self, method: Any) -> dict[str, Any]:
        """What both engines are to compute."""
        fields = [name for name in default_fields(method, self.target) if self.maps or name != "map"]
        return {
            "target": self.target,
            "fields": (*fields, *self.metrics),
            "map_format": MapFormat(None if self.size is None else (self.size, self.size), self.dtype or "float16"),
            "attribute_kwargs": self.method.attribute_kwargs,
        }

    def options(self, method: Any) -> dict[str, Any]:
        """How both are to go about it."""
        return {
            "batch_size": self.batch_size,
            "seed": self.method.seed,
            "resume": self.resume,
            "configuration": self._configuration(method),
        }

    def for_workers(self, num_gpus: float) -> FolderRun:
        """The same with paths and a device that mean the same elsewhere."""
        spec = self.method
        weights = None if spec.model.weights is None else spec.model.weights.absolute()
        device = spec.model.device if spec.model.device != "auto" else "cuda" if num_gpus else "cpu"
        model = replace(spec.model, weights=weights, device=device)
        references = None if spec.references is None else spec.references.absolute()
        method = replace(spec, model=model, references=references)
        return replace(self, method=method, folder=self.folder.absolute())

    def _configuration(self, method: Any) -> dict[str, Any]:
        spec, cam = self.method, {}
        if spec.name == "gradcam":  # by the layer that was chosen, which may as well be named
            cam = {"layer": method.layer, "upsampler": spec.upsampler or DEFAULT_UPSAMPLER}
        code = {"code": spec.code} if spec.code else {}  # of a caller's class, which may change between two runs
        return {"method": spec.name, "model": spec.model.name, **cam, **code}


def run_here(job: FolderRun, num_workers: int = 0) -> int:
    """A folder on this machine."""
    loaded = load_model(job.method.model)
    images = job.images(loaded)
    return _run(job, images, job.method.build(loaded), num_workers)


def _run(job: FolderRun, images: Images, method: Any, num_workers: int = 0) -> int:
    with _bar(job.method.name) as on_done, _reported_below():
        attributions = attribute_dataset(
            method,
            images,
            job.out,
            run=RunOptions(num_workers=num_workers, show_progress=on_done, **job.options(method)),
            **job.arguments(method),
        )
    return _report(attributions)


def run_with_ray(job: FolderRun, workers: int, num_gpus: float) -> int:
    """A folder on workers of Ray: those of RAY_ADDRESS, or of this machine."""
    _check_fitted(job.method)
    from captum_ext_integrations import ray_data

    job = job.for_workers(num_gpus)
    on_cpu = replace(job.method.model, device="cpu")  # the driver explains nothing
    loaded = load_model(on_cpu)
    images, method = job.images(loaded), job.method.build(loaded)
    path = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
    settings: dict[str, Any] = {"runtime_env": {"env_vars": {"PYTHONPATH": path}}, "logging_level": "ERROR"}
    if "RAY_ADDRESS" not in os.environ:
        settings.update(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
    ray_data.ray.init(ignore_reinit_error=True, **settings)
    try:
        _check_cluster(ray_data.ray.cluster_resources(), workers, num_gpus)
        with _bar(f"{job.method.name}, {workers} workers") as on_done, _reported_below():
            attributions = ray_data.explain(
                images,
                job.method.build,
                job.out,
                concurrency=workers,
                num_gpus=num_gpus,
                show_progress=on_done,
                **job.options(method),
                **job.arguments(method),
            )
    finally:
        ray_data.ray.shutdown()
    return _report(attributions)


def _check_fitted(spec: MethodSpec) -> None:
    """Refuse what every worker would do again."""
    if spec.name == "lpi" and spec.references is not None and spec.references.is_dir():
        expected = (
            "a file for lpi with --engine ray (captum-ext fit-references FOLDER --out FILE), "
            "as every worker would be fitted to the folder again"
        )
        raise ArgumentError("references", expected, f"the folder {spec.references}")


def _check_cluster(resources: dict[str, float], workers: int, num_gpus: float) -> None:
    """Refuse to wait for what the cluster does not have."""
    for name, wanted in (("CPU", float(workers)), ("GPU", workers * num_gpus)):
        if wanted > resources.get(name, 0):
            received = f"{workers} workers, who want {wanted:g} {name}s of {resources.get(name, 0):g}"
            raise ArgumentError("workers", "within what the cluster has", received)


def evaluate(
    folder: Path,
    methods: list[MethodSpec],
    metrics: list[str],
    target: int | str,
    out: Path,
    limit: int | None,
    batch_size: int,
) -> int:
    """Scores of methods on a folder: rows, table, figure."""
    jobs = [
        FolderRun(
            folder,
            spec,
            target,
            out / spec.name.replace(":", "."),
            tuple(metrics),
            maps=False,
            limit=limit,
            batch_size=batch_size,
        )
        for spec in methods
    ]
    loaded = load_model(methods[0].model)
    images = jobs[0].images(loaded)
    built = [spec.build(loaded) for spec in methods]  # a mistake in the last is told before the first has run
    code = max(_run(job, images, method) for job, method in zip(jobs, built, strict=True))
    scores = {job.method.name: tables.scores_of(DatasetAttributions(job.out), metrics) for job in jobs}
    if not any(len(rows) for rows in scores.values()):
        return FAILED
    table = tables.compared(scores, metrics, control=methods[0].name)
    table.to_csv(out / "scores.csv", index=False)
    pictures.draw_scores(scores, table, {name: METRICS[name][0] for name in metrics}, out / "scores.png")
    tables.show(table, methods[0].name)
    say(f"{out / 'scores.csv'}\n{out / 'scores.png'}")
    return code


def list_names() -> int:
    """What can be asked for."""
    parts = {
        "method": {**{name: entry.line for name, entry in METHODS.items()}, "MODULE:CLASS": CALLERS_CLASS},
        "metric": {name: line for name, (_, line) in METRICS.items()},
        "upsampler": UPSAMPLERS,
    }
    for kind, lines in parts.items():
        table = Table(kind, "", box=None, title_justify="left")
        for name, line in lines.items():
            table.add_row(name, line)
        Console().print(table)
        say("")
    return OK


def _target_of(loaded: LoadedModel, inputs: Tensor, target: int | str) -> int:
    """The class to explain of one photograph."""
    scores = outputs(loaded.model, inputs)
    if target == "label":
        raise ArgumentError("target", 'a number or "predicted" for one photograph', '"label"')
    chosen = int(scores.argmax(1)) if isinstance(target, str) else target
    if not 0 <= chosen < scores.shape[1]:
        raise ArgumentError("target", f"an index from 0 to {scores.shape[1] - 1}, the model's outputs", str(chosen))
    return chosen


def _check_picture(out: Path) -> None:
    if out.suffix not in (".png", ".npy"):
        raise ArgumentError("out", "a file .png or .npy", str(out))
    out.parent.mkdir(parents=True, exist_ok=True)


def _save(out: Path, values: Any, loaded: LoadedModel, inputs: Tensor, title: str) -> None:
    if out.suffix == ".npy":
        np.save(out, values)
    else:
        photograph = loaded.preparation.displayable(inputs)[0].numpy()
        pictures.draw_maps(photograph, {"": values}, title, out)


def _report(attributions: DatasetAttributions) -> int:
    """Say what there is now, and which files failed."""
    say(f"{len(attributions)} of {attributions.manifest['n_samples']} images in {attributions.folder}")
    for failure in attributions.failures[:10]:
        say(f"  no row: {failure['name']}: {failure['error']}")
    if len(attributions.failures) > 10:
        say(f"  and {len(attributions.failures) - 10} more; see {attributions.folder / 'manifest.json'}")
    return OK if attributions.complete and not attributions.failures else FAILED


@contextmanager
def _bar(description: str) -> Iterator[Callable[[int, int], object]]:
    """A rich bar, as the function that is told about samples."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=None)
        yield partial(_update, progress, task)


@contextmanager
def _reported_below() -> Iterator[None]:
    """Without the warning that some samples have no row, which `_report` tells in full."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*samples have no row")
        yield


def _update(progress: Progress, task: Any, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)
