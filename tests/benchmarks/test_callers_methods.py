"""Methods of the caller's own in the benchmark: MODULE:CLASS, at the budget of the others."""

from types import SimpleNamespace

import pytest
import torch

from examples.benchmarks import __main__ as command
from examples.benchmarks.engine.callers_methods import CallersMethods
from examples.benchmarks.engine.explanations import Asked, Setting

OUTSIDE = "tests.extending.outside_methods"


def setting(calls):
    def model(x):
        calls.append(len(x))
        return (x**2).flatten(1).sum(1)[:, None]

    return Setting(SimpleNamespace(model=model), torch.zeros(3, 1, 2, 2), budget=4)


def test_a_class_of_the_caller_is_explained_at_the_budget_with_its_delta_where_it_has_one():
    calls = []
    built = CallersMethods((f"{OUTSIDE}:ExtremesIG", f"{OUTSIDE}:InputXGradient"))(setting(calls))
    images = torch.arange(8.0).reshape(2, 1, 2, 2)
    asked = Asked(images, [0, 0], [1, 2])
    with_path, without = (explain(asked) for explain in built.values())
    torch.testing.assert_close(without.maps, 2 * images**2)
    assert without.delta is None
    assert with_path.delta.shape == (2,)
    assert sum(calls) == 2 + 2 * 4 + 2 + 2 * 2  # gradients of both, inputs and starting points of the delta


def test_a_class_that_does_not_exist_is_one_line_before_anything_is_computed(capsys):
    assert command.main(["--method", "nowhere:Nothing"]) == 2
    error = capsys.readouterr().err
    assert "error: Expected argument `method` to be MODULE:CLASS with a module that can be imported" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", [f"{OUTSIDE}:ExtremesIG"])
def test_runs_with_other_methods_have_folders_and_settings_of_their_own(name):
    arguments = command.parsed(["--method", name])
    assert str(command.default_output(arguments)) == "outputs/benchmark-tests.extending.outside_methods.ExtremesIG"
    assert command.options_of(arguments).methods == (name,)
