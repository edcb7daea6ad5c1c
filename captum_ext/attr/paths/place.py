"""Where attributions are taken: at the inputs, at a layer, or at the inputs of one neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from captum_ext.attr.paths.integration import OnDone, PathProblem, explained_scores
from captum_ext.attr.paths.starts import Starts
from captum_ext.core.checks import check_bool
from captum_ext.core.request import Request
from captum_ext.core.types import Tensors


@dataclass(frozen=True)
class Wanted:
    """What a call returns beside attributions, and whether it shows a bar."""

    delta: bool = False
    n_gradients: bool = False
    progress: bool = False
    standard_error: bool = False

    def __post_init__(self) -> None:
        check_bool("return_n_gradients", self.n_gradients)
        check_bool("show_progress", self.progress)


class Place:
    """The inputs of a request, where paths run from the starts that a method chooses among inputs.

    A layer's place has the same rows and starts, taken through the model.

    Args:
        request: the call, whose inputs are those of the model.

    Attributes:
        request: the same.
        name: what is explained, in messages.
        advice: what to do where that gets no gradient, in messages.
    """

    name = "inputs"
    advice = "Pass it in additional_forward_args, or explain the layer that embeds it."

    def __init__(self, request: Request) -> None:
        self.request = request

    def problem(self, starts: Starts, multiply_by_inputs: bool, on_done: OnDone | None = None) -> PathProblem:
        """What is to be integrated, from the starts (in the space of the inputs) of the request."""
        return PathProblem(self.request, starts, multiply_by_inputs, on_done)

    def check(self, problem: PathProblem) -> None:
        """Refuse what can only be seen once gradients were taken."""

    def explained(self, starts: Starts) -> Tensor:
        """Scores (N,) that attributions from the problem's starts sum to, float64 on the CPU."""
        return explained_scores(PathProblem(self.request, starts))

    def formatted(self, attributions: Tensors) -> Any:
        """Attributions (N, ...) in the form in which the caller gets them."""
        return self.request.formatted(attributions)
