"""One call of every public entry, for tests of what all of them have in common.

An entry takes the model, images (N, 3, 4, 4), references (K, 3, 4, 4) and maps like the images; an attribution or an
upsampler also `allow_batch_statistics`. It returns tensors.
"""

import numpy as np
import torch

from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LocalPathIntegration,
    SalientManipulationPath,
    WeightedIntegratedGradients,
)
from captum_ext.dataset import attribute_dataset
from captum_ext.metrics import (
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
from captum_ext.upsampling import (
    InterpolationUpsampler,
    USUUpsampler,
    alpha_error,
    beta_error,
    mass_deficit,
    mass_excess,
    pool_attribution,
)

SEGMENTS = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 2], [2, 2, 3, 3]])


def generator():
    return torch.Generator().manual_seed(0)


def path(kind, **given):
    return lambda f, x, r, m, **allowed: kind(f, **allowed).attribute(
        x, target=1, n_steps=4, return_convergence_delta=True, **given
    )


def referenced(kind, **given):
    return lambda f, x, r, m, **allowed: kind(f, references=r, **allowed).attribute(
        x, target=1, n_steps=6, generator=generator(), return_convergence_delta=True, **given
    )


def fitted(f, x, r, m, **allowed):
    distribution = ReferenceDistribution(
        [r[:1], r[1:]],
        [torch.ones(1), torch.full((len(r) - 1,), 1 / (len(r) - 1))],
        torch.tensor([[0.0] * 3, [1.0] * 3]),
    )
    method = LocalPathIntegration(f, references=distribution, allow_other_model=True, **allowed)
    return method.attribute(x, target=1, n_steps=4, generator=generator(), return_convergence_delta=True)


def weighed(f, x, r, m, **allowed):
    fitness = WeightedIntegratedGradients(f, **allowed).evaluate_baselines(
        x, target=1, n_steps=9, generator=generator()
    )
    return fitness.attributions, fitness.weights, fitness.n_removed


def curve(metric, **given):
    def call(f, x, r, m):
        found = metric(f, x, m, target=1, **given)
        return found.scores, found.auc, found.correct, found.input_scores

    return call


def upsampled(scorer):
    return lambda f, x, r, m, **allowed: USUUpsampler(segmenter=SEGMENTS, scorer=scorer, **allowed)(
        m[:, :1, ::2, ::2].abs(), x, f
    )


ATTRIBUTIONS = {
    "IG": path(IntegratedGradients),
    "IG from baselines": lambda f, x, r, m, **allowed: IntegratedGradients(f, **allowed).attribute(
        x, r[: len(x)], target=1, n_steps=3, internal_batch_size=1
    ),
    "IG stratified": lambda f, x, r, m, **allowed: path(
        IntegratedGradients, method="stratified", generator=generator()
    )(f, x, r, m, **allowed),
    "IG adaptive": path(IntegratedGradients, method="adaptive"),
    "EG": referenced(ExpectedGradients),
    "LPI": referenced(LocalPathIntegration),
    "LPI fitted": fitted,
    "WeightedIG": referenced(WeightedIntegratedGradients),
    "WeightedIG, baselines evaluated": weighed,
    "IDGI": path(ImportantDirectionIG),
    "SAMP": path(SalientManipulationPath),
    "SAMP with paths": lambda f, x, r, m, **allowed: (
        SalientManipulationPath(f, **allowed).attribute(x, target=1, n_steps=3, return_path=True)[1]["deletion"].scores
    ),
}
UPSAMPLERS = {
    "USU": upsampled("deletion+insertion"),
    "USU coalition": upsampled("coalition"),
    "USU gradient": upsampled("gradient"),
}
MEASURES = {
    "insertion": curve(insertion),
    "deletion": curve(deletion),
    "diff_id": curve(diff_id),
    "curves": lambda f, x, r, m: tuple(one.scores for one in curves(f, x, m, target=1, baselines="mean").values()),
    "pixel_flipping": curve(pixel_flipping),
    "road": curve(road),
    "irof": lambda f, x, r, m: irof(f, x, m, target=1, segments=SEGMENTS),
    "infidelity": lambda f, x, r, m: infidelity(f, x, m, target=1, n_samples=5).raw,
    "sensitivity_n": lambda f, x, r, m: sensitivity_n(f, x, m, target=1, n_samples=5),
    "monotonicity": lambda f, x, r, m: monotonicity(f, x, m, target=1, n_steps=4),
}
FITS = {
    "fit": lambda f, x, r, m: ReferenceDistribution.fit(f, r, n_references=2).references[0],
    "fit of batches": lambda f, x, r, m: ReferenceDistribution.fit(f, [r[:2], r[2:]], n_references=2).references[0],
}
WITHOUT_A_MODEL = {
    "standard_baselines": lambda f, x, r, m: standard_baselines(x),
    "weighted_ig_baselines": lambda f, x, r, m: weighted_ig_baselines(x, image=x[:1]),
    "InterpolationUpsampler": lambda f, x, r, m: InterpolationUpsampler("bicubic")(m[:, 0], x, f),
    "lanczos": lambda f, x, r, m: InterpolationUpsampler("lanczos")(m[:, 0], x, f),
    "pool_attribution": lambda f, x, r, m: pool_attribution(m[:, :1], (2, 2)),
    "alpha_error": lambda f, x, r, m: alpha_error(m[:, :1], x[:, :1]),
    "beta_error": lambda f, x, r, m: beta_error(m[:, :1], x[:, :1]),
    "mass_excess": lambda f, x, r, m: mass_excess(m[:, :1], x[:, :1], (2, 2)),
    "mass_deficit": lambda f, x, r, m: mass_deficit(m[:, :1], x[:, :1], (2, 2)),
    "iou": lambda f, x, r, m: iou(m, SEGMENTS == 1),
    "concentration": lambda f, x, r, m: concentration(m, SEGMENTS == 1),
    "pointing_game": lambda f, x, r, m: pointing_game(m, SEGMENTS == 1),
    "gini": lambda f, x, r, m: gini(m),
}
RUNNING = {**ATTRIBUTIONS, **UPSAMPLERS, **MEASURES, **FITS}


def over_a_folder(folder):
    def call(f, x, r, m, **allowed):
        samples = torch.utils.data.TensorDataset(x, torch.ones(len(x), dtype=torch.long))
        found = attribute_dataset(
            ExpectedGradients(f, references=r, **allowed),
            samples,
            folder,
            target="label",
            fields=("prediction", "score", "delta", "map", "deletion"),
            attribute_kwargs={"n_steps": 4},
        )
        assert not found.failures, found.failures
        return found.maps(), torch.tensor(found.table(["score"]).to_pydict()["score"])

    return call


def numbers(*shape):
    return (torch.arange(int(np.prod(shape)), dtype=torch.float32) * 0.7 + 0.3).sin().reshape(shape)


def tensors_of(result):
    """The tensors that an entry returned."""
    return [one for one in (result if isinstance(result, tuple) else (result,)) if one is not None]
