"""What layers refuse, and in which words."""

import captum.attr
import pytest
import torch
from torch import nn

from captum_ext import on_nonfinite
from captum_ext.attr import (
    EG,
    LayerEG,
    LayerIntegratedGradients,
    LayerLPI,
    LayerWeightedIG,
    NeuronEG,
    NeuronIntegratedGradients,
)
from captum_ext.exceptions import (
    ArgumentError,
    ArgumentsConflictError,
    ArgumentTypeError,
    ModelOutputError,
    NonFiniteError,
)
from captum_ext.references import ReferenceDistribution
from tests.attr.layer_models import Branches, Images, Words, made
from tests.core.entries import numbers

IDS, OTHERS = torch.tensor([[1, 2, 3], [5, 4, 3]]), torch.tensor([[6, 7, 8], [10, 11, 0]])


@pytest.fixture
def model():
    return made(Words)


def test_a_layer_that_is_not_in_the_model_is_named(model):
    with pytest.raises(
        ArgumentError, match=r"`layer` to be a module of the model, but got Linear, which is none of it"
    ):
        LayerEG(model, nn.Linear(2, 2), references=OTHERS).attribute(IDS, target=1)
    with pytest.raises(ArgumentError, match=r"`layer` to be a module of the model, but got Linear"):
        NeuronIntegratedGradients(made(Images), nn.Linear(2, 2)).attribute(numbers(1, 2, 6, 6).double(), 1)


def test_a_layer_that_is_not_reached_is_named(model):
    model.spare = nn.Linear(2, 2)
    with pytest.raises(
        ArgumentError, match=r"one that forward_func runs, but got Linear 'spare', which it does not rea"
    ):
        LayerEG(model, model.spare, references=OTHERS).attribute(IDS, target=1)
    with pytest.raises(ArgumentError, match=r"Linear 'head', which it does not reach"):
        LayerEG(lambda ids: model.embed(ids).sum(1) @ model.head.weight.T[:4], model.head, references=OTHERS).attribute(
            IDS, target=1
        )


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return self.layer(x) * self.layer(x.flip(1))


def test_a_layer_that_runs_twice_is_refused_where_captum_puts_the_last_run_in_place_of_both():
    model, x = made(Twice), numbers(2, 3).double()
    theirs, delta = captum.attr.LayerIntegratedGradients(model, model.layer).attribute(
        x, target=1, return_convergence_delta=True
    )
    assert theirs.shape == (2, 3)
    assert bool((delta.abs() > 1e-3).any())
    with pytest.raises(
        ArgumentError, match=r"that the model runs once in a pass, but got Linear 'layer', which it runs"
    ):
        LayerIntegratedGradients(model, model.layer).attribute(x, target=1)
    with pytest.raises(ArgumentError, match="runs once in a pass"):
        NeuronIntegratedGradients(model, model.layer).attribute(x, 1)


def test_layers_that_depend_on_each_other_are_refused(model):
    with pytest.raises(
        ArgumentError, match=r"layers that do not depend on each other .* got Embedding 'embed', which no"
    ):
        LayerEG(model, [model.embed, model.recurrent], references=OTHERS).attribute(IDS, target=1)


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ("embed", ArgumentTypeError, "a module of the model or a list of modules, but got str 'embed'"),
        ([], ArgumentError, r"a non-empty list of different modules, but got list \[\]"),
        ([nn.Linear(1, 1), 3], ArgumentTypeError, "a module of the model or a list of modules"),
    ],
)
def test_what_is_no_layer_is_refused_at_once(model, layer, error, message):
    with pytest.raises(error, match=message):
        LayerEG(model, layer, references=OTHERS)


def test_a_neuron_has_one_layer(model):
    with pytest.raises(ArgumentTypeError, match="`layer` to be a module of the model, but got list"):
        NeuronEG(model, [model.embed])


def test_the_same_layer_twice_is_refused(model):
    with pytest.raises(ArgumentError, match="a non-empty list of different modules"):
        LayerEG(model, [model.embed, model.embed])


class Split(nn.DataParallel):
    """As if there were two devices."""

    def __init__(self, module):
        super().__init__(module)
        self.device_ids = [0, 1]


def test_models_on_several_devices_are_refused(model):
    with pytest.raises(
        ArgumentError, match=r"`forward_func` to be a model on one device .* DataParallel on devices \[0, 1"
    ):
        LayerEG(Split(model), model.embed, references=OTHERS)
    with pytest.raises(ArgumentError, match="`device_ids` to be None or one device"):
        NeuronEG(model, model.embed, [0, 1])
    assert LayerEG(model, model.embed, [0]).device_ids == [0]


# References and inputs


@pytest.mark.parametrize("kind", [LayerEG, LayerLPI, LayerWeightedIG])
def test_references_of_another_kind_than_the_inputs_are_refused(model, kind):
    with pytest.raises(
        ArgumentTypeError, match=r"`references` to be token ids \(integers\), as the inputs are, but got"
    ):
        kind(model, model.embed, references=OTHERS.double()).attribute(IDS, target=1)
    images = made(Images)
    ids = torch.zeros(2, 2, 6, 6, dtype=torch.long)
    with pytest.raises(
        ArgumentTypeError, match="`references` to be numbers of a floating point dtype, as the inputs are"
    ):
        kind(images, images.first, references=ids).attribute(numbers(2, 2, 6, 6).double(), target=1)


def test_references_of_a_function_or_a_distribution_are_of_the_inputs_kind_too(model):
    with pytest.raises(ArgumentTypeError, match=r"`references\(inputs\)` to be token ids"):
        LayerEG(model, model.embed, references=lambda ids: ids[:, None].double()).attribute(IDS, target=1)
    fitted = ReferenceDistribution.fit(lambda x: model(x.long()), OTHERS.double(), n_references=2)
    with pytest.raises(ArgumentTypeError, match="`references` to be token ids"):
        LayerLPI(model, model.embed, references=fitted).attribute(IDS, target=1)


def test_references_of_another_shape_or_number_are_refused(model):
    with pytest.raises(ArgumentError, match=r"`references` to be of shape \(K, 3\)"):
        LayerEG(model, model.embed, references=OTHERS[:, :2]).attribute(IDS, target=1)
    branches = made(Branches)
    with pytest.raises(ArgumentError, match=r"a tuple of 2 tensor\(s\) like the inputs"):
        LayerEG(branches, branches.left, references=numbers(2, 3).double()).attribute(
            (numbers(2, 3).double(), numbers(2, 2).double()), target=1
        )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int16])
def test_integers_that_are_no_token_ids_are_refused(model, dtype):
    with pytest.raises(ArgumentTypeError, match=r"`references` .* or token ids \(int64 or int32\), but got"):
        LayerEG(model, model.embed, references=OTHERS.to(dtype))
    with pytest.raises(ArgumentTypeError, match=r"`inputs` .* or token ids \(int64 or int32\), but got"):
        LayerEG(model, model.embed, references=OTHERS).attribute(IDS.to(dtype), target=1)


def test_the_plain_methods_take_no_token_ids(model):
    with pytest.raises(
        ArgumentTypeError, match=r"`references` to be of a floating .* 16 bits; token ids have no gradient"
    ):
        EG(model, references=OTHERS)
    with pytest.raises(ArgumentTypeError, match="`inputs` to be of a floating point dtype"):
        NeuronEG(model, model.head).attribute(IDS, 1)


def test_int32_ids_beside_int64_references_are_fine_unless_they_do_not_fit(model):
    expected = LayerEG(model, model.embed, references=OTHERS).attribute(IDS, target=1, method="gausslegendre")
    eg = LayerEG(model, model.embed, references=OTHERS)
    torch.testing.assert_close(eg.attribute(IDS.int(), target=1, method="gausslegendre"), expected)
    with pytest.raises(ArgumentError, match=r"`references` to be ids up to 2,147,483,647, which torch.int32"):
        LayerEG(model, model.embed, references=OTHERS + 2**32).attribute(IDS.int(), target=1)


@pytest.mark.parametrize("wrong", [12, -1])
def test_ids_out_of_range_are_named_with_their_argument_and_their_embedding(model, wrong):
    message = rf"of ids from 0 to 11, those of the embedding 'embed', but got {wrong}\."
    bad = OTHERS.clone()
    bad[1, 2] = wrong
    with pytest.raises(ArgumentError, match="`inputs` to be " + message):
        LayerEG(model, model.embed, references=OTHERS).attribute(bad, target=1)
    for kind in (LayerEG, LayerLPI, LayerWeightedIG):
        with pytest.raises(ArgumentError, match="`references` to be " + message):
            kind(model, model.embed, references=bad).attribute(IDS, target=1)
    with pytest.raises(ArgumentError, match="`samples` to be " + message):
        ReferenceDistribution.fit(model, bad, token_ids=True)
    if wrong > 0:
        with pytest.raises(ArgumentError, match="`baselines` to be " + message):
            LayerEG(model, model.embed, references=OTHERS).attribute(IDS, wrong, target=1)
    with pytest.raises(ArgumentError, match="'positions', but got 8"):
        LayerEG(model, model.embed, references=OTHERS).attribute(torch.ones(1, 9, dtype=torch.long), 0, target=1)
    hooks = [len(part._forward_pre_hooks) for part in model.modules()]
    assert not any(hooks)


@pytest.mark.parametrize(
    ("baselines", "error"),
    [
        (0.5, ArgumentTypeError),
        (0.0, ArgumentTypeError),
        (-1, ArgumentError),
        (2**70, ArgumentError),
        (torch.zeros(1, 3), ArgumentTypeError),
        (torch.zeros(1, 2, dtype=torch.long), ArgumentError),
    ],
)
def test_baselines_of_token_ids_are_token_ids(model, baselines, error):
    with pytest.raises(error, match="`baselines` to be"):
        LayerIntegratedGradients(model, model.embed).attribute(IDS, baselines, target=1)


def test_weighted_gradients_of_token_ids_need_references(model):
    with pytest.raises(
        ArgumentError, match="`references` to be given where inputs are token ids, which have no standard"
    ):
        LayerWeightedIG(model, model.embed).attribute(IDS, target=1)


def test_methods_without_references_warn_once_and_start_from_token_zero(model):
    eg = LayerEG(model, model.embed)
    with pytest.warns(UserWarning, match="ExpectedGradients has no references and acts as IntegratedGradients"):
        actual = eg.attribute(IDS, target=1)
    torch.testing.assert_close(actual, LayerIntegratedGradients(model, model.embed).attribute(IDS, target=1))


# Layers without rows, numbers or influence


def test_layers_that_have_no_row_for_each_input_are_refused(model):
    with pytest.raises(
        ArgumentError, match="whose activations have one row for each row of the inputs, but got tensors of"
    ):
        LayerEG(model, model.positions, references=OTHERS).attribute(IDS, target=1)


def test_layers_without_floating_tensors_are_refused(model):
    with pytest.raises(ArgumentError, match=r"one that gives \(or takes\) floating tensors, but got tuple"):
        LayerEG(model, model.embed, references=OTHERS).attribute(IDS, target=1, attribute_to_layer_input=True)


class Interleaved(nn.Module):
    """Time first, and then flat: entries of one row are apart."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        flat = self.layer(x.transpose(0, 1).reshape(-1, 3))
        return self.head(flat.reshape(x.shape[1], x.shape[0], 4).tanh().sum(0))


def test_layers_whose_entries_cannot_be_told_apart_are_refused():
    model, x = made(Interleaved), numbers(2, 5, 3).double()
    with pytest.raises(ArgumentError, match="of which it cannot be said which entries belong to which row"):
        LayerEG(model, model.layer, references=x * 2).attribute(x, target=1)


def test_one_row_at_a_time_is_refused_where_rows_have_to_be_looked_for(model):
    eg = LayerEG(model, model.recurrent, references=OTHERS)
    with pytest.raises(
        ArgumentError, match="`internal_batch_size` to be at least 2 for a layer that may not have its rows"
    ):
        eg.attribute(IDS, target=1, internal_batch_size=1)


def test_arguments_of_unknown_role_are_named_where_rows_have_to_be_looked_for(model):
    def forward(ids, weights):
        return model(ids) * weights

    weights = torch.tensor([1.0, 2.0, 3.0]).double()
    expected = LayerEG(model, model.embed, references=OTHERS).attribute(IDS, target=1, method="gausslegendre")
    eg = LayerEG(forward, model.embed, references=OTHERS)
    actual = eg.attribute(IDS, target=1, additional_forward_args=weights, method="gausslegendre")
    torch.testing.assert_close(actual, 2 * expected)
    with pytest.raises(
        ArgumentError, match=r"wrapped in captum_ext.Shared, where the rows of a layer have to be looked"
    ):
        LayerEG(forward, model.recurrent, references=OTHERS).attribute(IDS, target=1, additional_forward_args=weights)


def test_a_layer_on_which_the_score_does_not_depend_is_an_error(model):
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.aside = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            self.aside(x)
            return self.used(x)

    aside, x = made(Aside), numbers(2, 3).double()
    with pytest.raises(ModelOutputError, match="does not depend on"):
        LayerEG(aside, aside.aside, references=x * 2).attribute(x, target=1)


def test_activations_that_move_the_score_without_a_gradient_are_an_error():
    class Rounds(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x):
            return self.left(x).sum(1) + (10 * self.right(x)).detach().round().sum(1)

    model, x = made(Rounds), numbers(2, 3).double()
    both = nn.ModuleList([model.left, model.right])
    with pytest.raises(ArgumentError, match=r"Linear 'right', which no longer matters"):
        LayerEG(model, list(both), references=x * 2).attribute(x)

    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x):
            return self.layer(x), 2 * self.layer(x) if False else self.layer.weight.sum(1) * x[:, :1]

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def forward(self, x):
            one, other = self.pair(x)
            return one.sum(1) + (10 * other).detach().round().sum(1)

    outer = made(Outer)
    with pytest.raises(
        ModelOutputError, match=r"moves with activations\[1\], but no gradient .* Explain a layer behind"
    ):
        LayerEG(outer, outer.pair, references=x * 2).attribute(x)


# Numbers


def test_activations_that_are_not_finite_are_named_or_left_out():
    class Roots(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Softplus(), nn.Linear(3, 2)

        def forward(self, x):
            return self.head(self.layer(x.sqrt()))

    model, x = made(Roots), torch.tensor([[1.0, 2.0, 3.0], [4.0, -1.0, 1.0]]).double()
    good = torch.ones(2, 3).double()
    eg = LayerEG(model, model.layer, references=good)
    with pytest.raises(NonFiniteError, match="`activations` to be finite, but got NaN in row 1"):
        eg.attribute(x, target=1)
    with pytest.raises(NonFiniteError, match="`references` to be finite, but got NaN in row 0"):
        LayerEG(model, model.layer, references=-good).attribute(x[:1], target=1)
    with on_nonfinite("nan"):
        maps = eg.attribute(x, target=1, method="gausslegendre")
    torch.testing.assert_close(maps[:1], eg.attribute(x[:1], target=1, method="gausslegendre"))
    assert bool(maps[1].isnan().all())


def test_arguments_are_checked_as_at_the_inputs(model):
    eg = LayerEG(model, model.embed, references=OTHERS)
    for wrong, error, message in (
        ({"n_steps": 0}, ArgumentError, "`n_steps` to be an integer of at least 1"),
        ({"method": "simpson"}, ArgumentError, "`method` to be one of"),
        ({"tol": 0.1}, ArgumentsConflictError, 'only "adaptive" stops early'),
        ({"target": 9}, ArgumentError, "`target` to be an index from 0 to 2"),
        ({"attribute_to_layer_input": 1}, ArgumentTypeError, "`attribute_to_layer_input` to be True or False"),
        ({"internal_batch_size": 0}, ArgumentError, "`internal_batch_size` to be an integer of at least 1"),
    ):
        with pytest.raises(error, match=message):
            eg.attribute(IDS, **{"target": 1, **wrong})
