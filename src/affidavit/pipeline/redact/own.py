# ruff: noqa: SIM905 - long lists of words read better as text
"""Names of fields that are ours: no rule renames them, or views and readers would break."""

from __future__ import annotations

from typing import Any, Final

from affidavit.event import DIMENSIONS, Document, LedgerEvent

TOP: Final = frozenset(
    (
        *DIMENSIONS,
        *(
            "_id writer seq salt schema_version event_type call_id timestamp status success "
            "client_info actor odd truncated redactions sealed details request_data response_data "
            "provider model error_type error_message finish_reason input_tokens output_tokens "
            "cached_tokens reasoning_tokens time_to_first_token_ms price_book cost_status kind"
        ).split(),
    )
)
"""Of a record itself: where a path of a rule can begin."""

INNER: Final = frozenset(
    (
        # of what was asked and answered
        "message message_length messages provider model parameters tools endpoint operation "
        "server_address input files requests request_count text texts response_length tool_calls "
        "provider_used tokens_used cost_usd processing_time_ms reasoning refusal finish_reasons "
        "response_id request_id http_status retries usage_raw usage_estimated stream "
        "cache_write_tokens body body_bytes content service_tier system_fingerprint "
        # of a turn, a part of it, a tool and its call, as the providers name them
        "role type name id arguments function tool_call_id description "
        # of events
        "kind severity details limit_type current_usage limit remaining reset retry_after value "
        "ref note reason open_for_ms ip_address user_agent "
        # of what was cut, counted and uploaded
        "path bytes turns count action field filename sha256 media_type"
    ).split()
)
"""Of the parts of a record. Wherever they stand, they say nothing but themselves."""

UNTOUCHED: Final = frozenset(
    (
        *DIMENSIONS,
        *("client_info", "event_type", "call_id", "timestamp", "status", "schema_version", "odd"),
    )
)
"""Fields that say who, where and what happened: never searched."""

NAMES: Final = TOP | INNER

UNTOUCHED_IN_LEDGER: Final = frozenset(("leaf_key", "writer", "since", "dataset"))
"""Values in the ledger without which its own proofs and counts could not be read."""

_EVENTS: Final = frozenset(event.value for event in LedgerEvent)


def is_ledger(document: Document) -> bool:
    """Whether a document is of the ledger: all its names are the program's own."""
    event: Any = document.get("event_type")
    return isinstance(event, str) and event in _EVENTS
