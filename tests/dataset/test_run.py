"""A run over a data set: its rows, how it goes on, and what it leaves untouched."""

import json
import warnings
from dataclasses import fields
from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, IntegratedGradients, Saliency
from torch.utils.data import DataLoader, TensorDataset

from captum_ext.attr import ExpectedGradients, LocalPathIntegration, SalientManipulationPath
from captum_ext.dataset import DatasetAttributions, MapFormat, RunOptions, attribute_dataset
from captum_ext.dataset.manifest import write_manifest
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, RunFolderError
from captum_ext.metrics import Ranking, deletion, diff_id, insertion
from tests.dataset.toy import WEIGHT, Bent, Images, Linear, linear

REFERENCES = torch.linspace(-1, 1, 12).reshape(3, 2, 2, 1)


def run(method, dataset, out, **changed):
    """A run in batches of 4, with changed arguments of `attribute_dataset` or of its `RunOptions`."""
    arguments = {"target": "predicted", "batch_size": 4, "show_progress": False, **changed}
    options = {field.name: arguments.pop(field.name) for field in fields(RunOptions) if field.name in arguments}
    return attribute_dataset(method, dataset, out, run=RunOptions(**options), **arguments)


def same(first, second):
    return first.table().equals(second.table()) and torch.equal(first.maps(), second.maps())


def test_rows_hold_what_the_method_and_the_model_say_of_each_sample(tmp_path):
    found = run(linear(), Images(6), tmp_path / "out", target="label", map_format=MapFormat(dtype="float32"))
    images = torch.stack([Images(6)[i][0] for i in range(6)])
    labels = [0, 1, 0, 1, 0, 1]
    expected = WEIGHT[labels].reshape(6, 2, 2, 1) * images
    rows = found.table().to_pydict()
    assert rows["index"] == list(range(6))
    assert rows["target"] == labels
    assert rows["prediction"] == (images.flatten(1) @ WEIGHT.T).argmax(1).tolist()
    assert rows["score"] == pytest.approx(expected.flatten(1).sum(1).tolist(), rel=1e-6)
    assert max(map(abs, rows["delta"])) < 1e-5
    torch.testing.assert_close(found.maps(), expected.sum(1))
    assert found.complete
    assert len(found) == 6
    assert "6 of 6 rows" in repr(found)


def test_a_float16_map_of_tiny_numbers_keeps_its_relative_precision(tmp_path):
    tiny = IntegratedGradients(Linear(1e-9))
    found = run(tiny, Images(3), tmp_path / "out", target=0)
    images = torch.stack([Images(3)[i][0] for i in range(3)])
    torch.testing.assert_close(found.maps(), 1e-9 * (WEIGHT[0].reshape(2, 2, 1) * images).sum(1), rtol=1e-3, atol=0)
    assert "map_scale" in found.table().column_names


@pytest.mark.parametrize("change", [{"batch_size": 3}, {"num_workers": 1}, {"shard_rows": 2}, {"batch_size": 1}])
def test_a_row_does_not_depend_on_batches_workers_or_shards(tmp_path, change):
    method = ExpectedGradients(Bent().double(), references=REFERENCES.double())
    dataset = TensorDataset(torch.stack([Images(10)[i][0] for i in range(10)]).double())
    float64 = MapFormat(dtype="float64")
    first = run(method, dataset, tmp_path / "a", map_format=float64)
    second = run(method, dataset, tmp_path / "b", map_format=float64, **change)
    torch.testing.assert_close(first.maps(), second.maps(), rtol=1e-12, atol=1e-14)
    third = run(method, dataset, tmp_path / "c", map_format=float64, seed=1)
    assert not torch.allclose(first.maps(), third.maps(), rtol=1e-6)


def test_a_shuffled_loader_gives_the_rows_of_its_data_set(tmp_path):
    first = run(linear(), Images(7), tmp_path / "a")
    loader = DataLoader(Images(7), batch_size=4, shuffle=True)
    assert same(first, run(linear(), loader, tmp_path / "b", batch_size=None))


def test_methods_of_captum_that_draw_from_the_global_state_are_repeatable_and_leave_it(tmp_path):
    method = GradientShap(Bent())
    kwargs = {"baselines": REFERENCES, "n_samples": 3}
    wanted = ("prediction", "map")
    first = run(method, Images(5), tmp_path / "a", attribute_kwargs=kwargs, fields=wanted)
    torch.manual_seed(7)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    second = run(method, Images(5), tmp_path / "b", attribute_kwargs=kwargs, fields=wanted)
    assert torch.equal(before, torch.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()  # noqa: NPY002
    assert same(first, second)


def test_random_transformations_depend_on_the_sample_only(tmp_path):
    class Noisy(Images):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image + torch.rand(1), label

    first = run(linear(), Noisy(6), tmp_path / "a", batch_size=2)
    assert same(first, run(linear(), Noisy(6), tmp_path / "b", batch_size=3, num_workers=2))


def test_a_function_can_stand_for_a_method(tmp_path):
    def gradient_times_input(inputs, target):
        return inputs * WEIGHT[target].reshape(inputs.shape)

    found = run(gradient_times_input, Images(4), tmp_path / "a", forward_func=Linear(), target=1)
    method = run(linear(), Images(4), tmp_path / "b", target=1)
    torch.testing.assert_close(found.maps(), method.maps(), rtol=1e-3, atol=1e-6)
    assert "delta" not in found.table().column_names


def test_areas_and_own_numbers_are_computed_in_the_same_pass(tmp_path):
    def total(_, inputs, attributions, target):
        return (inputs * attributions).flatten(1).sum(1) + target

    def black(*arguments):
        return deletion(*arguments, baselines=0, n_steps=2)

    wanted = ("score", "insertion", "deletion", "diff_id")
    metrics = {"total": total, "deletion_from_black": black}
    found = run(linear(), Images(4), tmp_path / "out", fields=wanted, metrics=metrics)
    rows = found.table().to_pydict()
    images = torch.stack([Images(4)[i][0] for i in range(4)])
    maps = IntegratedGradients(Linear()).attribute(images, target=torch.tensor(rows["target"]))
    curve = deletion(Linear(), images, maps, torch.tensor(rows["target"]))
    assert rows["deletion"] == pytest.approx(curve.auc.tolist(), rel=1e-5)
    assert rows["total"] == pytest.approx(total(None, images, maps, torch.tensor(rows["target"])).tolist(), rel=1e-5)
    assert "map" not in found.table(None).column_names
    with pytest.raises(ArgumentError, match='`fields` to be with "map"'):
        found.maps()


class Counting(Linear):
    """Counts the images that it is given."""

    def __init__(self):
        super().__init__()
        self._count = 0

    def forward(self, images):
        self._count += len(images)
        return super().forward(images)


def test_curves_of_a_run_share_their_images_and_have_the_numbers_of_single_calls(tmp_path):
    as_lpi = {"baselines": "mean", "ranking": Ranking(absolute=True)}
    metrics = {"inserted": partial(insertion, **as_lpi), "deleted": partial(deletion, **as_lpi)}
    model = Counting().eval()

    def gradient(inputs, target):
        return WEIGHT[target].reshape(inputs.shape)

    found = run(gradient, Images(4), tmp_path / "out", forward_func=model, fields=("score", "diff_id"), metrics=metrics)
    assert model._count == 4 * (1 + 4)  # for the score; of two pixels both, none, and either are kept
    rows = found.table().to_pydict()
    images, target = torch.stack([Images(4)[i][0] for i in range(4)]), torch.tensor(rows["target"])
    for name, metric in {**metrics, "diff_id": diff_id}.items():
        curve = metric(Linear(), images, gradient(images, target), target)
        assert rows[name] == pytest.approx(torch.where(curve.valid, curve.auc, torch.nan).tolist(), rel=1e-5)


def test_a_number_that_means_nothing_is_null(tmp_path):
    constant = TensorDataset(torch.zeros(2, 2, 2, 1))  # its map orders no pixels
    found = run(linear(), constant, tmp_path / "out", target=0, fields=("score", "insertion"))
    assert found.table(["insertion"]).to_pydict() == {"insertion": [None, None]}


def test_a_run_goes_on_where_it_was_stopped_and_repeats_nothing(tmp_path):
    class Stopping(Images):
        def __getitem__(self, index):
            if index == 9:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    calls = []

    class Counting(IntegratedGradients):
        def attribute(self, inputs, *args, **kwargs):
            calls.append(len(inputs))
            return super().attribute(inputs, *args, **kwargs)

    method, out = ExpectedGradients(Bent(), references=REFERENCES), tmp_path / "out"
    Stopping.__qualname__ = Images.__qualname__  # the same data set, which works the second time
    with pytest.raises(KeyboardInterrupt):
        run(method, Stopping(14), out, shard_rows=100)
    partial = DatasetAttributions(out)
    assert partial.manifest["done"] == [[0, 7]]
    assert not partial.complete
    assert same(run(method, Images(14), out), run(method, Images(14), tmp_path / "other"))
    Counting.__qualname__ = IntegratedGradients.__qualname__
    run(Counting(Linear()), Images(6), tmp_path / "counted")
    run(Counting(Linear()), Images(6), tmp_path / "counted")
    assert sum(calls) == 6


def test_samples_that_cannot_be_explained_are_recorded_and_tried_again(tmp_path):
    out = tmp_path / "out"
    with pytest.warns(UserWarning, match=r"2 of 8 samples have no row; see `.failures`. The first: 2: OSError: cannot"):
        found = run(linear(), Images(8, broken=(2,), nan=(5,)), out)
    assert found.table(["index"]).to_pydict()["index"] == [0, 1, 3, 4, 6, 7]
    assert found.manifest["done"] == [[0, 1], [3, 4], [6, 7]]
    assert [entry["index"] for entry in found.failures] == [2, 5]
    assert "NaN in row 0" in found.failures[1]["error"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        repaired = run(linear(), Images(8), out)
    assert repaired.complete
    assert repaired.failures == []
    torch.testing.assert_close(repaired.maps(), run(linear(), Images(8), tmp_path / "other").maps())
    assert repaired.maps([5, 2]).shape == (2, 2, 1)


def test_attributions_that_are_not_finite_are_recorded(tmp_path):
    def bad(inputs, target):
        return torch.where(inputs > 0.9, torch.inf, inputs)

    with pytest.warns(UserWarning, match="infinity in row 0"):
        found = run(bad, Images(4), tmp_path / "out", forward_func=Linear(), fields=("score",))
    assert len(found) == 0
    assert found.table().num_columns == 0
    with pytest.warns(UserWarning, match="4 of 4"):
        assert not run(bad, Images(4), tmp_path / "out", forward_func=Linear(), fields=("score",)).complete


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": IntegratedGradients(Linear(2.0))}, r"other settings.*model was str 'tests"),
        ({"method": Saliency(Linear())}, "method"),
        ({"seed": 3}, "seed was int 0, now int 3"),
        ({"target": 1}, "target was str 'predicted', now int 1"),
        ({"fields": ("map",)}, "fields was"),
        ({"map_format": MapFormat(size=(1, 1))}, "map_format.size was NoneType None, now list"),
        ({"attribute_kwargs": {"n_steps": 3}}, "attribute_kwargs.n_steps was NoneType None, now int 3"),
        ({"configuration": {"layer": "a"}}, "given.layer was"),
        ({"dataset": Images(7)}, "dataset.n_samples was int 6, now int 7"),
    ],
)
def test_a_folder_takes_one_configuration_only(tmp_path, change, message):
    arguments = {"method": linear(), "dataset": Images(6), "fields": ("prediction", "map")}
    run(out=tmp_path, **arguments)
    with pytest.raises(RunFolderError, match=message):
        run(out=tmp_path, **{**arguments, **change})


def test_other_versions_count_as_another_configuration(tmp_path):
    run(linear(), Images(3), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["versions"]["torch"] = "1.0"
    write_manifest(tmp_path / "manifest.json", manifest)
    with pytest.raises(RunFolderError, match=r"versions.torch was str '1.0', now str"):
        run(linear(), Images(3), tmp_path)


def test_references_count_as_configuration(tmp_path):
    run(LocalPathIntegration(Linear(), references=REFERENCES), Images(3), tmp_path)
    run(LocalPathIntegration(Linear(), references=REFERENCES), Images(3), tmp_path)
    with pytest.raises(RunFolderError, match="method.references"):
        run(LocalPathIntegration(Linear(), references=REFERENCES + 1), Images(3), tmp_path)
    run(SalientManipulationPath(Linear(), insertion_baselines=0), Images(3), tmp_path / "samp")
    with pytest.raises(RunFolderError, match="method.insertion_baselines was int 0, now float 0.5"):
        run(SalientManipulationPath(Linear(), insertion_baselines=0.5), Images(3), tmp_path / "samp")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"target": 2},
            ArgumentError,
            "`target` to be an index from 0 to 1, the model's outputs, but got 2 for sample 0",
        ),
        (
            {"target": "label", "dataset": TensorDataset(torch.ones(2, 2, 2, 1))},
            ArgumentError,
            'something else than "label"',
        ),
        ({"target": "all"}, ArgumentTypeError, 'an int, "predicted", "label", a function or None'),
        ({"fields": "map"}, ArgumentTypeError, "a sequence of names"),
        ({"fields": ("heat",)}, ArgumentError, "\"diff_id\", but got str 'heat'"),
        ({"fields": ("delta",), "method": Saliency(Linear())}, ArgumentError, 'without "delta"'),
        ({"metrics": {"map": deletion}}, ArgumentError, "names of their own"),
        ({"attribute_kwargs": {"target": 1}}, ArgumentError, "without 'target'"),
        ({"dataset": []}, ArgumentError, "at least one sample"),
        ({"dataset": iter(())}, ArgumentTypeError, "a Dataset with a length"),
        ({"dataset": [{"image": 1}]}, ArgumentTypeError, "tuples of a tensor and a label"),
        ({"dataset": [torch.ones(1, 2, 2), torch.ones(1, 3, 3)]}, ArgumentTypeError, "several sizes need batch_size=1"),
        ({"method": 3}, ArgumentTypeError, "an object with attribute"),
        ({"method": lambda inputs, target: inputs}, ArgumentError, "`forward_func` to be the model"),
        ({"method": lambda inputs, target: inputs[:1], "forward_func": Linear()}, ArgumentError, "returns 4 rows"),
        ({"metrics": {"two": lambda *_: torch.ones(2)}}, ArgumentError, "one number of two for each of the 4 rows"),
        (
            {"dataset": DataLoader(Images(4), sampler=torch.utils.data.SubsetRandomSampler([1]))},
            ArgumentError,
            "torch.utils.data.Subset",
        ),
    ],
)
def test_arguments_that_cannot_be_used_say_so(tmp_path, change, error, message):
    arguments = {"method": linear(), "dataset": Images(4), **change}
    with pytest.raises(error, match=message):
        run(out=tmp_path / "out", **arguments)


def test_a_run_that_must_be_new_refuses_what_is_there(tmp_path):
    run(linear(), Images(3), tmp_path)
    with pytest.raises(ArgumentError, match="`out` to be a new or empty folder, since resume is off"):
        run(linear(), Images(3), tmp_path, resume=False)


def test_progress_can_be_a_function(tmp_path):
    calls = []
    run(linear(), Images(6), tmp_path, show_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 6), (4, 6), (6, 6)]


def test_captums_gradient_methods_run_without_a_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = run(Saliency(Linear()), Images(3), tmp_path, target=0)
    torch.testing.assert_close(found.maps()[0], WEIGHT[0].abs().reshape(2, 2, 1).sum(0), rtol=1e-3, atol=0)
