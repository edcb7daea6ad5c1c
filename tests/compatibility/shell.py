"""The command line's map of a network of the table, in this process."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from typer.testing import CliRunner

from captum_ext.models import AdaptedModel, adapt
from captum_ext.models.targets import DetectionTarget, RegionTarget
from captum_ext_integrations.cli.app import app
from tests.compatibility.subject import SAME, NotTriedError, Subject, UnequalError

_current: list[AdaptedModel] = []
OF_BOXES = 0.02  # for boxes, whose place in the image the command measures to a part of a pixel


def current() -> AdaptedModel:
    """The network whose turn it is, adapted: what MODULE:FUNCTION names."""
    return _current[-1]


def shell(subject: Subject) -> None:
    """`captum-ext explain` writes input times gradient, by hand."""
    adapted = subject.adapted
    if len(adapted.size) != 2 or adapted.kind == "embedding":
        raise NotTriedError
    if adapted.mean is None:  # what prepares photographs has to be known
        adapted = adapt(subject.net, size=adapted.size, mean=0, std=1)
    photograph = Image.fromarray((subject.image[0].movedim(0, -1) * 255).round().byte().numpy().squeeze())
    words = _words(subject)
    with TemporaryDirectory() as folder:
        path, out = Path(folder, "photograph.png"), Path(folder, "map.npy")
        photograph.save(path)
        _current.append(adapted)
        try:
            result = CliRunner().invoke(app, [
                "explain", str(path), "--model", f"{__name__}:current", "--method", "input-x-gradient",
                "--out", str(out), *words, "--device", "cpu",
            ])  # fmt: skip
        finally:
            _current.pop()
        if result.exit_code != 0:
            raise UnequalError(f"the command says: {result.output.strip()}")
        found = torch.from_numpy(np.load(out))
    image = adapted.prepare(photograph).requires_grad_()
    score = subject.score.by_hand(subject.network.outputs(subject.net, image))
    wanted = (image.detach() * torch.autograd.grad(score, image)[0])[0].sum(0)
    gap = float((found - wanted).abs().max() / wanted.abs().max())
    if not gap <= (OF_BOXES if "--box" in words else SAME):
        raise UnequalError(f"its map differs by {gap:.1e} of the largest number")


def _words(subject: Subject) -> list[str]:
    """The score's target as the command line has it."""
    target, (height, width) = subject.score.target, subject.adapted.size
    if isinstance(target, RegionTarget):  # of `scores_of`
        return ["--target", str(target.class_index), "--region", f"{width // 4},0,{width},{height // 2}"]
    if isinstance(target, DetectionTarget):
        return ["--target", str(target.label), "--box", ",".join(map(str, target.box))]
    return ["--target", str(target)]
