"""The host does not wait for the device inside a chunk: the next one is prepared while it works."""

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from captum_ext.attr import (
    ExpectedGradients,
    ImportantDirectionIG,
    IntegratedGradients,
    LocalPathIntegration,
    WeightedIntegratedGradients,
)
from captum_ext.metrics import deletion, diff_id, insertion
from tests.gpu.networks import Convolutions, images

# PyTorch 2.11 says once that a profiler holds the events of one cycle, which is all that is asked of it here
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:.*Profiler clears events")]
ROWS = 4
_WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")


def waits(work):
    """How many times the host waited for the device."""
    work()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        work()
    return sum(one.count for one in recorded.key_averages() if one.key in _WAITS)


def per_chunk(model, work):
    """Waits that one chunk more costs; `work(n)` takes about n chunks."""

    def counted(n_chunks):
        model.batches.clear()
        n_waits = waits(lambda: work(n_chunks))
        return n_waits, len(model.batches) / 2  # done twice

    (few, few_chunks), (many, many_chunks) = counted(8), counted(40)
    return (many - few) / (many_chunks - few_chunks)


METHODS = {
    "IG": lambda model, references: IntegratedGradients(model),
    "EG": lambda model, references: ExpectedGradients(model, references=references),
    "EG of references on the CPU": lambda model, references: ExpectedGradients(model, references=references.cpu()),
    "LPI": lambda model, references: LocalPathIntegration(model, references=references),
    "WeightedIG": lambda model, references: WeightedIntegratedGradients(model, references=references[:1]),
    "IDGI": lambda model, references: ImportantDirectionIG(model),
}


@pytest.mark.parametrize("rule", [None, "adaptive"])
@pytest.mark.parametrize("name", METHODS)
def test_a_chunk_of_gradients_waits_at_most_once(gpu, name, rule):
    if rule == "adaptive" and name == "IDGI":
        pytest.skip("it has no such rule")
    model, x = Convolutions().eval().to(gpu), images(1, 32).to(gpu)
    method = METHODS[name](model, images(3, 32, seed=1).to(gpu))
    target = torch.tensor([1], device=gpu)

    def work(n_chunks):
        method.attribute(x, target=target, n_steps=n_chunks * ROWS, method=rule, internal_batch_size=ROWS)

    assert per_chunk(model, work) <= 1.05


@pytest.mark.parametrize("metric", [insertion, deletion, diff_id])
def test_a_chunk_of_a_metric_waits_at_most_once(gpu, metric):
    model, x, maps = Convolutions().eval().to(gpu), images(1, 32).to(gpu), images(1, 32, seed=1).to(gpu)

    def work(n_chunks):
        points = n_chunks * ROWS
        given = (
            {"fractions": [k / (points + 1) for k in range(1, points + 1)]}
            if metric is diff_id
            else {"n_steps": points}
        )
        metric(model, x, maps, target=1, internal_batch_size=ROWS, **given)

    assert per_chunk(model, work) <= 1.05
