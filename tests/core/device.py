"""A device that is not the CPU, on the CPU: with or without float64, as CUDA and MPS are.

Its tensors hold a tensor of the CPU and answer as MPS does: float64 is refused, also on the way to the CPU, and so is
what mixes devices, but for numbers and indices. Its type is "meta", the one that autograd serves without a driver.
"""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from captum_ext.core import devices

DEVICE = torch.device("meta")
REFUSAL = "Cannot convert a MPS Tensor to float64 dtype"

_aten = torch.ops.aten
_COPIES = {_aten._to_copy.default, _aten.copy_.default}
_INDEXED = {
    _aten.index.Tensor,
    _aten._unsafe_index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
}


class OnDevice(torch.Tensor):
    """A tensor on the device; `held` is where its numbers are."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )

    def __init__(self, held):
        self.held = held

    def __repr__(self):
        return f"OnDevice({self.held})"

    def tolist(self):
        return self.held.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, kinds, args=(), kwargs=None):
        raise AssertionError(f"{func} outside of the device's block")


class _Operations(TorchDispatchMode):
    def __init__(self, has_float64):
        super().__init__()
        self.has_float64 = has_float64

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
        here = [isinstance(one, OnDevice) for one in given]
        lands_here = torch.device(kwargs["device"]) == DEVICE if kwargs.get("device") is not None else any(here)
        if func in (*_INDEXED, _aten.copy_.default):
            lands_here = here[0]
        elif func not in _COPIES and any(here):
            mixed = [one.shape for one, is_here in zip(given, here, strict=True) if not is_here and one.dim() > 0]
            if mixed:
                raise RuntimeError(f"Expected all tensors to be on the same device, but {func} got {mixed} of the CPU")
        if lands_here and kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        args_there, kwargs_there = tree_map(lambda one: one.held if isinstance(one, OnDevice) else one, (args, kwargs))
        result = func(*args_there, **kwargs_there)
        touches = lands_here or (func in _COPIES and any(here))
        if touches and not self.has_float64 and any(one.dtype == torch.float64 for one in _tensors(result)):
            raise TypeError(REFUSAL)
        for place, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:  # in place: the tensor itself
                return args[place] if place < len(args) else kwargs[argument.name]
        return tree_map(lambda one: OnDevice(one) if isinstance(one, torch.Tensor) and lands_here else one, result)


class _Factories(TorchFunctionMode):
    """torch.tensor and torch.as_tensor, which write to the device beside all modes."""

    def __torch_function__(self, func, kinds, args=(), kwargs=None):
        kwargs = kwargs or {}
        makes = func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == DEVICE
        if makes and not isinstance(args[0], torch.Tensor):
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


def _tensors(value):
    return [one for one in tree_flatten(value)[0] if isinstance(one, torch.Tensor)]


@contextmanager
def device(monkeypatch, has_float64):
    """The block in which the device exists; in it the package knows whether it has float64."""
    monkeypatch.setattr(devices, "_WITHOUT_FLOAT64", set() if has_float64 else {DEVICE.type})
    with _Operations(has_float64), _Factories():
        yield
