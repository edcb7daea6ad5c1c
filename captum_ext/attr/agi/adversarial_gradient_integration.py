"""Adversarial Gradient Integration: paths to images that the model takes for other classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import torch
from captum.attr import GradientAttribution
from torch import Tensor

from captum_ext.attr.agi.walk import Paths, Problem, Room, ScoreFunc, integrated
from captum_ext.attr.paths.path_method import InputsT
from captum_ext.attr.paths.plan import Generators, generators_for
from captum_ext.core.autocast import own_precision
from captum_ext.core.captum import log_usage
from captum_ext.core.checks import (
    MOST_STEPS,
    check_bool,
    check_choice,
    check_number,
    check_positive_int,
    describe,
)
from captum_ext.core.inspection import frozen_parameters
from captum_ext.core.model import compute_gradients
from captum_ext.core.progress import counted
from captum_ext.core.request import Request
from captum_ext.core.tensors import row_sums
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError

STEPS_FROM = ("point", "input")
SCORES = ("softmax", "logit")


class AGI(GradientAttribution):  # type: ignore[misc]
    r"""Adversarial Gradient Integration (Pan, Li and Zhu, "Explaining Deep Neural Network Models with Adversarial
    Gradient Integration", IJCAI 2021).

    https://doi.org/10.24963/ijcai.2021/396

    $$\phi = -\sum_{i \in S} \sum_j \nabla F_t(x_{ij}) \odot (x_{i,j+1} - x_{ij}), \qquad
    x_{i,j+1} = x_{ij} + \epsilon \, \mathrm{sign} \, \nabla F_i(x_{ij}), \quad x_{i0} = x$$

    for the probability $F_t$ of the target and $F_i$ of some other classes S. Each path climbs to an image that the
    model takes for class i, and ends there or after `n_steps`. No baseline is chosen: attributions sum to
    $\sum_i F_t(x) - F_t(x_i)$ for the ends $x_i$ of the paths, in the limit of small steps; with the paper's step the
    sum of a large network is far from that, since two or three steps may change the class (see the delta).

    Args:
        forward_func: the model; it returns outputs (N, K) for K classes, of which the target is one.
        n_false_classes: how many classes besides the target, drawn at random for each input without repetition; all of
            them where there are no more. The paper has 20 of ImageNet's 1,000.
        false_classes: which classes instead, as indices; an input leaves out its own target.
        step_size: $\epsilon$, in the units of the inputs: a number, or a tensor (1, ...) that is broadcast to one of
            them; of a tuple of inputs one for all, or one for each. The paper's 0.05 is that of images in [0, 1]; for a
            model with normalised images pass `0.05 / std`, a tensor (1, C, 1, 1).
        bounds: the lowest and highest valid values, each as `step_size`, at which a step stops: the authors' code has
            (0, 1) for images before their normalisation, the paper None.
        steps_from: where a step begins. "point": where the last one ended, the path of the paper. "input": at the
            input, by the gradient at the last point, and counted from the input, as the authors' code has it; then
            no point is further than `step_size` from the input, and attributions sum to nothing in particular.
        score: "softmax": probabilities of outputs that are logits; "logit": the outputs as they are; or a function from
            outputs (P, K) to scores (P, K).
        allow_batch_statistics: allow batch norm that mixes the rows of a batch.

    Raises:
        ArgumentTypeError, ArgumentError: a setting that cannot be used.

    Example:
        >>> import torch
        >>> from captum_ext.attr import AGI
        >>> agi = AGI(lambda x: torch.stack([x[:, 0], -x[:, 0]], 1), step_size=0.25, score="logit")
        >>> agi.attribute(torch.tensor([[1.0, 0.25]]), target=0)  # x[0] falls from 1 to -0.25
        tensor([[1.2500, 0.0000]])

    Deviations from the paper and its code: the code explains the class that the model predicts, this class the target;
    a class that the model predicts already adds nothing. The sign is that of the gradient of log F_i, which is the same
    and does not become zero with a tiny probability. A path that cannot move any more ends. Paths of all inputs and
    classes go through the model together, and each step has one pass forwards and two gradients, as in the code. The
    code's classes are evenly spaced indices (`false_classes=range(0, 999, 66)`), the paper's are random.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        *,
        n_false_classes: int = 20,
        false_classes: Sequence[int] | None = None,
        step_size: Baselines = 0.05,
        bounds: tuple[Baselines, Baselines] | None = None,
        steps_from: str = "point",
        score: str | ScoreFunc = "softmax",
        allow_batch_statistics: bool = False,
    ) -> None:
        super().__init__(forward_func)
        self.n_false_classes = check_positive_int("n_false_classes", n_false_classes, MOST_STEPS)
        self.false_classes = None if false_classes is None else _check_classes(false_classes)
        if not isinstance(step_size, Tensor | tuple):
            expected = "a number from 1e-30 to 1e30"
            step_size = check_number("step_size", step_size, expected, lambda value: 1e-30 <= value <= 1e30)
        self.step_size = step_size
        if bounds is not None and not (isinstance(bounds, tuple) and len(bounds) == 2):
            raise ArgumentTypeError("bounds", "None, or a tuple of lowest and highest values", describe(bounds))
        self.bounds = bounds
        self.steps_from = check_choice("steps_from", steps_from, STEPS_FROM)
        self.score = score if callable(score) and not isinstance(score, type) else check_choice("score", score, SCORES)
        self.allow_batch_statistics = check_bool("allow_batch_statistics", allow_batch_statistics)

    def settings(self) -> dict[str, Any]:
        """What the attributions depend on beside the model and the arguments of `attribute`."""
        names = ("n_false_classes", "false_classes", "step_size", "bounds", "steps_from", "score")
        return {name: getattr(self, name) for name in names}

    def has_convergence_delta(self) -> bool:
        """Whether `return_convergence_delta` is supported: yes."""
        return True

    @overload
    def attribute(
        self,
        inputs: InputsT,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        internal_batch_size: int | None = ...,
        return_convergence_delta: Literal[False] = ...,
        *,
        generator: Generators | None = ...,
        show_progress: bool = ...,
    ) -> InputsT: ...

    @overload
    def attribute(
        self,
        inputs: InputsT,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        internal_batch_size: int | None = ...,
        *,
        return_convergence_delta: Literal[True],
        generator: Generators | None = ...,
        show_progress: bool = ...,
    ) -> tuple[InputsT, Tensor]: ...

    @log_usage
    @own_precision
    def attribute(
        self,
        inputs: TensorOrTensors,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 20,
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        generator: Generators | None = None,
        show_progress: bool = False,
    ) -> Any:
        r"""Explain inputs; the model has to score each row by itself.

        Args:
            inputs: (N, ...) or a tuple of such tensors, floating point.
            target: the class that is explained, as in Captum; no function.
            additional_forward_args: as in Captum; see `PathAttribution.attribute`.
            n_steps: the most steps of a path, as many passes forwards at most for each false class; the paper has 20.
            internal_batch_size: rows given to the model at once. None: chosen by device and row size. The result does
                not depend on it.
            return_convergence_delta: also return the delta, for one more pass for every path that did not arrive.
            generator: what false classes are drawn from: one generator (rows draw in order), or one for each row. None:
                not repeatable. The global random state is neither read nor changed.
            show_progress: show a bar that counts paths.

        Returns:
            Attributions of the shape of the inputs (float32 for half precision, else the inputs' dtype), in units of
            the score; then, if asked for, the delta (N,): $\sum \phi - \sum_i (F_t(x) - F_t(x_i))$.

        Raises:
            ArgumentTypeError, ArgumentError: arguments that cannot be used or do not fit, inputs out of `bounds`.
            NonFiniteError: NaN or infinity in inputs, scores or gradients; see `captum_ext.on_nonfinite`.
            ModelOutputError: `forward_func` did not return several classes for each row, or nothing with a gradient.
            InferenceModeError: called under `torch.inference_mode()`.
        """
        request = Request(
            self.forward_func,
            inputs,
            target,
            additional_forward_args,
            internal_batch_size,
            gradient_func=compute_gradients,
            allow_batch_statistics=self.allow_batch_statistics,
        )
        n_steps = check_positive_int("n_steps", n_steps, MOST_STEPS)
        check_bool("return_convergence_delta", return_convergence_delta)
        show_progress = check_bool("show_progress", show_progress)
        generators = generators_for(generator, request.n_rows)
        room = Room.of(self.step_size, self.bounds, request.inputs)
        with frozen_parameters(self.forward_func):
            problem = Problem(request, self.score, room, n_steps, self.steps_from == "input")
            paths = self._paths(problem, generators)
            with counted("AGI", len(paths.row), "path", show_progress) as on_done:
                attributions, fall = integrated(problem, paths, return_convergence_delta, on_done)
        result = request.formatted(attributions)
        if not return_convergence_delta:
            return result
        delta = (row_sums(attributions) - fall).to(attributions[0].dtype).to(attributions[0].device)
        return result, request.left_out.blanked(delta)

    def _paths(self, problem: Problem, generators: Sequence[torch.Generator]) -> Paths:
        """The paths of all rows: the first false class of every row, then the second, ..."""
        n_classes, targets = problem.n_classes, problem.targets.tolist()
        if self.false_classes is not None and max(self.false_classes) >= n_classes:
            raise ArgumentError(
                "false_classes", f"indices from 0 to {n_classes - 1}", f"the index {max(self.false_classes)}"
            )
        columns: list[list[int]] = []
        for target, generator in zip(targets, generators, strict=True):
            if self.false_classes is not None:
                columns.append([one for one in self.false_classes if one != target])
                continue
            drawn = torch.randperm(n_classes - 1, generator=generator, device="cpu")[: self.n_false_classes]
            columns.append((drawn + (drawn >= target)).tolist())
        if not all(columns):
            expected = "classes of which at least one is not the target of a row"
            raise ArgumentError(
                "false_classes", expected, f"{self.false_classes} and the target {targets[columns.index([])]}"
            )
        most = max(map(len, columns))
        pairs = [(row, column[k]) for k in range(most) for row, column in enumerate(columns) if k < len(column)]
        return Paths(*(torch.tensor(one, dtype=torch.long, device="cpu") for one in zip(*pairs, strict=True)))


def _check_classes(classes: Any) -> tuple[int, ...]:
    """Return distinct indices of classes.

    Raises:
        ArgumentTypeError: no sequence of integers.
        ArgumentError: none, a negative one, or one twice.
    """
    expected = "a sequence of distinct indices of classes, from 0"
    is_sequence = isinstance(classes, Sequence) and not isinstance(classes, str | bytes)
    if not is_sequence or not all(isinstance(one, int) and not isinstance(one, bool) for one in classes):
        raise ArgumentTypeError("false_classes", expected, describe(classes))
    if not classes or min(classes) < 0 or len(set(classes)) != len(classes):
        raise ArgumentError("false_classes", expected, describe(classes))
    return tuple(classes)
