"""Monitors are killed while they act: each change is told once, by whoever is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditConfig, AuditLogger
from affidavit._monitor_settings import THRESHOLDS
from affidavit.store import alerts_of, open_log
from tests.support.receivers import HttpReceiver
from tests.support.watching import SECRET, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymongo.database import Database

pytestmark = [
    pytest.mark.requirement("R23", "R24"),
    pytest.mark.serial,
    pytest.mark.timeout(400),
]

KILLS = 3
ATTENTION_S = 100
"""A lease lasts 20 seconds with looks five seconds apart; a busy machine takes its time besides."""

OTHERS_OFF = {name: {"off": True} for name in THRESHOLDS if name != "security_events"}
"""A busy machine has slow writes, which are no part of this."""


@contextmanager
def monitor(uri: str, receiver: HttpReceiver) -> Iterator[subprocess.Popen[bytes]]:
    """One process of `affidavit monitor`, that looks every five seconds."""
    settings = {
        "MONGODB_URI": uri,
        "SEAL": "off",
        "MONITOR_EVERY_S": "5",
        "MONITORING_THRESHOLDS": json.dumps(OTHERS_OFF),
        "ALERT_WEBHOOKS": receiver.url(),
        "ALERT_WEBHOOK_SECRET": SECRET,
        "ALERT_PRIVATE_ADDRESSES": "true",
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "affidavit.cli", "monitor"],
        env={**os.environ, **{f"AFFIDAVIT_{name}": value for name, value in settings.items()}},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait(20)


def acting(uri: str) -> int | None:
    """The process that holds the lease."""
    with open_log(uri, AuditConfig()) as log:
        by = alerts_of(log).peek()[1]
    return None if by is None else int(by.split(":")[1])


def test_whoever_acts_is_killed_and_each_change_is_told_exactly_once(
    mongodb_uri: str, database: Database[dict[str, Any]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Three processes; at each change the one that acts dies, and another is started."""
    monkeypatch.setenv("AFFIDAVIT_SEAL", "off")
    with HttpReceiver() as receiver, AuditLogger(mongodb_uri) as audit, ExitStack() as running:
        children = [running.enter_context(monitor(mongodb_uri, receiver)) for _ in range(3)]
        until(lambda: acting(mongodb_uri) is not None, "a monitor", ATTENTION_S)
        told: dict[str, tuple[str, str]] = {}
        for number in range(KILLS):
            audit.security_event(kind=f"k{number}", severity="high")
            holder = acting(mongodb_uri)
            next(child for child in children if child.pid == holder).kill()
            children.append(running.enter_context(monitor(mongodb_uri, receiver)))
            until(lambda n=number: f"k{n}" in _subjects(receiver), "the notice", ATTENTION_S)
        until(lambda: acting(mongodb_uri) != holder, "the next one", ATTENTION_S)
        for posted in receiver.posted:
            body = json.loads(posted.body)
            told[posted.headers["webhook-id"]] = (body["subject"], body["what"])
    wanted = [(f"k{number}", "firing") for number in range(KILLS)]
    assert list(told.values()) == wanted  # by id: a receiver leaves out one that it knows
    noted = database["llm_audit_ledger"].find({"event_type": "alert_firing"}).sort("timestamp", 1)
    assert [each["details"]["subject"] for each in noted] == [subject for subject, _ in wanted]
    with open_log(mongodb_uri, AuditConfig()) as log:
        history = alerts_of(log).history(audit_began(database), 100)
    assert [entry["subject"] for entry in reversed(history)] == [subject for subject, _ in wanted]


def audit_began(database: Database[dict[str, Any]]) -> Any:
    """When the first record was made."""
    first = database["llm_audit_ledger"].find_one(sort=[("timestamp", 1)])
    assert first is not None
    return first["timestamp"]


def _subjects(receiver: HttpReceiver) -> list[str]:
    return [json.loads(posted.body)["subject"] for posted in list(receiver.posted)]
