"""What the help and the completion say of methods, metrics and upsamplers, without what computes them.

Importing torch takes seconds, which nobody should wait for at `--help` or at the tab key. A test compares these names
with those of `methods.py`, of `captum_ext.selection` and of the upsamplers.
"""

from __future__ import annotations

METHOD_NAMES = (
    "ig",
    "eg",
    "lpi",
    "weighted-ig",
    "idgi",
    "samp",
    "samp++",
    "guided-ig",
    "blur-ig",
    "agi",
    "xrai",
    "rise",
    "mwp",
    "c-mwp",
    "saliency",
    "input-x-gradient",
    "gradcam",
    "cam",
)
# What `choose` compares, what that has to beat, and by what: captum_ext.selection.
CANDIDATE_NAMES = (
    "ig",
    "ig-mean",
    "ig-blur",
    "ig-blur-zero",
    "ig-adaptive",
    "eg",
    "lpi",
    "weighted-ig",
    "samp",
    "samp++",
    "samp++-insertion",
    "idgi",
    "gradcam",
    "gradcam-usu",
    "xrai",
    "rise",
)
CONTROL_NAMES = ("random", "edges", "random-network", "other-image")
MASK_CRITERION_NAMES = ("pointing_game", "concentration", "iou")
CRITERION_NAMES = (
    "insertion",
    "deletion",
    "diff_id",
    "road",
    "pixel_flipping",
    "infidelity",
    *MASK_CRITERION_NAMES,
)
DECIDING_NAMES = ("insertion", "deletion", "diff_id")
METRIC_NAMES = ("insertion", "deletion", "diff_id")
UPSAMPLER_NAMES = ("usu", "usu-paper", "usu-fixed", "usu-iwmr", "nearest", "bilinear", "bicubic", "lanczos")
UPSAMPLER = "usu"
STEPS = 20
CODE_IS_RUN = (
    "this runs the code of MODULE, for which the current folder is searched last, after everything that is installed"
)
OWN_CLASS = (
    "MODULE:CLASS, your own class, or Captum's, with attribute(inputs, target=...), made as CLASS(model) "
    f"({CODE_IS_RUN})"
)
