"""Targets: which number of a model's output is explained.

A target maps what the model returns for ONE row (one image) to a tensor of one number. It is given as `target=` of
methods, layers, metrics and upsamplers, and in the list `targets=` of pytorch-grad-cam's classes and ours; its own
targets (`ClassifierOutputTarget`, ...) and any function work in the same places. One target serves all rows, a list has
one for each.

The output of one row is

- of a tensor (N, ...) its row;
- of a dict, a `ModelOutput`, a dataclass, a tuple or a named tuple the same with the row of every tensor (N, ...) in
  it. A tensor of another length has no rows: there the row has None;
- of a list of length N, as torchvision's detectors return it, the element of the row.

| target | score | of |
| --- | --- | --- |
| `ClassTarget` | output of a class, by index or name | classifiers whose output is no plain tensor |
| `OutputTarget` | the number at a path of keys and indices | regression, one output, anything with a place |
| `RegionTarget` | sum or mean of a class's map in a mask | segmentation, depth, volumes |
| `DetectionTarget` | score times overlap with a box | detectors |
| `SimilarityTarget` | cosine with an embedding | CLIP, SigLIP, DINO |

A plain class index is better given as an `int`, as in Captum: then metrics know whether the class is still the first,
Weighted IG uses its probability, and `output="probability"` and AGI, which need a class, can be used.

Example:
    >>> import torch
    >>> from captum_ext.attr import IntegratedGradients
    >>> from captum_ext.models.targets import OutputTarget
    >>> ig = IntegratedGradients(lambda x: {"depth": x * 2, "name": "tiny"})
    >>> ig.attribute(torch.ones(1, 2), target=OutputTarget("depth", 1))
    tensor([[0., 2.]])
    >>> ig.attribute(torch.ones(2, 2), target=[OutputTarget("depth", 1), lambda output: output["depth"].sum()])
    tensor([[0., 2.],
            [2., 2.]])
"""

from __future__ import annotations

from captum_ext.models.targets.detections import DetectionTarget
from captum_ext.models.targets.places import ClassTarget, OutputTarget
from captum_ext.models.targets.regions import RegionTarget
from captum_ext.models.targets.similarity import SimilarityTarget

__all__ = ["ClassTarget", "DetectionTarget", "OutputTarget", "RegionTarget", "SimilarityTarget"]
