"""What glibc keeps, seen in processes of their own: settings cannot be taken back, and every heap has its past."""

import gc
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from captum_ext.attr import RISE, SAMP, IntegratedGradients
from captum_ext.core import memory
from captum_ext.core.chunks import RowLimit, for_each_chunk
from captum_ext.core.memory import hold_freed_memory
from captum_ext.metrics import insertion

on_glibc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a habit of glibc")

PROGRAM = """
import resource, sys
from captum_ext.core.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        block = bytearray(2**26)
        del block
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = faults()
assert keep_freed_memory()
faults()
print(given_back, faults())
"""


@on_glibc
def test_blocks_that_are_allocated_again_and_again_are_not_cleared_each_time():
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    given_back, kept = map(int, found.stdout.split())
    assert given_back > 20  # a page at least for each of twenty blocks
    assert kept <= given_back / 10


NETWORK = """
import resource, torch
from captum_ext.attr import IntegratedGradients

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

def faults(work):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def faults_of_ten_chunks(call):
    # The smallest of some counts: where nothing is kept both are large, and a heap that grows does so once.
    return min(faults(lambda: call(48)) - faults(lambda: call(18)) for _ in range(4))

torch.set_num_threads(1)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 1), torch.nn.ReLU(), torch.nn.Conv2d(16, 4, 1), torch.nn.Flatten(2))
x = torch.rand(2, 3, 224, 224)
seen, given_back = [], []

def model(x):
    scores = net(x).mean(2)
    seen.append(resident())
    return scores

def explain(n):
    seen.clear()
    IntegratedGradients(model).attribute(x, target=0, n_steps=n, internal_batch_size=6)
    given_back.append(max(seen) - resident())

explain(18)
print(faults_of_ten_chunks(explain), max(given_back))
"""


@on_glibc
def test_a_call_keeps_for_its_next_pass_what_a_pass_freed_and_gives_it_back_at_its_end():
    faults, given_back = subprocess.run(
        [sys.executable, "-c", NETWORK], capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(faults) < 10 * 1000  # pages in ten more chunks; where nothing is held 80,000 or more
    assert float(given_back) > 40  # MB of what a chunk takes, more than 60; where all is kept 0


class Heavy(torch.nn.Module):
    def forward(self, x):
        return x.flatten(2).mean(2)


def broken(self, x):
    raise RuntimeError("broken")


def held():
    return None if memory._held is None else memory._held()


@on_glibc
@pytest.mark.parametrize(
    "call",
    [
        lambda x: IntegratedGradients(Heavy()).attribute(x, target=0, n_steps=8, internal_batch_size=1),
        lambda x: SAMP(Heavy()).attribute(x, target=0, n_steps=8, internal_batch_size=1),
        lambda x: RISE(Heavy()).attribute(x, target=0, n_samples=20, internal_batch_size=2),
        lambda x: insertion(Heavy(), x, x, 0, internal_batch_size=2),
    ],
    ids=["IntegratedGradients", "SAMP", "RISE", "insertion"],
)
def test_what_holds_the_memory_goes_with_the_call_also_after_an_error(call, monkeypatch):
    seen = []
    forward = Heavy.forward
    monkeypatch.setattr(Heavy, "forward", lambda self, x: (seen.append(held() is not None), forward(self, x))[1])
    assert held() is None
    gc.disable()
    try:
        call(torch.rand(1, 3, 512, 512))
        assert not seen[0]
        assert seen[-1]
        assert held() is None
        monkeypatch.setattr(
            Heavy, "forward", lambda self, x: broken(self, x) if held() is not None else forward(self, x)
        )
        with pytest.raises(RuntimeError, match="broken"):
            call(torch.rand(1, 3, 512, 512))
        assert held() is None
    finally:
        gc.enable()


def of_many_chunks(*arguments):
    limit = RowLimit(*arguments)
    for_each_chunk(5 * limit.rows, limit, lambda part: None)
    return limit


@on_glibc
def test_all_limits_share_one_block_which_goes_with_the_last():
    inputs = (torch.zeros(1, 3, 256, 256),)
    first, second = (of_many_chunks(8, inputs) for _ in range(2))
    block = weakref.ref(first._memory)
    assert second.for_batch(3)._memory is block() is not None
    del first
    assert block() is not None
    del second
    assert block() is None


@on_glibc
def test_nothing_is_held_where_it_is_not_worth_it_or_does_nothing(monkeypatch, tmp_path):
    heavy = (torch.zeros(1, 3, 256, 256),)
    assert of_many_chunks(None, (torch.zeros(1, 1, 28, 28),))._memory is None
    assert of_many_chunks(None, heavy, torch.device("meta"))._memory is None
    few = RowLimit(None, heavy)
    for_each_chunk(3 * few.rows, few, lambda part: None)
    assert few._memory is None
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(hold_freed_memory).result() is None
    (tmp_path / "overcommit").write_text("2\n")
    with monkeypatch.context() as strict:
        strict.setattr(memory, "_OVERCOMMIT", tmp_path / "overcommit")
        assert hold_freed_memory() is None
    with monkeypatch.context() as full:
        full.setattr(memory, "_empty", lambda: torch.empty(2**62, dtype=torch.uint8))
        assert hold_freed_memory() is None
    monkeypatch.setenv("CAPTUM_EXT_HOLD_MEMORY", "0")
    assert of_many_chunks(None, heavy)._memory is None
    monkeypatch.delenv("CAPTUM_EXT_HOLD_MEMORY")
    assert of_many_chunks(None, heavy)._memory is not None
