"""Arguments with forms of their own: targets, fractions, sizes, and those that take anything or nothing odd."""

import math

import numpy as np
import torch

from tests.fuzz.arguments import Same, Verdict, any_scalar


class Target:
    """A class index from 0 to 2, counted from the end if there is one for all rows, or one for each of two rows; or
    functions of a row's output, where no class is needed."""

    def odd(self, random, usual):
        given = {
            "one for each": [2, 0],
            "a tensor of each": torch.tensor([2, 0]),
            "too many": [0, 1, 2],
            "out of range": 3,
            "one out of range": [0, 3],
            "a negative one": [-1, 0],
            "a word": "cat",
            "floats": torch.tensor([1.0, 0.0]),
            "sparse": torch.tensor([1, 0]).to_sparse(),
            "meta": torch.tensor([1, 0], device="meta"),
            "a tuple": (1,),
            "a tuple out of range": (5,),
            "a tuple of too many": (1, 1, 1),
            "tuples": [(1,), (0,)],
            "a column": torch.tensor([[1], [0]]),
            "a function": _last,
            "functions": [_last, _last],
            "too many functions": [_last, _last, _last],
            "a function and an index": [_last, 1],
            "functions in a tuple": (_last, _last),
            "a function of several numbers": _whole,
            "a function of a plain number": _plain,
            "a function that fails": _failing,
            "a class": Same,
        }
        if random.random() < 0.4:
            return any_scalar(random)
        name = random.choice(sorted(given))
        return name, given[name]

    def __init__(self, none=False):
        self.none = none

    def judge(self, name, value, usual):
        if value is None and self.none:
            return Verdict.FINITE
        right = {
            "one for each": Same([2, 0]),
            "a tensor of each": Same([2, 0]),
            "a tuple": Same(1),
            "tuples": Same([1, 0]),
        }
        if name in right:
            return right[name]
        if name in ("a function", "functions"):
            return Verdict.EITHER
        if isinstance(value, int) and not isinstance(value, bool):
            return Same(value % 3) if -3 <= value <= 2 else Verdict.REFUSED
        if isinstance(value, torch.Tensor) and value.device.type != "meta" and value.layout is torch.strided:
            if not value.is_nested and value.numel() == 1 and value.dtype == torch.int64:
                return Same(int(value)) if -3 <= int(value) <= 2 else Verdict.REFUSED
            if not value.is_nested and value.dtype == torch.int64 and value.dim() == 1 and len(value) == 2:
                inside = int(value.min()) >= 0 and int(value.max()) <= 2
                return Same(value.tolist()) if inside else Verdict.REFUSED
        if isinstance(value, np.integer) or (isinstance(value, tuple) and len(value) == 1):
            return Verdict.EITHER
        return Verdict.REFUSED


def _last(output):
    return output[2]


def _whole(output):
    return output


def _plain(output):
    return float(output[2])


def _failing(output):
    return output["logits"]


class Sequence:
    """Increasing fractions strictly between 0 and 1."""

    def odd(self, random, usual):
        given = {
            "one fraction": (0.5,),
            "a list": [0.2, 0.6],
            "an array": np.array([0.2, 0.6]),
            "a tensor": torch.tensor([0.25, 0.5]),
            "falling": (0.6, 0.2),
            "twice the same": (0.2, 0.2),
            "zero": (0.0, 0.5),
            "one is the end": (0.5, 1.0),
            "with NaN": (0.2, math.nan),
            "with infinity": (0.2, math.inf),
            "text": ("a", "b"),
            "of none": (None,),
            "nested": ((0.2,), (0.3,)),
            "complex": (0.2, 1j),
        }
        if random.random() < 0.4:
            return any_scalar(random)
        name = random.choice(sorted(given))
        return name, given[name]

    def judge(self, name, value, usual):
        right = {
            "one fraction": (0.5,),
            "a list": (0.2, 0.6),
            "an array": (0.2, 0.6),
            "a tensor": (0.25, 0.5),
        }
        return Same(right[name]) if name in right else Verdict.REFUSED


class Size:
    """Two positive integers."""

    def odd(self, random, usual):
        given = {
            "a list": [4, 4],
            "one": (4,),
            "three": (4, 4, 4),
            "zero": (0, 4),
            "negative": (4, -4),
            "floats": (4.0, 4.0),
            "text": ("4", "4"),
            "torch.Size": torch.Size([4, 4]),
            "huge": (2**40, 4),
            "huge both": (10**5, 10**5),
            "beyond 2^63": (10**30, 4),
            "booleans": (True, True),
        }
        if random.random() < 0.4:
            return any_scalar(random)
        name = random.choice(sorted(given))
        return name, given[name]

    def judge(self, name, value, usual):
        if value is None and usual is None:
            return Verdict.FINITE
        return Same((4, 4)) if name in ("a list", "torch.Size") else Verdict.REFUSED


class Anything:
    """Whatever it is, it is refused by name or gives a finite result."""

    def odd(self, random, usual):
        return any_scalar(random)

    def judge(self, name, value, usual):
        return Verdict.EITHER


class Refused(Anything):
    """No odd value is right but those named."""

    def __init__(self, *right):
        self.right = right

    def judge(self, name, value, usual):
        return Verdict.EITHER if name in self.right else Verdict.REFUSED
