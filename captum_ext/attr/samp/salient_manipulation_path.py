"""SAMP: along a greedy path that moves the most salient pixels first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, overload

import torch
from torch import Tensor

from captum_ext.attr.paths.integration import PathProblem, path_start_scores
from captum_ext.attr.paths.path_method import InputsT, PathMethod, progress
from captum_ext.attr.paths.quadrature import own_rule
from captum_ext.attr.paths.starts import Starts
from captum_ext.attr.samp.walk import Manipulation, Settings, Trace
from captum_ext.core.autocast import own_precision
from captum_ext.core.blur import BLUR_WORDS, Blur, as_blur, check_blur, warn_where_class_shows
from captum_ext.core.captum import log_usage
from captum_ext.core.checks import (
    MOST_STEPS,
    check_baselines,
    check_bool,
    check_choice,
    check_fill,
    check_number,
    check_positive_int,
)
from captum_ext.core.devices import double
from captum_ext.core.inspection import frozen_parameters
from captum_ext.core.model import compute_gradients
from captum_ext.core.pixels import Pixels, has_space
from captum_ext.core.request import Request
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors, Tensors

_METHODS = ("riemann_left", "riemann_trapezoid")
_ALL_PIXELS = 2**62  # more than any input has, and little enough for an int64
_CREDITS = ("gradient", "velocity")


@dataclass(frozen=True)
class PathScores:
    """The model's score along the paths of one direction; NaN after the point at which a row's path ended.

    Attributes:
        moved: (N, S) share of the L1 distance that was moved so far, from 0 to 1.
        scores: (N, S) score there.
    """

    moved: Tensor
    scores: Tensor


class SalientManipulationPath(PathMethod):
    r"""SAMP and SAMP++ (Zhang, Zheng, Zhou and Lu, "Path Choice Matters for Clear Attributions in Path Methods", ICLR
    2024).

    https://arxiv.org/abs/2401.10442

    A path of moves $d_0, d_1, \dots$ from start to end, each of which changes the pixels whose change promises most:

    $$\phi = \sum_k \nabla F(x_k) \odot d_k, \qquad
    d_k = \lambda_k m_k, \qquad m_k = x_{end} - x_k \text{ on } S_k, \text{ else } 0$$

    $S_k$ holds the s pixels (n / n_steps, rounded), of those that have not arrived, with the largest projection of the
    velocity $v_k = \mu v_{k-1} + (1 - \mu) \nabla F(x_k)$ on $x_{end} - x_k$, summed over a pixel's elements;
    $\lambda_k = \min(1, \eta / |m_k|_1)$ with $\eta = |x_{end} - x_{start}|_1 / R$. Momentum only ranks: attributions
    add the true gradient, unless `credit` says otherwise. The insertion path goes from a baseline to the input; the
    deletion path from the input to a baseline, with the smallest projections first and contributions negated; "both" is
    the mean of the two.

    Its sum is NOT the score difference at usual settings. Moving thousands of pixels at once overshoots the first-order
    gain by which they were picked: on 20 real images (`python -m examples.benchmarks.measurements.gaps`) the
    gap is tens of times the score difference, where Integrated Gradients with the same two baselines misses a fraction
    of it. Read these maps as rankings; the convergence delta is always available.

    Args:
        forward_func: the model, or any function that returns one row of outputs for each row of inputs.
        multiply_by_inputs: multiply gradients by the moves. False: by the share of each element's way instead (a mean
            gradient along the path; zero for elements equal to their baseline).
        direction: "both", "insertion" or "deletion".
        insertion_baselines: where the insertion path starts: "blur" (images and volumes; zero for anything else),
            "rise" (of images the weaker blur of RISE's evaluation; see `images.gaussian_blur` for both), an
            `images.Blur` of your own strength (with `dims=1` of signals (N, C, T), too), or baselines in any of
            Captum's forms.
        deletion_baselines: where the deletion path ends, likewise. Zero is the mean colour of a normalised image, as in
            the paper's setting, not black.
        momentum: mu above, in [0, 1); 0 switches it off.
        step_bound: R above, positive; None switches the bound off. `momentum=0, step_bound=None` is plain SAMP;
            momentum alone is the paper's +MS, the bound alone +IC, both (the default) SAMP++.
        credit: what a move is multiplied by. The paper makes SAMP++ of SAMP "by substituting" the velocity for the
            gradient, which can be read in two ways. "gradient": it chooses pixels, and attributions add the true
            gradient times the move, so that they are estimates of changes of the score. "velocity": it is substituted
            there, too, and attributions add $v_k \odot d_k$. Measured (`python -m
            examples.benchmarks.measurements.samp`): the sum comes nearer to the score difference and deletion
            is better; insertion and DiffID are better on ImageNet images and worse on digits. Without momentum both are
            the same.
        feature_mask: integers as Captum's `FeatureAblation` takes them, broadcastable to the inputs (a tuple for
            several): elements with the same number move together. None: a pixel of an image (N, C, H, W) or a volume
            (N, C, D, H, W) is a location with all its channels; of anything else, an element. Three dimensions may be
            channels and time steps, or tokens and features: `torch.arange(T)[None, None]` moves the time steps of
            signals (N, C, T) with all their channels, `torch.arange(L)[None, :, None]` the tokens of embeddings.

    Rows part ways along their paths: a model has to score each row by itself (batch norm that mixes the rows of a batch
    is refused), and a forward argument that has no entry for each row has to be wrapped in `captum_ext.Shared`.

    Raises:
        ArgumentError: a setting that cannot be used.

    Costs for each direction and input: at most as many gradients as groups, and R (one more for the trapezoid rule),
    one after the other; inputs and directions run side by side.

    Example:
        >>> import torch
        >>> from captum_ext import SalientManipulationPath
        >>> samp = SalientManipulationPath(lambda x: 3 * x[:, 0] + x[:, 1] - x[:, 2], step_bound=2)
        >>> samp.attribute(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[ 3.,  2., -3.]])

    Deviations from the paper:
        * Pixels that have arrived leave the contest. By the letter they would win it (their projection is zero) as soon
          as all others are negative, and the algorithm would not end.
        * The two directions are averaged, not added, so that the identity below has the usual form.
        * The paper has one step for ImageNet and another for MNIST and CIFAR-10. Both numbers are lost from the text
          that we have, like its formulas, and are not checked: 3,584 pixels, the 14 groups of 224 x 224 that are the
          default, and 10 pixels for the others (`pixels_in_step=10`: 79 groups of 28 x 28, 103 of 32 x 32). The number
          R of the bound is lost, too; rows that its tables repeat show that it is 10. The momentum, 0.5, is there.
        * `method="riemann_trapezoid"` is ours: one more gradient for each path and a smaller gap.

    The greedy path depends on the model and breaks symmetry: for x1 * x2 from (0, 0) to (1, 1), one pixel at a time,
    the first pixel gets 0 and the second 1; moved together, both get 0. Attributions of a sum of models are not the sum
    of attributions.

    Exactly equal projections are taken in order, on every device. Nearly equal ones are ranked by rounding, and one
    other choice changes the rest of the path: on EfficientNet-Lite0, float32 maps from two memory layouts correlate
    0.88 on average, and 0.79 with those of float64 (`python -m examples.benchmarks.measurements.rounding`), where all
    agree. `docs/performance.md` has the table, and `docs/measured.md` how it differs between machines.
    """

    def __init__(
        self,
        forward_func: ForwardFunc,
        multiply_by_inputs: bool = True,
        *,
        direction: str = "both",
        insertion_baselines: Baselines | str | Blur = "blur",
        deletion_baselines: Baselines | str | Blur = 0,
        momentum: float = 0.5,
        step_bound: float | None = 10,
        credit: str = "gradient",
        feature_mask: TensorOrTensors | None = None,
    ) -> None:
        super().__init__(forward_func, multiply_by_inputs)
        self.direction = check_choice("direction", direction, ("both", "insertion", "deletion"))
        self.insertion_baselines, self.deletion_baselines = insertion_baselines, deletion_baselines
        for name, given in (("insertion", insertion_baselines), ("deletion", deletion_baselines)):
            if isinstance(given, str):
                check_choice(f"{name}_baselines", given, BLUR_WORDS)
        self.momentum = check_number("momentum", momentum, "a number in [0, 1)", lambda v: 0 <= v < 1)
        if step_bound is not None:
            expected = f"None or a positive number of at most {MOST_STEPS:,}"
            step_bound = check_number("step_bound", step_bound, expected, lambda v: 0 < v <= MOST_STEPS)
        self.step_bound = step_bound
        self.credit = check_choice("credit", credit, _CREDITS)
        self.feature_mask = feature_mask

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions in which paths go, one or two."""
        return ("insertion", "deletion") if self.direction == "both" else (self.direction,)

    @overload
    def attribute(
        self,
        inputs: InputsT,
        baselines: Baselines = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        return_convergence_delta: Literal[False] = ...,
        *,
        pixels_in_step: int | None = ...,
        return_path: Literal[False] = ...,
        show_progress: bool = ...,
    ) -> InputsT: ...

    @overload
    def attribute(
        self,
        inputs: InputsT,
        baselines: Baselines = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        *,
        return_convergence_delta: Literal[True],
        pixels_in_step: int | None = ...,
        return_path: Literal[False] = ...,
        show_progress: bool = ...,
    ) -> tuple[InputsT, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: InputsT,
        baselines: Baselines = ...,
        target: Target = ...,
        additional_forward_args: Any = ...,
        n_steps: int = ...,
        method: str | None = ...,
        internal_batch_size: int | None = ...,
        return_convergence_delta: bool = ...,
        *,
        pixels_in_step: int | None = ...,
        return_path: Literal[True],
        show_progress: bool = ...,
    ) -> tuple[Any, ...]: ...

    @log_usage
    @own_precision
    def attribute(
        self,
        inputs: TensorOrTensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 14,
        method: str | None = None,
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        pixels_in_step: int | None = None,
        return_path: bool = False,
        show_progress: bool = False,
    ) -> Any:
        r"""Attribute the target's score to the inputs.

        Arguments that are not described here are those of `IntegratedGradients.attribute`.

        Args:
            inputs: (N, ...) or a tuple of such tensors; pixels of all of them are ranked together.
            baselines: when given, they serve both directions in place of the object's own.
            target: as in Captum, or a function of one row's output (`captum_ext.models.targets`).
            additional_forward_args: as in Captum; tensors with N rows follow their row.
            n_steps: groups into which the n pixels are divided. All but the last have the same number s of pixels, so
                that not every number of groups is possible: s is that of n / n_steps, rounded down or up, whose
                ceil(n / s) groups are nearest to n_steps (as near: the fewer). Of 784 pixels, 100 become 98 groups
                and 300 become 262. Steps that the bound shortens come on top: at most R more.
            method: "riemann_left" (the paper; None) takes the gradient at the start of a move, "riemann_trapezoid" the
                mean of those at its ends. Captum's other rules, "gausslegendre" among them, are for straight paths:
                they are taken for "riemann_left", with a warning.
            internal_batch_size: at most this many rows are given to the model at once.
            return_convergence_delta: also return the delta (N,), the sum of the attributions minus
                $F(x) - (F(b_{insertion}) + F(b_{deletion})) / 2$, or minus the difference to the one baseline of a
                single direction.
            pixels_in_step: s itself, for those who know it; `n_steps` is not used then.
            return_path: also return the scores along the paths, a mapping from direction to `PathScores`.
            show_progress: show a bar that counts gradients.

        Returns:
            Attributions of the shape of the inputs, detached; then the delta and the paths if asked for.

        Raises:
            ArgumentTypeError: inputs that are not floating tensors, or an argument of a wrong type.
            ArgumentError: shapes, target, method or numbers that do not fit.
            NonFiniteError: NaN or infinity in inputs, baselines or a gradient; the message names the step. See
                `captum_ext.on_nonfinite`.
            ModelOutputError: `forward_func` did not return one score for each row.
            InferenceModeError: called under `torch.inference_mode()`.
        """
        request = self.request(inputs, baselines, target, additional_forward_args, internal_batch_size)
        method = own_rule(method, _METHODS, "SAMP")
        if pixels_in_step is not None:
            pixels_in_step = min(check_positive_int("pixels_in_step", pixels_in_step), _ALL_PIXELS)
        settings = Settings(
            self.directions,
            check_positive_int("n_steps", n_steps, MOST_STEPS),
            self.momentum,
            self.step_bound,
            method == "riemann_trapezoid",
            self.credit == "velocity",
            pixels_in_step,
        )
        show_progress = check_bool("show_progress", show_progress)
        if check_bool("return_path", return_path):
            self.check_scores_available("return_path", "False", "True")
        if request.n_rows > 1:
            request.model.forward_args.check_known()
        pixels = Pixels(request.inputs, self.feature_mask)
        with frozen_parameters(self.forward_func):
            starts = self.starts(request, baselines)
            n_most = len(self.directions) * int(settings.most_gradients(pixels.counts(request.rows)).sum())
            with progress(self.get_name(), n_most if show_progress else None) as on_done:
                problem = PathProblem(request, starts, self.multiply_by_inputs, on_done)
                manipulation = Manipulation(problem, pixels, settings, return_path)
                attributions = manipulation.run()
            if self.gradient_func is compute_gradients:
                self._check_targets_of_idle(problem, manipulation.lengths)
            self.check_inputs_used(problem)
            results: list[Any] = [request.formatted(attributions)]
            if return_convergence_delta:
                results.append(self.delta(problem, attributions))
            if return_path:
                results.append(self._path_scores(problem, manipulation.traces))
            known = double(request.scores).cpu() if return_convergence_delta or return_path else None
            self._warn_of_blur(manipulation, baselines, known)
        return results[0] if len(results) == 1 else tuple(results)

    @staticmethod
    def _check_targets_of_idle(problem: PathProblem, lengths: Mapping[tuple[int, int], float]) -> None:
        """Refuse a wrong target also for rows whose paths have no length, and so take no gradient."""
        moving = {row for (row, _), length in lengths.items() if length > 0}
        idle = [row for row in range(problem.request.n_rows) if row not in moving]
        for rows in torch.split(torch.tensor(idle, dtype=torch.long, device="cpu"), problem.limit.of_rows()):
            if len(rows):
                problem.model.scores(tuple(value[rows.to(value.device)] for value in problem.inputs), rows)

    def layout(self, inputs: Tensors, baselines: Baselines) -> bool | None:  # noqa: ARG002
        """As asked for, else by the device: Captum has no SAMP whose numbers had to be matched."""
        return self.channels_last

    def starts(self, request: Request, baselines: Baselines) -> Starts:
        """The baseline of each direction as one path of each row, weighted equally."""
        sets = [self._baselines_of(direction, request, baselines) for direction in self.directions]
        first, index = 0, []
        for values in sets:
            shared = all(len(value) == 1 for value in values)
            rows = torch.arange(request.n_rows, device="cpu")
            index.append(first + (torch.zeros_like(rows) if shared else rows))
            first += 1 if shared else request.n_rows
        values = tuple(
            torch.cat([value.expand(1 if n == 1 else request.n_rows, *value.shape[1:]) for value, n in parts])
            for parts in zip(*([(value, max(map(len, values))) for value in values] for values in sets), strict=True)
        )
        weight = torch.full((request.n_rows, len(sets)), 1 / len(sets), dtype=torch.float64, device="cpu")
        return Starts(values, torch.stack(index, 1), weight)

    def _baselines_of(self, direction: str, request: Request, baselines: Baselines) -> Tensors:
        if baselines is not None:
            return check_baselines(baselines, request.inputs)
        given = getattr(self, f"{direction}_baselines")
        blur = as_blur(given)
        if blur is None:
            return check_fill(f"{direction}_baselines", given, request.inputs)
        starts = []
        for value in request.inputs:
            if _has_blur(value, blur):
                check_blur(f"{direction}_baselines", blur, value)
            starts.append(blur(value) if _has_blur(value, blur) else torch.zeros_like(value[:1]))
        return tuple(starts)

    def _warn_of_blur(self, manipulation: Manipulation, baselines: Baselines, at_inputs: Tensor | None) -> None:
        """Warn where the insertion path starts from a blurred input that still shows the class.

        Only from scores that are known anyway: those at the starts of the paths, and at the inputs, where the deletion
        path starts.
        """
        blur = as_blur(self.insertion_baselines) if baselines is None else None
        if blur is None or "insertion" not in self.directions:
            return
        if not any(_has_blur(value, blur) for value in manipulation.problem.inputs):
            return
        at_starts = dict(zip(self.directions, manipulation.at_starts.T, strict=True))
        at_inputs = at_starts.get("deletion") if at_inputs is None else at_inputs
        if at_inputs is not None:
            warn_where_class_shows("insertion_baselines", blur, at_starts["insertion"], at_inputs)

    def _path_scores(self, problem: PathProblem, traces: Mapping[tuple[int, int], Trace]) -> dict[str, PathScores]:
        """Scores along the paths of each direction, completed by those at their ends, which no gradient needed."""
        request = problem.request
        at_inputs = request.scores.tolist()
        at_baselines = path_start_scores(problem).reshape(problem.starts.weight.shape).tolist()
        result = {}
        for path, direction in enumerate(self.directions):
            rows = []
            for row in range(request.n_rows):
                trace = traces.get((row, path), Trace())
                if not trace.moved or trace.moved[-1] < 1:
                    end = at_inputs[row] if direction == "insertion" else at_baselines[row][path]
                    trace = Trace([*trace.moved, 1.0], [*trace.scores, end])
                rows.append(torch.tensor([trace.moved, trace.scores], dtype=torch.float64, device="cpu").T)
            padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=torch.nan)
            result[direction] = PathScores(moved=padded[..., 0], scores=padded[..., 1])
        return result


def _has_blur(value: Tensor, blur: Blur) -> bool:
    """Whether an input is blurred: an image, a volume, or a signal where the blur says so."""
    return has_space(value) or (value.dim() == 3 and blur.dims is not None)


#: Short name.
SAMP = SalientManipulationPath
