"""`captum-ext choose`: an answer in words, files of it, and what cannot be compared."""

import csv

import numpy as np
import pytest
from PIL import Image

from captum_ext.dataset import DatasetAttributions
from tests.integrations.cli.calls import TINY, call, fail, more_photographs, succeed

CHOOSE = ["choose", "photos", *TINY, "--gradients", "4"]
FEW = ["--method", "ig", "--method", "gradcam", "--control", "random"]


@pytest.fixture
def photographs(here):
    more_photographs(here)
    return here


def test_the_answer_is_a_sentence_with_files_of_it(photographs):
    output = succeed(*CHOOSE, *FEW, "--html", "page.html")
    answer = (photographs / "choice" / "answer.txt").read_text()
    first = answer.splitlines()[0]
    assert any(part in first for part in ("Use ", "cannot be told apart", "beats its controls"))
    assert first in output
    with (photographs / "choice" / "methods.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"ig", "gradcam", "random"}
    assert (photographs / "choice" / "methods.tex").read_text().startswith("\\begin{tabular}")
    assert "captum-ext" in (photographs / "choice" / "paragraph.tex").read_text()
    page = (photographs / "page.html").read_text()
    assert "Which method to use" in page
    assert "For a paper" in page


def test_it_goes_on_with_the_rows_that_are_there(photographs):
    one = succeed(*CHOOSE, *FEW)
    rows = {name: DatasetAttributions(photographs / "choice" / "methods" / name) for name in ("ig", "gradcam")}
    before = {name: run.table().to_pydict() for name, run in rows.items()}
    other = succeed(*CHOOSE, *FEW)
    assert one == other
    assert {name: run.table().to_pydict() for name, run in rows.items()} == before


def test_a_class_of_the_callers_is_compared_by_its_name(photographs):
    output = succeed(*CHOOSE, "--method", "ig", "--method", "captum.attr:Saliency", "--control", "random")
    assert "captum.attr:Saliency" in output


def test_other_settings_need_another_folder(photographs):
    succeed(*CHOOSE, *FEW)
    message = fail(*CHOOSE[:-1], "5", *FEW)
    assert "holds a comparison with other settings (gradients)" in message
    message = fail(*CHOOSE, *FEW, "--target", "1")
    assert "holds a run with other settings" in message


def test_masks_of_the_objects_are_those_of_what_the_model_sees(photographs):
    masks = photographs / "masks"
    masks.mkdir()
    for place in range(6):  # all but the first 50 columns of 250, of which the model sees 32
        mask = np.full((250, 250), 255, dtype=np.uint8)
        mask[:, :50] = 0
        Image.fromarray(mask).save(masks / f"{place}.png")
    succeed(*CHOOSE, *FEW, "--masks", "masks")
    with (photographs / "choice" / "methods.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    share = float(rows["random"]["concentration"])
    assert share == pytest.approx(26 / 32, abs=0.02)  # of 32 columns those whose centre is beyond 50 * 32 / 250 = 6.4


def test_masks_of_other_names_or_sizes_are_refused(photographs):
    masks = photographs / "masks"
    masks.mkdir()
    assert "masks under the names of the images" in fail(*CHOOSE, *FEW, "--masks", "masks")
    Image.new("L", (20, 20), 255).save(masks / "0.png")
    assert "250 x 250" in call(*CHOOSE, *FEW, "--masks", "masks").output
    assert "masks" in fail(*CHOOSE, *FEW, "--decide-by", "iou")


def test_too_few_images_are_refused(here):
    assert "at least 5 images" in fail(*CHOOSE, *FEW)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gradients", "0.5"], "`--gradients`|--gradients"),
        (["--method", "igg"], "igg"),
        (["--control", "nothing"], "nothing"),
        (["--decide-by", "beauty"], "beauty"),
        (["--alpha", "2"], "--alpha"),
        (["--group-size", "0"], "--group-size"),
        (["--method", "eg"], "references"),
    ],
)
def test_what_cannot_be_compared_says_so(photographs, options, said):
    output = call(*CHOOSE, *options).output
    assert any(part in output for part in said.split("|"))
    assert "Traceback" not in output
