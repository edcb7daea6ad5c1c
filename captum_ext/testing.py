"""Conformance checks for attribution methods: what every method of this package satisfies, and a new one should.

    from captum_ext.testing import CHECKS, MethodCase

    case = MethodCase("MyMethod", lambda forward_func, references: MyMethod(forward_func, references=references))

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_my_method_conforms(check):
        check(case)

A check raises AssertionError with the reason. Models are closed-form, so that expected values are known; shapes are
small. Any object with Captum's `attribute(inputs, ..., target=)` can be checked: arguments that its signature does not
have (`n_steps`, `baselines`, `internal_batch_size`, `return_convergence_delta`, ...) are not passed, and what is said
of them is not checked.
"""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.attr.paths import PathMethod
from captum_ext.core.types import TensorOrTensors

Factory = Callable[[Any, Any], PathMethod]


@dataclass(frozen=True)
class MethodCase:
    """A method to check.

    Attributes:
        name: shown in test names.
        make: builds the method from a forward function and references: a tensor (K, ...) or a tuple of them.
        options: keyword arguments for every call of `attribute`, for example `{"method": "stratified"}`.
        random: whether calls with these options draw random numbers, and so take a generator.
        completeness: largest gap allowed on a smooth model, relative to the difference of scores; None: not complete.
        linear: whether the method is exact on linear models.
        own_references: whether the method chooses its references itself: then they need not be those that are given, or
            zero.
    """

    name: str
    make: Factory
    options: dict[str, Any] = field(default_factory=dict)
    random: bool = False
    completeness: float | None = 1e-3
    linear: bool = True
    own_references: bool = False


def _takes(method: Any, name: str) -> bool:
    """Whether `attribute` has an argument of this name."""
    return name in inspect.signature(method.attribute).parameters


def _attribute(case: MethodCase, method: Any, inputs: Any, **arguments: Any) -> Any:
    """Call `attribute` with the case's options; random ones get one generator for each row, all seeded alike."""
    merged = {name: value for name, value in {**case.options, **arguments}.items() if _takes(method, name)}
    if case.random and "generator" not in merged:
        n_rows = len(inputs[0] if isinstance(inputs, tuple) else inputs)
        merged["generator"] = [torch.Generator().manual_seed(7) for _ in range(n_rows)]
    return method.attribute(inputs, **merged)


def _with_delta(case: MethodCase, method: Any, inputs: Any, **arguments: Any) -> tuple[Any, ...]:
    """Attributions and, where the method has one, the delta."""
    if not _takes(method, "return_convergence_delta"):
        return (_attribute(case, method, inputs, **arguments),)
    pair: tuple[Any, ...] = _attribute(case, method, inputs, return_convergence_delta=True, **arguments)
    return pair


class SmoothModel(nn.Module):
    """tanh of a fixed linear map of the flattened input: three outputs a row, smooth, different for every target."""

    def __init__(self, n_features: int, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        grid = torch.linspace(-1, 1, n_features * 3, dtype=torch.float64).reshape(n_features, 3)
        self.weight = nn.Parameter(torch.sin(7 * grid).to(dtype))

    def forward(self, x: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """Outputs (N, 3); `scale` may be a tensor (N,) that follows the rows."""
        outputs = torch.tanh(x.flatten(1) @ self.weight) + 0.1 * (x.flatten(1) @ self.weight) ** 2
        return outputs * (scale[:, None] if isinstance(scale, Tensor) else scale)


class TinyConvNet(nn.Module):
    """Convolution, batch norm, pooling and `view`, which refuses channels-last layout: three outputs a row."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 9, 3)
        with torch.no_grad():
            for k, parameter in enumerate(self.parameters()):
                grid = torch.arange(parameter.numel(), dtype=torch.float32).reshape(parameter.shape)
                parameter.copy_(torch.cos(1.3 * grid + k) / 2)
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (N, 3) for x (N, 2, 8, 8)."""
        features = nn.functional.avg_pool2d(torch.tanh(self.norm(self.conv(x))), 2)
        return self.head(features.view(len(x), -1))  # type: ignore[no-any-return]


def _rows(n_rows: int, *shape: int, dtype: torch.dtype = torch.float64, shift: float = 0.0) -> Tensor:
    """Distinct rows of moderate numbers without any random state."""
    count = n_rows * int(torch.Size(shape).numel())
    return torch.sin(1.7 * torch.arange(count, dtype=torch.float64) + shift).reshape(n_rows, *shape).to(dtype)


def _references(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return _rows(4, *shape, dtype=dtype, shift=0.5)


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise AssertionError(reason)


def _close(actual: TensorOrTensors, expected: TensorOrTensors, reason: str, tolerance: float = 1e-9) -> None:
    pairs = zip(
        actual if isinstance(actual, tuple) else (actual,),
        expected if isinstance(expected, tuple) else (expected,),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance, msg=lambda text: f"{reason}: {text}")


def check_completeness(case: MethodCase) -> None:
    """On a smooth model the attributions sum to the difference of scores, and delta is what is missing."""
    inputs = _rows(3, 5)
    method = case.make(SmoothModel(5), _references(5))
    if not _takes(method, "return_convergence_delta"):
        return
    attributions, delta = _with_delta(case, method, inputs, target=1, n_steps=400)
    _require(delta.shape == (3,), f"delta has shape {tuple(delta.shape)}, not (3,)")
    if _takes(method, "baselines"):
        _require_true_delta(case, method)
    if case.completeness is not None:
        explained = (attributions.sum(1) - delta).abs()
        _require(
            bool((delta.abs() <= case.completeness * explained.clamp(min=1)).all()),
            f"gap {delta.tolist()} of differences {explained.tolist()}",
        )


def _require_true_delta(case: MethodCase, method: Any) -> None:
    """Attributions minus delta are the difference of scores, computed here from the model itself."""
    model, inputs, baselines = SmoothModel(5), _rows(3, 5), _rows(1, 5, shift=0.9)
    arguments: dict[str, Any] = {"target": 1, "n_steps": 3, "return_convergence_delta": True}
    with torch.no_grad():
        end, start = model(inputs)[:, 1], model(baselines)[:, 1]
        candidates = torch.cat([model(_references(5)), model(torch.zeros(1, 5, dtype=torch.float64))])[:, 1]
    attributions, delta = _attribute(case, method, inputs, baselines=baselines, **arguments)
    _close(attributions.sum(1) - delta, end - start, "attributions minus delta with baselines")
    if case.own_references:
        return
    attributions, delta = _attribute(case, method, inputs, **arguments)
    mean_start = end - (attributions.sum(1) - delta)
    inside = (mean_start >= candidates.min() - 1e-9) & (mean_start <= candidates.max() + 1e-9)
    _require(bool(inside.all()), f"attributions minus delta start from scores {mean_start.tolist()} of no reference")


def check_linear_model_is_exact(case: MethodCase) -> None:
    """For a linear model every feature gets its weight times its mean distance from the references."""
    weight = torch.tensor([2.0, -1.0, 0.5, 3.0], dtype=torch.float64)
    method = case.make(lambda x: x @ weight, _references(4))
    attributions, *deltas = _with_delta(case, method, _rows(2, 4), n_steps=8)
    for delta in deltas if case.linear else []:
        _close(delta, torch.zeros(2, dtype=torch.float64), "delta of a linear model")
        if case.own_references:
            return
        mean_reference = _rows(2, 4) - attributions / weight
        candidates = torch.cat([_references(4), torch.zeros(1, 4, dtype=torch.float64)])  # zero: without references
        low, high = candidates.amin(0) - 1e-9, candidates.amax(0) + 1e-9
        inside = (mean_reference >= low) & (mean_reference <= high)
        _require(bool(inside.all()), f"attributions of a linear model come from a reference {mean_reference.tolist()}")


def check_unused_feature_gets_zero(case: MethodCase) -> None:
    """A feature, and a whole input, on which the model does not depend gets exactly zero."""
    method = case.make(lambda x, _: x[:, 0] ** 2 + x[:, 2], (_references(3), _references(2)))
    used, unused = _attribute(case, method, (_rows(2, 3), _rows(2, 2)), n_steps=8)
    _require(bool((used[:, 1] == 0).all()), "a feature that is not used got an attribution")
    _require(bool((unused == 0).all()), "an input that is not used got an attribution")


def check_chunks_do_not_matter(case: MethodCase) -> None:
    """Results do not depend on `internal_batch_size`, and no more rows than that are in flight."""
    seen: list[int] = []
    model = SmoothModel(5)

    def forward(x: Tensor) -> Tensor:
        seen.append(len(x))
        return model(x)  # type: ignore[no-any-return]

    method = case.make(forward, _references(5))
    if not _takes(method, "internal_batch_size"):
        return
    expected = _with_delta(case, method, _rows(3, 5), target=2, n_steps=11)
    for limit in (1, 2, 7, 1000):
        seen.clear()
        actual = _with_delta(case, method, _rows(3, 5), target=2, n_steps=11, internal_batch_size=limit)
        _require(max(seen) <= limit, f"{max(seen)} rows in flight with internal_batch_size={limit}")
        _close(actual, expected, f"internal_batch_size={limit}")


def check_batch_equals_singles(case: MethodCase) -> None:
    """A row's attribution does not depend on the rows beside it."""
    inputs, scale = _rows(3, 5), torch.linspace(1, 2, 3, dtype=torch.float64)
    target = torch.tensor([0, 2, 1])
    method = case.make(SmoothModel(5), _references(5))
    together = _with_delta(case, method, inputs, target=target, additional_forward_args=scale, n_steps=9)
    for i in range(3):
        row = slice(i, i + 1)
        single = _with_delta(
            case, method, inputs[row], target=target[row], additional_forward_args=scale[row], n_steps=9
        )
        _close(single, tuple(values[row] for values in together), f"row {i} alone")


def check_tuple_equals_concatenation(case: MethodCase) -> None:
    """Two inputs are explained as their concatenation is."""
    inputs, references = _rows(3, 6), _references(6)
    model = SmoothModel(6)
    whole = case.make(model, references)
    parts = case.make(lambda a, b: model(torch.cat([a, b], 1)), (references[:, :2], references[:, 2:]))
    expected = _attribute(case, whole, inputs, target=0, n_steps=9)
    actual = _attribute(case, parts, (inputs[:, :2], inputs[:, 2:]), target=0, n_steps=9)
    _require(isinstance(actual, tuple), "a tuple of inputs did not give a tuple of attributions")
    _close(torch.cat(actual, 1), expected, "tuple of inputs")


def check_target_forms(case: MethodCase) -> None:
    """Every form of target that Captum takes selects the same output, and so do functions of a row's output."""
    inputs, model = _rows(3, 5), SmoothModel(5)
    method = case.make(model, _references(5))
    expected = _attribute(case, method, inputs, target=1, n_steps=9)
    forms: list[Any] = [torch.tensor(1), torch.tensor([1]), [1, 1, 1], torch.tensor([1, 1, 1]), (1,)]
    for target in forms:
        _close(_attribute(case, method, inputs, target=target, n_steps=9), expected, f"target {target!r}")
    functions: list[Callable[[Tensor], Tensor]] = [
        lambda row: row[1],
        lambda row: row[:2].sum() - row[0],
        lambda row: row[1],
    ]
    for target in (functions[0], functions):
        _close(_attribute(case, method, inputs, target=target, n_steps=9), expected, "target of functions")
    deep = case.make(lambda x: model(x).unsqueeze(1).repeat(1, 2, 1), _references(5))
    for target in ((0, 1), [(0, 1), (1, 1), (0, 1)]):
        _close(_attribute(case, deep, inputs, target=target, n_steps=9), expected, f"target {target!r}")
    single = case.make(lambda x: model(x)[:, 1:2], _references(5))
    expected = _attribute(case, single, inputs, target=0, n_steps=9)
    _close(_attribute(case, single, inputs, n_steps=9), expected, "one output and no target")


def check_dtypes(case: MethodCase) -> None:
    """Half precision gives what float64 does, within its own rounding, in float32 or in the inputs' dtype."""
    inputs, references = _rows(2, 5), _references(5)
    expected = _attribute(case, case.make(SmoothModel(5), references), inputs, target=0, n_steps=9)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.1), (torch.float16, 0.02)):
        method = case.make(SmoothModel(5, dtype), references.to(dtype))
        actual = _attribute(case, method, inputs.to(dtype), target=0, n_steps=9)
        _require(actual.dtype in (torch.float32, dtype), f"{dtype} inputs gave {actual.dtype} attributions")
        _close(actual.double(), expected, f"{dtype}", tolerance)


def check_layouts(case: MethodCase) -> None:
    """Channels-last and non-contiguous images give the attributions of contiguous ones, as contiguous tensors."""
    images, references = _rows(2, 2, 8, 8), _references(2, 8, 8)
    method = case.make(TinyConvNet(), references)
    expected = _attribute(case, method, images, target=1, n_steps=6)
    strided = images.transpose(2, 3).contiguous().transpose(2, 3)
    for layout in (images.contiguous(memory_format=torch.channels_last), strided):
        actual = _attribute(case, method, layout, target=1, n_steps=6)
        _require(actual.is_contiguous(), "attributions are not contiguous")
        _close(actual, expected, "memory layout")


def check_nothing_is_changed(case: MethodCase) -> None:
    """Model, inputs, references, gradients, mode, hooks and random state are afterwards as they were before."""
    model = TinyConvNet()
    model.train()
    model.norm.eval()
    next(iter(model.head.parameters())).requires_grad_(False)
    model(_rows(1, 2, 8, 8)).sum().backward()
    inputs, references = _rows(2, 2, 8, 8).requires_grad_(), _references(2, 8, 8)
    for context in (nullcontext(), torch.no_grad()):
        _compare_around(case, model, inputs, references, context)


def _compare_around(
    case: MethodCase, model: TinyConvNet, inputs: Tensor, references: Tensor, context: AbstractContextManager[Any]
) -> None:
    def state() -> list[Any]:
        gradients = [p.grad.clone() if p.grad is not None else None for p in model.parameters()]
        flags = [p.requires_grad for p in model.parameters()]
        modes = [m.training for m in model.modules()]
        hooks = [len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules()]
        tensors = [v.clone() for v in model.state_dict().values()]
        return [tensors, gradients, flags, modes, hooks, inputs.detach().clone(), references.clone()]

    before, random_state = state(), torch.get_rng_state()
    grad_enabled = torch.is_grad_enabled()
    with context:
        attributions = _attribute(case, case.make(model, references), inputs, target=1, n_steps=6)
    _require(not attributions.requires_grad, "attributions require a gradient")
    _require(torch.is_grad_enabled() == grad_enabled, "grad mode was changed")
    _require(torch.equal(torch.get_rng_state(), random_state), "the global random state was changed")
    _require(inputs.requires_grad and inputs.grad is None, "the input's requires_grad or grad was changed")
    _require(_same(state(), before), "the model or a tensor was changed")


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def check_errors_restore_state(case: MethodCase) -> None:
    """An exception inside the model comes out as it is, and leaves requires_grad and random state alone."""
    model = SmoothModel(5)
    calls, last_call = 0, 0

    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == last_call:
                raise KeyError("the model's own error")
            return model(x)  # type: ignore[no-any-return]

    arguments: dict[str, Any] = {"target": 1, "n_steps": 9, "internal_batch_size": 2}
    _attribute(case, case.make(Fails(), _references(5)), _rows(3, 5), **arguments)
    last_call, calls = calls, 0  # the same once more: now the last pass fails
    random_state = torch.get_rng_state()
    try:
        _attribute(case, case.make(Fails(), _references(5)), _rows(3, 5), **arguments)
    except KeyError:
        pass
    else:
        raise AssertionError("the model's error was swallowed")
    _require(model.weight.requires_grad, "requires_grad was not restored after an error")
    _require(torch.equal(torch.get_rng_state(), random_state), "the random state was changed by an error")


def check_models_that_change_their_input(case: MethodCase) -> None:
    """A model that begins in place gives what its twin does, and the caller's tensors stay as they are."""

    class Doubles(SmoothModel):
        def forward(self, x: Tensor, scale: Tensor | float = 1.0) -> Tensor:
            return super().forward(x.mul_(2), scale)

    class Twin(SmoothModel):
        def forward(self, x: Tensor, scale: Tensor | float = 1.0) -> Tensor:
            return super().forward(x * 2, scale)

    results = []
    for model in (Twin(5), Doubles(5)):
        inputs, references = _rows(2, 5), _references(5)
        results.append(_attribute(case, case.make(model, references), inputs, target=1, n_steps=5))
        _close((inputs, references), (_rows(2, 5), _references(5)), "inputs and references after the call", 0.0)
    _close(results[1], results[0], "a model that changes its input")


def check_copies(case: MethodCase) -> None:
    """Copied and pickled methods give the same attributions."""
    method = case.make(SmoothModel(5), _references(5))
    expected = _attribute(case, method, _rows(2, 5), target=1, n_steps=9)
    for copied in (copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        _close(_attribute(case, copied, _rows(2, 5), target=1, n_steps=9), expected, "copy")


def check_repeatable(case: MethodCase) -> None:
    """Equal generators give equal attributions; the result does not depend on the global seed."""
    method = case.make(SmoothModel(5), _references(5))
    results = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            generator = torch.Generator().manual_seed(3)
            arguments = {"generator": generator} if case.random else {}
            results.append(_attribute(case, method, _rows(2, 5), target=1, n_steps=9, **arguments))
    _close(results[0], results[1], "the same generator twice", 0.0)


def check_baselines_replace_references(case: MethodCase) -> None:
    """Given `baselines` are what the input is compared with: itself gives zero, a row of its own the same for each
    row."""
    inputs, model = _rows(2, 5), SmoothModel(5)
    method = case.make(model, _references(5))
    if not _takes(method, "baselines"):
        return
    own = _attribute(case, method, inputs, baselines=inputs, target=1, n_steps=9)
    _close(own, torch.zeros_like(inputs), "the input as its own baseline")
    shared = _rows(1, 5, shift=0.9)
    expected = _attribute(case, method, inputs, baselines=shared, target=1, n_steps=9)
    each = _attribute(case, method, inputs, baselines=shared.expand_as(inputs), target=1, n_steps=9)
    _close(each, expected, "one baseline for each row")


#: What a method has to satisfy: functions of a `MethodCase` that raise AssertionError with the reason.
CHECKS: tuple[Callable[[MethodCase], None], ...] = (
    check_completeness,
    check_linear_model_is_exact,
    check_unused_feature_gets_zero,
    check_chunks_do_not_matter,
    check_batch_equals_singles,
    check_tuple_equals_concatenation,
    check_target_forms,
    check_dtypes,
    check_layouts,
    check_nothing_is_changed,
    check_errors_restore_state,
    check_models_that_change_their_input,
    check_copies,
    check_repeatable,
    check_baselines_replace_references,
)
