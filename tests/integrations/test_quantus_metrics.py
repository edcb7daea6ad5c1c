"""The metrics inside Quantus: the same numbers three ways, agreement with Quantus where it works, bad input."""

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.metrics import (
    concentration,
    deletion,
    diff_id,
    gini,
    insertion,
    monotonicity,
    pixel_flipping,
    pointing_game,
    road,
)
from captum_ext.segmentation import Segmenter

quantus = pytest.importorskip("quantus")
from quantus.metrics.base import Metric  # noqa: E402

from captum_ext_integrations import quantus_metrics as qm  # noqa: E402
from captum_ext_integrations._quantus_base import CurveMetric  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]


class Net(nn.Module):
    def __init__(self, channels=3, classes=4):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv = nn.Conv2d(channels, 5, 3, padding=1)
            self.norm = nn.BatchNorm2d(5)
            self.head = nn.Linear(5, classes)

    def forward(self, x):
        return self.head(torch.tanh(self.norm(self.conv(x))).amax((2, 3)))


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    return {
        "x": generator.normal(size=(6, 3, 8, 8)).astype(np.float32),
        "y": np.array([0, 1, 2, 3, 0, 1]),
        "a": generator.normal(size=(6, 1, 8, 8)).astype(np.float32),
    }


CURVES = [
    (qm.Insertion(n_steps=4), lambda f, x, a, y: insertion(f, x, a, y, n_steps=4)),
    (qm.Deletion(n_steps=4), lambda f, x, a, y: deletion(f, x, a, y, n_steps=4)),
    (qm.DiffID(), lambda f, x, a, y: diff_id(f, x, a, y)),
    (qm.PixelFlipping(features_in_step=16), lambda f, x, a, y: pixel_flipping(f, x, a, y, pixels_in_step=16)),
    (qm.ROAD(), lambda f, x, a, y: road(f, x, a, y)),
]


@pytest.mark.parametrize(("metric", "function"), CURVES, ids=lambda value: getattr(value, "name", ""))
@pytest.mark.parametrize("softmax", [True, False])
def test_evaluate_the_metric_alone_and_the_pure_function_give_the_same_numbers(metric, function, softmax, data):
    model = Net().eval()
    forward = (lambda v: model(v).softmax(-1)) if softmax else model
    curve = function(forward, torch.from_numpy(data["x"]), torch.from_numpy(data["a"]), torch.from_numpy(data["y"]))
    expected = torch.where(curve.valid, curve.auc, torch.nan).double().detach().numpy()
    alone = metric(model, data["x"], data["y"], data["a"], softmax=softmax)
    np.testing.assert_allclose(alone, expected, rtol=1e-6, atol=1e-7)
    evaluated = quantus.evaluate(
        metrics={metric.name: metric},
        xai_methods={"given": data["a"]},
        model=model,
        x_batch=data["x"],
        y_batch=data["y"],
        call_kwargs={"call": {"softmax": softmax}},
    )
    np.testing.assert_array_equal(evaluated["given"][metric.name], alone)


ALL = [
    qm.Insertion(n_steps=4),
    qm.Deletion(n_steps=4),
    qm.DiffID(score_scale="none"),
    qm.PixelFlipping(features_in_step=16),
    qm.IROF(segments=Segmenter("grid", 4)),
    qm.ROAD(fractions=(0.3, 0.6)),
    qm.ScaleFreeInfidelity(n_samples=8),
]


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
@given(order=st.permutations(range(6)), size=st.integers(1, 6), batch_size=st.integers(1, 7))
def test_a_samples_score_does_not_depend_on_its_batch(metric, order, size, batch_size, data):
    model = Net().eval()
    together = np.array(metric(model, data["x"], data["y"], data["a"]))
    chosen = np.array(order[:size])
    some = metric(model, data["x"][chosen], data["y"][chosen], data["a"][chosen], batch_size=batch_size)
    np.testing.assert_allclose(some, together[chosen], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metric", [*ALL, qm.IoU()], ids=lambda metric: metric.name)
def test_metrics_describe_themselves_as_quantus_expects(metric):
    assert metric.name
    assert metric.score_direction
    assert metric.evaluation_category
    assert quantus.helpers.enums.ModelType.TORCH in metric.model_applicability
    assert "." in metric.__init__.__doc__
    metric.interpret_scores  # noqa: B018 (prints)
    assert metric.get_params["normalise"] is False
    with pytest.raises(TypeError, match="unexpected keyword argument 'unknown'"):
        type(metric)(unknown=1)


BASE_ARGUMENTS = {
    "abs": True,
    "normalise": True,
    "return_aggregate": True,
    "aggregate_func": np.max,
    "default_plot_func": print,
    "disable_warnings": True,
    "display_progressbar": True,
}


def listed(kind):
    """Names of the arguments of a constructor, none of which stands for any others."""
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    assert all(one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) for one in parameters)
    return {one.name: one.default for one in parameters}


@pytest.mark.parametrize("kind", [*qm.METRICS, qm.TorchMetric, CurveMetric], ids=lambda kind: kind.__name__)
def test_a_metric_lists_the_arguments_of_every_quantus_metric_and_hands_them_on(kind):
    of_quantus = set(inspect.signature(Metric.__init__).parameters) - {"self", "kwargs"}
    assert of_quantus <= set(listed(kind))
    metric = kind(**BASE_ARGUMENTS, normalise_func=np.multiply, normalise_func_kwargs={"casting": "no"})
    state = {name: getattr(metric, name) for name in BASE_ARGUMENTS}
    assert state == BASE_ARGUMENTS
    assert metric.normalise_func.func is np.multiply
    assert metric.normalise_func_kwargs == {"casting": "no"}
    assert kind().aggregate_func is np.nanmean
    assert kind().abs is (kind is qm.DiffID)


@pytest.mark.parametrize("kind", [kind for kind in qm.METRICS if issubclass(kind, CurveMetric)])
def test_a_metric_of_curves_lists_the_arguments_of_every_curve_and_hands_them_on(kind):
    assert set(listed(CurveMetric)) <= set(listed(kind))
    of_curves = {"baselines": 0.5, "score_scale": "none", "return_auc_per_sample": False, "seed": 7}
    metric = kind(**of_curves)
    assert {name: getattr(metric, name) for name in of_curves} == of_curves
    assert metric.default_plot_func is qm.plot_curves
    assert kind().return_auc_per_sample is True
    assert (kind().score_scale, kind().seed) == ("input" if kind is qm.DiffID else "none", 0)


def test_explanations_are_computed_where_none_are_given(data):
    model = Net().eval()
    explain = qm.as_quantus_explain(__import__("captum").attr.InputXGradient(model))
    scores = qm.Deletion()(model, data["x"], data["y"], explain_func=explain, batch_size=4)
    maps = explain(model, data["x"], data["y"])
    np.testing.assert_allclose(scores, qm.Deletion()(model, data["x"], data["y"], maps), rtol=1e-6)


def test_undefined_samples_are_nan_and_the_others_are_scored(data):
    maps = data["a"].copy()
    maps[1], maps[2], maps[3, 0, 0, 0] = 0, 0.5, np.nan
    model = Net().eval()
    for metric in ALL[:4]:
        scores = np.array(metric(model, data["x"], data["y"], maps))
        assert np.isnan(scores).tolist() == [False, True, True, True, False, False]
        expected = metric(model, data["x"][4:], data["y"][4:], maps[4:])
        np.testing.assert_allclose(scores[4:], expected, rtol=1e-5, atol=1e-6)
    aggregated = qm.Deletion(n_steps=4, return_aggregate=True)(model, data["x"], data["y"], maps)
    assert np.isfinite(aggregated[0])


def test_curves_are_returned_and_plotted_on_request(data, tmp_path):
    from matplotlib import pyplot

    model = Net().eval()
    metric = qm.Insertion(n_steps=4, return_auc_per_sample=False)
    scores = metric(model, data["x"], data["y"], data["a"])
    assert np.shape(scores) == (6, 5)
    figure = metric.default_plot_func(y_batch=data["y"], scores=scores)
    figure.savefig(tmp_path / "curves.png")
    pyplot.close(figure)
    assert len(figure.axes[0].lines) == 7  # every row, and their mean
    np.testing.assert_allclose(figure.axes[0].lines[-1].get_ydata(), np.mean(scores, axis=0))
    assert "Means of rows: mean 6" in " ".join(figure.get_supxlabel().split())
    with pytest.raises(ArgumentError, match="from return_auc_per_sample=False"):
        qm.plot_curves(scores=[0.1, 0.2])


def test_tensors_are_taken_as_maps_and_other_things_refused(data):
    model = Net().eval()
    expected = qm.Deletion()(model, data["x"], data["y"], data["a"])
    assert qm.Deletion()(model, data["x"], data["y"], torch.from_numpy(data["a"]).requires_grad_()) == expected
    assert qm.Deletion()(model, data["x"], data["y"], data["a"][:, 0]) == expected
    with pytest.raises(ArgumentTypeError, match="`a_batch` to be a NumPy array or a tensor, but got list"):
        qm.Deletion()(model, data["x"], data["y"], data["a"].tolist())
    with pytest.raises(ArgumentTypeError, match="`x_batch` to be a NumPy array"):
        qm.Deletion()(model, torch.from_numpy(data["x"]), data["y"], data["a"])
    with pytest.raises(ArgumentError, match=r"shape of x_batch \(6, 3, 8, 8\), .* but got \(6, 1, 4, 4\)"):
        qm.Deletion()(model, data["x"], data["y"], np.ones((6, 1, 4, 4)))


def test_labels_out_of_range_and_missing_segmentations_are_named(data):
    model = Net().eval()
    with pytest.raises(ArgumentError, match="`target` to be an index from 0 to 3"):
        qm.Deletion()(model, data["x"], data["y"] + 9, data["a"])
    with pytest.raises(ArgumentError, match="`s_batch` to be given for a localisation metric"):
        qm.IoU()(model, data["x"], data["y"], data["a"])


def test_channel_last_arrays_are_refused_by_quantus_itself(data):
    with pytest.raises(ValueError, match="Channel first order expected"):
        qm.Deletion()(Net().eval(), data["x"].transpose(0, 2, 3, 1), data["y"], data["a"].transpose(0, 2, 3, 1))


def test_models_with_one_class_are_scored(data):
    scores = qm.DiffID()(Net(classes=1).eval(), data["x"], data["y"] * 0, data["a"])
    assert len(scores) == 6


def test_tabular_and_time_series_data_are_scored():
    generator = np.random.default_rng(1)
    table, y = generator.normal(size=(4, 7)).astype(np.float32) + 1, np.array([0, 1, 0, 1])
    linear = nn.Linear(7, 2).eval()
    for metric in (qm.Insertion(), qm.Deletion(), qm.DiffID(score_scale="none"), qm.ScaleFreeInfidelity()):
        assert np.isfinite(metric(linear, table, y, table)).all()
    series = generator.normal(size=(4, 2, 9)).astype(np.float32)
    convolution = nn.Sequential(nn.Conv1d(2, 3, 3), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    steps = series.sum(1, keepdims=True)
    curves = qm.Deletion(n_steps=9, return_auc_per_sample=False)(convolution, series, y, steps)
    first = np.abs(steps[0, 0] - steps[0, 0].max()).argmin()
    without = series[:1].copy()
    without[0, :, first] = 0  # a step with all its channels is one pixel
    with torch.no_grad():
        assert curves[0][1] == pytest.approx(float(convolution(torch.from_numpy(without))[0, 0]), abs=1e-6)
    assert np.isfinite(qm.Deletion()(convolution, series, y, series)).all()


def test_the_model_keeps_its_mode_and_scores_are_those_of_eval_mode(data):
    model = Net().train()
    model.head.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scores = qm.Deletion()(model, data["x"], data["y"], data["a"])
    assert [model.training, model.norm.training, model.head.training] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert scores == qm.Deletion()(Net().eval(), data["x"], data["y"], data["a"])


def test_register_adds_names_and_replaces_none():
    before = {category: dict(names) for category, names in quantus.AVAILABLE_METRICS.items()}
    try:
        qm.register()
        qm.register()
        assert quantus.AVAILABLE_METRICS["Faithfulness"]["DiffID"] is qm.DiffID
        assert quantus.AVAILABLE_METRICS["Localisation"]["IoU"] is qm.IoU
        for category, names in before.items():
            for name, metric in names.items():
                assert quantus.AVAILABLE_METRICS[category][name] is metric
    finally:
        for category, names in before.items():
            quantus.AVAILABLE_METRICS[category].clear()
            quantus.AVAILABLE_METRICS[category].update(names)


@pytest.fixture
def gray():
    """Cases in which Quantus's classes work: one channel, maps without ties, NumPy's old name for trapezoid."""
    generator = np.random.default_rng(2)
    x = generator.normal(size=(3, 1, 8, 8)).astype(np.float32)
    return Net(channels=1).eval(), x, np.array([0, 1, 2]), generator.random(size=(3, 1, 8, 8)).astype(np.float32)


def test_sparseness_is_that_of_quantus(gray):
    model, x, y, a = gray
    expected = quantus.Sparseness(abs=True, normalise=False, disable_warnings=True)(model, x, y, a)
    np.testing.assert_allclose(gini(torch.from_numpy(a)).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("softmax", [True, False])
def test_pixel_flipping_is_that_of_quantus_on_one_channel(gray, softmax):
    model, x, y, a = gray
    theirs = quantus.PixelFlipping(features_in_step=4, perturb_baseline="black", normalise=False, disable_warnings=True)
    for row in range(3):  # Quantus's black is the smallest value of what it is given
        one = slice(row, row + 1)
        expected = theirs(model, x[one], y[one], a[one], softmax=softmax)[0]
        ours = qm.PixelFlipping(features_in_step=4, baselines=float(x[row].min()), return_auc_per_sample=False)
        curve = ours(model, x[one], y[one], a[one], softmax=softmax)[0]
        np.testing.assert_allclose(curve[1:], expected, rtol=1e-4, atol=1e-5)


def test_monotonicity_is_that_of_quantus_with_one_sample(gray):
    model, x, y, a = gray
    theirs = quantus.MonotonicityCorrelation(
        nr_samples=1, features_in_step=8, perturb_baseline="black", abs=True, normalise=False, disable_warnings=True
    )
    for row in range(3):
        one = slice(row, row + 1)
        expected = theirs(model, x[one], y[one], a[one], softmax=False)
        actual = monotonicity(
            model, *map(torch.from_numpy, (x[one], a[one], y[one])), baselines=float(x[one].min()), n_steps=8
        )
        assert float(actual[0]) == pytest.approx(float(expected[0]), abs=1e-6)


def test_road_is_that_of_quantus_without_noise(gray):
    model, x, y, a = gray
    theirs = quantus.ROAD(percentages=[25, 50, 75], noise=0.0, normalise=False, disable_warnings=True)
    expected = theirs(model, x, y, a, softmax=False)
    curve = road(model, *map(torch.from_numpy, (x, a, y)), fractions=(0.25, 0.5, 0.75), noise=0)
    assert curve.correct.mean(0).tolist() == pytest.approx(list(expected.values()))


def test_pointing_game_and_mass_are_those_of_quantus(gray):
    model, x, y, a = gray
    s = np.zeros_like(a, dtype=int)
    s[..., 2:6, 2:6] = 1
    arguments = {"abs": False, "normalise": False, "disable_warnings": True}
    expected = quantus.PointingGame(**arguments)(model, x, y, a, s_batch=s)
    assert pointing_game(torch.from_numpy(a), torch.from_numpy(s)).tolist() == [float(value) for value in expected]
    expected = quantus.RelevanceMassAccuracy(**arguments)(model, x, y, a, s_batch=s)
    np.testing.assert_allclose(concentration(torch.from_numpy(a), torch.from_numpy(s)).numpy(), expected, rtol=1e-5)


def test_irof_is_that_of_quantus_up_to_its_scale(gray, monkeypatch):
    if not hasattr(np, "trapz"):
        monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    model = Net(channels=1).eval()
    ramp = np.linspace(0, 1, 24, dtype=np.float32)
    x = np.outer(ramp, ramp)[None, None]
    a = np.random.default_rng(3).random(size=x.shape).astype(np.float32)
    segments = []

    def recorded(img, segmentation_method):
        labels = np.arange(24 * 24).reshape(24, 24) // 96
        segments.append(labels)
        return labels

    monkeypatch.setattr(quantus.helpers.utils, "get_superpixel_segments", recorded)
    theirs = quantus.IROF(perturb_baseline="black", normalise=False, disable_warnings=True)
    expected = float(np.ravel(theirs(model, x, np.array([1]), a, softmax=True))[0])
    labels = torch.from_numpy(segments[0])
    probability = lambda v: model(v).softmax(-1)  # noqa: E731
    from captum_ext.metrics import irof

    actual = irof(probability, torch.from_numpy(x), torch.from_numpy(a), 1, baselines=float(x.min()), segments=labels)
    # Quantus: curve from the first removal on, area in segments; ours: from the whole input on, area as a share.
    n_segments = int(labels.max()) + 1
    with torch.no_grad():
        order = [int(k) for k in np.argsort([-float(a[0][:, segments[0] == k].mean()) for k in range(n_segments)])]
        changed = torch.from_numpy(x.copy())
        changed[0][:, labels == order[0]] = float(x.min())
        first = float(probability(changed)[0, 1] / probability(torch.from_numpy(x))[0, 1])
    ours_in_segments = n_segments * (1 - float(actual[0]))  # area under the curve
    theirs_in_segments = n_segments - expected + (1 + first) / 2  # and its first piece
    assert ours_in_segments == pytest.approx(theirs_in_segments, rel=1e-3)


def test_importing_the_adapter_without_quantus_names_the_extra(monkeypatch):
    import importlib
    import sys

    monkeypatch.setitem(sys.modules, "quantus", None)
    monkeypatch.setitem(sys.modules, "quantus.metrics.base", None)
    monkeypatch.delitem(sys.modules, "captum_ext_integrations.quantus_metrics")
    with pytest.raises(ImportError, match=r"captum-ext\[quantus\]"):
        importlib.import_module("captum_ext_integrations.quantus_metrics")


def test_models_that_end_in_softmax_are_scored_in_eval_mode_whichever_score_is_asked_for(data):
    for softmax in (True, False):
        scores = []
        for training in (False, True):
            model = nn.Sequential(Net(), nn.Softmax(dim=-1)).train(training)
            scores.append(qm.Deletion()(model, data["x"], data["y"], data["a"], softmax=softmax))
            assert all(part.training is training for part in model.modules())
        assert scores[0] == scores[1]


def test_computed_maps_that_are_constant_are_nan_at_every_batch_size(data):
    def explain(model, inputs, targets, **ignored):
        maps = inputs.sum(1, keepdims=True)
        return np.where((targets == 3)[:, None, None, None], 0, maps)

    model = Net().eval()
    results = [
        np.array(qm.Deletion()(model, data["x"], data["y"], explain_func=explain, batch_size=size))
        for size in (1, 2, 6)
    ]
    assert np.isnan(results[0]).tolist() == [False, False, False, True, False, False]
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("maps", [np.zeros((6, 1, 8, 8)), -1 - np.random.default_rng(0).random((6, 1, 8, 8))])
def test_batches_of_constant_or_negative_maps_are_no_reason_to_stop(data, maps):
    scores = np.array(qm.Deletion()(Net().eval(), data["x"], data["y"], maps))
    assert np.isnan(scores).all() == (not maps.any())


def test_labels_are_integers_from_zero_one_for_each_sample(data):
    model = Net().eval()
    for labels, reason in (
        (data["y"] - 1, "integers from 0, but got int64 from -1"),
        (data["y"] + 0.5, "integers from 0, but got float64 from 0.5"),
        (data["y"][:, None], r"one label for each of 6 samples, \(6,\), but got \(6, 1\)"),
    ):
        with pytest.raises(ArgumentError, match=reason):
            qm.Deletion()(model, data["x"], labels, data["a"], batch_size=1)
    expected = qm.Deletion()(model, data["x"], data["y"], data["a"])
    assert qm.Deletion()(model, data["x"], data["y"].tolist(), data["a"]) == expected


def test_reversed_arrays_half_precision_maps_and_predict_arguments_are_taken(data):
    class Scaled(Net):
        def forward(self, x, scale=1.0):
            return super().forward(x) * scale

    model = Scaled().eval()
    reverse = [data[name][::-1] for name in ("x", "y", "a")]
    np.testing.assert_allclose(
        qm.Deletion()(model, *reverse), qm.Deletion()(model, data["x"], data["y"], data["a"])[::-1], rtol=1e-5
    )
    half = torch.from_numpy(data["a"]).bfloat16()
    assert qm.Deletion()(model, data["x"], data["y"], half) == qm.Deletion()(
        model, data["x"], data["y"], half.float().numpy()
    )
    for softmax in (True, False):
        scores = qm.Deletion()(
            model, data["x"], data["y"], data["a"], softmax=softmax, model_predict_kwargs={"scale": 2.0}
        )
        doubled = (lambda v: (2 * model(v)).softmax(-1)) if softmax else (lambda v: 2 * model(v))
        expected = deletion(doubled, *map(torch.from_numpy, (data["x"], data["a"], data["y"]))).auc
        np.testing.assert_allclose(scores, expected.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_quantus_saves_the_plot_of_curves(data, tmp_path):
    from matplotlib import image, pyplot

    metric = qm.Insertion(n_steps=4, return_auc_per_sample=False)
    metric(Net().eval(), data["x"], data["y"], data["a"])
    metric.plot(y_batch=data["y"], scores=metric.evaluation_scores, show=False, path_to_save=str(tmp_path / "plot.png"))
    pyplot.close("all")
    assert float(image.imread(tmp_path / "plot.png").min()) < 0.5


def test_curves_are_plotted_in_a_figure_of_their_own_and_what_was_open_is_left_as_it_was():
    from matplotlib import pyplot

    before = pyplot.figure()
    before.gca().plot([0, 1], [0, 1])
    try:
        first = qm.plot_curves(scores=[[1.0, 0.5, 0.0], [1.0, 0.2, 0.1]])
        second = qm.plot_curves(scores=[[1.0, 0.0]])
        assert pyplot.gcf() is second  # which Quantus's Metric.plot saves
        assert [len(figure.gca().lines) for figure in (before, first, second)] == [1, 3, 2]
        assert before.get_layout_engine() is None
    finally:
        pyplot.close("all")


def test_baselines_of_a_time_series_keep_their_shape_when_steps_are_pixels():
    series = np.random.default_rng(0).normal(size=(4, 2, 9)).astype(np.float32)
    y = np.array([0, 1, 0, 1])
    convolution = nn.Sequential(nn.Conv1d(2, 3, 3), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
    steps = series.sum(1, keepdims=True)
    expected = qm.Deletion(baselines=0)(convolution, series, y, steps)
    assert qm.Deletion(baselines=torch.zeros(1, 2, 9))(convolution, series, y, steps) == expected
    assert np.isfinite(qm.ScaleFreeInfidelity(n_samples=9)(convolution, series, y, steps)).all()
