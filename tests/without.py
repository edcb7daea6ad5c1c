"""A plugin for `nox -s without`: what says that it needs an extra that is not there is skipped, also as an example.

    CAPTUM_EXT_WITHOUT=dataset,view python -m pytest -p tests.without

Any other error is one, such as the bare ModuleNotFoundError of a package that no message names.
"""

import os
from collections.abc import Iterator

import pytest

from captum_ext.exceptions import MissingExtraError

EXTRAS = [f"captum-ext[{name}]" for name in os.environ.get("CAPTUM_EXT_WITHOUT", "").split(",") if name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.excinfo is not None and any(map(is_of_missing, errors_of(call.excinfo.value))):
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"Skipped: {call.excinfo.value}")
    return report


def is_of_missing(error: BaseException) -> bool:
    return isinstance(error, MissingExtraError) and any(extra in str(error) for extra in EXTRAS)


def errors_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised in answer to, and those that lines of an example raised."""
    while error is not None:
        yield error
        for failure in getattr(error, "failures", [error]):
            if (raised := getattr(failure, "exc_info", None)) is not None:
                yield raised[1]
        error = error.__cause__ or error.__context__
