"""Checkpoints as trainers save them: the right weights, or one error that says what differs first."""

import argparse
import random
import re
from collections import OrderedDict
from pathlib import PurePosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from captum_ext.exceptions import ArgumentError, ModelLoadError
from captum_ext_integrations.cli.models import ModelSpec, load_model
from captum_ext_integrations.cli.weights import load_weights
from tests.fuzz import weight_files as files

TAKES_STAND_INS = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 6)


@pytest.fixture
def state():
    return files.state(random.Random(0))


def prefixed(prefix, state):
    return {prefix + key: value for key, value in state.items()}


def loaded(content, folder, **options):
    model = files.model()
    torch.save(content, folder / "w.pth")
    load_weights(model, folder / "w.pth", "small", **options)
    return model.state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class Settings(dict):
    """As Lightning keeps its hyperparameters."""


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "module._orig_mod.", "model._orig_mod."])
@pytest.mark.parametrize("place", ["", "state_dict", "model", "ema.module", "checkpoint.model.state_dict"])
def test_a_state_dict_is_found_in_its_containers_and_under_the_names_of_wrappers(prefix, place, state, tmp_path):
    content = prefixed(prefix, state)
    for key in reversed(place.split(".") if place else []):
        content = {"epoch": 3, key: content, "best": 0.5, "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}}}
    assert same(loaded(content, tmp_path), state)


@pytest.mark.parametrize("prefix", ["module.", "model."])
def test_names_of_wrappers_are_left_out_in_safetensors_too(prefix, state, tmp_path):
    save_file(prefixed(prefix, state), tmp_path / "w.safetensors")
    model = files.model()
    load_weights(model, tmp_path / "w.safetensors", "small")
    assert same(model.state_dict(), state)


def test_wrappers_in_the_middle_of_a_name_are_left_out(state, tmp_path):
    """`model.features = DataParallel(model.features)`, as the ImageNet example of PyTorch has it."""
    content = {key.replace("1.", "1.module.").replace("3.", "3._orig_mod."): value for key, value in state.items()}
    assert same(loaded({"state_dict": content}, tmp_path), state)


def test_a_model_that_is_wrapped_itself_takes_plain_weights(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    model = nn.DataParallel(files.model())
    load_weights(model, tmp_path / "w.pth", "small")
    assert same(model.module.state_dict(), state)


def test_a_name_that_a_model_has_itself_is_no_wrapper(tmp_path):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.module, self.model = nn.Linear(2, 2), nn.Linear(2, 2)

    saved, model = Own(), Own()
    torch.save({"state_dict": prefixed("model.", saved.state_dict())}, tmp_path / "w.pth")
    load_weights(model, tmp_path / "w.pth", "own")
    assert same(model.state_dict(), saved.state_dict())


def test_an_averaged_model_of_torch_is_read_without_its_counter(state, tmp_path):
    model = files.model()
    model.load_state_dict(state)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    assert same(loaded(averaged.state_dict(), tmp_path), state)


def test_of_several_state_dicts_the_one_that_is_no_average_is_taken_with_a_word_and_the_other_by_its_key(
    state, tmp_path
):
    other = files.state(random.Random(1))
    content = {"state_dict_ema": other, "state_dict": state}
    with pytest.warns(UserWarning, match=r"w.pth has several .* of small: state_dict is taken, and not state_dict_ema"):
        assert same(loaded(content, tmp_path), state)
    assert same(loaded(content, tmp_path, key="state_dict_ema"), other)
    with pytest.raises(ModelLoadError, match=r"under 'ema', but got 'state_dict_ema', 'state_dict'\."):
        loaded(content, tmp_path, key="ema")


def test_of_several_state_dicts_the_one_that_fits_is_taken(state, tmp_path):
    generator = nn.Conv2d(3, 3, 1).state_dict()
    assert same(loaded({"generator": generator, "classifier": state}, tmp_path), state)


def test_weights_of_something_beside_the_model_are_told(state, tmp_path):
    content = {"state_dict": {**prefixed("model.", state), "loss.weight": torch.ones(5)}}
    with pytest.warns(UserWarning, match=r"1 tensors of .*w.pth are beside the weights of small, such as loss.weight"):
        assert same(loaded(content, tmp_path), state)


@pytest.mark.skipif(not TAKES_STAND_INS, reason="torch before 2.6 takes no stand-ins")
def test_what_a_trainer_keeps_beside_its_weights_is_nothing(state, tmp_path):
    content = {
        "args": argparse.Namespace(lr=0.1, out=PurePosixPath("runs/1")),
        "hyper_parameters": Settings(width=3),
        "best": np.float64(0.5),
        "torch_version": torch.__version__,
        "state_dict": state,
    }
    before = set(torch.serialization.get_safe_globals())
    assert same(loaded(content, tmp_path), state)
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_whole_module_is_refused_and_says_what_to_save(tmp_path):
    message = "^Expected a state dict of small in .*w.pth, but got a whole .*Linear; save its state_dict.. instead"
    with pytest.raises(ModelLoadError, match=message):
        loaded(nn.Linear(2, 2), tmp_path)


def test_a_checkpoint_of_another_architecture_says_where_and_which_keys_differ_first(state, tmp_path):
    content = OrderedDict((key.replace("3.", "head."), value) for key, value in state.items())
    message = re.escape(
        "Expected the 9 tensors of small in PATH['state_dict'], but got another architecture: 2 missing, such as "
        "3.weight, 3.bias; 2 unexpected, such as head.weight, head.bias."
    ).replace("PATH", ".*w.pth")
    with pytest.raises(ModelLoadError, match=message):
        loaded({"state_dict": prefixed("module.", content)}, tmp_path)
    content = {**state, "0.weight": torch.zeros(4, 1, 3, 3), "3.weight": torch.zeros(7, 16)}
    message = r"2 of another shape, such as 0.weight \(4, 1, 3, 3\) instead of \(4, 3, 3, 3\), 3.weight \(7, 16\) inst"
    with pytest.raises(ModelLoadError, match=message):
        loaded({"model": content}, tmp_path)


def test_names_that_would_be_the_same_without_wrappers_are_left_as_they_are(state, tmp_path):
    content = {**prefixed("module.", state), **prefixed("_orig_mod.", state)}
    with pytest.raises(ModelLoadError, match=r"8 missing, such as 0.weight, 0.bias, 1.weight; 18 unexpected, such as"):
        loaded(content, tmp_path)


def test_a_key_needs_a_file():
    with pytest.raises(ArgumentError, match="`weights_key` to be given together with --weights FILE, but got 'ema'"):
        load_model(ModelSpec("tests.integrations.cli.tiny:model", weights_key="ema"))
