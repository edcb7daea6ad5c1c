"""Random numbers of one sample: the same wherever, whenever and beside whatever it is explained."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch

_SEEDED: ContextVar[bool] = ContextVar("seeded", default=False)


def seed_of(seed: int, index: int) -> int:
    """The seed of one sample of a run, below 2^63."""
    return int(np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator_of(seed: int, index: int) -> torch.Generator:
    """The generator of one sample of a run."""
    return torch.Generator().manual_seed(seed_of(seed, index))


def fresh_generator() -> torch.Generator:
    """A generator where the caller gave none: not repeatable, but for a block of `globally_seeded`."""
    generator = torch.Generator()
    if _SEEDED.get():
        generator.manual_seed(int(torch.randint(2**62, (), device="cpu")))
    else:
        generator.seed()
    return generator


@contextmanager
def python_random_kept() -> Iterator[None]:
    """Put the state of Python's `random` back: some libraries draw from it when they are imported."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


@contextmanager
def globally_seeded(
    seed: int, index: int, device: torch.device | None = None, watch: bool = False
) -> Iterator[Callable[[], bool]]:
    """The global random states of a sample inside the block, for what knows no generators; then put back.

    Yields a function that says, with `watch`, whether anything was drawn from them so far.
    """
    on_gpu = device is not None and device.type == "cuda"
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    chosen = seed_of(seed, index)
    token = _SEEDED.set(True)
    try:
        with torch.random.fork_rng(devices=[device] if on_gpu else []):
            torch.default_generator.manual_seed(chosen)  # torch.manual_seed would seed every accelerator
            if on_gpu:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(chosen)
            np.random.seed(chosen % 2**32)  # noqa: NPY002 (Captum's GradientShap draws its baselines from it)
            random.seed(chosen)
            before = _states(device if on_gpu else None) if watch else ()
            yield lambda: watch and _states(device if on_gpu else None) != before
    finally:
        _SEEDED.reset(token)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


def _states(device: torch.device | None) -> tuple[Any, ...]:
    state: dict[str, Any] = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    cuda = b"" if device is None else torch.cuda.get_rng_state(device).numpy().tobytes()
    return torch.get_rng_state().numpy().tobytes(), state["key"].tobytes(), state["pos"], random.getstate(), cuda
