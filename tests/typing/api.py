"""The public interface, used as an application would: type-checked, never run.

``mypy --strict`` must accept this file, with its ``type: ignore`` comments and no other: each of
those stands where a mistake has to be noticed.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, assert_type

import anthropic
import openai
from pymongo import MongoClient

from affidavit import (
    AffidavitError,
    AsyncAuditLogger,
    AuditConfig,
    AuditLogger,
    AuditMiddleware,
    AuditUnavailable,
    ConfigError,
    Instrumentation,
    call_id,
    instrument,
    uninstrument,
)
from affidavit._engine import Stats
from affidavit.analytics.answers import Answer
from affidavit.analytics.cost import CostRow
from affidavit.analytics.usage import UsageRow, UsageTotals
from affidavit.testing import Captured, capture_events


def configure() -> None:
    """Settings are typed by name; the document's dictionaries go in as keywords."""
    config = AuditConfig(ttl_days=30, batch_writes=True, max_spool_bytes="500MB")
    assert_type(config, AuditConfig)
    assert_type(config.ttl_days, int)
    assert_type(config.batch_writes, bool)
    assert_type(config.spool_dir, str | None)
    assert_type(config.mode, str)
    assert_type(AuditConfig.high_volume(ttl_days=90), AuditConfig)
    assert_type(AuditConfig.load(config, service="assistant"), AuditConfig)
    AuditConfig(on_failure="refuse", durable="spool")
    AuditConfig(guard="record", guard_hosts="llm.internal")
    AuditConfig(guard="on")  # type: ignore[arg-type]
    AuditConfig(on_failure="ignore")  # type: ignore[arg-type]
    AuditConfig(ttl_days="30")  # type: ignore[arg-type]
    AuditConfig(no_such_setting=True)  # type: ignore[call-arg]


def _ask(question: str) -> str:
    return question


def record() -> None:
    """The synchronous logger."""
    client: MongoClient[dict[str, object]] = MongoClient("mongodb://localhost/wadm")
    audit = AuditLogger(client["wadm"], AuditConfig(), service="assistant")
    with audit.context(user_id="user_123", department="research", ip_address="192.168.1.100"):
        with audit.call(
            provider="anthropic",
            model="claude",
            messages=[{"role": "user", "content": "Analyze"}],
            parameters={"temperature": 0},
            fields={"symbol": "BTCUSDT", "include_indicators": True},
        ) as call:
            call.partial(text="Side", time_to_first_token_ms=120.5)
            call.complete(text="Sideways.", input_tokens=5, cost_usd=Decimal("0.045"))
        assert_type(call.call_id, str)
    assert_type(audit.rate_limit_exceeded(limit_type="rpm", current_usage={"requests": 61}), str)
    assert_type(audit.security_event(kind="prompt_injection", severity="high"), str)
    assert_type(audit.annotate(call.call_id, kind="score", name="helpful", value=4), str)
    assert_type(audit.flush(timeout_s=2.0), bool)
    assert_type(audit.stats(), Stats)
    assert_type(audit.observe(_ask)("Analyze"), str)
    assert_type(audit.observe(model="m", arguments=["question"])(_ask)("Analyze"), str)
    audit.observe(_ask)(3)  # type: ignore[arg-type]
    audit.observe(symbol="BTCUSDT")  # type: ignore[call-overload]
    audit.call(provider="anthropic", symbol="BTCUSDT")  # type: ignore[call-arg]
    audit.call("anthropic")  # type: ignore[call-arg]
    audit.security_event(kind="k", severity="dreadful")  # type: ignore[arg-type]
    audit.annotate(call.call_id, kind="opinion", name="n")  # type: ignore[arg-type]
    audit.context(usr_id="user_123")  # type: ignore[call-arg]
    audit.close()


async def record_asynchronously() -> None:
    """The asynchronous logger: the same names, awaited."""
    async with AsyncAuditLogger("mongodb://localhost/wadm") as audit:
        with audit.context(user_id="user_123"):
            async with audit.call(provider="anthropic", message="Analyze") as call:
                call.complete(text="Sideways.")
        assert_type(call.call_id, str)
        assert_type(await audit.rate_limit_exceeded(limit_type="rpm"), str)
        assert_type(await audit.security_event(kind="bypass"), str)
        assert_type(await audit.annotate(call.call_id, kind="review", name="ok"), str)
        assert_type(await audit.flush(), bool)
        assert_type(audit.stats().lost, int)


def capture() -> None:
    """A wrapped client keeps its type; a call of the SDK leads to its record."""
    audit = AuditLogger("mongodb://localhost/wadm")
    client = audit.wrap(openai.OpenAI())
    assert_type(client, openai.OpenAI)
    assert_type(audit.wrap(anthropic.AsyncAnthropic()), anthropic.AsyncAnthropic)
    assert_type(call_id(client.models.list()), str | None)
    report = instrument("mongodb://localhost/wadm", sdks=["openai"], service="assistant")
    assert_type(report, Instrumentation)
    assert_type(
        [one.state for one in report], list[Literal["active", "waiting", "absent", "failed"]]
    )
    instrument(audit)
    uninstrument()
    instrument("mongodb://localhost/wadm", sdk="openai")  # type: ignore[call-arg]


def serve(app: object, audit: AsyncAuditLogger) -> AuditMiddleware:
    """The middleware around any ASGI application."""
    return AuditMiddleware(
        app,  # type: ignore[arg-type]
        audit=audit,
        user=lambda request: request.headers.get("x-user"),
        trusted_proxies=["10.0.0.0/8"],
    )


def fail() -> None:
    """The hierarchy of errors."""
    try:
        AuditLogger("mongodb://localhost/wadm", on_failure="refuse").close()
    except AuditUnavailable as unavailable:
        known: AffidavitError = unavailable
        raise known from None
    except ConfigError as wrong:
        value: ValueError = wrong
        raise value from None


def test_an_application() -> None:
    """What tests of applications use."""
    with capture_events(on_failure="spool") as captured:
        assert_type(captured, Captured)
        assert_type(captured.audit, AuditLogger)
        captured.store.unavailable = True


async def ask() -> None:
    """Answers have typed rows and totals, from either facade."""
    with AuditLogger() as audit:
        answer = audit.analytics.cost(by=["department", "day"], last="30d", where={"user": "ana"})
        assert_type(answer, Answer[CostRow, CostRow])
        assert_type(answer.totals.cost_usd, Decimal)
        assert_type(answer.rows[0].key["day"], str | None)
        audit.analytics.cost(latest="30d")  # type: ignore[call-arg]
    async with AsyncAuditLogger() as waiting:
        assert_type(await waiting.analytics.usage(month="this"), Answer[UsageRow, UsageTotals])
