"""Names of a model's classes: given, in a file, with the weights, or in the model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from captum_ext.core.checks import describe
from captum_ext.core.text import shown
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.models.facts import GIVEN, Fact
from captum_ext.models.model_facts import by_number, model_class_names
from captum_ext.models.outputs import Reading
from captum_ext.models.texts import TextLogits

_EXPECTED = "names, a mapping from numbers to names, or a file with a name a line or JSON"


def find_class_names(
    given: Sequence[str] | Mapping[int, str] | str | Path | None,
    reading: Reading,
    processor: Any,
    model: nn.Module,
    texts: TextLogits | None = None,
) -> Fact[tuple[str, ...] | None]:
    """Names of the outputs: as given, or else texts, or those of the weights, the config or timm, if they are as many.

    Raises:
        ArgumentTypeError, ArgumentError: no names, another number than outputs, or a file that cannot be read.
    """
    if given is not None:
        names, origin = _given_names(given)
        if reading.row_shape is not None and len(names) != reading.n_outputs:
            raise ArgumentError("class_names", f"a name for each of the {reading.n_outputs} outputs", f"{len(names)}")
        return Fact(names, origin)
    if texts is not None:
        return Fact(texts.texts, "the texts")
    if reading.kind == "embedding":
        return Fact(None, "an embedding has no classes")
    meta = getattr(processor, "meta", None)
    categories = meta.get("categories") if isinstance(meta, Mapping) else None
    if isinstance(categories, list | tuple) and len(categories) == reading.n_outputs:
        return Fact(tuple(map(str, categories)), "torchvision's weights")
    return model_class_names(model, reading.n_outputs)


def _given_names(given: Any) -> tuple[tuple[str, ...], str]:
    origin = GIVEN
    if isinstance(given, str | Path):
        origin, given = f"{GIVEN} in {shown(Path(given).name)}", _read(Path(given))
    if isinstance(given, Mapping):
        names = by_number(given)
        if not names:
            raise ArgumentError("class_names", "a mapping from every number from 0 on to a name", describe(given))
        return names, origin
    if not isinstance(given, list | tuple) or not given or not all(isinstance(name, str) for name in given):
        raise ArgumentTypeError("class_names", _EXPECTED, describe(given))
    return tuple(given), origin


def _read(path: Path) -> Any:
    """Names in a file: JSON by its ending, else one a line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            return json.loads(text)
    except (OSError, ValueError) as error:
        raise ArgumentError("class_names", _EXPECTED, f"{path}: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
