"""Every public entry on a device that is not the CPU, with float64 (as CUDA) and without it (as MPS)."""

import pytest
import torch

from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LocalPathIntegration,
    SalientManipulationPath,
    WeightedIntegratedGradients,
)
from captum_ext.images import display_range, gaussian_blur
from captum_ext.metrics import concentration, deletion, diff_id, gini, insertion, iou, irof, pointing_game
from captum_ext.references import ReferenceDistribution, standard_baselines
from captum_ext.segmentation import Segmenter
from captum_ext.upsampling import InterpolationUpsampler, redistribute
from tests.core.device import DEVICE, REFUSAL, OnDevice, device
from tests.core.entries import ATTRIBUTIONS, FITS, MEASURES, SEGMENTS, generator, numbers, tensors_of

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


def many(metric, **given):
    def call(f, x, r, m):
        found = metric(f, x, m, target=1, **given)
        return found.scores, found.auc, found.valid, found.input_scores, found.fractions

    return call


RULES = (None, "gausslegendre", "riemann_trapezoid", "stratified", "adaptive")
ENTRIES = {
    **{name: entry for name, entry in ATTRIBUTIONS.items() if name != "LPI fitted"},
    **MEASURES,
    **FITS,
    **{f"IG {rule}": integrated(IntegratedGradients, rule) for rule in RULES},
    **{f"EG {rule}": integrated(ExpectedGradients, rule) for rule in RULES},
    **{f"LPI {rule}": integrated(LocalPathIntegration, rule) for rule in RULES},
    **{f"WeightedIG {rule}": integrated(WeightedIntegratedGradients, rule) for rule in RULES},
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
    "diff_id of means": many(diff_id, baselines="mean"),
    "insertion of ranges": many(insertion, normalize="range"),
    "irof of found segments": lambda f, x, r, m: irof(f, x, m, target=1, segments="grid"),
    "iou": lambda f, x, r, m: iou(m, SEGMENTS == 1),
    "concentration": lambda f, x, r, m: concentration(m, SEGMENTS == 1),
    "pointing_game": lambda f, x, r, m: pointing_game(m, SEGMENTS == 1),
    "gini": lambda f, x, r, m: gini(m),
    "blur": lambda f, x, r, m: gaussian_blur(x),
    "display_range": lambda f, x, r, m: display_range(x),
    "display_range of a normalisation": lambda f, x, r, m: display_range(x.abs() / 6, MEAN, STD),
    "Segmenter": lambda f, x, r, m: Segmenter("slic", 4)(x.abs()),
    "standard_baselines": lambda f, x, r, m: standard_baselines(x),
    "standard_baselines of a normalisation": lambda f, x, r, m: standard_baselines(x, mean=MEAN, std=STD),
    "nearest": lambda f, x, r, m: InterpolationUpsampler("nearest")(m[:, 0], x),
    "lanczos": lambda f, x, r, m: InterpolationUpsampler("lanczos")(m[:, 0], x),
    "redistribute": lambda f, x, r, m: redistribute(m[:, 0, ::2, ::2].abs(), x[:, 0].abs(), temperature=0.3),
}
# Numbers of plans, and references, which are for any device; images as they are seen, which are for CPU libraries.
ON_THE_CPU = {
    "WeightedIG, baselines evaluated": (1, 2),
    "WeightedIG weights": (0,),
    "SAMP with paths": (0,),
    **dict.fromkeys(FITS, (0,)),
}


@pytest.mark.parametrize("has_float64", [False, True], ids=["without float64", "with float64"])
@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_gives_the_numbers_of_the_cpu_on_the_device_of_the_inputs(monkeypatch, name, has_float64):
    expected = tensors_of(ENTRIES[name](model_with(WEIGHTS), IMAGES, REFERENCES, MAPS))
    with device(monkeypatch, has_float64):
        given = [one.to(DEVICE) for one in (IMAGES, REFERENCES, MAPS)]
        actual = tensors_of(ENTRIES[name](model_with(WEIGHTS.to(DEVICE)), *given))
        where = [isinstance(one, OnDevice) for one in actual]
        actual = [one.cpu() for one in actual]
    if not name.startswith("display_range"):
        assert where == [place not in ON_THE_CPU.get(name, ()) for place in range(len(actual))]
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("kind", [torch.float64, torch.int64, torch.float16])
def test_maps_of_any_dtype_from_the_cpu_are_ranked_for_inputs_on_the_device(monkeypatch, kind):
    maps = (MAPS * 100).to(kind)
    expected = deletion(model_with(WEIGHTS), IMAGES, maps, target=1).scores
    with device(monkeypatch, has_float64=False):
        actual = deletion(model_with(WEIGHTS.to(DEVICE)), IMAGES.to(DEVICE), maps, target=1).scores.cpu()
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("measure", [iou, concentration, pointing_game])
def test_integer_maps_on_the_device_are_located(monkeypatch, measure):
    maps = (MAPS * 100).long()
    expected = measure(maps, SEGMENTS == 1)
    with device(monkeypatch, has_float64=False):
        actual = measure(maps.to(DEVICE), SEGMENTS == 1).cpu()
    torch.testing.assert_close(actual, expected, check_dtype=False)


def test_the_device_refuses_what_mps_refuses(monkeypatch):
    with device(monkeypatch, has_float64=False):
        x = torch.ones(2, 3).to(DEVICE)
        for refused in (
            lambda: x.double(),
            lambda: x.to("cpu", torch.float64),
            lambda: x.sum(dtype=torch.float64),
            lambda: torch.ones(2, dtype=torch.float64).to(DEVICE),
            lambda: torch.zeros(2, dtype=torch.float64, device=DEVICE),
            lambda: torch.tensor([1.0], dtype=torch.float64, device=DEVICE),
            lambda: torch.ones(2, dtype=torch.float64).copy_(x[0, :2]),
        ):
            with pytest.raises(TypeError, match=REFUSAL):
                refused()
        for mixed in (
            lambda: x + torch.ones(3),
            lambda: x @ torch.ones(3, 1),
            lambda: torch.where(x > 0, x, torch.ones(3)),
        ):
            with pytest.raises(RuntimeError, match="all tensors to be on the same device"):
                mixed()
        assert (x * 2 + torch.tensor(1.0)).cpu().double().tolist() == [[3.0] * 3] * 2
        assert x[torch.tensor([1])].shape == (1, 3)
