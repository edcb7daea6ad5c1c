"""Small models with layers of every kind, and literal versions of the methods at layers, with hooks by hand."""

import torch
from torch import nn

from tests.oracles import gauss_legendre


def made(kind, *arguments):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(*arguments).double().eval()


class Words(nn.Module):
    """Token ids (N, T) to three scores: embedding, a recurrent layer, attention-like weights; a scale for each row."""

    def __init__(self, batch_first=True):
        super().__init__()
        self.embed, self.positions = nn.Embedding(12, 4), nn.Embedding(8, 4)
        self.recurrent = nn.LSTM(4, 5, num_layers=2, batch_first=batch_first)
        self.mix, self.head = nn.Linear(5, 5), nn.Linear(5, 3)
        self.batch_first = batch_first

    def forward(self, ids, scale=None):
        embedded = self.embed(ids) + self.positions(torch.arange(ids.shape[1])[None])
        if not self.batch_first:
            embedded = embedded.transpose(0, 1)
        states, (hidden, _) = self.recurrent(embedded)
        states = states if self.batch_first else states.transpose(0, 1)
        mixed = self.mix(states.reshape(-1, 5)).tanh().reshape(states.shape)  # (N * T, 5) inside
        outputs = self.head(mixed.square().mean(1) + hidden[-1])
        return outputs if scale is None else outputs * scale[:, None]


class Attentive(nn.Module):
    """Token ids (N, T) to two scores by PyTorch's transformer layers, which have a fused form without gradients."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(12, 8), nn.Linear(8, 2)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, ids, padding=None):
        return self.head(self.encoder(self.embed(ids), src_key_padding_mask=padding)[:, 0])


class Images(nn.Module):
    """Images (N, 2, 6, 6) to three scores, with a layer that works in place and a way around the second layer."""

    def __init__(self):
        super().__init__()
        self.first, self.relu = nn.Conv2d(2, 3, 3, padding=1), nn.SiLU(inplace=True)
        self.second, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(27, 3)

    def forward(self, x):
        features = self.relu(self.first(x))
        features = nn.functional.avg_pool2d(features + self.second(features).tanh(), 2)
        return self.head(features.flatten(1))


class Branches(nn.Module):
    """Two layers beside each other, of two inputs."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(3, 4), nn.Linear(2, 5), nn.Linear(9, 2)

    def forward(self, a, b):
        return self.head(torch.cat([self.left(a).tanh(), self.right(b).sigmoid()], 1)).square()


def activation(model, layer, x, at_input=False, arguments=()):
    """Output (or first argument) of a layer for one row x (...), as the model has it for a batch of one."""
    kept = []
    if at_input:
        handle = layer.register_forward_pre_hook(lambda _, given: kept.append(given[0].clone()))
    else:
        handle = layer.register_forward_hook(lambda *given: kept.append(given[2].clone()))
    with torch.no_grad():
        model(x[None], *arguments)
    handle.remove()
    return kept[0]


def score_with(model, layer, x, value, target, at_input=False, arguments=()):
    """The score of one row x with another activation at the layer."""
    if at_input:
        handle = layer.register_forward_pre_hook(lambda _, given: (value.clone(), *given[1:]))
    else:
        handle = layer.register_forward_hook(lambda *_: value.clone())
    try:
        return model(x[None], *arguments)[0, target]
    finally:
        handle.remove()


def layer_gradients(model, layer, x, references, weights, target, n_steps, at_input=False, arguments=()):
    """Weighted mean over references of Integrated Gradients at a layer for one row, point by point."""
    end = activation(model, layer, x, at_input, arguments)
    total = torch.zeros_like(end)
    for reference, share in zip(references, weights, strict=True):
        start = activation(model, layer, reference, at_input, arguments)
        for alpha, weight in zip(*gauss_legendre(n_steps), strict=True):
            point = (start + float(alpha) * (end - start)).requires_grad_()
            score = score_with(model, layer, x, point, target, at_input, arguments)
            total += float(share) * float(weight) * torch.autograd.grad(score, point)[0] * (end - start)
    return total


def layer_directions(model, layer, x, baseline, target, n_steps):
    """IDGI at a layer for one row."""
    end, start = activation(model, layer, x), activation(model, layer, baseline)
    scores, squares = [], []
    for step in range(n_steps):
        point = (start + step / n_steps * (end - start)).requires_grad_()
        score = score_with(model, layer, x, point, target)
        gradient = torch.autograd.grad(score, point)[0]
        scores.append(float(score.detach()))
        squares.append(gradient.square() / gradient.square().sum())
    scores.append(float(score_with(model, layer, x, end, target).detach()))
    return sum(square * (scores[k + 1] - scores[k]) for k, square in enumerate(squares))
