"""Compare what the driver called with what the database holds.

Read straight from the collection, with PyMongo and not with the readers of this package: a
demonstration that checks itself with its own code shows little.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.database import Database

    from affidavit.demo.drive import Account

RECORDS, CALLS = "llm_audit", "llm_calls"


class Stored(msgspec.Struct):
    """What was found in the database, against what must be there."""

    records: int = 0
    intents: int = 0
    outcomes: int = 0
    rate_limit_exceeded: int = 0
    security_event: int = 0
    missing: int = 0
    duplicates: int = 0
    wrong_status: int = 0
    unknown: int = 0

    def problems(self, account: Account) -> list[str]:
        """In words, whatever does not match; empty when all does."""
        counted = account.count()
        found = [
            (self.missing, "records of calls are missing"),
            (self.duplicates, "records are there twice"),
            (self.wrong_status, "calls have another status than the caller saw"),
            (self.unknown, "calls are recorded that the driver did not make"),
            (counted["unexpected"], "requests got no proper answer from the assistant"),
            (counted["rate_limited"] - self.rate_limit_exceeded, "rate-limit events are missing"),
            (counted["refused"] - self.security_event, "security events are missing"),
        ]
        return [f"{number} {text}" for number, text in found if number]


class ByModel(msgspec.Struct):
    """One provider's model: use, cost and latency of completed calls."""

    provider: str
    model: str
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    p50_ms: float | None
    p95_ms: float | None


def compare(database: Database[dict[str, Any]], environment: str, account: Account) -> Stored:
    """Count the run's records, and hold each call of the driver against them."""
    wanted = account.calls()
    intents: Counter[str] = Counter()
    outcomes: defaultdict[str, list[str]] = defaultdict(list)
    events: Counter[str] = Counter()
    fields = {"call_id": 1, "event_type": 1, "status": 1}
    for record in database[RECORDS].find({"environment": environment}, fields):
        kind = record["event_type"]
        events[kind] += 1
        if kind == "llm_request":
            intents[record["call_id"]] += 1
        elif kind == "llm_response":
            outcomes[record["call_id"]].append(record["status"])
    stored = Stored(
        records=events.total(),
        intents=events["llm_request"],
        outcomes=events["llm_response"],
        rate_limit_exceeded=events["rate_limit_exceeded"],
        security_event=events["security_event"],
    )
    for call_id, status in wanted.items():
        stored.missing += (not intents[call_id]) + (not outcomes[call_id])
        stored.wrong_status += any(found != status for found in outcomes[call_id])
    stored.duplicates = sum(number - 1 for number in intents.values() if number > 1)
    stored.duplicates += sum(len(found) - 1 for found in outcomes.values() if len(found) > 1)
    stored.unknown = len({*intents.keys(), *outcomes.keys()} - wanted.keys() - {""})
    return stored


def by_model(database: Database[dict[str, Any]], environment: str) -> list[ByModel]:
    """Use, cost and latency by provider and model, the dearest first."""
    groups: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    query = {"environment": environment, "event_type": "llm_response"}
    for record in database[RECORDS].find(query):
        groups[record["provider"], record["model"]].append(record)
    rows = [_row(*key, records) for key, records in groups.items()]
    return sorted(rows, key=lambda row: (-row.cost_usd, row.provider, row.model))


def last_calls(
    database: Database[dict[str, Any]], environment: str, number: int = 6
) -> list[dict[str, Any]]:
    """The newest calls as the view ``llm_calls`` shows them, in a few plain columns."""
    found = database[CALLS].aggregate(
        [{"$match": {"environment": environment}}, {"$limit": number}]
    )
    return [
        {
            "time": record["timestamp"].isoformat(timespec="milliseconds"),
            "call_id": str(record.get("call_id", "")),
            "user_id": record.get("user_id"),
            "department": record.get("department"),
            "provider": record.get("request_data", {}).get("provider"),
            "model": record.get("model"),
            "status": record.get("status"),
            "tokens": (record.get("response_data") or {}).get("tokens_used"),
            "cost_usd": _plain_cost((record.get("response_data") or {}).get("cost_usd")),
            "ms": (record.get("response_data") or {}).get("processing_time_ms"),
        }
        for record in found
    ]


def _row(provider: str, model: str, records: Sequence[dict[str, Any]]) -> ByModel:
    done = [record for record in records if record["status"] == "completed"]
    times = sorted(record["response_data"]["processing_time_ms"] for record in done)
    costs = [record["response_data"]["cost_usd"].to_decimal() for record in done]
    return ByModel(
        provider=provider,
        model=model,
        calls=len(records),
        failed=len(records) - len(done),
        input_tokens=sum(record.get("input_tokens") or 0 for record in done),
        output_tokens=sum(record.get("output_tokens") or 0 for record in done),
        cost_usd=sum(costs, Decimal(0)),
        p50_ms=round(statistics.median(times), 1) if times else None,
        p95_ms=round(times[min(len(times) - 1, int(len(times) * 0.95))], 1) if times else None,
    )


def _plain_cost(value: Any) -> str | None:
    """Decimal128 as text."""
    return None if value is None else f"{value.to_decimal():f}"
