"""Flagging calls that never ended, and sending dead letters again."""

from __future__ import annotations

import time
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
def test_a_dead_letter_that_a_retry_stored_counts_as_stored() -> None:
    """The running writer takes that over from whoever retried; nothing is counted twice."""
    with capture_events() as captured:
        for _ in range(3):
            with captured.audit.call(provider="p", message="hi") as call:
                captured.store.reject[call.intent_id] = "validation"
                call.complete()
        before = captured.audit.stats()
        assert (before.recorded, before.stored, before.dead_lettered) == (6, 3, 3)
        letters = dead_letters(captured.audit.config, captured.store.dataset)
        captured.store.reject.clear()
        chosen = letters.all()[:2]
        retry(captured.store, letters, chosen)
        letters.forget(chosen)  # once more, as after a crash in the middle
        end_s = time.monotonic() + 5
        while captured.audit.stats().dead_lettered != 1 and time.monotonic() < end_s:
            time.sleep(0.02)
        after = captured.audit.stats()
        assert (after.recorded, after.stored, after.dead_lettered) == (6, 5, 1)
        retry(captured.store, letters, letters.all())
    last = captured.store.heartbeats[-1]
    assert (last["state"], last["counters"]["stored"], last["retried"]) == (
        "stopped", 6, {"records": 3, "ledger": 0},
    )  # fmt: skip
    assert last["counters"]["dead_lettered"] == 0


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
