"""What an argument takes, said apart from the code that checks it: a value is refused by name, or stands for another.

Each kind has `odd(random, usual)`, a name and a value to try, and `judge(name, value, usual)`, what has to happen.
"""

from dataclasses import dataclass, field
from enum import Enum
from numbers import Real

import numpy as np
import torch

from tests.fuzz.odd_values import ALIKE, NEVER, SCALARS, pick, tensors


class Verdict(Enum):
    """What has to happen, where it is not a result to be compared with."""

    REFUSED = "refused by name"
    FINITE = "a finite result"
    EITHER = "refused by name, or a finite result"


@dataclass(frozen=True)
class Same:
    """The result has to be that of another value."""

    value: object


@dataclass(frozen=True)
class Entry:
    """A function of keyword arguments, their usual values, and what they take."""

    call: object
    usual: dict
    kinds: dict
    aliases: dict = field(default_factory=dict)  # what an error may call an argument
    nan_is_right: bool = False  # where a number is not defined


def any_scalar(random):
    """A number, a word, a container, or a small tensor."""
    return pick(random, {**SCALARS, **tensors()})


def as_integer(value):
    """The integer that a value is; None if it is none. Tensors and arrays of one integer are integers."""
    if isinstance(value, torch.Tensor):
        whole = value.device.type != "meta" and value.layout is torch.strided and not value.is_nested
        whole = whole and value.numel() == 1 and value.dtype in (torch.int64, torch.int32, torch.uint8)
        return int(value) if whole else None
    if isinstance(value, np.ndarray):
        return int(value) if value.ndim == 0 and value.dtype.kind in "iu" else None
    if isinstance(value, bool | np.bool_):
        return None
    return int(value) if isinstance(value, int | np.integer) else None


class Integer:
    """Integers in a range."""

    def __init__(self, least, most=2**63 - 1, none=False, same=True, test=None):
        self.least, self.most, self.none, self.same = least, most, none, same
        self.test = test or (lambda number: True)

    def odd(self, random, usual):
        return any_scalar(random)

    def judge(self, name, value, usual):
        if value is None and self.none:
            return Verdict.FINITE
        number = as_integer(value)
        if number is None or not self.least <= number <= self.most or not self.test(number):
            return Verdict.REFUSED
        return Same(number) if self.same else Same(usual)


class Number:
    """Real numbers that pass a test."""

    def __init__(self, test, none=False, words=(), right=()):
        self.test, self.none, self.words, self.right = test, none, words, right

    def odd(self, random, usual):
        return any_scalar(random)

    def judge(self, name, value, usual):
        if (value is None and self.none) or (isinstance(value, str) and value in self.words):
            return Verdict.FINITE
        if name in self.right:
            return Verdict.EITHER
        if isinstance(value, bool | np.bool_ | torch.Tensor | np.ndarray) or not isinstance(value, Real):
            return Verdict.REFUSED
        try:
            number = float(value)
        except OverflowError:
            return Verdict.REFUSED
        return Same(number) if self.test(number) else Verdict.REFUSED


class Choice:
    """Words, and nothing else but None where that is one of them."""

    def __init__(self, *words):
        self.words = words

    def odd(self, random, usual):
        return pick(random, {**{str(word): word for word in self.words}, **SCALARS, **tensors()})

    def judge(self, name, value, usual):
        known = any(value is None if word is None else isinstance(value, str) and value == word for word in self.words)
        return Verdict.FINITE if known else Verdict.REFUSED


class Flag:
    """True or False."""

    def __init__(self, none=False):
        self.none = none

    def odd(self, random, usual):
        return any_scalar(random)

    def judge(self, name, value, usual):
        known = isinstance(value, bool | np.bool_) or (value is None and self.none)
        return Verdict.FINITE if known else Verdict.REFUSED


class Dense:
    """A floating tensor of the usual one's shape, or something else.

    `scalar` says what happens with a number, `nonfinite` and `integers` with such numbers in the tensor, `shape` with
    another shape; `like` is a tensor that fits, where the usual value is none.
    """

    def __init__(
        self,
        scalar=Verdict.REFUSED,
        nonfinite=Verdict.REFUSED,
        integers=Verdict.REFUSED,
        shape=Verdict.REFUSED,
        none=Verdict.REFUSED,
        words=(),
        like=None,
    ):
        self.like = like
        self.scalar, self.nonfinite, self.integers = scalar, nonfinite, integers
        self.shape, self.none, self.words = shape, none, words

    def odd(self, random, usual):
        made = {**ALIKE, **NEVER}
        changed = {
            "NaN": lambda x: _with(x, float("nan")),
            "infinity": lambda x: _with(x, float("inf")),
            "minus infinity in the last": lambda x: _with(x, float("-inf"), -1),
            "integers": lambda x: (x * 100).long(),
            "booleans": lambda x: x > 0,
            "no rows": lambda x: x[:0],
            "a dimension less": lambda x: x[..., 0],
            "a dimension more": lambda x: x[..., None, None],
            "more rows": lambda x: torch.cat([x, x, x]),
            "another size": lambda x: torch.cat([x, x], -1),
            "an empty tuple of it": lambda x: (),
            "a tuple with text": lambda x: (x, "x"),
            "twice": lambda x: (x, x),
        }
        if random.random() < 0.3:
            return any_scalar(random)
        name, make = pick(random, {**made, **changed})
        return name, make(usual if self.like is None else self.like)

    def judge(self, name, value, usual):
        if name in ALIKE:
            return Same(usual if self.like is None else self.like)
        if value is None:
            return self.none
        if isinstance(value, str) and value in self.words:
            return Verdict.FINITE
        if name in NEVER or isinstance(value, np.ndarray):
            return Verdict.REFUSED
        if isinstance(value, Real) and not isinstance(value, bool | np.bool_):
            if self.scalar is not Verdict.REFUSED and not np.isfinite(float(min(max(value, -1e300), 1e300))):
                return Verdict.REFUSED
            return self.scalar if abs(value) < 1e20 or self.scalar is Verdict.REFUSED else Verdict.EITHER
        if not isinstance(value, torch.Tensor | tuple | list):
            return Verdict.REFUSED
        if name in ("NaN", "infinity", "minus infinity in the last"):
            return self.nonfinite
        if name == "integers":
            return self.integers
        if name == "booleans":
            return Verdict.EITHER if self.integers is not Verdict.REFUSED else Verdict.REFUSED
        return self.shape


def _with(x, number, place=0):
    changed = x.clone()
    changed.view(-1)[place] = number
    return changed
