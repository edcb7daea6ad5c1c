"""From a batch of samples to the rows that are stored: the same on one machine and on many."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
import torch
from captum.attr import GradientAttribution
from torch import Tensor, nn

from captum_ext.core.checks import check_finite, check_seed, check_tensors, describe
from captum_ext.core.fingerprints import Fingerprints
from captum_ext.core.inspection import device_of
from captum_ext.core.model import scores_of
from captum_ext.core.random import generator_of, globally_seeded
from captum_ext.core.request import Request
from captum_ext.core.target_functions import check_functions
from captum_ext.core.types import ForwardFunc, TargetFunc
from captum_ext.dataset.map_format import MapFormat
from captum_ext.dataset.masks import OnMasks
from captum_ext.dataset.shard_files import curve_of
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError
from captum_ext.metrics import PerturbationCurve, curves, deletion, diff_id, insertion
from captum_ext.metrics.sweep import is_curve

#: forward_func, inputs, attributions, target to a curve, of which the area is stored, or to one number for each row.
MapMetric: TypeAlias = Callable[[ForwardFunc, Tensor, Tensor, Tensor | TargetFunc | None], PerturbationCurve | Tensor]
Metric: TypeAlias = MapMetric | OnMasks
Columns: TypeAlias = dict[str, Any]

METRICS: dict[str, MapMetric] = {"insertion": insertion, "deletion": deletion, "diff_id": diff_id}
# Whose NaN or infinity belongs to a sample; that of references, say, is the caller's mistake.
_OF_SAMPLES = ("dataset", "attributions", "forward_func", "forward_func(inputs)")
_NO_MATTER = ("internal_batch_size", "show_progress")  # for the rows
FIELDS = ("prediction", "score", "delta", "map", "curves", *METRICS)


@dataclass(frozen=True)
class Batch:
    """Samples read from a data set: their places in it, the model's inputs, labels where there are any, and names."""

    indices: list[int]
    inputs: Tensor
    labels: list[int] | None = None
    names: list[str] | None = None

    def row(self, place: int) -> Batch:
        """One sample as a batch."""
        labels = None if self.labels is None else [self.labels[place]]
        names = None if self.names is None else [self.names[place]]
        return Batch([self.indices[place]], self.inputs[place : place + 1], labels, names)


@dataclass(frozen=True)
class Settings:
    """What is computed of every sample; see `attribute_dataset`."""

    target: int | str | TargetFunc | None
    fields: tuple[str, ...]
    map_format: MapFormat = field(default_factory=MapFormat)
    seed: int = 0
    attribute_kwargs: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.target, SupportsIndex) and not isinstance(self.target, bool):
            object.__setattr__(self, "target", operator.index(self.target))
        elif callable(self.target):
            check_functions(self.target, None)
        elif not (self.target is None or (isinstance(self.target, str) and self.target in ("predicted", "label"))):
            raise ArgumentTypeError("target", 'an int, "predicted", "label", a function or None', describe(self.target))
        for name in self.fields:
            if name not in FIELDS:
                raise ArgumentError("fields", "some of " + ", ".join(f'"{one}"' for one in FIELDS), describe(name))
        for name in self.metrics:
            if name in (*FIELDS, "index", "name", "target", "map_scale"):
                raise ArgumentError("metrics", "functions under names of their own", describe(name))
        if "curves" in self.fields and not self.scores:
            raise ArgumentError("fields", 'a metric of a curve beside "curves"', str(self.fields))
        for name in self.scores:
            if "curves" in self.fields and curve_of(name) in self.scores:
                raise ArgumentError("metrics", f"without {curve_of(name)!r}, where the curve of {name!r} is", "it")
        object.__setattr__(self, "seed", check_seed("seed", self.seed))
        for name in ("target", "return_convergence_delta", "generator", "inputs"):
            if name in self.attribute_kwargs:
                raise ArgumentError("attribute_kwargs", f"without {name!r}, which is set for each batch", "it")
        for name, value in self.attribute_kwargs.items():
            if name.startswith("return_") and value is not False:
                raise ArgumentError("attribute_kwargs", "without what returns more than maps", repr(name))

    @property
    def scores(self) -> dict[str, Metric]:
        """The metrics by name, built in or the caller's own."""
        return {**{name: METRICS[name] for name in self.fields if name in METRICS}, **self.metrics}


class RowMaker:
    """A method with its settings: turns batches into columns.

    Args:
        method: an object with Captum's `attribute(inputs, ..., target=)`, or a function `f(inputs, target)` that
            returns attributions.
        settings: what is computed.
        forward_func: the model; None: `method.forward_func`.
    """

    def __init__(self, method: Any, settings: Settings, forward_func: ForwardFunc | None = None) -> None:
        self.method = method
        self.settings = settings
        attribute = getattr(method, "attribute", None)
        if attribute is None and not callable(method):
            raise ArgumentTypeError("method", "an object with attribute(...), or a function", describe(method))
        self.forward_func = forward_func or getattr(method, "forward_func", None)
        if self.forward_func is None and self._needs_model():
            raise ArgumentError("forward_func", "the model, since the method does not hold one", "None")
        parameters = inspect.signature(attribute or method).parameters
        self._takes_generator = attribute is not None and "generator" in parameters
        has_delta = "return_convergence_delta" in parameters or getattr(method, "has_convergence_delta", bool)()
        if "delta" in settings.fields and not has_delta:
            raise ArgumentError("fields", 'without "delta", which this method does not have', str(settings.fields))
        self.device = None if self.forward_func is None else device_of(self.forward_func)
        self._draws = False  # from the global random state: known when it was seen

    def configuration(self) -> dict[str, Any]:
        """What rows depend on beside the samples, as JSON takes it."""
        settings, prints = self.settings, Fingerprints(self.forward_func)
        kwargs = {name: value for name, value in settings.attribute_kwargs.items() if name not in _NO_MATTER}
        return {
            "method": prints.of(self.method),
            "model": Fingerprints().of(self.forward_func),
            "target": prints.of(settings.target),
            "fields": list(settings.fields),
            "map_format": prints.of(settings.map_format),
            "seed": settings.seed,
            "attribute_kwargs": prints.of(kwargs),
            "metrics": prints.of(settings.metrics),
        }

    def rows(self, batch: Batch) -> tuple[Columns, dict[int, str]]:
        """Columns of the batch, and what went wrong with the samples that are missing in them, by index.

        A sample is left out for NaN or infinity in it, in its scores or in its attributions; other errors are the
        caller's.
        """
        alone = len(batch.indices) == 1
        if not (self._draws and not alone):
            try:
                with globally_seeded(self.settings.seed, batch.indices[0], self.device, watch=not alone) as drawn:
                    columns = self._columns(batch)
                    self._draws = self._draws or drawn()
                if alone or not self._draws:
                    return columns, {}
            except NonFiniteError as error:
                if error.argument.split("[")[0] not in _OF_SAMPLES:
                    raise
                if alone:
                    return {}, {batch.indices[0]: f"{type(error).__name__}: {error}"}
        return self._one_by_one(batch)

    def _one_by_one(self, batch: Batch) -> tuple[Columns, dict[int, str]]:
        """The same, each sample on its own: where one fails, or where random numbers have to be the sample's own."""
        parts, failures = [], {}
        for place in range(len(batch.indices)):
            columns, failed = self.rows(batch.row(place))
            failures.update(failed)
            parts += [columns] if columns else []
        return joined(parts), failures

    def _needs_model(self) -> bool:
        of_maps = {name for name, metric in self.settings.metrics.items() if isinstance(metric, OnMasks)}
        fields = {*self.settings.fields, *self.settings.metrics} - of_maps
        return self.settings.target == "predicted" or bool(fields - {"map", "delta"})

    def _columns(self, batch: Batch) -> Columns:
        settings = self.settings
        (inputs,) = check_tensors("dataset", batch.inputs if self.device is None else batch.inputs.to(self.device))
        columns: Columns = {"index": np.asarray(batch.indices, dtype=np.int64)}
        if batch.names is not None:
            columns["name"] = np.asarray(batch.names, dtype=object)
        outputs = self._outputs(inputs)
        target = self._targets(batch, outputs)
        if isinstance(target, Tensor):
            columns["target"] = target.cpu().numpy()
        columns.update(self._of_outputs(outputs, target))
        attributions, delta = self._attribute(inputs, target, batch.indices)
        if delta is not None:
            columns["delta"] = delta
        if "map" in settings.fields:
            columns["map"], scale = settings.map_format.encode(attributions)
            columns.update({} if scale is None else {"map_scale": scale})
        else:
            check_finite("attributions", attributions)
        for name, value in _scores(settings.scores, (self.forward_func, inputs, attributions, target), batch.indices):
            columns[name] = _numbers(name, value, len(inputs))
            if "curves" in settings.fields and isinstance(value, PerturbationCurve):
                columns[curve_of(name)] = _points(value)
        return columns

    def _outputs(self, inputs: Tensor) -> Tensor | None:
        wanted = self.settings.target == "predicted" or {"prediction", "score"} & set(self.settings.fields)
        if not wanted or self.forward_func is None:
            return None
        function = self.settings.target if callable(self.settings.target) else None
        return Request(self.forward_func, inputs, function, channels_last=False).outputs

    def _targets(self, batch: Batch, outputs: Tensor | None) -> Tensor | TargetFunc | None:
        target = self.settings.target
        if target is None or callable(target):
            return target
        if target == "predicted" and outputs is not None:
            if outputs.dim() != 2:
                raise ArgumentError("target", "None for a model without classes", '"predicted"')
            predicted = outputs.argmax(1)
            check_finite("forward_func(inputs)", outputs.gather(1, predicted[:, None]))
            return predicted
        if target == "label" and batch.labels is None:
            expected = 'something else than "label", since the samples have none that is an integer'
            raise ArgumentError("target", expected, '"label"')
        chosen = batch.labels if target == "label" else [target] * len(batch.indices)
        if outputs is not None and outputs.dim() == 2:
            _check_in_range(chosen, batch, outputs.shape[1])  # type: ignore[arg-type]
        if outputs is not None:
            return torch.tensor(chosen, device=outputs.device)
        return torch.tensor(chosen, device=batch.inputs.device if self.device is None else self.device)

    def _of_outputs(self, outputs: Tensor | None, target: Tensor | TargetFunc | None) -> Columns:
        columns: Columns = {}
        if outputs is None:
            return columns
        if "prediction" in self.settings.fields:
            if outputs.dim() != 2:
                raise ArgumentError("fields", 'without "prediction" for a model without classes', describe(outputs))
            columns["prediction"] = outputs.argmax(1).cpu().numpy()
        if "score" in self.settings.fields:
            scores = (outputs if callable(target) else scores_of(outputs, target)).cpu().double()
            check_finite("forward_func(inputs)", scores)
            columns["score"] = scores.numpy()
        return columns

    def _attribute(
        self, inputs: Tensor, target: Tensor | TargetFunc | None, indices: Sequence[int]
    ) -> tuple[Tensor, Any]:
        with_delta = "delta" in self.settings.fields
        kwargs = dict(self.settings.attribute_kwargs)
        if self._takes_generator:
            kwargs["generator"] = [generator_of(self.settings.seed, index) for index in indices]
        if with_delta:
            kwargs["return_convergence_delta"] = True
        given = inputs.detach().clone()  # a method may change it, and what it returns is scored on what it was
        if isinstance(self.method, GradientAttribution) and not self._takes_generator:
            given.requires_grad_()  # else Captum's methods warn that they do it
        with _kept_rules(getattr(self.method, "model", None)):
            if hasattr(self.method, "attribute"):
                returned = self.method.attribute(given, target=target, **kwargs)
            else:
                returned = self.method(given, target)
        attributions, delta = returned if with_delta else (returned, None)
        if not isinstance(attributions, Tensor):  # a CAM gives an array
            attributions = torch.as_tensor(np.asarray(attributions))
        if len(attributions) != len(inputs):
            raise ArgumentError(
                "method", f"one that returns {len(inputs)} rows for as many inputs", describe(attributions)
            )
        return attributions.detach(), None if delta is None else _deltas(delta, len(inputs))


@contextmanager
def _kept_rules(model: Any) -> Iterator[None]:
    """Put back the rules of layers, which Captum's LRP takes off after a call: the next batch has to have them too."""
    rules = [(one, one.rule) for one in model.modules() if hasattr(one, "rule")] if isinstance(model, nn.Module) else []
    try:
        yield
    finally:
        for layer, rule in rules:
            layer.rule = rule


def _scores(
    metrics: Mapping[str, Metric], arguments: tuple[Any, ...], indices: Sequence[int]
) -> Iterator[tuple[str, Any]]:
    """What the metrics say, in their order; curves that may share images are computed in one sweep."""
    sharing: dict[str, Any] = {name: metric for name, metric in metrics.items() if is_curve(metric)}
    shared = curves(*arguments, metrics=sharing) if len(sharing) > 1 else {}
    for name, metric in metrics.items():
        if isinstance(metric, OnMasks):
            yield name, metric.of_rows(arguments[2], indices)
        else:
            yield name, shared[name] if name in shared else metric(*arguments)


def joined(parts: Sequence[Columns]) -> Columns:
    """Columns below each other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def _deltas(delta: Any, n_rows: int) -> Any:
    """One delta for each row; Captum's methods that draw several points for each row give one for each of them."""
    values = torch.as_tensor(delta).detach()
    if values.dim() == 1 and len(values) % n_rows == 0:
        values = values.reshape(n_rows, -1).mean(1)
    return _numbers("delta", values, n_rows)


def _numbers(name: str, value: PerturbationCurve | Tensor, n_rows: int) -> Any:
    """One float64 for each row; NaN where a curve is not valid."""
    if isinstance(value, PerturbationCurve):
        value = torch.where(value.valid, value.auc, torch.nan)
    numbers = torch.as_tensor(value).detach().cpu().double()
    if numbers.shape != (n_rows,):
        raise ArgumentError("fields", f"one number of {name} for each of the {n_rows} rows", describe(numbers))
    return numbers.numpy()


def _points(curve: PerturbationCurve) -> Any:
    """Points (N, 2, S) of curves: shares of the pixels, and scores there, NaN where a curve is not valid."""
    scores = torch.where(curve.valid[:, None], curve.scores, torch.nan).detach().cpu().double()
    shares = curve.fractions.detach().cpu().double().expand_as(scores)
    return torch.stack([shares, scores], 1).numpy()


def _check_in_range(target: Sequence[int], batch: Batch, n_classes: int) -> None:
    for place, entry in enumerate(target):
        if not 0 <= entry < n_classes:
            received = f"{entry} for sample {batch.indices[place]}"
            raise ArgumentError("target", f"an index from 0 to {n_classes - 1}, the model's outputs", received)
