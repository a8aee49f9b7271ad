"""A log of 100,000 calls for the console's pages, and a browser that looks at them.

The bulk is made by the product's own steps in large pieces, as for the benchmarks; what a page must
show beside it (tools, redactions, hostile text, events, annotations) goes through the logger. All
of it is sealed and folded, so that each page has something to say.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pymongo
from pymongo.write_concern import WriteConcern

from affidavit import AuditConfig, AuditLogger
from affidavit.analytics.keeper import Keeper
from affidavit.demo.mongod import Mongod
from affidavit.sealer import keys
from affidavit.sealer.run import seal_once
from affidavit.sealer.sealing import Sealer
from affidavit.store import open_log
from bench.analytics_load import Calls, Writer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

CALLS: Final = 100_000
TEXT: Final = 300
"""Characters of a question and its answer in the bulk."""

HOSTILE: Final = '<script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m\u202e"=cmd|x'
"""Markup, a terminal's escape, an override of direction, and a formula, as one value."""

HUGE: Final = 1_000_000
"""Bytes of one answer."""

USER: Final = "maria.lopez"
_WRITERS: Final = 4
_PIECE: Final = 1000
_SAID: Final = "Which invoices of Acme are still open?"
_ANSWERED: Final = "Two invoices of Acme are open: 2026-118 and 2026-131."


@dataclass(frozen=True)
class Stock:
    """What the log holds."""

    uri: str
    settings: dict[str, Any]
    """Of the log, for the service."""
    talk: str
    """Id of a call with tools, a redaction, an annotation and a neighbour."""
    hostile: str
    """Id of a call whose every value is hostile."""
    huge: str
    """Id of a call with a megabyte of answer."""
    checkpoint: str
    """As somebody saved it when half of the log was there."""


@contextmanager
def stocked(folder: Path, calls: int = CALLS) -> Iterator[Stock]:
    """A server of its own with a log: written, sealed, folded."""
    with Mongod.start() as server:
        uri = server.database_uri("affidavit_browser")
        settings: dict[str, Any] = {
            "seal_key_file": str(folder / "log.key"),
            "spool_dir": str(folder / "spool"),
            "ttl_days": 3650,
            "seal": "off",
            "max_field_size": 2 * HUGE,
            "budgets": {"user": {"*": 400}, "department": {"*": 9000}},
        }
        config = AuditConfig(**settings)
        with open_log(uri, config) as log:
            log.apply(log.plan())
            _bulk(uri, calls)
            sealer = Sealer(log.seals, lambda: keys.open_key(log.seals, config), where="service")
            seal_once(sealer)
            last = log.seals.last_seal()
            assert last is not None
            talk, hostile, huge = _by_hand(uri, config)
            seal_once(sealer)
            Keeper(log.seals, log.rollups).catch_up()
        yield Stock(uri, settings, talk, hostile, huge, str(last["cp"]))


def _bulk(uri: str, calls: int) -> None:
    """Write the bulk by two processes, up to an hour ago."""
    until = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    share = calls // _WRITERS
    # Spawned: a process that is forked while servers and threads run could hang.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for done in [pool.submit(_write, uri, each, share, until) for each in range(_WRITERS)]:
            done.result()


def _write(uri: str, number: int, count: int, until: datetime) -> None:
    """Be one writer: calls of ninety days, oldest first, the last of them at ``until``."""
    client: pymongo.MongoClient[Any] = pymongo.MongoClient(uri)
    database = client.get_default_database().with_options(write_concern=WriteConcern(w=1, j=False))
    writer = Writer(f"browser{number:05d}", database)
    writer.start()
    source = Calls(number, TEXT, users=400)
    times = list(source.times(count))
    later = until - times[-1]
    for done, at in enumerate(times, 1):
        writer.call(*source.call(at + later))
        if done % _PIECE == 0 or done == count:
            writer.flush()
    client.close()


def _by_hand(uri: str, config: AuditConfig) -> tuple[str, str, str]:
    """Record through the logger what a page must be able to show."""
    with AuditLogger(uri, config) as audit:
        talk = _talk(audit)
        hostile = _hostile(audit)
        with audit.call(
            provider="openai", model="gpt-5", message="Write a long report.", user_id=USER
        ) as call:
            text = "0123456789abcdef" * (HUGE // 16)
            call.complete(text=text, input_tokens=20, output_tokens=250_000, cost_usd="2.5")
        audit.flush(30)
        return talk, hostile, str(call.call_id)


def _talk(audit: AuditLogger) -> str:
    who: dict[str, Any] = {
        "user_id": USER,
        "department": "treasury",
        "tenant": "madrid",
        "session_id": "browser-session",
    }
    messages = [
        {"role": "system", "content": "You answer questions about invoices."},
        {"role": "user", "content": f"{_SAID} Write to ana.perez@example.com."},
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "find_invoices", "arguments": '{"customer": "Acme"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": '["2026-118", "2026-131"]'},
    ]
    ids = []
    for _ in range(2):
        with audit.call(provider="openai", model="gpt-5", messages=messages, **who) as call:
            call.complete(text=_ANSWERED, input_tokens=812, output_tokens=64, cost_usd="0.0031")
        ids.append(str(call.call_id))
    audit.annotate(ids[0], kind="score", name="helpful", value=0.9)
    audit.security_event(kind="prompt_injection", severity="high", user_id=USER)
    return ids[0]


def _hostile(audit: AuditLogger) -> str:
    with audit.call(
        provider=HOSTILE,
        model=HOSTILE,
        message=HOSTILE,
        user_id=HOSTILE,
        department=HOSTILE,
        tenant=HOSTILE,
        session_id=HOSTILE,
        fields={"symbol": HOSTILE},
    ) as call:
        call.complete(text=HOSTILE, input_tokens=1, output_tokens=1, cost_usd="0.01")
    audit.annotate(str(call.call_id), kind="score", name=HOSTILE, value=HOSTILE)
    audit.security_event(kind="prompt_injection", severity="high", user_id=HOSTILE)
    return str(call.call_id)


def chromium() -> str:
    """Where Debian's browser is; scripts/install-debian.sh installs it."""
    found = shutil.which("chromium")
    assert found is not None, "no chromium: apt-get install chromium"
    return found


@contextmanager
def browsing(playwright: Playwright) -> Iterator[Browser]:
    """The browser, without a way to any other host."""
    browser = playwright.chromium.launch(
        executable_path=chromium(),
        args=["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        chromium_sandbox=False,
    )
    try:
        yield browser
    finally:
        browser.close()
