"""Two minutes of the campaign, and the table of calls against the public surface."""

import inspect
import random
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import captum_ext.attr
import captum_ext.dataset
import captum_ext.metrics
import captum_ext.references
import captum_ext.upsampling
import captum_ext.visualize
from tests.fuzz import engine, kind_calls
from tests.fuzz.call_table import ENTRIES
from tests.fuzz.kinds import KINDS

pytestmark = pytest.mark.long

SECONDS = 12

# Public names that are not in the table, and why.
ELSEWHERE = {
    **dict.fromkeys(("EG", "LPI", "MWP", "SAMP", "USU", "WeightedIG"), "a short name"),
    **dict.fromkeys(("LayerEG", "LayerLPI", "LayerWeightedIG", "NeuronEG", "NeuronLPI", "NeuronWeightedIG"), "short"),
    **dict.fromkeys(("METHODS", "UPSAMPLERS"), "a table of names"),
    **dict.fromkeys(("BaselineFitness", "PathScores", "Comparison", "Infidelity", "PerturbationCurve"), "a result"),
    **dict.fromkeys(("DesiderataReport",), "a result"),
    **dict.fromkeys(("Upsampler", "ScoringUpsampler"), "a protocol"),
    **dict.fromkeys(("method_class", "method_settings"), "its one argument is a name: tests/attr/test_registry.py"),
    "upsample_maps": "its arguments are those of an upsampler",
    "attribute_dataset": "reads and writes files: the kinds about run folders",
    "DatasetAttributions": "reads files: the kinds about run folders",
    **dict.fromkeys(("Caption", "ForestLine"), "texts, which are shown as they are, and what show_forest checks"),
    **dict.fromkeys(("Mark", "Palette"), "words and a table of colours: tests/visualize"),
    "Outside": "a result",
    "PALETTES": "a table of names",
    **dict.fromkeys(("figure_pixels", "save_figure"), "they take any figure of matplotlib's: tests/visualize"),
}
# Arguments that are functions, or go to the caller's functions as they are.
CALLERS = {"forward_func", "additional_forward_args", "self", "cls", "feature_mask", "score", "fill", "upsampler"}
# Arguments that change what is returned, allow something, or are checked in tests of their own.
SWITCHES = {
    *(
        "return_convergence_delta",
        "return_path",
        "return_standard_error",
        "tol",
        "tol_map",
        "allow_batch_statistics",
        "allow_other_model",
        "masked",
    ),
    *("metadata", "probe_outputs", "token_ids", "layer", "device_ids", "return_segments"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_the_campaign_breaks_nothing(kind):
    found = engine.campaign([KINDS[kind]], SECONDS, seed=0)[kind]
    assert found.broken == []
    assert found.tried > 0


@pytest.mark.parametrize("name", ENTRIES)
@settings(max_examples=15)
@given(data=st.data())
def test_an_odd_value_is_refused_by_name_or_gives_the_right_value(name, data):
    argument = data.draw(st.sampled_from(sorted(ENTRIES[name].kinds)))
    usual = ENTRIES[name].usual.get(argument)
    draws = data.draw(st.randoms(use_true_random=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, for the odd tensors
        label, value = ENTRIES[name].kinds[argument].odd(draws, usual)
        kind_calls.tried(ENTRIES[name], argument, label, value)


def public():
    modules = (captum_ext.attr, captum_ext.metrics, captum_ext.upsampling, captum_ext.references, captum_ext.dataset)
    modules += (captum_ext.visualize,)
    return {name: getattr(module, name) for module in modules for name in module.__all__}


def test_every_public_function_is_in_the_table_or_a_reason_is_given():
    assert set(public()) - set(ENTRIES) == set(ELSEWHERE)


@pytest.mark.parametrize("name", sorted(set(ENTRIES) & set(public())))
def test_every_argument_of_a_public_function_is_in_the_table(name):
    value = public()[name]
    arguments = set(inspect.signature(value).parameters)
    for method in ("attribute", "__call__"):
        if any(method in vars(one) for one in getattr(value, "__mro__", ())[:-1]):
            arguments |= set(inspect.signature(getattr(value, method)).parameters)
    assert arguments - CALLERS - SWITCHES <= set(ENTRIES[name].kinds) | {"mean", "std", "target"}


def test_a_case_is_repeated_by_its_kind_seed_and_number(tmp_path):
    for number in range(20):
        first, again = (kind_calls.case(engine.random_of("calls", 7, number), tmp_path) for _ in range(2))
        assert first.about == again.about
    assert engine.random_of("calls", 7, 1).random() != engine.random_of("calls", 8, 1).random()


class Half:
    """A kind that breaks in every second case."""

    NAME = "half"
    SAYS = "half of it breaks"

    @staticmethod
    def case(random, folder):
        number = random.random()

        def run():
            if number < 0.5:
                raise engine.Broken("as it should")
            return engine.Outcome.RIGHT

        return engine.Case("half", run)


def test_the_engine_counts_what_breaks_and_names_the_case(capsys):
    found = engine.campaign([Half], 60, seed=1, most=20)
    expected = sum(random.Random(f"half:1:{number}").random() < 0.5 for number in range(20))
    assert found["half"].tried == 20
    assert len(found["half"].broken) == expected
    assert found["half"].broken[0].startswith("half 1:")
    assert engine.report(found) == 1
    assert f"half: 20 tried: {20 - expected} right, {expected} broken" in capsys.readouterr().out


def test_a_case_that_does_not_end_is_stopped(monkeypatch):
    monkeypatch.setattr(engine, "SECONDS", 1)

    class Endless(Half):
        @staticmethod
        def case(random, folder):
            def run():
                while True:
                    pass

            return engine.Case("endless", run)

    counts = engine.Counts()
    engine.try_case(Endless, 0, 0, counts)
    assert "Hang: no end after 1 s" in counts.broken[0]


def test_a_child_that_takes_too_much_memory_or_dies_is_seen():
    assert engine.in_child(lambda: 3, megabytes=100) == 3
    with pytest.raises(engine.Broken, match="MB of memory"):
        engine.in_child(lambda: len(bytearray(200 * 2**20)), megabytes=100)
    with pytest.raises(ValueError, match="as it was"):
        engine.in_child(lambda: (_ for _ in ()).throw(ValueError("as it was")), megabytes=100)
    with pytest.raises(engine.Broken, match="died with exit code 3"):
        engine.in_child(lambda: __import__("os")._exit(3), megabytes=100)
