"""The commands; what they do is in `commands.py`, whose imports take seconds and come with the first command."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from captum_ext import __version__
from captum_ext_integrations.cli.loading import computing
from captum_ext_integrations.cli.messages import Shell, say, with_messages
from captum_ext_integrations.cli.names import METRIC_NAMES, UPSAMPLER
from captum_ext_integrations.cli.options import (
    EXAMPLES,
    Batch,
    Classes,
    Crop,
    Device,
    Engine,
    Folder,
    Image,
    Labels,
    Layer,
    Limit,
    Mean,
    Method,
    Methods,
    Metrics,
    Model,
    References,
    Resize,
    Seed,
    Std,
    Steps,
    Target,
    Upsampler,
    Weights,
    WeightsKey,
    check_engine,
    check_maps,
    example,
    metrics_of,
    number_or_name,
    numbers,
)

if TYPE_CHECKING:
    from captum_ext_integrations.cli.models import ModelSpec

__all__ = ["EXAMPLES", "app"]

app = typer.Typer(
    cls=Shell,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # with_messages has its own, and locals may hold what nobody should see
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Explain image classifiers: attributions, upsampled CAMs, scores of methods, whole folders.",
)


def _commands() -> ModuleType:
    return computing("commands")


def _model(
    name: str,
    weights: Path | None,
    weights_key: str | None,
    n_classes: int | None,
    resize: int | None,
    crop: int | None,
    mean: str | None,
    std: str | None,
    device: str,
) -> ModelSpec:
    spec: ModelSpec = computing("models").ModelSpec(
        name, weights, n_classes, resize, crop, numbers("mean", mean), numbers("std", std), device, weights_key
    )
    return spec


def _say_version(wanted: bool) -> None:
    if wanted:
        say(f"captum-ext {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version.", is_eager=True, callback=_say_version)
    ] = False,
) -> None:
    """Explain image classifiers: attributions, upsampled CAMs, scores of methods, whole folders."""


@app.command(epilog=example("explain"))
@with_messages
def explain(
    image: Image,
    model: Model,
    method: Method = "ig",
    out: Annotated[Path, typer.Option(help="A picture (.png), or the map as numbers (.npy).")] = Path("map.png"),
    target: Target = "predicted",
    references: References = None,
    n_steps: Steps = None,
    layer: Layer = None,
    upsampler: Upsampler = None,
    weights: Weights = None,
    weights_key: WeightsKey = None,
    n_classes: Classes = None,
    resize: Resize = None,
    crop: Crop = None,
    mean: Mean = None,
    std: Std = None,
    device: Device = "auto",
    seed: Seed = 0,
) -> int:
    """Explain one photograph."""
    spec = _model(model, weights, weights_key, n_classes, resize, crop, mean, std, device)
    chosen = computing("methods").MethodSpec(method, spec, references, n_steps, layer, upsampler, seed)
    code: int = _commands().explain(image, chosen, number_or_name(target), out)
    return code


@app.command(short_help="A CAM, upsampled by redistributing its mass.", epilog=example("upsample"))
@with_messages
def upsample(
    image: Image,
    model: Model,
    cam: Annotated[str, typer.Option(help="A CAM class of pytorch-grad-cam, or CAM.")] = "GradCAM",
    upsampler: Upsampler = None,
    out: Annotated[Path, typer.Option(help="A picture (.png), or the map as numbers (.npy).")] = Path("cam.png"),
    target: Target = "predicted",
    layer: Layer = None,
    weights: Weights = None,
    weights_key: WeightsKey = None,
    n_classes: Classes = None,
    resize: Resize = None,
    crop: Crop = None,
    mean: Mean = None,
    std: Std = None,
    device: Device = "auto",
) -> int:
    """A CAM, upsampled by redistributing its mass, beside the coarse map and bilinear interpolation."""
    spec = _model(model, weights, weights_key, n_classes, resize, crop, mean, std, device)
    name = upsampler or UPSAMPLER
    code: int = _commands().upsample(image, spec, cam, layer, name, number_or_name(target), out)
    return code


@app.command(short_help="Score methods on a folder: a table and a figure.", epilog=example("evaluate"))
@with_messages
def evaluate(
    folder: Folder,
    model: Model,
    method: Methods,
    metric: Metrics = None,
    out: Annotated[Path, typer.Option(help="Folder of scores, table and figure; continued if it is there.")] = Path(
        "scores"
    ),
    target: Target = "predicted",
    labels: Labels = None,
    references: References = None,
    n_steps: Steps = None,
    layer: Layer = None,
    upsampler: Upsampler = None,
    limit: Limit = None,
    batch_size: Batch = 8,
    weights: Weights = None,
    weights_key: WeightsKey = None,
    n_classes: Classes = None,
    resize: Resize = None,
    crop: Crop = None,
    mean: Mean = None,
    std: Std = None,
    device: Device = "auto",
    seed: Seed = 0,
) -> int:
    """Score one or several methods on a folder: a table with intervals and paired tests, and a figure."""
    metrics = metrics_of(metric or list(METRIC_NAMES))
    spec = _model(model, weights, weights_key, n_classes, resize, crop, mean, std, device)
    names = list(dict.fromkeys(method))
    methods = computing("methods").MethodSpec.several(
        names, spec, seed, references=references, n_steps=n_steps, layer=layer, upsampler=upsampler
    )
    chosen = number_or_name(target)
    code: int = _commands().evaluate(folder, methods, metrics, chosen, out, limit, batch_size, labels)
    return code


@app.command("fit-references", short_help="Fit the references of lpi to a folder.", epilog=example("fit-references"))
@with_messages
def fit_references(
    folder: Folder,
    model: Model,
    out: Annotated[Path, typer.Option(help="File for the references.")] = Path("references.safetensors"),
    n_neighborhoods: Annotated[
        int, typer.Option(min=1, help="Keep it well below the number of classes (the paper: 9 or 7).")
    ] = 1,
    n_references: Annotated[int, typer.Option(min=1, help="For each neighbourhood, at most.")] = 20,
    overwrite: Annotated[bool, typer.Option(help="Replace the file if it is there.")] = False,
    limit: Limit = None,
    weights: Weights = None,
    weights_key: WeightsKey = None,
    n_classes: Classes = None,
    resize: Resize = None,
    crop: Crop = None,
    mean: Mean = None,
    std: Std = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the clustering.")] = 0,
) -> int:
    """Fit the reference images of Local Path Integration to a folder, once for all later calls.

    The exit code is 1 if files could not be read; they are named and left out.
    """
    spec = _model(model, weights, weights_key, n_classes, resize, crop, mean, std, device)
    fit = _commands().fit_references
    code: int = fit(folder, spec, out, n_neighborhoods, n_references, overwrite, limit, seed)
    return code


@app.command(short_help="Explain a whole folder, resumable.", epilog=example("run"))
@with_messages
def run(
    folder: Folder,
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder of results; a run in it is continued.")] = Path("attributions"),
    method: Method = "ig",
    metric: Metrics = None,
    maps: Annotated[bool, typer.Option(help="Store the maps.")] = True,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the stored maps, which keep their sum; without: as they are.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of the stored maps: float16, float32 or float64; without: float16.")
    ] = None,
    target: Target = "predicted",
    labels: Labels = None,
    references: References = None,
    n_steps: Steps = None,
    layer: Layer = None,
    upsampler: Upsampler = None,
    engine: Annotated[Engine, typer.Option(help="local: this process; ray: workers (extra ray).")] = Engine.local,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers of Ray, with one CPU thread each; without: 2.")
    ] = None,
    num_gpus: Annotated[float | None, typer.Option(min=0, help="GPUs of each worker of Ray; without: none.")] = None,
    num_workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read images for the local engine; without: this one.")
    ] = None,
    limit: Limit = None,
    batch_size: Batch = 8,
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out.")] = True,
    weights: Weights = None,
    weights_key: WeightsKey = None,
    n_classes: Classes = None,
    resize: Resize = None,
    crop: Crop = None,
    mean: Mean = None,
    std: Std = None,
    device: Device = "auto",
    seed: Seed = 0,
) -> int:
    """Explain a whole folder: Parquet files, resumable, on this machine or on a Ray cluster.

    The exit code is 1 if a file could not be explained; the manifest names it.
    """
    check_engine(engine, Engine.ray, {"workers": workers, "num_gpus": num_gpus})
    check_engine(engine, Engine.local, {"num_workers": num_workers})
    check_maps(maps, {"size": size, "dtype": dtype})
    metrics = tuple(metrics_of(metric or []))
    spec = _model(model, weights, weights_key, n_classes, resize, crop, mean, std, device)
    chosen = computing("methods").MethodSpec(method, spec, references, n_steps, layer, upsampler, seed)
    runs = computing("folder_runs")
    job = runs.FolderRun(
        folder=folder,
        method=chosen,
        target=number_or_name(target),
        out=out,
        metrics=metrics,
        maps=maps,
        size=size,
        dtype=dtype,
        limit=limit,
        batch_size=batch_size,
        resume=resume,
        labels=labels,
    )
    code: int = (
        runs.run_with_ray(job, workers or 2, num_gpus or 0)
        if engine is Engine.ray
        else runs.run_here(job, num_workers or 0)
    )
    return code


@app.command("list", short_help="The names of methods, metrics and upsamplers.", epilog=example("list"))
@with_messages
def list_names() -> int:
    """Methods, metrics and upsamplers, with one line each."""
    code: int = _commands().list_names()
    return code
