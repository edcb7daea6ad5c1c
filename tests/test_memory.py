"""What glibc keeps, seen in a process of its own, since it cannot be taken back."""

import subprocess
import sys

import pytest

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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_blocks_that_are_allocated_again_and_again_are_not_cleared_each_time():
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    given_back, kept = map(int, found.stdout.split())
    assert given_back > 20  # a page at least for each of twenty blocks
    assert kept <= given_back / 10
