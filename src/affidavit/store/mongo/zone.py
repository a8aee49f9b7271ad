"""The reporting time zone, fixed at set-up: days and months of sums are counted by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from affidavit.config import AuditConfig
from affidavit.errors import StoreRefused
from affidavit.event import LedgerEvent
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.ledger import Ledger
from affidavit.store.planning import State, Step

NAME: Final = "reporting_timezone"


def newest(location: Location) -> Mapping[str, Any]:
    """Read what the newest set-up record says; nothing for whoever may not read the ledger."""
    try:
        record = Ledger(location).newest(LedgerEvent.SETUP) or {}
    except StoreRefused:
        record = {}
    details: Mapping[str, Any] = record.get("details", {})
    return details


def reporting_timezone(location: Location, config: AuditConfig) -> str:
    """Ask the log for the time zone of its days and months; see :func:`fixed`."""
    return fixed(newest(location), config)


def fixed(details: Mapping[str, Any], config: AuditConfig) -> str:
    """Tell the time zone of this log's days and months: that of its set-up, else the setting."""
    return str(details.get(NAME) or config.reporting_timezone)


def steps(details: Mapping[str, Any], config: AuditConfig) -> list[Step]:
    """Say where the setting asks for another zone than the log was set up with."""
    held = fixed(details, config)
    if config.source(NAME) == "default" or config.reporting_timezone == held:
        return []
    return [
        Step(
            NAME,
            f"reporting time zone {config.reporting_timezone}",
            "days and months of sums and reports",
            State.CLASH,
            None,
            "",
            f"the log was set up with {held}, which stays: sums by day were counted in it. Set "
            f"reporting_timezone={held!r}, or give another log another zone",
        )
    ]
