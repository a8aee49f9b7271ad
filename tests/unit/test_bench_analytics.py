"""The benchmark of analytics works: loading, sealing, folding and asking, at miniature size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import analytics

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.requirement("R13", "R14", "R15", "R16")


def test_every_question_is_asked_at_miniature_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is listed, has each question, those of sums from rollups, and every target."""
    monkeypatch.setattr("affidavit.store.mongo.rollup_standing.SMALL", 0)  # and put back afterwards
    page, readme = tmp_path / "page.md", tmp_path / "README.md"
    readme.write_text("# Documentation\n\n- [Benchmarks](benchmarks.md)\n- Other things\n")
    # The verdicts of so few calls mean nothing; that it ran does.
    assert analytics.main(["--calls", "400", "--text", "90", "--out", str(page)]) in {0, 1}
    text = page.read_text()
    for question in analytics.read_questions():
        [row] = [line for line in text.splitlines() if line.startswith(f"| {question.what} |")]
        expected = "records" if question.kind == "list" else "rollups"
        assert row.endswith(f"| {expected} |")
    assert "Keeping rollups up with them" in text
    targets = text.partition("## Targets")[2].partition("##")[0].splitlines()
    verdicts = [line for line in targets if line.endswith(("| yes |", "| MISSED |"))]
    assert len(verdicts) == 4
    analytics.list_page(page)  # once is enough
    assert readme.read_text().splitlines()[2:] == [
        "- [Benchmarks](benchmarks.md)",
        "- [Benchmarks of analytics](page.md)",
        "- Other things",
    ]
    assert "llm_audit_rollups_a" in text
