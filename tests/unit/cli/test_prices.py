"""`affidavit prices list` and `show`: what the price book says, without any database."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.cli import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.requirement("R13")


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Run a command with --json and read what it prints."""
    capsys.readouterr()
    assert run(["prices", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_providers_and_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """All providers, or the models of one with their prices, under either of its names."""
    providers = {row["provider"]: row["models"] for row in asked(capsys, "list")}
    assert providers["openai"] > 50
    models = {row["model"]: row for row in asked(capsys, "list", "openai")}
    assert models["gpt-5"] == {
        "model": "gpt-5",
        "input": "1.25",
        "cached": "0.125",
        "output": "10",
    }
    assert asked(capsys, "list", "gcp.vertex_ai") == asked(capsys, "list", "google")


def test_a_models_prices_are_shown_for_a_time_and_a_tier(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With where they come from, and the book's name."""

    def prices(*more: str) -> dict[str, str]:
        """The price of each kind."""
        found = asked(capsys, "show", *more)
        assert found["from"] == "the list"
        return {line["kind"]: line["price"] for line in found["prices"]}

    assert prices("openai", "o3", "--at", "2026-11-20")["input"] == "2"
    assert prices("openai", "o3", "--at", "2025-06-09")["input"] == "10"
    assert prices("openai", "gpt-5", "--at", "2026-11-20", "--tier", "batch")["input"] == "0.625"


def test_prices_of_ones_own_are_shown_as_such(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a model that the list has not."""
    own = tmp_path / "prices.toml"
    own.write_text('[[price]]\nprovider = "mine"\nmodel = "m-*"\ninput = 3\noutput = 4\n')
    monkeypatch.setenv("AFFIDAVIT_PRICE_OVERRIDES", str(own))
    found = asked(capsys, "show", "mine", "m-1")
    assert found["from"] == "price_overrides (its prices, for mine m-*)"
    assert [line["price"] for line in found["prices"]] == ["3", "4"]
    assert run(["prices", "list"]) == 0
    assert "with 1 prices of your own" in capsys.readouterr().err


def test_steps_and_pieces_are_shown_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """From which length on a price holds, and what is charged by the thousand."""
    assert run(["prices", "show", "google", "gemini-2.5-pro"]) == 0
    shown = capsys.readouterr().out
    assert "more than 200,000 input tokens" in shown
    assert "1,000" in shown


@pytest.mark.parametrize("arguments", [["show", "openai", "nothing"], ["list", "nobody"]])
def test_what_the_book_does_not_know_is_said(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """With where a price of one's own goes; the exit code says that something is to be done."""
    assert run(["prices", *arguments]) == 1
    assert "price_overrides" in capsys.readouterr().err
