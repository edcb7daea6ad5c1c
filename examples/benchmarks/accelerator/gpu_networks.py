"""Networks with random weights, and the precisions in which they run: costs depend on neither weights nor images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from examples.benchmarks.measurements.bare_passes import small_network

SHAPES = {"ResNet-50": (3, 224, 224), "ViT-B/16": (3, 224, 224), "small CNN": (1, 28, 28)}
_TORCHVISION = {"ResNet-50": "resnet50", "ViT-B/16": "vit_b_16"}


@dataclass(frozen=True)
class Precision:
    """How a network computes."""

    name: str
    tf32: bool = False
    autocast: torch.dtype | None = None
    channels_last: bool = False
    compiled: bool = False

    @contextmanager
    def active(self, device: torch.device) -> Iterator[None]:
        """The block in which passes run so."""
        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.tf32
        try:
            with nullcontext() if self.autocast is None else torch.autocast(device.type, self.autocast):
                yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


FLOAT32 = Precision("float32")
TF32 = Precision("TF32", tf32=True)
BFLOAT16 = Precision("bfloat16 autocast", tf32=True, autocast=torch.bfloat16)
PRECISIONS = (
    FLOAT32,
    TF32,
    BFLOAT16,
    Precision("TF32, channels-last", tf32=True, channels_last=True),
    Precision("bfloat16 autocast, channels-last", tf32=True, autocast=torch.bfloat16, channels_last=True),
    Precision("TF32, compiled", tf32=True, compiled=True),
)


def network(name: str, precision: Precision, device: torch.device) -> nn.Module:
    """The network, ready for passes; parameters take no gradient."""
    torch.manual_seed(0)
    if name in _TORCHVISION:
        import torchvision

        model = torchvision.models.get_model(_TORCHVISION[name], weights=None)
    else:
        model = small_network()
    model = model.eval().to(device).requires_grad_(False)
    if precision.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return torch.compile(model) if precision.compiled else model


def images(name: str, n_images: int, device: torch.device) -> Tensor:
    """Images (n_images, ...) for a network."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n_images, *SHAPES[name], generator=generator).to(device)
