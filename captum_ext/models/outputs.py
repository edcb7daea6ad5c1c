"""From what a model returns to one row for each image: which part of it, and what it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from torch import Tensor

from captum_ext.core.checks import describe
from captum_ext.core.output_rows import describe_output
from captum_ext.core.text import shown
from captum_ext.exceptions import AdaptError, ArgumentError, ArgumentTypeError, ModelOutputError, OutputRowsError
from captum_ext.models.facts import FOUND, GIVEN

#: A key, an attribute, a position, or a function of what the model returns.
Part: TypeAlias = str | int | Callable[[Any], Any]

_BOXES = ("pred_boxes", "boxes")
_SCORES = ("logits", "logits_per_image", "out")
_EMBEDDINGS = ("image_embeds", "pooler_output", "image_features")
_DETECTED = ("pred_logits", "scores")
_WHAT = {1: "one score", 2: "scores"}


@dataclass(frozen=True)
class Reading:
    """Which part of what a model returns has the rows, and what they are.

    Attributes:
        part: a key, an attribute, a position or a function; None: all of it.
        kind: "scores" (N, K), "maps" (N, K, ...), "embedding" (N, D), or "detections", which stay as the model
            returns them.
        row_shape: shape of one row of the part, without the rows; None of detections.
        origin: where `part` is known from.
    """

    part: Part | None
    kind: str
    row_shape: tuple[int, ...] | None
    origin: str

    def __call__(self, returned: Any, n_rows: int) -> Any:
        """Rows (N, ...) of what the model returned for N images; the numbers are the model's.

        Raises:
            OutputRowsError: another number of rows.
            ModelOutputError: the part is missing, or is no tensor.
        """
        value = returned if self.part is None else _part_of(returned, self.part)
        if self.row_shape is None:
            _check_detections(value, n_rows)
            return value
        if not isinstance(value, Tensor):
            raise ModelOutputError(f"Expected {self.label} of the model to be a tensor, but got {describe(value)}.")
        if n_rows == 1 and value.dim() == len(self.row_shape):  # the model squeezed the batch of one away
            value = value[None]
        if value.dim() == 0 or len(value) != n_rows:
            raise OutputRowsError(
                f"Expected the model to return one row for each of the {n_rows} images that it was given, but got "
                f"{describe(value)}."
            )
        return value[:, None] if value.dim() == 1 else value

    @property
    def label(self) -> str:
        """Name of the part."""
        if self.part is None:
            return "the output"
        return f"output {describe(self.part)}" if callable(self.part) else f"output {shown(repr(self.part), 60)}"

    @property
    def n_outputs(self) -> int:
        """Scores, maps or numbers in a row; 0 of detections."""
        return 0 if self.row_shape is None else (*self.row_shape, 1)[0]

    def __str__(self) -> str:
        if self.row_shape is None:
            return f"detections, as the model returns them ({self.label})"
        shape = ", ".join(["N", *map(str, self.row_shape or (1,))])
        return f"{self.kind} ({shape}) from {self.label}"


def find_reading(returned: Any, n_rows: int, given: Part | None, embeds: bool) -> Reading:
    """How to read rows from what a model returned for N images.

    Args:
        returned: by the model.
        n_rows: N.
        given: the part that the caller names; None: it is looked for.
        embeds: the model was asked for embeddings.

    Raises:
        ArgumentError, ArgumentTypeError: the part that is given is not there, or is nothing that names one.
        AdaptError: it is not clear which part has the scores.
        ModelOutputError, OutputRowsError: no tensor, or another number of rows.
    """
    if given is not None:
        if not (isinstance(given, str | int) or callable(given)) or isinstance(given, bool):
            raise ArgumentTypeError("output", "a key, an attribute, a position or a function", describe(given))
        try:
            value = _part_of(returned, given)
        except ModelOutputError as error:
            raise ArgumentError(
                "output", f"a part of what the model returns: {describe_output(returned)}", describe(given)
            ) from error
        return _read(value, n_rows, Reading(given, "scores", (), GIVEN), embeds)
    part, kind = _found_part(returned, n_rows)
    if kind == "detections":
        return _read(returned, n_rows, Reading(None, kind, None, FOUND), embeds)
    value = returned if part is None else _part_of(returned, part)
    return _read(value, n_rows, Reading(part, kind, (), FOUND), embeds)


def seeds_of(rows: Any, position: int) -> list[Tensor]:
    """Tensors in floating point of one row, whatever holds them, that autograd can go back from."""
    if isinstance(rows, Tensor):
        one = rows[position]
        return [one] if one.requires_grad else []
    if isinstance(rows, list) and position < len(rows) and isinstance(rows[position], Mapping):
        found = [value for value in rows[position].values() if isinstance(value, Tensor)]
    else:
        with_rows = {name: value for name, value in _parts(rows) if isinstance(value, Tensor) and value.dim() > 0}
        # Of a detector its boxes and scores, and not the features that it returns beside them.
        named = [value for name, value in with_rows.items() if name in (*_BOXES, *_SCORES, *_DETECTED)]
        found = [value[position] for value in named or with_rows.values()]
    return [one for one in found if one.requires_grad and one.numel()]


def _found_part(returned: Any, n_rows: int) -> tuple[Part | None, str]:
    """The part with the rows, and what they are."""
    if isinstance(returned, Tensor):
        return None, "scores"
    if isinstance(returned, list) and len(returned) == n_rows and all(isinstance(one, Mapping) for one in returned):
        return None, "detections"
    parts = dict(_parts(returned))
    if any(name in parts for name in _BOXES):
        return None, "detections"
    for names, kind in ((_SCORES, "scores"), (_EMBEDDINGS, "embedding")):
        for name in names:
            if isinstance(parts.get(name), Tensor):
                return name, kind
    with_rows = [key for key, value in parts.items() if isinstance(value, Tensor) and value.shape[:1] == (n_rows,)]
    if isinstance(returned, tuple | list):  # of a tuple only a matrix is taken for scores
        with_rows = [key for key in with_rows if parts[key].dim() == 2]
    if len(with_rows) != 1:
        why = "has no part with a row for each image" if not with_rows else "has several parts that may be the scores"
        raise AdaptError(
            f"What the model returns {why}: {describe_output(returned)}. Pass output= with a key or position, or a "
            "function of what the model returns that gives a tensor with one row for each image."
        )
    return with_rows[0], "scores"


def _read(value: Any, n_rows: int, reading: Reading, embeds: bool) -> Reading:
    """The reading with what its rows are."""
    if not isinstance(value, Tensor):
        if reading.kind == "detections" or isinstance(value, list):
            _check_detections(value, n_rows)
            return replace(reading, kind="detections", row_shape=None)
        raise ModelOutputError(f"Expected {reading.label} of the model to be a tensor, but got {describe(value)}.")
    if value.dim() == 0 or len(value) != n_rows:
        raise OutputRowsError(
            f"Expected {reading.label} of the model to have one row for each of the {n_rows} images of the test, but "
            f"got {describe(value)}. Pass output= with a function that gives one row for each image."
        )
    if not value.is_floating_point():
        raise ModelOutputError(
            f"Expected {reading.label} of the model to be scores in floating point, but got {describe(value)}: classes "
            "that are chosen already have no gradient. Pass output= with the part that has the scores."
        )
    shape = tuple(value.shape[1:])
    kind = "embedding" if embeds and len(shape) == 1 else "maps" if len(shape) > 1 else reading.kind
    return replace(reading, kind=kind, row_shape=shape)


def _check_detections(value: Any, n_rows: int) -> None:
    """Raise unless a list, or every tensor of a mapping, has an entry for each image."""
    if isinstance(value, list):
        n_found = len(value)
    else:
        counts = {len(one) for _, one in _parts(value) if isinstance(one, Tensor) and one.dim() > 1}
        n_found = counts.pop() if len(counts) == 1 else -1
    if n_found != n_rows:
        raise OutputRowsError(
            f"Expected the model to return detections for each of the {n_rows} images that it was given, but got "
            f"{describe_output(value)}."
        )


def _part_of(returned: Any, part: Part) -> Any:
    if callable(part):
        return part(returned)
    if isinstance(part, str) and not isinstance(returned, Mapping):
        if hasattr(returned, part) and not isinstance(returned, Tensor):
            return getattr(returned, part)
        raise ModelOutputError(f"What the model returns has no part {part!r}: {describe_output(returned)}.")
    try:
        return returned[part]
    except (KeyError, IndexError, TypeError) as error:
        raise ModelOutputError(f"What the model returns has no part {part!r}: {describe_output(returned)}.") from error


def _parts(returned: Any) -> Iterator[tuple[Any, Any]]:
    """Keys and values of a mapping, a dataclass, a named tuple, a tuple or a list."""
    if isinstance(returned, Mapping):
        yield from returned.items()
    elif dataclasses.is_dataclass(returned) and not isinstance(returned, type):
        yield from ((field.name, getattr(returned, field.name)) for field in dataclasses.fields(returned))
    elif isinstance(returned, tuple) and hasattr(returned, "_fields"):
        yield from zip(returned._fields, returned, strict=True)
    elif isinstance(returned, tuple | list):
        yield from enumerate(returned)
