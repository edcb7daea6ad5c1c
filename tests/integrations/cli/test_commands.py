"""The command line: its examples as they stand in the help, what it writes, and how it says what went wrong."""

import json
import shlex
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import captum_ext_integrations
from captum_ext.dataset import DatasetAttributions
from captum_ext.references import ReferenceDistribution
from captum_ext_integrations.cli.app import EXAMPLES
from captum_ext_integrations.cli.methods import METHODS, METRICS
from captum_ext_integrations.cli.upsamplers import UPSAMPLERS
from tests.integrations.cli.calls import FEW_STEPS, TINY, call, fail, more_photographs, succeed

SLOW = ("choose", "diff", "evaluate")  # ten seconds and more on a real network


@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=pytest.mark.long) if name in SLOW else name for name in EXAMPLES]
)
def test_the_example_in_the_help_of_a_command_works_as_it_stands(command, here):
    text = succeed(command, "--help")
    shown = text[text.index("Example:") :].removeprefix("Example:").replace("\\\n", " ")
    assert shlex.split(shown) == shlex.split(" ".join(EXAMPLES[command]))
    if command == "view":
        pytest.importorskip("starlette")
        succeed(*shlex.split(" ".join(EXAMPLES["run"]))[1:])
    if command == "choose":
        more_photographs(here)
    if command == "diff":
        more_photographs(here)
        words = shlex.split(" ".join(EXAMPLES["run"]))[1:]
        for place, folder in enumerate(("before", "after", "repeat")):
            succeed(*words[:-1], folder, "--seed", place)
    output = succeed(*shlex.split(shown)[1:])
    made = {
        "choose": ["choice/answer.txt", "choice/methods.csv", "choice/methods.tex", "choice/ranks.png"],
        "explain": ["map.png"],
        "upsample": ["cam.png"],
        "evaluate": ["scores/scores.csv", "scores/scores.png"],
        "fit-references": ["references.safetensors"],
        "run": ["attributions/manifest.json"],
        "view": ["page/index.html", "page/samples.csv"],
        "diff": ["difference/answer.txt", "difference/summary.csv", "difference/images.csv"],
        "list": [],
    }
    for path in made[command]:
        assert (here / path).stat().st_size > 0
        assert path in output or command == "run"


def test_every_command_is_in_the_help_of_all():
    text = succeed("--help")
    assert all(command in text for command in EXAMPLES)


def test_the_list_has_every_name_with_a_line():
    text = succeed("list")
    for name in (*METHODS, *METRICS, *UPSAMPLERS):
        line = next(line for line in text.splitlines() if line.split()[:1] == [name])
        assert len(line.split()) > 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_numbers(method, here):
    options = ["--references", "photos"] if method in ("eg", "lpi") else []
    options += ["--n-steps", "4"] if "n_steps" in METHODS[method].options else []
    model = [option.replace(":model", ":averaging") for option in TINY] if method == "cam" else TINY
    succeed("explain", "cat.png", *model, "--method", method, "--out", "map.npy", *options)
    values = np.load("map.npy")
    assert values.shape == (32, 32)
    assert np.abs(values).max() > 0


def test_integrated_gradients_on_the_command_line_is_the_method_itself(here):
    from captum_ext.attr import IntegratedGradients
    from captum_ext.images import open_image
    from captum_ext_integrations.cli.models import Preparation
    from tests.integrations.cli import tiny

    output = succeed("explain", "cat.png", *FEW_STEPS, "--out", "map.npy", "--target", 2)
    image = Preparation(32, 32, (0.5,) * 3, (0.5,) * 3)(open_image(here / "cat.png"))[None]
    maps = IntegratedGradients(tiny.model()).attribute(image, target=2, n_steps=4)
    np.testing.assert_allclose(np.load("map.npy"), maps[0].sum(0).numpy(), rtol=1e-5, atol=1e-8)
    assert f"score {tiny.model()(image)[0, 2].item():.3g}" in output


@pytest.mark.parametrize("upsampler", UPSAMPLERS)
def test_every_upsampler_can_be_chosen(upsampler, here):
    output = succeed("upsample", "cat.png", *TINY, "--upsampler", upsampler, "--out", "cam.npy", "--layer", "0")
    assert np.load("cam.npy").shape == (32, 32)
    assert f"upsampled by {upsampler}" in output


def test_fitted_references_serve_later_calls(here):
    succeed("fit-references", "photos", *TINY, "--n-references", 3, "--out", "new/references.safetensors")
    fitted = ReferenceDistribution.load("new/references.safetensors")
    assert 1 <= len(fitted.density[0]) <= 3
    for method in ("lpi", "eg", "weighted-ig"):
        more = ["--references", "new/references.safetensors", "--out", f"{method}.npy"]
        succeed("explain", "cat.png", *TINY, "--n-steps", 6, "--method", method, *more)
    assert "a new file, or --overwrite" in fail(
        "fit-references", "photos", *TINY, "--out", "new/references.safetensors"
    )


def test_a_folder_is_explained_scored_and_gone_on_with(here):
    arguments = ["run", "photos", *FEW_STEPS, "--metric", "deletion", "--curves", "--size", 8, "--target", 1]
    arguments += ["--out", "out"]
    assert "4 of 4 images in out" in succeed(*arguments)
    attributions = DatasetAttributions("out")
    rows = attributions.table().to_pydict()
    assert rows["name"] == ["a/astronaut.jpg", "a/rocket.jpg", "b/chelsea.jpg", "b/coffee.jpg"]
    assert rows["target"] == [1] * 4
    assert {"score", "delta", "deletion", "map_scale"} < set(rows)
    assert attributions.maps().shape == (4, 8, 8)
    assert attributions.table(["deletion_curve"])["deletion_curve"].type.shape == [2, 11]
    before = [path.stat().st_mtime_ns for path in sorted((here / "out").glob("rows-*"))]
    succeed(*arguments)
    assert before == [path.stat().st_mtime_ns for path in sorted((here / "out").glob("rows-*"))]
    assert "--n-steps was int 4, now int 5" in fail(*[*arguments, "--n-steps", 5])
    assert "since resume is off" in fail(*arguments, "--no-resume")


def test_a_flat_folder_has_no_labels_but_predictions(here):
    succeed("run", "photos/a", *FEW_STEPS, "--no-maps", "--out", "out", "--limit", 1)
    assert len(DatasetAttributions("out")) == 1
    assert '"label" for a folder with one folder for each class only' in fail(
        "run", "photos/a", *FEW_STEPS, "--target", "label"
    )
    for name in "ab", "cd", "ef":  # as many classes as the model has
        (here / "classes" / name).mkdir(parents=True)
        Image.new("RGB", (40, 40), "red").save(here / "classes" / name / "x.png")
    (here / "classes" / ".hidden").mkdir()
    succeed("run", "classes", *FEW_STEPS, "--target", "label", "--out", "labels")
    assert DatasetAttributions("labels").table().to_pydict()["target"] == [0, 1, 2]


def test_files_that_are_no_images_are_named_and_the_exit_code_says_so(here, tmp_path):
    folder = tmp_path / "mixed" / "class"
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 40), "red").save(folder / "good.png")
    (folder / "broken.jpg").write_bytes((here / "photos/a/rocket.jpg").read_bytes()[:1000])
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden").write_text("left out")
    result = call("run", "mixed", *FEW_STEPS, "--out", "out")
    assert result.exit_code == 1
    assert "no row: class/broken.jpg" in result.output
    failures = json.loads((tmp_path / "out/manifest.json").read_text())["failures"]
    assert [entry["name"] for entry in failures] == ["class/broken.jpg", "class/notes.txt"]
    assert "cannot identify image file" in failures[1]["error"]


def test_methods_are_compared_in_a_table_and_a_figure(here):
    output = succeed("evaluate", "photos", *FEW_STEPS, "--method", "ig", "--method", "saliency", "--out", "scores")
    assert len((here / "scores/scores.csv").read_text().splitlines()) == 1 + 2 * len(METRICS)
    assert all(metric in output for metric in METRICS)
    with Image.open("scores/scores.png") as figure:
        assert figure.size[0] > 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["explain", "cat.png", "--model", "torchvision:resnet19"],
            "no model torchvision:resnet19. Close matches: torchvision:resnet18",
        ),
        (
            ["explain", "cat.png", "--model", "resnet18"],
            "hf:NAME_OR_PATH, open_clip:NAME or MODULE:FUNCTION, but got 'resnet18'",
        ),
        (["explain", "cat.png", "--model", "no_such_module:model"], "No module named 'no_such_module'"),
        (
            ["explain", "cat.png", "--model", "tests.integrations.cli.tiny:modle"],
            "Close matches: tests.integrations.cli.tiny:model",
        ),
        (
            ["explain", "cat.png", "--model", "tests.integrations.cli.tiny:no_model"],
            "to return a torch.nn.Module, but got int",
        ),
        (
            ["explain", "cat.png", *TINY, "--target", 3],
            "--target to be an index from 0 to 2, the model's outputs, but got 3",
        ),
        (["explain", "cat.png", *TINY, "--target", "cat"], 'a number, "predicted" or "label", but got \'cat\''),
        (["explain", "cat.png", *TINY, "--std", "0"], "--std to be one number, or three with commas, above 0"),
        (
            ["explain", "cat.png", *TINY, "--crop", "64", "--resize", "32"],
            "--crop to be at most resize, 32, but got 64",
        ),
        (["explain", "cat.png", "--model", TINY[1]], "to take images of 224 x 224 (--crop), but: "),
        (
            ["explain", "cat.png", *TINY, "--n-classes", "7"],
            "--n-classes to be for models of torchvision, timm and hf only",
        ),
        (["explain", "cat.png", "--model", "torchvision:resnet18", "--n-classes", "7"], "together with --weights FILE"),
        (
            ["explain", "cat.png", *TINY, "--references", "photos"],
            "--references to be given with a method that has it (eg, lpi, weighted-ig), but got it with ig",
        ),
        (
            ["explain", "cat.png", *TINY, "--layer", "0"],
            "a method that has it (mwp, c-mwp, gradcam, cam), but got it with ig",
        ),
        (
            ["explain", "cat.png", *TINY, "--upsampler", "usu"],
            "a method that has it (mwp, c-mwp, gradcam, cam), but got it with ig",
        ),
        (
            ["explain", "cat.png", *FEW_STEPS, "--method", "saliency"],
            "--n-steps to be given with a method that has it "
            "(ig, eg, lpi, weighted-ig, idgi, samp, samp++, guided-ig, blur-ig, agi, xrai)",
        ),
        (
            ["evaluate", "photos", *TINY, "--method", "ig", "--method", "saliency", "--layer", "0"],
            "a method that has it (mwp, c-mwp, gradcam, cam), but got it with ig, saliency",
        ),
        (
            ["run", "photos", *TINY, "--workers", "2"],
            "--workers to be given with --engine ray only, but got 2 with local",
        ),
        (["run", "photos", *TINY, "--num-gpus", "0.5"], "given with --engine ray only, but got 0.5 with local"),
        (
            ["run", "photos", *TINY, "--engine", "ray", "--num-workers", "0"],
            "--num-workers to be given with --engine local only, but got 0 with ray",
        ),
        (
            ["run", "photos", *TINY, "--curves"],
            "--curves to be given with --metric, whose curves they are, but got no metric",
        ),
        (
            ["run", "photos", *TINY, "--no-maps", "--size", "8"],
            "--size to be given without --no-maps, which stores no maps, but got 8",
        ),
        (["run", "photos", *TINY, "--no-maps", "--dtype", "float16"], "without --no-maps, which stores no maps"),
        (["run", "photos", *TINY, "--dtype", "int8"], '--dtype to be one of "float16", "float32"'),
        (["explain", "cat.png", *TINY, "--method", "gradcam", "--layer", "3"], "'3', which gives (1, 3)"),
        (["run", "photos", *TINY, "--out", "photos/out"], "--out to be outside of photos"),
        (["run", "mixed", *TINY], "1 images beside folders in mixed, such as cat.png"),
        (
            ["evaluate", "photos", *TINY, "--method", "ig", "--method", "lpi"],
            "given for lpi (--references FOLDER or FILE)",
        ),
        (["explain", "cat.png", *TINY, "--target", "label"], 'a number or "predicted" for one photograph'),
        (
            ["explain", "cat.png", *TINY, "--mean", "1,2"],
            "--mean to be one number, or three with commas, but got '1,2'",
        ),
        (["explain", "cat.png", *TINY, "--mean", "x"], "one number, or three with commas, but got 'x'"),
        (["explain", "cat.png", *TINY, "--method", "lime"], '--method to be one of "ig", "eg"'),
        (["explain", "cat.png", *TINY, "--method", "lpi"], "given for lpi (--references FOLDER or FILE)"),
        (["explain", "cat.png", *TINY, "--method", "eg", "--references", "none"], "none is not a file"),
        (
            ["run", "photos", *TINY, "--method", "lpi", "--references", "photos", "--engine", "ray"],
            "a file for lpi with --engine ray (captum-ext fit-references FOLDER --out FILE)",
        ),
        (
            ["explain", "cat.png", *TINY, "--method", "eg", "--references", "cat.png"],
            "cat.png is damaged or incomplete",
        ),
        (["explain", "cat.png", *TINY, "--out", "map.tiff"], "a file whose name ends in .png or .npy"),
        (["explain", "dog.png", *TINY], "No such file or directory"),
        (["explain", "resnet18.pth", *TINY], "cannot identify image file"),
        (["explain", "cat.png", *TINY, "--device", "cuda:99"], "--device to be one that torch can use here"),
        (["explain", "cat.png", *TINY, "--method", "gradcam", "--layer", "9"], "--layer to be one of 0, 1, 2, 3"),
        (["upsample", "cat.png", *TINY, "--cam", "Grad"], "--cam to be one of CAM, FEM, KPCA_CAM"),
        (["run", "nowhere", *TINY], "no folder nowhere"),
        (
            ["evaluate", "photos", *TINY, "--method", "ig", "--metric", "speed"],
            '--metric to be one of "insertion", "deletion"',
        ),
    ],
)
def test_mistakes_are_one_line_and_the_exit_code_two(arguments, message, here):
    (here / "mixed" / "class").mkdir(parents=True)
    (here / "mixed" / "cat.png").symlink_to(here / "cat.png")
    assert message in fail(*arguments)


def test_what_the_model_says_of_another_size_is_in_the_line(here):
    said = fail("explain", "cat.png", "--model", TINY[1]).partition("to take images of 224 x 224 (--crop), but: ")[2]
    assert "mat1 and mat2 shapes cannot be multiplied" in said  # newer versions of torch name the operation before


def test_weights_that_do_not_fit_say_what_differs(here, tmp_path):
    known = ["explain", "cat.png", "--model"]
    other = fail(*known, "torchvision:resnet34", "--weights", "resnet18.pth")
    assert "got another architecture" in other
    assert "missing, such as layer1.2.conv1.weight" in other
    assert "fc.weight (1000, 512) instead of (7, 512)" in fail(
        *known, "torchvision:resnet18", "--weights", "resnet18.pth", "--n-classes", 7
    )
    assert "Expected weights of torchvision:resnet18" in fail(*known, "torchvision:resnet18", "--weights", "cat.png")
    assert "No such file" in fail(*known, "torchvision:resnet18", "--weights", "none.pth")


class _Evil:
    def __reduce__(self):
        return (open, ("executed", "w"))


def test_weights_are_never_unpickled_code(here):
    torch.save({"weight": _Evil()}, "evil.pth")
    text = fail("explain", "cat.png", "--model", "torchvision:resnet18", "--weights", "evil.pth")
    assert "Expected weights of torchvision:resnet18 (safetensors or a state dict), but got evil.pth" in text
    assert not (here / "executed").exists()


def test_weights_that_cannot_be_downloaded_name_the_option(here, monkeypatch):
    from urllib.error import URLError

    def offline(*_, **options):
        assert options["weights_only"]
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    text = fail("explain", "cat.png", "--model", "torchvision:resnet18")
    assert "could not be downloaded (<urlopen error no route to host>)" in text
    assert "--weights FILE" in text


def test_ray_that_is_not_installed_names_its_extra(here, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "captum_ext_integrations.ray_data", raising=False)
    monkeypatch.delattr(captum_ext_integrations, "ray_data", raising=False)  # another test may have loaded it
    message = fail("run", "photos", *FEW_STEPS, "--engine", "ray")
    assert "ray is needed here. Install it with: pip install 'captum-ext[ray]'" in message


def test_a_missing_extra_is_named(monkeypatch, capsys):
    from captum_ext_integrations import cli

    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(
        SystemExit, match=r"captum-ext: typer is needed here. Install it with: pip install 'captum-ext\[cli\]'"
    ):
        cli.main()


def test_a_mistake_before_the_first_row_does_not_block_the_folder(here):
    assert "but got 9 for sample 0" in fail("run", "photos", *FEW_STEPS, "--target", 9, "--out", "out")
    succeed("run", "photos", *FEW_STEPS, "--target", 2, "--out", "out")


def test_a_folder_without_any_readable_image_has_no_scores(here):
    (here / "bad").mkdir()
    (here / "bad" / "a.png").write_text("no image")
    result = call("evaluate", "bad", *FEW_STEPS, "--method", "ig", "--out", "scores")
    assert result.exit_code == 1
    assert "no row: a.png" in result.output


def test_paths_may_look_like_markup(here):
    assert "maps[red]/[/a].npy" in succeed("explain", "cat.png", *FEW_STEPS, "--out", "maps[red]/[/a].npy")


@pytest.mark.parametrize("cam", ["GradCAMPlusPlus", "LayerCAM", "HiResCAM", "EigenCAM", "ScoreCAM"])
def test_other_cams_can_be_chosen(cam, here):
    succeed("upsample", "cat.png", *TINY, "--cam", cam, "--upsampler", "bilinear", "--out", "cam.npy", "--layer", "0")
    assert np.load("cam.npy").shape == (32, 32)


def test_an_unexpected_error_is_one_line_too_and_shows_its_place_on_request(here, monkeypatch):
    from captum_ext_integrations.cli import commands

    def broken(*_):
        raise RuntimeError("first line\nCUDA out of memory")

    monkeypatch.setattr(commands, "load_model", broken)
    assert "RuntimeError: CUDA out of memory (CAPTUM_EXT_TRACEBACK=1 shows where)" in fail("explain", "cat.png", *TINY)
    monkeypatch.setenv("CAPTUM_EXT_TRACEBACK", "1")
    assert isinstance(call("explain", "cat.png", *TINY).exception, RuntimeError)
