"""Odd values: what a caller may pass by mistake, by curiosity, or from another library."""

import random
from decimal import Decimal
from fractions import Fraction

import numpy as np
import torch

SCALARS = {
    "None": None,
    "True": True,
    "False": False,
    "zero": 0,
    "one": 1,
    "two": 2,
    "three": 3,
    "five": 5,
    "minus one": -1,
    "minus 2^63": -(2**63),
    "2^31": 2**31,
    "2^63 - 1": 2**63 - 1,
    "2^63": 2**63,
    "10^30": 10**30,
    "10^400": 10**400,
    "0.0": 0.0,
    "-0.0": -0.0,
    "a half": 0.5,
    "1.0": 1.0,
    "2.5": 2.5,
    "-0.5": -0.5,
    "1e-45": 1e-45,
    "1e-320": 1e-320,
    "1e308": 1e308,
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "int64(3)": np.int64(3),
    "uint8(2)": np.uint8(2),
    "float32(0.5)": np.float32(0.5),
    "float64(nan)": np.float64("nan"),
    "bool_(True)": np.bool_(True),
    "a fraction": Fraction(1, 2),
    "a decimal": Decimal("0.5"),
    "a complex number": complex(1, 1),
    "no text": "",
    "a digit": "3",
    "auto": "auto",
    "a line break": "a\nb",
    "bytes": b"mean",
    "an object": object(),
    "a class": int,
    "an ellipsis": ...,
    "a range": range(3),
    "a set": {1, 2},
    "a mapping": {"n": 1},
    "an empty mapping": {},
    "an empty list": [],
    "an empty tuple": (),
    "a list of one": [3],
    "a tuple of one": (3,),
    "a list of text": ["a"],
    "nested lists": [[1.0, 2.0], [3.0]],
    "array(3)": np.array(3),
    "array(2.5)": np.array(2.5),
    "array([1, 2])": np.array([1, 2]),
    "array of objects": np.array([None, "a"], dtype=object),
}


def tensors() -> dict[str, torch.Tensor]:
    """Small tensors in places where numbers or words belong."""
    return {
        "tensor(3)": torch.tensor(3),
        "tensor(0)": torch.tensor(0),
        "tensor(2.5)": torch.tensor(2.5),
        "tensor(True)": torch.tensor(True),
        "tensor([3])": torch.tensor([3]),
        "tensor([1, 2])": torch.tensor([1, 2]),
        "tensor([])": torch.tensor([]),
        "tensor(nan)": torch.tensor(float("nan")),
        "a meta number": torch.tensor(3, device="meta"),
        "a sparse vector": torch.tensor([0.0, 1.0]).to_sparse(),
        "a complex tensor": torch.tensor([1 + 1j, 2]),
        "a nested tensor": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
    }


#: Other forms of the same numbers: results have to be the same.
ALIKE = {
    "not contiguous": lambda x: x.transpose(0, -1).contiguous().transpose(0, -1),
    "with a gradient": lambda x: x.clone().requires_grad_(),
    "a parameter": lambda x: torch.nn.Parameter(x.clone()),
    "strided": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "part of a larger one": lambda x: torch.cat([x, x * 0 + 7])[: len(x)],
    "a negative view": lambda x: torch._neg_view(-x),
    "float64": lambda x: x.double(),
}
#: What no argument that takes a dense tensor of numbers can take.
NEVER = {
    "sparse": lambda x: x.to_sparse(),
    "compressed sparse": lambda x: x.reshape(len(x), -1).to_sparse_csr(),
    "meta": lambda x: x.to("meta"),
    "float8": lambda x: x.to(torch.float8_e4m3fn),
    "mkldnn": lambda x: x.to_mkldnn(),
    "complex": lambda x: x.to(torch.complex64),
    "nested": lambda x: torch.nested.nested_tensor(list(x)),
    "quantised": lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
    "an array": lambda x: x.numpy(),
    "a list": lambda x: x.tolist(),
    "a generator": lambda x: (one for one in x),
    "a tensor as text": str,
}


def pick(random: random.Random, values: dict):
    """A name and its value."""
    name = random.choice(sorted(values))
    return name, values[name]
