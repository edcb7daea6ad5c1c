"""Models of open_clip, with their tokenizer and their preparation."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from captum_ext.exceptions import ModelLoadError
from captum_ext_integrations.cli.sources import ModelSpec, Source, Texts, embedded, library, offline, unknown
from captum_ext_integrations.cli.weights import load_weights


def of_open_clip(name: str, spec: ModelSpec) -> Source:
    """A model of open_clip with the weights of a file, or with those of one of its pretrained tags.

    Raises:
        ModelLoadError: open_clip is not installed, no such model or tag, weights that do not fit or cannot be
            downloaded.
        ArgumentError: options that its config decides.
    """
    open_clip = library("open_clip", "clip", "open_clip:NAME")
    if name not in open_clip.list_models():
        raise ModelLoadError(unknown(f"open_clip:{name}", [f"open_clip:{one}" for one in open_clip.list_models()]))
    spec.refuse("left out: the model's config says it", "channels", "n_classes", "resize")
    tag = _tag(open_clip, name, spec)
    given: dict[str, Any] = {"image_mean": spec.mean, "image_std": spec.std, "force_image_size": spec.crop}
    try:
        with _without_remarks():
            model, _, transform = open_clip.create_model_and_transforms(
                name, pretrained=tag, pretrained_text=False, weights_only=True, **given
            )
    except Exception as error:  # the hub's client has its errors, too
        if tag is None:
            raise
        raise ModelLoadError(offline(f"open_clip:{name}", error)) from error
    if tag is None and spec.weights is not None:
        load_weights(model, spec.weights, spec.name, key=spec.weights_key)
    tokenizer = open_clip.get_tokenizer(name) if spec.texts else None
    bias = getattr(model, "logit_bias", None)
    scale = float(model.logit_scale.detach().exp())
    texts = Texts(partial(embedded, model, tokenizer), scale, 0.0 if bias is None else float(bias.detach()))
    return Source(model, processor=transform, texts=texts)


def _tag(open_clip: Any, name: str, spec: ModelSpec) -> str | None:
    """The pretrained tag that --weights names; None where it is a file.

    Raises:
        ModelLoadError: neither, or nothing.
    """
    tags = open_clip.list_pretrained_tags_by_model(name)
    if spec.weights is not None and (spec.weights.exists() or str(spec.weights) not in tags):
        if spec.weights.exists() or spec.weights.suffix:
            return None
        raise ModelLoadError(_which(name, tags, f"{spec.weights} is neither"))
    if spec.weights is None:
        raise ModelLoadError(_which(name, tags, "nothing is given"))
    return str(spec.weights)


def _which(name: str, tags: list[str], received: str) -> str:
    listed = f"one of {', '.join(tags)}" if tags else "of which there are none"
    return f"Expected --weights of open_clip:{name} to be a file, or a pretrained tag ({listed}), but {received}."


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Without open_clip's remark that weights are random, which a file fills afterwards."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(before)
