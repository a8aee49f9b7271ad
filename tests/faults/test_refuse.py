"""``on_failure="refuse"``: a model that may be called leaves an intent, whatever happens next."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.stage import Row, Stage
from tests.support.accounts import read_acks, read_intents

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Servers for this file."""
    with Stage(seed=7) as opened:
        yield opened


@pytest.mark.serial
@pytest.mark.requirement("R6", "R8")
@pytest.mark.parametrize("durable", ["store", "spool"])
def test_a_call_that_was_allowed_has_its_intent_after_a_kill(stage: Stage, durable: str) -> None:
    """The process is killed in the middle of calls, with the database there and away."""
    row = Row("refuse", "direct")
    one = stage.round(row)
    settings = {"on_failure": "refuse", "durable": durable, "write_timeout": 0.3}
    files = []
    for number in range(3):
        stage.proxy.heal()
        job = one.job(rate=200.0, threads=4, call_s=0.05, settings=settings)
        pid = stage.zygote.spawn(job)
        time.sleep(0.7)
        if number % 2:
            stage.proxy.refuse()
            time.sleep(0.4)
        one.killed.append((Path(job.acks), stage.zygote.kill(pid)))
        files.append(Path(job.acks))
    stage.proxy.heal()
    allowed = [call_id for path in files for call_id in read_intents(path)]
    returned = [call.call_id for path in files for call in read_acks(path)]
    with one.worker(rate=50.0) as last:
        one.wait_for_adoption(last)
        last.stop()
    there = set(stage.client[one.name]["llm_audit"].distinct("call_id", {"status": "initiated"}))
    assert len(allowed) > len(returned) > 30
    assert [call_id for call_id in allowed if call_id not in there] == []


@pytest.mark.serial
@pytest.mark.requirement("R6")
def test_no_call_is_allowed_while_the_store_is_away(stage: Stage) -> None:
    """With durable="store" nothing goes on in an outage; with "spool" all does."""
    counts = {}
    for durable in ("store", "spool"):
        one = stage.round(Row("refuse", "direct"))
        settings = {"on_failure": "refuse", "durable": durable, "write_timeout": 0.3}
        with one.worker(rate=100.0, threads=4, settings=settings) as worker:
            time.sleep(0.5)
            stage.proxy.refuse()
            time.sleep(0.6)  # those under way when the line was cut
            before = len(read_intents(Path(worker.job.acks)))
            time.sleep(1.0)
            counts[durable] = len(read_intents(Path(worker.job.acks))) - before
            stage.proxy.heal()
            time.sleep(1.0)
            assert len(read_intents(Path(worker.job.acks))) > before + counts[durable], durable
            last = worker.stop()
        assert last["flushed"]
        assert last["lost"] == 0
    assert counts["store"] == 0
    assert counts["spool"] > 50
