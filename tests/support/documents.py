"""Documents as they lie in the collection: ours, and those of an older, hand-written logger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bson.decimal128 import Decimal128
from bson.objectid import ObjectId

if TYPE_CHECKING:
    from pymongo.database import Database

START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


class Numbered:
    """Makes documents with the sequence numbers of one writer."""

    def __init__(self, writer: str = "w1") -> None:
        self.writer = writer
        self.seq = 0

    def document(self, event_type: str, at: datetime, **fields: Any) -> dict[str, Any]:
        """A record of ours with what every record has."""
        made = {
            "_id": ObjectId(),
            "event_type": event_type,
            "timestamp": at,
            "writer": self.writer,
            "seq": self.seq,
            "schema_version": 1,
            **fields,
        }
        self.seq += 1
        return made

    def intent(self, at: datetime = START, **fields: Any) -> dict[str, Any]:
        """The record before the call."""
        identity = ObjectId()
        message = fields.pop("message", "Analyze BTCUSDT")
        base: dict[str, Any] = {
            "user_id": "user_1",
            "department": "research",
            "client_info": {"ip_address": "192.168.1.100", "user_agent": "WADM Frontend/1.0"},
            "status": "initiated",
            "provider": "anthropic",
            "model": "model-1",
            "request_data": {
                "message": message,
                "message_length": len(message),
                "provider": "anthropic",
                "model": "model-1",
                "symbol": "BTCUSDT",
            },
        }
        made = self.document("llm_request", at, **{**base, **fields})
        return {**made, "_id": identity, "call_id": str(identity)}

    def outcome(
        self, intent: dict[str, Any], status: str = "completed", **fields: Any
    ) -> dict[str, Any]:
        """The record after the call."""
        request = {k: v for k, v in intent["request_data"].items() if k != "message"}
        base: dict[str, Any] = {
            "call_id": intent["call_id"],
            "user_id": intent["user_id"],
            "department": intent["department"],
            "client_info": intent["client_info"],
            "status": status,
            "success": status == "completed",
            "error_message": None if status == "completed" else "the provider did not answer",
            "provider": intent["provider"],
            "model": intent["model"],
            "input_tokens": 300,
            "output_tokens": 950,
            "request_data": request,
            "response_data": {
                "text": "Buy low, sell high.",
                "response_length": 19,
                "provider_used": intent["provider"],
                "tokens_used": 1250,
                "cost_usd": Decimal128("0.045"),
                "processing_time_ms": 1500.25,
            },
        }
        at = intent["timestamp"] + timedelta(seconds=1.5)
        return self.document("llm_response", at, **{**base, **fields})

    def call(self, at: datetime = START, status: str = "completed", **fields: Any) -> list[Any]:
        """Both records of one call."""
        intent = self.intent(at, **fields)
        return [intent, self.outcome(intent, status)]


def old_call(at: datetime = START, **fields: Any) -> dict[str, Any]:
    """What an older logger has after its insert and its update (R35): naive local time."""
    return {
        "event_type": "llm_request",
        "user_id": "user_1",
        "timestamp": at.replace(tzinfo=None),
        "client_ip": "10.0.0.1",
        "request_data": {"message": "Old question", "message_length": 12, "provider": "openai"},
        "response_data": {
            "response_length": 2500,
            "provider_used": "openai",
            "tokens_used": 1250,
            "cost_usd": 0.045,
            "processing_time_ms": 1500,
        },
        "status": "completed",
        "success": True,
        "error_message": None,
        "completed_at": (at + timedelta(seconds=2)).replace(tzinfo=None),
        **fields,
    }


def old_security(at: datetime = START, kind: str = "prompt_injection") -> dict[str, Any]:
    """A security event of an older logger."""
    return {
        "event_type": f"security_{kind}",
        "user_id": "user_9",
        "timestamp": at.replace(tzinfo=None),
        "client_ip": "10.0.0.9",
        "details": {"pattern": "ignore all"},
    }


def stages(database: Database[dict[str, Any]], command: dict[str, Any]) -> list[tuple[str, str]]:
    """The stages of a query's winning plan, each with its index."""
    found: list[tuple[str, str]] = []

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                walk(item)
        elif isinstance(node, dict):
            if "stage" in node:
                found.append((node["stage"], node.get("indexName", "")))
            found.extend((key, "") for key in node if key in {"$sort", "$lookup", "$group"})
            for key, value in node.items():
                if key in {"queryPlanner", "winningPlan", "queryPlan", "inputStage", "inputStages",
                           "stages", "$cursor"}:  # fmt: skip
                    walk(value)

    walk(database.command("explain", command))
    return found
