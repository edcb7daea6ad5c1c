"""A target in an embedding: how near it is to another one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from captum_ext.core.checks import check_finite, check_number, describe
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.models.targets.reading import Step, tensor_of

_EMBEDDINGS = ("image_embeds", "pooler_output", "image_features", "embedding")


@dataclass(frozen=True, eq=False)
class SimilarityTarget:
    r"""Similarity of a row's embedding z with a given one e: $s \, \frac{z \cdot e}{|z| \, |e|} + b$.

    Of an image with a text (CLIP, SigLIP), or of an image with another image (DINO): the model returns embeddings
    (N, D), as a tensor or under "image_embeds", "pooler_output" or "image_features" of a dict or `ModelOutput`, or `at`
    a place; neither has to be normalised.

    Args:
        embedding: e, (D,) or (1, D): for CLIP the text's.
        scale: s: of CLIP's and SigLIP's logits `model.logit_scale.exp()` (as a number). 1: the cosine.
        bias: b: of SigLIP's logits `model.logit_bias`. It moves scores, and no attribution.
        at: key, attribute or position of the embeddings in what the model returns. None: itself, or a usual name.

    Raises:
        ArgumentError, ArgumentTypeError, NonFiniteError: an embedding that is none, or zero; when called, an output
            without one of its length.

    Example:
        >>> import torch
        >>> from captum_ext.models.targets import SimilarityTarget
        >>> target = SimilarityTarget(torch.tensor([1.0, 0.0]))
        >>> target({"image_embeds": torch.tensor([3.0, 4.0])})
        tensor(0.6000)
    """

    embedding: Any = field(repr=False)
    scale: float = 1.0
    bias: float = 0.0
    at: Step | None = None

    def __post_init__(self) -> None:
        expected = "an embedding (D,) or (1, D) that is not zero"
        try:
            embedding = torch.as_tensor(self.embedding).detach()
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentTypeError("embedding", expected, describe(self.embedding)) from error
        one = embedding[0] if embedding.dim() == 2 and len(embedding) == 1 else embedding
        if one.dim() != 1 or one.is_complex() or not bool((one != 0).any()):
            raise ArgumentError("embedding", expected, describe(self.embedding))
        one = one.to(torch.promote_types(one.dtype, torch.float32))
        check_finite("embedding", one)
        object.__setattr__(self, "embedding", one.clone())
        for name in ("scale", "bias"):
            number = check_number(name, getattr(self, name), "a finite number", math.isfinite)
            object.__setattr__(self, name, number)

    def __call__(self, output: Any) -> Tensor:
        """The similarity, (), of one row's output."""
        own = tensor_of(output, _EMBEDDINGS, self.at)
        if own.shape != self.embedding.shape:
            expected = f"of a model that returns embeddings of length {len(self.embedding)}, as `embedding` is"
            raise ArgumentError("target", expected, f"a row of shape {tuple(own.shape)}")
        wide = own.to(torch.promote_types(own.dtype, torch.float32))
        cosine = torch.nn.functional.cosine_similarity(wide, self.embedding.to(wide), dim=0)
        return self.scale * cosine + self.bias
