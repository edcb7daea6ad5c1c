"""
What each word did
==================

A model of text is explained at the layer that embeds its tokens. About 10 seconds of one core.
"""

# %%
# Sentences of at most four words out of nine, and a model so small that it is trained here: are they about the weather?

import torch
from torch import nn

from captum_ext.attr import LayerIntegratedGradients
from captum_ext.visualize import show_tokens

WORDS = ["[pad]", "it", "rains", "snows", "is", "sunny", "the", "train", "late", "leaves"]
SENTENCES = ["it rains", "it snows", "it is sunny", "the train is late", "the train leaves", "it is late"]
WEATHER = torch.tensor([1, 1, 1, 0, 0, 0])


def ids(sentence):
    numbers = [WORDS.index(word) for word in sentence.split()]
    return numbers + [0] * (4 - len(numbers))


torch.manual_seed(0)
model = nn.Sequential(nn.Embedding(len(WORDS), 8, padding_idx=0), nn.Flatten(), nn.Linear(32, 2))
inputs = torch.tensor([ids(sentence) for sentence in SENTENCES])
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
for _ in range(100):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), WEATHER).backward()
    optimizer.step()
model.eval()
print("right:", int((model(inputs).argmax(1) == WEATHER).sum()), "of", len(SENTENCES))

# %%
# From padding to the sentence, at the embedding: a number for each word is the sum over its features.

method = LayerIntegratedGradients(model, model[0])
maps, delta = method.attribute(inputs, baselines=0, target=1, n_steps=20, return_convergence_delta=True)
words = maps.sum(2)
print("largest delta", float(delta.abs().max()))

# %%
# Words that speak for the weather are orange, those against it blue.

tokens = [[WORDS[number] for number in row] for row in inputs.tolist()]
figure = show_tokens(tokens, words)
figure
