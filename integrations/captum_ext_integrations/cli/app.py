"""The commands; what they do is in `commands.py`, whose imports take seconds and come with the first command."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from captum_ext import __version__
from captum_ext_integrations.cli.groups import MethodOptions, ModelOptions, TargetOptions, with_groups
from captum_ext_integrations.cli.loading import computing
from captum_ext_integrations.cli.messages import Shell, say, with_messages
from captum_ext_integrations.cli.names import MASK_CRITERION_NAMES, METRIC_NAMES, UPSAMPLER
from captum_ext_integrations.cli.options import (
    EXAMPLES,
    Batch,
    Candidates,
    Controls,
    Criteria,
    Engine,
    Folder,
    HtmlPage,
    Image,
    Labels,
    Layer,
    Limit,
    Method,
    Methods,
    Metrics,
    Seed,
    Upsampler,
    check_curves,
    check_engine,
    check_maps,
    example,
    metrics_of,
    number_or_name,
)

__all__ = ["EXAMPLES", "app"]

app = typer.Typer(
    cls=Shell,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,  # with_messages has its own, and locals may hold what nobody should see
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Explain models of images: attributions, upsampled CAMs, scores of methods, whole folders.",
)


def _commands() -> ModuleType:
    return computing("commands")


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
    """Explain models of images: attributions, upsampled CAMs, scores of methods, whole folders."""


@app.command(epilog=example("explain"))
@with_messages
@with_groups
def explain(
    image: Image,
    *,
    model: ModelOptions,
    method: Method = "ig",
    out: Annotated[Path, typer.Option(help="A picture (.png), or the map as numbers (.npy).")] = Path("map.png"),
    html: HtmlPage = None,
    target: TargetOptions,
    settings: MethodOptions,
) -> int:
    """Explain one photograph."""
    chosen = settings.spec(method, model.spec)
    code: int = _commands().explain(image, chosen, target.spec, out, html)
    return code


@app.command(short_help="A CAM, upsampled by redistributing its mass.", epilog=example("upsample"))
@with_messages
@with_groups
def upsample(
    image: Image,
    *,
    model: ModelOptions,
    cam: Annotated[str, typer.Option(help="A CAM class of pytorch-grad-cam, or CAM.")] = "GradCAM",
    upsampler: Upsampler = None,
    out: Annotated[Path, typer.Option(help="A picture (.png), or the map as numbers (.npy).")] = Path("cam.png"),
    target: TargetOptions,
    layer: Layer = None,
) -> int:
    """A CAM, upsampled by redistributing its mass, beside the coarse map and bilinear interpolation."""
    name = upsampler or UPSAMPLER
    code: int = _commands().upsample(image, model.spec, cam, layer, name, target.spec, out)
    return code


@app.command(short_help="Score methods on a folder: a table and a figure.", epilog=example("evaluate"))
@with_messages
@with_groups
def evaluate(
    folder: Folder,
    *,
    model: ModelOptions,
    method: Methods,
    metric: Metrics = None,
    out: Annotated[Path, typer.Option(help="Folder of scores, table and figure; continued if it is there.")] = Path(
        "scores"
    ),
    html: HtmlPage = None,
    target: TargetOptions,
    labels: Labels = None,
    settings: MethodOptions,
    limit: Limit = None,
    batch_size: Batch = 8,
) -> int:
    """Score one or several methods on a folder: a table with intervals and paired tests, and a figure."""
    metrics = metrics_of(metric or list(METRIC_NAMES))
    methods = settings.specs(method, model.spec)
    code: int = _commands().evaluate(folder, methods, metrics, target.spec, out, limit, batch_size, labels, html)
    return code


@app.command(short_help="Which method to use on a folder, if any.", epilog=example("choose"))
@with_messages
@with_groups
def choose(
    folder: Folder,
    *,
    model: ModelOptions,
    method: Candidates = None,
    control: Controls = None,
    decide_by: Criteria = None,
    out: Annotated[Path, typer.Option(help="Folder of rows, tables and figure; continued if it is there.")] = Path(
        "choice"
    ),
    html: HtmlPage = None,
    target: TargetOptions,
    labels: Labels = None,
    references: Annotated[
        Path | None,
        typer.Option(
            help="Folder of images that are not explained, of which 20 are taken, or a file of fit-references."
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of masks of the objects, under the images' names and of their sizes, black around the object: "
            f"{', '.join(MASK_CRITERION_NAMES)} are computed, too."
        ),
    ] = None,
    gradients: Annotated[
        float, typer.Option(help="Budget of each map; a pass forwards is 0.4 of one forwards and backwards.")
    ] = 20,
    seconds: Annotated[
        float | None, typer.Option(help="Budget of each map in seconds on this machine, instead of --gradients.")
    ] = None,
    group_size: Annotated[int, typer.Option(help="Images between two looks at the scores.")] = 5,
    alpha: Annotated[
        float, typer.Option(help="Chance that a method is called the best which is not, over all looks and methods.")
    ] = 0.05,
    limit: Limit = None,
    seed: Seed = 0,
) -> int:
    """Compare methods at the same cost, group by group of images, until it is clear which to use, or that none is
    better than random maps, edges, a random network and maps of other images.

    The answer is one of three: use X; X, Y and Z cannot be told apart; or none beats its controls.
    """
    choosing = computing("choosing")
    job = choosing.ChooseJob(
        folder=folder,
        model=model.spec,
        target=target.spec,
        out=out,
        methods=tuple(method or ()),
        controls=None if control is None else tuple(control),
        references=references,
        masks=masks,
        labels=labels,
        limit=limit,
        page=html,
    )
    settings = choosing.settings(gradients, seconds, decide_by, group_size, alpha, seed)
    code: int = choosing.choose(job, settings)
    return code


@app.command("fit-references", short_help="Fit the references of lpi to a folder.", epilog=example("fit-references"))
@with_messages
@with_groups
def fit_references(
    folder: Folder,
    *,
    model: ModelOptions,
    out: Annotated[Path, typer.Option(help="File for the references.")] = Path("references.safetensors"),
    n_neighborhoods: Annotated[
        int, typer.Option(min=1, help="Keep it well below the number of classes (the paper: 9 or 7).")
    ] = 1,
    n_references: Annotated[int, typer.Option(min=1, help="For each neighbourhood, at most.")] = 20,
    overwrite: Annotated[bool, typer.Option(help="Replace the file if it is there.")] = False,
    limit: Limit = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the clustering.")] = 0,
) -> int:
    """Fit the reference images of Local Path Integration to a folder, once for all later calls.

    The exit code is 1 if files could not be read; they are named and left out.
    """
    fit = _commands().fit_references
    code: int = fit(folder, model.spec, out, n_neighborhoods, n_references, overwrite, limit, seed)
    return code


@app.command(short_help="Explain a whole folder, resumable.", epilog=example("run"))
@with_messages
@with_groups
def run(
    folder: Folder,
    *,
    model: ModelOptions,
    out: Annotated[Path, typer.Option(help="Folder of results; a run in it is continued.")] = Path("attributions"),
    method: Method = "ig",
    metric: Metrics = None,
    curves: Annotated[bool, typer.Option(help="Store the points of the curves of --metric, too.")] = False,
    maps: Annotated[bool, typer.Option(help="Store the maps.")] = True,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the stored maps, which keep their sum; without: as they are.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of the stored maps: float16, float32 or float64; without: float16.")
    ] = None,
    target: TargetOptions,
    labels: Labels = None,
    settings: MethodOptions,
    engine: Annotated[Engine, typer.Option(help="local: this process; ray: workers (extra ray).")] = Engine.local,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers of Ray, with one CPU thread each; without: 2.")
    ] = None,
    num_gpus: Annotated[float | None, typer.Option(min=0, help="GPUs of each worker of Ray; without: none.")] = None,
    num_workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read images for the local engine; without: this one.")
    ] = None,
    rank: Annotated[
        str | None,
        typer.Option(
            help="Which of --world-size processes this is, from 0, where several share --out; or env, as torchrun or a "
            "SLURM array says; without: the only one."
        ),
    ] = None,
    world_size: Annotated[
        int | None, typer.Option(min=1, help="Processes that share --out; without: as --rank.")
    ] = None,
    limit: Limit = None,
    batch_size: Batch = 8,
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out.")] = True,
) -> int:
    """Explain a whole folder: Parquet files, resumable, on one or several devices or on a Ray cluster.

    The exit code is 1 if a file could not be explained; the manifest names it. Of several processes the last says so.
    """
    check_engine(engine, Engine.ray, {"workers": workers, "num_gpus": num_gpus})
    check_engine(engine, Engine.local, {"num_workers": num_workers, "rank": rank, "world_size": world_size})
    check_maps(maps, {"size": size, "dtype": dtype})
    metrics = tuple(metrics_of(metric or []))
    check_curves(curves, metrics)
    chosen = settings.spec(method, model.spec)
    runs = computing("folder_runs")
    job = runs.FolderRun(
        folder=folder,
        method=chosen,
        target=target.spec,
        out=out,
        metrics=metrics,
        curves=curves,
        maps=maps,
        size=size,
        dtype=dtype,
        limit=limit,
        batch_size=batch_size,
        resume=resume,
        labels=labels,
        rank=number_or_name(rank or "0"),
        world_size=world_size,
    )
    code: int = (
        runs.run_with_ray(job, workers or 2, num_gpus or 0)
        if engine is Engine.ray
        else runs.run_here(job, num_workers or 0)
    )
    return code


@app.command(short_help="Look through runs in a browser.", epilog=example("view"))
@with_messages
@with_groups
def view(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders of run, over the same images.", show_default=False),
    ],
    *,
    images: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the images are; without: maps without photographs.")
    ] = None,
    resize: Annotated[
        int | None, typer.Option(min=1, help="Shorter side of photographs before the crop, if the run does not say it.")
    ] = None,
    crop: Annotated[
        int | None, typer.Option(min=1, help="Side of the central crop, if the run does not say it.")
    ] = None,
    classes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of classes, one a line; without: those of the run.")
    ] = None,
    sort: Annotated[
        str, typer.Option(help="Column to sort by: index, name, score, delta, diff_id, disagreement, ...")
    ] = "index",
    smallest: Annotated[
        bool, typer.Option("--smallest", help="The smallest of --sort first, not the largest.")
    ] = False,
    where: Annotated[
        str, typer.Option(metavar="LINK", help="Filters: the address of a page, or what is behind its question mark.")
    ] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0: any that is free.")] = 0,
    browser: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write a page that opens from disk, with the first --limit samples, and end."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Samples of --export.")] = 10,
    sample: Annotated[
        list[int] | None, typer.Option(min=0, help="A sample of --export by its number; may be repeated.")
    ] = None,
) -> int:
    """Look through runs in a browser: photographs, maps, numbers; or write a page of some samples.

    The address that is printed works on this machine only, and has a token in it.
    """
    view_of = importlib.import_module("captum_ext_integrations.cli.view")
    job = view_of.ViewJob(
        runs=runs,
        images=images,
        resize=resize,
        crop=crop,
        classes=classes,
        sort=sort,
        smallest=smallest,
        where=where,
        samples=tuple(sample or ()),
        limit=limit,
    )
    code: int = view_of.serve(job, port, browser) if export is None else view_of.write(job, export)
    return code


@app.command(short_help="Whether explanations changed between two runs.", epilog=example("diff"))
@with_messages
@with_groups
def diff(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="Folder of run.", show_default=False)],
    run_b: Annotated[
        Path, typer.Argument(metavar="RUN_B", help="Another one, over the same images.", show_default=False)
    ],
    *,
    noise: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="A repeat of RUN_A with another --seed or --batch-size and nothing else; more are better.",
        ),
    ] = None,
    least_correlation: Annotated[
        float | None, typer.Option(help="Exit code 1 if the mean rank correlation is lower.")
    ] = None,
    least_overlap: Annotated[
        float | None, typer.Option(help="Exit code 1 if the mean overlap of the largest pixels is lower.")
    ] = None,
    most_moved: Annotated[
        float | None,
        typer.Option(help="Exit code 1 if mass has moved further on average, in longer sides of an image."),
    ] = None,
    fail_on_difference: Annotated[
        bool, typer.Option("--fail-on-difference", help="Exit code 1 if there is a difference beyond the noise.")
    ] = False,
    top: Annotated[float, typer.Option(help="Share of the pixels whose overlap is measured.")] = 0.05,
    alpha: Annotated[float, typer.Option(help="Chance of finding a difference where there is none.")] = 0.05,
    margin: Annotated[float, typer.Option(help="A smaller mean drop is no difference, however sure it is.")] = 0.01,
    most: Annotated[int, typer.Option(min=0, help="Images that changed most, to be shown.")] = 10,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Also tables and the answer as files.")] = None,
) -> int:
    """Compare the explanations of two runs image by image: rank correlation, overlap of the largest pixels, and how far
    mass has moved; beside what noise alone changes.

    The exit code is 1 beyond a limit that is given, and 2 where runs cannot be compared.
    """
    differing = computing("differing")
    job = differing.DiffJob(
        run_a=run_a,
        run_b=run_b,
        noise=tuple(noise or ()),
        least_correlation=least_correlation,
        least_overlap=least_overlap,
        most_moved=most_moved,
        fail_on_difference=fail_on_difference,
        most=most,
        out=out,
    )
    code: int = differing.compare(job, differing.DiffOptions(top=top, alpha=alpha, margin=margin))
    return code


@app.command("list", short_help="The names of methods, metrics and upsamplers.", epilog=example("list"))
@with_messages
@with_groups
def list_names() -> int:
    """Methods, metrics and upsamplers, with one line each."""
    code: int = _commands().list_names()
    return code
