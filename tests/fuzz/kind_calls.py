"""Odd values for the arguments of the public functions, one at a time."""

import warnings

import numpy as np
import torch

from captum_ext.exceptions import CaptumExtError
from tests.fuzz.arguments import Same, Verdict
from tests.fuzz.call_table import ENTRIES, ModelsOwnError
from tests.fuzz.engine import Broken, Case, Outcome

NAME = "calls"
SAYS = "an odd value for an argument of a public function"
_RELATIVE = 1e-4  # float64 in place of float32


def case(random, folder):
    """One function, one of its arguments, one odd value."""
    name = random.choice(sorted(ENTRIES))
    argument = random.choice(sorted(ENTRIES[name].kinds))
    kind, usual = ENTRIES[name].kinds[argument], ENTRIES[name].usual.get(argument)
    label, value = kind.odd(random, usual)
    return Case(f"{name}({argument}={label})", lambda: tried(ENTRIES[name], argument, label, value))


def tried(entry, argument, label, value):
    """Refused by name, or right."""
    verdict = entry.kinds[argument].judge(label, value, entry.usual.get(argument))
    try:
        result = called(entry, argument, value)
    except CaptumExtError as error:
        names = (argument, *entry.aliases.get(argument, ()))
        if not any(name in str(error) for name in names):
            raise Broken(f"the error names another argument: {type(error).__name__}: {error}") from error
        if isinstance(verdict, Same) or verdict is Verdict.FINITE:
            raise Broken(f"a right value is refused: {error}") from error
        return Outcome.REFUSED
    except ModelsOwnError:
        return Outcome.REFUSED
    except Exception as error:
        raise Broken(f"an error from the depths: {type(error).__name__}: {str(error)[:300]}") from error
    if verdict is Verdict.REFUSED:
        raise Broken(f"a wrong value is accepted: {str(result)[:200]}")
    if isinstance(verdict, Same):
        compare(result, called(entry, argument, verdict.value))
    elif not entry.nan_is_right and any(not np.isfinite(one).all() for one in flat(result)):
        raise Broken(f"a result that is not finite: {str(result)[:300]}")
    return Outcome.RIGHT


def called(entry, argument, value):
    """The result with one argument changed; functions among the usual values are called for a fresh one."""
    given = {name: one() if callable(one) and name == "generator" else one for name, one in entry.usual.items()}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return entry.call(**{**given, argument: value})


def flat(result):
    """The numbers of a result, as arrays."""
    if isinstance(result, torch.Tensor):
        return [result.detach().cpu().double().numpy()]
    if isinstance(result, np.ndarray | float | int):
        return [np.asarray(result, dtype=float)]
    if isinstance(result, tuple | list):
        return [array for one in result for array in flat(one)]
    if hasattr(result, "__dataclass_fields__"):
        return [array for name in result.__dataclass_fields__ for array in flat(getattr(result, name))]
    return []


def compare(result, expected):
    """The same numbers, NaN where NaN is."""
    pairs = list(zip(flat(result), flat(expected), strict=True))
    scale = max((np.abs(np.nan_to_num(other)).max() for _, other in pairs if other.size), default=0.0)
    for one, other in pairs:
        if one.shape != other.shape or not np.allclose(
            one, other, rtol=_RELATIVE, atol=_RELATIVE * scale, equal_nan=True
        ):
            raise Broken(f"another result: {str(one)[:150]} instead of {str(other)[:150]}")
