"""Work in the background: progress, end, result, cancelling from here and from elsewhere."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from affidavit.console import jobs as module
from affidavit.console.jobs import Job, Jobs, Tell
from affidavit.errors import ConfigError, SealError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

pytestmark = pytest.mark.requirement("R20")

BY = ("ana", "t1")


class Kept:
    """A service's collection in memory, as far as jobs use it."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], dict[str, Any]] = {}
        self.away = False

    def _answer(self) -> None:
        if self.away:
            msg = "It does not answer."
            raise StoreUnavailable(msg)

    def put(
        self, kind: str, name: str, document: Mapping[str, Any], until: datetime | None = None
    ) -> None:
        """Keep one."""
        self._answer()
        at = datetime.now(UTC)
        self.held[kind, name] = {
            "kind": kind, "name": name, "until": until, "made_at": at, **document
        }  # fmt: skip

    def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """Give one."""
        self._answer()
        return self.held.get((kind, name))

    def all(self, kind: str, limit: int = 200) -> Sequence[dict[str, Any]]:
        """Give those of a kind."""
        self._answer()
        return [document for (k, _), document in self.held.items() if k == kind][:limit]

    def remove(self, kind: str, name: str) -> dict[str, Any] | None:
        """Remove one."""
        self._answer()
        return self.held.pop((kind, name), None)


def ended(jobs: Jobs, job: Job) -> Job:
    """Wait for the end."""
    until_s = time.monotonic() + 10
    while time.monotonic() < until_s:
        found = jobs.find(job.kind, job.name)
        assert found is not None
        if found.state != "running":
            return found
        time.sleep(0.005)
    raise AssertionError(job)


def both() -> tuple[Jobs, Kept]:
    """Jobs, and what they are kept in."""
    kept = Kept()
    return Jobs(lambda: kept), kept  # type: ignore[arg-type, return-value]  # what jobs use of it


def test_a_result_is_kept_and_known_to_another_process() -> None:
    """With who began it, what was wanted, and how long it took."""
    jobs, kept = both()
    job = ended(jobs, jobs.begin("v", BY, {"sample": 3}, lambda _: {"clean": True, "n": 2**70}))
    other = Jobs(lambda: kept)  # type: ignore[arg-type]  # as above
    found = other.find("v", job.name)
    assert found is not None
    assert (found.state, found.result, found.by) == ("done", {"clean": True, "n": 2**70}, "ana")
    assert found.wanted == {"sample": 3}
    assert [each.name for each in other.newest("v")] == [job.name]


def test_a_failure_says_why_and_an_unexpected_one_says_no_more_than_its_kind() -> None:
    """The text of an error that nobody expected could hold content."""
    jobs, _ = both()

    def known(_: Tell) -> Mapping[str, Any]:
        msg = "Nothing is sealed."
        raise SealError(msg)

    def unknown(_: Tell) -> Mapping[str, Any]:
        msg = "a secret"
        raise RuntimeError(msg)

    first = ended(jobs, jobs.begin("v", BY, {}, known))
    second = ended(jobs, jobs.begin("v", BY, {}, unknown))
    assert (first.state, first.error) == ("failed", "Nothing is sealed.")
    assert second.error == "It failed unexpectedly (RuntimeError)."


def endless(tell: Tell) -> Mapping[str, Any]:
    """Work that ends only by being cancelled."""
    while True:
        tell("records", 1, 4)
        time.sleep(0.002)


def test_one_of_a_kind_runs_at_a_time_and_can_be_cancelled() -> None:
    """How far it is can be seen meanwhile."""
    jobs, _ = both()
    job = jobs.begin("v", BY, {}, endless)
    with pytest.raises(ConfigError, match="running already"):
        jobs.begin("v", BY, {}, endless)
    time.sleep(0.02)
    assert job.part == 0.25
    jobs.cancel("v", job.name)
    assert ended(jobs, job).state == "cancelled"
    assert ended(jobs, jobs.begin("v", BY, {}, lambda _: {})).state == "done"


def test_another_process_cancels_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a note in what both share."""
    monkeypatch.setattr(module, "_TELL_S", 0.0)
    jobs, kept = both()
    job = jobs.begin("v", BY, {}, endless)
    Jobs(lambda: kept).cancel("v", job.name)  # type: ignore[arg-type]  # as above
    assert ended(jobs, job).state == "cancelled"


def test_work_goes_on_while_nothing_can_be_kept() -> None:
    """This process knows its end all the same."""
    jobs, kept = both()
    kept.away = True
    going = threading.Event()

    def work(tell: Tell) -> Mapping[str, Any]:
        going.wait(5)
        tell("records", 1, 1)
        return {"clean": True}

    job = jobs.begin("v", BY, {}, work)
    going.set()
    assert ended(jobs, job).result == {"clean": True}


def test_one_that_is_not_heard_of_was_cut_off() -> None:
    """Its process is gone, and nobody will end it."""
    jobs, kept = both()
    at = datetime.now(UTC) - timedelta(minutes=5)
    job = Job("v", "n1", *BY, at, {}, heard_at=at)
    kept.put("v", "n1", job.as_document())
    found = jobs.find("v", "n1")
    assert found is not None
    assert found.state == "cut off"
