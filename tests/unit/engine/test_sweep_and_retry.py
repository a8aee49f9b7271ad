"""Flagging calls that never ended, and sending dead letters again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from affidavit._engine import sweep
from affidavit._engine.retry import dead_letters, retry
from affidavit._engine.sweep import Sweeper
from affidavit.testing import capture_events

if TYPE_CHECKING:
    from affidavit.testing import Captured


def begin_only(captured: Captured) -> str:
    """A call whose process dies before the outcome."""
    call = captured.audit.call(provider="p", message="hi")
    call.__enter__()
    return call.call_id


@pytest.mark.requirement("R1")
def test_a_call_without_an_outcome_is_flagged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished one is not; a second sweep adds nothing."""
    monkeypatch.setattr(sweep, "OPEN_FOR_MS", -1000)
    with capture_events() as captured:
        open_call = begin_only(captured)
        with captured.audit.call(provider="p", message="hi") as call:
            call.complete()
        captured.audit.flush()
        core = captured.audit._engine._running.core
        assert Sweeper(core).run() == 1
        captured.audit.flush()
        assert Sweeper(core).run() == 0
        flags = [r for r in captured.records if r["event_type"] == "annotation"]
    assert [(f["call_id"], f["kind"]) for f in flags] == [(open_call, "no_outcome")]


@pytest.mark.requirement("R1")
def test_a_call_still_running_is_left_alone() -> None:
    """It has an hour."""
    with capture_events() as captured:
        begin_only(captured)
        captured.audit.flush()
        assert Sweeper(captured.audit._engine._running.core).run() == 0


@pytest.mark.requirement("R6")
def test_a_dead_letter_can_be_sent_again_with_the_same_bytes() -> None:
    """Once the cause is mended it is stored, and no longer a dead letter."""
    with capture_events() as captured:
        with captured.audit.call(provider="p", message="hi") as call:
            captured.store.reject[call.intent_id] = "validation"
            call.complete()
        letters = dead_letters(captured.audit.config, captured.store.dataset)
        (letter,) = letters.all()
        assert letter.reason == "validation"
        again = retry(captured.store, letters, [letter])
        assert [reason for _letter, reason in again.refused] == ["validation"]
        assert letters.all() == [letter]
        captured.store.reject.clear()
        assert retry(captured.store, letters, [letter]).stored == [letter]
        assert letters.all() == []
        assert {r["status"] for r in captured.of_call(call.call_id)} == {"initiated", "completed"}
