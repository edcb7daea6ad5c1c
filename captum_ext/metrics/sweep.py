"""Several curves in one sweep: an image that more than one of them needs is given to the model once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from captum_ext.core.autocast import own_precision
from captum_ext.core.blur import Blur
from captum_ext.core.checks import describe
from captum_ext.core.fills import ConstantFill, Fill, KeptMean
from captum_ext.core.request import Request
from captum_ext.core.types import Baselines, ForwardFunc, Target, TensorOrTensors
from captum_ext.exceptions import ArgumentError, ArgumentTypeError
from captum_ext.metrics.curves import PerturbationCurve, Plan, deletion, diff_id, insertion, plan_curve, plan_diff_id
from captum_ext.metrics.game import Game
from captum_ext.metrics.ranking import Ranking
from captum_ext.metrics.removal import pixel_flipping, plan_flipping

#: A metric of this module, or a `functools.partial` of one with some of its options.
CurveMetric: TypeAlias = Callable[..., PerturbationCurve]

_BY_NAME: dict[str, CurveMetric] = {
    "insertion": insertion,
    "deletion": deletion,
    "diff_id": diff_id,
    "pixel_flipping": pixel_flipping,
}
_PLANNERS: dict[CurveMetric, Callable[..., Plan]] = {
    insertion: partial(plan_curve, inserting=True),
    deletion: partial(plan_curve, inserting=False),
    diff_id: plan_diff_id,
    pixel_flipping: plan_flipping,
}
_OF_THE_SWEEP = "internal_batch_size"


@own_precision
def curves(
    forward_func: ForwardFunc,
    inputs: TensorOrTensors,
    attributions: TensorOrTensors,
    target: Target = None,
    additional_forward_args: Any = None,
    *,
    metrics: Sequence[str] | Mapping[str, CurveMetric] = ("insertion", "deletion", "diff_id"),
    baselines: Baselines | str | Blur = None,
    ranking: Ranking | None = None,
    internal_batch_size: int | None = None,
) -> dict[str, PerturbationCurve]:
    """Insertion, deletion, DiffID and pixel flipping of the same maps in one sweep, with the numbers of single calls.

    Every image that several of them need is scored once. Curves that agree in `baselines` and `ranking` share most of
    their images: what DiffID leaves without its least important pixels is a point of insertion, what it leaves without
    the most important ones a point of deletion. Curves that differ in `baselines` share the unchanged input, and those
    that only rank differently that and the baseline. Forwards for each row, with n_steps=10 and DiffID's nine
    fractions:

    | | one call each | `curves` |
    | --- | --- | --- |
    | insertion, deletion, DiffID with one `baselines` and `ranking` | 41 | 20 (49 %) |
    | insertion and deletion with one `baselines` and `ranking` | 22 | 20 (91 %) |
    | insertion, deletion, DiffID, each with its own (the default: blur, 0, mean) | 41 | 39 (95 %) |

    Rankings by values and by absolute values are one where no attribution is negative, as for most CAMs.

    The numbers are those of the single calls, bit for bit where the model's batches are the same: with an
    `internal_batch_size` of N or one that divides N. Otherwise they may differ by the model's own rounding in a batch
    of another size.

    Args:
        forward_func: the model; its outputs are scored as they are (logits or probabilities).
        inputs: as for `insertion`.
        attributions: as for `insertion`.
        target: as for `insertion`.
        additional_forward_args: as in Captum.
        metrics: names out of "insertion", "deletion", "diff_id" and "pixel_flipping"; or names of your own with these
            functions, or a `functools.partial` of one with its options, such as `partial(deletion, n_steps=20)`.
        baselines: of all metrics that do not have their own by `partial`. None: the default of each.
        ranking: likewise.
        internal_batch_size: rows given to the model at once. None: chosen by device and row size.

    Returns:
        The curves by name, in the order of `metrics`.

    Raises:
        ArgumentError, ArgumentTypeError: other metrics, options that they do not have, or as `insertion`.
        NonFiniteError: as `insertion`.
        ModelOutputError: as `insertion`.

    Example:
        >>> import torch
        >>> from captum_ext.metrics import Ranking, curves
        >>> x = torch.arange(1.0, 11.0)[None]
        >>> result = curves(lambda x: x.sum(1), x, x, baselines=0, ranking=Ranking(absolute=True))
        >>> {name: round(float(curve.auc), 3) for name, curve in result.items()}
        {'insertion': 35.75, 'deletion': 19.25, 'diff_id': 0.3}
    """
    given = {name: one for name, one in {"baselines": baselines, "ranking": ranking}.items() if one is not None}
    asked = {name: _checked(metric) for name, metric in _by_name(metrics).items()}
    request = Request(forward_func, inputs, target, additional_forward_args, internal_batch_size)
    shared = _Shared(request, attributions)
    plans = [shared.plan(function, {**given, **options}) for function, options in asked.values()]
    return dict(zip(asked, shared.curves(plans), strict=True))


def is_curve(metric: Any) -> bool:
    """Whether `curves` takes it as it is."""
    try:
        _checked(metric)
    except ArgumentError:
        return False
    return True


class _Point(NamedTuple):
    """An image: numbers of its fill and of its game, and the ranks that are kept."""

    fill: int
    game: int
    first: int
    last: int


class _Shared:
    """What the curves of one call have in common: games and fills, each of which is there once."""

    def __init__(self, request: Request, attributions: TensorOrTensors) -> None:
        self._request, self._attributions = request, attributions
        self._games: dict[Ranking, Game] = {}
        self._fills: list[tuple[Any, Fill]] = []

    def plan(self, function: CurveMetric, options: Mapping[str, Any]) -> Plan:
        """What a metric asks with these options, and otherwise its own."""
        options = {**_defaults(function), **options}
        game = self._game(options.pop("ranking"))
        return _PLANNERS[function](game, self._fill(game, options.pop("baselines")), **options)

    def curves(self, plans: Sequence[Plan]) -> list[PerturbationCurve]:
        """The curves of plans that were made here."""
        games = _distinct([plan.game for plan in plans], lambda one, other: one is other)
        fills = _distinct([plan.fill for plan in plans], _agree)
        places = [
            [_point(fills[number], games[number], kept, plan.game.n_pixels) for kept in plan.kept]
            for number, plan in enumerate(plans)
        ]
        numbers: dict[_Point, int] = {}
        results = []
        for fill in range(max(fills) + 1):
            points = list(dict.fromkeys(point for part in places for point in part if point.fill == fill))
            if points:  # of few pixels the unchanged input may be all
                numbers |= {point: len(numbers) + place for place, point in enumerate(points)}
                results.append(_ask(plans, games, plans[fills.index(fill)].fill, points))
        together = torch.cat(results)
        return [
            plan.finish(*plan.game.scored(torch.stack([together[numbers[point]] for point in part])))
            for plan, part in zip(plans, places, strict=True)
        ]

    def _game(self, ranking: Ranking) -> Game:
        """The game of a ranking; an earlier one where that orders the pixels alike."""
        if not isinstance(ranking, Ranking) or ranking not in self._games:
            game = Game(self._request, self._attributions, ranking)
            alike = (one for other, one in self._games.items() if other.seed == ranking.seed and _rank_alike(one, game))
            self._games[ranking] = next(alike, game)
        return self._games[ranking]

    def _fill(self, game: Game, baselines: Any) -> Fill:
        """The fill of baselines, made once for all that name it alike."""
        for known, fill in self._fills:
            words = isinstance(known, str | Blur) and type(known) is type(baselines)
            if known is baselines or (words and known == baselines):
                return fill
        self._fills.append((baselines, game.fill(baselines)))
        return self._fills[-1][1]


def _by_name(metrics: Any) -> dict[str, Any]:
    """Metrics by name."""
    named = isinstance(metrics, Sequence) and not isinstance(metrics, str)
    if not named and not isinstance(metrics, Mapping):
        raise ArgumentTypeError("metrics", "a sequence of names, or a mapping of names to metrics", describe(metrics))
    if not metrics:
        raise ArgumentError("metrics", "at least one", describe(metrics))
    for name in metrics:
        if not isinstance(name, str) or (named and name not in _BY_NAME):
            expected = "some of " + ", ".join(f'"{one}"' for one in _BY_NAME)
            raise ArgumentError("metrics", expected if named else "names", describe(name))
    return {name: _BY_NAME[name] for name in metrics} if named else dict(metrics)


def _checked(metric: Any) -> tuple[CurveMetric, dict[str, Any]]:
    """The function of a metric and the options that it has."""
    function, options = (metric.func, metric.keywords) if type(metric) is partial else (metric, {})
    names = ", ".join(_BY_NAME)
    if not any(function is one for one in _PLANNERS) or (type(metric) is partial and metric.args):
        raise ArgumentError("metrics", f"{names} or a functools.partial of one with options", describe(metric))
    for option in options:
        if option not in _defaults(function):
            expected = f"options of {function.__name__} ({', '.join(_defaults(function))})"
            raise ArgumentError("metrics", expected, repr(option))
    return function, dict(options)


def _defaults(function: CurveMetric) -> dict[str, Any]:
    """The options of a metric that may differ between those of a sweep."""
    parameters = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY and one.name != _OF_THE_SWEEP}


def _rank_alike(one: Game, other: Game) -> bool:
    """Whether two games with ties broken alike have the same order of pixels in every row."""
    return torch.equal(one.finite, other.finite) and torch.equal(one.importance, other.importance)


def _agree(one: Fill, other: Fill) -> bool:
    """Whether two fills put the same in place of the same pixels."""
    if one is other:
        return True
    if isinstance(one, ConstantFill) and isinstance(other, ConstantFill):
        pairs = zip(one.values, other.values, strict=True)
        return all(first.dtype == second.dtype and torch.equal(first, second) for first, second in pairs)
    return isinstance(one, KeptMean) and type(one) is type(other)


def _distinct(values: Sequence[Any], alike: Callable[[Any, Any], bool]) -> list[int]:
    """A number for each value, the same for those that are alike, in the order in which they come first."""
    first: list[Any] = []
    numbers = []
    for value in values:
        number = next((place for place, other in enumerate(first) if alike(other, value)), len(first))
        first += [value] if number == len(first) else []
        numbers.append(number)
    return numbers


def _point(fill: int, game: int, kept: tuple[int, int], n_pixels: int) -> _Point:
    """The image that keeps these ranks: with all kept it is the input, with none the fill, whoever asks."""
    if kept == (0, n_pixels):
        return _Point(0, 0, 0, n_pixels)
    return _Point(fill, 0, 0, 0) if kept[0] == kept[1] else _Point(fill, game, *kept)


def _ask(plans: Sequence[Plan], games: Sequence[int], fill: Fill, points: Sequence[_Point]) -> Tensor:
    """What the model says (F, N, 2) of images with one fill."""
    used = list(dict.fromkeys(point.game for point in points))
    ranks = [plans[games.index(number)].game.ranks for number in used]
    together = ranks[0] if len(ranks) == 1 else tuple(map(torch.cat, zip(*ranks, strict=True)))
    game = plans[0].game
    return game.ask(together, fill, [(used.index(point.game), point.first, point.last) for point in points])
