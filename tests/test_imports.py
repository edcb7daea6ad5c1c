"""Imports go one way, stay light, and hosts are imported only in their adapters."""

import ast
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


def in_fresh_process(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_importing_the_package_loads_no_host_and_no_heavy_library():
    heavy = "{'pytorch_grad_cam', 'quantus', 'ray', 'matplotlib', 'sklearn', 'skimage', 'torchvision'}"
    loaded = in_fresh_process(f"import sys, captum_ext; print(sorted({heavy} & set(sys.modules)))")
    assert loaded.strip() == "[]"
    hosts = "{'pytorch_grad_cam', 'quantus', 'ray', 'timm', 'torchvision', 'transformers', 'open_clip'}"
    everything = (
        "import sys, captum_ext.attr, captum_ext.metrics, captum_ext.references, captum_ext.testing, captum_ext.models"
    )
    loaded = in_fresh_process(f"{everything}; print(sorted({hosts} & set(sys.modules)))")
    assert loaded.strip() == "[]"


def test_whoever_compares_loads_what_draws_only_when_it_is_drawn():
    code = "import sys, captum_ext.metrics as m; c = m.compare({'a': [1.0, 2.0], 'b': [2.0, 3.5]}, 'a'); "
    code += "before = 'captum_ext.visualize' in sys.modules; c.plot()"
    assert in_fresh_process(f"{code}; print(before, 'captum_ext.visualize' in sys.modules)").strip() == "False True"


def test_a_fit_that_loads_scikit_learn_leaves_pythons_random_numbers_alone():
    code = "import random, torch; from captum_ext import ReferenceDistribution; state = random.getstate(); "
    code += "ReferenceDistribution.fit(lambda x: x, torch.eye(3), n_references=2); print(random.getstate() == state)"
    assert in_fresh_process(code).strip() == "True"


def test_modules_are_attributes_of_the_package():
    assert (
        in_fresh_process("import captum_ext; print(captum_ext.attr.IntegratedGradients.__name__)").strip()
        == "IntegratedGradients"
    )


def test_attribution_loads_scikit_learn_only_when_it_clusters():
    code = "import captum.attr, sys; before = set(sys.modules); import captum_ext.attr, captum_ext.metrics"
    loaded = in_fresh_process(
        f"{code}; print(sorted(m for m in set(sys.modules) - before if m in ('sklearn', 'skimage')))"
    )
    assert loaded.strip() == "[]"


def test_files_of_runs_images_and_palettes_are_read_without_torch():
    light = "captum_ext.dataset.manifest, captum_ext.dataset.shard_files, captum_ext.dataset.file_marks"
    light += ", captum_ext.images.files, captum_ext.visualize.palettes, captum_ext.core.memory"
    assert in_fresh_process(f"import sys, {light}; print('torch' in sys.modules)").strip() == "False"
