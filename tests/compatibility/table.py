"""Rows of the table, and the page of the documentation that has them."""

from __future__ import annotations

import inspect
import platform
import warnings
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from captum_ext.models import AdaptedModel, adapt
from tests.compatibility.checks import CHECKS, COMPLETENESS, COMPLETENESS_OF_SAMP, MASS, ROUNDING, STEPS_OF_SAMP
from tests.compatibility.networks import Network
from tests.compatibility.shell import OF_BOXES
from tests.compatibility.subject import SAME, STEP, NotTriedError, Subject, UnequalError, adapted_of, make_subject

TICK, CROSS, NOT_TRIED = "✓", "✗", "-"
_LIBRARIES = ("captum-ext", "torch", "torchvision", "timm", "transformers", "open_clip_torch", "grad-cam")
_LIBRARIES = (*_LIBRARIES, "segmentation-models-pytorch")
_LONGEST = 160  # characters of a reason


@dataclass
class Row:
    """What was found of a network.

    Attributes:
        network: which.
        adapts: "yes", or what to pass.
        cells: by column, one of the signs.
        reasons: why there is a cross, by column.
    """

    network: Network
    adapts: str = ""
    cells: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The row in Markdown."""
        cells = [self.network.library, self.network.name, self.adapts, *self.cells.values()]
        return f"| {' | '.join(cells)} |"


def examine(network: Network) -> Row:
    """Adapt a network, and check every column of it."""
    row = Row(network, cells=dict.fromkeys(CHECKS, CROSS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of random networks, whose classes show through blurs, and of old torch
        try:
            net = network.build()
            adapt(net, **network.needs)
            adapted = adapted_of(network, net)
            subject = make_subject(network, net, adapted)
            _check_adapted(network, adapted, subject)
        except Exception as error:
            row.adapts, row.reasons["adapts"] = CROSS, _reason(error)
            return row
        row.adapts = ", ".join(f"`{name}={value}`" for name, value in network.needs.items()) or "yes"
        for column in CHECKS:
            _fill(row, column, subject)
    return row


def _fill(row: Row, column: str, subject: Subject) -> None:
    try:
        CHECKS[column](subject)
        row.cells[column] = TICK
    except NotTriedError:
        row.cells[column] = NOT_TRIED
    except Exception as error:
        row.reasons[column] = _reason(error)


def _check_adapted(network: Network, adapted: AdaptedModel, subject: Subject) -> None:
    """Outputs are the network's bit for bit, and the layer is the one that is expected."""
    with torch.no_grad():
        pairs = zip(
            _tensors(adapted(subject.image)), _tensors(network.outputs(subject.net, subject.image)), strict=True
        )
        if not all(torch.equal(one, other) for one, other in pairs):
            raise UnequalError("its outputs are not the network's")
    if network.layer not in (None, adapted.layer_name) or adapted.kind != network.kind:
        raise UnequalError(f"{adapted.kind} at the layer {adapted.layer_name}, not {network.kind} at {network.layer}")


def _tensors(outputs: Any) -> list[Tensor]:
    """All tensors in what a network returns, in their order."""
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, list | tuple):
        return [tensor for one in outputs for tensor in _tensors(one)]
    if isinstance(outputs, dict):
        return [tensor for one in outputs.values() for tensor in _tensors(one)]
    return _tensors(outputs.logits) if hasattr(outputs, "logits") else []


def _reason(error: Exception) -> str:
    what = str(error) if isinstance(error, UnequalError) else f"{type(error).__name__}: {error}"
    return " ".join(what.split())[:_LONGEST]


_INTRODUCTION = """# Which models

`adapt` takes a model as it comes, and every method, CAM, upsampler and metric takes what it returns. [The
table](#the-table) has the architectures that were tried. Before it stand ten lines for each library, of
`examples/models`, where a segmentation network and a network of videos are, too; CI runs them with tiny checkpoints.
They run as they stand here, with `main(...)` behind them; `prepare` takes a picture of yours, as an array or from
`PIL.Image.open`, in place of scikit-image's. The shell (extra `cli`) does the same without code:
`pip install ".[cli,timm]"`, then `captum-ext explain cat.png --model timm:NAME`; see [the command line](shell.md).
"""

_EXAMPLES = {
    "hf_classifier": "transformers (extra `[hf]`)",
    "timm_classifier": "timm (extra `[timm]`)",
    "clip_zero_shot": "CLIP of open_clip with texts (extra `[clip]`)",
    "detector": "a detector of torchvision (torchvision and the extras `[grad-cam,plot]`)",
}


_TOKENS = """## What is shown of tokens

One pass shows, by gradients, that the tokens of a transformer stand for their patches in the order of reading, and at
the layer for CAMs the same of tokens that are joined two by two (Swin, PVT, LeViT, MViT), compared with those that
they are joined from. For each number of tokens it looks at the first sequence that has it; blocks behind it are taken
to keep the order. Where gradients do not show the order of joined tokens, it is assumed and `print(adapted)` has a
note; where those of patches are not in order, there is no grid unless you give one. Features (N, C, h, w) and (N, h,
w, C) are taken as they lie.
"""

_MEANING = f"""Scores and gradients are computed a second time from the network itself, without `adapt` and without the
methods of this package, and compared. The score is a class's output; of segmentation the mean of a class in a region,
of embeddings the cosine with another one, of detectors the score times the overlap of a detection.

- **adapts**: outputs are the network's bit for bit, layer and grid are the expected ones, and a gradient reaches its
  positions. "yes": `adapt(model)` without more; otherwise what has to be passed.
- **IG**, **LPI**: attributions sum to the change of the score within {COMPLETENESS:.0%} of it, and {ROUNDING:g} of the
  score for rounding. Baselines are {STEP:.1%} of the way to other images: networks with random weights change so wildly
  that a long way takes thousands of gradients. On long ways detections come and go, the score jumps, and no gradient
  sees it: the delta says how far.
- **SAMP**: attributions are the change of the score plus the delta that is returned, and the delta is below
  {COMPLETENESS_OF_SAMP:.0%} of the range of the scores on its path, where quarters of the image move to it in
  {STEPS_OF_SAMP[0]} steps, or in {STEPS_OF_SAMP[1]}. At usual settings the delta is large, as its documentation says.
- **GradCAM**: every cell is the sum of the layer's features weighted by their mean gradients, or zero where that is
  below, from a hook written by hand, within {SAME:g} of the largest.
- **USU**: the pixels of every cell sum to its mass, within {MASS:g} of the largest.
- **metrics**: insertion and deletion begin and end at the scores of the image and of zeros, within {SAME:g} of the
  larger; their areas and DiffID's are finite.
- **shell**: `captum-ext explain --method input-x-gradient`, with --region or --box where there are no classes, writes
  input times gradient, within {SAME:g} of its largest number ({OF_BOXES:g} for boxes, whose place in the model's image
  it measures), for a function that returns the adapted model. "{NOT_TRIED}": not tried, of volumes, and of embeddings,
  which need texts and their tokenizer.
"""


def page(rows: list[Row]) -> str:
    """The text of the page."""
    columns = ["library", "architecture", "adapts", *CHECKS]
    reasons = [
        f"- {row.network.library}, {row.network.name}: "
        + "; ".join([row.network.note] * bool(row.network.note) + [f"{one}: {why}" for one, why in row.reasons.items()])
        for row in rows
        if row.reasons
    ]
    full = sum(not row.reasons for row in rows)
    ticked = sum(set(row.cells.values()) == {TICK} for row in rows)
    return "\n".join([
        _INTRODUCTION,
        *(_ten_lines(name, title) for name, title in _EXAMPLES.items()),
        "## The table",
        "",
        f"{len(rows)} architectures, tiny and with random weights, built from their configurations: it says that",
        "methods are right on an architecture, not that their maps are good.",
        f"{full} rows have no cross; {ticked} of them have a tick in the column of the shell, too. Written by",
        "",
        "    python -m tests.compatibility --page docs/models.md",
        "",
        "on a CPU in float32 with",
        f"{', '.join(f'{name} {version(name)}' for name in _LIBRARIES)}, Python {platform.python_version()};",
        "`make compatibility` checks that it is still what is found.",
        "",
        f"| {' | '.join(columns)} |",
        f"|{' --- |' * len(columns)}",
        *(row.line for row in rows),
        "",
        *(["Crosses:", "", *reasons, ""] if reasons else []),
        "## What a tick means",
        "",
        _MEANING,
        _TOKENS,
    ])  # fmt: skip


def _ten_lines(name: str, title: str) -> str:
    """An example from its imports to the end of `main`, without its command line."""
    module = import_module(f"examples.models.{name}")
    source = inspect.getsource(module)
    start = source.index("from __future__ import annotations") + len("from __future__ import annotations")
    end = source.index('\n\nif __name__ == "__main__"')
    code = source[start:end].strip().replace("from examples.models.pictures import run\n", "")
    return f"### {title}\n\n```py\n{code}\n```\n"
