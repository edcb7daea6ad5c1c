"""Imports go one way, stay light, and hosts are imported only in their adapters."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "captum_ext"

# Each folder (or module) may import from itself and from those before it.
LAYERS = [
    ["exceptions"],
    ["core"],
    ["images"],
    ["segmentation"],
    ["models"],
    ["references"],
    ["visualize"],
    ["attr.paths", "metrics", "upsampling"],
    ["attr"],
    ["dataset"],
    ["selection"],
    ["testing"],
]
PRIVATE_CAPTUM = {"captum.py"}
HOSTS = {"pytorch_grad_cam", "quantus", "ray"}


def modules():
    return sorted(path for path in PACKAGE.rglob("*.py"))


def dotted(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def level(name):
    """Number of the layer of a dotted name, and the entry that it belongs to; the longest entry that fits."""
    inside = name.removeprefix("captum_ext").removeprefix(".")
    if not inside:
        return None, ""
    fits = [
        (len(entry), number, entry)
        for number, layer in enumerate(LAYERS)
        for entry in layer
        if inside == entry or inside.startswith(entry + ".")
    ]
    assert fits, f"{name} belongs to no layer: add it to LAYERS"
    return max(fits)[1:]


def imports(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_a_module_imports_only_from_its_own_folder_and_from_layers_below(path):
    own, folder = level(dotted(path))
    for module, _ in imports(path):
        if own is not None and module.startswith("captum_ext"):
            other, home = level(module)
            assert other is not None, f"{dotted(path)} imports the package itself"
            assert other < own or home == folder, f"{dotted(path)} imports {module}"


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_private_names_of_captum_are_imported_in_one_module_and_hosts_in_none(path):
    for module, names in imports(path):
        root = module.split(".")[0]
        assert root not in HOSTS, f"{dotted(path)} imports {module}"
        private = root == "captum" and any(part.startswith("_") for part in [*module.split("."), *names])
        assert not private or path.name in PRIVATE_CAPTUM, f"{dotted(path)} imports {module} {names}"


STAGES = """
import json, random, sys

seen, heavy = {}, {"matplotlib", "pytorch_grad_cam", "quantus", "ray", "skimage", "sklearn", "torchvision"}

def loaded(*names):
    return sorted(set(names) & set(sys.modules))

import captum_ext.dataset.manifest, captum_ext.dataset.shard_files, captum_ext.dataset.file_marks
import captum_ext.images.files, captum_ext.visualize.palettes, captum_ext.core.memory
seen["files"] = loaded("torch")
seen["package"] = loaded(*heavy)
import captum.attr
before = set(sys.modules)
seen["attribute"] = captum_ext.attr.IntegratedGradients.__name__
import captum_ext.metrics
seen["attr and metrics"] = sorted({"skimage", "sklearn"} & (set(sys.modules) - before))
import captum_ext.models, captum_ext.references, captum_ext.testing
seen["all"] = loaded("open_clip", "pytorch_grad_cam", "quantus", "ray", "timm", "torchvision", "transformers")
import torch
before, state = loaded("sklearn"), random.getstate()
captum_ext.ReferenceDistribution.fit(lambda x: x, torch.eye(3), n_references=2)
seen["fit"] = before, loaded("sklearn"), random.getstate() == state
print(json.dumps(seen))
"""


def in_fresh_process(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


@pytest.fixture(scope="module")
def seen():
    """What is loaded, stage by stage of one process."""
    return json.loads(in_fresh_process(STAGES))


def test_files_of_runs_images_and_palettes_are_read_without_torch(seen):
    assert seen["files"] == []


def test_importing_the_package_loads_no_host_and_no_heavy_library(seen):
    assert seen["package"] == []
    assert seen["all"] == []


def test_modules_are_attributes_of_the_package(seen):
    assert seen["attribute"] == "IntegratedGradients"


def test_attribution_loads_scikit_learn_only_when_it_clusters(seen):
    assert seen["attr and metrics"] == []


def test_a_fit_that_loads_scikit_learn_leaves_pythons_random_numbers_alone(seen):
    assert seen["fit"] == [[], ["sklearn"], True]


def test_whoever_compares_loads_what_draws_only_when_it_is_drawn():
    pytest.importorskip("statsmodels")
    code = "import sys, captum_ext.metrics as m; c = m.compare({'a': [1.0, 2.0], 'b': [2.0, 3.5]}, 'a'); "
    code += "before = 'captum_ext.visualize' in sys.modules; c.plot()"
    assert in_fresh_process(f"{code}; print(before, 'captum_ext.visualize' in sys.modules)").strip() == "False True"
