"""What a caller can get wrong: a clear error with argument, expected and received, and nothing changed."""

import pickle

import captum.attr
import numpy as np
import pytest
import torch

from captum_ext.attr import ExpectedGradients, IntegratedGradients, LocalPathIntegration
from captum_ext.exceptions import (
    ArgumentError,
    ArgumentsConflictError,
    ArgumentTypeError,
    InferenceModeError,
    ModelOutputError,
    NonFiniteError,
)
from captum_ext.references import ReferenceDistribution

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def ig(weights):
    return IntegratedGradients(lambda x: x @ weights)


def test_nan_in_an_input_is_named_with_its_row(ig):
    with pytest.raises(NonFiniteError, match=r"`inputs` to be finite, but got NaN in row 1 \(1 of 2 rows affected\)"):
        ig.attribute(torch.tensor([[1.0, 2, 3], [1, NAN, 3]]), target=0)


def test_infinity_in_the_second_input_of_a_tuple_is_named():
    ig = IntegratedGradients(lambda a, b: a.sum(1) + b.sum(1))
    with pytest.raises(NonFiniteError, match=r"`inputs\[1\]` to be finite, but got infinity in row 0"):
        ig.attribute((torch.ones(1, 2), torch.tensor([[INF]])))


def test_nan_in_baselines_and_references_is_named(ig, weights):
    with pytest.raises(NonFiniteError, match=r"`baselines` to be finite, but got NaN in row 0"):
        ig.attribute(torch.ones(1, 3), baselines=NAN, target=0)
    with pytest.raises(NonFiniteError, match=r"`references` to be finite, but got infinity in row 1"):
        ExpectedGradients(lambda x: x @ weights, references=torch.tensor([[0.0, 0, 0], [0, INF, 0]]))


@pytest.mark.parametrize("inputs", [torch.ones(1, 3, dtype=torch.int64), torch.ones(1, 3, dtype=torch.bool)])
def test_integer_and_bool_inputs_are_refused(ig, inputs):
    with pytest.raises(ArgumentTypeError, match=r"`inputs` to be of a floating point dtype, .* got a tensor of shape"):
        ig.attribute(inputs, target=0)


def test_inputs_that_are_no_tensors_or_have_no_row_are_refused(ig):
    with pytest.raises(ArgumentTypeError, match="a tensor or a non-empty tuple of tensors, but got list"):
        ig.attribute([1.0, 2.0], target=0)
    with pytest.raises(ArgumentError, match="at least one row, but got a tensor of shape"):
        ig.attribute(torch.ones(0, 3), target=0)
    with pytest.raises(ArgumentError, match=r"`inputs\[1\]` to be of 2 rows like the first tensor"):
        ig.attribute((torch.ones(2, 3), torch.ones(1, 3)), target=0)


def never(*args):
    raise RuntimeError("the model was called")


@pytest.mark.parametrize("method", [ExpectedGradients, LocalPathIntegration])
def test_references_of_another_shape_are_refused_before_any_forward_pass_with_both_shapes(method):
    with pytest.raises(
        ArgumentError, match=r"\(K, 3\) to match the input \(2, 3\), but got a tensor of shape \(4, 5\)"
    ):
        method(never, references=torch.ones(4, 5)).attribute(torch.ones(2, 3), target=0)


def test_a_fitted_distribution_of_another_shape_is_refused_before_any_forward_pass():
    fitted = ReferenceDistribution.fit(lambda x: x, torch.rand(4, 5), n_references=2)
    with pytest.raises(ArgumentError, match=r"\(K, 3\) to match the input .* but got a tensor of shape \(2, 5\)"):
        LocalPathIntegration(never, references=fitted).attribute(torch.ones(2, 3), target=0)


def test_a_distribution_fitted_on_another_number_of_outputs_is_refused(weights):
    fitted = ReferenceDistribution.fit(lambda x: x, torch.rand(4, 3), n_references=2)
    with pytest.raises(ArgumentError, match=r"a model with 2 outputs, as this one has, but got .* fitted on 3 outputs"):
        LocalPathIntegration(lambda x: x @ weights, references=fitted).attribute(torch.ones(2, 3), target=0)


def test_a_set_of_references_passed_as_baselines_is_refused_with_the_way_to_do_it(ig):
    with pytest.raises(
        ArgumentError, match=r"input's shape \(2, 3\) or one row .* \(5, 3\).*constructor as `references`"
    ):
        ig.attribute(torch.ones(2, 3), baselines=torch.zeros(5, 3), target=0)


@pytest.mark.parametrize("target", [2, -3, torch.tensor(7), [0, 2], torch.tensor([0, 5])])
def test_a_target_out_of_range_is_named_with_the_range(ig, target):
    with pytest.raises(ArgumentError, match="`target` to be an index from 0 to 1, the model's outputs, but got"):
        ig.attribute(torch.ones(2, 3), target=target)


@pytest.mark.parametrize("rows_at_once", [1, None])
@pytest.mark.parametrize("target", [torch.tensor([0, -1]), [-1, 0]])
def test_an_index_from_the_end_is_refused_where_every_row_has_its_own(ig, target, rows_at_once):
    with pytest.raises(ArgumentError, match="an index from 0, where every row has its own, but got -1"):
        ig.attribute(torch.ones(2, 3), target=target, internal_batch_size=rows_at_once)


def test_a_tuple_target_out_of_range_is_named(weights):
    ig = IntegratedGradients(lambda x: (x @ weights)[:, None])
    with pytest.raises(
        ArgumentError, match=r"index into one row's outputs, which have shape \(1, 2\), but got tuple \(0, 5\)"
    ):
        ig.attribute(torch.ones(1, 3), target=(0, 5))


@pytest.mark.parametrize("target", ["cat", 1.5, torch.tensor([0.0, 1.0]), [], [0.5, 1]])
def test_a_target_of_a_wrong_type_is_refused(ig, target):
    with pytest.raises(
        ArgumentTypeError, match="`target` to be an int, a tuple of ints, a function, a tensor or a list"
    ):
        ig.attribute(torch.ones(2, 3), target=target)


@pytest.mark.parametrize("target", [[0], [0, 1, 0], torch.tensor([0, 1, 1])])
def test_a_target_list_of_another_length_is_refused(ig, target):
    with pytest.raises(ArgumentError, match="`target` to be one index, or one for each of the 2 rows"):
        ig.attribute(torch.ones(2, 3), target=target)


def test_no_target_for_a_model_with_several_outputs_is_refused(ig):
    with pytest.raises(
        ModelOutputError, match=r"one score for each row, but the output of shape .* target NoneType None"
    ):
        ig.attribute(torch.ones(2, 3))


@pytest.mark.parametrize(("argument", "value"), [("n_steps", 0), ("internal_batch_size", 0), ("n_steps", -3)])
def test_zero_steps_or_rows_are_refused(ig, argument, value):
    with pytest.raises(ArgumentError, match=f"`{argument}` to be an integer of at least 1, but got {value}"):
        ig.attribute(torch.ones(1, 3), target=0, **{argument: value})


def test_a_number_of_steps_that_is_no_integer_is_refused(ig):
    with pytest.raises(ArgumentTypeError, match=r"`n_steps` to be an integer of at least 1, but got float 2\.5"):
        ig.attribute(torch.ones(1, 3), target=0, n_steps=2.5)


def test_an_unknown_method_is_answered_with_the_list(ig):
    with pytest.raises(
        ArgumentError, match='one of "gausslegendre", .* "stratified", "adaptive", but got str \'simpson\''
    ):
        ig.attribute(torch.ones(1, 3), target=0, method="simpson")


@pytest.mark.parametrize(("method", "least"), [("riemann_trapezoid", 2), ("adaptive", 3)])
def test_too_few_steps_for_a_rule_are_refused(ig, method, least):
    with pytest.raises(ArgumentError, match=f'at least {least} for method "{method}", but got 1'):
        ig.attribute(torch.ones(1, 3), target=0, method=method, n_steps=1)


def test_tol_belongs_to_the_adaptive_rule_and_is_positive(ig):
    with pytest.raises(ArgumentsConflictError, match='`tol` and `method` do not fit each other: only "adaptive" stops'):
        ig.attribute(torch.ones(1, 3), target=0, tol=0.1)
    with pytest.raises(ArgumentError, match="`tol` to be a positive number, but got int 0"):
        ig.attribute(torch.ones(1, 3), target=0, tol=0, method="adaptive")


def test_generators_are_checked(ig):
    with pytest.raises(ArgumentTypeError, match=r"`generator` to be a torch\.Generator or a sequence of them"):
        ig.attribute(torch.ones(1, 3), target=0, method="stratified", generator=3)
    with pytest.raises(ArgumentError, match="one for each of the 3 rows, but got 2 generators"):
        ig.attribute(torch.ones(3, 3), target=0, method="stratified", generator=[torch.Generator()] * 2)


def test_inference_mode_is_refused_with_the_alternative(ig):
    with torch.inference_mode(), pytest.raises(InferenceModeError, match=r"torch\.no_grad\(\), which is respected"):
        ig.attribute(torch.ones(1, 3), target=0)


def test_tensors_made_in_inference_mode_can_be_explained_outside_of_it(ig, weights):
    with torch.inference_mode():
        x = torch.ones(1, 3)
    torch.testing.assert_close(ig.attribute(x, target=0), weights[:, 0][None])


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda x: x.sum(), "one row for each of the 2 rows that it was given, but got a tensor of shape"),
        (lambda x: [x.sum(1)], "to return a tensor, but got list"),
        (lambda x: x.detach().sum(1), "does not depend on its inputs through autograd"),
    ],
)
def test_a_model_that_does_not_return_a_score_for_each_row_is_named(model, reason):
    with pytest.raises(ModelOutputError, match=reason):
        IntegratedGradients(model).attribute(torch.ones(2, 3), n_steps=1)


def test_outputs_of_another_number_of_rows_have_captums_gradients_and_no_delta():
    def twice(x):
        return torch.cat([x, 2 * x]).sum(1)

    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    ig = IntegratedGradients(twice)
    expected = captum.attr.IntegratedGradients(twice).attribute(x, n_steps=5, internal_batch_size=2)
    torch.testing.assert_close(ig.attribute(x, n_steps=5), 3 * x)
    torch.testing.assert_close(expected.float(), 3 * x)  # captum 0.7 returns float64
    for method in ("adaptive", "gausslegendre"):
        with pytest.raises(ModelOutputError, match=r"one row for each of the \d+ rows .* but got a tensor of shape"):
            ig.attribute(x, n_steps=5, method=method, return_convergence_delta=True)


def test_forward_arguments_that_follow_rows_need_a_fitted_distribution(weights):
    lpi = LocalPathIntegration(lambda x, s: (x @ weights) * s[:, None], references=torch.rand(4, 3))
    with pytest.raises(ArgumentError, match="a fitted ReferenceDistribution, since forward arguments that follow"):
        lpi.attribute(torch.ones(2, 3), target=0, additional_forward_args=torch.ones(2))


def test_no_references_and_no_baselines_warns_once_naming_the_argument(weights):
    for method in (ExpectedGradients, LocalPathIntegration):
        explainer = method(lambda x: x @ weights)
        with pytest.warns(UserWarning, match="has no references and acts as .* `references=`") as seen:
            explainer.attribute(torch.ones(1, 3), target=1)
        assert seen[0].filename == __file__
        actual = explainer.attribute(torch.ones(1, 3), target=1)  # a second warning would be an error here
        torch.testing.assert_close(actual, weights[:, 1][None])


def test_one_sample_is_no_neighbourhood():
    with pytest.raises(ArgumentError, match="`references` to be a fitted distribution or at least two samples"):
        LocalPathIntegration(never, references=torch.ones(1, 3))


def test_a_target_out_of_range_is_quoted_as_it_was_given(weights):
    ig = IntegratedGradients(lambda x: (x @ weights)[:, None])
    with pytest.raises(ArgumentError, match=r"but got list \[\(0, 1\), \(0, 5\)\]"):
        ig.attribute(torch.ones(2, 3), target=[(0, 1), (0, 5)])


def test_numbers_of_numpy_are_numbers(ig, weights):
    actual = ig.attribute(torch.ones(1, 3), baselines=np.float32(0), target=0, n_steps=np.int64(5))
    torch.testing.assert_close(actual, weights[:, 0][None])


def test_errors_survive_pickling_between_processes():
    error = ArgumentError("n_steps", "at least 1", "0")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == "Expected argument `n_steps` to be at least 1, but got 0."
    assert isinstance(again, ValueError)
