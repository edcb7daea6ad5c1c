"""Images against texts: logits of CLIP, SigLIP and their like, with one column for each text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captum_ext.core.autocast import active_autocast
from captum_ext.core.checks import describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

_TAKEN = ("input_ids", "attention_mask")
_ALONE = "tokens_by_position"
_OPEN_CLIP = "encode_text"
_HUGGING_FACE = "get_text_features"


@dataclass(frozen=True)
class Texts:
    """Texts that a model compares images with, as classes: `adapt(model, processor, output=Texts([...]))`.

    Each is a class whose score is the model's own logit for image and text, with its scale and bias: of CLIP and SigLIP
    (transformers, open_clip), and of every model of transformers that returns `logits_per_image`. So methods, CAMs and
    metrics take the place of a text as target. `SimilarityTarget` is for other scales and for embeddings of images.

    Args:
        texts: at least one, such as "a photo of a cat".
        tokenizer: of the model, where its processor has none: a tokenizer of transformers, or
            `open_clip.get_tokenizer(NAME)`.

    Raises:
        ArgumentTypeError, ArgumentError: no list of texts, an empty text, or no tokenizer; in `adapt`, a model without
            a text encoder, no tokenizer, or a text that is too long for the model.

    Example:
        >>> from captum_ext.models import Texts
        >>> Texts(["a photo of a cat", "a photo of a dog"])
        Texts(texts=('a photo of a cat', 'a photo of a dog'), tokenizer=None)
    """

    texts: Sequence[str]
    tokenizer: Any = None

    def __post_init__(self) -> None:
        texts: Any = self.texts
        if not isinstance(texts, list | tuple) or not all(isinstance(one, str) for one in texts):
            raise ArgumentTypeError("texts", 'a list of texts, as ["a photo of a cat"]', describe(texts))
        if not texts or not all(one.strip() for one in texts):
            raise ArgumentError("texts", "a list of texts, none of which is empty", describe(texts))
        if self.tokenizer is not None and not callable(self.tokenizer):
            expected = "a function that makes tokens of a list of texts"
            raise ArgumentTypeError("tokenizer", expected, describe(self.tokenizer))
        object.__setattr__(self, "texts", tuple(texts))


class TextLogits(nn.Module):
    """Logits (N, T) of T texts from the embeddings (N, D) of images, as the model itself computes them.

    The texts are encoded once, and again where the model's weights have changed, or what else numbers depend on to the
    last bit: device, dtype, autocast, and whether gradients are recorded. Where the model's own arithmetic is not
    known, it computes its logits from images and tokens at every call; so in training mode, in which dropout draws
    other numbers for every pass.

    Attributes:
        texts: what images are compared with.
        is_known: whether logits of embeddings are the model's own, bit for bit.
    """

    def __init__(self, texts: tuple[str, ...], tokens: Mapping[str, Tensor] | Tensor, is_known: bool) -> None:
        super().__init__()
        self.texts, self.is_known = texts, is_known
        for name, ids in (tokens if isinstance(tokens, Mapping) else {_ALONE: tokens}).items():
            self.register_buffer(name, ids, persistent=False)
        self._encoded: dict[Any, tuple[Any, Tensor]] = {}

    @property
    def tokens(self) -> dict[str, Tensor] | Tensor:
        """Tokens of the texts, as the model's text encoder takes them: by name or, alone, by position."""
        tokens = dict(self.named_buffers())
        return tokens.get(_ALONE, tokens)

    def of_embeddings(self, model: Any, returned: Any) -> Tensor:
        """Logits (N, T) of what the image encoder returned: the operations of the model in its own order."""
        images, texts = embedding_in(returned), self.embeddings(model)
        scale, bias = model.logit_scale.exp(), getattr(model, "logit_bias", None)
        if hasattr(model, _HUGGING_FACE):
            norm = _NORMS[_kind(model)]
            products = (texts / norm(texts)) @ (images / norm(images)).t() * scale
            of_texts: Tensor = products if bias is None else products + bias
            return of_texts.t()
        unit = nn.functional.normalize
        logits: Tensor = scale * unit(images, dim=-1) @ unit(texts, dim=-1).T
        return logits if bias is None else logits + bias

    def of_model(self, model: Any, images: Tensor, options: Mapping[str, Any]) -> Tensor | None:
        """The model's own logits (N, T), from both of its encoders; None where it has none."""
        tokens = _on(images.device, self.tokens)
        if isinstance(tokens, dict):
            found: Tensor = model(pixel_values=images, **tokens, **options).logits_per_image
            return found
        own: Any = getattr(model, "get_logits", None)
        return own(images, tokens)[0] if callable(own) else None

    def embeddings(self, model: nn.Module) -> Tensor:
        """Embeddings (T, D) of the texts, not normalised and without a graph."""
        fast = torch.backends.mha.get_fastpath_enabled()
        mode = torch.is_grad_enabled(), fast, tuple(active_autocast())
        weights = tuple((id(one), one.data_ptr(), _version(one), one.requires_grad) for one in model.parameters())
        if mode not in self._encoded or self._encoded[mode][0] != weights:
            with torch.inference_mode(False), torch.set_grad_enabled(mode[0]):
                self._encoded[mode] = weights, encoded(model, self.tokens).detach()
        return self._encoded[mode][1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_encoded": {}}  # weights are known by their addresses, which are others in a copy


def _version(parameter: Tensor) -> int:
    return 0 if parameter.is_inference() else parameter._version


def _norm(embeddings: Tensor) -> Tensor:
    found: Tensor = embeddings.norm(p=2, dim=-1, keepdim=True)
    return found


def _square_root_of_squares(embeddings: Tensor) -> Tensor:
    return embeddings.pow(2).sum(dim=-1, keepdim=True).pow(0.5)


#: Of these models of transformers the arithmetic of logits is known: how they divide embeddings by their length.
_NORMS = {"clip": _square_root_of_squares, "siglip": _norm, "siglip2": _norm}


def _kind(model: nn.Module) -> Any:
    return getattr(getattr(model, "config", None), "model_type", None)


def embedding_in(returned: Any) -> Tensor:
    """The embeddings (N, D) in what an encoder returned."""
    found: Tensor = returned if isinstance(returned, Tensor) else returned.pooler_output
    return found


def text_logits(model: nn.Module, given: Texts, processor: Any) -> TextLogits:
    """What compares images with texts, of a model that has an encoder for both.

    Raises:
        ArgumentTypeError, ArgumentError: a model without a text encoder, no tokenizer or one that does not fit, or a
            text that is longer than the model takes.
    """
    of_hugging_face = callable(getattr(model, _HUGGING_FACE, None))
    if not of_hugging_face and not callable(getattr(model, _OPEN_CLIP, None)):
        expected = f"left out, as {type(model).__name__} has no text encoder ({_HUGGING_FACE} or {_OPEN_CLIP})"
        raise ArgumentError("texts", expected, describe(given.texts))
    tokenizer = given.tokenizer or getattr(processor, "tokenizer", None)
    if tokenizer is None:
        own = "open_clip.get_tokenizer(NAME)"
        if of_hugging_face:
            own = "transformers.AutoTokenizer.from_pretrained(...), unless the processor has one (AutoProcessor)"
        raise ArgumentError("tokenizer", f"given, as Texts([...], tokenizer=...): {own}", "None")
    tokens = tokens_of(model, tokenizer, list(given.texts))
    return TextLogits(tuple(given.texts), tokens, is_known=_kind(model) in _NORMS or not of_hugging_face)


def tokens_of(model: nn.Module, tokenizer: Any, texts: list[str]) -> dict[str, Tensor] | Tensor:
    """Tokens of texts as a model was trained with them: of transformers by name, of open_clip (T, L).

    Raises:
        ArgumentError: a text of which the model would see the beginning only, or a tokenizer of another library.
    """
    if not callable(getattr(model, _HUGGING_FACE, None)):
        return _tokens_of_open_clip(tokenizer, texts)
    length = getattr(getattr(getattr(model, "config", None), "text_config", None), "max_position_embeddings", None)
    if not hasattr(tokenizer, "pad"):
        expected = "a tokenizer of transformers, as the model is"
        raise ArgumentTypeError("tokenizer", expected, describe(tokenizer))
    for text, ids in zip(texts, tokenizer(texts)["input_ids"], strict=True):
        _check_length(text, len(ids), length)
    fills = "siglip" in type(model).__name__.lower()  # it has learnt texts that are padded to their full length
    options = {"padding": "max_length" if fills else True, "max_length": length, "truncation": length is not None}
    tokens = tokenizer(texts, return_tensors="pt", **options)
    return {key: tokens[key] for key in _TAKEN if key in tokens}


def _tokens_of_open_clip(tokenizer: Any, texts: list[str]) -> Tensor:
    encode: Any = getattr(tokenizer, "encode", None)
    length = getattr(tokenizer, "context_length", None)
    for text in texts if callable(encode) else ():
        _check_length(text, len(encode(text)) + 2, length)  # with the tokens of beginning and end
    tokens = tokenizer(texts)
    if not isinstance(tokens, Tensor) or len(tokens) != len(texts):
        expected = "a function that makes a tensor (T, L) of T texts, as open_clip.get_tokenizer(NAME) gives one"
        raise ArgumentTypeError("tokenizer", expected, f"one that makes {describe(tokens)}")
    return tokens


def _check_length(text: str, n_tokens: int, most: int | None) -> None:
    if most is not None and n_tokens > most:
        raise ArgumentError("texts", f"of at most {most} tokens, which the model takes", f"{n_tokens}: {text!r}")


def encoded(model: Any, tokens: Mapping[str, Tensor] | Tensor) -> Tensor:
    """Embeddings (T, D) of texts by their tokens, not normalised."""
    device = next(model.parameters()).device
    given = _on(device, tokens)
    returned = model.get_text_features(**given) if isinstance(given, Mapping) else model.encode_text(given)
    return embedding_in(returned)


def _on(device: torch.device, tokens: Mapping[str, Tensor] | Tensor) -> dict[str, Tensor] | Tensor:
    """Tokens on a device."""
    if isinstance(tokens, Tensor):
        return tokens.to(device)
    return {name: one.to(device) for name, one in tokens.items()}
