"""The options of the commands, what the help says of them, and how their text becomes values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from captum_ext.exceptions import ArgumentError
from captum_ext_integrations.cli.names import (
    CANDIDATE_NAMES,
    CODE_IS_RUN,
    CONTROL_NAMES,
    CRITERION_NAMES,
    DECIDING_NAMES,
    METHOD_NAMES,
    METRIC_NAMES,
    OWN_CLASS,
    STEPS,
    UPSAMPLER,
    UPSAMPLER_NAMES,
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
        '--target "tiger cat" --out map.png',
    ),
    "upsample": ("captum-ext upsample cat.png", *MODEL, "--cam GradCAM --upsampler usu --out cam.png"),
    "evaluate": (
        "captum-ext evaluate photos",
        *MODEL,
        "--method ig --method gradcam",
        "--metric diff_id --n-steps 5 --out scores",
    ),
    "choose": (
        "captum-ext choose photos",
        *MODEL,
        "--method ig --method gradcam --control random",
        "--gradients 5 --out choice",
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
    "view": ("captum-ext view attributions --images photos --export page",),
    "diff": ("captum-ext diff before after --noise repeat", "--least-correlation 0.9 --out difference"),
    "list": ("captum-ext list",),
}


def completed(names: tuple[str, ...]) -> Callable[[str], list[str]]:
    """What the shell offers at the tab key."""

    def complete(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return complete


METHODS_HELP = f"{', '.join(METHOD_NAMES)}; or {OWN_CLASS}."

Image = Annotated[Path, typer.Argument(metavar="IMAGE", help="A photograph.", show_default=False)]
Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Images, or one folder of images for each class.", show_default=False)
]
HtmlPage = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Also a page that opens from disk: the same with sliders and tables."),
]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="torchvision:NAME, timm:NAME, hf:NAME or hf:FOLDER (transformers, as save_pretrained writes it), "
        f"open_clip:NAME, or MODULE:FUNCTION that returns a model, or what captum_ext.models.adapt makes of one "
        f"({CODE_IS_RUN}).",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Weights of the model: safetensors, or a state dict or checkpoint as torch.save writes it (no code in it "
        "is run); of open_clip also a pretrained tag. Without: the pretrained ones."
    ),
]
WeightsKey = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Which of several state dicts of a checkpoint, such as state_dict_ema."),
]
Classes = Annotated[
    int | None, typer.Option("--n-classes", min=1, help="Outputs of the model, if not ImageNet's 1,000.")
]
Resize = Annotated[int | None, typer.Option(min=1, help="Shorter side before the crop, if not that of the model.")]
Crop = Annotated[int | None, typer.Option(min=1, help="Side of the central crop, if not that of the model.")]
Mean = Annotated[str | None, typer.Option(help="Normalisation: one number, or three with commas.")]
Std = Annotated[str | None, typer.Option(help="Normalisation: one number, or three with commas.")]
Channels = Annotated[
    int | None,
    typer.Option("--channels", min=1, max=3, help="Of the images: 1 for models of timm that are built for grey ones."),
]
Texts = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="TEXT",
        help='For models that compare images with texts (CLIP, SigLIP): "a photo of a cat". May be repeated: several '
        "texts are classes, of which --target is one; of one text the similarity is explained, with scale and bias of "
        "the model's logits.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
Target = Annotated[
    str,
    typer.Option(
        help='Class to explain: "predicted", a number, a name as "tiger cat" where the model comes with names, or '
        '"label" for class folders. Of a detector "predicted" is the object that it is most confident of, of a '
        "segmentation the class of most pixels."
    ),
]
BoxOption = Annotated[
    str | None,
    typer.Option(
        "--box",
        metavar="X0,Y0,X1,Y1",
        help="Of a detector: the object at this box, in pixels of the picture as it is seen; without: see --target.",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(
        metavar="FILE or X0,Y0,X1,Y1",
        help="Of a segmentation: the mean of the class's logits there; a box in pixels of the picture, or an image of "
        "its size that is black elsewhere. Without: where the class is predicted.",
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="With --target label, the class of each folder: one folder a line in the order of the model's outputs, "
        'JSON {"folder": 7} or {"7": "folder"}; or "numbers", where folder 7 is class 7. Without: folders with names '
        "of the model's classes are these, others are numbered in the order of their text.",
    ),
]
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
        help=f"Budget of gradients for each image; without: {STEPS}. The two directions of samp and samp++ "
        "share it: each has n_steps // 2 groups of pixels, and the bound of samp++, which may add a few gradients, is "
        "n_steps / 4, at most 10.",
    ),
]
Samples = Annotated[
    int | None,
    typer.Option(
        "--n-samples",
        min=1,
        help="Masks of rise for each image, of which it takes 4,000; of MODULE:CLASS, where `attribute` takes it.",
    ),
]
Layer = Annotated[
    str | None, typer.Option(help="Layer of the CAM, as in named_modules(); without: the last with positions.")
]
Upsampler = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"How the CAM is upsampled: {', '.join(UPSAMPLER_NAMES)}; without: {UPSAMPLER}.",
        autocompletion=completed(UPSAMPLER_NAMES),
    ),
]
Method = Annotated[str, typer.Option(metavar="NAME", help=METHODS_HELP, autocompletion=completed(METHOD_NAMES))]
Methods = Annotated[
    list[str],
    typer.Option(
        "--method",
        metavar="NAME",
        help=f"{METHODS_HELP} May be repeated; the first is the control.",
        show_default=False,
        autocompletion=completed(METHOD_NAMES),
    ),
]
Candidates = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help=f"{', '.join(CANDIDATE_NAMES)}; another name of `list`, made as CLASS(model); or {OWN_CLASS}. May be "
        "repeated. Without: those named here, but eg and lpi without --references.",
        autocompletion=completed(CANDIDATE_NAMES),
    ),
]
Controls = Annotated[
    list[str] | None,
    typer.Option(
        "--control",
        metavar="NAME",
        help=f"What has to be beaten: {', '.join(CONTROL_NAMES)}. May be repeated; without: all of them.",
        autocompletion=completed(CONTROL_NAMES),
    ),
]
Criteria = Annotated[
    list[str] | None,
    typer.Option(
        "--decide-by",
        metavar="NAME",
        help=f"Criteria whose mean decides: {', '.join(CRITERION_NAMES)}. May be repeated; without: "
        f"{', '.join(DECIDING_NAMES)}.",
        autocompletion=completed(CRITERION_NAMES),
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help=f"{', '.join(METRIC_NAMES)}; may be repeated. Without: all with evaluate, none with run.",
        autocompletion=completed(METRIC_NAMES),
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of random points and masks.")]
Batch = Annotated[int, typer.Option(min=1, help="Images at once.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many images, spread over the folder.")]


def example(command: str) -> str:
    """The lines of a command's example, each of which the shell continues with the next."""
    return "\b\nExample:\n  " + " \\\n    ".join(EXAMPLES[command])


def metrics_of(names: list[str]) -> list[str]:
    """Known names, once each and in one order, which is part of a run's configuration.

    Raises:
        ArgumentError: an unknown name.
    """
    for name in names:
        if name not in METRIC_NAMES:
            expected = "one of " + ", ".join(f'"{one}"' for one in METRIC_NAMES)
            raise ArgumentError("metric", expected, repr(name))
    return [name for name in METRIC_NAMES if name in names]


def check_engine(engine: Engine, owner: Engine, given: dict[str, float | str | None]) -> None:
    """Refuse options of an engine that does not run.

    Raises:
        ArgumentError: one of them was given.
    """
    for option, value in given.items():
        if value is not None and engine is not owner:
            text = value if isinstance(value, str) else f"{value:g}"
            raise ArgumentError(option, f"given with --engine {owner.value} only", f"{text} with {engine.value}")


def check_maps(maps: bool, given: dict[str, Any]) -> None:
    """Refuse options of maps that are not stored.

    Raises:
        ArgumentError: one of them was given.
    """
    for option, value in given.items():
        if value is not None and not maps:
            raise ArgumentError(option, "given without --no-maps, which stores no maps", str(value))


def check_curves(curves: bool, metrics: Sequence[str]) -> None:
    """Refuse curves of no metric.

    Raises:
        ArgumentError: there is none.
    """
    if curves and not metrics:
        raise ArgumentError("curves", "given with --metric, whose curves they are", "no metric")


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """One number or three.

    Raises:
        ArgumentError: something else, or a spread that is not above zero.
    """
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
    return values


def number_or_name(text: str) -> int | str:
    """A class by its number, or "predicted", "label" or a name."""
    try:
        return int(text)
    except ValueError:
        return text


def box_of(option: str, text: str | None) -> tuple[float, float, float, float] | None:
    """Four numbers of a box.

    Raises:
        ArgumentError: something else, or a box without area.
    """
    if text is None:
        return None
    expected = "four numbers X0,Y0,X1,Y1 in pixels of the picture, with X0 < X1 and Y0 < Y1"
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ArgumentError(option, expected, repr(text)) from error
    if not all(math.isfinite(one) for one in (x0, y0, x1, y1)) or x0 >= x1 or y0 >= y1:
        raise ArgumentError(option, expected, repr(text))
    return x0, y0, x1, y1


def region_of(text: str | None) -> tuple[float, float, float, float] | Path | None:
    """A box, or the path of a mask."""
    if text is None or set(text) - set("0123456789.,-+e "):
        return None if text is None else Path(text)
    return box_of("region", text)
