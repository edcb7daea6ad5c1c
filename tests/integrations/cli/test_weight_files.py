"""Files of weights that nobody vouches for: the right numbers or one named error, and memory that the file deserves."""

import os
import random
import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from captum_ext.core.regular_files import MAX_WEIGHTS_MB
from captum_ext.exceptions import ArgumentError, ModelLoadError
from captum_ext_integrations.cli.weights import load_weights
from tests.fuzz import weight_files as files
from tests.fuzz.engine import in_child
from tests.fuzz.kind_weights import HOSTILE


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.fixture
def state():
    return files.state(random.Random(0))


def loaded(path):
    model = files.model()
    load_weights(model, path, "small")
    return model.state_dict()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("form", ["archive", "old", "safetensors", "repacked"])
def test_weights_of_every_form_are_read_exactly(form, dtype, state, tmp_path):
    state = {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    content = files.repacked(files.archive(state)) if form == "repacked" else getattr(files, form)(state)
    path = written(tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth"), content)
    for key, value in loaded(path).items():
        assert torch.equal(value, state[key].to(value.dtype))


def test_weights_are_copies_that_outlive_the_file(state, tmp_path):
    save_file(dict(state), tmp_path / "w.safetensors")
    model = files.model()
    load_weights(model, tmp_path / "w.safetensors", "small")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with open(tmp_path / "w.safetensors", "r+b") as file:
        file.write(bytes(2000))
        file.truncate(10)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_weights_that_are_not_finite_are_read_as_they_are(state, tmp_path):
    state["3.bias"][0] = float("nan")
    assert loaded(written(tmp_path / "w.pth", files.archive(state)))["3.bias"][0].isnan()


def test_parameters_and_counters_that_were_averaged_are_read(state, tmp_path):
    state["1.num_batches_tracked"] = state["1.num_batches_tracked"].float()
    state["3.weight"] = nn.Parameter(state["3.weight"])
    assert torch.equal(loaded(written(tmp_path / "w.pth", files.archive(state)))["3.weight"], state["3.weight"])


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_files_are_one_named_error_in_little_memory(name, tmp_path):
    suffix = ".safetensors" if name.startswith("safetensors") else ".pth"
    for seed in range(3):
        path = written(tmp_path / f"w{seed}{suffix}", HOSTILE[name](random.Random(seed), tmp_path))
        message = f"^Expected (weights|a state dict|the 9 tensors) of small.*{re.escape(str(path))}"
        with pytest.raises(ModelLoadError, match=message):
            in_child(lambda path=path: loaded(path), megabytes=300, seconds=20)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            files.with_pickle(files.called("__builtin__", "bytearray", b"K\x09\x85")),
            "names builtins.bytearray, which has",
        ),
        (
            files.with_pickle(files.called("posix", "system", b"X\x04\0\0\0true\x85")),
            "names posix.system, which has no",
        ),
        (
            files.with_pickle(files.tensor(16, (16,))),
            "the data of tensor 0, which should have 64 bytes, are not all there",
        ),
        (files.with_pickle(files.nested_tuples(60)), "a pickle of tuples in tuples in tuples"),
        (files.with_pickle(b"\x80\x02}r\xff\xff\xff\xff."), "a pickle that numbers objects it does not have"),
        (files.prefixed(files.archive({})), "an archive that"),
        (files.tar(), "neither an archive nor a pickle of torch.save"),
    ],
)
def test_a_hostile_file_says_what_is_wrong_with_it(content, message, tmp_path):
    path = written(tmp_path / "w.pth", content)
    with pytest.raises(
        ModelLoadError, match=f"Expected weights of small .safetensors or a state dict., but got .*{message}"
    ):
        loaded(path)


def test_what_a_packed_archive_may_unpack_to_is_raised_by_name(tmp_path, monkeypatch):
    state = {"weight": torch.zeros(2000, 4000), "bias": torch.zeros(2000)}
    path = written(tmp_path / "w.pth", files.repacked(files.archive(state)))
    small, large = nn.Linear(3, 3), nn.Linear(4000, 2000)
    load_weights(large, path, "large")
    assert not large.weight.any()
    message = r"its \d+ bytes unpack to 32\d+, and at most 16777216 are expected. CAPTUM_EXT_MAX_WEIGHTS_MB=31 in the"
    with pytest.raises(ModelLoadError, match=message):
        in_child(lambda: load_weights(small, path, "small"), megabytes=30)
    with pytest.raises(ModelLoadError, match="at most 30000000 are expected"):
        load_weights(large, path, "large", max_bytes=30_000_000)
    monkeypatch.setenv(MAX_WEIGHTS_MB, "31")
    with pytest.raises(ModelLoadError, match="got another architecture: 2 of another shape, such as weight"):
        load_weights(small, path, "small")
    monkeypatch.setenv(MAX_WEIGHTS_MB, "-1")
    with pytest.raises(ArgumentError, match="`CAPTUM_EXT_MAX_WEIGHTS_MB` to be a positive number"):
        load_weights(small, path, "small")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_shapes_are_compared_before_the_data_are_read(suffix, tmp_path):
    state = {"weight": torch.zeros(5000, 8000), "bias": torch.zeros(5000)}
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    message = re.escape("of another shape, such as weight (5000, 8000) instead of (3, 3)")
    with pytest.raises(ModelLoadError, match=message):
        in_child(lambda: load_weights(nn.Linear(3, 3), path, "small"), megabytes=60)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda value: value.to_sparse(), "Expected plain tensors of small in .*: 3.weight, a sparse tensor|such as"),
        (lambda value: value.to("meta"), "such as 3.weight, a meta tensor"),
        (lambda value: value.to(torch.complex64), "such as 3.weight, torch.complex64 instead of torch.float32"),
        (lambda value: value.to(torch.int8), "such as 3.weight, torch.int8 instead of torch.float32"),
        (lambda value: value[:1], r"such as 3.weight \(1, 16\) instead of \(5, 16\)"),
        (lambda _: torch.zeros(1).expand(10**6, 10**6), r"\(1000000, 1000000\) instead of \(5, 16\)"),
        (lambda _: 3, "Expected a state dict of small in .*, but got dict|OrderedDict"),
    ],
)
def test_tensors_that_are_no_weights_are_named(make, message, state, tmp_path):
    state["3.weight"] = make(state["3.weight"])
    path = written(tmp_path / "w.pth", files.archive(state))
    with pytest.raises(ModelLoadError, match=message):
        loaded(path)


def test_every_flipped_bit_of_the_numbers_of_an_archive_is_seen(state, tmp_path):
    content = files.archive(state)
    place = content.index(state["3.weight"].numpy().tobytes()) + 101
    for bit in range(8):
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        with pytest.raises(ModelLoadError, match="the checksum of .*/data/[0-9]+ is another: the file is damaged"):
            loaded(written(tmp_path / "w.pth", bytes(damaged)))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_pipes_and_folders_are_named_and_never_waited_for(name, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ModelLoadError, match=f"{name}: expected a file, but it is a pipe"):
        loaded(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(ModelLoadError, match=f"{name}: expected a file, but it is a folder"):
        loaded(tmp_path / name)


def test_a_models_own_rules_are_told_with_the_file(state, tmp_path):
    class Strict(nn.Linear):
        def _load_from_state_dict(self, *_):
            raise RuntimeError("no such luck\nat all")

    path = written(tmp_path / "w.pth", files.archive(Strict(2, 2).state_dict()))
    with pytest.raises(ModelLoadError, match=r"Expected weights of strict in .*w.pth, but got: no such luck$"):
        load_weights(Strict(2, 2), path, "strict")
