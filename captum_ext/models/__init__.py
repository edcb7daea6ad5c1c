"""Any model as one that returns a row for each image: `adapt` finds out how, proves it, and says what it found.

    adapted = adapt(model, processor)   # of transformers, timm, torchvision, open_clip, or a module of images
    print(adapted)                      # output, size, normalisation, classes, grid, layer: each with its origin

An `AdaptedModel` is a `torch.nn.Module`, so that every method, metric and upsampler takes it.
`captum_ext.models.targets` has targets for outputs that have no class index.
"""

from __future__ import annotations

from captum_ext.models.adapted_model import AdaptedModel
from captum_ext.models.adapting import adapt
from captum_ext.models.texts import Texts
from captum_ext.models.token_grids import TokenGrid

__all__ = ["AdaptedModel", "Texts", "TokenGrid", "adapt"]
