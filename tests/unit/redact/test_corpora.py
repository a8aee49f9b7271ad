"""Precision and recall on the labelled corpora, and ordinary numbers."""

from __future__ import annotations

import json

import pytest

from bench import redaction as bench
from tests.corpora import make

pytestmark = pytest.mark.requirement("R21")


@pytest.mark.parametrize("name", sorted(bench.PARTS))
def test_structured_kinds_are_found_and_little_else(name: str) -> None:
    """At least 0.97 of both, in the blind parts as well."""
    score = bench.evaluate(name, bench.PARTS[name]).structured
    assert score.recall >= bench.GOAL
    assert score.precision >= bench.GOAL


@pytest.mark.parametrize("preset", ["default", "trading"])
def test_ordinary_numbers_are_not_touched(preset: str) -> None:
    """At most one in a thousand."""
    assert bench.touched(preset) <= bench.NUMBERS_GOAL


@pytest.mark.parametrize(("name", "seed"), make.SEEDS.items())
def test_the_corpora_are_those_of_their_templates(name: str, seed: int) -> None:
    """Made again, they are the same."""
    assert list(bench.items(name)) == json.loads(json.dumps(make.corpus(name, seed)))


@pytest.mark.parametrize("name", sorted(bench.PARTS))
def test_labels_stand_in_order_inside_their_texts(name: str) -> None:
    """Offsets are those of Python, and no two labels overlap."""
    for item in bench.items(name):
        ends = [0, *(span["end"] for span in item["spans"])]
        for before, span in zip(ends, item["spans"], strict=False):
            assert before <= span["start"] < span["end"] <= len(item["text"]), item["id"]
