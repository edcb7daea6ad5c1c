"""Layers worth explaining: the last features that still have places, and that the scores depend on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.checks import describe
from captum_ext.exceptions import AdaptError, ArgumentError, ArgumentTypeError
from captum_ext.models.recording import Call, Recording
from captum_ext.models.token_grids import GridReader, check_maps

_MOST = 48  # candidates, from the end, whose gradients are looked at
_PASSING = ("Identity", "Drop", "Stochastic", "Pool", "Flatten", "Permute", "LayerScale", "Rearrange")
_INSIDE = ("attn", "attention", "mlp", "ffn", "feed_forward", "token_mixer")
_ENCODERS = ("backbone", "body", "encoder", "visual")


@dataclass(frozen=True)
class Candidate:
    """A layer, and how its features are to be read.

    Attributes:
        name: in the model.
        output: its features in the pass.
        read: makes maps of them.
        shape: of a row of these maps, (C, h, w).
        channels_last: whether channels come last in its features; None: a function of the caller knows.
    """

    name: str
    output: Tensor
    read: Callable[[Tensor], Tensor]
    shape: tuple[int, ...]
    channels_last: bool | None

    def at_positions(self, gradient: Tensor) -> Tensor:
        """Sizes (N, h, w) of a gradient at the layer's positions, without those of class and register tokens."""
        return self.read(gradient).abs().sum(1)

    @property
    def n_channels(self) -> int:
        """Channels of the features."""
        return self.shape[0]


def find_candidates(
    recording: Recording,
    reader: GridReader,
    size: tuple[int, ...],
    kind: str,
    function: Callable[[Tensor], Tensor] | None,
) -> list[Candidate]:
    """Layers whose features have several positions, the best ones first.

    For scores of whole images these are the last. Maps and detections are made of finer features at the end: there the
    coarsest grid comes first, in the backbone or encoder where there is one. Of a detector with several grids (SSD) it
    is the coarsest that all heads depend on: behind it, what was found on another grid has no gradient. A function of
    the caller's that makes maps of features takes the place of `reader` in the end, and is tried on each.
    """
    found = list(_with_positions(recording, reader, size))[::-1]
    if function is not None:
        found = [one for one in (_by_function(one, function, len(size)) for one in found) if one is not None]
    if kind not in ("maps", "detections"):
        return found[:_MOST]
    inside = [one for one in found if _is_encoder(one.name)] or found
    if kind == "detections":
        heads = [call.output for call in recording.calls if not _is_encoder(call.name) and _has_positions(call.output)]
        inside = _behind_all(inside, [head for head in heads if head is not None]) or inside
    return sorted(inside, key=lambda one: math.prod(one.shape[1:]))[:_MOST]


def _is_encoder(name: str) -> bool:
    return any(part in _ENCODERS for part in name.split("."))


def _has_positions(output: Tensor | None) -> bool:
    return output is not None and output.dim() > 3 and output.requires_grad


def _behind_all(candidates: list[Candidate], outputs: list[Tensor]) -> list[Candidate]:
    """Those candidates on which the outputs of all heads depend: of those of which no other candidate is made."""
    inner = _ancestors([before for one in candidates for before in _before(one.output.grad_fn)])
    heads = [_ancestors([output.grad_fn]) for output in outputs if output.grad_fn not in inner]
    return [one for one in candidates if all(one.output.grad_fn in of_head for of_head in heads)]


def _ancestors(nodes: list[Any]) -> set[Any]:
    """These nodes of a graph, and all that they were computed by."""
    found: set[Any] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo.extend(_before(node))
    return found


def _before(node: Any) -> list[Any]:
    return [before for before, _ in node.next_functions if before is not None]


def _by_function(candidate: Candidate, function: Callable[[Tensor], Tensor], rank: int) -> Candidate | None:
    """The candidate as a function of the caller reads it; None where it does not."""
    try:
        maps = check_maps(function(candidate.output), len(candidate.output), rank)
    except Exception:  # it is for the features of some layers only
        return None
    return replace(candidate, read=function, shape=tuple(maps.shape[1:]), channels_last=None)


def _with_positions(recording: Recording, reader: GridReader, size: tuple[int, ...]) -> Iterator[Candidate]:
    """One candidate for each tensor, under the name of the outermost module that returns it."""
    names: dict[int, Candidate] = {}
    last_said: dict[tuple[int, ...], bool | None] = {}
    for call in recording.calls:
        output = call.output
        if output is None or output.dim() < 3:
            continue
        shape = tuple(output.shape)
        if call.channels_last is not None or type(call.module).__name__.startswith("Permute"):
            last_said[shape] = call.channels_last
        if recording.times[call.name] != 1 or not output.requires_grad or _is_passing(call.module):
            continue
        try:
            layout = reader.layout(shape, size, last_said.get(shape))
        except AdaptError:
            continue
        if math.prod(layout.grid) > 1 and not _is_inside(call) and (not layout.channels_last or _is_stage(call.module)):
            names.pop(id(output), None)  # the latest name, at the place of the tensor's last module
            maps = layout.apply(output)
            names[id(output)] = Candidate(call.name, output, layout.apply, tuple(maps.shape[1:]), layout.channels_last)
    yield from names.values()


def _is_passing(module: nn.Module) -> bool:
    """Whether a module without parts hands features on, pools or orders them."""
    name = type(module).__name__
    return not any(True for _ in module.children()) and any(part in name for part in _PASSING)


def _is_inside(call: Call) -> bool:
    """Whether a module is attention or a perceptron of a block, or inside of one: only its sum with others goes on."""
    *around, own = call.name.lower().split(".")
    named = any(part in _INSIDE for part in around) or any(part in own for part in _INSIDE)
    return named or "Attention" in type(call.module).__name__


def _is_stage(module: nn.Module) -> bool:
    """Whether features of tokens are those of a block, a stage or a norm."""
    return any("Norm" in type(part).__name__ for part in module.modules())


def named_layer(model: nn.Module, layer: str | nn.Module) -> str:
    """Name of a layer that the caller gives by name or itself.

    Raises:
        ArgumentTypeError, ArgumentError: neither, or not of the model.
    """
    modules = dict(model.named_modules())
    if isinstance(layer, nn.Module):
        name: str | None = next((name for name, module in modules.items() if module is layer and name), None)
        if name is None:
            raise ArgumentError("layer", "a module inside of the model", type(layer).__name__)
        return name
    if not isinstance(layer, str):
        raise ArgumentTypeError("layer", "a module of the model, or its name", describe(layer))
    if not layer or layer not in modules:
        close = get_close_matches(layer, [name for name in modules if name], n=3, cutoff=0.4)
        hint = f", such as {', '.join(map(repr, close))}" if close else ""
        raise ArgumentError("layer", f"the name of a module of the model{hint}", repr(layer))
    return layer


def only_call(recording: Recording, name: str) -> Call:
    """The call of a layer that the caller names.

    Raises:
        ArgumentError: it is not called once, or returns no tensor with a row for each input that has a gradient.
    """
    calls = [call for call in recording.calls if call.name == name]
    if len(calls) != 1:
        received = "is not called by the model" if not calls else f"is called {len(calls)} times in a pass"
        raise ArgumentError("layer", "a module that is called once", f"{name!r}, which {received}")
    if calls[0].output is None:
        expected = "a module that returns a tensor with a row for each input"
        raise ArgumentError("layer", expected, f"{name!r}, which returns {calls[0].received}")
    if not calls[0].output.requires_grad:
        received = f"{name!r}, which the model computes without gradients"
        raise ArgumentError("layer", "a module that gradients reach", received)
    return calls[0]


def said_before(recording: Recording, call: Call) -> bool | None:
    """Whether channels are last after a call, from the last module that says it of this shape."""
    said = None
    for one in recording.calls:
        same = one.output is not None and call.output is not None and one.output.shape == call.output.shape
        if same and (one.channels_last is not None or type(one.module).__name__.startswith("Permute")):
            said = one.channels_last
        if one is call:
            return said
    return said


def embedding_layer(model: nn.Module, recording: Recording) -> str:
    """Name of the embedding of token ids: what a Hugging Face model says it is, or the first that is called.

    Raises:
        AdaptError: none is called.
    """
    stated = getattr(model, "get_input_embeddings", None)
    embedding = stated() if callable(stated) else None
    for call in recording.calls:
        if call.module is embedding or (embedding is None and isinstance(call.module, nn.Embedding)):
            return call.name
    raise AdaptError(f"{type(model).__name__} calls no embedding of its token ids: pass layer=.")


def reaches(gradient: Tensor | None) -> bool:
    """Whether a gradient is there and is not zero everywhere."""
    return gradient is not None and bool(torch.any(gradient != 0))
