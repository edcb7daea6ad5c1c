"""The commands and their options; what they do is in `commands.py`."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from captum_ext.core.checks import check_choice
from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.cli import commands
from captum_ext_integrations.cli.messages import with_messages
from captum_ext_integrations.cli.methods import CALLERS_CLASS, DEFAULT_STEPS, METHODS, METRICS, MethodSpec
from captum_ext_integrations.cli.models import ModelSpec
from captum_ext_integrations.cli.upsamplers import DEFAULT_UPSAMPLER, UPSAMPLERS

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Explain image classifiers: attributions, upsampled CAMs, scores of methods, whole folders.",
)


class Engine(str, Enum):
    """What runs over a folder."""

    local = "local"
    ray = "ray"


MODEL = ("--model torchvision:resnet18", "--weights resnet18.pth")
#: What every command's help shows; the tests run them as they are.
EXAMPLES = {
    "explain": (
        "captum-ext explain cat.png",
        *MODEL,
        "--method lpi --references photos",
        "--target 285 --out map.png",
    ),
    "upsample": ("captum-ext upsample cat.png", *MODEL, "--cam GradCAM --upsampler usu --out cam.png"),
    "evaluate": (
        "captum-ext evaluate photos",
        *MODEL,
        "--method ig --method gradcam",
        "--metric diff_id --n-steps 5 --out scores",
    ),
    "fit-references": (
        "captum-ext fit-references photos",
        *MODEL,
        "--n-references 4 --out references.safetensors",
    ),
    "run": (
        "captum-ext run photos",
        *MODEL,
        "--method ig --n-steps 5",
        "--size 56 --out attributions",
    ),
    "list": ("captum-ext list",),
}

Image = Annotated[Path, typer.Argument(help="A photograph.", show_default=False)]
Folder = Annotated[Path, typer.Argument(help="Images, or one folder of images for each class.", show_default=False)]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="torchvision:NAME, timm:NAME, or MODULE:FUNCTION that returns a model.",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="State dict of the model (safetensors, or as torch.save writes it). Without: the pretrained one."
    ),
]
Classes = Annotated[
    int | None, typer.Option("--n-classes", min=1, help="Outputs of the model, if not ImageNet's 1,000.")
]
Resize = Annotated[int | None, typer.Option(min=1, help="Shorter side before the crop, if not that of the model.")]
Crop = Annotated[int | None, typer.Option(min=1, help="Side of the central crop, if not that of the model.")]
Mean = Annotated[str | None, typer.Option(help="Normalisation: one number, or three with commas.")]
Std = Annotated[str | None, typer.Option(help="Normalisation: one number, or three with commas.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
Target = Annotated[str, typer.Option(help='Class to explain: a number, "predicted", or "label" for class folders.')]
References = Annotated[
    Path | None,
    typer.Option(
        help="Folder of images, or a file of fit-references; for eg, lpi, weighted-ig and MODULE:CLASS. Of a folder "
        "all but lpi take 20 images, spread over it; lpi is fitted to all of it at every call (with ray: a file). "
        "Files that are no images are left out, with a warning."
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--n-steps",
        min=1,
        help=f"Budget of gradients for each image; without: {DEFAULT_STEPS}. The two directions of samp and samp++ "
        "share it: each has n_steps // 2 groups of pixels, and the bound of samp++, which may add a few gradients, is "
        "n_steps / 4, at most 10.",
    ),
]
Layer = Annotated[
    str | None, typer.Option(help="Layer of the CAM, as in named_modules(); without: the last with positions.")
]
Upsampler = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help=f"How the CAM is upsampled: {', '.join(UPSAMPLERS)}; without: {DEFAULT_UPSAMPLER}."
    ),
]
_METHODS = f"{', '.join(METHODS)}; or MODULE:CLASS, {CALLERS_CLASS}."
Method = Annotated[str, typer.Option(metavar="NAME", help=_METHODS)]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of random points.")]
Batch = Annotated[int, typer.Option(min=1, help="Images at once.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many images, spread over the folder.")]


def _example(command: str) -> str:
    """The lines of a command's example, each of which the shell continues with the next."""
    return "\b\nExample:\n  " + " \\\n    ".join(EXAMPLES[command])


def _metrics(names: list[str]) -> list[str]:
    """Known names, once each and in one order, which is part of a run's configuration."""
    given = {check_choice("metric", name, METRICS) for name in names}
    return [name for name in METRICS if name in given]


def _check_engine(engine: Engine, owner: Engine, **options: float | None) -> None:
    """Refuse options of an engine that does not run."""
    for option, value in options.items():
        if value is not None and engine is not owner:
            raise ArgumentError(option, f"given with --engine {owner.value} only", f"{value:g} with {engine.value}")


def _check_maps(maps: bool, **options: int | str | None) -> None:
    """Refuse options of maps that are not stored."""
    for option, value in options.items():
        if value is not None and not maps:
            raise ArgumentError(option, "given without --no-maps, which stores no maps", str(value))


def _model(
    name: str,
    weights: Path | None,
    n_classes: int | None,
    resize: int | None,
    crop: int | None,
    mean: str | None,
    std: str | None,
    device: str,
) -> ModelSpec:
    return ModelSpec(name, weights, n_classes, resize, crop, _numbers("mean", mean), _numbers("std", std), device)


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """One number or three."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    least = 0.0 if option == "std" else -math.inf
    if len(values) not in (1, 3) or not all(math.isfinite(value) and value > least for value in values):
        raise ArgumentError(
            option, "one number, or three with commas" + (", above 0" if least == 0 else ""), repr(text)
        )
    return values if len(values) == 3 else values * 3


def _target(text: str) -> int | str:
    if text in ("predicted", "label"):
        return text
    try:
        return int(text)
    except ValueError as error:
        raise ArgumentError("target", 'a number, "predicted" or "label"', repr(text)) from error


@app.command(epilog=_example("explain"))
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
    n_classes: Classes = None,
    resize: Resize = None,
    crop: Crop = None,
    mean: Mean = None,
    std: Std = None,
    device: Device = "auto",
    seed: Seed = 0,
) -> int:
    """Explain one photograph."""
    spec = _model(model, weights, n_classes, resize, crop, mean, std, device)
    chosen = MethodSpec(method, spec, references, n_steps, layer, upsampler, seed)
    return commands.explain(image, chosen, _target(target), out)


@app.command(epilog=_example("upsample"))
@with_messages
def upsample(
    image: Image,
    model: Model,
    cam: Annotated[str, typer.Option(help="A CAM class of pytorch-grad-cam.")] = "GradCAM",
    upsampler: Upsampler = None,
    out: Annotated[Path, typer.Option(help="A picture (.png), or the map as numbers (.npy).")] = Path("cam.png"),
    target: Target = "predicted",
    layer: Layer = None,
    weights: Weights = None,
    n_classes: Classes = None,
    resize: Resize = None,
    crop: Crop = None,
    mean: Mean = None,
    std: Std = None,
    device: Device = "auto",
) -> int:
    """A CAM, upsampled by redistributing its mass, beside the coarse map and bilinear interpolation."""
    spec = _model(model, weights, n_classes, resize, crop, mean, std, device)
    return commands.upsample(image, spec, cam, layer, upsampler or DEFAULT_UPSAMPLER, _target(target), out)


@app.command(epilog=_example("evaluate"))
@with_messages
def evaluate(
    folder: Folder,
    model: Model,
    method: Annotated[
        list[str],
        typer.Option(metavar="NAME", help=f"{_METHODS} May be repeated; the first is the control.", show_default=False),
    ],
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=f"{', '.join(METRICS)}; may be repeated. Without: all.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of scores, table and figure; continued if it is there.")] = Path(
        "scores"
    ),
    target: Target = "predicted",
    references: References = None,
    n_steps: Steps = None,
    layer: Layer = None,
    upsampler: Upsampler = None,
    limit: Limit = None,
    batch_size: Batch = 8,
    weights: Weights = None,
    n_classes: Classes = None,
    resize: Resize = None,
    crop: Crop = None,
    mean: Mean = None,
    std: Std = None,
    device: Device = "auto",
    seed: Seed = 0,
) -> int:
    """Score one or several methods on a folder: a table with intervals and paired tests, and a figure."""
    spec = _model(model, weights, n_classes, resize, crop, mean, std, device)
    names = list(dict.fromkeys(method))
    methods = MethodSpec.several(
        names, spec, seed, references=references, n_steps=n_steps, layer=layer, upsampler=upsampler
    )
    metrics = _metrics(metric or list(METRICS))
    return commands.evaluate(folder, methods, metrics, _target(target), out, limit, batch_size)


@app.command("fit-references", epilog=_example("fit-references"))
@with_messages
def fit_references(
    folder: Folder,
    model: Model,
    out: Annotated[Path, typer.Option(help="File for the references.")] = Path("references.safetensors"),
    n_neighborhoods: Annotated[int, typer.Option(min=1, help="Keep it well below the number of classes.")] = 1,
    n_references: Annotated[int, typer.Option(min=1, help="For each neighbourhood, at most.")] = 20,
    overwrite: Annotated[bool, typer.Option(help="Replace the file if it is there.")] = False,
    limit: Limit = None,
    weights: Weights = None,
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
    spec = _model(model, weights, n_classes, resize, crop, mean, std, device)
    return commands.fit_references(folder, spec, out, n_neighborhoods, n_references, overwrite, limit, seed)


@app.command(epilog=_example("run"))
@with_messages
def run(
    folder: Folder,
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder of results; a run in it is continued.")] = Path("attributions"),
    method: Method = "ig",
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Scores in the same pass: {', '.join(METRICS)}; may be repeated."),
    ] = None,
    maps: Annotated[bool, typer.Option(help="Store the maps.")] = True,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the stored maps, which keep their sum; without: as they are.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of the stored maps: float16, float32 or float64; without: float16.")
    ] = None,
    target: Target = "predicted",
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
    _check_engine(engine, Engine.ray, workers=workers, num_gpus=num_gpus)
    _check_engine(engine, Engine.local, num_workers=num_workers)
    _check_maps(maps, size=size, dtype=dtype)
    spec = _model(model, weights, n_classes, resize, crop, mean, std, device)
    chosen = MethodSpec(method, spec, references, n_steps, layer, upsampler, seed)
    job = commands.FolderRun(
        folder=folder,
        method=chosen,
        target=_target(target),
        out=out,
        metrics=tuple(_metrics(metric or [])),
        maps=maps,
        size=size,
        dtype=dtype,
        limit=limit,
        batch_size=batch_size,
        resume=resume,
    )
    if engine is Engine.ray:
        return commands.run_with_ray(job, workers or 2, num_gpus or 0)
    return commands.run_here(job, num_workers or 0)


@app.command("list", epilog=_example("list"))
@with_messages
def list_names() -> int:
    """Methods, metrics and upsamplers, with one line each."""
    return commands.list_names()
