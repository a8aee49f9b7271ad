"""The reporting time zone is fixed when a log is set up."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.database import Database

from affidavit.config import AuditConfig
from affidavit.errors import ConfigError
from affidavit.store import open_log
from affidavit.store.planning import State

pytestmark = pytest.mark.requirement("R13")

Log = Database[dict[str, Any]]


def test_set_up_fixes_the_zone(database: Log) -> None:
    """Another setting later changes nothing, and set-up says what is in force."""
    with open_log(database, AuditConfig(reporting_timezone="Europe/Madrid")) as log:
        assert log.reporting_timezone == "Europe/Madrid"
        log.apply(log.plan())
    (record,) = database.llm_audit_ledger.find({"event_type": "setup"})
    assert record["details"]["reporting_timezone"] == "Europe/Madrid"
    with open_log(database, AuditConfig.load(reporting_timezone="Asia/Tokyo")) as log:
        assert log.reporting_timezone == "Europe/Madrid"
        (clash,) = log.plan().in_state(State.CLASH)
    assert "was set up with Europe/Madrid, which stays" in clash.note


def test_a_setting_that_is_not_given_is_no_clash(database: Log) -> None:
    """Commands without the setting take the zone of the log, silently."""
    with open_log(database, AuditConfig(reporting_timezone="Europe/Madrid")) as log:
        log.apply(log.plan())
    with open_log(database, AuditConfig()) as log:
        assert not log.plan().in_state(State.CLASH)
        assert log.reporting_timezone == "Europe/Madrid"


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "Europe"])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    """The error names the setting and a zone."""
    with pytest.raises(ConfigError, match=r"reporting_timezone=.*Europe/Madrid"):
        AuditConfig(reporting_timezone=zone)
