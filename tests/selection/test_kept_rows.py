"""The decision on scores of real networks: what the benchmark keeps."""

import pytest

pytest.importorskip("typer")  # the benchmark has its engine from the command line

from captum_ext.selection import Kind
from examples.choosing import kept_answers


@pytest.mark.long
def test_the_kept_rows_of_the_benchmark_name_the_same_methods_as_its_tables():
    answers = kept_answers()
    assert {name: (one.kind, one.methods) for name, one in answers.items()} == {
        "paths-imagenet20": (Kind.USE, ("samp++-insertion",)),
        "paths-digits": (Kind.USE, ("samp++",)),
    }
    assert answers["paths-digits"].n_images == 60  # of 200
