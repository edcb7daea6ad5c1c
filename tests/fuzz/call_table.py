"""Every public function with its arguments: usual values, and what each argument takes."""

import inspect
import math
from dataclasses import replace

import torch

from captum_ext.attr import (
    AGI,
    RISE,
    XRAI,
    BlurIG,
    ExcitationBackprop,
    ExpectedGradients,
    GuidedIG,
    ImportantDirectionIG,
    IntegratedGradients,
    LayerExpectedGradients,
    LayerImportantDirectionIG,
    LayerIntegratedGradients,
    LayerLocalPathIntegration,
    LayerWeightedIntegratedGradients,
    LocalPathIntegration,
    NeuronExpectedGradients,
    NeuronImportantDirectionIG,
    NeuronIntegratedGradients,
    NeuronLocalPathIntegration,
    NeuronWeightedIntegratedGradients,
    SalientManipulationPath,
    WeightedIntegratedGradients,
    expected_change,
    n_steps_for,
    relative_error,
)
from captum_ext.dataset import MapFormat, OnMasks, RunOptions
from captum_ext.images import display_range, gaussian_blur
from captum_ext.metrics import (
    Ranking,
    attribution_variance,
    compare,
    concentration,
    curves,
    deletion,
    diff_id,
    gini,
    infidelity,
    insertion,
    iou,
    irof,
    monotonicity,
    pixel_flipping,
    pointing_game,
    road,
    sensitivity_n,
)
from captum_ext.references import ReferenceDistribution, standard_baselines, weighted_ig_baselines
from captum_ext.segmentation import Segmenter, spread_over_segments
from captum_ext.upsampling import (
    CoalitionScorer,
    InterpolationUpsampler,
    PerturbationScorer,
    Refinement,
    USUUpsampler,
    alpha_error,
    beta_error,
    check_desiderata,
    make_upsampler,
    mass_deficit,
    mass_excess,
    pool_attribution,
    redistribute,
)
from tests.core.device_entries import model_with
from tests.core.entries import SEGMENTS, numbers
from tests.fuzz.arguments import Choice, Dense, Entry, Flag, Integer, Number, Verdict
from tests.fuzz.forms import Anything, Refused, Sequence, Size, Target
from tests.fuzz.picture_table import PICTURES

STEPS = 1_000_000  # the most that a call may be asked for
IMAGES, REFERENCES, MAPS = numbers(2, 3, 4, 4), numbers(4, 3, 4, 4) * 0.5 + 0.1, numbers(2, 3, 4, 4).flip(3)
COARSE = numbers(2, 1, 2, 2).abs()
SCORES = numbers(2, 1, 4, 4).abs()
OUTPUTS = numbers(4, 3)
SCORED = model_with(numbers(3, 3, 4, 4).flip(1))


class ModelsOwnError(Exception):
    """What the model raises of what it was given: it reaches the caller as it is."""


def MODEL(x, *others):  # noqa: N802 (a constant of the table)
    """Three scores of each image (3, 4, 4)."""
    if x.shape[1:] != IMAGES.shape[1:]:
        raise ModelsOwnError(tuple(x.shape))
    return SCORED(x) + sum(other.flatten(1).mean(1, keepdim=True) for other in others)


RULES = (
    "gausslegendre",
    "riemann_left",
    "riemann_right",
    "riemann_middle",
    "riemann_trapezoid",
    "riemann_graded",
    "stratified",
)


DIMS = Integer(1, 2, none=True)  # of what has two, an image
INPUTS = Dense(shape=Verdict.EITHER)
BESIDE = ("attributions", "references", "baselines", "fill", "segments", "target")  # what inputs may not fit
BATCH = Integer(1, 10**500, none=True, same=False)
SEED = Integer(0)
GENERATOR = Refused("None", "an empty list", "an empty tuple")
BASELINES = Dense(
    scalar=Verdict.FINITE, integers=Verdict.EITHER, shape=Verdict.EITHER, none=Verdict.FINITE, like=REFERENCES[:2]
)
OF_SAMP = Dense(
    scalar=Verdict.FINITE,
    integers=Verdict.EITHER,
    shape=Verdict.EITHER,
    none=Verdict.EITHER,
    words=("blur", "rise"),
    like=REFERENCES[:2],
)
PIXELS = Dense(nonfinite=Verdict.EITHER, integers=Verdict.EITHER, shape=Verdict.EITHER)
NAMES_OF_MASK = ("booleans", "integers")
OF_TWO_MAPS = {"attributions": SCORES, "truth": SCORES.flip(2)}
TWO_MAPS = {"attributions": Dense(shape=Verdict.EITHER), "truth": Dense(shape=Verdict.EITHER)}
TWO_NAMES = {"attributions": ("truth", "grid"), "truth": ("attributions",)}
OF_ERRORS = {"attributions": SCORES, "standard_error": SCORES.abs()}
ERRORS = {"attributions": Dense(shape=Verdict.EITHER), "standard_error": Dense(shape=Verdict.EITHER)}
NAMES_OF_ERRORS = {"attributions": ("standard_error",), "standard_error": ("attributions",)}


def fixed():
    return torch.Generator().manual_seed(0)


def method(kind, own=(), kinds=None, usual=None):
    """A method: its constructor takes the arguments `own`, `attribute` the others."""

    def call(**given):
        made = {name: given.pop(name) for name in (*own, "multiply_by_inputs") if name in given}
        return kind(MODEL, **made).attribute(**given, return_convergence_delta=True)

    parameters = inspect.signature(kind.attribute).parameters
    shared = {
        "inputs": (INPUTS, IMAGES),
        "baselines": (BASELINES, None),
        "target": (Target(), 1),
        "n_steps": (Integer(1, STEPS), 4),
        "internal_batch_size": (BATCH, None),
        "method": (Choice(None, *RULES), None),
        "generator": (GENERATOR, None),
        "multiply_by_inputs": (Flag(), True),
        "return_n_gradients": (Flag(), False),
        "show_progress": (Flag(), False),
    }
    if kind is SalientManipulationPath:
        shared["method"] = (Choice(None, *RULES[:-1]), None)
        shared["pixels_in_step"] = (Integer(1, 10**500, none=True), None)
    if issubclass(kind, (ImportantDirectionIG, LayerImportantDirectionIG, NeuronImportantDirectionIG, GuidedIG)):
        shared["multiply_by_inputs"] = (Refused("True", "bool_(True)"), True)
        shared["method"] = (Choice(None, *RULES[:-1]), None)
    taken = {name: one for name, one in shared.items() if name in parameters or name == "multiply_by_inputs"}
    taken |= {name: (one, (usual or {}).get(name)) for name, one in (kinds or {}).items()}
    start = {name: value for name, (_, value) in taken.items()}
    start |= {"generator": fixed} if "generator" in start else {}
    return Entry(call, start, {name: one for name, (one, _) in taken.items()}, {"inputs": BESIDE})


class Behind(torch.nn.Module):
    """The model behind a layer that lets images pass, and one whose outputs are its own."""

    def __init__(self):
        super().__init__()
        self.first, self.last = torch.nn.Identity(), torch.nn.Identity()

    def forward(self, x, *others):
        return self.last(MODEL(self.first(x), *others))


def inside(kind, layer, own, kinds, usual):
    """A method at a layer of `Behind`, or for a neuron of it; token ids pass the first layer and are refused there."""

    class Inside(kind):
        def __init__(self, _forward_func, multiply_by_inputs=True, **settings):
            model = Behind()
            super().__init__(model, getattr(model, layer), multiply_by_inputs=multiply_by_inputs, **settings)

    entry = method(Inside, own, kinds, usual)
    return replace(entry, aliases={**entry.aliases, "inputs": (*BESIDE, "layer")})


REFERENCES_KIND = Dense(integers=Verdict.REFUSED, shape=Verdict.EITHER, none=Verdict.FINITE)


def scored(metric, kinds, **usual):
    shared = {
        "inputs": (INPUTS, IMAGES),
        "attributions": (PIXELS, MAPS),
        "target": (Target(), 1),
        "internal_batch_size": (BATCH, None),
        "baselines": (
            Dense(
                scalar=Verdict.FINITE,
                integers=Verdict.EITHER,
                shape=Verdict.EITHER,
                none=Verdict.FINITE,
                words=("blur", "rise", "corners", "mean", "overall-mean"),
                like=REFERENCES[:2],
            ),
            0,
        ),
        "ranking": (Refused(), Ranking()),
        "normalize": (Choice("none", "input", "range"), "none"),
        "n_steps": (Integer(1, STEPS), 4),
        "fractions": (Sequence(), (0.25, 0.5)),
        "n_samples": (Integer(2, STEPS), 5),
        "seed": (SEED, 0),
    }
    parameters = inspect.signature(metric).parameters
    chosen = {name: one for name, one in shared.items() if name in parameters}
    taken = {**{name: one for name, (one, _) in chosen.items()}, **kinds}
    values = {**{name: value for name, (_, value) in chosen.items()}, **usual}
    return Entry(lambda **given: metric(MODEL, **given), values, taken, {"inputs": BESIDE}, nan_is_right=True)


SHARE = Number(lambda value: 0 < value < 1)
POSITIVE = Number(lambda value: 0 < value < math.inf)
STATISTIC = Anything()

OF_SETS = (("references",), {"references": REFERENCES_KIND}, {"references": REFERENCES})
WEIGHTED = (
    ("references", "alpha", "keep", "score", "fill", "ranking", "search", "rtol"),
    {
        "references": REFERENCES_KIND,
        "alpha": Number(lambda value: 0 < value < 1),
        "keep": Number(lambda value: 0 < value <= 1, none=True),
        "score": Choice(None, "softmax", "logit"),
        "ranking": Choice("signed", "absolute"),
        "search": Choice("bisection", "grid"),
        "rtol": Number(lambda value: 0 <= value < 1),
    },
    {"references": REFERENCES, "alpha": 0.5, "ranking": "signed", "search": "bisection", "rtol": 0.01},
)
ARGUMENTS = {
    "ExpectedGradients": OF_SETS,
    "ImportantDirectionIG": ((), {}, {}),
    "IntegratedGradients": ((), {}, {}),
    "LocalPathIntegration": OF_SETS,
    "WeightedIntegratedGradients": WEIGHTED,
}
AT_LAYER = ({"attribute_to_layer_input": Flag()}, {"attribute_to_layer_input": False})
OF_NEURON = (
    {"neuron_selector": Integer(-3, 2), "attribute_to_neuron_input": Flag()},
    {"neuron_selector": 1, "attribute_to_neuron_input": False},
)
INSIDE = {
    kind.__name__: inside(
        kind,
        "first" if own_kinds is AT_LAYER[0] else "last",
        ARGUMENTS[name][0],
        {**ARGUMENTS[name][1], **own_kinds},
        {**ARGUMENTS[name][2], **own_usual},
    )
    for own_kinds, own_usual, kinds in (
        (
            *AT_LAYER,
            (
                LayerExpectedGradients,
                LayerImportantDirectionIG,
                LayerIntegratedGradients,
                LayerLocalPathIntegration,
                LayerWeightedIntegratedGradients,
            ),
        ),
        (
            *OF_NEURON,
            (
                NeuronExpectedGradients,
                NeuronImportantDirectionIG,
                NeuronIntegratedGradients,
                NeuronLocalPathIntegration,
                NeuronWeightedIntegratedGradients,
            ),
        ),
    )
    for name, kind in zip(ARGUMENTS, kinds, strict=True)
}
INSIDE["NeuronWeightedIntegratedGradients"].kinds["score"] = Choice(None, "logit")  # one neuron has no classes

ENTRIES = {
    **INSIDE,
    **PICTURES,
    "IntegratedGradients": method(IntegratedGradients),
    "ExpectedGradients": method(
        ExpectedGradients, ("references",), {"references": REFERENCES_KIND}, {"references": REFERENCES}
    ),
    "LocalPathIntegration": method(
        LocalPathIntegration, ("references",), {"references": REFERENCES_KIND}, {"references": REFERENCES}
    ),
    "WeightedIntegratedGradients": method(WeightedIntegratedGradients, *WEIGHTED),
    "ImportantDirectionIG": method(ImportantDirectionIG),
    "SalientManipulationPath": method(
        SalientManipulationPath,
        ("direction", "insertion_baselines", "deletion_baselines", "momentum", "step_bound", "credit", "feature_mask"),
        {
            "direction": Choice("both", "insertion", "deletion"),
            "momentum": Number(lambda value: 0 <= value < 1),
            "insertion_baselines": OF_SAMP,
            "deletion_baselines": OF_SAMP,
            "step_bound": Number(lambda value: 0 < value <= STEPS, none=True),
            "credit": Choice("gradient", "velocity"),
        },
        {
            "direction": "both",
            "momentum": 0.5,
            "step_bound": 10,
            "credit": "gradient",
            "insertion_baselines": "blur",
            "deletion_baselines": 0,
        },
    ),
    "GuidedIG": method(
        GuidedIG,
        ("fraction", "max_dist"),
        {
            "fraction": Number(lambda value: 0 < value <= 1),
            "max_dist": Number(lambda value: 0 <= value <= 1),
        },
        {"fraction": 0.25, "max_dist": 0.1},
    ),
    "BlurIG": Entry(
        lambda inputs, max_sigma, border, derivative_step, dims, **given: BlurIG(
            MODEL, max_sigma=max_sigma, border=border, derivative_step=derivative_step, dims=dims
        ).attribute(inputs, **given, return_convergence_delta=True),
        {
            "inputs": IMAGES,
            "max_sigma": 3.0,
            "border": "reflect",
            "derivative_step": None,
            "dims": None,
            "target": 1,
            "n_steps": 3,
            "method": None,
        },
        {
            "inputs": INPUTS,
            "max_sigma": Number(lambda value: 0 < value <= 10_000),
            "border": Choice("reflect", "zero"),
            "derivative_step": Number(lambda value: 1e-6 <= value <= 1, none=True),
            "dims": DIMS,
            "target": Target(),
            "n_steps": Integer(1, STEPS),
            "method": Choice(None, *RULES[:-1]),
            "baselines": Refused("None"),
            "internal_batch_size": BATCH,
            "show_progress": Flag(),
        },
        {"inputs": BESIDE},
    ),
    "AGI": Entry(
        lambda inputs, n_false_classes, false_classes, step_size, bounds, steps_from, score, **given: AGI(
            MODEL,
            n_false_classes=n_false_classes,
            false_classes=false_classes,
            step_size=step_size,
            bounds=bounds,
            steps_from=steps_from,
            score=score,
        ).attribute(inputs, **given, return_convergence_delta=True),
        {
            "inputs": IMAGES,
            "n_false_classes": 2,
            "false_classes": None,
            "step_size": 0.05,
            "bounds": None,
            "steps_from": "point",
            "score": "softmax",
            "target": 1,
            "n_steps": 3,
            "generator": fixed,
        },
        {
            "inputs": INPUTS,
            "n_false_classes": Integer(1, STEPS),
            "false_classes": Refused("None", "a range"),
            "step_size": Number(lambda value: 1e-30 <= value <= 1e30, right=("a tuple of one",)),
            "bounds": Refused("None"),
            "steps_from": Choice("point", "input"),
            "score": Choice("softmax", "logit"),
            "target": Target(),
            "n_steps": Integer(1, STEPS),
            "internal_batch_size": BATCH,
            "generator": GENERATOR,
            "show_progress": Flag(),
        },
        {"inputs": BESIDE},
    ),
    "XRAI": Entry(
        lambda inputs, segmenter, algorithm, min_pixels, area, **given: XRAI(
            MODEL, segmenter=segmenter, algorithm=algorithm, min_pixels=min_pixels, area=area
        ).attribute(inputs, **given, return_segments=True),
        {
            "inputs": IMAGES,
            "segmenter": SEGMENTS,
            "algorithm": "full",
            "min_pixels": None,
            "area": 1.0,
            "target": 1,
            "n_steps": 3,
            "method": None,
            "baselines": None,
        },
        {
            "inputs": INPUTS,
            "segmenter": Refused("None"),
            "algorithm": Choice("full", "fast"),
            "min_pixels": Integer(1, STEPS, none=True),
            "area": Number(lambda value: 0 <= value <= 1),
            "target": Target(),
            "n_steps": Integer(1, STEPS),
            "method": Choice(None, "linspace", "adaptive", *(rule for rule in RULES if rule != "stratified")),
            "baselines": BASELINES,
            "internal_batch_size": BATCH,
            "show_progress": Flag(),
        },
        {"inputs": BESIDE},
    ),
    "ExcitationBackprop": Entry(
        lambda inputs, layer, contrastive, **given: ExcitationBackprop(MODEL, layer, contrastive=contrastive).attribute(
            inputs, **given
        ),
        {"inputs": IMAGES, "layer": None, "contrastive": False, "target": 1},
        {
            "inputs": INPUTS,
            "layer": Refused("None"),
            "contrastive": Flag(),
            "target": Target(),
            "internal_batch_size": BATCH,
        },
        {"inputs": BESIDE},
    ),
    "RISE": Entry(
        lambda inputs, grid, probability, seed, dims, **given: RISE(
            MODEL, grid=grid, probability=probability, seed=seed, dims=dims
        ).attribute(inputs, **given),
        {
            "inputs": IMAGES,
            "grid": 2,
            "probability": 0.5,
            "seed": 0,
            "dims": None,
            "target": 1,
            "n_samples": 4,
            "baselines": None,
        },
        {
            "inputs": INPUTS,
            "grid": Integer(1, 256),
            "probability": Number(lambda value: 0 < value < 1),
            "seed": SEED,
            "dims": DIMS,
            "target": Target(),
            "n_samples": Integer(1, STEPS),
            "baselines": BASELINES,
            "internal_batch_size": BATCH,
            "show_progress": Flag(),
        },
        {"inputs": BESIDE},
    ),
    "insertion": scored(insertion, {}),
    "deletion": scored(deletion, {}),
    "diff_id": scored(diff_id, {"normalize": Choice("none", "input")}),
    "curves": scored(
        curves, {"metrics": Refused(), "ranking": Refused("None")}, metrics=("insertion", "diff_id"), ranking=Ranking()
    ),
    "pixel_flipping": scored(
        pixel_flipping,
        {
            "pixels_in_step": Integer(1, 16, test=lambda number: 16 % number == 0),
            "normalize": Choice("none", "input", "range"),
        },
        pixels_in_step=4,
    ),
    "road": scored(
        road,
        {"order": Choice("most", "least"), "noise": Number(lambda value: 0 <= value < math.inf)},
        order="most",
        noise=0.01,
    ),
    "irof": scored(irof, {"segments": Refused()}, segments=SEGMENTS),
    "infidelity": scored(infidelity, {"patch": SHARE}, patch=0.25),
    "sensitivity_n": scored(sensitivity_n, {}),
    "monotonicity": scored(monotonicity, {"n_steps": Integer(3, STEPS)}),
    "attribution_variance": Entry(
        attribution_variance,
        {"attributions": MAPS, "normalize": "none"},
        {"attributions": PIXELS, "normalize": Choice("none", "mean")},
        nan_is_right=True,
    ),
    "gini": Entry(gini, {"attributions": MAPS}, {"attributions": PIXELS}, nan_is_right=True),
    "iou": Entry(
        lambda **given: iou(**given),
        {"attributions": MAPS, "masks": SEGMENTS == 1, "threshold": "area"},
        {"attributions": PIXELS, "masks": Refused(), "threshold": Choice("area", "best")},
        nan_is_right=True,
    ),
    "concentration": Entry(
        lambda **given: concentration(**given),
        {"attributions": MAPS, "masks": SEGMENTS == 1},
        {"attributions": PIXELS, "masks": Refused()},
        nan_is_right=True,
    ),
    "pointing_game": Entry(
        lambda **given: pointing_game(**given),
        {"attributions": MAPS, "masks": SEGMENTS == 1},
        {"attributions": PIXELS, "masks": Refused()},
        nan_is_right=True,
    ),
    "Ranking": Entry(Ranking, {"absolute": False, "seed": 0}, {"absolute": Flag(), "seed": SEED}),
    "compare": Entry(
        lambda **given: compare(**given).table.to_numpy(dtype=float),
        {
            "scores": {"a": [1.0, 2.0, 3.0], "b": [2.0, 2.5, 3.5]},
            "control": "a",
            "n_resamples": 50,
            "confidence": 0.9,
            "seed": 0,
        },
        {
            "scores": Refused(),
            "control": Refused(),
            "n_resamples": Integer(1, STEPS),
            "confidence": Number(lambda value: 0 < value < 1),
            "higher_is_better": Flag(none=True),
            "seed": SEED,
        },
        aliases={"scores": ("control",)},
        nan_is_right=True,
    ),
    "USUUpsampler": Entry(
        lambda coarse, inputs, target, size, **given: USUUpsampler(**{"segmenter": SEGMENTS, **given})(
            coarse, inputs, MODEL, target, size=size
        ),
        {"coarse": COARSE, "inputs": IMAGES, "target": 1, "size": None},
        {
            "coarse": Dense(shape=Verdict.EITHER),
            "inputs": INPUTS,
            "target": Target(none=True),
            "size": Size(),
            "temperature": POSITIVE,
            "potential": Choice("tensor", "power", "log-odds"),
            "gamma": POSITIVE,
            "redistribution": Choice("local", "global-mass", "global-area"),
            "importance_temperature": Number(lambda value: 0 < value < math.inf, none=True),
            "segmenter": Refused("None"),
            "scorer": Refused(),
            "output": Choice("logit", "probability"),
            "fill": Number(lambda value: abs(value) < 3e38, words=("mean", "blur", "rise", "zero")),
            "refinement": Refused("None"),
            "internal_batch_size": BATCH,
            "show_progress": Flag(),
            "allow_batch_statistics": Flag(),
            "remember": Integer(0, 10**500),
            "skip_empty": Flag(),
        },
        aliases={"inputs": ("segmenter", "coarse", "score_map")},
    ),
    "redistribute": Entry(
        redistribute,
        {"coarse": COARSE, "score_map": SCORES, "temperature": 0.3},
        {
            "coarse": Dense(shape=Verdict.EITHER),
            "score_map": Dense(shape=Verdict.EITHER),
            "temperature": POSITIVE,
            "potential": Choice("tensor", "power", "log-odds"),
            "gamma": POSITIVE,
            "redistribution": Choice("local", "global-mass", "global-area"),
            "importance_temperature": Number(lambda value: 0 < value < math.inf, none=True),
        },
        aliases={"score_map": ("coarse",), "coarse": ("score_map",)},
    ),
    "pool_attribution": Entry(
        pool_attribution,
        {"attributions": SCORES, "grid": (2, 2)},
        {"attributions": Dense(shape=Verdict.EITHER), "grid": Size()},
        aliases={"attributions": ("grid",)},
    ),
    "alpha_error": Entry(alpha_error, OF_TWO_MAPS, TWO_MAPS, TWO_NAMES),
    "beta_error": Entry(beta_error, OF_TWO_MAPS, TWO_MAPS, TWO_NAMES),
    "relative_error": Entry(relative_error, OF_ERRORS, ERRORS, NAMES_OF_ERRORS),
    "n_steps_for": Entry(
        n_steps_for,
        {**OF_ERRORS, "precision": 0.1, "n_steps": 8, "rate": 1.0},
        {**ERRORS, "precision": POSITIVE, "n_steps": Integer(1, STEPS), "rate": Number(lambda value: 1 <= value <= 3)},
        NAMES_OF_ERRORS,
    ),
    "expected_change": Entry(
        expected_change,
        {**OF_ERRORS, "top": 0.3},
        {**ERRORS, "top": Number(lambda value: 0 < value <= 1)},
        NAMES_OF_ERRORS,
    ),
    "mass_excess": Entry(mass_excess, {**OF_TWO_MAPS, "grid": (2, 2)}, {**TWO_MAPS, "grid": Size()}, {**TWO_NAMES}),
    "mass_deficit": Entry(mass_deficit, {**OF_TWO_MAPS, "grid": (2, 2)}, {**TWO_MAPS, "grid": Size()}, {**TWO_NAMES}),
    "InterpolationUpsampler": Entry(
        lambda mode, coarse, inputs, size: InterpolationUpsampler(mode)(coarse, inputs, size=size),
        {"mode": "bilinear", "coarse": COARSE, "inputs": IMAGES, "size": None},
        {
            "mode": Choice("nearest", "bilinear", "bicubic", "lanczos"),
            "coarse": Dense(shape=Verdict.EITHER),
            "inputs": Dense(nonfinite=Verdict.FINITE, integers=Verdict.EITHER, shape=Verdict.EITHER),
            "size": Size(),
        },
    ),
    "make_upsampler": Entry(
        lambda **given: type(make_upsampler(**given)).__name__,
        {"upsampler": "nearest"},
        {"upsampler": Choice("usu", "usu-paper", "usu-fixed", "usu-iwmr", "nearest", "bilinear", "bicubic", "lanczos")},
    ),
    "check_desiderata": Entry(
        lambda **given: check_desiderata("nearest", **given).d1.error,
        {"size": (4, 4), "grid": (2, 2), "n_cases": 2, "seed": 0},
        {"size": Size(), "grid": Size(), "n_cases": Integer(1, STEPS), "seed": SEED},
        {"size": ("grid",)},  # which may have other dimensions
    ),
    "CoalitionScorer": Entry(
        lambda **given: USUUpsampler(segmenter=SEGMENTS, scorer=CoalitionScorer(**given))(COARSE, IMAGES, MODEL, 1),
        {"n_passes": 8, "ridge": 0.01, "seed": 0},
        {"n_passes": Integer(1, STEPS), "ridge": Number(lambda value: 1e-9 <= value <= 1e6), "seed": SEED},
    ),
    "PerturbationScorer": Entry(
        lambda **given: USUUpsampler(segmenter=SEGMENTS, scorer=PerturbationScorer(**given))(COARSE, IMAGES, MODEL, 1),
        {"kind": "deletion+insertion", "max_passes": None, "settled": None},
        {
            "kind": Choice("deletion+insertion", "deletion", "insertion"),
            "max_passes": Integer(int(SEGMENTS.max()) + 1, STEPS, none=True),
            "settled": Number(lambda value: 0 < value <= 1, none=True),
        },
    ),
    "Refinement": Entry(
        lambda **given: [getattr(Refinement(**given), name) for name in ("depth", "growth", "threshold", "tolerance")],
        {"depth": 2, "growth": 2, "threshold": 0.3, "tolerance": 0.1},
        {
            "depth": Integer(1, 16),
            "growth": Integer(1, STEPS),
            "kernel": Choice("max-min", "diagonal"),
            "threshold": POSITIVE,
            "budget": Integer(1, 10**500, none=True, same=False),
            "tolerance": Number(lambda value: 0 <= value < math.inf),
            "mu": Number(lambda value: 0 <= value < math.inf, none=True),
            "tau": Number(lambda value: 0 < value < math.inf, none=True),
        },
    ),
    "Segmenter": Entry(
        lambda method, n_segments: Segmenter(method, n_segments)(IMAGES.abs()),
        {"method": "grid", "n_segments": 4},
        {"method": Refused(), "n_segments": Integer(1, STEPS)},
    ),
    "spread_over_segments": Entry(
        spread_over_segments,
        {"maps": MAPS, "labels": SEGMENTS},
        {"maps": Dense(nonfinite=Verdict.EITHER, shape=Verdict.EITHER), "labels": Refused()},
        {"maps": ("labels",)},
        nan_is_right=True,
    ),
    "display_range": Entry(
        display_range,
        {"images": IMAGES},
        {"images": Dense(nonfinite=Verdict.EITHER, integers=Verdict.EITHER, shape=Verdict.EITHER)},
    ),
    "gaussian_blur": Entry(
        gaussian_blur,
        {"images": IMAGES, "sigma": None, "dims": None},
        {
            "images": Dense(nonfinite=Verdict.EITHER, integers=Verdict.EITHER, shape=Verdict.EITHER),
            "sigma": Number(lambda value: 0 < value <= 10_000, none=True, words=("rise",)),
            "dims": DIMS,
        },
        nan_is_right=True,
    ),
    "standard_baselines": Entry(
        standard_baselines,
        {"inputs": IMAGES, "n_noise": 2, "seed": 0, "blur_sigma": None},
        {
            "blur_sigma": Number(lambda value: 0 < value <= 10_000, none=True, words=("rise",)),
            "inputs": Dense(shape=Verdict.EITHER),
            "n_noise": Integer(0, STEPS),
            "seed": SEED,
            "value_range": Refused("None"),
            "mean": Anything(),
            "std": Anything(),
        },
        aliases={"mean": ("std",), "std": ("mean",)},
    ),
    "weighted_ig_baselines": Entry(
        weighted_ig_baselines,
        {"inputs": IMAGES, "image": IMAGES[:1], "preset": "evaluation", "seed": 0},
        {
            "inputs": Dense(shape=Verdict.EITHER),
            "image": Dense(integers=Verdict.EITHER, shape=Verdict.EITHER),
            "preset": Choice("evaluation"),
            "seed": SEED,
            "value_range": Refused("None"),
            "mean": Anything(),
            "std": Anything(),
        },
        aliases={"inputs": ("image",), "mean": ("std",), "std": ("mean",), "preset": ("image",)},
    ),
    "ReferenceDistribution.fit": Entry(
        lambda **given: ReferenceDistribution.fit(MODEL, **given).references[0],
        {"samples": REFERENCES, "n_neighborhoods": 1, "n_references": 2, "n_inputs": 1, "seed": 0},
        {
            "samples": Dense(shape=Verdict.EITHER),
            "n_neighborhoods": Integer(1, 10**500),
            "n_references": Integer(1, 10**500),
            "n_inputs": Integer(1, 1),
            "seed": Integer(0, 2**32 - 1),
            "internal_batch_size": BATCH,
            "show_progress": Flag(),
        },
    ),
    "ReferenceDistribution.paper": Entry(
        lambda **given: ReferenceDistribution.paper(MODEL, **given).references[0],
        {"samples": REFERENCES, "network": "vgg16", "n_inputs": 1, "seed": 0},
        {
            "samples": Dense(shape=Verdict.EITHER),
            "network": Choice("vgg16", "resnet34"),
            "n_inputs": Integer(1, 1),
            "seed": Integer(0, 2**32 - 1),
            "internal_batch_size": BATCH,
            "show_progress": Flag(),
        },
    ),
    "ReferenceDistribution.assign": Entry(
        lambda outputs: ReferenceDistribution([REFERENCES], [torch.full((4,), 0.25)], OUTPUTS[:1]).assign(outputs),
        {"outputs": OUTPUTS},
        {"outputs": Dense(integers=Verdict.EITHER, shape=Verdict.EITHER)},
    ),
    "ReferenceDistribution": Entry(
        lambda references, density, centers: ReferenceDistribution([references], [density], centers).density,
        {"references": REFERENCES, "density": torch.full((4,), 0.25), "centers": OUTPUTS[:1]},
        {
            "references": Dense(shape=Verdict.EITHER, integers=Verdict.EITHER),  # token ids
            "density": Dense(shape=Verdict.EITHER),
            "centers": Dense(shape=Verdict.EITHER),
        },
    ),
    "OnMasks": Entry(
        lambda metric, masks: OnMasks(metric, masks).of_rows(MAPS, range(len(MAPS))),
        {"metric": iou, "masks": SEGMENTS == 1},
        {"metric": Refused(), "masks": Refused()},
        nan_is_right=True,
    ),
    "MapFormat": Entry(
        lambda **given: MapFormat(**given).encode(MAPS)[0],
        {"size": None, "dtype": "float32", "channels": "sum"},
        {
            "size": Size(),
            "dtype": Choice("float16", "float32", "float64"),
            "channels": Choice("sum", "absolute", "keep"),
        },
    ),
    "RunOptions": Entry(
        lambda **given: [getattr(RunOptions(**given), name) for name in ("seed", "num_workers", "shard_rows")],
        {"seed": 0, "num_workers": 0, "shard_rows": 256, "rank": 0, "world_size": None},
        {
            "batch_size": Integer(1, 2**31 - 1, none=True, same=False),
            "seed": SEED,
            "num_workers": Integer(0, 4096),
            "shard_rows": Integer(1, 2**31 - 1),
            "limit": Integer(1, 10**500, none=True, same=False),
            "rank": Integer(0, 0),
            "world_size": Integer(1, 2**31 - 1, none=True, same=False),
            "resume": Flag(),
            "show_progress": Refused("True", "False", "bool_(True)", "a class"),
            "configuration": Refused("None", "a mapping", "an empty mapping"),
        },
    ),
}
