"""The open question: what is measured of an order of pixels, and what its criteria call evidence."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from examples.benchmarks import suite
from examples.benchmarks.engine.claims import judge
from examples.benchmarks.engine.experiment import Options
from examples.benchmarks.engine.networks import LITE, Network
from examples.benchmarks.questions import evidence
from examples.benchmarks.questions.evidence import Evidence, Scorers
from examples.benchmarks.questions.evidence_claims import COARSE, EXPERIMENT, FAIR, JUDGED, answer, claims, views
from examples.real_data import Preparation

SMALL = Preparation(size=28, resize=28)
N = 20


def tiny(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)]
    model = nn.Sequential(*layers).eval()
    return Network(f"tiny{seed}", model, SMALL, model[1], 5)


def linear(weight):
    """A network whose first class is the weighted sum of the pixels, and whose second is its negative."""

    class Sums(nn.Module):
        def forward(self, x):
            total = (x * weight).flatten(1).sum(1)
            return torch.stack([total, -total], 1)

    return Network("linear", Sums(), SMALL, nn.Identity(), 2)


@pytest.fixture
def experiment(monkeypatch, tmp_path):
    monkeypatch.setattr(evidence, "load_network", lambda name, _: tiny(LITE.index(name)))
    monkeypatch.setattr(evidence, "preparation_of", lambda _: SMALL)
    names = ("random", FAIR, "SAMP++")
    return Evidence("imagenet20", Options(tmp_path, fast=True), builders=suite.PATH_METHODS, names=names)


@pytest.mark.filterwarnings("ignore")
def test_every_method_has_a_row_and_some_have_another_of_an_absent_class(experiment):
    assert experiment.parts() == ["0000"]
    rows = pd.DataFrame(experiment.run("0000"))
    assert "error" not in rows, rows["error"].dropna().tolist()
    assert rows["method"].tolist() == ["random", FAIR, "SAMP++", FAIR, "SAMP++"]
    assert rows["asked"].tolist() == ["present"] * 3 + ["absent"] * 2
    absent, present = rows[rows["asked"] == "absent"], rows[rows["asked"] == "present"]
    assert (absent["target"] != present["target"].iloc[0]).all()
    assert present[["stability", "mosaic_concentration", "road", "gain_lite2"]].notna().all().all()
    assert present["stability"].iloc[0] == pytest.approx(1)  # a random map does not look at the image


def test_a_mosaic_has_the_image_in_one_quarter_and_its_mask_there(experiment):
    image, mask = experiment._mosaic(0)
    own, _ = experiment.samples.load([0])
    small = torch.nn.functional.interpolate(own, scale_factor=0.5, mode="bilinear", antialias=True)
    assert mask.sum() == 14 * 14
    assert torch.equal(image[mask.expand_as(image)].reshape(3, 14, 14), small[0])
    quarters = [image[0, :, top : top + 14, left : left + 14] for top in (0, 14) for left in (0, 14)]
    assert len({quarter.numpy().tobytes() for quarter in quarters}) == 4


def test_the_games_of_a_linear_network_are_known():
    """Pixel 0 has all of the score. Inserted first, every part scores 1; deleted first, every rest scores 0."""
    weight = torch.zeros(3, 2, 2)
    weight[:, 0, 0] = 1
    networks = {LITE[0]: linear(weight), LITE[1]: linear(weight), LITE[2]: linear(weight)}
    image = torch.full((1, 3, 2, 2), 0.5)
    scorers = Scorers(networks, image, seed=0)
    scorers.blurred = torch.zeros_like(image)
    assert scorers.first_class == 0
    found = scorers.columns(weight[None], [0])
    # 10 steps of 4 pixels round to 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4: the areas are 0.85 and 0.15
    assert found["ins_del_lite0"] == pytest.approx(found["ins_del_lite2"])
    assert found["ins_del_zero"] == pytest.approx(found["ins_del_lite0"])
    assert found["ins_del_lite0"] > 0.5 > -0.5 > scorers.columns(-weight[None], [0])["ins_del_lite0"]
    assert scorers.gains(weight[None], [0])["gain_lite0"] == pytest.approx(0)


def test_an_order_that_leaves_out_what_speaks_against_a_class_gains_what_that_takes():
    """The image scores 1.5 - 0.5 = 1; without the pixel that speaks against the class it would score 1.5."""
    weight = torch.zeros(1, 2, 2)
    weight[0, 0, 0], weight[0, 1, 1] = 3.0, -1.0
    image = torch.full((1, 1, 2, 2), 0.5)
    networks = {name: linear(weight) for name in LITE}
    scorers = Scorers(
        {
            name: Network("n", one.model, Preparation(size=2, mean=(0.0,), std=(1.0,)), one.layer, 2)
            for name, one in networks.items()
        },
        image,
        seed=0,
    )
    scorers.blurred = torch.zeros_like(image)
    assert scorers.gains(weight[None], [0])["gain_lite0"] == pytest.approx(0.5)


def rows(lead=0.3, elsewhere=0.2, other=0.1):
    """Rows in which the judged methods have these leads over IG on the own network, on others, and in all else."""
    generator = np.random.default_rng(0)
    found = []
    for sample in range(N):
        base = generator.uniform(0, 1)
        for method in (FAIR, COARSE, *JUDGED):
            ours, small = method in JUDGED, generator.normal(0, 1e-3)
            row = {"sample": sample, "method": method, "asked": "present"}
            for name, value in (("lite0", lead), ("lite1", elsewhere), ("lite2", elsewhere)):
                row |= {f"ins_del_{name}": base + small + value * ours, f"diff_id_{name}": base + small + value * ours}
                row[f"gain_{name}"] = small
            for metric in ("zero", "black", "noise1", "noise8"):
                row[f"ins_del_{metric}"] = base + small + other * ours
            row |= {"road": base + small - other * ours, "stability": 0.9 + small}
            row |= {"mosaic_concentration": 0.4 + small, "mosaic_pointing_game": 0.4 + small}
            found.append(row)
            if method in (FAIR, *JUDGED):
                found.append(
                    {
                        "sample": sample,
                        "method": method,
                        "asked": "absent",
                        "gain_lite0": 5.0,
                        "gain_lite1": 1.0,
                        "gain_lite2": 0.5,
                    }
                )
    return {EXPERIMENT: pd.DataFrame(found)}


def said(table):
    return answer(judge(claims(), table), table)


def test_a_lead_that_stays_everywhere_is_evidence_in_two_sentences():
    text = said(rows())
    assert text.startswith("The order of SAMP++ is evidence by the criteria below, whose lead")
    assert "+0.30 on the network that it asked and +0.20 on lite1 (67 %) and +0.20 on lite2 (67 %)" in text
    assert "scores this class +5.0 logits above the whole image on lite0, +1.0 on lite1 and +0.5 on lite2." in text
    assert text.count(". ") == 1


def test_a_lead_that_other_networks_do_not_see_is_an_adversarial_sub_image():
    assert "The order of SAMP++ is an adversarial sub-image by the criteria below" in said(rows(elsewhere=0))


def test_what_an_order_fails_is_named():
    assert "The order of SAMP++ is evidence in part, failing criterion 2 below" in said(rows(elsewhere=0.1))
    assert "is evidence in part, failing criteria 3, 4 below" in said(rows(other=0))


def test_without_rows_nothing_is_said():
    assert answer([], {}) == ""
    assert judge(claims(), {}) == []
    assert {view.experiment for view in views()} == {EXPERIMENT}
