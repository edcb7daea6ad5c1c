"""The CAM classes of pytorch-grad-cam under their own names, with `upsampler=None, normalize=True, as_tensor=False`.

    from captum_ext_integrations.grad_cam import GradCAM   # was: from pytorch_grad_cam import GradCAM
    cam = GradCAM(model, target_layers, upsampler="usu")

    cam = GradCAM(adapt(model, processor))                 # layer and reshape function as the adapted model knows them

Every name of the host's package can be imported from here: its CAM classes are ours, the others are its own.

`upsampler` is a name of `captum_ext.upsampling.make_upsampler`, an object, or a function with an `Upsampler`'s call.
Without one a class is the host's, bit for bit. With one, the raw map of each layer (after the host's max(cam, 0),
before its first min-max) is upsampled, layers are averaged, and `normalize=True` divides each image's map by its
maximum for display; `normalize=False` returns the map as it is, which sums to the mass of the coarse one. The maps of
the host are scaled whatever `normalize` is. `as_tensor=True` gives either map as a tensor on the model's device.

With a model that `captum_ext.models.adapt` made, `target_layers` is its `layer` and `reshape_transform` its `to_grid`
where they are not given; `to_grid` then reads the features of the CAM's own images, of any size.

`targets` are the host's, or those of `captum_ext.models.targets`, one for each image: regions of segmentations,
detections, similarities of embeddings. They can be left out only where the model returns class scores (N, K), and in
the classes that read no targets (EigenCAM, FEM, KPCA_CAM) without an upsampler where it returns maps. No detection at
the box is a map of zeros, and a warning. AblationCAM, whose weights are shares of the score, refuses it; SESS, which
explains crops of the image, refuses regions and boxes; CAM is of classes only.

Segments are scored after the host has computed its maps, once for all layers, and nothing of these passes is kept.
Because redistribution is linear in mass, `aug_smooth` averages the coarse maps and redistributes once, and `FullGrad`
sums a layer's channels first.

Volumes (N, C, D, H, W) are upsampled to their own (D, H, W), whatever the order of the host's sizes, by an upsampler
that is for them (docs of `captum_ext.upsampling`), where the host's class makes a map of them; FullGrad does not.

`CAM`, which the host does not have, is Zhou's original: the classifier's weights over the maps that it averages.

A CAM leaves the model in eval mode, as the host does: whoever trains on calls `model.train()` again.

What the host has no right map for, with or without an upsampler:

- A `forward` that begins with an operation in place: the model gets copies of its inputs.
- bfloat16, of which NumPy has no arrays, and float16 where NumPy has no linear algebra: float32 is used outside of the
  model.
- Target layers that need no gradients (a frozen backbone), and calls under `torch.no_grad()`: their gradients are
  computed all the same, and the caller's images get none.
- An operation in place after the target layer, as `ReLU(inplace=True)` or `+=`: activations are kept as the layer
  returned them.
- Target layers side by side, whose gradients are computed in another order than the activations: each gradient belongs
  to its activation.
- AblationCAM and ShapleyCAM of tokens and of other features with their channels last; FullGrad where layers are called
  in another order than they are defined in.
- A target layer that is not called, or that the scores do not depend on, and another number of targets than of images:
  an error.
- A model of which a part was compiled by torch.compile: an error. If it has run, the hooks of a CAM are not called; if
  it has not, they are, but the backward pass of most backends, its graph kept, fails. The model inside has the same
  weights.

A target layer that is called more than once in a pass, as one activation or one pooling after several convolutions, has
the map of its first call in the host, and where there are several target layers, those behind it have the maps of other
calls. That is so here, too; with an upsampler a warning says it. Give a layer that is called once.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from captum_ext.core.optional import require
from captum_ext_integrations._cam_classes import (
    FEM,
    KPCA_CAM,
    AblationCAM,
    EigenCAM,
    EigenGradCAM,
    FullGrad,
    GradCAM,
    GradCAMElementWise,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    RandomCAM,
    ScoreCAM,
    SegEigenCAM,
    ShapleyCAM,
    XGradCAM,
)
from captum_ext_integrations._classifier_cam import CAM
from captum_ext_integrations._meta_cams import SESS, FinerCAM, RefineCAM

_host: Any = require("pytorch_grad_cam", "grad-cam")

AblationLayer = _host.AblationLayer
AblationLayerFasterRCNN = _host.AblationLayerFasterRCNN
AblationLayerVit = _host.AblationLayerVit
ActivationsAndGradients = _host.ActivationsAndGradients
DeepFeatureFactorization = _host.DeepFeatureFactorization
GuidedBackpropReLUModel = _host.GuidedBackpropReLUModel
run_dff_on_image = _host.run_dff_on_image

#: Names of the CAM classes: ours.
CAM_CLASSES = (
    "CAM",
    "FEM",
    "KPCA_CAM",
    "SESS",
    "AblationCAM",
    "EigenCAM",
    "EigenGradCAM",
    "FinerCAM",
    "FullGrad",
    "GradCAM",
    "GradCAMElementWise",
    "GradCAMPlusPlus",
    "HiResCAM",
    "LayerCAM",
    "RandomCAM",
    "RefineCAM",
    "ScoreCAM",
    "SegEigenCAM",
    "ShapleyCAM",
    "XGradCAM",
)

__all__ = [
    "CAM",
    "FEM",
    "KPCA_CAM",
    "SESS",
    "AblationCAM",
    "AblationLayer",
    "AblationLayerFasterRCNN",
    "AblationLayerVit",
    "ActivationsAndGradients",
    "DeepFeatureFactorization",
    "EigenCAM",
    "EigenGradCAM",
    "FinerCAM",
    "FullGrad",
    "GradCAM",
    "GradCAMElementWise",
    "GradCAMPlusPlus",
    "GuidedBackpropReLUModel",
    "HiResCAM",
    "LayerCAM",
    "RandomCAM",
    "RefineCAM",
    "ScoreCAM",
    "SegEigenCAM",
    "ShapleyCAM",
    "XGradCAM",
    "run_dff_on_image",
]

for _name in CAM_CLASSES:  # where they are public
    globals()[_name].__module__ = __name__


def __getattr__(name: str) -> Any:
    """The host's modules under their names (`utils`, `metrics`, ...), and what a later release of it adds."""
    if not name.startswith("_"):
        if hasattr(_host, name):
            return getattr(_host, name)
        if importlib.util.find_spec(f"{_host.__name__}.{name}") is not None:
            return importlib.import_module(f"{_host.__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
