"""How each counter of a call is read and added up in a ``$group``; pure expressions, no I/O.

Numbers come out of MongoDB as 32 or 64 bits or as Decimal128, and are read back exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from bson.decimal128 import Decimal128

from affidavit.event import EPOCH
from affidavit.store.mongo import counting
from affidavit.tally.sums import SKETCHES, Sums

_NANO: Final = Decimal(10**9)
DONE: Final = {"$eq": ["$status_", "completed"]}
"""A call that was completed, after :data:`VALUES`."""

_RETRIES: Final = {"$ifNull": [counting.count("$response_data.retries"), 0]}


def _sum_if(condition: Any) -> dict[str, Any]:
    return {"$sum": {"$cond": [condition, 1, 0]}}


VALUES: Final[dict[str, Any]] = {
    "status_": counting.status(),
    "retries": _RETRIES,
    "answer_chars": counting.count("$response_data.response_length"),
    "prompt_chars": counting.count("$request_data.message_length"),
    "incoming": counting.count("$input_tokens"),
    "outgoing": counting.count("$output_tokens"),
    "cached": counting.count("$cached_tokens"),
    "reasoning": counting.count("$reasoning_tokens"),
    "cost": counting.dollars("$response_data.cost_usd"),
    "latency": counting.ms("$response_data.processing_time_ms"),
    "ttft": counting.ms("$time_to_first_token_ms"),
}
"""What is read of a call before it is added up; the total of tokens is made of two of these."""

_UNKNOWN: Final = {"$eq": ["$cost", None]}
_KNOWN: Final = {"$ne": ["$cost", None]}


def _whole_us(name: str) -> dict[str, Any]:
    whole = {"$toLong": {"$round": [{"$multiply": [f"${name}", 1000.0]}, 0]}}
    return {"$sum": {"$cond": [DONE, whole, 0]}}


ADDED: Final[dict[str, Any]] = {
    "calls": {"$sum": 1},
    "completed": _sum_if(DONE),
    "failed": _sum_if({"$eq": ["$status_", "failed"]}),
    "aborted": _sum_if({"$eq": ["$status_", "aborted"]}),
    "retried": _sum_if({"$gt": ["$retries", 0]}),
    "retries": {"$sum": "$retries"},
    "empty": _sum_if(
        {
            "$and": [
                DONE,
                {"$eq": ["$answer_chars", 0]},
                {"$eq": [{"$ifNull": ["$response_data.tool_calls", None]}, None]},
            ]
        }
    ),
    "cut": _sum_if(counting.is_cut()),
    "cost_nano": {"$sum": "$cost"},
    "priced": _sum_if(_KNOWN),
    "unpriced": _sum_if({"$and": [_UNKNOWN, {"$or": [DONE, {"$gt": ["$tokens", 0]}]}]}),
    "estimated": _sum_if({"$and": [_KNOWN, {"$eq": ["$cost_status", "estimated"]}]}),
    "tokens": {"$sum": "$tokens"},
    "input_tokens": {"$sum": "$incoming"},
    "output_tokens": {"$sum": "$outgoing"},
    "cached_tokens": {"$sum": "$cached"},
    "reasoning_tokens": {"$sum": "$reasoning"},
    "latency_us": _whole_us("latency"),
    "ttft_us": _whole_us("ttft"),
    "prompt_chars": {"$sum": "$prompt_chars"},
    "answer_chars": {"$sum": "$answer_chars"},
}
"""How each counter is added up."""

USED: Final[dict[str, tuple[str, ...]]] = {
    "completed": ("status_",),
    "failed": ("status_",),
    "aborted": ("status_",),
    "retried": ("retries",),
    "retries": ("retries",),
    "empty": ("status_", "answer_chars"),
    "cost_nano": ("cost",),
    "priced": ("cost",),
    "unpriced": ("cost", "status_", "tokens"),
    "estimated": ("cost",),
    "tokens": ("tokens",),
    "input_tokens": ("incoming",),
    "output_tokens": ("outgoing",),
    "cached_tokens": ("cached",),
    "reasoning_tokens": ("reasoning",),
    "latency_us": ("latency", "status_"),
    "ttft_us": ("ttft", "status_"),
    "prompt_chars": ("prompt_chars",),
    "answer_chars": ("answer_chars",),
}
"""What each counter is added up from."""

NAMES: Final = {"cost_nano": "dollars"}
"""Dollars are added up as decimals, and read as whole nano-dollars."""


def read(row: Mapping[str, Any]) -> Sums:
    """Give the sums of a row that ``$group`` made by these."""
    sums = Sums()
    for name, value in row.items():
        if name in _SLOTS:
            setattr(sums, name, whole(value))
    if "dollars" in row:
        sums.cost_nano = int(Decimal(str(row["dollars"])) * _NANO)
    if isinstance(row.get("first"), datetime):
        sums.first_ms, sums.last_ms = (_epoch_ms(row[name]) for name in ("first", "last"))
    return sums


_SLOTS: Final = frozenset(Sums.__slots__) - frozenset(SKETCHES)


def whole(value: Any) -> int:
    """Read a whole number, of whichever kind the sum became."""
    return int(value.to_decimal()) if isinstance(value, Decimal128) else int(value)


def _epoch_ms(at: datetime) -> int:
    return (at - EPOCH) // timedelta(milliseconds=1)
