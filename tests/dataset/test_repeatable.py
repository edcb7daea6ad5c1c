"""Rows that depend on the sample only, and configurations that are told apart."""

import random

import numpy as np
import pytest
import torch
from captum.attr import LRP, GradientShap, IntegratedGradients, NoiseTunnel
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import nn
from torch.utils.data import BatchSampler, ConcatDataset, DataLoader, Subset, SubsetRandomSampler, TensorDataset

from captum_ext.attr import ExpectedGradients
from captum_ext.core.fingerprints import Fingerprints, of_dataset
from captum_ext.dataset import MapFormat
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError, RunFolderError
from tests.dataset.test_run import REFERENCES, run, same
from tests.dataset.toy import Bent, Images, Linear, linear

FLOAT64 = MapFormat(dtype="float64")


class Doubles(Images):
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image.double(), label


def states():
    numpy_state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return torch.get_rng_state().tolist(), numpy_state["key"].tolist(), numpy_state["pos"], random.getstate()


@pytest.mark.parametrize(
    ("method", "kwargs"),
    [
        (GradientShap(Bent().double()), {"baselines": REFERENCES.double(), "n_samples": 3}),
        (NoiseTunnel(IntegratedGradients(Bent().double())), {"nt_samples": 2, "stdevs": 0.5}),
        (NoiseTunnel(ExpectedGradients(Bent().double(), references=REFERENCES.double())), {"nt_samples": 2}),
    ],
    ids=["GradientShap", "NoiseTunnel of IG", "NoiseTunnel of EG"],
)
def test_random_methods_without_generators_depend_on_the_sample_only(tmp_path, method, kwargs):
    arguments = {"attribute_kwargs": kwargs, "map_format": FLOAT64}
    first = run(method, Doubles(5), tmp_path / "a", batch_size=1, **arguments)
    assert "delta" in first.table().column_names
    for batch_size in (2, 5):
        before = states()
        again = run(method, Doubles(5), tmp_path / f"{batch_size}", batch_size=batch_size, **arguments)
        assert states() == before
        assert same(first, again)
    assert not torch.equal(run(method, Doubles(5), tmp_path / "seed", seed=1, **arguments).maps(), first.maps())


def test_a_function_that_calls_a_random_method_is_repeatable_too(tmp_path):
    method = ExpectedGradients(Bent().double(), references=REFERENCES.double())

    def explain(inputs, target):
        return method.attribute(inputs, target=target)

    runs = [
        run(
            explain, Doubles(4), tmp_path / f"{size}", batch_size=size, forward_func=Bent().double(), map_format=FLOAT64
        )
        for size in (1, 4)
    ]
    assert same(*runs)


def test_random_metrics_and_collations_leave_the_global_states_alone(tmp_path):
    def noisy_metric(*_):
        return torch.rand(1) + np.random.rand() + random.random()  # noqa: NPY002

    def noisy_collation(entries):
        return torch.stack([image + torch.rand(()) for image, _ in entries])

    loader = DataLoader(Images(4), batch_size=1, collate_fn=noisy_collation)
    before = states()
    first = run(linear(), loader, tmp_path / "a", metrics={"noise": noisy_metric}, batch_size=None)
    assert states() == before
    assert same(first, run(linear(), loader, tmp_path / "b", metrics={"noise": noisy_metric}, batch_size=None))


def test_model_and_states_come_out_as_they_went_in_after_errors_too(tmp_path):
    def broken(*_):
        torch.rand(1)
        raise RuntimeError("broken")

    model = Bent().train()
    model.register_forward_hook(lambda *_: None)
    before = states()
    with pytest.raises(RuntimeError, match="broken"):
        run(IntegratedGradients(model), Images(4), tmp_path, metrics={"broken": broken}, fields=("map",))
    assert states() == before
    assert model.training
    assert model.weight.requires_grad
    assert model.weight.grad is None
    assert len(model._forward_hooks) == 1


def test_a_function_that_changes_its_inputs_does_not_change_what_metrics_see(tmp_path):
    def rude(inputs, target):
        return inputs.mul_(0) + 1

    metrics = {"sum": lambda _, inputs, attributions, target: inputs.flatten(1).sum(1)}
    found = run(rude, Images(2), tmp_path, forward_func=Linear(), target=0, metrics=metrics, fields=("score",))
    assert found.table(["sum"]).to_pydict()["sum"] == pytest.approx([5.0, 10.0])


def test_nan_in_references_is_the_callers_mistake_and_no_failure_of_samples(tmp_path):
    method = IntegratedGradients(Linear())
    ours = ExpectedGradients(Linear())
    with pytest.raises(NonFiniteError, match="`baselines` to be finite"):
        run(ours, Images(2), tmp_path, attribute_kwargs={"baselines": torch.full((1, 2, 2, 1), torch.nan)})
    with pytest.warns(UserWarning, match="2 of 2 samples have no row"):  # Captum's own does not check them
        run(method, Images(2), tmp_path / "b", attribute_kwargs={"baselines": torch.full((1, 2, 2, 1), torch.nan)})


def weigh(factor):
    return lambda inputs: Linear(factor)(inputs)


def test_functions_are_told_apart_by_what_they_do_and_hold():
    prints = Fingerprints()
    assert prints.of(weigh(1.0)) == prints.of(weigh(1.0))
    assert prints.of(weigh(1.0)) != prints.of(weigh(2.0))
    assert prints.of(lambda x: x + 1) != prints.of(lambda x: x + 2)
    assert prints.of(lambda x, y=1: x) != prints.of(lambda x, y=2: x)
    assert prints.of(Linear(1.0).forward) != prints.of(Linear(2.0).forward)
    assert prints.of(torch.nn.functional.gelu) == prints.of(torch.nn.functional.gelu)
    assert prints.of(abs) != prints.of(max)


def test_models_are_told_apart_by_layers_modes_and_weights():
    prints = Fingerprints()
    pair = [nn.Sequential(nn.Linear(2, 2), layer).eval() for layer in (nn.ReLU(), nn.Sigmoid())]
    pair[1].load_state_dict(pair[0].state_dict())
    assert prints.of(pair[0]) != prints.of(pair[1])
    assert prints.of(nn.MaxPool2d(2)) != prints.of(nn.MaxPool2d(3))
    assert prints.of(nn.Linear(2, 2).eval()) != prints.of(nn.Linear(2, 2).eval())
    model = nn.Sequential(nn.ReLU(), nn.ReLU())
    evaluating = prints.of(model.eval())
    assert prints.of(model.train()) != evaluating
    assert Fingerprints(model).of({"layer": model[0]}) != Fingerprints(model).of({"layer": model[1]})


def test_arrays_sets_and_slots_are_described_by_their_content():
    prints = Fingerprints()
    one, other = np.zeros(5000), np.zeros(5000)
    other[2500] = 1
    assert prints.of(one) != prints.of(other)
    assert prints.of({"b", "a"}) == prints.of({"a", "b"})
    assert prints.of(float("nan")) == prints.of(float("nan"))

    class Slotted:
        __slots__ = ("value",)

        def __init__(self, value):
            self.value = value

    assert prints.of(Slotted(1)) != prints.of(Slotted(2))
    assert prints.of(object()) == prints.of(object())


def test_data_sets_are_told_apart_by_what_they_choose_and_hold():
    images = Images(6)
    assert of_dataset(Subset(images, [0, 1])) != of_dataset(Subset(images, [2, 3]))
    assert of_dataset(TensorDataset(torch.ones(2))) != of_dataset(TensorDataset(torch.zeros(2)))
    assert of_dataset(ConcatDataset([images])) != of_dataset(ConcatDataset([Images(3), Images(3)]))
    images.transform = lambda image: image
    assert of_dataset(images) != of_dataset(Images(6))


def test_settings_that_do_not_change_rows_may_change_between_runs(tmp_path):
    run(linear(), Images(4), tmp_path, attribute_kwargs={"internal_batch_size": 2})
    assert run(linear(), Images(4), tmp_path, attribute_kwargs={"internal_batch_size": 1}).complete
    with pytest.raises(RunFolderError, match="given.layer was NoneType None, now str 'a'"):
        run(linear(), Images(4), tmp_path, configuration={"layer": "a"})


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Images(4), batch_sampler=BatchSampler(SubsetRandomSampler([1, 2]), 2, drop_last=False)),
        DataLoader(Images(4), sampler=torch.utils.data.RandomSampler(Images(4), replacement=True)),
        DataLoader(Images(4), sampler=torch.utils.data.RandomSampler(Images(4), num_samples=2)),
    ],
)
def test_a_loader_that_chooses_samples_is_refused(tmp_path, loader):
    with pytest.raises(ArgumentError, match="to choose samples, pass a torch.utils.data.Subset"):
        run(linear(), loader, tmp_path)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_mistakes_of_a_data_set_are_the_same_errors_with_and_without_workers(tmp_path, num_workers):
    mixed = [torch.ones(2, 2, 1), torch.ones(3, 3, 1)]
    with pytest.raises(ArgumentTypeError, match="several sizes need batch_size=1"):
        run(linear(), mixed, tmp_path / "a", num_workers=num_workers)
    dropping = DataLoader(Images(4), batch_size=4, collate_fn=lambda entries: torch.stack([entries[0][0]]))
    with pytest.raises(ArgumentError, match="of 4 rows in order after collation, but got 1 rows"):
        run(linear(), dropping, tmp_path / "b", num_workers=num_workers)


def test_images_of_several_sizes_need_a_size_of_their_maps(tmp_path):
    mixed = [torch.ones(1, 2, 2), torch.ones(1, 3, 3)]

    def ones(inputs, target):
        return torch.ones_like(inputs)

    arguments = {"batch_size": 1, "target": 0, "forward_func": lambda x: x.flatten(1)[:, :2], "fields": ("map",)}
    with pytest.raises(ArgumentError, match=r"one `size` for images of several sizes, but got \(2, 2\) and \(3, 3\)"):
        run(ones, mixed, tmp_path / "a", **arguments)
    sized = run(ones, mixed, tmp_path / "b", map_format=MapFormat(size=(2, 2)), **arguments)
    assert sized.maps().sum((1, 2)).tolist() == pytest.approx([4.0, 9.0], rel=1e-3)


def test_numbers_of_numpy_are_numbers(tmp_path):
    found = run(linear(), Images(3), tmp_path, target=np.int64(1), seed=np.int64(0))
    assert found.table(["target"]).to_pydict()["target"] == [1, 1, 1]


def test_a_model_of_one_output_has_no_prediction(tmp_path):
    method = IntegratedGradients(lambda x: x.flatten(1).sum(1))
    assert run(method, Images(3), tmp_path / "a", target=None).table().column_names[:2] == ["index", "score"]
    with pytest.raises(ArgumentError, match='without "prediction" for a model without classes'):
        run(method, Images(3), tmp_path / "b", target=None, fields=("prediction",))


def largest(_, inputs, attributions, target):
    return attributions.abs().amax(1)


def test_rules_of_layers_count_in_every_batch(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    model[0].rule = rule = EpsilonRule(epsilon=3.0)
    samples = TensorDataset(torch.rand(4, 3))
    arguments = {"target": 0, "fields": ("score",), "metrics": {"largest": largest}}
    one_by_one = run(LRP(model), samples, tmp_path / "a", batch_size=1, **arguments)
    assert model[0].rule is rule
    together = run(LRP(model), samples, tmp_path / "b", batch_size=4, **arguments)
    np.testing.assert_allclose(
        *(found.table(["largest"]).to_pydict()["largest"] for found in (one_by_one, together)), rtol=1e-5
    )
