"""Tiny networks of every kind that `adapt` is for, with random weights; none needs a download."""

import torch
from torch import nn


class Conv(nn.Sequential):
    """Convolution, ReLU, mean, scores."""

    def __init__(self, channels=3, n_outputs=4):
        super().__init__(
            nn.Conv2d(channels, 6, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, n_outputs),
        )


class Returning(nn.Module):
    """A network whose scores are wrapped by a function of scores and images."""

    def __init__(self, wrap, channels=3):
        super().__init__()
        self.net = Conv(channels)
        self.wrap = wrap

    def forward(self, images):
        return self.wrap(self.net(images), images)


class Block(nn.Module):
    """A transformer's block with one head, norms first."""

    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x):
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        x = x + self.proj((q @ k.transpose(1, 2)).softmax(-1) @ v)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Tokens of patches with others before and behind them; `order` sorts those of patches.

    The scores are of the first token, or of the mean of all where there is none before them.
    """

    def __init__(self, before=1, behind=0, patch=4, width=8, order=None, embed="convolution"):
        super().__init__()
        self.before, self.behind, self.patch, self.order = before, behind, patch, order
        self.patches = nn.Conv2d(3, width, patch, stride=patch) if embed == "convolution" else None
        self.linear = nn.Linear(3 * patch * patch, width) if embed != "convolution" else None
        self.others = nn.Parameter(torch.randn(1, before + behind, width))
        self.entry = nn.LayerNorm(width)
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3)

    def forward(self, images):
        if self.patches is not None:
            x = self.patches(images).flatten(2).transpose(1, 2)
        else:
            side = self.patch
            x = images.unfold(2, side, side).unfold(3, side, side).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
            x = self.linear(x)
        x = x if self.order is None else x[:, self.order(x.shape[1])]
        others = self.others.expand(len(x), -1, -1)
        x = torch.cat([others[:, : self.before], x, others[:, self.before :]], 1)
        x = self.norm(self.blocks(self.entry(x)))
        return self.head(x[:, 0] if self.before else x.mean(1))


class Config:
    """What Hugging Face models have as `config`."""

    def __init__(self, **entries):
        self.__dict__.update(entries)


class LikeHuggingFace(nn.Module):
    """A model that takes pixel_values and returns an object with logits."""

    def __init__(self, net, **config):
        super().__init__()
        self.net = net
        self.config = Config(**config)

    def forward(self, pixel_values, interpolate_pos_encoding=False):
        if not interpolate_pos_encoding and tuple(pixel_values.shape[2:]) != (self.config.image_size,) * 2:
            raise ValueError("Input image size does not match")
        return {"loss": None, "logits": self.net(pixel_values)}


class Text(nn.Module):
    """A classifier of token ids, as transformers has them."""

    def __init__(self):
        super().__init__()
        self.config = Config(vocab_size=20)
        self.embeddings = nn.Embedding(20, 6)
        self.head = nn.Linear(6, 3)

    def get_input_embeddings(self):
        return self.embeddings

    def forward(self, input_ids, attention_mask=None):
        x = self.embeddings(input_ids)
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return {"logits": self.head((x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True))}
