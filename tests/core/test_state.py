"""Nothing of the caller's is touched: inputs, references, arguments, the model and its state, the random states."""

import functools
import itertools
import random
import types
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from captum_ext import Shared
from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    WeightedIntegratedGradients,
)
from captum_ext.core.model_search import modules_behind
from captum_ext.exceptions import ArgumentError
from captum_ext.metrics import deletion, infidelity
from captum_ext.upsampling import USUUpsampler
from tests.core.entries import (
    ATTRIBUTIONS,
    FITS,
    MEASURES,
    RUNNING,
    SEGMENTS,
    UPSAMPLERS,
    WITHOUT_A_MODEL,
    generator,
    numbers,
    over_a_folder,
    tensors_of,
)


@pytest.fixture(params=[*RUNNING, "attribute_dataset"])
def entry(request, tmp_path):
    if request.param in RUNNING:
        return RUNNING[request.param]
    runs = itertools.count()
    return lambda *given, **allowed: over_a_folder(tmp_path / str(next(runs)))(*given, **allowed)


@pytest.fixture
def given():
    """Images, references and maps, as leaves that require a gradient where a caller's may."""
    return numbers(2, 3, 4, 4).requires_grad_(), numbers(4, 3, 4, 4) * 0.5, numbers(2, 3, 4, 4).flip(3)


class Net(nn.Module):
    """A small network; `begin` is what its forward does first, in place or not."""

    def __init__(self, begin=lambda x: x, between=None):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
            self.between = nn.Identity() if between is None else between
        self.begin = begin

    def forward(self, x):
        return self.fc(torch.tanh(self.between(self.conv(self.begin(x)))).mean((2, 3)))


def state_of(model, tensors):
    """Everything of the caller's that a call could change, as values that compare with ==."""

    def bits(tensor):
        return None if tensor is None else (tuple(tensor.shape), tensor.detach().numpy().tobytes())

    modules = list(model.modules())
    python, (name, keys, *places) = random.getstate(), np.random.get_state()  # noqa: NPY002
    return {
        "parameters and buffers": {key: bits(value) for key, value in model.state_dict(keep_vars=True).items()},
        "which tensors they are": [id(value) for value in model.state_dict(keep_vars=True).values()],
        "gradients": [bits(parameter.grad) for parameter in model.parameters()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "modes": [module.training for module in modules],
        "hooks": [
            [list(hooks) for key, hooks in vars(module).items() if key.endswith("_hooks") and hasattr(hooks, "keys")]
            for module in modules
        ],
        "tensors": [(bits(one), one.requires_grad, bits(one.grad)) for one in tensors],
        "random states": (bits(torch.get_rng_state()), python, name, keys.tobytes(), places),
        "modes of autograd": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def assert_untouched(before, after):
    for key, value in before.items():
        assert after[key] == value, key


def watched(model):
    """The model as a caller may have it: a frozen parameter, a gradient from training, a hook."""
    model.fc.bias.requires_grad_(False)
    model.conv.weight.grad = torch.ones_like(model.conv.weight)
    model.conv.register_forward_hook(lambda *_: None)
    return model


BEGINNINGS = {
    "mul": (lambda x: x.mul_(2), lambda x: x * 2),
    "relu": (lambda x: x.relu_(), lambda x: x.relu()),
    "normalise": (lambda x: x.sub_(0.3).div_(0.2), lambda x: (x - 0.3) / 0.2),
    "scale": (
        lambda x: x.div_(x.detach().abs().amax((1, 2, 3), keepdim=True) + 1),
        lambda x: x / (x.detach().abs().amax((1, 2, 3), keepdim=True) + 1),
    ),
    "write": (
        lambda x: x.copy_(torch.nn.functional.normalize(x.clone(), dim=1)),
        lambda x: torch.nn.functional.normalize(x, dim=1),
    ),
}


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_model_that_begins_in_place_gives_what_its_twin_gives_and_changes_nothing(entry, given, beginning):
    in_place, out_of_place = (watched(Net(begin)).eval() for begin in BEGINNINGS[beginning])
    expected = entry(out_of_place, *given)
    before = state_of(in_place, given)
    actual = entry(in_place, *given)
    assert_untouched(before, state_of(in_place, given))
    for one, other in zip(tensors_of(actual), tensors_of(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)
        assert not one.requires_grad


@pytest.mark.parametrize("name", WITHOUT_A_MODEL)
def test_what_needs_no_model_changes_nothing(name, given):
    model = watched(Net())
    before = state_of(model, given)
    WITHOUT_A_MODEL[name](model, *given)
    assert_untouched(before, state_of(model, given))


@pytest.mark.parametrize("failing", [2, 3])
def test_nothing_is_changed_when_the_model_fails_in_a_later_call(entry, given, failing):
    calls = itertools.count(1)

    def begin(x):
        x.mul_(2)
        if next(calls) >= failing:
            raise LookupError("the model's own error")
        return x

    model = watched(Net(begin, nn.InstanceNorm2d(4, track_running_stats=True, affine=True))).train()
    before = state_of(model, given)
    try:
        entry(model, *given)
    except LookupError as error:
        assert str(error) == "the model's own error"  # noqa: PT017 (an entry may call the model less often)
    else:
        assert next(calls) <= failing
    assert_untouched(before, state_of(model, given))


class Assigning(nn.Module):
    """A buffer that is assigned anew in every pass, as moving averages often are."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean((0, 2, 3))
        return x * self.mean.sum().sigmoid()


TRAINED = {
    "instance norm": lambda: nn.InstanceNorm2d(4, track_running_stats=True, affine=True),
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 1)),
    "spectral norm of old": lambda: nn.utils.spectral_norm(nn.Conv2d(4, 4, 1)),
    "a buffer that is assigned": Assigning,
}


@pytest.mark.parametrize("part", TRAINED)
def test_buffers_of_a_model_in_training_mode_are_put_back(entry, given, part):
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the old spectral norm is deprecated
        torch.manual_seed(0)
        model = watched(Net(between=TRAINED[part]())).train()
    before = state_of(model, given)
    entry(model, *given)
    assert_untouched(before, state_of(model, given))
    model(given[0])
    assert state_of(model, given)["parameters and buffers"] != before["parameters and buffers"]  # it does change them


PARTING = [name for name in ATTRIBUTIONS if "adaptive" in name or name.startswith(("WeightedIG", "SAMP"))]


@pytest.mark.parametrize("name", PARTING)
def test_methods_whose_rows_part_ways_do_not_allow_batch_statistics(name, given):
    model = Net(between=nn.BatchNorm2d(4)).train()
    with pytest.raises((ArgumentError, TypeError), match=r"mixes the rows of a batch|allow_batch_statistics"):
        ATTRIBUTIONS[name](model, *given, allow_batch_statistics=True)


@pytest.mark.parametrize("name", [name for name in (*ATTRIBUTIONS, *UPSAMPLERS) if name not in PARTING])
def test_batch_norm_that_is_allowed_has_its_running_statistics_put_back(name, given):
    model = watched(Net(between=nn.BatchNorm2d(4))).train()
    before = state_of(model, given)
    entry = {**ATTRIBUTIONS, **UPSAMPLERS}[name]
    entry(model, *given, allow_batch_statistics=True)
    assert_untouched(before, state_of(model, given))


def test_batch_norm_with_the_statistics_of_a_batch_is_refused(entry, given):
    for norm, why in (
        (nn.BatchNorm2d(4).train(), "is in training mode"),
        (nn.BatchNorm2d(4, track_running_stats=False).eval(), "has no running statistics"),
    ):
        model = Net(between=norm)
        model.eval()
        norm.train(why == "is in training mode")
        message = rf"`forward_func` .*model\.eval\(\).* batch norm .*BatchNorm2d 'between' {why}"
        with pytest.raises(ArgumentError, match=message):
            entry(model, *given)


class Holder:
    """An object that is no module and holds one."""

    def __init__(self, model):
        self.model, self.others = model, {"trained": Net(between=nn.BatchNorm2d(4))}

    def __call__(self, x):
        return self.model(x)

    def predict(self, x):
        return self.helped(x)

    def helped(self, x):
        return self.model(x)


class Around(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def score(self, x):
        return self.model(x)


GLOBAL = Net(between=nn.BatchNorm2d(4)).eval()
HELD = types.SimpleNamespace(model=GLOBAL)


def of_a_global(x):
    return torch.cat([GLOBAL(row) for row in x.split(1)])


def of_a_default(x, *, model=GLOBAL):
    return model(x)


def hidden(model):
    """Forward functions behind which the model is."""
    holder, models, table = Holder(model), [model, model], {"a": model}

    @functools.wraps(model.forward)
    def wrapped(*rows):
        return holder.predict(*rows)

    return {
        "lambda": lambda x: model(x),
        "function in a function": lambda x: (lambda rows: model(rows))(x),
        "partial": functools.partial(model),
        "partial with a keyword": functools.partial(lambda x, net: net(x), net=model),
        "partial of an object": functools.partial(lambda held, x: held.predict(x), holder),
        "bound method of the module": model.forward,
        "bound method of another module": Around(model).score,
        "bound method of an object": holder.predict,
        "callable object": holder,
        "lambda of an object": lambda x: holder.model(x),
        "lambda of an object's method": lambda x: holder.predict(x),
        "lambda of a callable object": lambda x: holder(x),
        "list": lambda x: sum(one(x) for one in models),
        "mapping": lambda x: table["a"](x),
        "wrapped": wrapped,
        "no_grad": torch.no_grad()(lambda x: model(x)),
    }


@pytest.mark.parametrize("where", [*hidden(Net()), "global", "default", "global's attribute"])
def test_batch_norm_is_found_wherever_the_model_is_hidden(where, given):
    known = {"global": of_a_global, "default": of_a_default, "global's attribute": lambda x: HELD.model(x)}
    model = Net(between=nn.BatchNorm2d(4)).train() if where not in known else GLOBAL
    forward = known[where] if where in known else hidden(model)[where]
    GLOBAL.train()
    try:
        for entry in (ATTRIBUTIONS["IG"], MEASURES["deletion"], FITS["fit"], UPSAMPLERS["USU"]):
            with pytest.raises(ArgumentError, match="BatchNorm2d '.*between' is in training mode"):
                entry(forward, *given)
    finally:
        GLOBAL.eval()


def test_a_model_that_an_object_holds_and_does_not_run_is_no_reason_to_refuse(given):
    holder = Holder(Net(between=nn.BatchNorm2d(4)).eval())
    assert holder.others["trained"].training
    for forward in (holder, holder.predict, lambda x: holder.predict(x)):
        assert modules_behind(forward) == [holder.model]
        ATTRIBUTIONS["IG"](forward, *given)


def test_active_dropout_is_warned_of_by_the_name_of_its_module(entry, given):
    model = Net(between=nn.Sequential(nn.Identity(), nn.Dropout(0.5), nn.Dropout(0.25))).train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what else random scores bring about
        with pytest.warns(UserWarning, match=r"Dropout is active in Dropout 'between\.1': scores are random.*eval\(\)"):
            entry(model, *given)
    entry(model.eval(), *given)


@pytest.mark.parametrize("name", ATTRIBUTIONS)
def test_gradient_methods_refuse_dynamically_quantised_layers(name, given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated in torch, and still there in models
        model = torch.ao.quantization.quantize_dynamic(Net().eval(), {nn.Linear})
    for forward in (model, lambda x: model(x)):
        message = "`forward_func` .*without dynamic quantisation.* but got Linear 'fc'"
        with pytest.raises(ArgumentError, match=message):
            ATTRIBUTIONS[name](forward, *given)
    assert MEASURES["deletion"](model, *given)[0].shape == (2, 11)  # needs no gradient


# Forward arguments

ARGUMENTS = {
    "follows": lambda: torch.tensor([1.0, 2.0]),
    "unknown": lambda: torch.tensor([1.0, 2.0, 3.0]),
    "array": lambda: np.array([1.0, 2.0, 3.0]),
    "number": lambda: torch.tensor(2.0),
}
TAKING_ARGUMENTS = {
    "IG": lambda f, x, **given: IntegratedGradients(f).attribute(x, target=1, n_steps=3, **given),
    "IG in rows": lambda f, x, **given: IntegratedGradients(f).attribute(
        x, target=1, n_steps=3, method="stratified", generator=generator(), **given
    ),
    "EG": lambda f, x, **given: ExpectedGradients(f, references=numbers(3, 3, 4, 4) / 2).attribute(
        x, target=1, n_steps=2, method="riemann_left", **given
    ),
    "IDGI": lambda f, x, **given: ImportantDirectionIG(f).attribute(x, target=1, n_steps=3, **given),
    "WeightedIG": lambda f, x, **given: WeightedIntegratedGradients(f, references=numbers(3, 3, 4, 4) / 2).attribute(
        x, target=1, n_steps=2, method="riemann_left", **given
    ),
    "deletion": lambda f, x, **given: deletion(f, x, x, target=1, **given).scores,
    "infidelity": lambda f, x, **given: infidelity(f, x, x, target=1, **given).raw,
    "USU": lambda f, x, **given: USUUpsampler(segmenter=SEGMENTS)(torch.ones(2, 1, 2, 2), x, f, **given),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
@pytest.mark.parametrize("name", TAKING_ARGUMENTS)
def test_arguments_that_a_model_changes_in_place_are_the_callers_no_longer(name, kind):
    net, x = Net().eval(), numbers(2, 3, 4, 4)

    def scale(value):
        total = value if kind == "follows" else value.sum()
        return torch.as_tensor(total, dtype=torch.float32).reshape(-1, 1)

    def in_place(x, value):
        value *= 2
        return net(x) * scale(value)

    argument = ARGUMENTS[kind]()
    actual = TAKING_ARGUMENTS[name](in_place, x, additional_forward_args=argument)
    expected = TAKING_ARGUMENTS[name](lambda x, value: net(x) * scale(value * 2), x, additional_forward_args=argument)
    np.testing.assert_equal(np.asarray(argument), np.asarray(ARGUMENTS[kind]()))
    torch.testing.assert_close(actual, expected)


def test_what_is_shared_is_the_callers_own_object_unless_it_is_numbers_which_are_copied():
    seen, value, graph = [], torch.tensor([1.0, 2.0, 3.0]), Graph()

    def forward(x, numbers_, other):
        seen.append((numbers_ is value, other is graph))
        numbers_.mul_(2)
        return (x * numbers_).sum(1)

    shared = (Shared(value), Shared(graph))
    IntegratedGradients(forward).attribute(numbers(2, 3), additional_forward_args=shared)
    assert set(seen) == {(False, True)}
    assert value.tolist() == [1.0, 2.0, 3.0]


class Graph:
    """An object that only the model understands."""
