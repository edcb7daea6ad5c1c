"""Weights of a file put into a model, which are never unpickled code."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.exceptions import ArgumentError, ModelLoadError
from captum_ext_integrations.cli.files import regular_file
from captum_ext_integrations.cli.pickle_headers import Stored
from captum_ext_integrations.cli.weight_files import WeightFile

# Heads that help in training only, and are not built here.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
_OLD_DENSENET = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var|num_batches_tracked))$"
)
_COUNTER = "num_batches_tracked"  # of steps of the training; a mean of several checkpoints has floats there


def load_weights(model: nn.Module, path: Path, name: str, *, max_bytes: int | None = None) -> None:
    """Load a state dict without unpickling code.

    Names and shapes are compared with the model's before the data are read, which are copied out of the file.

    Args:
        model: what gets the weights.
        path: safetensors, or a state dict as torch.save writes it.
        name: of the model, for messages.
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
            shapes = _shapes_of(weights.header(), name, path)
            _check_fit(wanted, _renamed(shapes), name, str(path))
            loaded = weights.read()
    except (ModelLoadError, ArgumentError):
        raise
    except Exception as error:  # a file that is no weights fails in as many ways as there are files
        reason = first_line(error).removeprefix(f"{path}: ")
        raise ModelLoadError(
            f"Expected weights of {name} (safetensors or a state dict), but got {path}: {reason}"
        ) from error
    fill(model, loaded, name, str(path))


def fill(model: nn.Module, loaded: dict[str, Tensor], name: str, where: str) -> None:
    """Put weights into a model, whose rules for older files apply.

    Raises:
        ModelLoadError: they belong to another architecture, or hold no numbers.
    """
    loaded = _renamed(loaded)
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


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return {key: value for key, value in model.state_dict().items() if isinstance(value, Tensor)}


def _shapes_of(header: Any, name: str, path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by name; a file of other things than tensors is refused."""
    if not isinstance(header, Mapping) or not all(isinstance(entry, Stored) for entry in header.values()):
        raise ModelLoadError(f"Expected a state dict of {name} in {path}, but got {type(header).__name__}.")
    if not all(isinstance(key, str) for key in header):
        raise ModelLoadError(f"Expected a state dict of {name} in {path}, but got tensors without names.")
    odd = [f"{key}, a {entry.kind} tensor" for key, entry in header.items() if entry.kind]
    if odd:
        raise ModelLoadError(
            f"Expected plain tensors of {name} in {path}, but got {len(odd)} others, such as {odd[0]}."
        )
    return {key: entry.shape for key, entry in header.items()}


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
    differences = "; ".join(f"{len(keys)} {what}, such as {keys[0]}" for what, keys in parts.items() if keys)
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


def _renamed(loaded: dict[str, Any]) -> dict[str, Any]:
    """Torchvision's DenseNet files have names from before 2017, such as `denselayer1.norm.1.weight`."""
    if not any(_OLD_DENSENET.match(key) for key in loaded):
        return loaded
    return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in loaded.items()}


def first_line(error: Exception) -> str:
    """What an error says first, or its class."""
    return str(error).splitlines()[0] if str(error).strip() else type(error).__name__
