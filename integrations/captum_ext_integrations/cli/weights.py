"""Weights of a file put into a model, which are never unpickled code."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.regular_files import regular_file
from captum_ext.core.warn import warn_caller
from captum_ext.exceptions import ArgumentError, ModelLoadError
from captum_ext_integrations.cli.checkpoints import StateDict, modern_names, seen_by, state_dicts
from captum_ext_integrations.cli.pickle_headers import Other, Stored
from captum_ext_integrations.cli.weight_files import WeightFile

# Heads that help in training only, and are not built here.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.", "aux_classifier.")
_MOST_NAMED = 3
_COUNTER = "num_batches_tracked"  # of steps of the training; a mean of several checkpoints has floats there


def load_weights(
    model: nn.Module, path: Path, name: str, *, key: str | None = None, max_bytes: int | None = None
) -> None:
    """Load a state dict without unpickling code, alone in a file or in a checkpoint as trainers save them.

    Names and shapes are compared with the model's before the data are read, which are copied out of the file. Of a
    checkpoint the one state dict that fits is taken, and where several do the first that is no moving average, with
    a warning. Names lose what `DataParallel`, `torch.compile`, FSDP and trainers that hold the model as `self.model`
    put before them. Whatever else a checkpoint holds, as its optimizer and options, is left alone.

    Args:
        model: what gets the weights.
        path: safetensors, or what torch.save wrote: a state dict, or containers around one or several of them.
        name: of the model, for messages.
        key: which of several state dicts of a checkpoint: "state_dict_ema", or "ema.module" of one in two containers.
        max_bytes: what a compressed file may unpack to; None: four times what the file or the model has, or what
            CAPTUM_EXT_MAX_WEIGHTS_MB in the environment says.

    Raises:
        ModelLoadError: there is no such file, it is damaged, no state dict or unpacks to more, or it belongs to another
            architecture.
        ArgumentError: the environment variable holds no number.
    """
    wanted = _tensors(model)
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in wanted.values())
    try:
        with regular_file(path) as file:
            weights = WeightFile(file, path.suffix, n_bytes, max_bytes)
            header = weights.header()
            chosen = _chosen(header.content, wanted, name, path, key)
            loaded = chosen.taken(weights.read(header))
    except (ModelLoadError, ArgumentError):
        raise
    except Exception as error:  # a file that is no weights fails in as many ways as there are files
        reason = first_line(error).removeprefix(f"{path}: ")
        raise ModelLoadError(
            f"Expected weights of {name} (safetensors or a state dict), but got {path}: {reason}"
        ) from error
    fill(model, loaded, name, chosen.within(path))
    if chosen.beside:
        first = chosen.beside[0]
        warn_caller(f"{len(chosen.beside)} tensors of {path} are beside the weights of {name}, such as {first}.")


def fill(model: nn.Module, loaded: dict[str, Tensor], name: str, where: str) -> None:
    """Put weights into a model, whose rules for older files apply.

    Raises:
        ModelLoadError: they belong to another architecture, or hold no numbers.
    """
    loaded = modern_names(loaded)
    wanted = _tensors(model)
    _check_fit(wanted, {key: tuple(value.shape) for key, value in loaded.items()}, name, where)
    odd = [f"{key}, {what}" for key in wanted if key in loaded and (what := _odd(key, loaded[key], wanted[key]))]
    if odd:
        raise ModelLoadError(f"Expected numbers for {name} in {where}, but got {len(odd)} others, such as {odd[0]}.")
    metadata = getattr(loaded, "_metadata", None)  # safetensors has none: as the model has it, which is the newest
    state = OrderedDict(loaded)
    state._metadata = getattr(model.state_dict(), "_metadata", {}) if metadata is None else metadata  # type: ignore[attr-defined]
    try:
        result = model.load_state_dict(state, strict=False)
    except Exception as error:  # of the model's own rules
        raise ModelLoadError(f"Expected weights of {name} in {where}, but got: {first_line(error)}") from error
    missing = [key for key in result.missing_keys if not key.endswith(_COUNTER)]
    unexpected = [key for key in result.unexpected_keys if not key.startswith(_AUXILIARY)]
    if missing or unexpected:
        raise _other_architecture(len(wanted), missing, unexpected, [], name, where)


def _chosen(header: Any, wanted: dict[str, Tensor], name: str, path: Path, key: str | None) -> StateDict:
    """The state dict of a file that a model takes.

    Raises:
        ModelLoadError: there is none, none under this key, or one of other shapes or other things than numbers.
    """
    found = {".".join(place): (place, entries) for place, entries in state_dicts(header).items()}
    if not found:
        is_object = isinstance(header, Other)
        what = f"a whole {header.name}; save its state_dict() instead" if is_object else type(header).__name__
        raise ModelLoadError(f"Expected a state dict of {name} in {path}, but got {what}.")
    if key is not None and key not in found:
        there = ", ".join(repr(one) for one in found if one) or "one without a key"
        raise ModelLoadError(f"Expected a state dict of {name} in {path} under {key!r}, but got {there}.")
    seen = [seen_by(wanted, map(str, entries), place) for one, (place, entries) in found.items() if key in (None, one)]
    best = max(seen, key=lambda one: (one.n_known, not one.is_average))
    where = best.within(path)
    shapes = _shapes_of(found[best.key][1], name, where)
    _check_fit(wanted, {new: shapes[old] for old, new in best.names.items()}, name, where)
    others = [one.key for one in seen if one.n_known == best.n_known and one is not best]
    if others and best.n_known:
        warn_caller(f"{path} has several state dicts of {name}: {best.key} is taken, and not {', '.join(others)}.")
    return best


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}


def _shapes_of(entries: Mapping[Any, Stored], name: str, where: str) -> dict[str, tuple[int, ...]]:
    """Shapes by name; other tensors than plain ones are refused."""
    if not all(isinstance(key, str) for key in entries):
        raise ModelLoadError(f"Expected a state dict of {name} in {where}, but got tensors without names.")
    odd = [f"{key}, a {entry.kind} tensor" for key, entry in entries.items() if entry.kind]
    if odd:
        raise ModelLoadError(
            f"Expected plain tensors of {name} in {where}, but got {len(odd)} others, such as {odd[0]}."
        )
    return {key: entry.shape for key, entry in entries.items()}


def _check_fit(wanted: dict[str, Tensor], shapes: dict[str, tuple[int, ...]], name: str, where: str) -> None:
    """Refuse tensors of other shapes."""
    other = [
        f"{key} {shapes[key]} instead of {tuple(tensor.shape)}"
        for key, tensor in wanted.items()
        if key in shapes and shapes[key] != tuple(tensor.shape)
    ]
    if other:
        missing = [key for key in wanted if key not in shapes and not key.endswith(_COUNTER)]
        unexpected = [key for key in shapes if key not in wanted and not key.startswith(_AUXILIARY)]
        raise _other_architecture(len(wanted), missing, unexpected, other, name, where)


def _other_architecture(
    n_wanted: int, missing: list[str], unexpected: list[str], other: list[str], name: str, where: str
) -> ModelLoadError:
    parts = {"missing": missing, "unexpected": unexpected, "of another shape": other}
    differences = "; ".join(
        f"{len(keys)} {what}, such as {', '.join(keys[:_MOST_NAMED])}" for what, keys in parts.items() if keys
    )
    return ModelLoadError(
        f"Expected the {n_wanted} tensors of {name} in {where}, but got another architecture: {differences}."
    )


def _odd(key: str, value: Tensor, wanted: Tensor) -> str | None:
    """What a tensor is that gives no weights, whatever its shape."""
    if value.layout is not torch.strided or value.is_quantized or value.is_nested or value.device.type == "meta":
        return f"which is no plain tensor in memory ({value.layout}, {value.dtype}, {value.device})"
    kinds = [(tensor.is_floating_point(), tensor.is_complex()) for tensor in (value, wanted)]
    if kinds[0] != kinds[1] and not key.endswith(_COUNTER):
        return f"{value.dtype} instead of {wanted.dtype}"
    return None


def first_line(error: Exception) -> str:
    """What an error says first, or its class."""
    return str(error).splitlines()[0] if str(error).strip() else type(error).__name__
