"""`choose` on a model whose best map is known: the answers, what is left out and why, and what it leaves as it was."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from captum_ext.attr import IntegratedGradients
from captum_ext.dataset import DatasetAttributions
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, RunFolderError
from captum_ext.selection import ChooseOptions, Kind, choose
from captum_ext.selection.checks import in_words
from captum_ext.selection.controls import Edges, RandomMaps, random_network, randomised
from captum_ext.selection.setting import Setting

QUIET = ChooseOptions(gradients=4, decide_by=("deletion", "diff_id"), beside=(), show_progress=False)
CONTROLS = ["random", "edges"]


class Corner(nn.Module):
    """Two classes of images (N, 1, 8, 8): the sum of the upper left quarter, weighted, and its opposite."""

    def __init__(self):
        super().__init__()
        weight = torch.zeros(1, 1, 8, 8)
        weight[..., :4, :4] = torch.linspace(0.5, 2.0, 16).reshape(4, 4)
        self.weight = nn.Parameter(weight)

    def forward(self, images):
        score = (images * self.weight).sum((1, 2, 3))
        return torch.stack([score, -score], 1)


def images(count=30, seed=0):
    return TensorDataset(0.5 + torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed)))


def worst(inputs, target):
    """The gradient the wrong way round."""
    weight = Corner().weight.detach()
    return -(inputs * weight)


def test_the_method_that_is_right_is_to_be_used(tmp_path):
    found = choose(
        Corner().eval(), images(), tmp_path, methods={"ig": "ig", "worst": worst}, controls=CONTROLS, options=QUIET
    )
    assert found.answer.kind is Kind.USE
    assert found.answer.methods == ("ig",)
    assert found.answer.n_images < 30
    assert str(found).startswith(
        f"Use ig. On {found.answer.n_images} of 30 images it is significantly better than the other"
    )
    assert found.costs["ig"]["gradients"] == 4
    assert found.answer.standing("worst").unbeaten == ("random", "edges")


def corner_masks(count=30):
    """The quarter of each image on which the score depends."""
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4, :4] = True
    return mask.expand(count, 8, 8)


def test_with_masks_localisation_is_shown_and_decides_where_it_is_asked_to(tmp_path):
    methods = {"ig": "ig", "random map": lambda inputs, target: torch.rand_like(inputs[:, :1])}
    arguments = {"methods": methods, "controls": ["random"]}
    beside = replace(QUIET, masks=corner_masks())
    shown = choose(Corner().eval(), images(), tmp_path / "shown", **arguments, options=beside)
    assert shown.table.loc["ig", ["pointing_game", "concentration"]].tolist() == [1, 1]
    assert shown.table.loc["ig", "iou"] > 0.99
    assert shown.options.decide_by == ("deletion", "diff_id")
    decided = replace(beside, decide_by=("concentration",), beside=())
    found = choose(Corner().eval(), images(), tmp_path / "decided", **arguments, options=decided)
    assert found.answer.methods == ("ig",)
    assert found.table.loc["ig", "score"] == 1
    assert found.table.loc["random map", "score"] == pytest.approx(1 / 4, abs=0.1)


def test_localisation_needs_a_mask_of_each_image(tmp_path):
    with pytest.raises(ArgumentError, match="given for iou"):
        ChooseOptions(decide_by=("iou",))
    with pytest.raises(ArgumentError, match="one for each of the 30"):
        choose(Corner().eval(), images(), tmp_path, methods=["ig"], options=replace(QUIET, masks=corner_masks(29)))


def test_a_mask_of_another_size_is_the_callers_mistake_and_leaves_no_method_out(tmp_path):
    wrong = replace(QUIET, masks=torch.ones(30, 4, 4))
    with pytest.raises(ArgumentError, match="as the attributions"):
        choose(Corner().eval(), images(), tmp_path, methods=["ig"], controls=["random"], options=wrong)


class Switch(nn.Module):
    """Dead unless its first weight is positive."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -1.0, -1.0, -1.0]))

    def forward(self, images):
        score = torch.relu(self.weight[0] * images.sum((1, 2, 3)))
        return torch.stack([score, 0 * score], 1)


def test_weights_in_an_order_in_which_the_network_is_dead_are_drawn_again(tmp_path):
    model, given = Switch().eval(), images(5)
    assert not randomised(model, 1)(given.tensors[0]).any()  # else this tests nothing
    options = replace(QUIET, seed=1)
    found = choose(model, given, tmp_path, methods=["ig"], controls=["random-network"], options=options)
    assert found.answer.controls == ("random-network",)
    assert not found.answer.left_out


def test_a_network_that_is_dead_in_every_order_has_no_such_control():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.scores = nn.Parameter(torch.tensor([1.0, 2.0]))

        def forward(self, inputs):
            return self.scores + 0 * inputs.sum((1, 2, 3))[:, None]

    setting = Setting(Constant().eval(), 4, images(5).tensors[0], [0] * 5)
    with pytest.raises(ArgumentError, match="the same scores whatever the image"):
        random_network(setting)


def test_an_edge_detector_that_is_registered_as_a_method_is_named_as_not_beating_its_control(tmp_path):
    methods = {"broken": "captum_ext.selection.controls:Edges"}
    with pytest.raises(ArgumentError, match="MODULE:CLASS"):
        choose(Corner().eval(), images(), tmp_path, methods={"broken": "captum_ext.selection:Edges"}, options=QUIET)
    methods = {"ig": "ig", "broken": Edges()}
    found = choose(Corner().eval(), images(), tmp_path, methods=methods, controls=CONTROLS, options=QUIET)
    assert found.answer.methods == ("ig",)
    assert "edges" in found.answer.standing("broken").unbeaten
    assert "broken does not beat its controls" in str(found)


def test_where_no_method_says_anything_none_beats_its_controls(tmp_path):
    methods = {"luck": RandomMaps(), "worst": worst}
    found = choose(Corner().eval(), images(20), tmp_path, methods=methods, controls=CONTROLS, options=QUIET)
    assert found.answer.kind is Kind.NONE
    assert str(found).startswith("None of the 2 methods beats its controls (random and edges) on all 20 images: luck")


def test_methods_that_give_the_same_maps_cannot_be_told_apart_and_the_cheapest_is_named(tmp_path):
    methods = {"ig": "ig", "gradient": lambda inputs, target: inputs * Corner().weight.detach()}
    found = choose(Corner().eval(), images(), tmp_path, methods=methods, controls=CONTROLS, options=QUIET)
    assert found.answer.kind is Kind.TIED
    assert found.answer.methods == ("gradient", "ig")
    assert str(found).startswith(
        "gradient and ig cannot be told apart on all 30 images; gradient is the cheapest (0 gradi"
    )


def test_a_method_that_optimises_what_decides_is_said_to(tmp_path):
    methods = {"samp": "samp", "worst": worst}
    options = ChooseOptions(gradients=8, decide_by=("deletion", "diff_id"), beside=(), show_progress=False)
    found = choose(Corner().eval(), images(), tmp_path, methods=methods, controls=CONTROLS, options=options)
    assert found.answer.methods == ("samp",)
    assert "samp itself optimises deletion, of the 2 criteria that decide; by diff_id alone it is significantly" in str(
        found
    )


def test_a_comparison_goes_on_with_its_rows_and_gives_the_same_answer(tmp_path):
    arguments = {"methods": {"ig": "ig", "worst": worst}, "controls": CONTROLS, "options": QUIET}
    one = choose(Corner().eval(), images(), tmp_path, **arguments)
    rows = DatasetAttributions(tmp_path / "methods" / "ig").table().to_pydict()
    other = choose(Corner().eval(), images(), tmp_path, **arguments)
    assert str(one) == str(other)
    assert DatasetAttributions(tmp_path / "methods" / "ig").table().to_pydict() == rows


class Fails:
    """A method that works for a batch and no more."""

    def __init__(self, model):
        self.model, self.calls = model, 0

    def attribute(self, inputs, target=None):
        self.calls += 1
        if self.calls > 1:
            raise ZeroDivisionError("no more")
        return inputs


class Changes:
    """A method that changes the images that it is given."""

    def __init__(self, model):
        self.forward_func = model

    def attribute(self, inputs, target=None):
        maps = inputs * Corner().weight.detach()
        inputs.zero_()
        return maps


def test_a_method_that_fails_is_left_out_and_named(tmp_path):
    found = choose(
        Corner().eval(), images(), tmp_path, methods={"ig": "ig", "mine": Fails}, controls=CONTROLS, options=QUIET
    )
    assert found.answer.left_out == {"mine": "ZeroDivisionError: no more"}
    assert "mine is left out: ZeroDivisionError: no more." in str(found)
    assert [one.name for one in found.answer.standings] == ["ig"]


def test_a_method_that_needs_references_is_left_out_without_them(tmp_path):
    found = choose(Corner().eval(), images(), tmp_path, methods=["ig", "eg"], controls=["random"], options=QUIET)
    assert "`references` to be images for eg" in found.answer.left_out["eg"]
    references = 0.1 * torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    found = choose(
        Corner().eval(),
        images(),
        tmp_path / "other",
        methods=["ig", "eg"],
        controls=["random"],
        references=references,
        options=QUIET,
    )
    assert not found.answer.left_out


def test_a_method_that_changes_its_images_is_given_copies_and_named(tmp_path):
    given = images()
    before = given.tensors[0].clone()
    with pytest.warns(UserWarning, match="mine changes the images that it is given in place"):
        found = choose(Corner().eval(), given, tmp_path, methods={"mine": Changes}, controls=CONTROLS, options=QUIET)
    assert found.answer.methods == ("mine",)
    assert torch.equal(given.tensors[0], before)


def test_an_image_with_nan_does_not_count(tmp_path):
    given = images(20)
    given.tensors[0][0, 0, 0, 0] = torch.nan
    found = choose(
        Corner().eval(), given, tmp_path, methods={"ig": "ig", "worst": worst}, controls=["random"], options=QUIET
    )
    assert found.answer.methods == ("ig",)
    assert "On 1 of these images no method has a score: they do not count." in str(found)


def test_the_model_and_the_global_random_state_are_left_as_they_were(tmp_path):
    model = Corner().eval()
    before, state = model.weight.detach().clone(), torch.get_rng_state()
    controls = ["random", "random-network", "other-image"]
    choose(model, images(10), tmp_path, methods=["ig", "rise", "gradcam"], controls=controls, options=QUIET)
    assert torch.equal(model.weight.detach(), before)
    assert model.weight.grad is None
    assert not model.training
    assert not model._forward_pre_hooks
    assert torch.equal(torch.get_rng_state(), state)


def test_all_methods_have_the_budget(tmp_path):
    options = ChooseOptions(gradients=12, decide_by=("deletion",), beside=(), show_progress=False)
    names = ["ig", "ig-mean", "ig-blur-zero", "ig-adaptive", "samp", "samp++", "samp++-insertion", "idgi", "rise"]
    found = choose(Corner().eval(), images(5), tmp_path, methods=names, controls=["random"], options=options)
    for name in names:
        assert 0.5 * 12 <= found.costs[name]["gradients"] + 0.4 * found.costs[name]["forwards"] <= 1.1 * 12, name
    budgets = json.loads((tmp_path / "plan.json").read_text())["budgets"]
    assert all(budgets[name]["fits"] for name in names)


def test_a_budget_in_seconds_is_kept_for_a_comparison_that_goes_on(tmp_path):
    options = ChooseOptions(seconds=0.05, decide_by=("deletion",), beside=(), show_progress=False)
    arguments = {"methods": ["ig"], "controls": ["random"], "options": options}
    choose(Corner().eval(), images(5), tmp_path, **arguments)
    plan = (tmp_path / "plan.json").read_text()
    choose(Corner().eval(), images(5), tmp_path, **arguments)
    assert (tmp_path / "plan.json").read_text() == plan


def test_rows_of_other_images_targets_or_budgets_are_refused(tmp_path):
    model, arguments = Corner().eval(), {"methods": ["ig"], "controls": ["random"]}
    choose(model, images(10), tmp_path, **arguments, options=QUIET)
    with pytest.raises(RunFolderError, match="holds a run with other settings"):
        choose(model, images(10, seed=1), tmp_path, **arguments, options=QUIET)
    with pytest.raises(RunFolderError, match="holds a run with other settings"):
        choose(model, images(10), tmp_path, target=1, **arguments, options=QUIET)
    other = ChooseOptions(gradients=5, decide_by=("deletion",), show_progress=False)
    with pytest.raises(RunFolderError, match=r"holds a comparison with other settings \(gradients\)"):
        choose(model, images(10), tmp_path, **arguments, options=other)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"plan.json is damaged"):
        choose(model, images(10), tmp_path, **arguments, options=QUIET)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"dataset": images(4)}, ArgumentError, "`dataset` to be of at least 5 images"),
        ({"dataset": TensorDataset(torch.rand(6, 3))}, ArgumentError, r"`dataset` to be of images \(C, H, W\)"),
        ({"model": 3}, ArgumentTypeError, "`model` to be a module or a function"),
        ({"methods": "ig"}, ArgumentTypeError, "`methods` to be a sequence of names, or a mapping"),
        ({"methods": []}, ArgumentError, "`methods` to be at least 1"),
        ({"methods": ["igg"]}, ArgumentError, "`methods` to be some of ig, ig-mean"),
        ({"methods": {"mine": 3}}, ArgumentTypeError, r"`methods\['mine'\]` to be a name, a class"),
        ({"controls": ["nothing"]}, ArgumentError, "`controls` to be some of random, edges"),
        ({"controls": ["random"], "methods": {"random": "ig"}}, ArgumentError, "`controls` to be under names"),
        ({"target": "label"}, ArgumentError, '`target` to be something else than "label"'),
        ({"target": 7}, ArgumentError, "`target`"),
        ({"mean": (0.5,)}, ArgumentError, "`std` to be given together"),
        ({"references": torch.rand(3, 1, 4, 4)}, ArgumentError, "`references` to be of shape"),
        (
            {"references": images().tensors[0][:3]},
            ArgumentError,
            "`references` to be images none of which is explained",
        ),
        ({"options": {"gradients": 3}}, ArgumentTypeError, "`options` to be ChooseOptions"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, change, error, match):
    arguments = {
        "model": Corner().eval(),
        "dataset": images(6),
        "methods": ["ig"],
        "controls": ["random"],
        "options": QUIET,
    }
    with pytest.raises(error, match=match):
        choose(out=tmp_path, **{**arguments, **change})


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"gradients": 0.5}, ArgumentError, "`gradients` to be a budget of 1 to"),
        ({"gradients": "many"}, ArgumentTypeError, "`gradients`"),
        ({"seconds": 0}, ArgumentError, "`seconds` to be seconds above 0"),
        ({"decide_by": ()}, ArgumentError, "`decide_by` to be at least 1"),
        ({"decide_by": "insertion"}, ArgumentTypeError, "`decide_by` to be a sequence of names"),
        ({"decide_by": ("beauty",)}, ArgumentError, "`decide_by` to be some of insertion"),
        ({"beside": ("beauty",)}, ArgumentError, "`beside` to be some of"),
        ({"group_size": 0}, ArgumentError, "`group_size`"),
        ({"alpha": 1.0}, ArgumentError, "`alpha`"),
        ({"seed": -1}, ArgumentError, "`seed`"),
        ({"map_size": 0}, ArgumentError, "`map_size`"),
        ({"show_progress": None}, ArgumentTypeError, "`show_progress`"),
    ],
)
def test_options_that_cannot_be_used_say_so(change, error, match):
    with pytest.raises(error, match=match):
        ChooseOptions(**change)


@pytest.fixture
def of_two(tmp_path):
    """A choice between "i_g" and a method that is worse, with two controls."""
    methods = {"i_g": "ig", "worst": worst}
    return choose(Corner().eval(), images(), tmp_path / "run", methods=methods, controls=CONTROLS, options=QUIET)


def test_the_table_for_latex_has_few_columns_and_a_line_above_the_controls(of_two):
    begin, *rows, end = of_two.to_latex().splitlines()
    assert (begin, end) == (r"\begin{tabular}{lrrrrrrr}", r"\end{tabular}")
    assert rows[0] == r"method & n & score & deletion & diff\_id & cost & seconds & controls \\"
    names = [row.split(" & ")[0] for row in rows[1:]]
    assert names == [r"\hline", r"i\_g", "worst", r"\hline", "random", "edges"]
    assert {row.count(" & ") for row in rows if row != r"\hline"} == {7}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_table_and_the_paragraph_are_set_by_latex(of_two, tmp_path):
    body = f"{of_two.paragraph(latex=True)}\n\n{of_two.to_latex()}"
    (tmp_path / "paper.tex").write_text(f"\\documentclass{{article}}\\begin{{document}}\n{body}\n\\end{{document}}\n")
    call = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_tables_and_the_paragraph_say_what_was_done(tmp_path):
    found = choose(
        Corner().eval(), images(), tmp_path, methods={"i_g": "ig", "worst": worst}, controls=CONTROLS, options=QUIET
    )
    assert found.table.loc["i_g", "role"] == "method"
    assert found.table.loc["random", "role"] == "control"
    assert found.to_csv().splitlines()[0].startswith("method,role,n,score,deletion,diff_id,gradients")
    said = found.paragraph()
    assert f"on {found.answer.n_images} images (of 30) with python" in said
    assert "budget of 4 gradients" in said
    assert "Lan and DeMets" in said
    assert r"i\_g" in found.paragraph(latex=True)
    figure = found.plot()
    assert figure.axes[0].get_yticklabels()[0].get_text() == "i_g"
    assert figure.axes[0].get_xlabel() == "mean rank by deletion and diff_id"


def test_weights_in_random_order_are_the_same_numbers(tmp_path):
    model = Corner()
    copied = randomised(model, 0)
    assert not torch.equal(copied.weight, model.weight)
    assert torch.equal(copied.weight.sort().values.flatten().sort().values, model.weight.flatten().sort().values)
    assert torch.equal(randomised(model, 0).weight, copied.weight)


def test_edges_are_where_the_image_changes():
    image = torch.zeros(1, 1, 4, 6)
    image[..., 3:] = 1.0
    assert (Edges().attribute(image)[0, 0] > 0).nonzero()[:, 1].unique().tolist() == [2, 3]


def test_ones_own_object_with_attribute_is_taken_as_it_is(tmp_path):
    model = Corner().eval()
    methods = {"mine": IntegratedGradients(model)}
    found = choose(model, images(), tmp_path, methods=methods, controls=CONTROLS, options=QUIET)
    assert found.answer.methods == ("mine",)
    assert found.costs["mine"]["gradients"] == 4


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        (0.0123, "; its sum misses the difference of scores by 1.2 %"),
        (0.99, "; its sum misses the difference of scores by 99 %"),
        (0.998, "; its sum misses the difference of scores by 1.0 times that difference"),
        (85.2, "; its sum misses the difference of scores by 85 times that difference"),
        (float("nan"), ""),
    ],
)
def test_a_gap_is_said_in_percent_and_a_large_one_as_a_multiple(gap, said):
    numbers = dict.fromkeys(("noise", "seed", "rounding", "sanity_third", "sanity_all"), float("nan"))
    assert in_words({**numbers, "noise": 0.5, "gap": gap}, 3) == (
        f"on 3 images the rank correlation with its own map is 0.5 with noise of one grey level{said}"
    )


def test_the_method_in_the_answer_is_looked_at_for_noise_seeds_rounding_sanity_and_completeness(tmp_path):
    methods = {"ig": "ig", "worst": worst}
    found = choose(Corner().eval(), images(), tmp_path, methods=methods, controls=CONTROLS, options=QUIET)
    checks = found.checks["ig"]
    assert set(found.checks) == {"ig"}
    assert checks["seed"] == 1.0
    assert 0.9 < checks["noise"] < 1
    assert checks["rounding"] > 0.999
    assert checks["sanity_all"] < 0.6  # the map of weights at other places
    assert checks["gap"] < 1e-6
    assert f"ig: on 3 images the rank correlation with its own map is {checks['noise']:.2g} with noise" in str(found)
    assert found.table.loc["ig", "seed"] == 1.0


def test_an_object_of_ones_own_has_no_sanity_check_since_it_is_for_one_model(tmp_path):
    model = Corner().eval()
    methods = {"mine": IntegratedGradients(model)}
    found = choose(model, images(), tmp_path, methods=methods, controls=CONTROLS, options=QUIET)
    assert found.checks["mine"]["sanity_all"] != found.checks["mine"]["sanity_all"]
    assert found.checks["mine"]["noise"] > 0.9


def test_a_method_that_does_not_look_at_the_model_is_alike_for_random_weights(tmp_path):
    from captum_ext.selection import Candidate

    ignorant = Candidate(lambda setting: lambda inputs, target: inputs * Corner().weight.detach(), lambda budget: {})
    found = choose(Corner().eval(), images(), tmp_path, methods={"it": ignorant}, controls=CONTROLS, options=QUIET)
    assert found.checks["it"]["sanity_all"] == 1.0


def test_another_seed_changes_what_is_random(tmp_path):
    options = ChooseOptions(gradients=20, decide_by=("deletion",), beside=(), show_progress=False)
    found = choose(Corner().eval(), images(), tmp_path, methods=["rise"], controls=["random"], options=options)
    assert found.checks["rise"]["seed"] < 1
