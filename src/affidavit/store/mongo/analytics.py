"""Sums over the records themselves: one or two passes of ``$group`` over finished calls.

Bounded by ``maxTimeMS`` and by a number of groups. Corrections are found by an index of their own.
Distributions are counted by bucket in the pipeline, because MongoDB 6 has no ``$percentile`` and
collecting the values would run into its limit of 16 MB.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from affidavit.event import EPOCH, EventType
from affidavit.store.analytics import (
    Dear,
    Different,
    Key,
    Limits,
    Scores,
    Source,
    SumQuestion,
    TooManyGroups,
    highest_of,
)
from affidavit.store.mongo import adding, counting
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.counting import Stages
from affidavit.store.mongo.driver import translated
from affidavit.tally.facts import CONTENT, MAX_SCORE, fact_of
from affidavit.tally.sketch import Sketch
from affidavit.tally.sums import SKETCHES, Sums

if TYPE_CHECKING:
    from pymongo.collection import Collection

MAX_TIME_MS: Final = 60_000
"""A question that takes longer is stopped by the server."""

_FRESH_S: Final = 1.0
"""So long it is known which record is the oldest."""

_COMPLETED_ONLY: Final = frozenset({"latency", "ttft", "speed"})
_CALL_CONTENT: Final = tuple(CONTENT - {"cost_usd", "processing_time_ms"})


class MongoCalls:
    """Answers questions about finished calls from the records. Any number of threads may use it."""

    def __init__(self, location: Location, legacy_timezone: str | None = None) -> None:
        """``legacy_timezone`` says where an older logger's naive local times were local."""
        self._records = location.database[location.names.records]
        self._legacy = ZoneInfo(legacy_timezone) if legacy_timezone else None
        self._known_oldest: tuple[datetime | None, float] = None, float("-inf")

    def source(self, question: SumQuestion) -> Source:  # noqa: ARG002 - always the same here
        """Say where the sums come from: the records, as they are now."""
        return Source("records", datetime.now(UTC))

    # -- sums ------------------------------------------------------------------------------------

    def sums(self, question: SumQuestion) -> Iterator[tuple[Key, Sums]]:
        """Give the sums of each group; see :class:`affidavit.store.analytics.Totals`."""
        found: dict[Key, Sums] = {}
        for row in self._added(question):
            sums = adding.read(row)
            held = found.setdefault(counting.key(question, row["_id"]), sums)
            if held is not sums:
                held.merge(sums)
        wanted: list[str] = [name for name in SKETCHES if name in question.measures]
        if wanted and found:
            for row in self._run(self._bucketed(question, wanted)):
                group = found.setdefault(counting.key(question, row["_id"]), Sums())
                sketch: Sketch = getattr(group, wanted[row["_id"]["m"]])
                sketch.merge({int(row["_id"]["b"]): int(row["n"])})
        if len(found) > question.limit:
            raise TooManyGroups(question.by, question.limit)
        yield from found.items()

    def _added(self, question: SumQuestion) -> Iterator[dict[str, Any]]:
        """Add up calls and, in the same pass of messages, corrections: those have no ``calls``."""
        limit = {"$limit": question.limit + 1}
        stages: Stages = [*self._summed(question), limit]
        corrected = self._corrected(question) if "cost" in question.measures else []
        if corrected:
            both = {"coll": self._records.name, "pipeline": [*corrected, limit]}
            stages.append({"$unionWith": both})
        many = [0, 0]
        for row in self._run(stages):
            is_call = "calls" in row
            many[is_call] += 1
            if many[is_call] > question.limit:
                raise TooManyGroups(question.by, question.limit)
            yield row

    def together(self, questions: Sequence[SumQuestion]) -> list[dict[Key, Sums]]:
        """Give the sums of several questions, one after the other: each is work for the server."""
        return [dict(self.sums(question)) for question in questions]

    def highest(self, question: SumQuestion, counter: str, count: int) -> list[tuple[Key, Sums]]:
        """Give the groups with the highest value of a counter, the highest first."""
        return highest_of(self.sums(question), counter, count)

    def only(self, question: SumQuestion, keys: Sequence[Key]) -> Iterator[tuple[Key, Sums]]:
        """Give the sums of some groups."""
        chosen = set(keys)
        yield from ((key, sums) for key, sums in self.sums(question) if key in chosen)

    def _summed(self, question: SumQuestion) -> Stages:
        """Add up the counters that are wanted; what costs are made of, the index alone has."""
        wanted = question.counters
        added = {adding.NAMES.get(name, name): adding.ADDED[name] for name in sorted(wanted)}
        if not question.needs:
            added |= {"first": {"$min": "$at"}, "last": {"$max": "$at"}}
        used = {name for counter in wanted for name in adding.USED.get(counter, ())}
        second = {"tokens": counting.tokens()} if "tokens" in used else {}
        used |= {"incoming", "outgoing"} if second else set()
        values = {name: value for name, value in adding.VALUES.items() if name in used}
        return [
            *self._calls(question),
            *([{"$set": values}] if values else []),
            *([{"$set": second}] if second else []),
            {"$group": {"_id": counting.grouped(question), **added}},
        ]

    def _bucketed(self, question: SumQuestion, wanted: list[str]) -> Stages:
        """Count by bucket: one pass for all distributions that are wanted."""
        values: dict[str, Any] = {"status_": counting.status()}
        second: dict[str, Any] = {}
        if {"latency", "speed"} & set(wanted):
            values["latency"] = counting.ms("$response_data.processing_time_ms")
        if "ttft" in wanted:
            values["ttft"] = counting.ms("$time_to_first_token_ms")
        if "speed" in wanted:
            values["outgoing"] = counting.count("$output_tokens")
            timed = {"$and": [{"$gt": ["$outgoing", 0]}, {"$gt": ["$latency", 0]}]}
            speed = {"$divide": [{"$multiply": [{"$toDouble": "$outgoing"}, 1000.0]}, "$latency"]}
            second["speed"] = {"$cond": [timed, speed, None]}
        if "prompt" in wanted:
            values["prompt"] = {"$toDouble": counting.count("$request_data.message_length")}
        if "answer" in wanted:
            values["answer"] = {"$toDouble": counting.count("$response_data.response_length")}
        if "spread" in wanted:
            dollars = counting.dollars("$response_data.cost_usd")
            values["spread"] = {"$toDouble": counting.nano(dollars)}
        each = [
            {
                "m": {"$literal": n},
                "v": {"$cond": [adding.DONE, f"${m}", None]} if m in _COMPLETED_ONLY else f"${m}",
            }
            for n, m in enumerate(wanted)
        ]
        group = {**counting.grouped(question), "m": "$s.m", "b": counting.bucket("$s.v")}
        return [
            *self._calls(question),
            {"$set": values},
            *([{"$set": second}] if second else []),
            {"$project": {**dict.fromkeys(counting.grouped(question), 1), "s": each}},
            {"$unwind": "$s"},
            {"$match": {"s.v": {"$ne": None}}},
            {"$group": {"_id": group, "n": {"$sum": 1}}},
        ]

    def _corrected(self, question: SumQuestion) -> Stages:
        priced = {"$cond": [{"$eq": ["$details.cost_status_before", "unpriced"]}, 1, 0]}
        return [
            {"$match": self._corrections(question)},
            *counting.named(question, None, correcting=True),
            {
                "$group": {
                    "_id": counting.grouped(question),
                    "cost_nano": {"$sum": {"$toDecimal": "$details.cost_nano_diff"}},
                    "priced": {"$sum": priced},
                    "unpriced": {"$sum": {"$multiply": [priced, -1]}},
                }
            },
        ]

    def _corrections(self, question: SumQuestion) -> dict[str, Any]:
        """Choose corrections of calls that are there: a correction expires after its call."""
        chosen = counting.corrections(question)
        oldest = self._oldest()
        if oldest is not None and oldest > chosen["effective_at"]["$gte"]:
            chosen["effective_at"] = chosen["effective_at"] | {"$gte": oldest}
        return chosen

    def _oldest(self) -> datetime | None:
        """Tell the time of the oldest record; calls from before it have expired."""
        known, at_s = self._known_oldest
        if time.monotonic() - at_s >= _FRESH_S:
            known = oldest_record(self._records)
            self._known_oldest = known, time.monotonic()
        return known

    def _calls(self, question: SumQuestion) -> Stages:
        return [
            {"$match": counting.calls(question, self._legacy)},
            *counting.named(question, self._legacy),
        ]

    # -- what is no sum --------------------------------------------------------------------------

    def distinct(self, question: SumQuestion, of: str) -> Iterator[tuple[Key, int]]:
        """Count the different values of a key in each group."""
        value = counting.value(of)
        group = counting.grouped(question)
        stages = [
            *self._calls(question),
            {"$match": {"$expr": {"$ne": [value, None]}}},
            {"$group": {"_id": {**group, "value": _comparable(value)}}},
            {"$group": {"_id": {name: f"$_id.{name}" for name in group}, "n": {"$sum": 1}}},
        ]
        found: dict[Key, int] = {}
        for row in self._limited(question, stages):
            key = counting.key(question, row["_id"])
            found[key] = found.get(key, 0) + int(row["n"])
        yield from found.items()

    def counted(self, question: SumQuestion, of: Sequence[str]) -> Mapping[str, Different]:
        """Count the different values of several keys, by group and in all, in one pass."""
        group = counting.grouped(question)
        each = [
            {"m": {"$literal": n}, "v": _comparable(counting.value(name))}
            for n, name in enumerate(of)
        ]
        stages = [
            *self._calls(question),
            {"$project": {**dict.fromkeys(group, 1), "s": each}},
            {"$unwind": "$s"},
            {"$match": {"s.v": {"$ne": None}}},
            {"$group": {"_id": {"m": "$s.m", "v": "$s.v", "g": group}}},
            {"$group": {"_id": {"m": "$_id.m", "v": "$_id.v"}, "g": {"$push": "$_id.g"}}},
            {"$unwind": {"path": "$g", "includeArrayIndex": "n"}},
            {
                "$group": {
                    "_id": {"m": "$_id.m", "g": "$g"},
                    "n": {"$sum": 1},
                    # Each value is counted in all where its first group is.
                    "first": {"$sum": {"$cond": [{"$eq": ["$n", 0]}, 1, 0]}},
                }
            },
        ]
        found: dict[str, Different] = {name: Different({}, 0) for name in of}
        limited = replace(question, limit=question.limit * len(of))
        for row in self._limited(limited, stages):
            name = of[row["_id"]["m"]]
            by, whole = found[name]
            key = counting.key(question, row["_id"]["g"])
            by[key] = by.get(key, 0) + int(row["n"])
            found[name] = Different(by, whole + int(row["first"]))
        return found

    def dearest(self, question: SumQuestion, count: int) -> list[Dear]:
        """List the calls that cost most, corrections included, the dearest first."""
        differences = {
            str(row["_id"]): int(Decimal(str(row["nano"])))
            for row in self._run(
                [
                    {"$match": self._corrections(question)},
                    *counting.named(question, None, correcting=True),
                    {
                        "$group": {
                            "_id": "$call_id",
                            "nano": {"$sum": {"$toDecimal": "$details.cost_nano_diff"}},
                        }
                    },
                    {"$limit": question.limit + 1},
                ]
            )
        }
        if len(differences) > question.limit:
            raise TooManyGroups(("call",), question.limit)
        lean = {f"response_data.{name}": 0 for name in _CALL_CONTENT}
        lean |= {f"request_data.{name}": 0 for name in _CALL_CONTENT}
        calls = self._calls(question)
        cost = {"cost": counting.dollars("$response_data.cost_usd")}
        # A call that became cheaper may still be among the first: look at so many more.
        cheaper = sum(nano < 0 for nano in differences.values())
        first = [
            *calls,
            {"$set": cost},
            {"$match": {"cost": {"$ne": None}}},
            {"$sort": {"cost": -1, "call_id": 1}},
            {"$limit": count + cheaper},
            {"$project": lean},
        ]
        dearer = [call_id for call_id, nano in differences.items() if nano > 0]
        rows = list(self._run(first))
        if dearer:
            rows += self._run(
                [
                    {"$match": {"$or": [_answers(dearer), _old(dearer)]}},
                    *calls,
                    {"$project": lean},
                ]
            )
        found: dict[str, Dear] = {}
        for row in rows:
            fact = fact_of(row, self._legacy)
            if fact is not None:
                nano = (fact.cost_nano or 0) + differences.get(fact.call_id, 0)
                found[fact.call_id] = Dear(fact, nano)
        ranked = sorted(found.values(), key=lambda dear: (-dear.cost_nano, dear.fact.call_id))
        return ranked[:count]

    def corrected(self, question: SumQuestion) -> Iterator[tuple[Key, int]]:
        """Count corrections by group; where there is none, an index says so at once."""
        stages: Stages = [
            {"$match": self._corrections(question)},
            *counting.named(question, None, correcting=True),
            {"$group": {"_id": counting.grouped(question), "n": {"$sum": 1}}},
        ]
        found: dict[Key, int] = {}
        for row in self._limited(question, stages):
            key = counting.key(question, row["_id"])
            found[key] = found.get(key, 0) + int(row["n"])
        yield from found.items()

    def scores(self, question: SumQuestion) -> Iterator[tuple[Key, str, Scores]]:
        """Add up the scores that annotations gave to calls, by group and by the score's name."""
        number = "$details.value"
        fits = [
            {"$isNumber": number},
            {"$gt": [number, -MAX_SCORE]},
            {"$lt": [number, MAX_SCORE]},
        ]
        exact = {"$round": [{"$multiply": [{"$toDecimal": number}, Decimal128("1E+6")]}, 0]}
        truth = {"$cond": [number, Decimal128("1000000"), Decimal128("0")]}
        micro = {
            "$switch": {
                "branches": [
                    {"case": {"$and": fits}, "then": exact},
                    {"case": {"$eq": [{"$type": number}, "bool"]}, "then": truth},
                ],
                "default": None,
            }
        }
        stages: Stages = [
            {
                "$match": {
                    "event_type": EventType.ANNOTATION.value,
                    "timestamp": {"$gte": counting.ceil_ms(question.since)},
                    "details.kind": "score",
                }
            },
            {"$set": {"micro": micro}},
            {"$match": {"micro": {"$ne": None}}},
            {
                "$lookup": {
                    "from": self._records.name,
                    "localField": "call_id",
                    "foreignField": "call_id",
                    "pipeline": [{"$match": {"event_type": _ANSWER, "success": {"$in": _BOTH}}}],
                    "as": "call",
                }
            },
            {"$set": {"call": {"$first": "$call"}}},
            {"$match": {"call.timestamp": counting.within(question)}},
            {
                "$replaceRoot": {
                    "newRoot": {
                        "$mergeObjects": [
                            "$call",
                            {"micro": "$micro", "name": {"$ifNull": ["$details.name", None]}},
                        ]
                    }
                }
            },
            *counting.named(question, self._legacy),
            {
                "$group": {
                    "_id": {**counting.grouped(question), "name": "$name"},
                    "n": {"$sum": 1},
                    "total": {"$sum": "$micro"},
                    "squares": {"$sum": {"$multiply": ["$micro", "$micro"]}},
                }
            },
        ]
        for row in self._limited(question, stages):
            scores = Scores(int(row["n"]), adding.whole(row["total"]), adding.whole(row["squares"]))
            yield counting.key(question, row["_id"]), str(row["_id"].get("name") or ""), scores

    def limits(self, question: SumQuestion) -> Iterator[tuple[Key, str, Limits]]:
        """Count rate-limit hits by group and by the kind of limit."""
        span = counting.calls(question, self._legacy)
        kind = {"$ifNull": ["$details.limit_type", "$limit_type", ""]}
        stages: Stages = [
            {
                "$match": {
                    **{name: value for name, value in span.items() if name != "success"},
                    "event_type": EventType.RATE_LIMIT_EXCEEDED.value,
                }
            },
            *counting.named(question, self._legacy),
            {"$set": {"limit_type_": kind}},
            {
                "$group": {
                    "_id": {**counting.grouped(question), "kind": "$limit_type_"},
                    "n": {"$sum": 1},
                    "last": {"$max": "$at"},
                }
            },
        ]
        for row in self._limited(question, stages):
            found = Limits(int(row["n"]), row["last"])
            yield counting.key(question, row["_id"]), str(row["_id"]["kind"]), found

    # -- running ---------------------------------------------------------------------------------

    def _limited(self, question: SumQuestion, stages: Stages) -> Iterator[dict[str, Any]]:
        for n, row in enumerate(self._run([*stages, {"$limit": question.limit + 1}])):
            if n == question.limit:
                raise TooManyGroups(question.by, question.limit)
            yield row

    def _run(self, stages: Stages) -> Iterator[dict[str, Any]]:
        with translated("add up calls"):
            yield from self._records.aggregate(
                stages, maxTimeMS=MAX_TIME_MS, allowDiskUse=True, batchSize=10_000
            )


def oldest_record(records: Collection[dict[str, Any]]) -> datetime | None:
    """Tell the time of the oldest record, by the index that lets records expire."""
    dated = {"timestamp": {"$gt": EPOCH}}
    with translated("look for the oldest record"):
        found = records.find_one(
            dated, {"timestamp": 1}, sort=[("timestamp", 1)], max_time_ms=MAX_TIME_MS
        )
    return None if found is None else found["timestamp"]


_ANSWER: Final = EventType.LLM_RESPONSE.value
_BOTH: Final = [True, False]


def _answers(call_ids: list[str]) -> dict[str, Any]:
    return {"call_id": {"$in": call_ids}, "event_type": _ANSWER}


def _old(call_ids: list[str]) -> dict[str, Any]:
    """Find documents of an older logger, whose own id is the call's."""
    ids = [ObjectId(call_id) for call_id in call_ids if ObjectId.is_valid(call_id)]
    return {"_id": {"$in": [*ids, *call_ids]}}


def _comparable(value: Any) -> dict[str, Any]:
    """Write a value as a text; numbers that are equal are one value, whatever their kind."""
    equal = {"$cond": [{"$isNumber": value}, {"$toDouble": value}, value]}
    return {"$convert": {"input": equal, "to": "string", "onError": "?", "onNull": None}}
