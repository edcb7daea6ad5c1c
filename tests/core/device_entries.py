"""Every public entry that a device other than the CPU has to get right, with the rules and forms of its arguments."""

import torch

from captum_ext.attr import (
    MWP,
    RISE,
    BlurIG,
    ExpectedGradients,
    GuidedIG,
    ImportantDirectionIG,
    IntegratedGradients,
    LayerExpectedGradients,
    LayerLocalPathIntegration,
    LayerWeightedIntegratedGradients,
    LocalPathIntegration,
    NeuronExpectedGradients,
    SalientManipulationPath,
    WeightedIntegratedGradients,
)
from captum_ext.images import Blur, display_range, gaussian_blur
from captum_ext.metrics import (
    attribution_variance,
    concentration,
    diff_id,
    gini,
    infidelity,
    insertion,
    iou,
    irof,
    pointing_game,
    sensitivity_n,
)
from captum_ext.references import ReferenceDistribution, standard_baselines, weighted_ig_baselines
from captum_ext.segmentation import Segmenter
from captum_ext.upsampling import InterpolationUpsampler, USUUpsampler, redistribute
from tests.core.entries import ATTRIBUTIONS, FITS, MEASURES, SEGMENTS, generator, numbers

IMAGES, REFERENCES, MAPS = numbers(2, 3, 4, 4), numbers(4, 3, 4, 4) * 0.5 + 0.1, numbers(2, 3, 4, 4).flip(3)
WEIGHTS = numbers(3, 3, 4, 4).flip(1)
MEAN, STD = (0.0, 0.2, 0.1), (1.0, 2.0, 3.0)


def model_with(weights):
    def model(x):
        return torch.tanh((x[:, None] * weights).flatten(2)).sum(2) * 0.3

    return model


def integrated(method, rule, **given):
    def call(f, x, r, m):
        settings = {} if method is IntegratedGradients else {"references": r, **given}
        return method(f, **settings).attribute(
            x, target=1, n_steps=9, method=rule, generator=generator(), return_convergence_delta=True
        )

    return call


class Behind(torch.nn.Module):
    """A function behind a layer that lets its input pass, and before one that lets its outputs pass."""

    def __init__(self, function):
        super().__init__()
        self.function, self.first, self.last = function, torch.nn.Identity(), torch.nn.Identity()

    def forward(self, x):
        return self.last(self.function(self.first(x)))


def at_layer(method, **given):
    def call(f, x, r, m):
        model = Behind(f)
        return method(model, model.first, references=r, **given).attribute(
            x, target=1, n_steps=9, generator=generator(), return_convergence_delta=True
        )

    return call


def of_neuron(f, x, r, m):
    model = Behind(f)
    return NeuronExpectedGradients(model, model.last, references=r).attribute(x, 1, n_steps=9, generator=generator())


def many(metric, **given):
    def call(f, x, r, m):
        found = metric(f, x, m, target=1, **given)
        return found.scores, found.auc, found.valid, found.input_scores, found.fractions

    return call


def as_images(f):
    """A model of images for the same numbers as volumes or signals."""
    return lambda x: f(x.reshape(len(x), 3, 4, 4))


def volumes(call):
    return lambda f, x, r, m: call(as_images(f), x.reshape(2, 3, 2, 2, 4), m.reshape(2, 3, 2, 2, 4))


def signals(call):
    return lambda f, x, r, m: call(as_images(f), x.flatten(2), m.flatten(2).sum(1, keepdim=True))


RULES = (None, "gausslegendre", "riemann_trapezoid", "stratified", "adaptive")
ENTRIES = {
    **{name: entry for name, entry in ATTRIBUTIONS.items() if name != "LPI fitted"},
    **MEASURES,
    **FITS,
    **{f"IG {rule}": integrated(IntegratedGradients, rule) for rule in RULES},
    **{f"EG {rule}": integrated(ExpectedGradients, rule) for rule in RULES},
    **{f"LPI {rule}": integrated(LocalPathIntegration, rule) for rule in RULES},
    **{f"WeightedIG {rule}": integrated(WeightedIntegratedGradients, rule) for rule in RULES},
    "MWP": lambda f, x, r, m: MWP(f).attribute(x, target=1),
    "c-MWP": lambda f, x, r, m: MWP(f, contrastive=True).attribute(x, target=1),
    "RISE": lambda f, x, r, m: RISE(f, grid=2).attribute(x, target=1, n_samples=20),
    "GuidedIG": lambda f, x, r, m: GuidedIG(f, max_dist=0.2).attribute(x, target=1, n_steps=9),
    "BlurIG": lambda f, x, r, m: BlurIG(f, max_sigma=3).attribute(x, target=1, n_steps=9),
    "WeightedIG grid": integrated(
        WeightedIntegratedGradients, "riemann_left", search="grid", rtol=0, keep=0.9, fill="references", score="logit"
    ),
    "WeightedIG weights": lambda f, x, r, m: WeightedIntegratedGradients(f, references=r).baseline_weights(
        x, target=1, method="riemann_left"
    ),
    "IG with a tolerance": lambda f, x, r, m: IntegratedGradients(f).attribute(
        x, target=1, n_steps=60, method="adaptive", tol=0.05, return_convergence_delta=True
    ),
    "IG from float64 baselines of the CPU": lambda f, x, r, m: IntegratedGradients(f).attribute(
        x, REFERENCES[:1].double(), target=1
    ),
    "EG from float64 references of the CPU": lambda f, x, r, m: ExpectedGradients(
        f, references=REFERENCES.double()
    ).attribute(x, target=1, generator=generator()),
    "IG of each row's target": lambda f, x, r, m: IntegratedGradients(f).attribute(x, target=torch.tensor([2, 0])),
    "IDGI of two steps": lambda f, x, r, m: ImportantDirectionIG(f).attribute(x, target=1, n_steps=2),
    "SAMP of the trapezoid rule": lambda f, x, r, m: SalientManipulationPath(f).attribute(
        x, target=1, n_steps=5, method="riemann_trapezoid", return_convergence_delta=True
    ),
    "SAMP of features": lambda f, x, r, m: SalientManipulationPath(
        f, multiply_by_inputs=False, feature_mask=torch.arange(16).reshape(1, 1, 4, 4) // 2
    ).attribute(x, target=1, n_steps=5, return_convergence_delta=True),
    "LPI of a distribution": lambda f, x, r, m: LocalPathIntegration(
        f, references=ReferenceDistribution.fit(f, r, n_neighborhoods=2, n_references=2)
    ).attribute(x, target=1, generator=generator(), return_convergence_delta=True),
    "LayerEG": at_layer(LayerExpectedGradients),
    "LayerLPI": at_layer(LayerLocalPathIntegration),
    "LayerWeightedIG": at_layer(LayerWeightedIntegratedGradients),
    "NeuronEG": of_neuron,
    "diff_id of means": many(diff_id, baselines="mean"),
    "insertion of ranges": many(insertion, normalize="range"),
    "irof of found segments": lambda f, x, r, m: irof(f, x, m, target=1, segments="grid"),
    "iou": lambda f, x, r, m: iou(m, SEGMENTS == 1),
    "concentration": lambda f, x, r, m: concentration(m, SEGMENTS == 1),
    "pointing_game": lambda f, x, r, m: pointing_game(m, SEGMENTS == 1),
    "gini": lambda f, x, r, m: gini(m),
    "attribution_variance": lambda f, x, r, m: attribution_variance(m, normalize="mean"),
    "blur": lambda f, x, r, m: gaussian_blur(x),
    "display_range": lambda f, x, r, m: display_range(x),
    "display_range of a normalisation": lambda f, x, r, m: display_range(x.abs() / 6, MEAN, STD),
    "Segmenter": lambda f, x, r, m: Segmenter("slic", 4)(x.abs()),
    "standard_baselines": lambda f, x, r, m: standard_baselines(x),
    "standard_baselines of a normalisation": lambda f, x, r, m: standard_baselines(x, mean=MEAN, std=STD),
    "weighted_ig_baselines": lambda f, x, r, m: weighted_ig_baselines(x, image=x[:1]),
    "insertion of volumes": volumes(lambda f, x, m: insertion(f, x, m, 1, baselines="corners").scores),
    "diff_id of volumes": volumes(lambda f, x, m: diff_id(f, x, m, 1).scores),
    "infidelity of volumes": volumes(lambda f, x, m: infidelity(f, x, m, 1, n_samples=9).raw),
    "SAMP of volumes": volumes(lambda f, x, m: SalientManipulationPath(f).attribute(x, target=1, n_steps=4)),
    "RISE of volumes": volumes(lambda f, x, m: RISE(f, grid=2).attribute(x, target=1, n_samples=20)),
    "BlurIG of volumes": volumes(lambda f, x, m: BlurIG(f, max_sigma=3).attribute(x, target=1, n_steps=9)),
    "USU of volumes": volumes(lambda f, x, m: USUUpsampler(segmenter="grid")(m[:, 0, :, :1, ::2], x, f, 1)),
    "bicubic of volumes": volumes(lambda f, x, m: InterpolationUpsampler("bicubic")(m[:, 0, :, :1, ::2], x)),
    "standard_baselines of volumes": volumes(lambda f, x, m: standard_baselines(x)),
    "insertion of signals": signals(lambda f, x, m: insertion(f, x, m, 1, baselines=Blur(2.0)).scores),
    "sensitivity_n of signals": signals(lambda f, x, m: sensitivity_n(f, x, m, 1, n_samples=9)),
    "irof of signals": signals(lambda f, x, m: irof(f, x, m, 1, segments="grid")),
    "RISE of signals": signals(lambda f, x, m: RISE(f, grid=2, dims=1).attribute(x, target=1, n_samples=20)),
    "USU of signals": signals(lambda f, x, m: USUUpsampler(scorer="gradient")(m[:, 0, ::3], x, f, 1)),
    "nearest": lambda f, x, r, m: InterpolationUpsampler("nearest")(m[:, 0], x),
    "lanczos": lambda f, x, r, m: InterpolationUpsampler("lanczos")(m[:, 0], x),
    "redistribute": lambda f, x, r, m: redistribute(m[:, 0, ::2, ::2].abs(), x[:, 0].abs(), temperature=0.3),
}
