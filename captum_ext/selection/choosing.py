"""`choose`: methods compared on a model's images, group by group, until it is clear which to use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from captum_ext.core.checks import describe
from captum_ext.core.optional import require
from captum_ext.core.types import ForwardFunc, TargetFunc
from captum_ext.core.warn import warn_caller
from captum_ext.dataset.run import progress
from captum_ext.exceptions import ArgumentError, ArgumentTypeError, CaptumExtError, RunFolderError
from captum_ext.selection.budgets import Budget, fitted, keep_plan, kept_plan
from captum_ext.selection.candidates import CANDIDATES, Candidate, candidate_of
from captum_ext.selection.checks import checked
from captum_ext.selection.choice import Choice, choice_of, with_checks
from captum_ext.selection.controls import CONTROLS
from captum_ext.selection.deciding import Race
from captum_ext.selection.entrants import Entrant
from captum_ext.selection.options import ChooseOptions
from captum_ext.selection.said import Said
from captum_ext.selection.subjects import Subjects, subjects_of

_RESERVED = "/\\:"
_MOST_CHECKED = 5


def choose(
    model: ForwardFunc,
    dataset: Dataset[Any] | DataLoader[Any] | Sequence[Any],
    out: str | PathLike[str],
    *,
    methods: Sequence[str] | Mapping[str, Any] | None = None,
    controls: Sequence[str] | Mapping[str, Any] | None = None,
    target: int | str | TargetFunc | None = "predicted",
    references: Tensor | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    options: ChooseOptions = ChooseOptions(),
) -> Choice:
    """Which method to use for a model on these images, at this cost, and whether any is better than its controls
    (extras `dataset`, `compare`).

    All methods get the same budget. Images come in small groups; after each group, methods that are significantly worse
    than the leader are dropped (see `decide`, also for what may go wrong how often), and no more images are used once
    one method is left that beats its controls. What decides is the mean of some criteria, each a share of the score,
    for each image. The answer says so where a method that it names optimises one of them itself, and what the other
    criteria say.

    Args:
        model: to explain: a module, an `AdaptedModel`, or another function from images to scores.
        dataset: images (C, H, W) by index, or in order with a length, as for `attribute_dataset`; at least five.
        out: folder. Each method's and control's rows are a run in `out`/methods or `out`/controls, which the page of
            `captum-ext view` shows; a comparison that was stopped goes on from there.
        methods: names out of `CANDIDATES`, of `captum_ext.attr.METHODS`, or MODULE:CLASS, whose code is run; or a
            mapping of your own names to such names, classes, objects with `attribute(inputs, target=...)` or functions
            `f(inputs, target)`. None: all `CANDIDATES`; what needs `references` is left out without them.
        controls: what has to be beaten, likewise, by names out of `CONTROLS`. None: all of them.
        target: class to explain, as for `attribute_dataset`.
        references: images (K, C, H, W) for methods that need some, none of which is explained.
        mean: of the model's normalisation, for values in [0, 1]; None: the adapted model's, or not known.
        std: see `mean`.
        options: budget, criteria, groups, level, seed, and where the images' objects are.

    Returns:
        The answer with its tables; `print` shows it as a sentence.

    Raises:
        ArgumentError, ArgumentTypeError: an argument that cannot be used, fewer than five images, or no method left.
        RunFolderError: `out` holds the rows of other images, targets or settings, or is in use.
        MissingExtraError: pandas or pyarrow is not installed.

    A method or control that fails is left out, and the answer names it with the reason; so is one without a score on
    more than a tenth of the images. A method gets a copy of the images, which it may change.

    Example:
        >>> import tempfile, torch
        >>> from captum_ext.selection import ChooseOptions, choose
        >>> images = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)).eval()
        >>> model[1].weight.data = torch.linspace(-1, 1, 128).reshape(2, 64)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     options = ChooseOptions(gradients=4, decide_by=("deletion",), beside=(), show_progress=False)
        ...     found = choose(model, torch.utils.data.TensorDataset(images), folder, methods=["ig", "idgi"],
        ...                    controls=["random"], options=options)
        >>> found.answer.n_available, found.answer.controls
        (10, ('random',))
    """
    if not isinstance(options, ChooseOptions):
        raise ArgumentTypeError("options", "ChooseOptions", describe(options))
    require("pyarrow.parquet", "dataset")  # or else every method would fail, each with this error
    asked = _by_name("methods", methods, CANDIDATES, least=1)
    against = _by_name("controls", controls, CONTROLS, least=0)
    for name in asked.keys() & against.keys():
        raise ArgumentError("controls", "under names that no method has", repr(name))
    subjects = subjects_of(model, dataset, target, references, mean, std, options)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    race = Race(tuple(asked), tuple(against), len(subjects), group_size=options.group_size, alpha=options.alpha)
    said = Said()
    entrants = _entrants(folder, asked, against, subjects, race, options, said)
    with progress(options.show_progress, len(subjects)) as on_done:
        for look in race.looks:
            running = [name for name in (*against, *race.active) if name in entrants]
            for name in running:
                _go_on(entrants[name], look, race, entrants, said)
            on_done(look, len(subjects))
            scores = {name: one.scores(options.decide_by, look) for name, one in entrants.items()}
            race.look(scores, scores)
            if race.decided or not race.active:
                break
    choice = choice_of(race, entrants, options, folder)
    choice = with_checks(choice, {name: _checked(entrants[name], subjects, said) for name in _finalists(choice)})
    said.tell()
    for name, entrant in entrants.items():
        if entrant.mutates:
            warn_caller(f"{name} changes the images that it is given in place; it was given copies.")
    return choice


def _by_name(argument: str, given: Any, known: Mapping[str, Candidate], least: int) -> dict[str, Candidate]:
    """Candidates by name, those of `known` where nothing is given."""
    if given is None:
        return dict(known)
    if isinstance(given, str) or not isinstance(given, Sequence | Mapping):
        raise ArgumentTypeError(argument, "a sequence of names, or a mapping of names to methods", describe(given))
    named = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given)
    if len(named) < least:
        raise ArgumentError(argument, f"at least {least}", "none")
    found = {}
    for name, value in named.items():
        if not isinstance(name, str) or not name.strip() or name.startswith("."):
            raise ArgumentTypeError(argument, "names", describe(name))
        found[name] = candidate_of(argument, name, value, known)
    return found


def _entrants(
    folder: Path,
    methods: Mapping[str, Candidate],
    controls: Mapping[str, Candidate],
    subjects: Subjects,
    race: Race,
    options: ChooseOptions,
    said: Said,
) -> dict[str, Entrant]:
    """Methods and controls that can be made, with budgets; what cannot is left out of the race."""
    about = {"gradients": options.gradients, "seconds": options.seconds, "images": len(subjects)}
    known = kept_plan(folder, about) or {}
    budgets: dict[str, Budget] = dict(known)
    entrants: dict[str, Entrant] = {}
    setting = subjects.setting
    for kind, candidates in (("methods", methods), ("controls", controls)):
        for name, candidate in candidates.items():
            place = folder / kind / "".join("." if letter in _RESERVED else letter for letter in name)
            try:
                with said.of(name):
                    if name not in budgets:
                        first, explained = subjects.first, subjects.first_target
                        budgets[name] = fitted(candidate, setting, first, explained, options.seconds)
                entrants[name] = Entrant(name, candidate, budgets[name], place, subjects, options)
            except Exception as error:  # whatever a caller's method raises: it is named
                race.leave_out(name, _reason(error))
    if budgets != known:
        keep_plan(folder, about, budgets)
    return entrants


def _go_on(entrant: Entrant, look: int, race: Race, entrants: dict[str, Entrant], said: Said) -> None:
    """Explain images up to a look; what fails goes no further."""
    try:
        with said.of(entrant.name):
            entrant.run(look)
    except Exception as error:  # whatever a caller's method raises: it is named
        if isinstance(error, RunFolderError) or (isinstance(error, ArgumentError) and error.argument == "masks"):
            raise
        race.leave_out(entrant.name, _reason(error))
        del entrants[entrant.name]


def _finalists(choice: Choice) -> list[str]:
    """Methods in the answer that are looked at more closely."""
    return list(choice.answer.methods[:_MOST_CHECKED]) if choice.options.n_checked else []


def _checked(entrant: Entrant, subjects: Subjects, said: Said) -> dict[str, float]:
    with said.of(entrant.name):
        return checked(entrant.candidate, entrant.budget, subjects.setting, entrant.n_checked)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, CaptumExtError) else f"{type(error).__name__}: {text}"
