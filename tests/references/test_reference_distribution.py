"""Fitting: neighbourhoods, references and densities; samples from tensors, data sets and batches."""

import pickle
import random
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from captum_ext.exceptions import ArgumentError, ArgumentTypeError, ModelOutputError, NonFiniteError
from captum_ext.references import ReferenceDistribution

# Three groups on a line, far apart: 4, 2 and 6 samples; outputs are the samples themselves.
GROUPS = torch.tensor([[0.0], [0.1], [0.2], [0.3], [50.0], [50.1], [90.0], [90.1], [90.2], [90.3], [90.4], [90.5]])


def identity(x):
    return x.flatten(1)


def as_sets(fitted):
    return sorted(
        [(sorted(r.flatten().tolist()), d.tolist()) for r, d in zip(fitted.references, fitted.density, strict=True)]
    )


def equal(one, other):
    pairs = zip(
        [*one.references, *one.density, one.centers], [*other.references, *other.density, other.centers], strict=False
    )
    return len(one.density) == len(other.density) and all(torch.equal(a, b) for a, b in pairs)


def test_neighbourhoods_are_the_groups_of_outputs_with_their_centres():
    fitted = ReferenceDistribution.fit(identity, GROUPS, n_neighborhoods=3, n_references=1)
    assert sorted(fitted.centers.flatten().tolist()) == pytest.approx([0.15, 50.05, 90.25])
    assert [d.tolist() for d in fitted.density] == [[1.0]] * 3


def test_each_neighbourhood_has_its_own_densities_that_sum_to_one():
    samples = torch.tensor([[0.0], [0.0], [0.1], [1.0], [50.0], [51.0], [51.1], [51.1]])
    samples = samples + torch.tensor([[0.0], [1e-3], [0], [0], [0], [0], [0], [1e-3]])
    fitted = ReferenceDistribution.fit(identity, samples, n_neighborhoods=2, n_references=2)
    near = int(fitted.assign(torch.tensor([[0.0]])))
    shares = [
        dict(zip(r.round().int().flatten().tolist(), d.tolist(), strict=True))
        for r, d in zip(fitted.references, fitted.density, strict=True)
    ]
    assert shares[near] == {0: 0.75, 1: 0.25}
    assert shares[1 - near] == {50: 0.25, 51: 0.75}


def test_inputs_are_assigned_to_the_nearest_centre():
    fitted = ReferenceDistribution.fit(identity, GROUPS, n_neighborhoods=3, n_references=1)
    chosen = fitted.centers[fitted.assign(torch.tensor([[-9.0], [60.0], [71.0]]))].flatten().tolist()
    assert chosen == pytest.approx([0.15, 50.05, 90.25])


@given(seed=st.integers(0, 999), n_neighborhoods=st.integers(1, 4), n_references=st.integers(1, 6))
def test_a_reference_is_the_member_nearest_to_its_own_subclusters_mean(seed, n_neighborhoods, n_references):
    samples = torch.randn(40, 2, generator=torch.Generator().manual_seed(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = ReferenceDistribution.fit(identity, samples, n_neighborhoods, n_references, seed=seed)
    neighborhood = fitted.assign(samples)
    for i, (references, density) in enumerate(zip(fitted.references, fitted.density, strict=True)):
        members = samples[neighborhood == i].double()
        assert float(density.sum()) == pytest.approx(1, abs=1e-6)
        assert len(references) == len(density) <= n_references
        assert len({tuple(r.tolist()) for r in references}) == len(references)
        counts = density * len(members)
        torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-4)
        for reference in references.double():
            assert bool((members == reference).all(1).any()), "a reference is not a member of its neighbourhood"
        if len(references) == 1:
            distance = (members - members.mean(0)).norm(dim=1)
            torch.testing.assert_close((references[0].double() - members.mean(0)).norm(), distance.min())


def test_equal_samples_are_merged_and_their_densities_added():
    samples = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 5.0], [7.0, 0.0]])
    with pytest.warns(
        UserWarning,
        match=r"4 samples give 1 neighbourhood.* 1 of them with fewer than n_references=4 references, .* with 2",
    ):
        fitted = ReferenceDistribution.fit(lambda x: x[:, :1], samples, n_references=4)
    assert sorted(fitted.density[0].tolist()) == [0.25, 0.75]


def test_equal_inputs_with_outputs_that_differ_by_rounding_are_merged():
    counter = iter(range(100))
    model = lambda x: x + torch.tensor([[next(counter) * 1e-4]])  # noqa: E731
    samples = torch.tensor([[1.0], [1.0], [7.0]])
    fitted = ReferenceDistribution.fit(model, samples, n_references=3, internal_batch_size=1)
    assert sorted(fitted.density[0].tolist()) == pytest.approx([1 / 3, 2 / 3])


def test_fewer_samples_than_asked_for_are_all_used_with_a_warning():
    with pytest.warns(UserWarning, match="3 samples give") as seen:
        fitted = ReferenceDistribution.fit(identity, torch.tensor([[0.0], [1.0], [5.0]]), 5, 9)
    messages = " | ".join(str(entry.message) for entry in seen)
    assert "3 samples give 3 neighbourhood(s) with distinct outputs, fewer than n_neighborhoods=5" in messages
    assert (
        "3 samples give 3 neighbourhood(s), 3 of them with fewer than n_references=9 references, the smallest with 1"
        in messages
    )
    assert [d.tolist() for d in fitted.density] == [[1.0]] * 3


class Images(Dataset):
    """Two inputs and a label for each sample; counts how often a sample is read."""

    def __init__(self):
        self.reads = []

    def __len__(self):
        return len(GROUPS)

    def __getitem__(self, index):
        self.reads.append(index)
        return GROUPS[index], GROUPS[index] * 2, index


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(row, row * 2, 0) for row in GROUPS])


def two_inputs(a, b):
    return a + b


SOURCES = {
    "tuple of tensors": lambda: (GROUPS, GROUPS * 2),
    "data set": Images,
    "iterable data set": Stream,
    "list of batches": lambda: [(GROUPS[:5], GROUPS[:5] * 2), [GROUPS[5:], GROUPS[5:] * 2, torch.zeros(7)]],
    "data loader": lambda: DataLoader(TensorDataset(GROUPS, GROUPS * 2, torch.zeros(12)), batch_size=5),
}


@pytest.mark.parametrize("source", SOURCES)
def test_samples_of_every_origin_give_the_same_references(source):
    expected = ReferenceDistribution.fit(two_inputs, SOURCES["tuple of tensors"](), 3, 2)
    fitted = ReferenceDistribution.fit(two_inputs, SOURCES[source](), 3, 2, n_inputs=2)
    for one, other in zip(fitted.references, expected.references, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(fitted.centers, expected.centers)


def test_a_data_set_is_read_once_for_outputs_and_then_only_where_references_are():
    samples = Images()
    ReferenceDistribution.fit(two_inputs, samples, 3, 1, n_inputs=2)
    assert samples.reads[:12] == list(range(12))
    assert len(samples.reads) == 15


def test_a_shuffling_loader_is_found_out_at_the_second_reading():
    loader = DataLoader(TensorDataset(GROUPS), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(1))
    with pytest.raises(ArgumentError, match="`samples` to be the same at every reading .* got another sample"):
        ReferenceDistribution.fit(identity, loader, 3, 2)


def test_a_shuffling_loader_is_found_out_although_the_outputs_share_a_large_offset():
    loader = DataLoader(TensorDataset(GROUPS), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(1))
    with pytest.raises(ArgumentError, match="`samples` to be the same at every reading"):
        ReferenceDistribution.fit(lambda x: x + 1e4, loader, 3, 2)


@pytest.mark.parametrize("source", ["tensor", *SOURCES])
def test_the_fit_repeats_itself_and_leaves_all_random_states_alone(source):
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    if source == "tensor":
        first, second = (ReferenceDistribution.fit(identity, GROUPS, 3, 2, seed=5) for _ in range(2))
        assert equal(first, second)
    else:
        ReferenceDistribution.fit(two_inputs, SOURCES[source](), 3, 2, n_inputs=2)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]  # noqa: NPY002


def test_large_sample_sets_go_through_mini_batches(monkeypatch):
    monkeypatch.setattr("captum_ext.references.clustering._EXACT_UP_TO", 10)
    fitted = ReferenceDistribution.fit(identity, GROUPS, 3, 1)
    assert sorted(fitted.centers.flatten().tolist()) == pytest.approx([0.15, 50.05, 90.25], abs=0.2)


def test_progress_is_shown_on_request(capsys):
    ReferenceDistribution.fit(identity, GROUPS, 1, 2, show_progress=True)
    assert "outputs of samples: 100%" in capsys.readouterr().err


def test_a_model_in_half_precision_or_with_structured_outputs_is_fitted():
    fitted = ReferenceDistribution.fit(lambda x: torch.stack([x, -x], 1), GROUPS.half(), 3, 1)
    assert fitted.centers.shape == (3, 2)
    assert fitted.centers.dtype == torch.float32
    assert fitted.references[0].dtype == torch.float16


BAD = [
    (torch.zeros(1, 2), ArgumentError, "`samples` to be at least two samples, but got 1"),
    (torch.zeros(0, 2), ArgumentError, "`samples` to be at least two samples, but got none"),
    ([], ArgumentError, "`samples` to be at least two samples, but got none"),
    (TensorDataset(torch.zeros(0, 2)), ArgumentError, "`samples` to be at least two samples, but got none"),
    (TensorDataset(torch.zeros(1, 2)), ArgumentError, "`samples` to be at least two samples, but got 1"),
    (iter([torch.zeros(2, 2)]), ArgumentTypeError, "can be read twice"),
    (7, ArgumentTypeError, "a tensor, a Dataset or an iterable of batches"),
    ([{"image": 1}], ArgumentTypeError, "elements that are tensors, or start with 1 of them, but got dict"),
    (["ab"], ArgumentTypeError, "elements that are tensors"),
    (torch.tensor([[0.0], [float("nan")]]), NonFiniteError, "`samples` to be finite, but got NaN in row 1"),
    (torch.ones(4, 1, dtype=torch.int64), ArgumentTypeError, "of a floating point dtype"),
]


@pytest.mark.parametrize(("samples", "error", "message"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_samples_that_cannot_be_used_are_named(samples, error, message):
    with pytest.raises(error, match=message):
        ReferenceDistribution.fit(identity, samples)


def test_a_data_set_of_arrays_is_read_as_torch_collates_it():
    class Arrays(Images):
        def __getitem__(self, index):
            return GROUPS[index].numpy()

    fitted = ReferenceDistribution.fit(identity, Arrays(), 3, 1)
    assert torch.equal(fitted.centers, ReferenceDistribution.fit(identity, GROUPS, 3, 1).centers)


def test_nan_in_a_data_set_is_named_by_its_sample_number():
    samples = torch.zeros(200, 2)
    samples[150] = float("nan")
    with pytest.raises(NonFiniteError, match=r"NaN in row 150 \(1 of 64 rows affected\)"):
        ReferenceDistribution.fit(identity, TensorDataset(samples))


def test_references_are_detached_and_on_the_cpu():
    fitted = ReferenceDistribution.fit(identity, TensorDataset(GROUPS.clone().requires_grad_()), 3, 1)
    assert not any(references.requires_grad for references in fitted.references)


class Fails(Images):
    def __getitem__(self, index):
        raise TypeError("the data set's own error")


def test_an_error_of_the_data_set_itself_comes_out_as_it_is():
    with pytest.raises(TypeError, match="the data set's own error"):
        ReferenceDistribution.fit(identity, Fails())


HALVES = [torch.tensor([0.5, 0.5])]
MADE = [
    (([torch.zeros(2, 1)], [], torch.zeros(1, 1)), ArgumentError, "got 1 sets, 0 densities, .* centres"),
    (([torch.zeros(3, 1)], HALVES, torch.zeros(1, 1)), ArgumentError, "one number for each of the 3 references"),
    (([torch.zeros(2, 1)], [HALVES[0] * 2], torch.zeros(1, 1)), ArgumentError, "sum to one, but got a sum of 2.0"),
    (([torch.full((2, 1), float("nan"))], HALVES, torch.zeros(1, 1)), NonFiniteError, "`references.0.` to be finite"),
    (([torch.zeros(2, 1)], HALVES, torch.full((1, 1), float("inf"))), NonFiniteError, "`centers` to be finite"),
]


@pytest.mark.parametrize(("parts", "error", "message"), MADE, ids=[str(i) for i in range(len(MADE))])
def test_a_distribution_made_by_hand_is_checked(parts, error, message):
    with pytest.raises(error, match=message):
        ReferenceDistribution(*parts)


class Objects(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return object()


def test_elements_that_are_no_tensors_are_named_with_what_torch_says():
    with pytest.raises(ArgumentTypeError, match="elements that are tensors, or start with them, .*default_collate"):
        ReferenceDistribution.fit(identity, Objects())


def test_models_and_numbers_that_do_not_fit_are_named():
    with pytest.raises(ModelOutputError, match="one row for each of the 12 rows"):
        ReferenceDistribution.fit(lambda x: x.sum(), GROUPS)
    with pytest.raises(NonFiniteError, match=r"`forward_func\(samples\)` to be finite"):
        ReferenceDistribution.fit(lambda x: x / 0, GROUPS)
    for name in ("n_neighborhoods", "n_references", "n_inputs"):
        with pytest.raises(ArgumentError, match=f"`{name}` to be an integer of at least 1, but got 0"):
            ReferenceDistribution.fit(identity, GROUPS, **{name: 0})


def test_a_distribution_can_be_pickled_and_shows_its_counts():
    fitted = ReferenceDistribution.fit(identity, GROUPS, 3, 2)
    assert equal(pickle.loads(pickle.dumps(fitted)), fitted)
    assert repr(fitted).startswith("ReferenceDistribution(3 neighbourhoods with [2, 2, 2] references")


def test_token_ids_are_fitted_on_request_saved_and_loaded(tmp_path):
    model = torch.nn.Embedding.from_pretrained(torch.arange(6.0).reshape(6, 1))
    ids = torch.tensor([[0], [0], [5]])
    fitted = ReferenceDistribution.fit(lambda x: model(x).sum(1), ids, n_references=2, token_ids=True)
    assert fitted.references[0].flatten().sort().values.tolist() == [0, 5]
    assert fitted.references[0].dtype == torch.int64
    fitted.save(tmp_path / "ids.safetensors")
    loaded = ReferenceDistribution.load(tmp_path / "ids.safetensors")
    assert torch.equal(loaded.references[0], fitted.references[0])
    with pytest.raises(ArgumentError, match="`samples` to be of ids from 0 to 5, those of the embedding '', but got 6"):
        ReferenceDistribution.fit(model, ids + 1, token_ids=True)
