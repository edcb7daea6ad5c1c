"""The experiments on a tiny network: what is explained with what, what fails, what does not depend on what."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from examples.benchmarks import suite
from examples.benchmarks.engine import path_games
from examples.benchmarks.engine.experiment import Options
from examples.benchmarks.engine.explanations import Explained
from examples.benchmarks.engine.networks import Network
from examples.benchmarks.engine.path_games import PathGames
from examples.benchmarks.papers.usu import faithfulness
from examples.benchmarks.papers.usu.faithfulness import Faithfulness
from examples.real_data import Preparation

pytestmark = pytest.mark.long

SMALL = Preparation(size=28, resize=28)


@pytest.fixture
def tiny(monkeypatch):
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU()]
    model = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()
    network = Network("tiny", model, SMALL, model[3], 5)
    for module in (path_games, faithfulness):
        monkeypatch.setattr(module, "load_network", lambda *_: network)
        monkeypatch.setattr(module, "preparation_of", lambda _: SMALL)
    return network


def games(tmp_path, batch=2, limit=4, **options):
    return suite.path_games("imagenet20", "tiny", Options(tmp_path, **options), limit=limit, batch=batch)


def test_no_image_is_its_own_reference(tiny, tmp_path):
    experiment = games(tmp_path, limit=None)
    images, _ = experiment.samples.load(range(20))
    for half in (0, 1):
        pool = experiment._pool(half).flatten(1)
        explained = images[half::2].flatten(1)
        assert len(pool) == 10 * 6 + 6 + 40
        assert float(torch.cdist(explained, pool).min()) > 0
        assert float(torch.cdist(images[1 - half :: 2].flatten(1), pool).min(1).values.max()) == 0


def test_every_image_is_in_one_part(tiny, tmp_path):
    experiment = games(tmp_path, batch=3, limit=None)
    assert len(experiment.parts()) == 8
    places = [
        place
        for part in experiment.parts()
        for place in experiment._half(int(part[0]))[int(part[2:]) : int(part[2:]) + 3]
    ]
    assert sorted(places) == list(range(20))


@pytest.mark.filterwarnings("ignore")
def test_rows_have_every_method_and_do_not_depend_on_the_batch(tiny, tmp_path):
    pairs, singles = (games(tmp_path, batch=batch, fast=False) for batch in (2, 1))
    rows = pd.DataFrame(pairs.run("0-0000"))
    alone = pd.DataFrame(singles.run("0-0001"))
    assert "error" not in rows, rows[rows["error"].notna()][["method", "error"]]
    assert rows.groupby("sample")["method"].count().tolist() == [len(rows) // 2] * 2
    named = {"LRP", "DeepLift (zero)", "DeepSHAP", "LIME", "SmoothGrad", "ApproShapley", "GuidedIG (zero)", "BlurIG"}
    assert named | {"EG", "LPI, 4 n.", "WG, 7 images", "SAMP++", "random", "RISE, 50 masks"} | {
        "AGI",
        "AGI, paper",
        "XRAI",
        "CAM",
        "c-MWP",
        "WG, authors' baselines",
        "SAMP++, 14 groups, velocity",
        "SAMP++, steps of 10 pixels",
    } <= set(rows["method"])
    second = rows[rows["sample"] == 2].set_index("method")
    alone = alone.set_index("method")
    rounded = [name for name in second.index if "SAMP" not in name]  # its float32 path depends on rounding
    for column in ("insertion_mean", "deletion_mean", "diff_id"):
        own, other = (table.loc[rounded, column].to_numpy(float) for table in (second, alone))
        np.testing.assert_allclose(own, other, atol=0.02)
    budget = rows.groupby("method")["gradients"].mean()
    for name in ("IG (zero)", "EG", "LPI, 1 n.", "GradientShap", "SAMP", "IG (blur + zero)"):
        assert budget[name] <= 20, name
    assert budget["IG (zero)"] == budget["EG"] == 20
    assert budget["IG (blur + zero), 28 gradients"] == budget["IG (zero), 28 gradients"] == 28 >= budget["SAMP++"]
    costs = rows.groupby("method")[["gradients", "forwards"]].mean() @ [1, 0.4]
    assert costs["EG, 7 baselines, 56 gradients"] >= costs["WG, 7 baselines"]


@pytest.mark.filterwarnings("ignore")
def test_a_method_that_fails_on_one_image_has_numbers_for_the_others(tiny, tmp_path, monkeypatch):
    experiment = games(tmp_path)

    def fails_on_dark_images(asked):
        if float(asked.images.mean(dim=(1, 2, 3)).min()) == darkest:
            raise RuntimeError("too dark")
        return Explained(asked.images)

    images, _ = experiment.samples.load(experiment._half(0)[:2])
    darkest = float(images.mean(dim=(1, 2, 3)).min())
    monkeypatch.setattr(PathGames, "_methods", lambda self, half: {"picky": fails_on_dark_images})
    rows = pd.DataFrame(experiment.run("0-0000"))
    assert rows["error"].dropna().tolist() == ["RuntimeError: too dark"]
    assert rows["diff_id"].notna().sum() == 1
    assert rows["sample"].tolist() == [0, 2]


@pytest.mark.filterwarnings("ignore")
def test_upsamplers_keep_what_they_keep_and_a_failing_cam_is_recorded(tiny, tmp_path, monkeypatch):
    experiment = Faithfulness("imagenet20", Options(tmp_path), cams=("GradCAM", "FullGrad"), limit=2)
    assert experiment.parts() == ["0000", "0001"]
    rows = pd.DataFrame(experiment.run("0001"))
    table = rows[rows["cam"] == "GradCAM"].set_index("method")
    assert len(rows) == 2 * 19 + 6
    assert "error" not in rows
    for name in (
        "nearest",
        "USU",
        "USU, paper",
        "USU, paper, fixed",
        "USU, temperature 1",
        "USU, random scores",
        "USU, paper, random scores",
    ):
        assert table.loc[name, "d1_error"] < 1e-6
    assert table.loc["bilinear", "d1_error"] > 0.01
    assert table.loc["USU", "forwards"] > 0
    assert table.loc["USU, random scores", "forwards"] == 0
    assert table.loc["bilinear", "forwards"] == 0
    assert table.loc["score map alone", "gradients"] == 0

    def broken(self, cam, *rest):
        raise RuntimeError("no map")

    monkeypatch.setattr(Faithfulness, "_cam", broken)
    failed = pd.DataFrame(experiment.run("0001"))
    assert failed["error"].dropna().str.startswith("RuntimeError: no map").sum() == 2 * 13 + 6
    assert failed[failed["method"] == "score map alone"]["diff_id"].notna().all()


@pytest.mark.filterwarnings("ignore")
def test_on_a_further_network_runs_what_the_claims_compare_with_the_same_numbers(tiny, tmp_path):
    options = Options(tmp_path, fast=True)
    further = suite.further_network("imagenet20", "efficientnet-lite1", options, batch=2)
    assert further.name == "paths-imagenet20-lite1"
    rows = pd.DataFrame(further.run("0-0000")).set_index(["method", "sample"])
    methods = set(rows.index.get_level_values("method"))
    assert {"SAMP++", "IG (mean)", "WG, 7 baselines", "LPI, 9 n.", "RISE, 1000 masks", "XRAI"} <= methods
    assert not {"random", "AGI, paper", "SAMP + bound, R = 200", "LIME", "SAMP++, insertion only"} & methods
    whole = pd.DataFrame(games(tmp_path, fast=True).run("0-0000")).set_index(["method", "sample"])
    assert methods < set(whole.index.get_level_values("method"))
    same = whole.loc[rows.index, ["insertion", "deletion", "diff_id"]]
    pd.testing.assert_frame_equal(rows[same.columns], same, rtol=1e-5)
