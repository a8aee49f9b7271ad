"""A wrapped client behaves as it did: each case runs without and with capturing."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

import affidavit
from affidavit.testing import capture_events
from tests.support.capturing import (
    CHAT,
    CHAT_TOOLS,
    MESSAGE,
    MESSAGE_TOOLS,
    RESPONSE,
    anthropic_client,
    async_anthropic_client,
    async_openai_client,
    openai_client,
)
from tests.support.provider import Fault, Provider

pytestmark = pytest.mark.requirement("R1")


class Trend(BaseModel):
    """A structured answer."""

    direction: str


def shown(answer: Any) -> Any:
    """Everything that can be seen of an answer, without what differs from run to run."""
    seen = [type(answer).__mro__[0].__qualname__, type(answer).__module__]
    if hasattr(answer, "model_dump"):
        seen += [
            answer.model_dump(),
            answer.model_dump_json(),
            repr(answer),
            pickled(answer),
            copy.copy(answer) == answer,
            getattr(answer, "_request_id", None),
            sorted(answer.model_fields_set),
        ]
    return seen


def pickled(answer: Any) -> Any:
    """Whether an answer survives pickling; pages and generic models of the SDKs do not."""
    try:
        again = pickle.loads(pickle.dumps(answer))  # noqa: S301 - what was made above
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        return type(error).__qualname__
    return again == answer, type(again) is type(answer), repr(again) == repr(answer)


def raw(response: Any) -> list[Any]:
    """What a raw response offers."""
    return [
        type(response).__qualname__,
        response.status_code,
        response.headers.get("content-type"),
        response.request_id,
        response.retries_taken,
        response.http_request.method,
        response.http_request.content,
        repr(response),
    ]


def chunks(stream: Any) -> list[Any]:
    """A stream, read to its end; a second reading gives nothing."""
    return [
        type(stream).__qualname__,
        [one.model_dump() for one in stream],
        list(stream),
        stream.response.is_closed,
        type(stream.response).__qualname__,
    ]


def _unbound(body: bytes) -> bytes:
    """A body without the boundary of its parts, which is random."""
    return re.sub(rb"(?<=--)[0-9a-f]{32}", b"", body)


def _sent(provider: Provider) -> list[Any]:
    return [
        (
            one.request.method,
            one.request.path,
            _unbound(one.request.body),
            sorted(one.request.headers),
        )
        for one in provider.requests
    ]


SYNC: dict[str, Callable[[Any, Any, Provider], Any]] = {}
ASYNC: dict[str, Callable[[Any, Any, Provider], Awaitable[Any]]] = {}


def case(function: Any) -> Any:
    """Add a case by its name."""
    table: Any = ASYNC if function.__name__.startswith("_async_") else SYNC
    table[function.__name__.removeprefix("_")] = function
    return function


@case
def _chat(gpt: Any, _: Any, __: Provider) -> Any:
    return shown(gpt.chat.completions.create(**CHAT, tools=CHAT_TOOLS))


@case
def _chat_stream(gpt: Any, _: Any, __: Provider) -> Any:
    return chunks(gpt.chat.completions.create(**CHAT, stream=True))


@case
def _chat_stream_by_next(gpt: Any, _: Any, __: Provider) -> Any:
    stream = gpt.chat.completions.create(**CHAT, stream=True)
    first = next(stream).model_dump()
    rest = [one.model_dump() for one in stream]
    with pytest.raises(StopIteration):
        next(stream)
    return first, rest


@case
def _chat_stream_left(gpt: Any, _: Any, __: Provider) -> Any:
    with gpt.chat.completions.create(**CHAT, stream=True) as stream:
        got = [next(stream).model_dump(), next(stream).model_dump()]
    return got, stream.response.is_closed, type(stream.response).__qualname__


@case
def _chat_stream_entered_twice(gpt: Any, _: Any, __: Provider) -> Any:
    with gpt.chat.completions.create(**CHAT, stream=True) as stream:
        one = len(list(stream))
    with stream:
        return one, list(stream)


@case
def _chat_stream_pickled(gpt: Any, _: Any, __: Provider) -> Any:
    stream = gpt.chat.completions.create(**CHAT, stream=True)
    open_copy = pickle.loads(pickle.dumps(stream.response))  # noqa: S301 - what was made above
    list(stream)
    closed_copy = pickle.loads(pickle.dumps(stream.response))  # noqa: S301 - as above
    return [
        (type(one).__qualname__, one.status_code, one.is_closed) for one in (open_copy, closed_copy)
    ]


@case
def _chat_raw(gpt: Any, _: Any, __: Provider) -> Any:
    response = gpt.chat.completions.with_raw_response.create(**CHAT)
    return raw(response), shown(response.parse()), response.text


@case
def _chat_raw_stream(gpt: Any, _: Any, __: Provider) -> Any:
    response = gpt.chat.completions.with_raw_response.create(**CHAT, stream=True)
    return raw(response), chunks(response.parse())


@case
def _chat_streaming_response(gpt: Any, _: Any, __: Provider) -> Any:
    with gpt.chat.completions.with_streaming_response.create(**CHAT) as response:
        seen = raw(response), response.is_closed, shown(response.parse())
    return seen, response.is_closed


@case
def _chat_streaming_lines(gpt: Any, _: Any, __: Provider) -> Any:
    with gpt.chat.completions.with_streaming_response.create(**CHAT, stream=True) as response:
        return list(response.iter_lines())


@case
def _chat_streaming_twice(gpt: Any, _: Any, __: Provider) -> Any:
    with gpt.chat.completions.with_streaming_response.create(**CHAT) as response:
        b"".join(response.iter_bytes())
        return list(_error(response.read))


def _error(function: Callable[[], Any]) -> Iterator[Any]:
    try:
        yield function()
    except Exception as error:
        yield type(error).__qualname__, str(error), getattr(error, "status_code", None)
        yield getattr(error, "body", None), getattr(error, "request_id", None)
        yield type(error.__cause__).__qualname__, type(error.__context__).__qualname__


@case
def _chat_helper(gpt: Any, _: Any, __: Provider) -> Any:
    with gpt.chat.completions.stream(**CHAT) as stream:
        events = [event.type for event in stream]
    return events, shown(stream.get_final_completion())


@case
def _parse_fails(gpt: Any, _: Any, __: Provider) -> Any:
    return list(_error(lambda: gpt.chat.completions.parse(**CHAT, response_format=Trend)))


@case
def _response(gpt: Any, _: Any, __: Provider) -> Any:
    return shown(gpt.responses.create(**RESPONSE))


@case
def _response_stream(gpt: Any, _: Any, __: Provider) -> Any:
    return chunks(gpt.responses.create(**RESPONSE, stream=True))


@case
def _pages(gpt: Any, claude: Any, __: Provider) -> Any:
    return shown(gpt.models.list()), [m.id for m in gpt.models.list()], shown(claude.models.list())


@case
def _binary(gpt: Any, _: Any, __: Provider) -> Any:
    spoken = gpt.audio.speech.create(model="canned", voice="alloy", input="Sideways.")
    return type(spoken).__qualname__, spoken.read(), gpt.files.content("file-canned").text


@case
def _upload(gpt: Any, _: Any, __: Provider) -> Any:
    return shown(gpt.files.create(file=("q.jsonl", b"{}\n"), purpose="batch"))


@case
def _untyped(gpt: Any, _: Any, __: Provider) -> Any:
    return gpt.post("/unheard/of", cast_to=object, body={"a": [1, 2]})


@case
def _options(gpt: Any, claude: Any, __: Provider) -> Any:
    other = gpt.with_options(timeout=7, max_retries=1)
    third = claude.copy(max_retries=0)
    return [
        type(other) is type(gpt),
        other.timeout,
        other.max_retries,
        third.max_retries,
        other.api_key == gpt.api_key,
        shown(other.chat.completions.create(**CHAT)),
    ]


@case
def _retried(gpt: Any, claude: Any, provider: Provider) -> Any:
    provider.script("rate-limit", "error", "ok", "overloaded", "ok")
    response = gpt.chat.completions.with_raw_response.create(**CHAT)
    return response.retries_taken, shown(claude.messages.create(**MESSAGE))


@case
def _refused(gpt: Any, claude: Any, provider: Provider) -> Any:
    found = []
    for fault in ("unauthorized", "not-found", "bad-request", "quota", "malformed", "drop"):
        provider.script(*[fault] * 6)
        found += _error(lambda: gpt.with_options(max_retries=0).chat.completions.create(**CHAT))
        found += _error(lambda: claude.with_options(max_retries=0).messages.create(**MESSAGE))
        provider.script()
        provider.reset()
    return found


@case
def _broken_streams(gpt: Any, claude: Any, provider: Provider) -> Any:
    found = []
    for fault in ("cut", "error-in-stream", "malformed"):
        provider.script(Fault(fault, after=6), Fault(fault, after=6))
        found += _error(lambda: list(gpt.chat.completions.create(**CHAT, stream=True)))
        found += _error(lambda: list(claude.messages.create(**MESSAGE, stream=True)))
    return found


@case
def _wrong_arguments(gpt: Any, _: Any, __: Provider) -> Any:
    return list(_error(lambda: gpt.chat.completions.create(model="canned-large")))


@case
def _message(_: Any, claude: Any, __: Provider) -> Any:
    return shown(claude.messages.create(**MESSAGE, tools=MESSAGE_TOOLS))


@case
def _message_stream(_: Any, claude: Any, __: Provider) -> Any:
    return chunks(claude.messages.create(**MESSAGE, stream=True))


@case
def _message_helper(_: Any, claude: Any, __: Provider) -> Any:
    with claude.messages.stream(**MESSAGE) as stream:
        text = "".join(stream.text_stream)
    return text, shown(stream.get_final_message()), stream.response.is_closed


@case
def _message_raw(_: Any, claude: Any, __: Provider) -> Any:
    response = claude.messages.with_raw_response.create(**MESSAGE)
    return raw(response), shown(response.parse())


@case
def _batch_results(_: Any, claude: Any, __: Provider) -> Any:
    return [one.model_dump() for one in claude.messages.batches.results("msgbatch_canned")]


@case
async def _async_chat(gpt: Any, _: Any, __: Provider) -> Any:
    return shown(await gpt.chat.completions.create(**CHAT))


@case
async def _async_stream(gpt: Any, claude: Any, __: Provider) -> Any:
    found = []
    for stream in (
        await gpt.chat.completions.create(**CHAT, stream=True),
        await gpt.responses.create(**RESPONSE, stream=True),
        await claude.messages.create(**MESSAGE, stream=True),
    ):
        found += [type(stream).__qualname__, [one.model_dump() async for one in stream]]
        found += [[one async for one in stream], stream.response.is_closed]
    return found


@case
async def _async_stream_left(gpt: Any, claude: Any, __: Provider) -> Any:
    found = []
    for stream in (
        await gpt.chat.completions.create(**CHAT, stream=True),
        await claude.messages.create(**MESSAGE, stream=True),
    ):
        async with stream:
            found.append((await anext(aiter(stream))).model_dump())
        found.append(stream.response.is_closed)
    return found


@case
async def _async_raw(gpt: Any, _: Any, __: Provider) -> Any:
    response = await gpt.chat.completions.with_raw_response.create(**CHAT)
    return raw(response), shown(response.parse())


@case
async def _async_streaming_response(gpt: Any, _: Any, __: Provider) -> Any:
    make = gpt.chat.completions.with_streaming_response.create
    async with make(**CHAT, stream=True) as response:
        lines = [line async for line in response.iter_lines()]
    async with make(**CHAT) as response:
        return lines, shown(await response.parse()), response.is_closed


@case
async def _async_helpers(gpt: Any, claude: Any, __: Provider) -> Any:
    async with gpt.chat.completions.stream(**CHAT) as stream:
        found = [event.type async for event in stream]
        final = await stream.get_final_completion()
    async with claude.messages.stream(**MESSAGE) as helper:
        text = await helper.get_final_text()
    return found, shown(final), text


@case
async def _async_pages(gpt: Any, _: Any, __: Provider) -> Any:
    return [one.id async for one in gpt.models.list()], shown(await gpt.models.list())


@case
async def _async_refused(gpt: Any, claude: Any, provider: Provider) -> Any:
    found: list[Any] = []
    for fault in ("unauthorized", "bad-request", "drop"):
        for ask in (
            lambda: gpt.with_options(max_retries=0).chat.completions.create(**CHAT),
            lambda: claude.with_options(max_retries=0).messages.create(**MESSAGE),
        ):
            provider.script(fault)
            try:
                await ask()
            except Exception as error:
                found += list(_error(_raiser(error)))
    return found


def _raiser(error: Exception) -> Callable[[], Any]:
    def again() -> Any:
        raise error

    return again


WAYS = ("wrapped", "instrumented")


def _stable(seen: Any, provider: Provider) -> str:
    """What was seen, as text; ports and addresses of objects differ from run to run."""
    text = repr(seen)
    for url in (provider.openai_url, provider.anthropic_url, provider.azure_url):
        text = text.replace(url.rpartition(":")[2].partition("/")[0], "PORT")
    return text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SYNC)
def test_a_captured_client_behaves_as_before(name: str, way: str) -> None:
    """Results, types, iteration, exceptions and what is sent are the same."""
    seen = []
    for captures in (False, True):
        with Provider() as provider, capture_events() as captured:
            gpt, claude = openai_client(provider), anthropic_client(provider)
            if captures and way == "wrapped":
                gpt, claude = captured.audit.wrap(gpt), captured.audit.wrap(claude)
            elif captures:
                affidavit.instrument(captured.audit)
            try:
                result = SYNC[name](gpt, claude, provider)
            finally:
                affidavit.uninstrument()
                gpt.close()
                claude.close()
            seen.append(_stable((result, _sent(provider)), provider))
            assert bool(captured.records) is (captures and name != "wrong_arguments")
    assert seen[0] == seen[1]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ASYNC)
async def test_a_captured_asynchronous_client_behaves_as_before(name: str, way: str) -> None:
    """Results, types, iteration, exceptions and what is sent are the same."""
    seen = []
    for captures in (False, True):
        with Provider() as provider, capture_events() as captured:
            gpt, claude = async_openai_client(provider), async_anthropic_client(provider)
            if captures and way == "wrapped":
                gpt, claude = captured.audit.wrap(gpt), captured.audit.wrap(claude)
            elif captures:
                affidavit.instrument(captured.audit)
            try:
                result = await ASYNC[name](gpt, claude, provider)
            finally:
                affidavit.uninstrument()
                await gpt.close()
                await claude.close()
            seen.append(_stable((result, _sent(provider)), provider))
            assert bool(captured.records) is captures
    assert seen[0] == seen[1]
