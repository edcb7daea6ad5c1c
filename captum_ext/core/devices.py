"""Devices: where numbers are planned, which have no float64, and the way from one to another."""

from __future__ import annotations

import torch
from torch import Tensor

CPU = torch.device("cpu")  # named wherever numbers are planned: the caller's default device may be another
_WITHOUT_FLOAT64 = {"mps"}


def has_float64(device: torch.device) -> bool:
    """Whether the device computes in float64."""
    return device.type not in _WITHOUT_FLOAT64


def double(value: Tensor) -> Tensor:
    """The tensor in float64: on its device, or on the CPU where the device has no float64."""
    return value.double() if has_float64(value.device) else value.cpu().double()


def doubles(*columns: Tensor) -> tuple[Tensor, ...]:
    """Numbers (P,) in float64 on the CPU, with one copy of all of them where they are on one device."""
    device = columns[0].device
    if device.type == "cpu" or not has_float64(device) or any(column.device != device for column in columns):
        return tuple(column.cpu().double() for column in columns)
    return tuple(torch.stack([column.double() for column in columns]).cpu())


def on_device(value: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device, in float32 where it is float64 and the device has none.

    On the way to CUDA it goes through pinned memory, so that the chunk after the one that the device works on can be
    prepared: an ordinary copy waits until the device has nothing left to do.
    """
    value = value.float() if value.dtype == torch.float64 and not has_float64(device) else value
    if device.type != "cuda" or value.device.type != "cpu":
        return value.to(device)
    return value.pin_memory().to(device, non_blocking=True)
