"""Methods at layers: against literal versions, against Captum, against the same method at the inputs."""

import copy
import pickle
import warnings

import captum.attr
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_ext import Shared
from captum_ext.attr import (
    EG,
    LPI,
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LayerEG,
    LayerExpectedGradients,
    LayerImportantDirectionIG,
    LayerIntegratedGradients,
    LayerLocalPathIntegration,
    LayerLPI,
    LayerWeightedIG,
    LayerWeightedIntegratedGradients,
    LocalPathIntegration,
    WeightedIG,
    WeightedIntegratedGradients,
)
from captum_ext.references import ReferenceDistribution
from tests.attr.layer_models import (
    Attentive,
    Branches,
    Images,
    Words,
    activation,
    layer_directions,
    layer_gradients,
    made,
)
from tests.core.entries import numbers

IDS = torch.tensor([[1, 2, 3, 4], [5, 4, 3, 11], [0, 0, 9, 7]])
OTHERS = torch.tensor([[6, 7, 8, 9], [10, 11, 0, 1]])
SCALE = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def by_rows(model, layer, inputs, references, weights, target, n_steps, **options):
    return torch.cat(
        [layer_gradients(model, layer, x, references, weights, target, n_steps, **options) for x in inputs]
    )


# Against the formula


@given(
    n_rows=st.integers(1, 3),
    n_references=st.integers(1, 2),
    n_steps=st.integers(1, 6),
    limit=st.one_of(st.none(), st.integers(1, 20)),
    target=st.integers(0, 2),
)
def test_expected_gradients_at_an_embedding_equal_the_literal_loop(n_rows, n_references, n_steps, limit, target):
    model, references = made(Words), OTHERS[:n_references]
    shares = [1 / n_references] * n_references
    expected = by_rows(model, model.embed, IDS[:n_rows], references, shares, target, n_steps)
    eg = LayerExpectedGradients(model, model.embed, references=references)
    options = {"target": target, "n_steps": n_steps, "method": "gausslegendre", "internal_batch_size": limit}
    torch.testing.assert_close(eg.attribute(IDS[:n_rows], **options), expected, **CLOSE)


@pytest.mark.parametrize("at_input", [False, True])
@pytest.mark.parametrize("name", ["first", "relu", "second"])
def test_image_layers_equal_the_literal_loop_with_layers_in_place_and_ways_around(name, at_input):
    model, x, references = made(Images), numbers(2, 2, 6, 6).double(), numbers(3, 2, 6, 6).double().flip(2)
    layer = getattr(model, name)
    expected = by_rows(model, layer, x, references, [1 / 3] * 3, 1, 5, at_input=at_input)
    eg = LayerExpectedGradients(model, layer, references=references)
    actual = eg.attribute(x, target=1, n_steps=5, method="gausslegendre", attribute_to_layer_input=at_input)
    torch.testing.assert_close(actual, expected, **CLOSE)


@pytest.mark.parametrize("limit", [None, 1, 2, 5])
def test_forward_arguments_follow_their_rows_and_references_get_those_of_the_row(limit):
    model = made(Words)
    each = [
        layer_gradients(model, model.embed, x, OTHERS, [0.5, 0.5], 2, 4, arguments=(SCALE[i : i + 1],))
        for i, x in enumerate(IDS)
    ]
    eg = LayerExpectedGradients(model, model.embed, references=OTHERS)
    options = {"target": 2, "n_steps": 4, "method": "gausslegendre", "internal_batch_size": limit}
    actual, delta = eg.attribute(IDS, additional_forward_args=SCALE, return_convergence_delta=True, **options)
    torch.testing.assert_close(actual, torch.cat(each), **CLOSE)
    with torch.no_grad():
        differences = (model(IDS) - model(OTHERS).mean(0))[:, 2] * SCALE
    torch.testing.assert_close(actual.sum((1, 2)) - delta, differences)


def test_local_path_integration_weighs_the_references_of_the_neighbourhood_of_the_models_outputs():
    model, samples = made(Words), torch.arange(48).reshape(12, 4) % 12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = ReferenceDistribution.fit(model, samples, n_neighborhoods=2, n_references=3, token_ids=True)
    with torch.no_grad():
        neighborhoods = fitted.assign(model(IDS)).tolist()
    each = [
        layer_gradients(model, model.embed, x, fitted.references[place], fitted.density[place].double(), 0, 5)
        for x, place in zip(IDS, neighborhoods, strict=True)
    ]
    lpi = LayerLocalPathIntegration(model, model.embed, references=fitted)
    actual = lpi.attribute(IDS, target=0, n_steps=5, method="gausslegendre")
    torch.testing.assert_close(actual, torch.cat(each), rtol=1e-6, atol=1e-9)  # densities are float32


def test_important_directions_at_a_layer_equal_the_literal_loop_and_are_complete():
    model = made(Words)
    idgi = LayerImportantDirectionIG(model, model.embed)
    actual, delta = idgi.attribute(IDS, baselines=OTHERS[:1], target=1, n_steps=7, return_convergence_delta=True)
    each = [layer_directions(model, model.embed, x, OTHERS[0], 1, 7) for x in IDS]
    torch.testing.assert_close(actual, torch.cat(each), **CLOSE)
    torch.testing.assert_close(delta, torch.zeros(3).double(), rtol=0, atol=1e-14)


def test_weighted_gradients_at_a_layer_are_those_of_the_model_from_the_layer_on():
    model, references = made(Branches), (numbers(3, 3).double(), numbers(3, 2).double())
    x = (numbers(2, 3).double() + 1, numbers(2, 2).double())

    def from_left(left, right):
        return model.head(torch.cat([left.tanh(), right.sigmoid()], 1)).square()

    wg = LayerWeightedIntegratedGradients(model, [model.left, model.right], references=references, score="logit")
    with torch.no_grad():
        inside = tuple(layer(value) for layer, value in zip((model.left, model.right), x, strict=True))
        starts = tuple(layer(value) for layer, value in zip((model.left, model.right), references, strict=True))
    plain = WeightedIntegratedGradients(from_left, references=starts, score="logit")
    options = {"target": 1, "n_steps": 6, "method": "riemann_middle", "return_convergence_delta": True}
    (actual, delta), (expected, expected_delta) = wg.attribute(x, **options), plain.attribute(inside, **options)
    torch.testing.assert_close(tuple(actual), expected, **CLOSE)
    torch.testing.assert_close(delta, expected_delta, **CLOSE)


# Against Captum


@pytest.mark.parametrize("method", ["gausslegendre", "riemann_trapezoid", "riemann_left"])
@pytest.mark.parametrize("at_input", [False, True])
@pytest.mark.parametrize("name", ["first", "second", "head"])
def test_integrated_gradients_have_captums_numbers_and_delta(name, at_input, method):
    model, x, baseline = made(Images), numbers(2, 2, 6, 6).double(), numbers(1, 2, 6, 6).double() * 0.3
    model.relu.inplace = False  # Captum's fails before a layer in place
    layer = getattr(model, name)
    options = {"baselines": baseline, "target": torch.tensor([2, 0]), "n_steps": 6, "method": method}
    options |= {"return_convergence_delta": True, "attribute_to_layer_input": at_input}
    expected, expected_delta = captum.attr.LayerIntegratedGradients(model, layer).attribute(x, **options)
    for limit in (None, 1, 3):
        ours = LayerIntegratedGradients(model, layer)
        actual, delta = ours.attribute(x, internal_batch_size=limit, **options)
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(delta, expected_delta, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", [LayerEG, LayerWeightedIG])
def test_a_single_reference_gives_captums_layer_integrated_gradients(kind):
    model = made(Words)
    zero = torch.zeros(1, 4, dtype=torch.long)
    theirs = captum.attr.LayerIntegratedGradients(model, model.embed)
    expected = theirs.attribute(IDS, zero, target=1, n_steps=9)
    actual = kind(model, model.embed, references=zero).attribute(IDS, target=1, n_steps=9)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(LayerIntegratedGradients(model, model.embed).attribute(IDS, target=1, n_steps=9), actual)


def test_several_layers_have_captums_numbers_in_captums_form():
    model, x = made(Branches), (numbers(3, 3).double(), numbers(3, 2).double())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum asks to check that layers are independent
        theirs = captum.attr.LayerIntegratedGradients(model, [model.left, model.right])
    expected = theirs.attribute(x, target=1, n_steps=8)
    actual = LayerIntegratedGradients(model, [model.left, model.right]).attribute(x, target=1, n_steps=8)
    assert isinstance(actual, list)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-9)
    alone = LayerIntegratedGradients(model, [model.left]).attribute(x, target=1, n_steps=8)
    assert isinstance(alone, list)
    assert alone[0].shape == (3, 4)


# Against the same method at the inputs


@pytest.mark.parametrize("method", [None, "gausslegendre", "stratified", "adaptive"])
def test_a_method_at_the_input_of_the_first_layer_is_the_method_at_the_inputs(method):
    model, x, samples = made(Images), numbers(2, 2, 6, 6).double(), numbers(6, 2, 6, 6).double().flip(1)
    distribution = ReferenceDistribution.fit(model, samples, n_references=3)
    options = {"target": 1, "n_steps": 9, "method": method, "return_convergence_delta": True}
    pairs = (
        (LPI(model, references=distribution), LayerLPI(model, model.first, references=distribution)),
        (LPI(model, references=samples), LayerLPI(model, model.first, references=samples)),
        (EG(model, references=samples), LayerEG(model, model.first, references=samples)),
        (WeightedIG(model, references=samples), LayerWeightedIG(model, model.first, references=samples)),
        (WeightedIG(model), LayerWeightedIG(model, model.first)),
    )
    for plain, at_layer in pairs:
        generators = [{"generator": torch.Generator().manual_seed(3)} for _ in range(2)]
        expected = plain.attribute(x, **options, **generators[0])
        actual = at_layer.attribute(x, attribute_to_layer_input=True, **options, **generators[1])
        for one, other in zip(actual, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


def test_other_options_mean_what_they_mean_at_the_inputs():
    model, x, samples = made(Images), numbers(2, 2, 6, 6).double(), numbers(6, 2, 6, 6).double().flip(1)
    plain = ExpectedGradients(model, False, references=samples)
    at_layer = LayerExpectedGradients(model, model.first, multiply_by_inputs=False, references=samples)
    assert not at_layer.multiplies_by_inputs
    for options in (
        {"method": "adaptive", "tol": 0.01, "n_steps": 40, "return_n_gradients": True},
        {"method": "gausslegendre", "n_steps": 4, "baselines": 0.5, "return_n_gradients": True},
    ):
        expected = plain.attribute(x, target=2, **options)
        actual = at_layer.attribute(x, target=2, attribute_to_layer_input=True, **options)
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-9)


def test_baselines_are_evaluated_at_a_layer_as_at_the_inputs_that_pass_through_it():
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double().eval()
    model = nn.Sequential(nn.Identity(), head)
    x, references = torch.rand(3, 4, dtype=torch.float64), torch.rand(4, 4, dtype=torch.float64)
    options = {"target": 1, "n_steps": 8, "method": "gausslegendre"}
    settings = {"references": references, "score": "logit", "rtol": 0}
    expected = WeightedIG(head, **settings).evaluate_baselines(x, **options)
    at_layer = LayerWeightedIG(model, model[0], **settings)
    found = at_layer.evaluate_baselines(x, **options)
    torch.testing.assert_close(found.weights, expected.weights)
    assert found.n_removed.tolist() == expected.n_removed.tolist()
    assert found.informative.tolist() == expected.informative.tolist()
    torch.testing.assert_close(found.attributions, expected.attributions)
    torch.testing.assert_close(found.attributions, at_layer.attribute(x, **options))
    behind = LayerWeightedIG(model, head, **settings).evaluate_baselines(x, attribute_to_layer_input=True, **options)
    torch.testing.assert_close(behind.attributions, expected.attributions)


@pytest.mark.parametrize("kind", [LayerEG, LayerLPI, LayerWeightedIG])
@pytest.mark.parametrize("name", ["embed", "recurrent", "mix"])
def test_layers_that_every_way_leads_through_are_complete(kind, name):
    model = made(Words)
    method = kind(model, getattr(model, name), references=OTHERS)
    _, delta, taken = method.attribute(
        IDS, target=0, n_steps=60, method="gausslegendre", return_convergence_delta=True, return_n_gradients=True
    )
    if name == "mix":  # the hidden state leads around it, and delta says how much
        assert bool((delta.abs() > 1e-6).all())
    else:
        torch.testing.assert_close(delta, torch.zeros(3).double(), rtol=0, atol=1e-12)
    assert taken.tolist() == [120] * 3


# Layers of every form


@pytest.mark.parametrize("n_rows", [1, 2, 3])
@pytest.mark.parametrize("batch_first", [True, False])
def test_the_tensors_of_a_recurrent_layer_keep_their_shapes_and_rows(batch_first, n_rows):
    model = made(Words, batch_first)
    eg = LayerExpectedGradients(model, model.recurrent, references=OTHERS)
    options = {"target": 1, "n_steps": 6, "method": "gausslegendre"}
    states, hidden, cell = eg.attribute(IDS[:n_rows], **options)
    assert states.shape == ((n_rows, 4, 5) if batch_first else (4, n_rows, 5))
    assert hidden.shape == cell.shape == (2, n_rows, 5)
    assert not bool(cell.any())  # the model does not use it
    row = 0 if batch_first else 1
    for i in range(n_rows):
        own = eg.attribute(IDS[i : i + 1], **options)
        torch.testing.assert_close(states.select(row, i), own[0].select(row, 0), **CLOSE)
        torch.testing.assert_close(hidden[:, i], own[1][:, 0], **CLOSE)
    for limit in (2, 3, 7):
        again = eg.attribute(IDS[:n_rows], internal_batch_size=limit, **options)
        torch.testing.assert_close(again, (states, hidden, cell), **CLOSE)


@pytest.mark.parametrize("n_rows", [1, 2, 3])
def test_a_layer_with_a_row_for_each_token_is_explained_row_by_row(n_rows):
    model = made(Words)
    eg = LayerExpectedGradients(model, model.mix, references=OTHERS)
    expected = by_rows(model, model.mix, IDS[:n_rows], OTHERS, [0.5, 0.5], 2, 4)
    actual = eg.attribute(IDS[:n_rows], target=2, n_steps=4, method="gausslegendre")
    assert actual.shape == (4 * n_rows, 5)
    torch.testing.assert_close(actual, expected, **CLOSE)


def test_rows_of_a_layer_are_found_in_half_precision_too():
    model, exact = made(Words).to(torch.bfloat16), made(Words)
    options = {"target": 1, "n_steps": 4, "method": "gausslegendre"}
    actual = LayerEG(model, model.mix, references=OTHERS).attribute(IDS, **options)
    expected = LayerEG(exact, exact.mix, references=OTHERS).attribute(IDS, **options)
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=0.05 * float(expected.abs().max()))


class Named(nn.Module):
    """A layer that is called by keyword and returns a dictionary, around an argument that is no number."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(3, 4)

    def forward(self, *, x, kind):
        assert kind == "tanh"
        return {"hidden": [self.inner(x).tanh()], "kind": kind, "mask": x > 0}


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.named, self.head = Named(), nn.Linear(4, 2)

    def forward(self, x):
        found = self.named(x=x, kind="tanh")
        return self.head(found["hidden"][0]).square()


def test_layers_that_are_called_by_keyword_and_return_dictionaries_are_explained():
    model, x, references = made(Outer), numbers(2, 3).double(), numbers(3, 3).double().flip(1)
    options = {"target": 1, "n_steps": 5, "method": "gausslegendre"}
    actual = LayerEG(model, model.named, references=references).attribute(x, **options)
    expected = by_rows(model, model.named.inner, x, references, [1 / 3] * 3, 1, 5)
    assert actual.shape == (2, 4)
    with torch.no_grad():
        inside, starts = model.named.inner(x).tanh(), model.named.inner(references).tanh()
    plain = EG(lambda hidden: model.head(hidden).square(), references=starts)
    torch.testing.assert_close(actual, plain.attribute(inside, **options), **CLOSE)
    assert not torch.allclose(actual, expected)  # straight in another space
    at_input = LayerEG(model, model.named, references=references).attribute(x, attribute_to_layer_input=True, **options)
    torch.testing.assert_close(at_input, EG(model, references=references).attribute(x, **options), **CLOSE)


@pytest.mark.parametrize(
    "name", ["encoder.layers.0", "encoder.layers.1.linear1", "encoder.layers.0.self_attn.out_proj"]
)
def test_layers_of_a_transformer_that_has_a_fused_form_are_explained(name):
    model = made(Attentive)
    if name.endswith("out_proj"):  # its weights are used, it is not run
        with pytest.raises(ValueError, match="'encoder.layers.0.self_attn.out_proj', which it does not reach"):
            LayerEG(model, model.get_submodule(name), references=OTHERS).attribute(IDS, target=1)
        return
    layer = model.get_submodule(name)
    eg = LayerEG(model, layer, references=OTHERS)
    actual = eg.attribute(IDS, target=1, n_steps=4, method="gausslegendre")
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        expected = by_rows(model, layer, IDS, OTHERS, [0.5, 0.5], 1, 4)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    torch.testing.assert_close(actual, expected, **CLOSE)


def test_a_transformer_with_padding_is_complete_and_the_switch_of_its_fused_form_is_as_before():
    model, padding = made(Attentive), IDS == 0
    options = {"target": 1, "n_steps": 40, "method": "gausslegendre", "additional_forward_args": padding}
    at_embedding, delta = LayerEG(model, model.embed, references=OTHERS).attribute(
        IDS[:2], return_convergence_delta=True, **{**options, "additional_forward_args": padding[:2]}
    )
    assert bool((delta.abs() < 1e-6).all())
    first = LayerEG(model, model.encoder.layers[0], references=OTHERS)
    at_first = first.attribute(
        IDS[:2], attribute_to_layer_input=True, **{**options, "additional_forward_args": padding[:2]}
    )
    torch.testing.assert_close(at_first, at_embedding, **CLOSE)
    assert torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(ValueError, match="`target`"):
        first.attribute(IDS[:2], **{**options, "target": 5, "additional_forward_args": padding[:2]})
    assert torch.backends.mha.get_fastpath_enabled()


def test_functions_around_a_model_and_data_parallel_on_a_cpu_are_explained():
    model = made(Words)
    expected = LayerEG(model, model.embed, references=OTHERS).attribute(IDS, target=1, method="gausslegendre")
    for forward in (lambda ids: model(ids), nn.DataParallel(model), model.forward):
        eg = LayerEG(forward, model.embed, references=OTHERS)
        torch.testing.assert_close(eg.attribute(IDS, target=1, method="gausslegendre"), expected)


def test_references_may_be_a_function_of_token_ids():
    model = made(Words)

    def masked(ids):  # each token in turn becomes token 0
        sets = ids[:, None].repeat(1, ids.shape[1], 1)
        sets[:, torch.arange(4), torch.arange(4)] = 0
        return sets

    eg = LayerEG(model, model.embed, references=masked)
    actual = eg.attribute(IDS, target=0, n_steps=4, method="gausslegendre")
    each = []
    for x in IDS:
        kept = [one for one in masked(x[None])[0] if not torch.equal(one, x)]
        each.append(layer_gradients(model, model.embed, x, kept, [1 / len(kept)] * len(kept), 0, 4))
    torch.testing.assert_close(actual, torch.cat(each), **CLOSE)


def test_what_all_rows_share_is_wrapped_as_at_the_inputs():
    model = made(Words)
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def forward(ids, given):
        return model(ids) * given

    eg = LayerEG(forward, model.embed, references=OTHERS)
    options = {"target": 1, "n_steps": 4, "method": "gausslegendre"}
    expected = 2 * LayerEG(model, model.embed, references=OTHERS).attribute(IDS, **options)
    torch.testing.assert_close(eg.attribute(IDS, additional_forward_args=Shared(weights), **options), expected)
    fitted = LayerLPI(forward, model.embed, references=OTHERS)
    assert fitted.attribute(IDS, additional_forward_args=Shared(weights), **options).shape == (3, 4, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_activations_in_lower_precision_give_float32_maps(dtype):
    expected = LayerEG(made(Words), (one := made(Words)).embed, references=OTHERS)
    expected = LayerEG(one, one.embed, references=OTHERS).attribute(IDS, target=1, method="gausslegendre", n_steps=5)
    model = made(Words).to(dtype)
    actual = LayerEG(model, model.embed, references=OTHERS).attribute(IDS, target=1, method="gausslegendre", n_steps=5)
    assert actual.dtype == torch.float32
    largest = float(expected.abs().max())
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=tolerance * largest)


# What is left behind


def state_of(model):
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]
    return hooks, flags, [m.training for m in model.modules()], [p.grad for p in model.parameters()]


def test_hooks_flags_and_random_state_are_as_before_after_errors_too():
    model = made(Words)
    before, random_state = state_of(model), torch.get_rng_state()
    eg = LayerEG(model, model.embed, references=OTHERS)
    eg.attribute(IDS, target=1, n_steps=3)
    for wrong in ({"target": 7}, {"target": 1, "n_steps": 0}):
        with pytest.raises(ValueError, match="target|n_steps"):
            eg.attribute(IDS, **wrong)
    calls = []

    def fails(ids):
        calls.append(len(ids))
        if len(calls) == 6:
            raise KeyError("the model's own error")
        return model(ids)

    with pytest.raises(KeyError, match="the model's own error"):
        LayerEG(fails, model.embed, references=OTHERS).attribute(IDS, target=1, n_steps=9, internal_batch_size=3)
    assert state_of(model) == before
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("limit", [2, 3, 8])
def test_no_more_rows_than_the_limit_are_in_flight(limit):
    model, seen = made(Words), []

    def forward(ids):
        seen.append(len(ids))
        return model(ids)

    for kind in (LayerEG, LayerWeightedIG, LayerLPI):
        seen.clear()
        kind(forward, model.recurrent, references=OTHERS).attribute(IDS, target=1, n_steps=9, internal_batch_size=limit)
        assert max(seen) <= limit


def test_passes_are_those_of_the_gradients_and_one_for_each_input_and_reference():
    model, rows = made(Words), {True: 0, False: 0}

    def forward(ids):
        rows[torch.is_grad_enabled()] += len(ids)
        return model(ids)

    LayerEG(forward, model.embed, references=OTHERS).attribute(
        IDS, target=1, n_steps=50, method="gausslegendre", return_convergence_delta=True
    )
    assert rows == {True: 3 * 2 * 50, False: 3 + 2 + 4}  # inputs, references, and four to find the rows


def test_methods_at_layers_are_captums_and_can_be_copied():
    model = made(Words)
    lpi = LayerLPI(model, model.embed, references=OTHERS)
    assert isinstance(lpi, captum.attr.LayerAttribution)
    assert lpi.has_convergence_delta()
    assert lpi.multiplies_by_inputs
    assert lpi.layer is model.embed
    assert type(lpi).attribute.__wrapped__ is not None
    assert lpi.settings()["layer"] is model.embed
    assert torch.equal(lpi.references[0], OTHERS)
    with pytest.raises(NotImplementedError, match="attribute_future is not implemented for LayerLocalPathIntegration"):
        lpi.attribute_future()
    options = {"target": 1, "method": "gausslegendre", "n_steps": 4}
    expected = lpi.attribute(IDS, **options)
    for copied in (copy.deepcopy(lpi), pickle.loads(pickle.dumps(lpi))):
        torch.testing.assert_close(copied.attribute(IDS, **options), expected)


def test_noise_tunnel_works_at_layers():
    model, x, samples = made(Images), numbers(2, 2, 6, 6).double(), numbers(3, 2, 6, 6).double().flip(1)
    eg = LayerEG(model, model.first, references=samples)
    options = {"target": 1, "method": "gausslegendre", "n_steps": 4}
    tunnel = captum.attr.NoiseTunnel(eg).attribute(x, nt_samples=2, stdevs=0.0, **options)
    torch.testing.assert_close(tunnel, eg.attribute(x, **options))


@pytest.mark.parametrize(
    ("plain", "at_layer"),
    [
        (ExpectedGradients, "LayerExpectedGradients"),
        (LocalPathIntegration, "LayerLocalPathIntegration"),
        (WeightedIntegratedGradients, "LayerWeightedIntegratedGradients"),
    ],
)
def test_captums_layer_variant_is_refused_where_references_would_be_ignored(plain, at_layer):
    model = made(Branches)
    theirs = captum.attr.LayerIntegratedGradients(model, model.left)
    theirs.ig = plain(model, references=(numbers(3, 3).double(), numbers(3, 2).double()))
    x = (numbers(2, 3).double(), numbers(2, 2).double())
    with pytest.raises(
        ValueError, match=rf"Captum's layer variant .* Use captum_ext.attr.{at_layer}\(forward_func, la"
    ):
        theirs.attribute(x, target=1)

    class Mine(plain):
        pass

    theirs.ig = Mine(model, references=(numbers(3, 3).double(), numbers(3, 2).double()))
    with pytest.raises(ValueError, match=rf"Mine would be Integrated Gradients .* captum_ext.attr.{at_layer}"):
        theirs.attribute(x, target=1)


@pytest.mark.parametrize("plain", [IntegratedGradients, ExpectedGradients, LocalPathIntegration])
def test_captums_layer_variant_runs_on_methods_that_hold_no_references(plain):
    model, x = made(Branches), (numbers(2, 3).double(), numbers(2, 2).double())
    theirs = captum.attr.LayerIntegratedGradients(model, model.left)
    expected = theirs.attribute(x, target=1)
    theirs.ig = plain(model)
    torch.testing.assert_close(theirs.attribute(x, target=1), expected, rtol=1e-6, atol=1e-8)


def test_baselines_replace_references_at_the_inputs_and_of_neurons():
    model, x = made(Images), numbers(2, 2, 6, 6).double()
    eg = ExpectedGradients(model, references=numbers(3, 2, 6, 6).double().flip(1))
    expected = IntegratedGradients(model).attribute(x, 0.5, target=1)
    torch.testing.assert_close(eg.attribute(x, 0.5, target=1), expected)
    eg.gradient_func = captum._utils.gradient.construct_neuron_grad_fn(model.head, 2)
    theirs = captum.attr.NeuronIntegratedGradients(model, model.head).attribute(x, 2, baselines=0.5)
    torch.testing.assert_close(eg.attribute(x, 0.5), theirs, rtol=1e-6, atol=1e-8)


def test_captums_layer_variant_is_refused_by_important_directions():
    model, x = made(Images), numbers(2, 2, 6, 6).double()
    theirs = captum.attr.LayerIntegratedGradients(model, model.first)
    theirs.ig = ImportantDirectionIG(model)
    with pytest.raises(ValueError, match="a layer or neuron variant is at work"):
        theirs.attribute(x, target=1, method="riemann_left")


def test_activation_of_the_oracle_is_what_the_model_computes():
    model = made(Words)
    with torch.no_grad():
        torch.testing.assert_close(activation(model, model.embed, IDS[0]), model.embed(IDS[:1]))
