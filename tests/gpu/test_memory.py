"""Memory of the device: no more than the rows in flight need, and half of the rows where they do not fit."""

import gc
from contextlib import contextmanager

import pytest
import torch

from captum_ext.attr import ExpectedGradients, IntegratedGradients, LocalPathIntegration
from captum_ext.metrics import insertion
from tests.gpu.networks import Convolutions, images

pytestmark = pytest.mark.gpu
SIDE = 128


def peak_of(work):
    """Bytes that the device held during a piece of work, above what it held before."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def one_pass(model, rows):
    points = images(rows, SIDE).to("cuda").requires_grad_()
    torch.autograd.grad(model(points)[:, 1].sum(), points)


def one_score(model, rows):
    with torch.no_grad():
        model(images(rows, SIDE).to("cuda"))


@pytest.mark.parametrize("kind", [IntegratedGradients, ExpectedGradients, LocalPathIntegration])
def test_memory_is_that_of_the_rows_in_flight_whatever_the_steps(gpu, kind):
    model, x, references = Convolutions().eval().to(gpu), images(2, SIDE).to(gpu), images(6, SIDE, seed=1).to(gpu)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    method = kind(model) if kind is IntegratedGradients else kind(model, references=references)
    one_pass(model, 8)  # handles and workspaces of the libraries
    bare = peak_of(lambda: one_pass(model, 8))
    few, many = (peak_of(lambda n=n: method.attribute(x, target=1, n_steps=n, internal_batch_size=8)) for n in (8, 128))
    maps = 6 * x.numel() * 8  # sums in float64, gradients and points of a chunk
    assert many <= 1.02 * few + maps
    assert many <= 1.2 * bare + 4 * maps


def test_references_on_the_cpu_come_to_the_device_a_chunk_at_a_time(gpu):
    model, x = Convolutions().eval().to(gpu), images(1, SIDE).to(gpu)
    references = images(256, SIDE, seed=1)
    method = ExpectedGradients(model, references=references)
    method.attribute(x, target=1, n_steps=8, internal_batch_size=4)
    used = peak_of(lambda: method.attribute(x, target=1, n_steps=256, internal_batch_size=4))
    bare = peak_of(lambda: one_pass(model, 4))
    assert used < 1.3 * bare + 12 * x.numel() * 8 < bare + references.numel() * 4


@contextmanager
def device_with(n_bytes):
    """A device with so many bytes beside what it already holds."""
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + n_bytes) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("what", ["attribution", "adaptive", "metric"])
def test_where_the_rows_do_not_fit_half_of_them_are_taken_and_the_result_is_the_same(gpu, what):
    model, x = Convolutions().eval().to(gpu), images(1, SIDE).to(gpu)

    def work():
        if what == "metric":
            return insertion(model, x, x, target=1, n_steps=99).scores
        rule = "adaptive" if what == "adaptive" else None
        return IntegratedGradients(model).attribute(x, target=1, n_steps=256, method=rule)

    expected = work()
    largest = max(model.batches)
    one = one_pass if what != "metric" else one_score
    needed = peak_of(lambda: one(model, largest))
    model.batches.clear()
    with device_with(int(needed * 0.4)):
        actual = work()
    assert max(model.batches) == largest  # it was tried
    assert model.batches[-2] < largest
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-5)


def test_a_number_of_rows_that_the_caller_gave_is_not_lowered(gpu):
    model, x = Convolutions().eval().to(gpu), images(1, SIDE).to(gpu)
    needed = peak_of(lambda: one_pass(model, 64))
    with device_with(needed // 4), pytest.raises(torch.cuda.OutOfMemoryError):
        IntegratedGradients(model).attribute(x, target=1, n_steps=256, internal_batch_size=64)
