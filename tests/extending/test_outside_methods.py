"""Methods written with public imports alone conform, and work wherever those of this package do."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

from captum_ext.dataset import attribute_dataset
from captum_ext.testing import CHECKS, MethodCase
from tests.extending import outside_methods
from tests.extending.outside_methods import ExtremesIG, InputXGradient

CASES = [
    MethodCase("ExtremesIG", lambda model, _: ExtremesIG(model), random=True, completeness=0.05, own_references=True),
    MethodCase(
        "ExtremesIG-gauss", lambda model, _: ExtremesIG(model), {"method": "gausslegendre"}, own_references=True
    ),
    MethodCase("InputXGradient", lambda model, _: InputXGradient(model)),
]
SIDE = 4


def quadratic():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE**2, 2), torch.nn.Tanh()).eval()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_outside_method_conforms(case, check):
    check(case)


def test_the_outside_methods_import_no_private_name():
    tree = ast.parse(Path(outside_methods.__file__).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            assert not any(name.startswith("_") for name in names if name != "__future__")


def test_the_path_method_starts_from_the_extremes():
    x = torch.tensor([[1.0, 2.0, 6.0]])
    attributions, delta = ExtremesIG(lambda v: (v * torch.tensor([1.0, 2.0, 3.0])).sum(1)).attribute(
        x, method="gausslegendre", return_convergence_delta=True
    )
    torch.testing.assert_close(attributions, (x - 3.5) * torch.tensor([[1.0, 2.0, 3.0]]))
    assert float(delta.abs()) < 1e-5


def test_the_other_method_is_input_times_gradient():
    x = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    attributions = InputXGradient(lambda v: (v**2).sum(1)).attribute(x, internal_batch_size=1)
    torch.testing.assert_close(attributions, 2 * x**2)


@pytest.mark.parametrize("kind", [ExtremesIG, InputXGradient])
def test_outside_methods_explain_whole_data_sets(kind, tmp_path):
    model, images = quadratic(), torch.rand(5, 3, SIDE, SIDE)
    labels = torch.tensor([0, 1, 0, 1, 1])
    data = torch.utils.data.TensorDataset(images, labels)
    attributions = attribute_dataset(kind(model), data, tmp_path / "run", target="label", fields=["map", "deletion"])
    maps = attributions.maps()
    if kind is InputXGradient:
        expected = InputXGradient(model).attribute(images, target=labels).sum(1)
        torch.testing.assert_close(maps.float(), expected, rtol=2e-3, atol=2e-4)
    assert maps.shape == (5, SIDE, SIDE)


@pytest.mark.parametrize("kind", [ExtremesIG, InputXGradient])
def test_outside_methods_work_in_quantus(kind):
    quantus = pytest.importorskip("quantus")
    from captum_ext_integrations.quantus_metrics import Deletion, as_quantus_explain

    model = quadratic()
    x, y = torch.rand(4, 3, SIDE, SIDE).numpy(), np.array([0, 1, 1, 0])
    results = quantus.evaluate(
        metrics={"Deletion": Deletion(n_steps=4)},
        xai_methods={"mine": as_quantus_explain(kind(model))},
        model=model,
        x_batch=x,
        y_batch=y,
        explain_func_kwargs={},
    )
    assert len(results["mine"]["Deletion"]) == 4
