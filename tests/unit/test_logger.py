"""What the two facades record, and that they are one."""

from __future__ import annotations

import asyncio
import inspect
import re
from typing import Any

import pytest
from bson.decimal128 import Decimal128

from affidavit import AsyncAuditLogger, AuditLogger, ConfigError
from affidavit._call import CallState
from affidavit.aio import AsyncCall
from affidavit.logger import Call
from affidavit.store.memory import MemoryStore
from affidavit.testing import capture_events


@pytest.mark.requirement("R1", "R3")
def test_a_completed_call_leaves_intent_and_outcome_in_the_sample_shape() -> None:
    """Every field of the sample document is there, under its own name."""
    with capture_events(service="wadm", environment="test") as captured:
        audit = captured.audit
        with (
            audit.context(
                user_id="user_123",
                department="research",
                ip_address="192.168.1.100",
                user_agent="WADM Frontend/1.0",
            ),
            audit.call(
                provider="anthropic",
                model="some-model",
                message="Analyze BTCUSDT",
                fields={
                    "symbol": "BTCUSDT",
                    "include_indicators": True,
                    "include_market_data": True,
                },
            ) as call,
        ):
            call.complete(
                text="It went up.",
                input_tokens=1000,
                output_tokens=250,
                cached_tokens=100,
                cost_usd=0.045,
                finish_reason="stop",
                fields={"context_symbols": ["BTCUSDT"]},
            )
        intent, outcome = captured.records
    assert (intent["event_type"], intent["status"]) == ("llm_request", "initiated")
    assert str(intent["_id"]) == intent["call_id"] == outcome["call_id"] == call.call_id
    assert intent["request_data"] == {
        "message": "Analyze BTCUSDT",
        "message_length": 15,
        "provider": "anthropic",
        "model": "some-model",
        "symbol": "BTCUSDT",
        "include_indicators": True,
        "include_market_data": True,
    }
    assert (outcome["event_type"], outcome["status"]) == ("llm_response", "completed")
    assert (outcome["success"], outcome["error_message"]) == (True, None)
    response = outcome["response_data"]
    assert response.pop("processing_time_ms") >= 0
    assert response == {
        "text": "It went up.",
        "response_length": 11,
        "provider_used": "anthropic",
        "tokens_used": 1250,
        "cost_usd": Decimal128("0.045000000"),
        "context_symbols": ["BTCUSDT"],
    }
    assert (outcome["input_tokens"], outcome["cached_tokens"]) == (1000, 100)
    for record in (intent, outcome):
        assert record["user_id"] == "user_123"
        assert (record["department"], record["service"]) == ("research", "wadm")
        assert record["client_info"] == {
            "ip_address": "192.168.1.100",
            "user_agent": "WADM Frontend/1.0",
        }
        assert record["schema_version"] == 1
    assert outcome["request_data"]["symbol"] == "BTCUSDT"
    assert "message" not in outcome["request_data"]


@pytest.mark.requirement("R1", "R6")
@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (ValueError("no such model"), "failed", "ValueError"),
        (asyncio.CancelledError(), "aborted", "CancelledError"),
        (KeyboardInterrupt(), "aborted", "KeyboardInterrupt"),
        (GeneratorExit(), "aborted", "GeneratorExit"),
    ],
)
def test_leaving_by_an_exception_records_what_it_was(
    error: BaseException, status: str, kind: str
) -> None:
    """A failure is told from an abort; the exception goes on; what had arrived is kept."""
    with capture_events() as captured:

        def leave() -> None:
            with captured.audit.call(provider="p", message="hi") as call:
                call.partial(text="It went", output_tokens=2)
                raise error

        with pytest.raises(type(error)):
            leave()
        outcome = captured.records[-1]
    assert (outcome["status"], outcome["success"]) == (status, False)
    assert outcome["error_type"] == kind
    assert outcome["error_message"]
    assert outcome["response_data"]["text"] == "It went"
    assert outcome["output_tokens"] == 2


@pytest.mark.requirement("R1")
def test_leaving_without_a_word_is_an_abort_that_says_so() -> None:
    """The log does not claim a success nobody reported."""
    with capture_events() as captured:
        with captured.audit.call(provider="p", message="hi"):
            pass
        assert captured.records[-1]["error_type"] == "NoOutcome"
        assert captured.records[-1]["status"] == "aborted"


@pytest.mark.requirement("R1")
def test_a_reported_failure_is_a_failure() -> None:
    """``fail`` is for errors that do not leave the block."""
    with capture_events() as captured:
        with captured.audit.call(provider="p", message="hi") as call:
            call.fail("provider said no", input_tokens=3)
        assert captured.records[-1]["error_message"] == "provider said no"
        assert captured.records[-1]["input_tokens"] == 3


@pytest.mark.requirement("R1", "R18", "R19")
def test_limits_security_events_and_annotations_are_records_of_their_own() -> None:
    """With the caller's identity, and never touching the call's own records."""
    with capture_events() as captured:
        audit = captured.audit
        with audit.call(provider="p", message="hi", user_id="u") as call:
            call.complete()
        with audit.context(user_id="u7", ip_address="10.0.0.1"):
            ids = [
                audit.rate_limit_exceeded(
                    limit_type="requests_per_minute", current_usage={"used": 61, "limit": 60}
                ),
                audit.security_event(
                    kind="prompt_injection", severity="high", details={"rule": "ignore-previous"}
                ),
                audit.annotate(call.call_id, kind="score", name="helpful", value=0.9, ref="r1"),
            ]
        limit, attack, note = captured.records[2:]
    assert [str(r["_id"]) for r in (limit, attack, note)] == ids
    assert limit["event_type"] == "rate_limit_exceeded"
    assert limit["details"]["current_usage"] == {"used": 61, "limit": 60}
    assert attack["event_type"] == "security_event"
    assert attack["details"]["severity"] == "high"
    assert attack["client_info"]["ip_address"] == "10.0.0.1"
    assert (note["event_type"], note["call_id"]) == ("annotation", call.call_id)
    assert note["details"] == {"kind": "score", "name": "helpful", "value": 0.9, "ref": "r1"}


@pytest.mark.requirement("R3")
def test_an_application_field_with_one_of_our_names_keeps_both() -> None:
    """Ours stays what it is; the application's gets a prefix."""
    with capture_events() as captured:
        with captured.audit.call(provider="p", message="hi", fields={"message": "mine"}) as call:
            call.complete(fields={"cost_usd": "mine"})
        intent, outcome = captured.records
    assert intent["request_data"]["message"] == "hi"
    assert intent["request_data"]["app_message"] == "mine"
    assert outcome["response_data"]["app_cost_usd"] == "mine"


@pytest.mark.requirement("R3")
def test_a_conversation_is_kept_whole_and_measured() -> None:
    """``messages`` in the intent; the length counts all texts, parts included."""
    turns = [
        {"role": "system", "content": "12345"},
        {"role": "user", "content": [{"type": "text", "text": "678"}, {"type": "image"}]},
    ]
    with capture_events() as captured:
        with captured.audit.call(provider="p", messages=turns, parameters={"top_p": 1}) as call:
            call.complete(text="x")
        intent, outcome = captured.records
    assert intent["request_data"]["messages"] == turns
    assert intent["request_data"]["parameters"] == {"top_p": 1}
    assert outcome["request_data"]["message_length"] == 8


@pytest.mark.requirement("R3")
def test_a_cost_that_is_no_number_is_null_and_flagged() -> None:
    """Never 0, never an exception."""
    with capture_events() as captured:
        with captured.audit.call(provider="p", message="hi") as call:
            call.complete(cost_usd="cheap")
        outcome = captured.records[-1]
    assert outcome["response_data"]["cost_usd"] is None
    assert outcome["odd"] == ["cost_not_a_number"]


class _Hostile:
    """Breaks whatever looks at it."""

    def __len__(self) -> int:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError


@pytest.mark.requirement("R6")
def test_hostile_objects_never_reach_the_application() -> None:
    """Wherever they are put, the call goes on and something is recorded."""
    with capture_events() as captured:
        for where in ("message", "messages", "parameters", "fields", "model", "user_id"):
            given: dict[str, Any] = {where: _Hostile()}
            with captured.audit.call(**{"provider": "p", **given}) as call:
                call.complete(text=_Hostile(), cost_usd=_Hostile(), input_tokens=_Hostile())
        stats = captured.audit.stats()
        assert stats.recorded == stats.stored == 12
        assert stats.lost == 0


@pytest.mark.requirement("R1")
def test_a_call_entered_again_is_another_call() -> None:
    """A loop of retries over one object leaves two calls, and no conflict of ids."""
    with capture_events() as captured:
        call = captured.audit.call(provider="p", message="hi")
        ids = []
        for cost in ("1", "1e50"):
            with call:
                call.complete(cost_usd=cost)
            ids.append(call.call_id)
        records = captured.records
        assert captured.audit.stats().dead_lettered == 0
    assert [r["call_id"] for r in records] == [ids[0], ids[0], ids[1], ids[1]]
    assert records[3]["response_data"]["cost_usd"] is None
    assert records[3]["odd"] == ["cost_not_a_number"]


@pytest.mark.requirement("R6")
def test_deeply_nested_fields_cost_the_outcome_nothing() -> None:
    """They are cut where they are kept, and not repeated in the outcome."""
    deep: Any = 1
    for _ in range(2000):
        deep = [deep]
    with capture_events() as captured:
        with captured.audit.call(provider="p", message="hi", fields={"d": deep}) as call:
            call.complete(cost_usd="1.5")
        intent, outcome = captured.records
    assert intent["odd"] == ["too_deep"]
    assert outcome["response_data"]["cost_usd"] == Decimal128("1.500000000")


def test_unknown_keywords_are_refused_with_the_place_for_them() -> None:
    """A mistyped dimension is the developer's error, and shows at once."""
    with capture_events() as captured:
        with pytest.raises(TypeError, match="fields="):
            captured.audit.call(provider="p", symbol="BTC")
        with pytest.raises(TypeError, match="usr_id"), captured.audit.context(usr_id="x"):
            pass


@pytest.mark.requirement("R2")
@pytest.mark.parametrize(
    ("target", "text"),
    [
        (None, "AFFIDAVIT_MONGODB_URI"),
        ("postgres://x", "mongodb://"),
        ("mongodb://localhost", "names no database"),
        ("mongodb://localhost/db?journal=false", "journal"),
        ("mongodb://localhost/db?w=majority&j=false", "journal"),
        ("mongodb://localhost/db?w=0", "w=0"),
        ("mongodb://me:geheim@localhost:notaport/db", "MongoDB address"),
        (3, "no target"),
    ],
)
def test_a_target_that_cannot_be_used_names_the_remedy(target: Any, text: str) -> None:
    """And never shows a password."""
    with pytest.raises(ConfigError) as caught:
        AuditLogger(target)
    assert text in str(caught.value)
    assert "geheim" not in str(caught.value)


def _signature(method: Any) -> str:
    """The parameters of a method, whatever it returns."""
    parameters = inspect.signature(method).parameters.values()
    return re.sub(r"affidavit\.\w+\.", "", str([str(p) for p in parameters]))


def test_both_facades_have_the_same_methods_and_parameters() -> None:
    """What one learns of one holds for the other."""

    def public(kind: type) -> dict[str, str]:
        return {
            n: _signature(m) for n, m in inspect.getmembers(kind, callable) if not n.startswith("_")
        }

    assert public(AuditLogger) == public(AsyncAuditLogger)
    assert public(Call) == public(AsyncCall) == public(CallState)


@pytest.mark.requirement("R1", "R8", "R12")
@pytest.mark.parametrize("waits", [True, False])
async def test_the_asynchronous_facade_records_the_same(waits: bool) -> None:
    """Intent and outcome, context across tasks, events, flush and close."""
    store = MemoryStore(f"memory:aio-{waits}")
    async with AsyncAuditLogger(store, async_writes=not waits) as audit:

        async def one(n: int) -> str:
            with audit.context(user_id=f"u{n}"):
                async with audit.call(provider="p", message=str(n)) as call:
                    await asyncio.sleep(0)
                    call.complete(text="x")
            return call.call_id

        ids = await asyncio.gather(*(one(n) for n in range(50)))
        await audit.rate_limit_exceeded(limit_type="rpm")
        await audit.security_event(kind="probe")
        await audit.annotate(ids[0], kind="review", name="ok")
        assert await audit.flush()
        assert audit.stats().recorded == 103
    records = store.documents()
    assert len(records) == 103
    by_call = {r["call_id"]: r["user_id"] for r in records if r["event_type"] == "llm_response"}
    assert by_call == {call_id: f"u{n}" for n, call_id in enumerate(ids)}


@pytest.mark.requirement("R6")
async def test_a_task_cancelled_while_the_queue_is_full_is_counted() -> None:
    """Its outcome is put if room appears, else counted lost: never neither."""
    store = MemoryStore("memory:cancelled-full")
    async with AsyncAuditLogger(store, async_writes=True, queue_wait=5) as audit:
        await audit.flush()
        core = audit._engine._running.core
        real, core.inbox.move_into = core.inbox.move_into, lambda *_: 0
        core.inbox._max_bytes = 1
        await audit.security_event(kind="fills the queue")

        async def call() -> None:
            async with audit.call(provider="p", message="hi") as one:
                one.complete()

        tasks = [asyncio.create_task(call()) for _ in range(5)]
        await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        stats = audit.stats()
        assert stats.lost == 5
        assert stats.recorded == stats.lost + stats.queued
        core.inbox.move_into = real


@pytest.mark.requirement("R1")
async def test_a_cancelled_task_leaves_an_aborted_record() -> None:
    """A client that disconnects cancels the task; what had arrived is kept."""
    store = MemoryStore("memory:cancelled")
    async with AsyncAuditLogger(store) as audit:
        started = asyncio.Event()

        async def stream() -> None:
            async with audit.call(provider="p", message="hi") as call:
                call.partial(text="It we")
                started.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(stream())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await audit.flush()
    assert store.documents()[-1]["status"] == "aborted"
    assert store.documents()[-1]["response_data"]["text"] == "It we"
