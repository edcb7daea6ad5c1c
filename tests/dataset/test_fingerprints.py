"""What a model, a method and a setting are known by: all that rows depend on, and nothing that a run changes."""

import hashlib
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import captum.attr
import numpy as np
import pytest
import torch
from captum.attr._utils.lrp_rules import EpsilonRule, GammaRule
from torch import nn

from captum_ext.core.fingerprints import Fingerprints, digest, of_module

ROOT = Path(__file__).parent.parent.parent


class Scaled(nn.Module):
    """A model with settings that are neither layers nor weights."""

    def __init__(self, **settings):
        super().__init__()
        self.temperature, self.mode, self.clip, self.bend = 1.0, "sum", (0, 1), torch.relu
        self.scale = torch.ones(2)
        self.register_buffer("mean", torch.zeros(2), persistent=False)
        self.inner = nn.Identity()
        for name, value in settings.items():
            setattr(self, name, value)

    def forward(self, inputs):
        return self.bend(inputs - self.mean) / self.temperature


class Network(nn.Module):
    """A convolution and a linear layer; Captum's LRP has no rule for `Flatten`."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.linear = nn.Conv2d(1, 2, 2), nn.ReLU(), nn.Linear(8, 2)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 0.5)

    def forward(self, images):
        return self.linear(self.relu(self.conv(images)).flatten(1))


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 2.0},
        {"mode": "mean"},
        {"clip": (0, 2)},
        {"bend": torch.sigmoid},
        {"bend": lambda inputs: inputs + 1},
        {"scale": torch.zeros(2)},
        {"mean": torch.ones(2)},
        {"exact": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_plain_attributes_and_buffers_of_a_model_count(settings):
    assert of_module(Scaled()) == of_module(Scaled())
    assert of_module(Scaled(**settings)) == of_module(Scaled(**settings))
    assert of_module(Scaled(**settings)) != of_module(Scaled())


def test_plain_attributes_of_layers_count():
    models = [nn.Sequential(Scaled()), nn.Sequential(Scaled())]
    models[0][0].temperature = 2
    assert of_module(models[0]) != of_module(models[1])


def test_what_a_model_remembers_under_private_names_does_not_count():
    model = Scaled()
    before = of_module(model)
    model._calls, model._cache, model.cache = 3, torch.ones(2), {"last": torch.ones(2)}
    model.register_buffer("_last", torch.ones(2), persistent=False)
    model.register_forward_hook(lambda *_: None)
    assert of_module(model) == before


def test_a_compiled_model_is_the_same_after_a_call(compiler):
    compiled = torch.compile(Network(), backend="eager")
    before = of_module(compiled)
    compiled(torch.rand(1, 1, 3, 3))
    assert of_module(compiled) == before
    compiled._orig_mod.extra = 1
    assert of_module(compiled) != before


def test_models_that_know_each_other_are_described():
    one, other = Scaled(), Scaled()
    one.bend, other.bend = other.forward, one.forward
    assert of_module(one) == of_module(one)


def test_rules_of_lrp_count_and_what_they_remember_does_not():
    def with_rule(rule):
        model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
        with torch.no_grad():
            model[0].weight.fill_(1.0)
            model[0].bias.fill_(0.0)
        if rule is not None:
            model[0].rule = rule
        return model

    descriptions = [of_module(with_rule(rule)) for rule in (None, EpsilonRule(0.1), EpsilonRule(0.2), GammaRule(0.1))]
    assert len(set(descriptions)) == 4
    rule = EpsilonRule(0.1)
    model = with_rule(rule)
    captum.attr.LRP(model).attribute(torch.ones(1, 2, requires_grad=True), target=0)
    model[0].rule = rule  # Captum takes it away
    assert of_module(model) == descriptions[1]


CAPTUMS = {
    "DeepLift": captum.attr.DeepLift,
    "DeepLiftShap": captum.attr.DeepLiftShap,
    "Deconvolution": captum.attr.Deconvolution,
    "FeatureAblation": captum.attr.FeatureAblation,
    "GradientShap": captum.attr.GradientShap,
    "GuidedBackprop": captum.attr.GuidedBackprop,
    "GuidedGradCam": lambda model: captum.attr.GuidedGradCam(model, model.conv),
    "InputXGradient": captum.attr.InputXGradient,
    "IntegratedGradients": captum.attr.IntegratedGradients,
    "LRP": captum.attr.LRP,
    "NoiseTunnel": lambda model: captum.attr.NoiseTunnel(captum.attr.GuidedBackprop(model)),
    "Saliency": captum.attr.Saliency,
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", CAPTUMS)
def test_a_method_of_captum_and_its_model_are_the_same_after_a_call(name):
    model = Network()
    method = CAPTUMS[name](model)
    baselines = {"baselines": torch.zeros(2, 1, 3, 3)} if name in ("DeepLiftShap", "GradientShap") else {}
    before = Fingerprints(model).of(method), of_module(model)
    method.attribute(torch.rand(1, 1, 3, 3), target=0, **baselines)
    assert (Fingerprints(model).of(method), of_module(model)) == before
    assert (Fingerprints(model).of(CAPTUMS[name](model)), of_module(Network())) == before


HASHED = """
import torch
from captum_ext.core.fingerprints import Fingerprints
from tests.dataset.test_fingerprints import Scaled

def is_vowel(letter):
    return letter in {"a", "e", "i", "o", "u"} or letter in ({"x", "y", "z"}, "w")

prints = Fingerprints()
print(prints.of([is_vowel, {"a", "b", "c"}, Scaled(bend=is_vowel)]))
"""


def test_descriptions_do_not_depend_on_the_hashes_of_a_process():
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HASHED],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    one, other = (process.communicate()[0] for process in processes)
    assert "is_vowel" in one
    assert one == other


def test_constant_sets_are_told_apart_by_what_they_hold():
    prints = Fingerprints()
    assert prints.of(lambda x: x in {"a", "b"}) == prints.of(lambda x: x in {"b", "a"})
    assert prints.of(lambda x: x in {"a", "b"}) != prints.of(lambda x: x in {"a", "c"})


def test_a_path_is_its_text():
    assert Fingerprints().of({"weights": Path("a") / "b.pt"}) == {"weights": os.path.join("a", "b.pt")}


def test_which_of_several_devices_of_a_kind_it_is_does_not_matter():
    first, second, other = (Fingerprints().of({"device": torch.device(name)}) for name in ("cuda:0", "cuda:1", "cpu"))
    assert first == second != other


@pytest.mark.parametrize(
    "array",
    [np.arange(12.0).reshape(3, 4).T, np.arange(12)[::-2], np.array(3.5), np.zeros((0, 2)), np.array([True, False])],
    ids=["transposed", "reversed", "of no dimension", "empty", "bool"],
)
def test_a_digest_is_of_the_bytes_in_their_order_whatever_the_layout(array):
    described = f"{array.shape} {array.dtype}".encode()
    assert digest(array) == hashlib.sha256(described + array.tobytes()).hexdigest()[:16]
    tensor = torch.from_numpy(array.copy(order="K"))
    described = f"{tuple(array.shape)} {tensor.dtype}".encode()
    assert digest(tensor) == hashlib.sha256(described + array.tobytes()).hexdigest()[:16]


def test_a_digest_takes_no_copy_of_what_it_digests():
    tracemalloc.start()
    try:
        digest(np.ones(1 << 22), torch.ones(1 << 22))
        assert tracemalloc.get_traced_memory()[1] < 40 << 20  # the array itself has 32 MiB
    finally:
        tracemalloc.stop()
