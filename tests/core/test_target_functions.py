"""Targets that are functions of what the model returns for one row, whatever that is."""

import dataclasses
from collections import OrderedDict, namedtuple
from types import MappingProxyType, SimpleNamespace

import pytest
import torch
from captum.attr import NoiseTunnel
from torch import nn

import captum_ext
from captum_ext import USU
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
    LayerLocalPathIntegration,
    LayerWeightedIntegratedGradients,
    LocalPathIntegration,
    SalientManipulationPath,
    WeightedIntegratedGradients,
)
from captum_ext.core.fingerprints import Fingerprints
from captum_ext.core.output_rows import split_rows
from captum_ext.exceptions import (
    ArgumentError,
    ArgumentsConflictError,
    ArgumentTypeError,
    ModelOutputError,
    NonFiniteError,
    OutputRowsError,
    OutputTypeError,
)
from captum_ext.metrics import deletion, diff_id, infidelity, insertion, irof, monotonicity, pixel_flipping, road
from captum_ext.references import ReferenceDistribution
from captum_ext.testing import SmoothModel

X = torch.sin(1.7 * torch.arange(15, dtype=torch.float64)).reshape(3, 5)
REFERENCES = torch.cos(2.3 * torch.arange(20, dtype=torch.float64)).reshape(4, 5)
IMAGES = torch.sin(1.7 * torch.arange(2 * 3 * 8 * 8, dtype=torch.float64)).reshape(2, 3, 8, 8)
Pair = namedtuple("Pair", "logits extra")


@dataclasses.dataclass
class Record:
    logits: torch.Tensor
    extra: object = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    logits: torch.Tensor


class ModelOutput(OrderedDict):
    """As transformers has it: a mapping whose entries are attributes, too."""

    def __init__(self, **entries):
        super().__init__()
        for name, value in entries.items():
            self[name] = value

    def __setitem__(self, name, value):
        super().__setitem__(name, value)
        object.__setattr__(self, name, value)

    def __getitem__(self, key):
        return super().__getitem__(key) if isinstance(key, str) else tuple(self.values())[key]


KINDS = {
    "tensor": lambda logits: logits,
    "dict": lambda logits: {"logits": logits, "loss": logits.sum(), "of": 3},
    "read-only": lambda logits: MappingProxyType({"logits": logits}),
    "nested": lambda logits: {"a": ({"logits": logits},), "b": torch.zeros(7)},
    "ModelOutput": lambda logits: ModelOutput(logits=logits, states=(logits * 2, logits[0])),
    "tuple": lambda logits: (logits, torch.zeros(())),
    "namedtuple": lambda logits: Pair(logits, None),
    "dataclass": lambda logits: Record(logits, torch.zeros(7)),
    "slots": lambda logits: Slotted(logits),
    "object": lambda logits: SimpleNamespace(logits=logits),
    "list": lambda logits: [{"logits": row} for row in logits],
}


def logits_of(output):
    """The logits (3,) in the output of one row, of any of these kinds."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, dict | MappingProxyType):
        return logits_of(output["a"][0] if "a" in output else output["logits"])
    return output[0] if isinstance(output, tuple) else output.logits


@dataclasses.dataclass(frozen=True)
class Logit:
    index: int

    def __call__(self, output):
        return logits_of(output)[self.index]


class Returning(nn.Module):
    """A model whose logits are wrapped in an output of another kind."""

    def __init__(self, model, kind):
        super().__init__()
        self.model, self.kind = model, kind

    def forward(self, *given):
        return KINDS[self.kind](self.model(*given))


def net(n_features=5):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(n_features, 4), nn.Tanh(), nn.Linear(4, 3)).double().eval()


def image_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).double().eval()


PLAIN = {"method": "riemann_middle"}
METHODS = {
    "IG": (IntegratedGradients, {}),
    "EG": (lambda model: ExpectedGradients(model, references=REFERENCES), PLAIN),
    "LPI": (lambda model: LocalPathIntegration(model, references=REFERENCES), PLAIN),
    "WG": (lambda model: WeightedIntegratedGradients(model, references=REFERENCES, score="logit"), PLAIN),
    "SAMP": (lambda model: SalientManipulationPath(model, insertion_baselines=0), {}),
    "GuidedIG": (GuidedIG, {}),
    "IDGI": (ImportantDirectionIG, {}),
    "LayerEG": (lambda model: LayerExpectedGradients(model, first(model), references=REFERENCES), PLAIN),
    "LayerLPI": (lambda model: LayerLocalPathIntegration(model, first(model), references=REFERENCES), PLAIN),
    "LayerWG": (
        lambda model: LayerWeightedIntegratedGradients(model, first(model), references=REFERENCES, score="logit"),
        PLAIN,
    ),
}


def first(model):
    return next(one for one in model.modules() if isinstance(one, nn.Linear))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METHODS)
def test_a_function_explains_any_output_as_an_index_explains_the_logits(name, kind):
    make, options = METHODS[name]
    options = {**options, "return_convergence_delta": True, "n_steps": 6}
    expected = make(net()).attribute(X, target=1, **options)
    for limit in (None, 1, 3):
        actual = make(Returning(net(), kind)).attribute(X, target=Logit(1), internal_batch_size=limit, **options)
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in METHODS if "LPI" not in name])
def test_every_row_is_explained_by_its_own_function(name):
    make, options = METHODS[name]
    options = {**options, "return_convergence_delta": True, "n_steps": 6}
    expected = make(net()).attribute(X, target=[2, 0, 1], **options)
    for limit in (None, 1, 2, 3):
        targets = [Logit(2), Logit(0), Logit(1)]
        actual = make(Returning(net(), "dict")).attribute(X, target=targets, internal_batch_size=limit, **options)
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


def test_lpi_takes_functions_of_rows_where_its_neighbourhoods_are_those_of_a_tensor():
    fitted = ReferenceDistribution.fit(net(), REFERENCES, n_neighborhoods=2, n_references=1)
    lpi = LocalPathIntegration(net(), references=fitted)
    expected = lpi.attribute(X, target=[2, 0, 1], method="riemann_middle")
    actual = lpi.attribute(X, target=[Logit(2), Logit(0), Logit(1)], method="riemann_middle")
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)
    lpi = LocalPathIntegration(Returning(net(), "dict"), references=REFERENCES)
    with pytest.raises(ArgumentError, match="one function for all rows, whose scores neighbourhoods are found by"):
        lpi.attribute(X, target=[Logit(2), Logit(0), Logit(1)])


def test_lpi_finds_neighbourhoods_by_the_functions_scores_where_the_output_is_no_tensor():
    scores = REFERENCES.sum(1, keepdim=True)
    fitted = ReferenceDistribution.fit_outputs(scores, lambda places: REFERENCES[places], 2, 2)
    total = LocalPathIntegration(lambda x: {"sum": x.sum(1)}, references=fitted)
    actual = total.attribute(X, target=lambda output: output["sum"], method="riemann_middle")
    expected = LocalPathIntegration(lambda x: x.sum(1, keepdim=True), references=fitted).attribute(
        X, target=0, method="riemann_middle"
    )
    torch.testing.assert_close(actual, expected)


def test_further_arguments_of_the_model_still_follow_their_rows():
    scale = torch.linspace(1, 2, 3, dtype=torch.float64)
    expected = IntegratedGradients(SmoothModel(5)).attribute(X, target=2, additional_forward_args=scale)
    model = Returning(SmoothModel(5), "dict")
    for limit in (None, 2):
        actual = IntegratedGradients(model).attribute(
            X, target=Logit(2), additional_forward_args=scale, internal_batch_size=limit
        )
        torch.testing.assert_close(actual, expected)


def test_captums_noise_tunnel_takes_functions_to_the_rows_of_its_samples():
    tunnel = {"nt_samples": 2, "stdevs": 0.0}
    expected = NoiseTunnel(IntegratedGradients(net())).attribute(X, target=[2, 0, 1], **tunnel)
    targets = [Logit(2), Logit(0), Logit(1)]
    actual = NoiseTunnel(IntegratedGradients(Returning(net(), "dict"))).attribute(X, target=targets, **tunnel)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("make", [RISE, XRAI, BlurIG, ExcitationBackprop], ids=lambda make: make.__name__)
def test_methods_of_images_take_functions(make):
    options = {"n_samples": 20} if make is RISE else {}
    expected = make(image_net()).attribute(IMAGES, target=[2, 0], **options)
    actual = make(Returning(image_net(), "dict")).attribute(IMAGES, target=[Logit(2), Logit(0)], **options)
    torch.testing.assert_close(actual, expected)


def test_a_function_that_refuses_the_channels_last_layout_is_given_the_other_one():
    conv = nn.Conv2d(3, 4, 3).double()
    seen = []

    def target(output):
        seen.append(output.is_contiguous())
        return output.view(-1).sum()

    actual = ExpectedGradients(conv, references=IMAGES.flip(0)).attribute(
        IMAGES, target=target, method="riemann_middle", n_steps=2
    )
    expected = ExpectedGradients(lambda x: conv(x).sum((1, 2, 3)), references=IMAGES.flip(0)).attribute(
        IMAGES, method="riemann_middle", n_steps=2
    )
    torch.testing.assert_close(actual, expected)
    assert seen[-1]


NUMBERS = {"scores", "auc", "raw", "scale_free", "true"}
METRICS = (insertion, deletion, diff_id, irof, pixel_flipping, road, monotonicity, infidelity)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
def test_metrics_take_functions(metric):
    maps = IMAGES.abs()
    expected = metric(image_net(), IMAGES, maps, target=[2, 0])
    actual = metric(Returning(image_net(), "dict"), IMAGES, maps, target=[Logit(2), Logit(0)])
    assert getattr(actual, "correct", None) is None  # of functions no class is known
    for name in NUMBERS & set(dir(expected)):
        torch.testing.assert_close(getattr(actual, name), getattr(expected, name), equal_nan=True)
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(actual, expected, equal_nan=True)


@pytest.mark.parametrize("scorer", ["deletion+insertion", "coalition", "gradient"])
def test_usu_scores_segments_by_functions(scorer):
    usu = USU(segmenter=torch.arange(64).reshape(8, 8) // 16, scorer=scorer)
    coarse = torch.ones(2, 2, 2)
    expected = usu(coarse, IMAGES, image_net(), target=[2, 0])
    actual = usu(coarse, IMAGES, Returning(image_net(), "dict"), target=[Logit(2), Logit(0)])
    torch.testing.assert_close(actual, expected)


def test_what_needs_classes_says_so():
    with pytest.raises(ArgumentError, match="to be the index of a class, or one for each row"):
        AGI(net(), step_size=0.1).attribute(X, target=Logit(1))
    with pytest.raises(ArgumentError, match='"logit" or a function for a model without classes'):
        WeightedIntegratedGradients(net(), references=REFERENCES, score="softmax").attribute(X, target=Logit(1))
    usu = USU(segmenter=torch.zeros(8, 8, dtype=torch.long), output="probability")
    with pytest.raises(ArgumentError, match='an index where output="probability"'):
        usu(torch.ones(2, 2, 2), IMAGES, image_net(), target=Logit(1))


def test_weighted_ig_falls_back_to_the_functions_score():
    explained = [
        WeightedIntegratedGradients(net(), references=REFERENCES, score=score).attribute(
            X, target=Logit(1), method="riemann_middle"
        )
        for score in (None, "logit")
    ]
    torch.testing.assert_close(*explained)


def test_rows_of_outputs_are_what_each_row_has_in_them():
    whole = {"boxes": torch.arange(6).reshape(2, 3), "anchors": torch.ones(5), "name": "a", "aux": ([1, 2], {})}
    first_row, second = split_rows(whole, 2)
    assert first_row["boxes"].tolist() == [0, 1, 2]
    assert second["boxes"].tolist() == [3, 4, 5]
    assert first_row["anchors"] is None
    assert first_row["name"] == "a"
    assert first_row["aux"] == (1, None)
    assert second["aux"] == (2, None)
    assert whole["anchors"].shape == (5,)  # the model's own output is as it was
    output = ModelOutput(logits=torch.eye(2))
    rows = split_rows(output, 2)
    assert [type(row) for row in rows] == [ModelOutput, ModelOutput]
    assert rows[1].logits.tolist() == rows[1]["logits"].tolist() == [0.0, 1.0]
    assert output.logits.shape == (2, 2)
    rows = split_rows(Slotted(torch.eye(2)), 2)
    assert rows[0].logits.tolist() == [1.0, 0.0]


def test_an_attribute_beside_the_keys_of_a_mapping_is_a_row_too():
    class Output(dict):
        pass

    output = Output(logits=torch.eye(2))
    output.scores = torch.tensor([3.0, 4.0])
    assert [float(row.scores) for row in split_rows(output, 2)] == [3.0, 4.0]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (torch.eye(3), "one row for each of the 2 rows"),
        ({"logits": torch.eye(3)}, "one row for each of the 2 rows .* got dict of logits: \\(3, 3\\)"),
        ([{}, {}, {}], "one row for each of the 2 rows .* a list of 3"),
        (None, "one row for each of the 2 rows .* NoneType None"),
        (3.0, "one row for each of the 2 rows .* float 3.0"),
        (SimpleNamespace(), "one row for each of the 2 rows"),
    ],
)
def test_an_output_with_other_rows_is_refused(output, message):
    with pytest.raises(OutputRowsError, match=message):
        split_rows(output, 2)


def test_a_list_that_may_hold_rows_or_parts_is_refused():
    with pytest.raises(ModelOutputError, match="may hold one tensor for each row, or several tensors with a row"):
        split_rows([torch.eye(2), torch.eye(2)], 2)
    assert split_rows([torch.ones(3, 6), torch.ones(0, 6)], 2)[0].shape == (3, 6)
    assert split_rows([torch.eye(1)], 1)[0].shape == (1, 1)


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        (Logit, ArgumentTypeError, r"an object, as Logit\(\.\.\.\), but got the class itself"),
        ([Logit(0), 1, Logit(2)], ArgumentTypeError, "a list of functions, one for each row, or of indices"),
        ([Logit(0)] * 2, ArgumentError, "one for each of the 3 rows, but got 2 functions"),
        ((Logit(0), Logit(1), Logit(2)), ArgumentTypeError, "a tuple of ints, a function"),
        (lambda row: row["logits"], ArgumentError, r"of one number .* a tensor of shape \(3,\) .* for row 0"),
        (lambda row: row["logits"][:0], ArgumentError, r"of one number .* a tensor of shape \(0,\)"),
        (lambda row: 1.0, ArgumentError, "of one number .* which returns float 1.0 for row 0"),
        (lambda row: row["logits"].argmax(), ArgumentError, "floating point tensor of one number .* torch.int64"),
        ([Logit(0), Logit(1), Logit(7)], ArgumentError, "which raises IndexError for row 2"),
        (
            lambda row: row["scores"],
            ArgumentError,
            r"here dict of logits: \(3,\).* raises KeyError for row 0: 'scores'",
        ),
        (
            lambda row: row["loss"] * 2,
            ArgumentError,
            r"None in it, without a row for each of the \d+ rows: loss \(\(\)\).* raises TypeError",
        ),
    ],
)
def test_a_function_that_is_no_target_is_refused(target, kind, message):
    with pytest.raises(kind, match=message):
        IntegratedGradients(Returning(net(), "dict")).attribute(X, target=target)


def test_a_message_that_ends_with_another_one_has_one_full_stop():
    def no_box(row):
        raise ValueError("There is no box.")

    with pytest.raises(ArgumentError, match=r"raises ValueError for row 0: There is no box\.$"):
        IntegratedGradients(net()).attribute(X, target=no_box)
    assert str(ArgumentError("a", "b", "[1, ...")).endswith("but got [1, ...")
    assert str(ArgumentsConflictError(("a", "b"), "They differ.")).endswith("each other: They differ.")


def test_a_score_without_a_gradient_names_its_row():
    constant = [Logit(0), lambda row: row["logits"].detach()[1], Logit(2)]
    model = Returning(net(), "dict")
    with pytest.raises(ModelOutputError, match="The score of row 1 by target .* does not depend on the model's output"):
        IntegratedGradients(model).attribute(X, target=constant)
    expected = curve_of(net(), [0, 1, 2])
    torch.testing.assert_close(curve_of(model, constant), expected)  # no gradient is needed


def curve_of(model, target):
    return insertion(model, X, X.abs(), baselines=0, target=target).scores


def test_a_score_that_is_not_finite_names_its_row_or_is_left_out():
    targets = [Logit(0), Logit(1), lambda row: row["logits"][0] * torch.nan]
    model = Returning(net(), "dict")
    with pytest.raises(NonFiniteError, match="NaN or infinity in row 2"):
        IntegratedGradients(model).attribute(X, target=targets)
    with captum_ext.on_nonfinite("nan"):
        attributions = IntegratedGradients(model).attribute(X, target=targets)
    assert attributions.isnan().any(1).tolist() == [False, False, True]


def test_errors_of_this_package_come_out_of_a_function_as_they_are():
    def refuses(row):
        raise ArgumentError("mask", "of another size", "this one")

    with pytest.raises(ArgumentError, match="argument `mask` to be of another size"):
        IntegratedGradients(Returning(net(), "dict")).attribute(X, target=refuses)


def test_without_a_function_the_message_says_what_came_and_what_helps():
    with pytest.raises(OutputTypeError, match=r"got dict of logits: \(\d+, 3\), .* A target that is a function"):
        IntegratedGradients(Returning(net(), "dict")).attribute(X, target=0)


def test_a_model_with_another_number_of_rows_is_refused_whatever_it_returns():
    with pytest.raises(OutputRowsError, match="one row for each of the"):
        IntegratedGradients(lambda x: {"logits": x[:1].repeat(7, 1)}).attribute(X, target=Logit(0))


def test_settings_describe_a_function_by_what_it_does_and_holds():
    prints = Fingerprints()
    assert prints.of(Logit(1)) == Fingerprints().of(Logit(1))
    assert prints.of(Logit(1)) != prints.of(Logit(2))
