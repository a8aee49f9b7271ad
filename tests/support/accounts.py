"""Counting afterwards: what was promised, what is there, and whether the numbers add up.

Nothing here trusts a number of ours alone: stored is counted in the collections, promised in the
file the worker wrote, dead in the dead letters' file; the writers' own numbers must agree.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from affidavit.spool.dead import DeadLetters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from pymongo.database import Database

OF_WRITERS = {"writer": {"$ne": "sealer"}}
"""Heartbeats of writers; sealers leave marks among them."""

PARTS = ("queued", "stored", "spooled", "dead_lettered", "lost")


@dataclass(frozen=True, slots=True)
class Returned:
    """One call that returned to its caller."""

    call_id: str
    promised: bool
    at_s: float
    """``time.monotonic()``, which is the same clock in every process of a machine."""
    waited_ms: float


def read_acks(path: Path) -> list[Returned]:
    """Read the calls that returned from a worker's file."""
    found = []
    for line in _lines(path):
        kind, call_id, at_s, waited_ms = line.split(" ")
        if kind != "I":
            found.append(Returned(call_id, kind == "P", float(at_s), float(waited_ms)))
    return found


def read_intents(path: Path) -> list[str]:
    """Read the calls that the worker was allowed to make, under ``on_failure="refuse"``."""
    return [line.split(" ")[1] for line in _lines(path) if line.startswith("I ")]


def _lines(path: Path) -> list[str]:
    """A last line cut short by a kill was no acknowledgement."""
    return path.read_text("ascii").split("\n")[:-1] if path.exists() else []


@dataclass
class Account:
    """What the database and the spool folder hold, and what is wrong with it."""

    returned: int = 0
    promised: int = 0
    present: int = 0
    """Returned calls of which intent and outcome are there."""
    duplicates: int = 0
    missing_promised: list[str] = field(default_factory=list)
    missing: list[Returned] = field(default_factory=list)
    losses: list[int] = field(default_factory=list)
    """Records counted as lost, of each writer, by itself or by whoever took over its spool."""
    errors: list[str] = field(default_factory=list)
    """What does not add up."""

    @property
    def lost(self) -> int:
        """Records counted as lost."""
        return sum(self.losses)

    def wrong(self) -> list[str]:
        """Everything that breaks the promise, as sentences; empty when all is well."""
        found = list(self.errors)
        if self.missing_promised:
            found.append(
                f"{len(self.missing_promised)} promised calls are not there: "
                f"{', '.join(self.missing_promised[:5])}"
            )
        if self.duplicates:
            found.append(f"{self.duplicates} records are there twice")
        return found


def take_account(
    database: Database[dict[str, Any]],
    returned: Iterable[Returned],
    *,
    folder: Path | None = None,
    in_flight: int | None = None,
    records: str = "llm_audit",
) -> Account:
    """Count everything in ``database`` against what returned.

    Every writer must have ended, and its numbers must be known: by its own last heartbeat, or by
    whoever took over its spool. ``folder`` is the dataset's folder of the spool; ``in_flight`` is
    how many calls can have been under way, at most, when processes were killed.
    """
    account = Account()
    calls = list(returned)
    _presence(account, database, calls, records)
    numbers = final_numbers(database, records, account.errors)
    dead = _dead(folder)
    for number, name in enumerate((records, f"{records}_ledger")):
        there = _by_writer(database, name)
        for writer, groups in numbers.items():
            _conserved(account, f"{writer} in {name}", groups[number], there.pop(writer, 0))
            buried = groups[number]["dead_lettered"]
            if number == 0 and folder is not None and buried != dead.get(writer, 0):
                account.errors.append(f"{writer}: {buried} dead, {dead.get(writer, 0)} kept")
        # Set-up writes to the ledger as a writer of its own.
        unknown = {w: n for w, n in there.items() if not w.startswith("cli-")}
        if unknown:
            account.errors.append(f"{name} has records of writers without numbers: {unknown}")
    account.losses = [groups[0]["lost"] for groups in numbers.values()]
    recorded = sum(groups[0]["recorded"] for groups in numbers.values())
    handed_over = 2 * len(calls)
    if (
        not handed_over
        <= recorded
        <= handed_over + 2 * (recorded if in_flight is None else in_flight)
    ):
        account.errors.append(f"{recorded} recorded, but {len(calls)} calls of two each returned")
    if account.present + len(account.missing) != len(calls):
        account.errors.append("present and missing calls do not add up")
    if account.lost < len(account.missing):
        account.errors.append(
            f"{len(account.missing)} calls are missing, and only {account.lost} records count as "
            "lost"
        )
    return account


def final_numbers(
    database: Database[dict[str, Any]], records: str, errors: list[str]
) -> dict[str, tuple[dict[str, int], dict[str, int]]]:
    """The last numbers of each writer: by its own last heartbeat, or its heir's.

    A writer of which nobody says that it ended, or two things are said, is an error.
    """
    found: dict[str, tuple[dict[str, int], dict[str, int]]] = {}
    ended = set()
    for beat in database[f"{records}_writers"].find(OF_WRITERS, sort=[("at", 1)]):
        if beat["writer"] not in ended:
            found[beat["writer"]] = (beat["counters"], beat["ledger_counters"])
        if beat["state"] in {"stopped", "adopted"}:
            ended.add(beat["writer"])
    adopted: dict[str, Any] = {}
    for event in database[f"{records}_ledger"].find({"event_type": "spool_adopted"}):
        details = event["details"]
        if "records" not in details:
            continue  # more numbers of what was lost, beside the record that tells the tallies
        writer, numbers = details["writer"], (details["records"], details["ledger"])
        if adopted.setdefault(writer, numbers) != numbers or numbers != found.get(writer):
            errors.append(f"{writer}: its heirs tell different numbers")
    errors.extend(f"{writer} has not ended for anybody" for writer in found.keys() - ended)
    errors.extend(f"{writer} is in the ledger only" for writer in adopted.keys() - ended)
    return found


def _presence(
    account: Account, database: Database[dict[str, Any]], calls: list[Returned], records: str
) -> None:
    kinds: dict[str, Counter[str]] = {}
    places: Counter[tuple[str, int]] = Counter()
    fields = {"call_id": 1, "event_type": 1, "writer": 1, "seq": 1}
    for record in database[records].find({"schema_version": 1}, fields):
        kinds.setdefault(record["call_id"], Counter())[record["event_type"]] += 1
        places[record["writer"], record["seq"]] += 1
    twice = sum(count - 1 for counts in kinds.values() for count in counts.values())
    account.duplicates = twice + sum(count - 1 for count in places.values())
    account.returned = len(calls)
    account.promised = sum(call.promised for call in calls)
    for call in calls:
        if set(kinds.get(call.call_id, ())) == {"llm_request", "llm_response"}:
            account.present += 1
            continue
        account.missing.append(call)
        if call.promised:
            account.missing_promised.append(call.call_id)


def _by_writer(database: Database[dict[str, Any]], name: str) -> dict[str, int]:
    stages: list[dict[str, Any]] = [
        {"$match": {"writer": {"$exists": True}}},
        {"$group": {"_id": "$writer", "count": {"$sum": 1}}},
    ]
    return {row["_id"]: row["count"] for row in database[name].aggregate(stages)}


def _dead(folder: Path | None) -> Counter[str]:
    if folder is None:
        return Counter()
    letters = DeadLetters(folder).all()
    return Counter(letter.writer for letter in letters if letter.record.dest == "records")


def _conserved(account: Account, whose: str, numbers: Mapping[str, int], there: int) -> None:
    parts = {name: numbers[name] for name in PARTS}
    if numbers["recorded"] != sum(parts.values()):
        account.errors.append(f"{whose}: {numbers['recorded']} recorded is not {parts}")
    if numbers["stored"] != there:
        account.errors.append(f"{whose}: counts {numbers['stored']} stored, {there} are there")
    if parts["queued"] or parts["spooled"]:
        account.errors.append(f"{whose}: something still waits at the end: {parts}")
    if min(parts.values()) < 0:
        account.errors.append(f"{whose}: a number below zero: {parts}")
