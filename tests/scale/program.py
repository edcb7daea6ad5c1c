"""A run that takes some seconds, as a program that can be killed: FOLDER [RANK [WORLD_SIZE]] are its arguments."""

import sys

import torch
from torch import nn

from captum_ext.attr import ExpectedGradients
from captum_ext.dataset import RunOptions, attribute_dataset

N_SAMPLES = 3000


def make_method():
    """Expected Gradients on a small network of fixed weights."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)
    )
    model(torch.zeros(1, 1, 20, 20))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5
    return ExpectedGradients(model.eval(), references=torch.randn(6, 1, 20, 20, generator=generator))


class Noise(torch.utils.data.Dataset):
    """Image i is drawn with seed i."""

    def __len__(self):
        return N_SAMPLES

    def __getitem__(self, index):
        return torch.randn(1, 20, 20, generator=torch.Generator().manual_seed(index)), index % 5


BATCH_SIZE = 16
SETTINGS = {"target": "predicted", "attribute_kwargs": {"n_steps": 30}}


def main():
    """Run to the end, telling of every batch."""
    out, *place = sys.argv[1:]
    rank = int(place[0]) if place and place[0].isdigit() else (place or [0])[0]
    world_size = int(place[1]) if len(place) > 1 else None
    options = RunOptions(
        BATCH_SIZE,
        shard_rows=32,
        show_progress=lambda done, total: print(done, flush=True),
        rank=rank,
        world_size=world_size,
    )
    attribute_dataset(make_method(), Noise(), out, run=options, **SETTINGS)


if __name__ == "__main__":
    main()
