"""`adapt` proves what it infers with one pass, leaves nothing behind, and changes no number."""

import copy
import gc
import pickle
import random

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from captum_ext.attr import IntegratedGradients, LayerExpectedGradients, SalientManipulationPath
from captum_ext.exceptions import (
    AdaptError,
    ArgumentError,
    ArgumentTypeError,
    InferenceModeError,
    OutputRowsError,
    OutputTypeError,
)
from captum_ext.metrics import insertion
from captum_ext.models import AdaptedModel, adapt
from tests.models.networks import Conv, LikeHuggingFace, Returning, Text, Transformer


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_the_numbers_are_the_models_bit_for_bit():
    net = Conv().eval()
    adapted = adapt(net, size=16)
    images = torch.rand(3, 3, 16, 16)
    assert torch.equal(adapted(images), net(images))
    with torch.no_grad():
        assert torch.equal(adapted(images), net(images))


def living_tensors():
    """Every tensor alive, held so that no later one takes the identity of one that is gone."""
    gc.collect()
    return {id(one): one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)}


def test_adapting_takes_one_pass_and_keeps_no_tensor():
    net = Transformer().eval()
    passes = []
    handle = net.norm.register_forward_hook(lambda *_: passes.append(1))
    adapt(net, size=16)  # what is imported on the first call is there after it
    before = living_tensors()
    passes.clear()
    adapted = adapt(net, size=16)
    assert len(passes) == 1
    assert not living_tensors().keys() - before.keys()
    handle.remove()
    assert adapted.layer is net.blocks[1].norm1
    assert not any(module._forward_hooks for module in net.modules())


def states():
    """The global random states."""
    numpy = np.random.get_state()[1]  # noqa: NPY002
    return torch.get_rng_state().tolist(), numpy.tolist(), random.getstate()


def test_what_the_model_says_where_it_fails_ends_with_one_full_stop():
    class Refuses(nn.Flatten):
        def forward(self, x):
            raise ValueError("Images of 224 x 224 only.")

    with pytest.raises(AdaptError, match=r"ValueError: Images of 224 x 224 only\. It was tried"):
        adapt(nn.Sequential(nn.Conv2d(3, 4, 3), Refuses()), size=9)


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_and_random_numbers_are_left_as_they_were(fails):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 2))
    net[0].weight.requires_grad_(False)
    net[1].weight.grad = torch.ones(4)
    state = copy.deepcopy(net.state_dict())
    before = states()
    if fails:
        with pytest.raises(AdaptError, match=r"The model fails for images of shape \(2, 3, 9, 9\).*pass size="):
            adapt(net, size=9)
    else:
        adapt(net, size=8)
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert net.training
    assert all(part.training for part in net.modules())
    assert [one.requires_grad for one in net.parameters()] == [False, True, True, True, True, True]
    assert torch.equal(net[1].weight.grad, torch.ones(4))
    assert net[4].weight.grad is None
    assert states() == before
    assert not any(module._forward_hooks for module in net.modules())


def test_frozen_parameters_and_no_grad_do_not_matter():
    net = Transformer().eval().requires_grad_(False)
    with torch.no_grad():
        adapted = adapt(net, size=16)
    assert adapted.layer_name == "blocks.1.norm1"
    assert not any(one.requires_grad for one in net.parameters())


def test_inference_mode_is_refused_since_it_has_no_gradients():
    with torch.inference_mode(), pytest.raises(InferenceModeError, match="inference_mode"):
        adapt(Conv().eval(), size=8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_pass_is_in_the_models_dtype(dtype):
    adapted = adapt(Transformer().eval().to(dtype), size=16)
    assert adapted.layer_name == "blocks.1.norm1"
    assert adapted(torch.rand(1, 3, 16, 16, dtype=dtype)).dtype == dtype


def test_the_mode_of_the_adapted_model_is_the_models():
    net = Conv().eval()
    net[1].train()
    adapted = adapt(net, size=8)
    assert not adapted.training
    assert net[1].training
    adapted.train()
    assert net.training


def test_an_adapted_model_can_be_copied_pickled_and_explained():
    adapted = adapt(Conv().eval(), size=8, class_names=["a", "b", "c", "d"])
    images = torch.rand(2, 3, 8, 8)
    for other in (copy.deepcopy(adapted), pickle.loads(pickle.dumps(adapted))):
        assert torch.equal(other(images), adapted(images))
        assert other.layer is other.model[1]
        assert str(other) == str(adapted)
    maps = IntegratedGradients(adapted).attribute(images, target=1)
    assert torch.equal(maps, IntegratedGradients(adapted.model).attribute(images, target=1))
    assert LayerGradCam(adapted, adapted.layer).attribute(images, target=1).shape == (2, 1, 4, 4)


def test_everything_is_printed_with_its_origin():
    net = LikeHuggingFace(Conv(n_outputs=3), image_size=8, num_channels=3, id2label={0: "cat", 1: "dog", 2: "cow"})
    lines = {line.split()[0]: line for line in str(adapt(net.eval(), mean=0.5, std=(0.2, 0.3, 0.4))).splitlines()}
    assert lines["AdaptedModel"] == "AdaptedModel of LikeHuggingFace"
    for name, value, origin in [
        ("output", "scores (N, 3) from output 'logits'", "found by a pass"),
        ("call", "model(pixel_values=images)", "its signature"),
        ("size", "8 x 8", "the model's config"),
        ("channels", "3", "the model's config"),
        ("mean", "0.5", "given"),
        ("std", "0.2, 0.3, 0.4", "given"),
        ("class", "3: cat, dog, cow", "the model's config (id2label)"),
        ("layer", "net.1", "found by a pass"),
    ]:
        assert value in lines[name]
        assert lines[name].endswith(f"({origin})")


def test_a_layer_given_by_name_or_as_a_module_is_taken():
    net = Transformer(before=0).eval()
    for layer in ("blocks.0", net.blocks[0]):
        adapted = adapt(net, size=16, layer=layer)
        assert adapted.layer is net.blocks[0]
        assert "blocks.0" in str(adapted)


def test_a_layer_behind_which_patches_no_longer_count_is_refused_with_the_one_that_is_right():
    net = Transformer(before=1).eval()
    expected = (
        "such as 'blocks.1.norm1', but got 'blocks.1', where they have none at its patches, but only at the tokens"
    )
    with pytest.raises(ArgumentError, match=expected):
        adapt(net, size=16, layer="blocks.1")


@pytest.mark.parametrize(
    ("layer", "error", "match"),
    [
        ("1.conv", ArgumentError, "the name of a module of the model, but got '1.conv'"),
        (nn.ReLU(), ArgumentError, "a module inside of the model, but got ReLU"),
        (3, ArgumentTypeError, "a module of the model, or its name"),
        ("4", AdaptError, r"No grid explains features of shape \(2, 4\)"),
    ],
)
def test_a_layer_that_cannot_be_explained_is_refused(layer, error, match):
    with pytest.raises(error, match=match):
        adapt(Conv().eval(), size=8, layer=layer)


def test_a_layer_that_is_called_twice_is_refused():
    net = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU())
    net = nn.Sequential(net, net[1], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ArgumentError, match=r"a module that is called once, but got '0\.1', which is called"):
        adapt(Twice().eval(), size=8, layer="0.1")
    assert adapt(net.eval(), size=8).layer_name == "0"


class Twice(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU()), nn.Flatten(), nn.Linear(3 * 36, 2))

    def forward(self, x):
        return self[2](self[1](self[0][1](self[0](x) - 0.1)))


def test_a_network_without_places_has_no_layer_and_is_adapted_all_the_same():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)).eval()
    adapted = adapt(net, size=8)
    assert adapted(torch.rand(2, 3, 8, 8)).shape == (2, 4)
    with pytest.raises(AdaptError, match="There is no layer to explain: no module that is called once returns"):
        _ = adapted.layer


def test_rows_that_depend_on_other_images_are_refused():
    net = Returning(lambda scores, images: scores - scores.mean(0)).eval()
    with pytest.raises(AdaptError, match="The first row of the scores depends on the second input"):
        adapt(net, size=8)


@pytest.mark.parametrize(
    "wrap", [lambda scores, images: scores.detach(), lambda scores, images: torch.zeros(len(images), 2)]
)
def test_scores_without_gradients_are_refused(wrap):
    with pytest.raises(AdaptError, match="No gradient reaches the images from the scores"):
        adapt(Returning(wrap).eval(), size=8)


def test_scores_whose_gradients_vanish_are_refused():
    with pytest.raises(AdaptError, match="gradients of the scores at the images are all zero"):
        adapt(Returning(lambda scores, images: scores * 0).eval(), size=8)


def test_a_head_of_zeros_is_adapted_and_said():
    net = Transformer().eval()
    nn.init.zeros_(net.head.weight)
    adapted = adapt(net, size=16)
    assert adapted.layer_name == "blocks.1.norm1"
    assert "the scores are constant: the head's weights are zero" in str(adapted)


@pytest.mark.parametrize(
    "wrap",
    [lambda scores, images: scores[:1], lambda scores, images: scores.sum(), lambda scores, images: scores[0]],
)
def test_another_number_of_rows_is_refused(wrap):
    with pytest.raises(OutputRowsError, match="one row for each of the 2 images"):
        adapt(Returning(wrap).eval(), size=8)


def test_rows_are_counted_in_every_call():
    adapted = adapt(Returning(lambda scores, images: scores if len(images) == 2 else scores[:2]).eval(), size=8)
    with pytest.raises(OutputRowsError, match="one row for each of the 3 images"):
        adapted(torch.rand(3, 3, 8, 8))


def test_a_batch_of_one_that_is_squeezed_is_still_a_row():
    adapted = adapt(Returning(lambda scores, images: scores.squeeze(0)).eval(), size=8)
    assert adapted(torch.rand(1, 3, 8, 8)).shape == (1, 4)
    regression = adapt(Returning(lambda scores, images: scores[:, 0].squeeze()).eval(), size=8)
    assert regression(torch.rand(1, 3, 8, 8)).shape == (1, 1)
    assert regression(torch.rand(3, 3, 8, 8)).shape == (3, 1)
    assert regression.n_outputs == 1


class TwoInputs(nn.Module):
    def forward(self, images, boxes):
        return images + boxes


class Sound(nn.Module):
    def forward(self, input_values):
        return input_values


@pytest.mark.parametrize(
    ("model", "error", "match"),
    [
        (lambda x: x, ArgumentTypeError, "a torch.nn.Module"),
        (TwoInputs(), AdaptError, r"takes several inputs \(images, boxes\)"),
        (Sound(), AdaptError, r"Sound has no image input: it takes sound \(input_values\)"),
        (nn.Sequential(nn.Conv3d(1, 2, 3)), AdaptError, "3 dimensions beside their channels.*size= with 3 numbers"),
        (Conv().to("meta"), AdaptError, "on the device meta, without numbers"),
    ],
)
def test_what_takes_no_images_is_refused_with_what_to_do(model, error, match):
    with pytest.raises(error, match=match):
        adapt(model)


def test_an_adapted_model_is_not_adapted_again():
    with pytest.raises(ArgumentTypeError, match=r"not adapted yet: pass adapted\.model"):
        adapt(adapt(Conv().eval(), size=8))


def test_volumes_and_signals_are_adapted_with_their_size():
    volume = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2))
    adapted = adapt(volume.eval(), size=(5, 6, 7))
    assert adapted.layer_name == "1"
    assert adapted.to_grid(torch.rand(2, 4, 3, 4, 5)).shape == (2, 4, 3, 4, 5)
    signal = nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 2))
    adapted = adapt(signal.eval(), size=16)
    assert (adapted.layer_name, adapted.channels, adapted.size) == ("1", 2, (16,))


def test_a_model_of_text_has_its_embedding_as_layer():
    net = Text().eval()
    adapted = adapt(net)
    ids = torch.tensor([[3, 4, 5], [6, 7, 0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert adapted.layer is net.embeddings
    assert torch.equal(adapted(ids, mask), net(ids, mask)["logits"])
    maps, delta = LayerExpectedGradients(adapted, adapted.layer, references=torch.zeros_like(ids[:1])).attribute(
        ids, target=1, additional_forward_args=(mask,), return_convergence_delta=True
    )
    assert maps.shape == (2, 3, 6)
    assert delta.abs().max() < 1e-5
    with pytest.raises(AdaptError, match="no image input: it takes token ids"):
        adapted.prepare("text")
    with pytest.raises(ArgumentError, match="`size` to be left out: the model has no image input"):
        adapt(net, size=8)
    assert "bert" not in str(adapted)
    assert "input_ids (N, L)" in str(adapted)


def test_a_compiled_model_is_looked_into(compiler):
    compiled = torch.compile(Conv().eval(), backend="eager")
    adapted = adapt(compiled, size=8)
    assert adapted.layer is compiled._orig_mod[1]
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(adapted(images), compiled(images))


def test_positions_are_interpolated_for_sizes_that_are_given_and_for_no_processors():
    net = LikeHuggingFace(Transformer(), image_size=16, num_channels=3).eval()
    adapted = adapt(net)
    assert adapted.size == (16, 16)
    assert adapted(torch.rand(1, 3, 8, 24)).shape == (1, 3)
    assert adapt(net, size=(8, 16)).size == (8, 16)

    def processor(image):
        return torch.full((3, 24, 24), image.getpixel((0, 0))[0] / 255)

    with pytest.raises(AdaptError, match="does not match.*as the processor makes them: pass a processor that fits"):
        adapt(net, processor)


def test_a_constructor_is_not_needed_by_users():
    assert isinstance(adapt(Conv().eval(), size=8), AdaptedModel)


class TwoGrids(nn.Module):
    """A detector with a head at each of two grids, whose detections come one after the other."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleList([nn.Conv2d(3, 4, 2, stride=2), nn.Conv2d(4, 4, 2, stride=2)])
        self.heads = nn.ModuleList([nn.Conv2d(4, 5, 1), nn.Conv2d(4, 5, 1)])

    def forward(self, images):
        fine = self.backbone[0](images)
        both = (self.heads[0](fine), self.heads[1](self.backbone[1](fine)))
        found = torch.cat([one.flatten(2).transpose(1, 2) for one in both], 1)  # (N, M, 5)
        return [{"boxes": one[:, :4], "scores": one[:, 4], "labels": torch.ones(len(one))} for one in found]


def test_the_layer_of_a_detector_is_the_coarsest_that_detections_of_every_grid_depend_on():
    adapted = adapt(TwoGrids().eval(), size=8)
    assert (adapted.kind, adapted.layer_name) == ("detections", "backbone.0")


@pytest.mark.parametrize("target", [None, 1])
def test_a_detector_without_a_target_is_refused_with_where_targets_are(target):
    adapted, images = adapt(TwoGrids().eval(), size=8), torch.rand(1, 3, 8, 8)
    for explain in (IntegratedGradients(adapted).attribute, SalientManipulationPath(adapted).attribute):
        with pytest.raises(OutputTypeError, match=r"A target that is a function of one row's output.*models\.targets"):
            explain(images, target=target)
    with pytest.raises(OutputTypeError, match=r"captum_ext\.models\.targets"):
        insertion(adapted, images, images[:, :1], target)


class Queries(nn.Module):
    """A detector of the first token, as YOLOS with one query, that returns its hidden states, too."""

    def __init__(self):
        super().__init__()
        self.net = Transformer(before=1)

    def forward(self, images):
        kept = []
        handle = self.net.norm.register_forward_hook(lambda _, __, output: kept.append(output))
        scores = self.net(images)[:, None]
        handle.remove()
        return {"logits": scores, "pred_boxes": scores.sigmoid(), "last_hidden_state": kept[0]}


def test_the_layer_of_a_detector_is_what_its_boxes_and_scores_depend_on_whatever_else_it_returns():
    adapted = adapt(Queries().eval(), size=16)
    assert (adapted.kind, adapted.layer_name) == ("detections", "net.blocks.1.norm1")
