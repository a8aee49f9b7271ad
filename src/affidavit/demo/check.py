"""Compare what the driver called with what the database holds.

Read straight from the collection, with PyMongo and not with the readers of this package: a
demonstration that checks itself with its own code shows little.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from affidavit.demo.settings import Price

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymongo.database import Database

    from affidavit.demo.drive import Account

RECORDS, CALLS = "llm_audit", "llm_calls"
_NO_PRICES: Mapping[str, Price] = MappingProxyType({})


class Stored(msgspec.Struct):
    """What was found in the database, against what must be there.

    Attributes:
        rate_limit_exceeded: the assistant's own limit; ``provider_limit`` counts a provider's.
        security_event: without those of the guard, which ``unaudited_egress`` counts.
    """

    records: int = 0
    intents: int = 0
    outcomes: int = 0
    rate_limit_exceeded: int = 0
    provider_limit: int = 0
    security_event: int = 0
    unaudited_egress: int = 0
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
            (counted["provider_limited"] - self.provider_limit, "limits of providers are missing"),
            (counted["unaudited"] - self.unaudited_egress, "unaudited calls were not caught"),
            (max(0, self.unaudited_egress - counted["unaudited"]), "audited calls were caught"),
        ]
        return [f"{number} {text}" for number, text in found if number > 0]


class ByModel(msgspec.Struct):
    """One provider's model: use and cost, and the latency of completed calls.

    The tokens of an aborted call are an estimate, and so is its cost.
    """

    provider: str
    model: str
    calls: int
    failed: int
    aborted: int
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
    apart: Counter[str] = Counter()
    fields = {"call_id": 1, "event_type": 1, "status": 1, "details.kind": 1}
    for record in database[RECORDS].find({"environment": environment}, fields):
        kind = record["event_type"]
        events[kind] += 1
        if kind == "llm_request":
            intents[record["call_id"]] += 1
        elif kind == "llm_response":
            outcomes[record["call_id"]].append(record["status"])
        else:
            guarded = record.get("details", {}).get("kind") == "unaudited_egress"
            limited = kind == "rate_limit_exceeded" and bool(record.get("call_id"))
            apart[kind] += guarded or limited
    stored = Stored(
        records=events.total(),
        intents=events["llm_request"],
        outcomes=events["llm_response"],
        rate_limit_exceeded=events["rate_limit_exceeded"] - apart["rate_limit_exceeded"],
        provider_limit=apart["rate_limit_exceeded"],
        security_event=events["security_event"] - apart["security_event"],
        unaudited_egress=apart["security_event"],
    )
    for call_id, status in wanted.items():
        stored.missing += (not intents[call_id]) + (not outcomes[call_id])
        stored.wrong_status += any(found != status for found in outcomes[call_id])
    stored.duplicates = sum(number - 1 for number in intents.values() if number > 1)
    stored.duplicates += sum(len(found) - 1 for found in outcomes.values() if len(found) > 1)
    stored.unknown = len({*intents.keys(), *outcomes.keys()} - wanted.keys() - {""})
    return stored


def by_model(
    database: Database[dict[str, Any]], environment: str, prices: Mapping[str, Price] = _NO_PRICES
) -> list[ByModel]:
    """Use, cost and latency by provider and model, the dearest first."""
    groups: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    query = {"environment": environment, "event_type": "llm_response"}
    for record in database[RECORDS].find(query):
        groups[record["provider"], record["model"]].append(record)
    rows = [_row(*key, records, prices) for key, records in groups.items()]
    return sorted(rows, key=lambda row: (-row.cost_usd, row.provider, row.model))


def last_calls(
    database: Database[dict[str, Any]],
    environment: str,
    prices: Mapping[str, Price] = _NO_PRICES,
    number: int = 6,
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
            "cost_usd": plain_cost(cost_of(record, prices)),
            "ms": (record.get("response_data") or {}).get("processing_time_ms"),
        }
        for record in found
    ]


def _row(
    provider: str, model: str, records: Sequence[dict[str, Any]], prices: Mapping[str, Price]
) -> ByModel:
    done = [record for record in records if record["status"] == "completed"]
    aborted = [record for record in records if record["status"] == "aborted"]
    paid = [*done, *aborted]
    times = sorted(record["response_data"]["processing_time_ms"] for record in done)
    costs = [cost_of(record, prices) for record in paid]
    return ByModel(
        provider=provider,
        model=model,
        calls=len(records),
        failed=len(records) - len(paid),
        aborted=len(aborted),
        input_tokens=sum(record.get("input_tokens") or 0 for record in paid),
        output_tokens=sum(record.get("output_tokens") or 0 for record in paid),
        cost_usd=sum((cost for cost in costs if cost is not None), Decimal(0)),
        p50_ms=round(statistics.median(times), 1) if times else None,
        p95_ms=round(times[min(len(times) - 1, int(len(times) * 0.95))], 1) if times else None,
    )


def cost_of(record: Mapping[str, Any], prices: Mapping[str, Price]) -> Decimal | None:
    """What a call cost: as its record says, else its tokens at the model's price."""
    told = (record.get("response_data") or {}).get("cost_usd")
    if told is not None:
        return Decimal(told.to_decimal())
    price = prices.get(record.get("model") or "")
    if price is None or record.get("input_tokens") is None:
        return None
    return price.cost_usd(
        input_tokens=record["input_tokens"],
        cached_tokens=record.get("cached_tokens") or 0,
        output_tokens=record.get("output_tokens") or 0,
    )


def plain_cost(cost: Decimal | None) -> str | None:
    """Write a cost in full, without an exponent and zeros at the end."""
    return None if cost is None else f"{cost.normalize():f}"
