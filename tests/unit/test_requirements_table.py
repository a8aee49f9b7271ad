"""The table behind `make requirements`: what counts as shown, broken, or a hole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.requirements import (
    OWED,
    REQUIREMENTS,
    Result,
    Row,
    read_results,
    render,
    table,
    write_results,
)

if TYPE_CHECKING:
    from pathlib import Path


def row(requirement: str, *results: Result) -> Row:
    """The row of one requirement, in the table made of ``results``."""
    return next(row for row in table(results) if row.requirement == requirement)


def test_an_owed_requirement_without_a_test_is_a_hole() -> None:
    """Nothing owed is forgotten."""
    assert row("R8").is_hole
    assert row("R8").verdict == "HOLE"


def test_a_requirement_not_owed_yet_is_no_hole() -> None:
    """The list of what is owed grows with the product."""
    assert not row("R37").is_hole
    assert row("R37").verdict == "not yet"


def test_one_passing_test_shows_a_requirement() -> None:
    """The lower bound; judging the tests themselves is for people."""
    assert not row("R8", Result("a::b", "passed", ("R8",))).is_hole


def test_a_skipped_test_shows_nothing() -> None:
    """A test that did not run is no evidence."""
    assert row("R8", Result("a::b", "skipped", ("R8",))).is_hole


def test_one_failing_test_makes_a_hole_beside_passing_ones() -> None:
    """Also for what is not owed yet."""
    results = (Result("a::b", "passed", ("R37",)), Result("a::c", "failed", ("R37",)))
    assert row("R37", *results).verdict == "FAILED"
    assert row("R37", *results).is_hole


def test_the_cases_of_one_test_share_a_line() -> None:
    """A hundred parameters do not hide the other tests."""
    results = [Result(f"a::b[{number}]", "passed", ("R8",)) for number in range(100)]
    text = render([row("R8", *results)])
    assert "a::b (100 cases)" in text
    assert len(text.splitlines()) == 2


def test_results_are_the_same_after_saving_and_reading(tmp_path: Path) -> None:
    """Two rounds of tests write two files, and the table is made of both."""
    first = Result("a::b", "passed", ("R8", "R9"))
    second = Result("a::c", "failed")
    write_results(tmp_path / "one.json", [first])
    write_results(tmp_path / "two.json", [second])
    assert read_results(tmp_path) == [first, second]


def test_everything_owed_is_a_known_requirement() -> None:
    """The two lists can not drift apart."""
    assert set(REQUIREMENTS) >= OWED
