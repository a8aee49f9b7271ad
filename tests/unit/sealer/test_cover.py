"""Which numbers are sealed: runs that merge, parts that are new, parts that are late."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.sealer.cover import Cover, Ranges, spans
from affidavit.sealer.gaps import split_runs

pytestmark = pytest.mark.requirement("R20")

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda s: (s[0], sum(s))))


def numbers(found: object) -> set[int]:
    """The numbers of some runs."""
    return {n for start, end in found for n in range(start, end)}  # type: ignore[attr-defined]


@given(SPANS, st.integers(0, 70), st.integers(0, 70))
def test_ranges_are_a_set_of_numbers(added: list[tuple[int, int]], start: int, end: int) -> None:
    """Whatever is added in whatever order; runs stay apart, sorted and as long as can be."""
    ranges, truth = Ranges(added), numbers(added)
    runs = list(ranges)
    assert numbers(runs) == truth
    assert all(a < b for a, b in runs)
    assert all(one[1] < two[0] for one, two in itertools.pairwise(runs))
    inside = set(range(start, end))
    assert numbers(ranges.within(start, end)) == truth & inside
    assert numbers(ranges.missing(start, end)) == inside - truth
    assert ranges.top == max(truth, default=-1) + 1


@given(SPANS, SPANS, st.integers(0, 70), st.integers(1, 20))
def test_what_is_new_is_told_from_what_is_late(
    leaves: list[tuple[int, int]], gaps: list[tuple[int, int]], start: int, n: int
) -> None:
    """A number without a leaf is new, and late where a gap stands for it."""
    cover = Cover(leaves, gaps)
    parts = cover.parts(start, start + n)
    wanted = set(range(start, start + n)) - numbers(leaves)
    assert numbers((a, b) for a, b, late in parts if late) == wanted & numbers(gaps)
    assert numbers((a, b) for a, b, late in parts if not late) == wanted - numbers(gaps)
    assert [a for a, _, _ in parts] == sorted(a for a, _, _ in parts)
    flat = cover.flat()
    again = Cover(spans(flat[0]), spans(flat[1]), cover.key)
    assert (list(again.leaves), list(again.gaps)) == (list(cover.leaves), list(cover.gaps))
    copied = cover.copy()
    copied.add_leaves(start, start + n)
    copied.pass_over(100, 110)
    assert cover.parts(start, start + n) == parts
    assert numbers(copied.holes(110)) == set(range(100)) - numbers(copied.sealed)


@given(st.sets(st.integers(0, 40)), st.integers(0, 20), st.integers(21, 45))
def test_runs_that_are_there_and_absent(there: set[int], start: int, end: int) -> None:
    """Together they are everything between the bounds."""
    chosen = sorted(n for n in there if start <= n < end)
    found, absent = split_runs(chosen, start, end)
    assert numbers(found) == set(chosen)
    assert numbers(absent) == set(range(start, end)) - set(chosen)
