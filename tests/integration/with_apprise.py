"""Alerts by Apprise, with the real package and a real receiver.

Apprise is among the packages of another environment: ``make test-apprise`` runs this file there.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from affidavit import AuditConfig
from affidavit.errors import ConfigError
from affidavit.monitor.notify.base import DeliveryFailed, Message
from affidavit.monitor.notify.configured import targets_of
from tests.support.receivers import HttpReceiver

pytestmark = pytest.mark.requirement("R23", "R24")

MESSAGE = Message(
    "a1b2", "[CRITICAL] records_lost", "Text.", datetime.now(UTC), {"level": "critical"}
)


def test_each_address_gets_the_message_with_its_level() -> None:
    """Two of Apprise's kinds, as they arrive."""
    with HttpReceiver() as receiver:
        urls = f"json://127.0.0.1:{receiver.port}/one form://127.0.0.1:{receiver.port}/two"
        _log, *targets = targets_of(AuditConfig(alert_apprise=urls))
        for target in targets:
            target.send(MESSAGE)
    assert [target.name for target in targets] == ["apprise 1", "apprise 2"]
    body = json.loads(receiver.posted[0].body)
    assert (body["title"], body["message"], body["type"]) == (MESSAGE.title, "Text.", "failure")
    assert b"type=failure" in receiver.posted[1].body


def test_what_was_not_taken_is_tried_again() -> None:
    """Apprise says only that it failed, and the text holds no address."""
    with HttpReceiver(statuses=[500]) as receiver:
        url = f"json://user:s3cret@127.0.0.1:{receiver.port}/"
        _log, target = targets_of(AuditConfig(alert_apprise=url))
        with pytest.raises(DeliveryFailed) as failed:
            target.send(MESSAGE)
    assert not failed.value.final
    assert "s3cret" not in str(failed.value)


def test_an_address_that_apprise_does_not_know_is_an_error_without_it() -> None:
    """It is named by its place."""
    with pytest.raises(ConfigError, match="address 2") as error:
        targets_of(AuditConfig(alert_apprise="json://127.0.0.1/ nonsense:s3cret"))
    assert "s3cret" not in str(error.value)
