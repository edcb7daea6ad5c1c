"""Models of transformers: of a folder as `save_pretrained` writes it, or of the hub by name."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from captum_ext.exceptions import ArgumentError, ModelLoadError
from captum_ext.models.model_facts import by_number
from captum_ext_integrations.cli.preparation import Preparation
from captum_ext_integrations.cli.sources import ModelSpec, Source, Texts, embedded, library
from captum_ext_integrations.cli.weights import first_line, load_weights

# The auto classes, the first one that has a model for the architecture, and what their tables are called.
_TASKS = {
    "AutoModelForImageClassification": "IMAGE_CLASSIFICATION",
    "AutoModelForSemanticSegmentation": "SEMANTIC_SEGMENTATION",
    "AutoModelForObjectDetection": "OBJECT_DETECTION",
    "AutoModelForZeroShotImageClassification": "ZERO_SHOT_IMAGE_CLASSIFICATION",
}
_ANY = "AutoModel"
_NO_CODE = {"trust_remote_code": False}
_SIDE = 224
_MOST_NAMED = 3


def of_transformers(name: str, spec: ModelSpec) -> Source:
    """A model of transformers with its processor; no code of its folder is run.

    Raises:
        ModelLoadError: transformers is not installed, no such folder or model, a folder without config or with other
            weights than its config says, no connection.
        ArgumentError: options that its config or its processor decide.
    """
    transformers = library("transformers", "hf", "hf:NAME_OR_PATH")
    spec.refuse("left out: the model's config says it", "channels")
    folder = _folder(name, spec)
    with _quiet(transformers):
        config = _loaded(transformers.AutoConfig, name, spec, {})
        kind = getattr(transformers, _auto_class(config))
        processor = _processor(transformers, name, spec, folder)
        model = _model(kind, config, name, spec)
        texts = _texts(transformers, model, name, spec)
    preparation = None if processor is not None else _plain(config, spec)
    described = None if processor is None else processor.to_dict()
    names = by_number(getattr(config, "id2label", None)) if texts is None else ()
    return Source(model, preparation, processor, described, names, texts)


def _folder(name: str, spec: ModelSpec) -> Path | None:
    """The folder that is meant, if it is one.

    Raises:
        ModelLoadError: a path where no folder with a config is.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelLoadError(
                f"Expected {spec.name} to be a folder as save_pretrained writes it, but {path} has no config.json."
            )
        return path
    if path.exists() or name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise ModelLoadError(
            f"Expected {spec.name} to name a model of the hub (hf:OWNER/NAME), or a folder as save_pretrained writes "
            f"it, but there is no folder {path}."
        )
    return None


def _loaded(kind: Any, name: str, spec: ModelSpec, options: dict[str, Any]) -> Any:
    """Something of the folder or the hub."""
    try:
        return kind.from_pretrained(str(Path(name).expanduser()), **_NO_CODE, **options)
    except Exception as error:  # of the hub's client, of files, of other versions
        reason = first_line(error).rstrip(".")
        if Path(name).expanduser().is_dir():
            raise ModelLoadError(
                f"Expected {spec.name} to be a folder that transformers loads, but: {reason}."
            ) from error
        raise ModelLoadError(
            f"{spec.name} could not be loaded from the hub ({reason}). See that the name is right, or, without a "
            "connection, pass a folder that save_pretrained wrote: --model hf:FOLDER."
        ) from error


def _auto_class(config: Any) -> str:
    """Name of the auto class of a config: that of the class that was saved, or the first with one of its type."""
    tables: Any = library("transformers.models.auto.modeling_auto", "hf", "hf:NAME_OR_PATH")
    saved = set(getattr(config, "architectures", None) or ())
    first = None
    for kind, task in _TASKS.items():
        known = getattr(tables, f"MODEL_FOR_{task}_MAPPING_NAMES").get(config.model_type)
        names = {known} if isinstance(known, str) else set(known or ())
        if saved & names:
            return kind
        first = first or (kind if names else None)
    return _ANY if saved or first is None else first


def _model(kind: Any, config: Any, name: str, spec: ModelSpec) -> nn.Module:
    """The model with its weights, in float32.

    Raises:
        ModelLoadError: weights that are missing, which transformers would draw at random, or of another shape.
    """
    if spec.weights is not None:
        if spec.n_classes is not None:
            config.num_labels = spec.n_classes
        model: nn.Module = kind.from_config(config, **_NO_CODE)
        load_weights(model, spec.weights, spec.name, key=spec.weights_key)
        return model.float()
    spec.refuse("given together with --weights FILE of such a model", "n_classes")
    options = {"dtype": torch.float32, "output_loading_info": True, "weights_only": True}
    model, info = _loaded(kind, name, spec, options)
    missing = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
    if missing:
        raise ModelLoadError(
            f"Expected the weights of {type(model).__name__} in {spec.name}, but {len(missing)} tensors are missing or "
            f"of another shape, such as {', '.join(missing[:_MOST_NAMED])}: they would be random numbers."
        )
    return model


def _processor(transformers: Any, name: str, spec: ModelSpec, folder: Path | None) -> Any:
    """The processor of images, with what is said otherwise; None where a folder has none.

    Raises:
        ModelLoadError: it cannot be loaded.
        ArgumentError: a size that it does not have.
    """
    kind = transformers.AutoImageProcessor
    files = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
    if folder is not None and not any((folder / one).is_file() for one in files):
        return None
    given: dict[str, Any] = {
        key: list(value) for key, value in (("image_mean", spec.mean), ("image_std", spec.std)) if value is not None
    }
    if spec.resize is not None or spec.crop is not None:
        given |= _sizes(_loaded(kind, name, spec, {}), spec)
    return _loaded(kind, name, spec, given)


def _sizes(processor: Any, spec: ModelSpec) -> dict[str, Any]:
    """What --resize and --crop mean for a processor."""
    sizes: dict[str, Any] = {}
    if spec.crop is not None:
        if not getattr(processor, "do_center_crop", False):
            raise ArgumentError("crop", "left out: this processor resizes without a crop (--resize)", str(spec.crop))
        sizes["crop_size"] = {"height": spec.crop, "width": spec.crop}
    side = spec.resize or spec.crop
    of_short = dict(processor.size).get("shortest_edge")
    least = spec.crop if spec.resize is None and of_short and of_short > (spec.crop or 0) else side
    if spec.resize is not None or least == spec.crop:
        sizes["size"] = {"shortest_edge": side} if of_short else {"height": side, "width": side}
    return sizes


def _plain(config: Any, spec: ModelSpec) -> Preparation:
    """A square of the size that the config says, with the normalisation that is given.

    Raises:
        ArgumentError: none is given, and no processor says it.
    """
    for option in ("mean", "std"):
        if getattr(spec, option) is None:
            expected = f"given for {spec.name}, whose folder has no preprocessor_config.json, as --{option} NUMBER"
            raise ArgumentError(option, expected, "nothing")
    side = getattr(getattr(config, "vision_config", None) or config, "image_size", None)
    crop = spec.crop or (side if isinstance(side, int) else _SIDE)
    return Preparation(spec.resize or crop, crop, spec.mean or (), spec.std or ())


def _texts(transformers: Any, model: nn.Module, name: str, spec: ModelSpec) -> Texts | None:
    """The text tower, if the model has one and texts are given."""
    if not callable(getattr(model, "get_text_features", None)):
        return None
    scale = getattr(model, "logit_scale", None)
    bias = getattr(model, "logit_bias", None)
    tokenizer = _loaded(transformers.AutoTokenizer, name, spec, {}) if spec.texts else None
    return Texts(
        partial(embedded, model, tokenizer),
        1.0 if scale is None else float(scale.detach().exp()),
        0.0 if bias is None else float(bias.detach()),
    )


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without bars and remarks of transformers, which says them beside what is told here."""
    logging = transformers.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(before)
