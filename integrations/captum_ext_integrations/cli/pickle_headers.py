"""What a pickle of weights says of its tensors, read without making one of them or anything else that it names.

`torch.load` with weights_only runs no code of a file, but it makes what the file asks for: a `bytearray` of any length,
storages of any size. Here every name of the pickle stands for something that only notes what it is given. Names of
torch and of Python that have no place among weights are refused, and so are operations that Python's own unpickler
takes memory or time for. What else a trainer keeps beside its weights, as the options of a run, is nothing: neither
here nor when the file is read, where the same stand-ins take its place.
"""

from __future__ import annotations

import pickle
import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import torch

_MOST_OPERATIONS = 500_000
_DEEPEST = 20  # tuples in tuples; the hash of each takes twice as long
_LONGEST = 1000  # bytes of a number
#: What torch calls storages, by the size of their numbers.
_NUMBERS = {
    "UntypedStorage": 1,
    "ByteStorage": 1,
    "CharStorage": 1,
    "BoolStorage": 1,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "ShortStorage": 2,
    "FloatStorage": 4,
    "IntStorage": 4,
    "DoubleStorage": 8,
    "LongStorage": 8,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "QUInt8Storage": 1,
    "QInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
}
# Where the names are that torch.load knows by itself, or never allows: of these only what is known here passes.
_TORCHS = {"torch", "torch.storage", "torch._utils", "torch._tensor", "torch.serialization", "torch.nn.parameter"}
_TORCHS |= {"torch.sparse", "torch.cuda", "torch.cuda.sparse"}
_TORCHS_INSIDE = ("torch.nested.", "torch.distributed.", "torch._dynamo.")
_PYTHONS = {"builtins", "collections", "_codecs", "sys", "os", "posix", "nt", "io", "_io", "subprocess", "importlib"}


@dataclass(frozen=True)
class Stored:
    """A tensor as a header describes it; `kind` says what it is where it is no plain one."""

    shape: tuple[int, ...]
    kind: str = ""


@dataclass(frozen=True)
class _Name:
    """What a pickle calls by name, which is nothing here."""

    name: str

    def __call__(self, *_: Any) -> _Name:
        return self


class Other:
    """Stands for an object of any other class, whatever it is made of, and is nothing.

    Attributes:
        name: of the class that the file names.
        is_mapping: whether the file gives it items, as a kind of dictionary.
    """

    __slots__ = ()
    name = ""
    is_mapping = False

    def __new__(cls, *_: Any) -> Any:
        """Of a kind of dictionary a plain one, the only kind that torch.load gives items to."""
        return OrderedDict() if cls.is_mapping else super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _key: Any, _value: Any) -> None:
        type(self).is_mapping = True


class _Header(pickle.Unpickler):
    """Notes tensors and the bytes of their storages, and what stands for names of others."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.stored: dict[str, int] = {}
        self.others: dict[str, type[Other]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name.

        Raises:
            pickle.UnpicklingError: it has no place in a state dict.
        """
        # As Python 2 and its protocol call them; so torch does it, too.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        known = _KNOWN.get(full)
        if known is not None:
            return known
        if module in ("torch", "torch.storage") and (
            name in _NUMBERS or isinstance(getattr(torch, name, None), torch.dtype)
        ):
            return _Name(name)
        if module in _TORCHS or full.startswith(_TORCHS_INSIDE) or module.partition(".")[0] in _PYTHONS:
            raise pickle.UnpicklingError(f"it names {full}, which has no place among weights")
        return self.others.setdefault(full, type("Other", (Other,), {"__slots__": (), "name": full}))

    def persistent_load(self, pid: Any) -> Any:
        """A storage."""
        kind, storage, key, _, length = pid[:5]
        if kind != "storage" or not isinstance(storage, _Name) or not isinstance(length, int) or length < 0:
            raise pickle.UnpicklingError("a storage that torch.save does not write")
        self.stored[str(key)] = max(self.stored.get(str(key), 0), length * _NUMBERS[storage.name])
        return _Name("storage")


@dataclass(frozen=True)
class Header:
    """What a pickle of weights says.

    Attributes:
        content: its object, in which tensors are `Stored`.
        stored: bytes of the storages by their names.
        others: what stands for classes that are neither torch's nor Python's.
    """

    content: Any
    stored: dict[str, int]
    others: dict[str, type[Other]]


def header_of_pickle(file: IO[bytes]) -> Header:
    """What a pickle says, without making anything of it.

    Raises:
        Exception: it is no pickle, or none of weights.
    """
    start = file.tell()
    skip_pickle(file)
    end = file.tell()
    file.seek(start)
    unpickler = _Header(file)
    content = unpickler.load()
    file.seek(end)
    return Header(content, unpickler.stored, unpickler.others)


def skip_pickle(file: IO[bytes]) -> None:
    """Read over a pickle, and refuse operations that would take more memory or time than its length deserves.

    Raises:
        Exception: it is no pickle, or such a one.
    """
    stack: list[int | None] = []  # how deep what stands there is; None: a mark
    memo: dict[int, int | None] = {}
    for number, (operation, argument, _) in enumerate(pickletools.genops(file)):
        name = operation.name
        if number > _MOST_OPERATIONS or name == "DUP":
            raise ValueError("a pickle that torch.save does not write")
        if name.startswith("LONG") and isinstance(argument, int) and argument.bit_length() > 8 * _LONGEST:
            raise ValueError("a pickle with a number of thousands of digits")
        if name == "MARK":
            stack.append(None)
        elif name == "MEMOIZE" or "PUT" in name:
            place = len(memo) if name == "MEMOIZE" else argument
            if not isinstance(place, int) or place > number:
                raise ValueError("a pickle that numbers objects it does not have")
            memo[place] = stack[-1]
        elif "GET" in name:
            stack.append(memo[int(argument)] if isinstance(argument, int) else 0)
        else:
            depth = _taken(stack, operation)
            if name.startswith(("TUPLE", "REDUCE", "FROZENSET", "NEWOBJ")):
                depth += 1
            if depth > _DEEPEST:
                raise ValueError("a pickle of tuples in tuples in tuples")
            stack += [depth] * len(operation.stack_after)


def _taken(stack: list[int | None], operation: pickletools.OpcodeInfo) -> int:
    """Take what an operation needs from the stack, and say how deep the deepest of it is."""
    wanted = operation.stack_before
    taken: list[int | None] = []
    if pickletools.markobject in wanted:
        while (top := stack.pop()) is not None:
            taken.append(top)
        wanted = wanted[: wanted.index(pickletools.markobject)]
    taken += [stack.pop() for _ in wanted]
    return max((depth or 0 for depth in taken), default=0)


def _tensor(storage: Any, _offset: Any, size: Any, *_: Any) -> Stored:
    if storage != _Name("storage") or not all(type(side) is int for side in size):
        raise pickle.UnpicklingError("a tensor that torch.save does not write")
    return Stored(tuple(size))


def _first(tensor: Any, *_: Any) -> Any:
    return tensor


def _of_class(function: Any, _class: Any, arguments: Any, *_: Any) -> Any:
    return function(*arguments)


def _other(kind: str) -> Callable[..., Stored]:
    def note(*_: Any) -> Stored:
        return Stored((), kind)

    return note


def _nothing(*_: Any) -> None:
    return None


_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _of_class,
    "torch._utils._rebuild_sparse_tensor": _other("sparse"),
    "torch._utils._rebuild_qtensor": _other("quantized"),
    "torch._utils._rebuild_meta_tensor_no_storage": _other("meta"),
    "torch._utils._rebuild_nested_tensor": _other("nested"),
    "torch._utils._rebuild_device_tensor_from_numpy": _other("foreign"),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _other("foreign"),
    "torch._utils._rebuild_wrapper_subclass": _other("wrapped"),
    "torch.nn.parameter.Parameter": _Name("Parameter"),
    "torch.serialization._get_layout": _nothing,
    "torch.Size": _nothing,
    "torch.device": _nothing,
    "_codecs.encode": _nothing,
    "collections.Counter": _nothing,
    "builtins.set": _nothing,
    "builtins.complex": _nothing,
    **{f"torch.{name}": _Name(name) for name in ("per_tensor_affine", "per_channel_affine", "per_tensor_symmetric")},
}
