"""Small networks trained on the spot: seeded, and cached as safetensors beside what they were trained with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import trange

from captum_ext.core.atomic import replaced

Report = dict[str, Any]


def trained(
    path: Path, build: Callable[[], nn.Module], train: Callable[[nn.Module], Report], settings: Report
) -> tuple[nn.Module, Report]:
    """A trained network in eval mode and what its training reported; from `path` if it was trained there alike.

    The initial weights and everything random in `train` follow settings["seed"]; the global random state stays as it
    is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        model = build()
        wanted = json.dumps({**settings, "torch": torch.__version__}, sort_keys=True)
        report = _loaded(path, model, wanted)
        if report is None:
            report = train(model.train())
            _save(path, model, {"settings": wanted, "report": json.dumps(report)})
    return model.eval(), report


def _loaded(path: Path, model: nn.Module, wanted: str) -> Report | None:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("settings") != wanted:
                return None
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (OSError, SafetensorError, RuntimeError):  # missing, damaged, or of other layers
        return None
    report: Report = json.loads(metadata["report"])
    return report


def _save(path: Path, model: nn.Module, metadata: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    try:
        with replaced(path) as temporary:
            save_file(tensors, temporary, metadata)
    except SafetensorError as error:
        raise OSError(f"{path} could not be written: {error}") from error


def fit_classifier(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    learning_rate: float = 1e-3,
    batch: int = 32,
    masks: Tensor | None = None,
    penalty: float = 0.1,
    title: str = "training",
) -> None:
    r"""Adam on cross-entropy; with `masks` (N, 1, H, W) right for the right reasons (Ross et al., 2017).

    $$L = L_{CE} + \lambda \sum_{x \notin FG} |A(x)|^2, \qquad A = \nabla_x s_y$$

    summed over the pixels of an image and averaged over the batch; `penalty` is lambda. Uses the global generator.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in trange(epochs, desc=title, unit="epoch"):
        for chosen in torch.randperm(len(images)).split(batch):
            x, y = images[chosen], labels[chosen]
            if masks is not None:
                x = x.clone().requires_grad_()
            outputs = model(x)
            loss = nn.functional.cross_entropy(outputs, y)
            if masks is not None:
                label_scores = outputs.gather(1, y[:, None]).sum()
                gradient = torch.autograd.grad(label_scores, x, create_graph=True)[0]
                outside = torch.where(masks[chosen].bool(), 0.0, gradient)
                loss = loss + penalty * outside.square().flatten(1).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of the images whose largest output is their label; in eval mode, which is restored."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in images.split(64)])
    model.train(was_training)
    return float((predicted == labels).double().mean())
