"""Every public entry on a device that is not the CPU, with float64 (as CUDA) and without it (as MPS)."""

import pytest
import torch

from captum_ext.metrics import concentration, deletion, iou, pointing_game
from tests.core.device import DEVICE, REFUSAL, OnDevice, device
from tests.core.device_entries import ENTRIES, IMAGES, MAPS, REFERENCES, WEIGHTS, model_with
from tests.core.entries import FITS, SEGMENTS, tensors_of

# Numbers of plans, and references, which are for any device; images as they are seen, which are for CPU libraries.
ON_THE_CPU = {
    "WeightedIG, baselines evaluated": (1, 2),
    "WeightedIG weights": (0,),
    "SAMP with paths": (0,),
    **dict.fromkeys(FITS, (0,)),
}


@pytest.mark.parametrize("has_float64", [False, True], ids=["without float64", "with float64"])
@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_gives_the_numbers_of_the_cpu_on_the_device_of_the_inputs(monkeypatch, name, has_float64):
    expected = tensors_of(ENTRIES[name](model_with(WEIGHTS), IMAGES, REFERENCES, MAPS))
    with device(monkeypatch, has_float64):
        given = [one.to(DEVICE) for one in (IMAGES, REFERENCES, MAPS)]
        actual = tensors_of(ENTRIES[name](model_with(WEIGHTS.to(DEVICE)), *given))
        where = [isinstance(one, OnDevice) for one in actual]
        actual = [one.cpu() for one in actual]
    if not name.startswith("display_range"):
        assert where == [place not in ON_THE_CPU.get(name, ()) for place in range(len(actual))]
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("kind", [torch.float64, torch.int64, torch.float16])
def test_maps_of_any_dtype_from_the_cpu_are_ranked_for_inputs_on_the_device(monkeypatch, kind):
    maps = (MAPS * 100).to(kind)
    expected = deletion(model_with(WEIGHTS), IMAGES, maps, target=1).scores
    with device(monkeypatch, has_float64=False):
        actual = deletion(model_with(WEIGHTS.to(DEVICE)), IMAGES.to(DEVICE), maps, target=1).scores.cpu()
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("measure", [iou, concentration, pointing_game])
def test_integer_maps_on_the_device_are_located(monkeypatch, measure):
    maps = (MAPS * 100).long()
    expected = measure(maps, SEGMENTS == 1)
    with device(monkeypatch, has_float64=False):
        actual = measure(maps.to(DEVICE), SEGMENTS == 1).cpu()
    torch.testing.assert_close(actual, expected, check_dtype=False)


def test_the_device_refuses_what_mps_refuses(monkeypatch):
    with device(monkeypatch, has_float64=False):
        x = torch.ones(2, 3).to(DEVICE)
        for refused in (
            lambda: x.double(),
            lambda: x.to("cpu", torch.float64),
            lambda: x.sum(dtype=torch.float64),
            lambda: torch.ones(2, dtype=torch.float64).to(DEVICE),
            lambda: torch.zeros(2, dtype=torch.float64, device=DEVICE),
            lambda: torch.tensor([1.0], dtype=torch.float64, device=DEVICE),
            lambda: torch.ones(2, dtype=torch.float64).copy_(x[0, :2]),
        ):
            with pytest.raises(TypeError, match=REFUSAL):
                refused()
        for mixed in (
            lambda: x + torch.ones(3),
            lambda: x @ torch.ones(3, 1),
            lambda: torch.where(x > 0, x, torch.ones(3)),
        ):
            with pytest.raises(RuntimeError, match="all tensors to be on the same device"):
                mixed()
        assert (x * 2 + torch.tensor(1.0)).cpu().double().tolist() == [[3.0] * 3] * 2
        assert x[torch.tensor([1])].shape == (1, 3)
