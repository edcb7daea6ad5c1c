"""How a model takes its inputs: by position, as `pixel_values`, by a method of its own, or as token ids."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.exceptions import AdaptError
from captum_ext.models.texts import TextLogits

_IMAGE_METHODS = ("get_image_features", "encode_image")
_SOUND = ("input_values", "input_features", "audio_values")
_LARGER = "interpolate_pos_encoding"


@dataclass(frozen=True)
class Entry:
    """How inputs go into a model.

    Attributes:
        takes: "images" or "text".
        method: name of the method that is called; None: the model itself.
        keyword: name of the argument of the images; None: by position.
        position_size: size of the images that the model's positions are for; images of another size are passed with
            `interpolate_pos_encoding=True`, without which the model refuses them. None: it has no such argument.
        texts: what the embeddings of images are compared with; None: they are returned.
    """

    takes: str
    method: str | None = None
    keyword: str | None = None
    position_size: tuple[int, ...] | None = None
    texts: TextLogits | None = None

    def __call__(
        self, model: nn.Module, inputs: Tensor, attention_mask: Tensor | None = None, *, interpolate: bool = True
    ) -> Any:
        """What the model returns, as it is; with texts, its logits for them."""
        if self.takes == "text":
            given = {} if attention_mask is None else {"attention_mask": attention_mask}
            return model(input_ids=inputs, **given)
        function = model if self.method is None else getattr(unwrapped(model), self.method)
        options = self.options(inputs, interpolate)
        if self.texts is not None and not (self.texts.is_known and not unwrapped(model).training):
            own = self.texts.of_model(unwrapped(model), inputs, options)
            if own is not None:
                return own
        returned = function(**{self.keyword: inputs}, **options) if self.keyword else function(inputs, **options)
        return returned if self.texts is None else self.texts.of_embeddings(unwrapped(model), returned)

    def options(self, inputs: Tensor, interpolate: bool = True) -> dict[str, Any]:
        """What has to be passed beside images of this size."""
        larger = interpolate and self.position_size not in (None, tuple(inputs.shape[2:]))
        return {_LARGER: True} if larger else {}

    def __str__(self) -> str:
        if self.takes == "text":
            return "input_ids (N, L), attention_mask as the forward argument after them"
        name = "" if self.method is None else f".{self.method}"
        compared = "" if self.texts is None else f", compared with {len(self.texts.texts)} texts"
        return f"model{name}({'images' if self.keyword is None else f'{self.keyword}=images'}){compared}"


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside of what `torch.compile` or DataParallel put around it."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def find_entry(model: nn.Module) -> Entry:
    """How a model takes its inputs, from the signature of its `forward`.

    Raises:
        AdaptError: sound, or several inputs that have to be given.
    """
    inside = unwrapped(model)
    parameters = _parameters(inside.forward)
    if "pixel_values" in parameters and "input_ids" not in parameters:
        return Entry("images", keyword="pixel_values", position_size=_position_size(inside, parameters))
    for name in _IMAGE_METHODS:
        if callable(getattr(inside, name, None)):
            of_method = _parameters(getattr(inside, name))
            keyword = "pixel_values" if "pixel_values" in of_method else None
            return Entry("images", name, keyword, _position_size(inside, of_method))
    if "input_ids" in parameters and "pixel_values" not in parameters:
        return Entry("text")
    for name in _SOUND:
        if name in parameters:
            raise AdaptError(
                f"{type(inside).__name__} has no image input: it takes sound ({name}). The methods and metrics take "
                "it without adapt: pass a function of its inputs that returns one row of scores for each."
            )
    needed = [name for name, one in parameters.items() if _has_to_be_given(one)]
    if len(needed) > 1:
        raise AdaptError(
            f"{type(inside).__name__}.forward takes several inputs ({', '.join(needed)}), and it is not clear which "
            "are the images: pass a module whose forward takes images (N, C, H, W) alone."
        )
    return Entry("images")


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # functions of C have none
        return {}


def _has_to_be_given(parameter: inspect.Parameter) -> bool:
    by_name = parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    return by_name and parameter.default is parameter.empty


def _position_size(model: nn.Module, parameters: dict[str, inspect.Parameter]) -> tuple[int, ...] | None:
    """The size of images that the positions of a Hugging Face model are for, if it can interpolate them."""
    from captum_ext.models.model_facts import config_size

    return config_size(model) if _LARGER in parameters else None


def input_dtype(model: nn.Module) -> torch.dtype:
    """The dtype that images are passed in: that of the first parameter in floating point."""
    parameters = (*model.parameters(), *model.buffers())
    return next((one.dtype for one in parameters if one.is_floating_point()), torch.float32)


def input_device(model: nn.Module) -> torch.device:
    """Where images are passed: the device of the first parameter.

    Raises:
        AdaptError: it has no numbers.
    """
    first = next((one for one in (*model.parameters(), *model.buffers())), None)
    if first is not None and first.is_meta:
        raise AdaptError("The model's weights are on the device meta, without numbers: load them first.")
    return torch.device("cpu") if first is None else first.device
