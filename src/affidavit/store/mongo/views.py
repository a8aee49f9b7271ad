"""The two views: calls as the sample document shows them, and outcomes for sorting and sums.

``llm_calls`` joins each intent with its outcome. MongoDB (6.0 at least) does not move a sort or a
limit below a ``$lookup``, so the view sorts *before* its join and is read without another sort;
filters on fields it passes on unchanged (user, department, time, kind) do move below the join and
use their index. The join goes by the ``call_id`` both records carry; an old document has none and
would match every other such document, so it joins on ``"-"``, which nobody has.

``llm_outcomes`` is a plain filter: outcomes of calls, and old documents that are finished. It
passes documents on unchanged, because a computed field would keep a sort from its index and a sum
from its covering index. So it is grouped by names both kinds have: ``user_id``,
``response_data.provider_used``, ``response_data.cost_usd``.
"""

from __future__ import annotations

from typing import Any, Final

from affidavit.event import DIMENSIONS, EventType

Pipeline = list[dict[str, Any]]

_NO_CALL: Final = "-"

OF_OUTCOME: Final = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_status",
    "price_book",
    "finish_reason",
    "time_to_first_token_ms",
    "error_type",
)


def calls(records: str) -> Pipeline:
    """Write the pipeline of ``llm_calls``: one document per call, newest first."""
    return [
        {"$match": {"event_type": EventType.LLM_REQUEST.value}},
        {"$sort": {"timestamp": -1}},
        *joined(records),
        {"$project": _shape()},
    ]


def joined(records: str) -> Pipeline:
    """Write the stages that add a call's outcome as ``outcome``; works on old documents too."""
    return [
        {"$set": {"outcome": {"$ifNull": ["$call_id", _NO_CALL]}}},
        {
            "$lookup": {
                "from": records,
                "localField": "outcome",
                "foreignField": "call_id",
                "pipeline": [{"$match": {"event_type": EventType.LLM_RESPONSE.value}}],
                "as": "outcome",
            }
        },
        {"$set": {"outcome": {"$first": "$outcome"}}},
    ]


def _shape() -> dict[str, Any]:
    """Write the sample document's fields in its order, then ours."""
    passed = dict.fromkeys(DIMENSIONS, 1)
    del passed["user_id"]
    return {
        "_id": 1,
        "event_type": 1,
        "user_id": 1,
        "timestamp": 1,
        "request_data": 1,
        "response_data": _either("response_data"),
        "client_info": {
            "$ifNull": [
                "$client_info",
                {
                    "ip_address": {"$ifNull": ["$client_ip", None]},
                    "user_agent": {"$ifNull": ["$user_agent", None]},
                },
            ]
        },
        "status": _either("status"),
        "success": _either("success"),
        "error_message": _either("error_message"),
        "call_id": 1,
        **passed,
        "provider": {
            "$ifNull": [
                "$outcome.provider",
                "$provider",
                "$response_data.provider_used",
                "$request_data.provider",
                None,
            ]
        },
        "model": {"$ifNull": ["$outcome.model", "$model", "$request_data.model", None]},
        **{name: f"$outcome.{name}" for name in OF_OUTCOME},
        "completed_at": {"$ifNull": ["$outcome.timestamp", "$completed_at", None]},
        "schema_version": {"$ifNull": ["$schema_version", 0]},
    }


def _either(name: str) -> dict[str, Any]:
    """Take a field from the outcome, else from the (old) document itself, else null."""
    return {"$ifNull": [f"$outcome.{name}", f"${name}", None]}


def outcomes() -> Pipeline:
    """Write the pipeline of ``llm_outcomes``: finished calls, no join, unsorted."""
    kinds = [EventType.LLM_REQUEST.value, EventType.LLM_RESPONSE.value]
    # Intents carry no `success`; outcomes and the finished documents of older loggers do.
    return [{"$match": {"success": {"$in": [True, False]}, "event_type": {"$in": kinds}}}]
