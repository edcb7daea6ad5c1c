"""Settings are checked when an upsampler, a scorer or a refinement is made, and errors name the argument."""

import numpy as np
import pytest
import torch

from captum_ext.exceptions import ArgumentError, ArgumentTypeError, NonFiniteError
from captum_ext.segmentation import Segmenter
from captum_ext.upsampling import (
    USU,
    CoalitionScorer,
    InterpolationUpsampler,
    PerturbationScorer,
    Refinement,
    check_desiderata,
    redistribute,
)
from captum_ext.upsampling.scoring import GradientScorer, RandomScorer

NAN, INF = float("nan"), float("inf")
LABELS = torch.tensor([[0, 0, 1, 1], [0, 0, 2, 2]])
IMAGES = torch.rand(2, 3, 2, 4, generator=torch.Generator().manual_seed(0))
POSITIVE = "to be a finite positive number, but got"

BAD = [
    (USU, {"temperature": 0.0}, ArgumentError, f"`temperature` {POSITIVE} float 0.0"),
    (USU, {"temperature": NAN}, ArgumentError, f"`temperature` {POSITIVE} float nan"),
    (USU, {"temperature": INF}, ArgumentError, f"`temperature` {POSITIVE} float inf"),
    (USU, {"temperature": "low"}, ArgumentTypeError, f"`temperature` {POSITIVE} str 'low'"),
    (USU, {"temperature": True}, ArgumentTypeError, f"`temperature` {POSITIVE} bool True"),
    (USU, {"gamma": -1}, ArgumentError, f"`gamma` {POSITIVE} int -1"),
    (USU, {"gamma": NAN}, ArgumentError, f"`gamma` {POSITIVE} float nan"),
    (USU, {"gamma": None}, ArgumentTypeError, f"`gamma` {POSITIVE} NoneType None"),
    (USU, {"importance_temperature": 0}, ArgumentError, f"`importance_temperature` {POSITIVE} int 0"),
    (USU, {"importance_temperature": INF}, ArgumentError, f"`importance_temperature` {POSITIVE} float inf"),
    (USU, {"potential": "linear"}, ArgumentError, '`potential` to be one of "tensor", "power", "log-odds"'),
    (USU, {"redistribution": "none"}, ArgumentError, '`redistribution` to be one of "local"'),
    (USU, {"output": "softmax"}, ArgumentError, '`output` to be one of "logit", "probability"'),
    (
        USU,
        {"fill": "white"},
        ArgumentError,
        '`fill` to be a number, a tensor, a Blur or one of "mean", "blur", "rise", "zero", but',
    ),
    (USU, {"fill": NAN}, ArgumentError, "`fill` to be a number, .*; finite, but got float nan"),
    (USU, {"fill": None}, ArgumentTypeError, "`fill` to be .* but got NoneType"),
    (USU, {"fill": [0.5]}, ArgumentTypeError, "`fill` to be .* but got list"),
    (
        USU,
        {"fill": torch.zeros(3)},
        ArgumentError,
        r"`fill` to be a tensor of images .* but got a tensor of shape \(3,",
    ),
    (USU, {"fill": torch.full((1, 3, 2, 4), NAN)}, NonFiniteError, "`fill` to be finite, but got NaN in row 0"),
    (USU, {"fill": torch.ones(1, 3, 2, 4) > 0}, ArgumentTypeError, "`fill` to be .* dtype torch.bool"),
    (USU, {"mean": 0.5}, ArgumentError, "`mean` to be given together with std, but got only one of them"),
    (USU, {"std": 0.5}, ArgumentError, "`std` to be given together with mean, but got only one of them"),
    (USU, {"mean": "imagenet", "std": 1}, ArgumentTypeError, "`mean` to be a number, or .* but got str 'imagenet'"),
    (USU, {"mean": [0.5, None], "std": 1}, ArgumentTypeError, "`mean` to be a number, or .* but got list"),
    (USU, {"mean": True, "std": 1}, ArgumentTypeError, "`mean` to be a number, or .* but got bool True"),
    (USU, {"mean": [], "std": 1}, ArgumentError, r"`mean` to be a number, or .* but got list \[\]"),
    (USU, {"mean": NAN, "std": 1}, ArgumentError, "`mean` to be a number, or .* but got float nan"),
    (USU, {"mean": 0.5, "std": 0}, ArgumentError, "`std` to be positive numbers, but got int 0"),
    (USU, {"mean": 0.5, "std": [0.2, -0.1]}, ArgumentError, "`std` to be positive numbers, but got list"),
    (USU, {"mean": [0.5] * 3, "std": [1, 1]}, ArgumentError, "`std` to be of 3 numbers like mean, or one, but got 2"),
    (USU, {"segmenter": "voronoi"}, ArgumentError, '`segmenter` to be one of "slic", "felzenszwalb"'),
    (USU, {"segmenter": 3}, ArgumentTypeError, "`segmenter` to be a name, a Segmenter, a function, .* but got int 3"),
    (
        USU,
        {"segmenter": Segmenter},
        ArgumentTypeError,
        "`segmenter` to be a name, a Segmenter, a function, .* got type",
    ),
    (USU, {"segmenter": LABELS * 2}, ArgumentError, "`segmenter` to be labels from 0 without gaps"),
    (USU, {"segmenter": LABELS.float()}, ArgumentTypeError, "`segmenter` to be an integer tensor"),
    (USU, {"segmenter": LABELS[0, 0]}, ArgumentError, r"`segmenter` to be labels \(H, W\) or \(N, H, W\), or of vol"),
    (USU, {"segmenter": LABELS[:0]}, ArgumentError, r"`segmenter` to be labels \(H, W\) or \(N, H, W\), or of vol"),
    (USU, {"scorer": "best"}, ArgumentError, '`scorer` to be one of "deletion'),
    (USU, {"scorer": 3}, ArgumentTypeError, "`scorer` to be a name, a callable or a score map, but got int 3"),
    (USU, {"scorer": CoalitionScorer}, ArgumentTypeError, "`scorer` to be a name, .* but got type"),
    (USU, {"scorer": torch.ones(1, 2, 2) * 2}, ArgumentError, "`scorer` to be a score map between 0 and 1, but got"),
    (USU, {"scorer": torch.full((1, 2, 2), NAN)}, NonFiniteError, "`scorer` to be finite"),
    (USU, {"scorer": torch.zeros(2, 2)}, ArgumentError, r"`scorer` to be of shape \(N, h, w\) or \(N, 1, h, w\)"),
    (USU, {"refinement": 3}, ArgumentTypeError, "`refinement` to be a Refinement or None, but got int 3"),
    (USU, {"refinement": Refinement(), "segmenter": lambda i: i[..., 0] > 0}, ArgumentError, "`refinement` to be None"),
    (USU, {"internal_batch_size": 0}, ArgumentError, "`internal_batch_size` to be an integer of at least 1, but got 0"),
    (USU, {"internal_batch_size": 2.0}, ArgumentTypeError, "`internal_batch_size` to be an integer of at least 1"),
    (USU.paper, {"mean": 0.5}, ArgumentError, "`mean` to be given together with std"),
    (USU.paper, {"refinement": "diagonal"}, ArgumentTypeError, "`refinement` to be a Refinement or None, but got str"),
    (USU.paper, {"segmenter": LABELS}, ArgumentError, "`refinement` to be None with a label map .*, as in USU.fixed"),
    (USU.paper, {"scorer": torch.zeros(1, 2, 2)}, ArgumentError, "`refinement` to be None with a score map"),
    (USU.fixed, {"scorer": "best"}, ArgumentError, '`scorer` to be one of "deletion'),
    (USU.fixed, {"fill": NAN}, ArgumentError, "`fill` to be a number, .*; finite, but got float nan"),
    (USU.iwmr, {"importance_temperature": -0.1}, ArgumentError, f"`importance_temperature` {POSITIVE} float -0.1"),
    (USU.iwmr, {"std": 0.5}, ArgumentError, "`std` to be given together with mean"),
    (InterpolationUpsampler, {"mode": "cubic"}, ArgumentError, '`mode` to be one of "nearest", "bilinear", "bicubic"'),
    (CoalitionScorer, {"n_passes": 0}, ArgumentError, "`n_passes` to be an integer of at least 1"),
    (CoalitionScorer, {"ridge": 0}, ArgumentError, "`ridge` to be a number from 1e-9 to 1e6, but got int 0"),
    (CoalitionScorer, {"ridge": NAN}, ArgumentError, "`ridge` to be a number from 1e-9 to 1e6, but got float nan"),
    (CoalitionScorer, {"seed": 1.5}, ArgumentTypeError, "`seed` to be an integer from 0, but got float 1.5"),
    (RandomScorer, {"seed": None}, ArgumentTypeError, "`seed` to be an integer from 0, but got NoneType None"),
    (
        RandomScorer,
        {"seed": 2**64},
        ArgumentError,
        r"`seed` to be an integer from 0 to 2\^63 - 1, but got 18446744073709551616",
    ),
    (PerturbationScorer, {"kind": "swap"}, ArgumentError, '`kind` to be one of "deletion"'),
    (GradientScorer, {"n_steps": 0}, ArgumentError, "`n_steps` to be an integer of at least 1"),
    (Refinement, {"depth": 0}, ArgumentError, "`depth` to be an integer of at least 1"),
    (Refinement, {"growth": 1.5}, ArgumentTypeError, "`growth` to be an integer of at least 1"),
    (Refinement, {"kernel": "sobel"}, ArgumentError, '`kernel` to be one of "max-min", "diagonal"'),
    (Refinement, {"threshold": 0}, ArgumentError, f"`threshold` {POSITIVE} int 0"),
    (Refinement, {"threshold": INF}, ArgumentError, f"`threshold` {POSITIVE} float inf"),
    (Refinement, {"threshold": -0.3}, ArgumentError, f"`threshold` {POSITIVE} float -0.3"),
    (Refinement, {"mu": -0.1}, ArgumentError, "`mu` to be a finite non-negative number, but got float -0.1"),
    (Refinement, {"mu": NAN}, ArgumentError, "`mu` to be a finite non-negative number, but got float nan"),
    (Refinement, {"mu": "theta"}, ArgumentTypeError, "`mu` to be a finite non-negative number, but got str"),
    (Refinement, {"mu": True}, ArgumentTypeError, "`mu` to be a finite non-negative number, but got bool True"),
    (Refinement, {"tau": 0}, ArgumentError, f"`tau` {POSITIVE} int 0"),
    (Refinement, {"tau": -1.0}, ArgumentError, f"`tau` {POSITIVE} float -1.0"),
    (Refinement, {"tau": NAN}, ArgumentError, f"`tau` {POSITIVE} float nan"),
    (Refinement, {"tau": torch.ones(2)}, ArgumentTypeError, f"`tau` {POSITIVE}"),
    (Refinement, {"budget": 0}, ArgumentError, "`budget` to be an integer of at least 1"),
    (Refinement, {"tolerance": -1}, ArgumentError, "`tolerance` to be a finite non-negative number, but got int -1"),
    (
        Refinement,
        {"tolerance": NAN},
        ArgumentError,
        "`tolerance` to be a finite non-negative number, but got float nan",
    ),
    (
        Refinement,
        {"tolerance": "low"},
        ArgumentTypeError,
        "`tolerance` to be a finite non-negative number, but got str",
    ),
]


@pytest.mark.parametrize(
    ("make", "settings", "error", "message"),
    BAD,
    ids=[f"{make.__qualname__} {'-'.join(settings)} {i}" for i, (make, settings, _, _) in enumerate(BAD)],
)
def test_a_setting_that_cannot_be_used_is_named_when_the_object_is_made(make, settings, error, message):
    with pytest.raises(error, match=message):
        make(**settings)


GOOD = [
    {"temperature": 1, "gamma": np.float32(0.5), "importance_temperature": np.float64(0.1)},
    {"fill": 0, "internal_batch_size": np.int64(3)},
    {"fill": torch.zeros(1, 3, 1, 1, dtype=torch.int64)},
    {"fill": torch.rand(2, 3, 2, 4, generator=torch.Generator().manual_seed(1))},
    {"mean": 0.0, "std": [1.0, 1, 1]},
    {"mean": np.zeros(3), "std": torch.ones(1, 3, 1, 1)},
    {"segmenter": LABELS[None].repeat(2, 1, 1)},
    {"segmenter": lambda image: image[..., 0] > 0.5},
    {"scorer": CoalitionScorer(n_passes=8, ridge=1, seed=3)},
    {"refinement": Refinement(tolerance=0), "segmenter": "grid"},
    {"refinement": Refinement(kernel="diagonal", mu=0, tau=np.float32(0.1)), "segmenter": "grid"},
]


@pytest.mark.parametrize("settings", GOOD, ids=["-".join(settings) + str(i) for i, settings in enumerate(GOOD)])
def test_settings_in_any_of_their_forms_work(settings):
    usu = USU(**{"segmenter": LABELS, **settings})
    fine = usu(torch.ones(2, 1, 2), IMAGES, lambda x: x.flatten(1).sum(1))
    torch.testing.assert_close(fine.sum((1, 2, 3)), torch.tensor([8.0, 8.0]))


def test_a_normalisation_is_kept_as_numbers_and_undone_channel_by_channel():
    seen = []

    def whole(image):
        seen.append(image)
        return np.zeros(image.shape[:2], dtype=int)

    usu = USU(segmenter=whole, mean=torch.tensor([[0.5, 0.25, 0.0]]), std=2)
    assert (usu.mean, usu.std) == ((0.5, 0.25, 0.0), (2.0,))
    image = torch.tensor([0.25, 0.125, 0.0]).reshape(1, 3, 1, 1).repeat(1, 1, 2, 4)
    with pytest.warns(UserWarning, match="segments of 1 of 1 inputs"):
        usu.score_map(image, lambda x: x.sum((1, 2, 3)))
    assert seen[0][0, 0].tolist() == [1.0, 0.5, 0.0]


def test_one_segment_spreads_every_cell_evenly_with_a_warning_that_counts_the_rows():
    image, coarse = torch.rand(2, 1, 2, 4), torch.tensor([[[1.0, 3.0]], [[2.0, 0.0]]])
    one_divided = torch.tensor([[[0, 0, 0, 0]] * 2, [[0, 1, 1, 0]] * 2])
    usu = USU(segmenter=one_divided)
    with pytest.warns(UserWarning, match=r"segments of 1 of 2 inputs \(first row 0\) are all of the input"):
        found = usu(coarse, image, lambda x: x[..., :2].sum((1, 2, 3)))
    assert found[0, 0].tolist() == [[1.0, 1.0, 3.0, 3.0]] * 2
    assert found[1, 0, 0, 0] != found[1, 0, 0, 1]


CALLS = [
    (USU(segmenter=LABELS), {"size": 4}, ArgumentTypeError, r"`size` to be two integers \(H, W\), but got int 4"),
    (USU(segmenter=LABELS), {"size": (4, 4, 4)}, ArgumentError, r"`size` to be two integers \(H, W\), but got tuple"),
    (USU(segmenter=LABELS), {"size": (4, 0)}, ArgumentError, r"`size\[1\]` to be an integer of at least 1, but got 0"),
    (USU(segmenter=LABELS), {"size": (4.0, 8)}, ArgumentTypeError, r"`size\[0\]` to be an integer of at least 1"),
    (USU(segmenter=LABELS), {"size": "ab"}, ArgumentTypeError, r"`size` to be two integers \(H, W\), but got str"),
    (InterpolationUpsampler("nearest"), {"size": 4}, ArgumentTypeError, r"`size` to be two integers \(H, W\)"),
    (InterpolationUpsampler("lanczos"), {"size": (0, 4)}, ArgumentError, r"`size\[0\]` to be an integer of at least 1"),
    (InterpolationUpsampler(), {"inputs": None}, ArgumentTypeError, r"`inputs` to be a batch of images \(N, C, H, W\)"),
    (InterpolationUpsampler(), {"inputs": IMAGES[:1]}, ArgumentError, "`coarse` to be of 1 rows like the inputs"),
    (USU(mean=[0, 0], std=1), {}, ArgumentError, "`mean` to be one number, or one for each of the inputs' 3 channels"),
    (USU(segmenter=LABELS.T), {}, ArgumentError, r"`segmenter` to be of shape \(2, 4\)"),
    (USU(segmenter=LABELS, fill=torch.zeros(1, 2, 2, 4)), {}, ArgumentError, "`fill` to be of the input's shape"),
    (USU(segmenter=LABELS, fill=torch.zeros(3, 3, 2, 4)), {}, ArgumentError, "`fill` to be of the input's shape"),
]


@pytest.mark.parametrize(("upsampler", "options", "error", "message"), CALLS, ids=[str(i) for i in range(len(CALLS))])
def test_what_depends_on_the_images_is_named_when_they_are_given(upsampler, options, error, message):
    arguments = {"coarse": torch.ones(2, 1, 2), "inputs": IMAGES, "forward_func": lambda x: x.flatten(1).sum(1)}
    with pytest.raises(error, match=message):
        upsampler(**{**arguments, **options})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 4}, ArgumentTypeError, "`size` to be one to three integers"),
        ({"grid": (2,)}, ArgumentError, "`grid` to be two integers"),
        ({"grid": (5, 2)}, ArgumentError, r"`grid` to be no larger than the map's size \(4, 4\), but got \(5, 2\)"),
        ({"seed": 0.5}, ArgumentTypeError, "`seed` to be an integer"),
        ({"n_cases": 0}, ArgumentError, "`n_cases` to be an integer of at least 1"),
        ({"upsampler": "best"}, ArgumentError, '`upsampler` to be one of "usu"'),
        ({"upsampler": USU}, ArgumentTypeError, '`upsampler` to be "usu", .* but got type'),
    ],
)
def test_the_arguments_of_the_desiderata_are_checked(options, error, message):
    with pytest.raises(error, match=message):
        check_desiderata(**{"upsampler": "nearest", "size": (4, 4), "grid": (2, 2), **options})


@pytest.mark.parametrize("potential", ["tensor", "power", "log-odds"])
@pytest.mark.parametrize("redistribution", ["local", "global-mass", "global-area"])
def test_extreme_temperatures_and_exponents_give_their_limit_and_keep_the_mass(potential, redistribution):
    scores = torch.tensor([[[0.2, 0.9, 0.9, 0.1]]])
    fine = redistribute(
        torch.ones(1, 1, 1),
        scores,
        temperature=1e-300,
        potential=potential,
        gamma=1e300,
        redistribution=redistribution,
        importance_temperature=5e-324,
    )
    assert fine.flatten().tolist() == [0, 2, 2, 0]
