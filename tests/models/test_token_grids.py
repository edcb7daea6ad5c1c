"""Tokens as maps: the right patch at the right place, for every number of other tokens and every size."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from captum_ext.exceptions import AdaptError, ArgumentError, ArgumentTypeError
from captum_ext.models import TokenGrid, adapt
from tests.models.networks import Block, Transformer


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def tokens_of(maps, before, behind):
    """The tokens of maps (N, C, h, w), written out place by place."""
    n_rows, channels, height, width = maps.shape
    tokens = torch.full((n_rows, before + height * width + behind, channels), -1.0)
    for row in range(n_rows):
        for i in range(height):
            for j in range(width):
                tokens[row, before + i * width + j] = maps[row, :, i, j]
    return tokens


@given(
    sides=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    others=st.tuples(st.integers(0, 6), st.integers(0, 6)),
    patch=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    channels=st.integers(1, 4),
)
def test_a_given_grid_puts_every_token_at_its_patch(sides, others, patch, channels):
    maps = torch.rand(2, channels, *sides)
    size = sides[0] * patch[0], sides[1] * patch[1]
    assert torch.equal(TokenGrid(patch, *others)(tokens_of(maps, *others), size), maps)


@pytest.mark.parametrize(("before", "behind"), [(0, 0), (1, 0), (2, 0), (5, 0), (1, 3)])
@pytest.mark.parametrize("embed", ["convolution", "linear"])
@pytest.mark.parametrize("size", [(16, 16), (8, 24), (24, 12)])
def test_the_grid_is_found_whatever_stands_around_the_patches(before, behind, embed, size):
    net = Transformer(before, behind, embed=embed).eval()
    if embed == "linear":
        net.patch_size = 4  # as the model says it: no convolution shows it
    adapted = adapt(net, size=size)
    assert adapted.layer_name == ("blocks.1.norm1" if before else "norm")
    maps = torch.rand(2, 8, size[0] // 4, size[1] // 4)
    assert torch.equal(adapted.to_grid(tokens_of(maps, before, behind)), maps)


@pytest.mark.parametrize("size", [(16, 16), (8, 24), (24, 8)])
def test_each_token_of_the_grid_depends_on_its_own_patch(size):
    net = Transformer(before=5).eval()
    adapted = adapt(net, size=16)
    images = torch.rand(1, 3, *size, requires_grad=True)
    entry = []
    handle = net.entry.register_forward_hook(lambda _, __, output: entry.append(output))
    adapted(images)
    handle.remove()
    maps = adapted.to_grid(entry[0])  # of the images of the last call
    assert maps.shape == (1, 8, size[0] // 4, size[1] // 4)
    for i in range(size[0] // 4):
        for j in range(size[1] // 4):
            (gradient,) = torch.autograd.grad((maps[0, :, i, j] ** 3).sum(), images, retain_graph=True)
            inside = torch.zeros(size, dtype=torch.bool)
            inside[4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = True
            assert (gradient[0].abs().sum(0) > 0).equal(inside)


def transposed(length):
    side = int(length**0.5)
    return torch.arange(length).reshape(side, side).T.flatten()


def serpentine(length):
    """Every other row from the right to the left; of an odd number of rows all corners are where they should be."""
    rows = torch.arange(length).reshape(-1, 4)
    return torch.stack([row.flip(0) if k % 2 else row for k, row in enumerate(rows)]).flatten()


def with_two_exchanged(length):
    order = torch.arange(length)
    order[[5, 6]] = order[[6, 5]]
    return order


def test_a_serpentine_whose_corners_are_right_is_not_taken_for_a_grid():
    assert adapt(Transformer(order=serpentine).eval(), size=(20, 16)).layer_name is None


@pytest.mark.parametrize(
    "order", [transposed, serpentine, with_two_exchanged, lambda length: torch.arange(length).flip(0)]
)
def test_tokens_in_another_order_are_not_taken_for_a_grid(order):
    adapted = adapt(Transformer(order=order).eval(), size=16)
    assert adapted.layer_name is None
    with pytest.raises(AdaptError, match="do not show the 4 x 4 patches of the image in their order"):
        _ = adapted.layer
    with pytest.raises(AdaptError, match=r"Pass adapt grid=TokenGrid"):
        adapted.to_grid(torch.rand(1, 17, 8))


def test_tokens_in_another_order_are_read_by_a_function():
    def by_columns(tokens):
        return tokens[:, 1:].reshape(len(tokens), 4, 4, -1).permute(0, 3, 2, 1)

    adapted = adapt(Transformer(order=transposed).eval(), size=16, grid=by_columns, layer="blocks.1.norm1")
    assert adapted.to_grid(torch.rand(2, 17, 8)).shape == (2, 8, 4, 4)
    assert "by by_columns" in str(adapted)


@pytest.mark.parametrize(
    ("grid", "error", "match"),
    [
        (lambda tokens: tokens, ArgumentError, r"makes maps \(N, C, h, w\) of features"),
        (lambda tokens: None, ArgumentTypeError, "one that returns NoneType"),
        (TokenGrid(4, 3), ArgumentError, "one of the model's sequences of 17 tokens"),
        (5, ArgumentTypeError, "a TokenGrid, or a function of features"),
    ],
)
def test_a_grid_that_does_not_explain_the_features_is_refused(grid, error, match):
    with pytest.raises(error, match=match):
        adapt(Transformer().eval(), size=16, grid=grid, layer="blocks.1.norm1")


def test_images_that_are_not_made_of_whole_patches_are_refused():
    with pytest.raises(ArgumentError, match=r"of whole patches of 4 x 4, such as \(16, 16\)"):
        adapt(Transformer().eval(), size=(18, 16))
    adapted = adapt(Transformer().eval(), size=16)
    adapted(torch.rand(1, 3, 18, 16))  # the convolution leaves the last two rows of pixels out
    with pytest.raises(ArgumentError, match="of whole patches of 4 x 4"):
        adapted.to_grid(torch.rand(1, 17, 8))


def test_sequence_lengths_that_no_grid_explains_are_refused():
    adapted = adapt(Transformer().eval(), size=16)
    with pytest.raises(AdaptError, match="no grid explains 20 tokens of images of 16 x 16"):
        adapted.to_grid(torch.rand(1, 20, 8))
    with pytest.raises(AdaptError, match="no grid explains 17 tokens of images of 32 x 16"):
        adapted.to_grid(torch.rand(1, 17, 8), size=(32, 16))
    with pytest.raises(AdaptError, match=r"No grid explains features of shape \(1, 8\)"):
        adapted.to_grid(torch.rand(1, 8))


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((0,), ArgumentError, "patch_size"),
        (("a",), ArgumentTypeError, "patch_size"),
        ((4, -1), ArgumentError, "prefix"),
    ],
)
def test_a_token_grid_has_sides_and_counts(arguments, error, match):
    with pytest.raises(error, match=match):
        TokenGrid(*arguments)


class Hierarchical(nn.Module):
    """Tokens that are joined two by two in both directions, without others before them, and features that end last."""

    def __init__(self, channels_last, order=None):
        super().__init__()
        self.channels_last, self.order = channels_last, order
        self.patches = nn.Conv2d(3, 4, 4, stride=4)
        self.first, self.join, self.second = Block(4), nn.Linear(16, 8), Block(8)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, images):
        x = self.patches(images)
        height, width = x.shape[2:]
        x = self.first(x.flatten(2).transpose(1, 2)).reshape(len(x), height // 2, 2, width // 2, 2, 4)
        x = self.join(x.permute(0, 1, 3, 2, 4, 5).flatten(3)).flatten(1, 2)
        x = self.second(x if self.order is None else x[:, self.order(x.shape[1])])
        x = self.norm(x.reshape(len(x), height // 2, width // 2, 8) if self.channels_last else x)
        return self.head(x.flatten(1, -2).mean(1))


@pytest.mark.parametrize("channels_last", [False, True])
def test_joined_tokens_and_features_with_channels_last_become_maps(channels_last):
    adapted = adapt(Hierarchical(channels_last).eval(), size=(16, 24))
    assert adapted.layer_name == "norm"
    maps = torch.rand(2, 8, 2, 3)
    features = maps.movedim(1, -1) if channels_last else tokens_of(maps, 0, 0)
    assert torch.equal(adapted.to_grid(features), maps)
    finer = torch.rand(2, 4, 4, 6)
    assert torch.equal(adapted.to_grid(tokens_of(finer, 0, 0)), finer)


ASSUMED = "the 16 tokens of the layer are taken for 4 x 4 places in the order of reading, which is not shown"


@pytest.mark.parametrize("order", [None, transposed, serpentine, with_two_exchanged])
def test_the_order_of_joined_tokens_is_shown_or_a_note_says_that_it_is_assumed(order):
    adapted = adapt(Hierarchical(False, order).eval(), size=32)
    assert adapted.layer_name == "norm"
    assert adapted.knowledge.note == (ASSUMED if order else None)
    assert (ASSUMED in str(adapted)) == bool(order)
    given = adapt(Hierarchical(False, order).eval(), size=32, grid=TokenGrid(8))
    assert given.knowledge.note is None


def test_the_order_of_joined_tokens_is_shown_where_a_network_fills_an_odd_grid_up():
    hf = pytest.importorskip("transformers")
    sizes = {"embed_dim": 8, "depths": [1, 1, 1], "num_heads": [1, 2, 4], "window_size": 4}
    adapted = adapt(hf.Swinv2ForImageClassification(hf.Swinv2Config(image_size=60, **sizes)).eval())
    assert adapted.knowledge.note is None
    assert adapted.to_grid(torch.rand(1, 16, 8)).shape == (1, 8, 4, 4)  # of 15 x 15 patches, then 8 x 8


def test_maps_stay_as_they_are():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)).eval()
    adapted = adapt(net, size=8)  # 8 channels on 8 x 8 places: the shape alone does not say it
    maps = torch.rand(2, 8, 8, 8)
    assert adapted.to_grid(maps) is maps


class ChannelsLast(nn.Module):
    """Eight channels at the end on 8 x 8 places."""

    def __init__(self):
        super().__init__()
        self.patches, self.norm, self.head = nn.Conv2d(3, 8, 2, stride=2), nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, images):
        return self.head(self.norm(self.patches(images).permute(0, 2, 3, 1)).mean((1, 2)))


def test_shapes_that_can_be_both_are_read_as_their_layer_says():
    adapted = adapt(ChannelsLast().eval(), size=16)
    assert adapted.layer_name == "norm"
    features = torch.rand(2, 8, 8, 8)
    assert torch.equal(adapted.to_grid(features), features.movedim(-1, 1))
    with pytest.raises(AdaptError, match=r"can be \(N, C, h, w\) as well as \(N, h, w, C\)"):
        adapted.to_grid(torch.rand(2, 4, 4, 4))


def test_tokens_of_a_video_may_be_joined_in_space_alone():
    grid = TokenGrid(patch_size=(2, 4, 4), prefix_tokens=1)
    for shape in ((4, 4, 4), (2, 4, 4), (4, 2, 2)):  # of 4 x 8 x 8 patches
        tokens = torch.arange(1 + math.prod(shape), dtype=torch.float32)[None, :, None]
        maps = grid(tokens, size=(8, 32, 32))
        assert torch.equal(maps[0, 0], torch.arange(1, 1 + math.prod(shape), dtype=torch.float32).reshape(shape))
