"""The plain-Python engine: reads every record and adds. What it says is what an answer is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

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
from affidavit.tally.facts import (
    MAX_SCORE,
    Fact,
    correction_of,
    fact_of,
    key_of,
    text_of,
)
from affidavit.tally.sums import Sums


class Oracle:
    """Answers from a list of documents as they are stored."""

    def __init__(self, records: Iterable[dict[str, Any]], zone: ZoneInfo | None = None) -> None:
        self.records = list(records)
        found = [fact_of(record, zone) for record in self.records]
        corrected = [correction_of(record) for record in self.records]
        self.facts = [fact for fact in found if fact is not None]
        self.corrections = [each for each in corrected if each is not None]
        self.zone = zone

    def source(self, question: SumQuestion) -> Source:
        """The records, at once."""
        return Source("records", datetime.now(UTC))

    def sums(self, question: SumQuestion) -> Iterator[tuple[Key, Sums]]:
        """Add up fact by fact."""
        found: dict[Key, Sums] = defaultdict(Sums)
        for fact in self._wanted(question):
            found[question.key(fact)].add(fact)
        for each in self.corrections if "cost" in question.measures else ():
            if question.wants(each.call):
                found[question.key(each.call)].add(each)
        self._check(question, len(found))
        for key, sums in found.items():
            yield key, sums.only(question.measures)

    def highest(self, question: SumQuestion, counter: str, count: int) -> list[tuple[Key, Sums]]:
        """Sort all groups."""
        return highest_of(self.sums(question), counter, count)

    def only(self, question: SumQuestion, keys: Sequence[Key]) -> Iterator[tuple[Key, Sums]]:
        """Leave out all others."""
        yield from ((key, sums) for key, sums in self.sums(question) if key in keys)

    def together(self, questions: Sequence[SumQuestion]) -> list[dict[Key, Sums]]:
        """One after the other: nothing changes in between."""
        return [dict(self.sums(question)) for question in questions]

    def counted(self, question: SumQuestion, of: Sequence[str]) -> dict[str, Different]:
        """Count by group and in all."""
        whole = replace(question, by=())
        return {
            name: Different(
                dict(self.distinct(question, name)), sum(n for _, n in self.distinct(whole, name))
            )
            for name in of
        }

    def distinct(self, question: SumQuestion, of: str) -> Iterator[tuple[Key, int]]:
        """Collect the values."""
        found: dict[Key, set[str]] = defaultdict(set)
        for fact in self._wanted(question):
            value = key_of(fact, of, question.tz)
            if value is not None:
                found[question.key(fact)].add(value)
        self._check(question, len(found))
        yield from ((key, len(values)) for key, values in found.items())

    def dearest(self, question: SumQuestion, count: int) -> list[Dear]:
        """Sort all calls."""
        corrected: dict[str, int] = defaultdict(int)
        for each in self.corrections:
            corrected[each.call.call_id] += each.cost_nano
        dear = [
            Dear(fact, (fact.cost_nano or 0) + corrected.get(fact.call_id, 0))
            for fact in self._wanted(question)
            if fact.cost_nano is not None or corrected.get(fact.call_id, 0) > 0
        ]
        return sorted(dear, key=lambda d: (-d.cost_nano, d.fact.call_id))[:count]

    def corrected(self, question: SumQuestion) -> Iterator[tuple[Key, int]]:
        """Count those whose call is wanted."""
        found: dict[Key, int] = defaultdict(int)
        for each in self.corrections:
            if question.wants(each.call):
                found[question.key(each.call)] += 1
        yield from found.items()

    def scores(self, question: SumQuestion) -> Iterator[tuple[Key, str, Scores]]:
        """Look up the call of each score."""
        calls = {fact.call_id: fact for fact in self._wanted(question)}
        found: dict[tuple[Key, str], list[int]] = defaultdict(list)
        for record in self.records:
            details: dict[str, Any] = record.get("details") or {}
            scored = record["event_type"] == "annotation" and details["kind"] == "score"
            if not scored or record["call_id"] not in calls:
                continue
            text = text_of(details["value"])
            number = {"true": "1", "false": "0"}.get(str(text), text)
            if isinstance(details["value"], str) or number is None:
                continue
            if -MAX_SCORE < Decimal(number) < MAX_SCORE:
                group = question.key(calls[record["call_id"]])
                micro = int((Decimal(number) * 10**6).quantize(Decimal(1)))
                found[group, details.get("name") or ""].append(micro)
        for (group, name), micros in found.items():
            yield group, name, Scores(len(micros), sum(micros), sum(m * m for m in micros))

    def limits(self, question: SumQuestion) -> Iterator[tuple[Key, str, Limits]]:
        """Read a hit as if it were a call."""
        found: dict[tuple[Key, str], list[datetime]] = defaultdict(list)
        for record in self.records:
            if record["event_type"] != "rate_limit_exceeded":
                continue
            fact = fact_of({**record, "event_type": "llm_response", "success": False}, self.zone)
            assert fact is not None
            if question.wants(fact):
                details: dict[str, Any] = record.get("details") or {}
                kind = details.get("limit_type") or record.get("limit_type")
                found[question.key(fact), kind or ""].append(fact.at)
        for (group, kind), times in found.items():
            yield group, kind, Limits(len(times), max(times))

    def _wanted(self, question: SumQuestion) -> Iterator[Fact]:
        return (fact for fact in self.facts if question.wants(fact))

    @staticmethod
    def _check(question: SumQuestion, groups: int) -> None:
        if groups > question.limit:
            raise TooManyGroups(question.by, question.limit)
