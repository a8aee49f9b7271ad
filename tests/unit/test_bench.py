"""The benchmark itself works: each section at miniature size, the statistics, and the claims."""

from __future__ import annotations

import importlib
import math
import zlib

import pytest

from bench import claims
from bench.__main__ import SECTIONS
from bench.measure import Effort, bootstrap_interval, interleaved, paced, percentile, ratios
from bench.report import Figure, as_markdown, number
from bench.workload import English, calls

TARGETS = {
    "caller": 4,
    "throughput": 6,
    "sustained": 4,
    "loop_lag": 6,
    "foreground": 2,
    "share": 2,
    "storage": 2,
    "writes": 0,
    "redaction": 3,
    "views": 5,
    "wrapping": 2,
    "integrity": 3,
    "sealing": 2,
    "verifying": 3,
    "serving": 3,
    "console": 19,
}
"""Figures with a target, by section."""


@pytest.mark.requirement("R28")
@pytest.mark.parametrize("name", SECTIONS)
def test_each_section_measures_at_miniature_size(name: str) -> None:
    """Every section runs on a real server and gives finite figures, with its targets judged."""
    figures: list[Figure] = importlib.import_module(f"bench.{name}").run(Effort.TINY)
    assert len({figure.key for figure in figures}) == len(figures) > 0
    assert all(math.isfinite(figure.value) for figure in figures)
    assert sum(figure.met is not None for figure in figures) == TARGETS[name]
    assert as_markdown(["h"] * 7, [figure.cells() for figure in figures]).count("\n") > 1


@pytest.mark.requirement("R36", "R22")
def test_every_claim_of_the_document_gets_an_answer() -> None:
    """With all figures there, no claim is left unmeasured; without them, it says so."""
    needed = {need for claim in claims._claims() for need in claim.needs}
    needed |= {f"storage.{size}" for size in ("150", "1700", "4500")}
    figures = {key: Figure(key, key, 100.0, "B", "peer", 200.0, 0.5) for key in needed}
    measured = claims.rows(figures)
    assert len(measured) > 15
    assert all(claims.NOT_MEASURED not in row for row in measured)
    assert claims.NOT_MEASURED in claims.rows({})[0]


@pytest.mark.requirement("R36")
def test_a_month_is_thirty_days_of_bytes() -> None:
    """1 KiB a call at 1,024 calls a day is 30 MB a month."""
    assert claims.mb_a_month(1024, 1024) == 30


@pytest.mark.requirement("R36")
def test_texts_for_storage_are_repeatable_and_compress_like_prose() -> None:
    """The same seed gives the same calls; 32 KB of them shrink to between a half and a third."""
    assert list(calls(3, 100, 50, seed=4)) == list(calls(3, 100, 50, seed=4))
    block = English(2).text(32_768).encode()
    assert 2.0 < len(block) / len(zlib.compress(block)) < 3.2


@pytest.mark.requirement("R28")
def test_rounds_are_interleaved_and_turn_round() -> None:
    """Variants alternate in time, and every other round runs backwards."""
    order: list[str] = []
    interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b", "b", "a"]


@pytest.mark.requirement("R28")
def test_statistics_are_what_they_say() -> None:
    """Nearest-rank percentiles, ratios by round, and an interval around the median."""
    assert percentile([5, 1, 4, 2, 3], 50) == 3
    assert percentile(range(1, 101), 99) == 99
    assert ratios([2, 9], [1, 3]) == [2, 3]
    low, high = bootstrap_interval([1.0, 1.1, 0.9, 1.05, 0.95] * 4)
    assert 0.9 <= low <= 1.0 <= high <= 1.1
    assert len(list(paced(1000, 0.01))) == 10
    assert [number(value) for value in (1234.5, 12.34, 1.234, 0.0)] == [
        "1,234",
        "12.3",
        "1.23",
        "0",
    ]
