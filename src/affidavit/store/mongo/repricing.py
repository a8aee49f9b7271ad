"""Reading finished calls for their price: by pages of one index, so that no cursor grows old."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from affidavit.event import DIMENSIONS, Document, EventType
from affidavit.store.mongo.analytics import oldest_record
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.indexes import CORRECTION
from affidavit.store.repricing import Span, Unpriced

MAX_TIME_MS: Final = 15_000
"""One page takes milliseconds; sums over a month may take this long, four times over."""

_OUTCOME: Final = EventType.LLM_RESPONSE.value
_ANSWER: Final = (
    "cost_usd", "cache_write_tokens", "service_tier", "usage_raw", "usage_estimated",
)  # fmt: skip
_WANTED: Final = dict.fromkeys(
    (
        *DIMENSIONS,
        *("call_id", "timestamp", "provider", "model", "status", "error_type", "finish_reason"),
        *("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"),
        *("cost_status", "price_book", "erased", "request_data"),
        *(f"response_data.{name}" for name in _ANSWER),
    ),
    1,
)
_GROUPS: Final = 5000


class MongoRepricing:
    """Implements :class:`affidavit.store.repricing.RepricingStore`."""

    def __init__(self, location: Location) -> None:
        self._records = location.database[location.names.records]

    def outcomes(self, span: Span, page: int) -> Iterator[Sequence[Document]]:
        """Give outcomes, oldest first; each page begins at the time at which the last one ended."""
        since, seen = span.since, list[Any]()
        while True:
            asked = {**_match(span), "timestamp": {"$gte": since, "$lt": span.until}}
            if seen:
                asked["_id"] = {"$not": {"$in": seen}}
            with translated("read finished calls"):
                found = list(
                    self._records.find(asked, _WANTED, max_time_ms=MAX_TIME_MS)
                    .sort("timestamp", 1)
                    .limit(page)
                )
            if not found:
                return
            yield found
            if len(found) < page:
                return
            latest = found[-1]["timestamp"]
            # Several may have the same time; those that were given are not given again.
            same = [each["_id"] for each in found if each["timestamp"] == latest]
            seen = [*seen, *same] if latest == since else same
            since = latest

    def corrections(self, call_ids: Sequence[str]) -> Mapping[str, Sequence[Document]]:
        """Give the corrections of these calls, by their own index."""
        asked = {"event_type": CORRECTION, "call_id": {"$in": list(call_ids)}}
        given: dict[str, list[Document]] = {}
        with translated("read corrections"):
            for each in self._records.find(
                asked, {"call_id": 1, "timestamp": 1, "details": 1, "price_book": 1}
            ).max_time_ms(MAX_TIME_MS):
                given.setdefault(each["call_id"], []).append(each)
        for several in given.values():
            several.sort(key=lambda each: (each["timestamp"], each["_id"]))
        return given

    def unpriced(self, span: Span) -> Sequence[Unpriced]:
        """Add up calls without a cost, less those that a correction has given one."""
        used = {"$or": [{"success": True}, *({f"{n}_tokens": {"$gt": 0}} for n in _TOKENS)]}
        limits = {"$gte": span.since, "$lt": span.until}
        without = {**_match(span), "timestamp": limits, "response_data.cost_usd": None, **used}
        oldest = oldest_record(self._records)  # a correction expires after its call
        corrected = {
            **_match(span, CORRECTION),
            "effective_at": limits | {"$gte": max(span.since, oldest or span.since)},
            "details.cost_status_before": "unpriced",
        }
        known = {"$or": [{"$gt": [f"${name}_tokens", None]} for name in _TOKENS]}
        both = {"$and": known["$or"]}
        summed: dict[str, Any] = {
            "calls": {"$sum": 1},
            "with_tokens": {"$sum": {"$cond": [known, 1, 0]}},
            "whole": {"$sum": {"$cond": [both, 1, 0]}},
            "tokens": {"$sum": {"$add": [_zero(f"${name}_tokens") for name in _TOKENS]}},
            "first": {"$min": "$timestamp"},
            "last": {"$max": "$timestamp"},
        }
        priced = {"calls": {"$sum": 1}, "tokens": {"$sum": "$details.tokens"}}
        with translated("add up calls without a cost"):
            groups = self._grouped(without, summed)
            mended = self._grouped(corrected, priced)
        rows = []
        for key, group in groups.items():
            less = mended.get(key, {})
            count = int(less.get("calls", 0))
            calls = int(group["calls"]) - count
            if calls > 0:
                known_ones = max(0, int(group["with_tokens"]) - count)
                whole = max(0, int(group["whole"]) - count)
                tokens = max(0, int(group["tokens"]) - int(less.get("tokens", 0)))
                first, last = group["first"], group["last"]
                rows.append(Unpriced(*key, calls, known_ones, whole, tokens, first, last))
        return sorted(rows, key=lambda row: (-row.calls, str(row.provider), str(row.model)))

    def _grouped(
        self, match: Mapping[str, Any], sums: Mapping[str, Any]
    ) -> dict[tuple[str | None, str | None], Mapping[str, Any]]:
        stages: list[Mapping[str, Any]] = [
            {"$match": match},
            {"$group": {"_id": {"provider": "$provider", "model": "$model"}, **sums}},
            {"$limit": _GROUPS},
        ]
        found = self._records.aggregate(stages, maxTimeMS=4 * MAX_TIME_MS)
        return {(g["_id"].get("provider"), g["_id"].get("model")): g for g in found}


_TOKENS: Final = ("input", "output")


def _zero(value: str) -> dict[str, Any]:
    return {"$ifNull": [value, 0]}


def _match(span: Span, kind: str = _OUTCOME) -> dict[str, Any]:
    """Choose records of a kind, and of one provider or model where that is wanted."""
    named = {"provider": span.provider, "model": span.model}
    return {"event_type": kind, **{name: v for name, v in named.items() if v is not None}}
