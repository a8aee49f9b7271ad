"""Finished calls as they are stored, in a few words, for questions about them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

from tests.support.documents import START, Numbered

_ANSWER = ("tokens_used", "response_length", "processing_time_ms", "retries", "tool_calls")


class Calls:
    """Makes outcomes; each differs from the usual one by what is said."""

    def __init__(self, writer: str = "w1", start: datetime = START) -> None:
        self.numbered = Numbered(writer)
        self.start = start
        self.records: list[dict[str, Any]] = []

    def add(
        self,
        *,
        times: int = 1,
        after: timedelta = timedelta(),
        cost: str | None = "0.01",
        status: str = "completed",
        fields: dict[str, Any] | None = None,
        prompt: int = 10,
        **more: Any,
    ) -> list[str]:
        """Add some calls at a time after the start; returns their ids."""
        ids = []
        for _ in range(times):
            intent = self.numbered.intent(self.start + after)
            outcome = self.numbered.outcome(intent, status)
            outcome["timestamp"] = self.start + after
            outcome["request_data"] |= {"message_length": prompt, **(fields or {})}
            answer = outcome["response_data"]
            answer["cost_usd"] = None if cost is None else Decimal128(cost)
            answer["provider_used"] = more.get("provider", outcome["provider"])
            answer |= {name: more[name] for name in _ANSWER if name in more}
            outcome |= {name: value for name, value in more.items() if name not in _ANSWER}
            self.records.append(outcome)
            ids.append(outcome["call_id"])
        return ids

    def correct(self, call_id: str, nano: int, before: str = "priced") -> None:
        """Correct the cost of a call."""
        (outcome,) = (r for r in self.records if r.get("call_id") == call_id)
        kept = ("user_id", "department", "provider", "model", "status", "call_id", "request_data")
        self.records.append(
            self.numbered.document(
                "correction",
                outcome["timestamp"] + timedelta(days=2),
                effective_at=outcome["timestamp"],
                details={"cost_nano_diff": nano, "cost_status_before": before},
                **{name: outcome[name] for name in kept},
            )
        )

    def score(self, call_id: str, name: str, value: Any) -> None:
        """Annotate a call."""
        details = {"kind": "score", "name": name, "value": value}
        at = self.start + timedelta(days=3)
        record = self.numbered.document("annotation", at, call_id=call_id, details=details)
        self.records.append(record)

    def hit(self, user: str, kind: str = "requests", after: timedelta = timedelta()) -> None:
        """Add a rate-limit hit."""
        self.records.append(
            self.numbered.document(
                "rate_limit_exceeded",
                self.start + after,
                user_id=user,
                success=False,
                details={"limit_type": kind},
            )
        )

    @staticmethod
    def new_id() -> str:
        """An id that no call has."""
        return str(ObjectId())
