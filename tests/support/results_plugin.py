"""The pytest plugin behind ``make requirements``: marks are checked, results are saved.

With pytest-xdist the tests run in workers and their results arrive in the controller, so the
requirements of a test travel with its report, as a user property.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.requirements import (
    FAILED,
    PASSED,
    REQUIREMENTS,
    SKIPPED,
    Result,
    write_results,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

PROPERTY = "requirements"


class ResultsPlugin:
    """Collects the end of every test, and saves them all when the run is over."""

    def __init__(self, path: Path) -> None:
        """Results go to the file ``path``."""
        self._path = path
        self._results: dict[str, Result] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test fails when its set-up, its body or its tear-down does."""
        known = self._results.get(report.nodeid)
        if report.failed:
            outcome = FAILED
        elif known is not None and known.outcome == FAILED:
            return
        elif report.skipped:
            outcome = SKIPPED
        elif report.when == "call":
            outcome = PASSED
        else:
            return
        requirements: tuple[str, ...] = ()
        for name, value in report.user_properties:
            if name == PROPERTY and isinstance(value, list):
                requirements = tuple(value)
        self._results[report.nodeid] = Result(report.nodeid, outcome, requirements)

    def pytest_sessionfinish(self) -> None:
        """Save what was seen, also when the run was interrupted."""
        write_results(self._path, self._results.values())


def attach_requirements(items: Iterable[pytest.Item]) -> None:
    """Put each test's requirements where its report carries them along.

    Raises:
        pytest.UsageError: a mark names a requirement that does not exist.
    """
    for item in items:
        named: list[str] = []
        for mark in item.iter_markers("requirement"):
            for requirement in mark.args:
                if requirement not in REQUIREMENTS:
                    raise pytest.UsageError(
                        f"{item.nodeid} is marked with the requirement {requirement!r}, which does "
                        "not exist. The list is in tests/support/requirements.py."
                    )
                if requirement not in named:
                    named.append(requirement)
        if named:
            item.user_properties.append((PROPERTY, named))


def register(config: pytest.Config) -> None:
    """Switch the collecting on, in the process that sees every report."""
    path = config.getoption("results")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(ResultsPlugin(Path(path)), "affidavit-results")
