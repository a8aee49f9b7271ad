"""``@audit.observe``: functions of every kind, under both loggers."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AsyncAuditLogger, AuditUnavailable
from affidavit.testing import MemoryStore, capture_events

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

    from affidavit.testing import Captured

pytestmark = pytest.mark.requirement("R1")


@pytest.fixture
def captured() -> Iterator[Captured]:
    """A synchronous logger over a store in memory."""
    with capture_events() as one:
        yield one


def test_a_function_leaves_arguments_and_result(captured: Captured) -> None:
    """By name, defaults left out; the function's own name is a field."""

    @captured.audit.observe
    def ask(question: str, *, depth: int = 1, **more: str) -> str:
        return f"{question}? {depth} {more}"

    assert ask("Why", depth=2, tone="dry") == "Why? 2 {'tone': 'dry'}"
    intent, outcome = captured.records
    assert intent["provider"] == "function"
    assert intent["request_data"]["function"].endswith("ask")
    assert intent["request_data"]["arguments"] == {
        "question": "Why", "depth": 2, "more": {"tone": "dry"},
    }  # fmt: skip
    assert outcome["status"] == "completed"
    assert outcome["response_data"]["text"] == "Why? 2 {'tone': 'dry'}"


def test_options_say_what_is_kept(captured: Captured) -> None:
    """Provider, model, name, fields and who; some arguments, no result."""

    @captured.audit.observe(
        provider="own", model="m1", name="classify", arguments=["kind"], result=False,
        fields={"symbol": "BTCUSDT"}, department="research",
    )  # fmt: skip
    def run(kind: str, secret: str) -> dict[str, int]:
        return {"n": 1}

    assert run("a", secret="hidden") == {"n": 1}
    intent, outcome = captured.records
    assert (intent["provider"], intent["model"], intent["department"]) == ("own", "m1", "research")
    assert intent["request_data"]["arguments"] == {"kind": "a"}
    assert intent["request_data"]["function"] == "classify"
    assert intent["request_data"]["symbol"] == "BTCUSDT"
    assert "hidden" not in str(captured.records)
    assert "result" not in outcome["response_data"]


def test_a_result_that_is_no_text_is_a_field(captured: Captured) -> None:
    """And the object of a method is no argument."""

    class Model:
        @captured.audit.observe
        def run(self, n: int) -> dict[str, int]:
            return {"n": n}

    Model().run(3)
    intent, outcome = captured.records
    assert intent["request_data"]["arguments"] == {"n": 3}
    assert outcome["response_data"]["result"] == {"n": 3}


def test_an_exception_makes_the_call_failed(captured: Captured) -> None:
    """And goes on unchanged."""
    wrong = ValueError("no such model")

    @captured.audit.observe
    def run() -> None:
        raise wrong

    with pytest.raises(ValueError, match="no such model") as raised:
        run()
    assert raised.value is wrong
    outcome = captured.records[-1]
    assert (outcome["status"], outcome["error_type"]) == ("failed", "ValueError")


def test_wrong_arguments_fail_as_ever_and_are_recorded(captured: Captured) -> None:
    """The function's own TypeError comes out."""

    @captured.audit.observe
    def run(a: int) -> int:
        return a

    with pytest.raises(TypeError, match="unexpected keyword"):
        run(b=1)  # type: ignore[call-arg]
    assert captured.records[-1]["error_type"] == "TypeError"


def test_kind_name_and_signature_stay(captured: Captured) -> None:
    """What looks at the function sees the function."""
    observe = captured.audit.observe

    def plain(a: int, b: str = "x") -> str:
        """Say something."""
        return b * a

    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        yield 1

    assert inspect.signature(observe(plain)) == inspect.signature(plain)
    assert (observe(plain).__name__, observe(plain).__doc__) == ("plain", "Say something.")
    assert inspect.iscoroutinefunction(observe(coroutine))
    assert inspect.isgeneratorfunction(observe(generator))
    assert inspect.isasyncgenfunction(observe(async_generator))
    with pytest.raises(TypeError, match="takes a function"):
        observe(3)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="Unknown keyword"):
        observe(colour="red")  # type: ignore[call-overload]


async def test_a_coroutine_is_recorded_under_both_loggers(captured: Captured) -> None:
    """A failure and a cancellation are told apart."""
    store = MemoryStore()
    async with AsyncAuditLogger(store) as other:
        for audit in (captured.audit, other):

            @audit.observe
            async def run(kind: str) -> str:
                if kind == "fail":
                    raise ValueError(kind)
                if kind == "wait":
                    await asyncio.sleep(60)
                return kind

            assert await run("fine") == "fine"
            with pytest.raises(ValueError, match="fail"):
                await run("fail")
            task = asyncio.create_task(run("wait"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await other.flush()
    for records in (captured.records, store.documents("records")):
        outcomes = [r["status"] for r in records if r["event_type"] == "llm_response"]
        assert outcomes == ["completed", "failed", "aborted"]


async def test_a_plain_function_is_recorded_under_the_asynchronous_logger() -> None:
    """It waits where it runs, as any plain function does."""
    store = MemoryStore()
    async with AsyncAuditLogger(store) as audit:

        @audit.observe
        def run() -> str:
            return "x"

        assert await asyncio.to_thread(run) == "x"
        await audit.flush()
        assert [r["status"] for r in store.documents("records")] == ["initiated", "completed"]


def test_a_generator_is_one_call_from_first_item_to_last(captured: Captured) -> None:
    """Texts are joined; ``send``, ``throw`` and the value it returns pass through."""

    @captured.audit.observe
    def talk() -> Generator[str, str, int]:
        heard = yield "a"
        try:
            yield heard
        except KeyError:
            yield "caught"
        return 7

    def consume() -> Generator[str, str, int]:
        return (yield from talk())

    conversation = consume()
    assert next(conversation) == "a"
    assert len(captured.records) == 1
    assert conversation.send("b") == "b"
    assert conversation.throw(KeyError("x")) == "caught"
    with pytest.raises(StopIteration) as stopped:
        next(conversation)
    assert stopped.value.value == 7
    outcome = captured.records[-1]
    assert outcome["status"] == "completed"
    assert outcome["response_data"]["text"] == "abcaught"
    assert outcome["response_data"]["items"] == 3
    assert outcome["time_to_first_token_ms"] >= 0


def test_a_generator_closed_early_is_aborted_with_what_it_gave(captured: Captured) -> None:
    """And one that is never started leaves nothing."""

    @captured.audit.observe
    def numbers() -> Iterator[int]:
        yield from range(100)

    numbers()
    assert captured.records == []
    given = numbers()
    assert [next(given), next(given)] == [0, 1]
    given.close()  # type: ignore[attr-defined]
    outcome = captured.records[-1]
    assert (outcome["status"], outcome["error_type"]) == ("aborted", "GeneratorExit")
    assert outcome["response_data"]["result"] == [0, 1]


def test_a_generator_that_fails_is_failed_with_what_it_gave(captured: Captured) -> None:
    """The exception reaches the consumer."""

    @captured.audit.observe
    def pieces() -> Iterator[str]:
        yield "It went"
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        list(pieces())
    outcome = captured.records[-1]
    assert (outcome["status"], outcome["response_data"]["text"]) == ("failed", "It went")


async def test_an_asynchronous_generator_is_one_call(captured: Captured) -> None:
    """To its end, closed early, failed, and left by a cancelled task."""

    @captured.audit.observe
    async def pieces(last: str) -> AsyncIterator[str]:
        yield "a"
        if last == "fail":
            raise ValueError(last)
        if last == "wait":
            await asyncio.sleep(60)
        yield last

    assert [piece async for piece in pieces("b")] == ["a", "b"]
    given: Any = pieces("b")
    assert await anext(given) == "a"
    await given.aclose()
    with pytest.raises(ValueError, match="fail"):
        [piece async for piece in pieces("fail")]

    async def consume() -> None:
        async for _ in pieces("wait"):
            pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    outcomes = [r for r in captured.records if r["event_type"] == "llm_response"]
    assert [r["status"] for r in outcomes] == ["completed", "aborted", "failed", "aborted"]
    assert [r["response_data"]["text"] for r in outcomes] == ["ab", "a", "a", "a"]


def test_under_refuse_the_function_is_not_called(captured: Captured) -> None:
    """AuditUnavailable comes before it."""
    called = []
    with capture_events(on_failure="refuse", write_timeout=0.2) as strict:

        @strict.audit.observe
        def run() -> None:
            called.append(1)

        strict.store.unavailable = True
        with pytest.raises(AuditUnavailable):
            run()
        strict.store.unavailable = False
    assert called == []


def test_an_endless_generator_does_not_fill_the_memory(captured: Captured) -> None:
    """Beyond a bound its items are counted only."""

    @captured.audit.observe
    def numbers() -> Iterator[int]:
        yield from range(5000)

    assert sum(1 for _ in numbers()) == 5000
    response = captured.records[-1]["response_data"]
    assert response["items"] == 5000
    assert len(response["result"]) == 1000
