"""The hand-written logger that applications have had before, as their documents show it (R35).

One document per call, inserted when the request is made and changed when the answer comes; naive
local times; an address at the top level; security events with their kind in ``event_type``; money
as a float; statistics by reading everything and counting in Python. Its shortcomings are kept.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bson.objectid import ObjectId
    from pymongo.collection import Collection


class OldLogger:
    """Writes to a collection it was given; expects nothing of who else writes there."""

    def __init__(self, collection: Collection[dict[str, Any]]) -> None:
        self.collection = collection

    def log_llm_request(
        self,
        user_id: str,
        message: str,
        symbol: str = "BTCUSDT",
        provider: str = "auto",
        client_ip: str | None = None,
        user_agent: str | None = None,
    ) -> ObjectId:
        """Insert the request as pending; its ``_id`` is kept until the answer comes."""
        document = {
            "event_type": "llm_request",
            "user_id": user_id,
            "timestamp": datetime.now(),  # noqa: DTZ005 - the old logger's times are naive
            "request_data": {
                "message": message,
                "message_length": len(message),
                "symbol": symbol,
                "provider": provider,
                "include_indicators": True,
                "include_market_data": False,
            },
            "client_ip": client_ip,
            "user_agent": user_agent,
            "status": "pending",
        }
        found: ObjectId = self.collection.insert_one(document).inserted_id
        return found

    def log_llm_response(
        self, audit_id: ObjectId, *, success: bool, text: str = "", error: str | None = None
    ) -> bool:
        """Change the request's document; False if it was not there to be changed."""
        changes = {
            "response_data": {
                "response_length": len(text),
                "provider_used": "openai",
                "tokens_used": 180,
                "cost_usd": 0.0027,
                "processing_time_ms": 950,
                "context_symbols": ["BTCUSDT"],
            },
            "success": success,
            "status": "completed" if success else "failed",
            "error_message": error,
            "completed_at": datetime.now(),  # noqa: DTZ005 - the old logger's times are naive
        }
        done = self.collection.update_one({"_id": audit_id}, {"$set": changes})
        return done.matched_count == 1 and done.modified_count == 1

    def log_rate_limit(self, user_id: str, limit_type: str, usage: dict[str, int]) -> None:
        """Insert a rate-limit hit."""
        self.collection.insert_one(
            {
                "event_type": "rate_limit_exceeded",
                "user_id": user_id,
                "timestamp": datetime.now(),  # noqa: DTZ005 - the old logger's times are naive
                "limit_type": limit_type,
                "current_usage": usage,
            }
        )

    def log_security_event(self, kind: str, user_id: str, details: dict[str, Any]) -> None:
        """Insert a security event."""
        self.collection.insert_one(
            {
                "event_type": f"security_{kind}",
                "user_id": user_id,
                "timestamp": datetime.now(),  # noqa: DTZ005 - the old logger's times are naive
                "details": details,
                "client_ip": "10.0.0.9",
            }
        )

    # -- its own questions -----------------------------------------------------------------------

    def user_history(self, user_id: str, limit: int = 50) -> list[dict[str, Any]]:
        """A user's newest documents."""
        cursor = self.collection.find({"user_id": user_id}).sort("timestamp", -1).limit(limit)
        return list(cursor)

    def successes(self) -> int:
        """How many calls succeeded."""
        return self.collection.count_documents({"event_type": "llm_request", "success": True})

    def statistics(self) -> dict[str, Any]:
        """Calls, success, cost and users: by reading documents and counting."""
        users: Counter[str] = Counter()
        calls = succeeded = 0
        cost = 0.0
        for document in self.collection.find({"event_type": "llm_request"}).limit(10_000):
            calls += 1
            users[document["user_id"]] += 1
            if document.get("success"):
                succeeded += 1
                cost += document["response_data"].get("cost_usd", 0)
        return {"calls": calls, "succeeded": succeeded, "cost": cost, "users": users}

    def security_events(self) -> list[dict[str, Any]]:
        """Everything whose kind begins with ``security_``, newest first."""
        wanted = {"event_type": {"$regex": "^security_"}}
        return list(self.collection.find(wanted).sort("timestamp", -1))
