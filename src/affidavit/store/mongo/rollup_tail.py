"""What rollups do not hold yet: the newest records, found by their numbers.

A keeper adds to rollups every few seconds, so their newest seals and what is not sealed yet are
missing in them. Leaf batches name both exactly, by writer and numbers, whatever times the records
are of: so an answer is the cells and these, and nothing is counted twice or left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from affidavit.event import EPOCH, Document
from affidavit.integrity.leaves import LEDGER
from affidavit.store.analytics import Key, SumQuestion
from affidavit.store.mongo.analytics import MongoCalls, oldest_record
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.counting import Stages
from affidavit.store.mongo.driver import translated
from affidavit.tally.sums import Sums

MOST: Final = 200
"""Runs of numbers that are asked for one by one; each takes a millisecond or two."""

MAX_TIME_MS: Final = 15_000

LATE: Final = timedelta(seconds=60)
"""Rollups that are further behind the log are not asked."""

_MUCH: Final = "Much is not in the rollups yet; `affidavit rollups status`."


class Run(NamedTuple):
    """Numbers of one writer, without a hole: from ``first`` up to, not including, ``end``."""

    writer: str
    first: int
    end: int


class _Numbered(MongoCalls):
    """Answers from the records of one run alone."""

    def __init__(
        self, location: Location, legacy_timezone: str | None, run: Run, oldest: datetime | None
    ) -> None:
        super().__init__(location, legacy_timezone)
        self._run_oldest = oldest
        numbers = {"$gte": run.first, "$lt": run.end}
        self._chosen: Stages = [{"$match": {"writer": run.writer, "seq": numbers}}]

    def _oldest(self) -> datetime | None:
        return self._run_oldest

    def _calls(self, question: SumQuestion) -> Stages:
        return [*self._chosen, *super()._calls(question)]

    def _corrected(self, question: SumQuestion) -> Stages:
        return [*self._chosen, *super()._corrected(question)]


class Tail:
    """Finds and adds up what is not in the cells of one log; for any number of threads."""

    def __init__(self, location: Location, legacy_timezone: str | None = None) -> None:
        self._location = location
        self._legacy = legacy_timezone
        database, names = location.database, location.names
        self._seals = database[names.seals]
        self._batches = database[names.leaf_batches]
        self._records = database[names.records]

    def look(self, state: Document) -> tuple[Run, ...] | str:
        """List what a side of the rollups lacks, by its state; a text says why that is too much."""
        # Most numbers that were missing never come; the newest of them may have come by now.
        missing = sorted(state.get("missing", ()))[-_MISSING:]
        found = [Run(w, first, first + many) for _k, w, first, many in missing]
        with translated("look what is not in the rollups yet"):
            mark = self._of_seals(state["k"], found)
            if isinstance(mark, str):
                return mark
            said = self._of_batches(mark, found)
        if said:
            return said
        runs = tuple(_joined(found))
        return runs if len(runs) <= MOST else _MUCH

    def _of_seals(self, k: int, found: list[Run]) -> datetime | str:
        """Add what newer seals than ``k`` hold; tell up to when leaf batches are sealed."""
        mark: datetime | None = None
        newer = {"$cond": [{"$gt": ["$_id", k]}, "$items", []]}
        seals = self._seals.find(
            {"_id": {"$gte": max(k, 0)}},
            {"at": 1, "mark": 1, "items": newer},
            max_time_ms=MAX_TIME_MS,
        )
        for seal in seals.sort("_id", 1):
            if seal["_id"] > k and datetime.now(UTC) - seal["at"] > LATE:
                return f"Rollups are {self._last() - k} seals behind; `affidavit rollups status`."
            found += _of_items(seal["items"])
            mark = seal.get("mark") or mark or EPOCH
            if len(found) > _LOOKED_AT:
                return _MUCH
        return "The log is not sealed, so there are no rollups." if mark is None else mark

    def _last(self) -> int:
        last = self._seals.find_one({"_id": {"$gte": 0}}, {"_id": 1}, sort=[("_id", -1)])
        return 0 if last is None else int(last["_id"])

    def _of_batches(self, mark: datetime, found: list[Run]) -> str:
        """Add what is not sealed yet; say so if it is too much or waits for too long."""
        waiting = self._batches.find(
            # Whoever reads leaves a batch of one leaf of the ledger: those say nothing of calls.
            {"sent_at": {"$gt": mark}, "k": {"$ne": bytes([LEDGER])}},
            {"_id": 0, "w": 1, "s0": 1, "n": 1, "k": 1, "sent_at": 1},
            max_time_ms=MAX_TIME_MS,
        )
        looked_at = 0
        for batch in waiting.sort("sent_at", 1).limit(_LOOKED_AT):
            looked_at += 1
            if _of_ledger(batch):
                continue
            if datetime.now(UTC) - batch["sent_at"] > LATE:
                return "The sealer is more than a minute behind the log; `affidavit status`."
            found.append(Run(batch["w"], batch["s0"], batch["s0"] + batch["n"]))
        return _MUCH if looked_at == _LOOKED_AT else ""

    def sums(
        self, runs: Sequence[Run], question: SumQuestion, spans: Iterable[tuple[datetime, datetime]]
    ) -> Iterator[tuple[Key, Sums]]:
        """Give sums of these records in these spans; a group may come several times."""
        oldest = oldest_record(self._records) if runs else None
        for since, until in spans:
            span = replace(question, since=since, until=until)
            for run in runs:
                yield from _Numbered(self._location, self._legacy, run, oldest).sums(span)


_MISSING: Final = 20
"""Runs of missing numbers that are asked for; others count once a keeper has looked again."""

_LOOKED_AT: Final = 5_000
"""Leaf batches that are listed at most."""


def _of_ledger(batch: Document) -> bool:
    """Whether a batch holds the ledger's records alone: who reads leaves one for each reading."""
    kinds = batch.get("k")
    return isinstance(kinds, bytes) and bool(kinds) and set(kinds) == {LEDGER}


def _of_items(items: Iterable[Document]) -> Iterator[Run]:
    """Read a seal's items. A gap has no records, but joins what stands on both sides of it."""
    for item in items:
        if "gap" in item:
            yield Run(item["gap"], item["s0"], item["s0"] + item["n"])
        else:
            writer, _, first = item["b"].rpartition(":")
            start = int(first) + item.get("from", 0)
            yield Run(writer, start, start + item["n"])


def _joined(runs: Iterable[Run]) -> Iterator[Run]:
    """Join runs that touch or overlap."""
    held: Run | None = None
    for run in sorted(runs):
        if held is not None and run.writer == held.writer and run.first <= held.end:
            held = held._replace(end=max(held.end, run.end))
            continue
        if held is not None:
            yield held
        held = run
    if held is not None:
        yield held
