"""What a first user did to captured clients to make them miss, mix up or change something."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import gc
import gzip
import json
import socket
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import openai
import pytest

import affidavit
from affidavit.testing import Captured, capture_events
from tests.support.capturing import (
    CHAT,
    async_openai_client,
    calls,
    only_call,
    openai_client,
)
from tests.support.provider import Fault, Provider, Raw

pytestmark = pytest.mark.requirement("R1")


# -- copies ----------------------------------------------------------------------------------------


def test_a_copied_client_asks_with_its_own_key(provider: Provider, captured: Captured) -> None:
    """What ``with_options()`` makes of a copy has the copy's key, and is recorded."""
    first = captured.audit.wrap(openai_client(provider, max_retries=0))
    second = copy.copy(first)
    second.api_key = "tenant-b"
    second.with_options(timeout=5).chat.completions.create(**CHAT)
    assert provider.requests[0].request.headers["authorization"] == "Bearer tenant-b"
    only_call(captured)


def test_a_copied_client_asks_at_its_own_address(provider: Provider, captured: Captured) -> None:
    """The same for the address, of an asynchronous client as well."""
    with Provider() as other:
        for make in (openai_client, async_openai_client):
            first: Any = captured.audit.wrap(make(provider))
            second = copy.copy(first)
            second.base_url = other.openai_url
            assert second.copy().base_url == second.base_url


def test_a_wrapped_client_is_freed_with_its_last_reference(
    provider: Provider, captured: Captured
) -> None:
    """Wrapping adds no cycle that only a garbage collection could find."""
    gc.disable()
    try:
        plain = openai_client(provider)
        client = captured.audit.wrap(openai_client(provider))
        seen = [weakref.ref(plain), weakref.ref(client)]
        del plain, client
        alive = [one() is not None for one in seen]
    finally:
        gc.enable()
    assert alive[0] == alive[1]


def test_a_client_that_cannot_be_hashed_can_be_wrapped(
    provider: Provider, captured: Captured
) -> None:
    """A class of the application's may define ``__eq__`` and no ``__hash__``."""

    class Compared(openai.OpenAI):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Compared)

    for _ in range(2):
        client = captured.audit.wrap(Compared(base_url=provider.openai_url, api_key="k"))
        client.with_options(timeout=5).chat.completions.create(**CHAT)
    assert len(calls(captured)) == 2


# -- a client within a client ----------------------------------------------------------------------


def test_what_an_unwrapped_client_meets_is_not_told_of_the_wrapped_one(
    provider: Provider, captured: Captured
) -> None:
    """A client that is asked within a recorded request leaves nothing in that request's record."""
    inner = openai_client(provider, max_retries=2)

    class Asking(openai.OpenAI):
        def _prepare_options(self, options: Any) -> Any:
            inner.chat.completions.create(**CHAT)
            return super()._prepare_options(options)

    client = captured.audit.wrap(Asking(base_url=provider.openai_url, api_key="k", max_retries=0))
    provider.script("rate-limit", "ok", "unauthorized")
    with pytest.raises(openai.AuthenticationError):
        client.chat.completions.create(**CHAT)
    _, outcome = only_call(captured)
    assert outcome["response_data"]["http_status"] == 401
    assert outcome["response_data"]["retries"] == 0
    assert not [one for one in captured.records if one["event_type"] == "rate_limit_exceeded"]


async def test_what_an_unwrapped_asynchronous_client_meets_is_not_told_either(
    provider: Provider, captured: Captured
) -> None:
    """The same of asynchronous clients."""
    inner = async_openai_client(provider, max_retries=2)

    class Asking(openai.AsyncOpenAI):
        async def _prepare_options(self, options: Any) -> Any:
            await inner.chat.completions.create(**CHAT)
            return await super()._prepare_options(options)

    client = captured.audit.wrap(Asking(base_url=provider.openai_url, api_key="k", max_retries=0))
    provider.script("rate-limit", "ok", "drop")
    with pytest.raises(openai.APIConnectionError):
        await client.chat.completions.create(**CHAT)
    _, outcome = only_call(captured)
    assert "http_status" not in outcome["response_data"]
    assert outcome["response_data"]["retries"] == 0
    await inner.close()
    await client.close()


# -- streams ---------------------------------------------------------------------------------------

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
DONE = b"data: [DONE]\n\n"


def event(*choices: dict[str, Any], **more: Any) -> bytes:
    """A chunk of a chat completion, as it goes over the wire."""
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps(body | {"choices": choices} | more).encode() + b"\n\n"


def piece(text: str, index: int = 0) -> dict[str, Any]:
    """A choice of a chunk that brings text."""
    return {"index": index, "delta": {"content": text}, "finish_reason": None}


def end(index: int = 0) -> dict[str, Any]:
    """A choice of a chunk that ends."""
    return {"index": index, "delta": {}, "finish_reason": "stop"}


WHOLE = (event(piece("he")), event(piece("llo")), event(end()), event(usage=USAGE), DONE)


def body(**more: Any) -> dict[str, Any]:
    """A chat completion."""
    message = {"role": "assistant", "content": "hello"}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    top = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m"}
    return top | {"choices": [choice], "usage": USAGE} | more


def told(captured: Captured) -> tuple[Any, ...]:
    """Status, text and tokens of the only call's outcome."""
    _, outcome = only_call(captured)
    answer = outcome["response_data"]
    return outcome["status"], answer.get("text"), outcome["input_tokens"], outcome["output_tokens"]


def read(provider: Provider, captured: Captured, *events: bytes, **headers: str) -> list[Any]:
    """Have a wrapped client read these events to the end."""
    provider.script(Raw(events=events, headers=headers))
    client = captured.audit.wrap(openai_client(provider, max_retries=0))
    return list(client.chat.completions.create(**CHAT, stream=True))


FORK = """
import os, sys, affidavit, openai
from affidavit import AuditLogger
from affidavit.store.memory import MemoryStore
from affidavit.event import Dest
store = MemoryStore("memory:fork")
audit = AuditLogger(store, spool_dir=sys.argv[2])
client = audit.wrap(openai.OpenAI(base_url=sys.argv[1], api_key="k"))
asked = [{"role": "user", "content": "q"}]
stream = client.chat.completions.create(model="canned-large", messages=asked, stream=True)
next(iter(stream))
child = os.fork()
if child:
    os.waitpid(child, 0)
    list(stream)
else:
    if sys.argv[3] == "dropped":
        del stream
    else:
        stream.close()
audit.flush()
outcomes = [r["status"] for r in store.documents(Dest.RECORDS) if r["event_type"] == "llm_response"]
print("parent" if child else "child", outcomes, flush=True)
"""


@pytest.mark.parametrize("left", ["dropped", "closed"])
def test_a_forked_process_ends_no_stream_of_its_parents(
    provider: Provider, tmp_path: Path, left: str
) -> None:
    """The outcome is the parent's: its copy in a child leaves nothing."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, provider.openai_url, str(tmp_path), left],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert sorted(done.stdout.splitlines()) == ["child []", "parent ['completed']"]


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "application/json", ""])
def test_a_stream_of_another_type_is_read(
    provider: Provider, captured: Captured, kind: str
) -> None:
    """The SDK reads events because it asked for them, whatever the server calls them."""
    read(provider, captured, *WHOLE, **{"content-type": kind})
    assert told(captured) == ("completed", "hello", 11, 7)


def test_no_stream_where_one_was_asked_for_is_read_as_what_it_is(
    provider: Provider, captured: Captured
) -> None:
    """A server may not know streams, and answer with the whole."""
    read(provider, captured, json.dumps(body()).encode(), **{"content-type": "application/json"})
    assert told(captured) == ("completed", "hello", 11, 7)


def test_a_stream_that_was_read_before_is_read_as_a_stream(
    provider: Provider, captured: Captured
) -> None:
    """A listener of the HTTP client may read the response before the SDK does."""
    kind = type(openai.OpenAI(api_key="k")._client).__mro__[1]
    listening = kind(event_hooks={"response": [lambda response: response.read()]})
    client = captured.audit.wrap(openai_client(provider, http_client=listening))
    provider.script(Raw(events=WHOLE))
    chunks = list(client.chat.completions.create(**CHAT, stream=True))
    client.close()
    assert len(chunks) == 4
    assert told(captured) == ("completed", "hello", 11, 7)


@pytest.mark.parametrize("odd", ['"\\ud83d"', "NaN", "-Infinity"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_json_that_only_the_sdk_takes_is_read(
    provider: Provider, captured: Captured, odd: str, bom: bytes
) -> None:
    """Lone surrogates, numbers that are none, and a byte-order mark lose no answer."""
    sent = bom + json.dumps(body(odd=0)).replace('"odd": 0', f'"odd": {odd}').encode()
    provider.script(Raw(sent))
    client = captured.audit.wrap(openai_client(provider))
    assert client.chat.completions.create(**CHAT).choices[0].message.content == "hello"
    assert told(captured) == ("completed", "hello", 11, 7)


def test_a_lone_surrogate_in_an_answer_is_kept_as_a_mark(
    provider: Provider, captured: Captured
) -> None:
    """The rest of the text and the tokens stay, in an answer and in a stream."""
    whole = json.dumps(body()).replace("hello", "he\\ud83dllo").encode()
    half = event(piece("x")).replace(b'"x"', b'"\\ud83d"')
    client = captured.audit.wrap(openai_client(provider))
    provider.script(Raw(whole), Raw(events=(WHOLE[0], half, *WHOLE[1:])))
    client.chat.completions.create(**CHAT)
    list(client.chat.completions.create(**CHAT, stream=True))
    for _, outcome in calls(captured):
        text = outcome["response_data"]["text"]
        assert (text[:2], text[-3:], outcome["output_tokens"]) == ("he", "llo", 7)


def test_an_unknown_answer_with_a_lone_surrogate_is_read(
    provider: Provider, captured: Captured
) -> None:
    """The same of an endpoint that no parser knows."""
    provider.script(Raw(b'{"id": "x", "object": "model", "owned_by": "\\ud83d!"}'))
    captured.audit.wrap(openai_client(provider)).models.retrieve("m")
    _, outcome = only_call(captured)
    assert outcome["response_data"]["body"]["id"] == "x"


def test_usage_in_floats_is_read(provider: Provider, captured: Captured) -> None:
    """Some servers write ``11.0``."""
    usage = {name: float(count) for name, count in USAGE.items()}
    read(provider, captured, *WHOLE[:3], event(usage=usage), DONE)
    assert told(captured) == ("completed", "hello", 11, 7)


def test_a_stream_left_between_its_choices_is_aborted(
    provider: Provider, captured: Captured
) -> None:
    """It is whole when as many choices have ended as were asked for."""
    events = (event(piece("he")), event(end()), event(piece("ho", 1)), event(end(1)), DONE)
    provider.script(Raw(events=events))
    client = captured.audit.wrap(openai_client(provider))
    stream = client.chat.completions.create(**CHAT, n=2, stream=True)
    for chunk in stream:
        if chunk.choices[0].finish_reason:
            break
    stream.close()
    assert told(captured)[:2] == ("aborted", "he")


def test_a_stream_that_breaks_after_its_answer_is_failed(
    provider: Provider, captured: Captured
) -> None:
    """What the application saw as an error is told as one."""
    provider.script(Fault("cut", after=len(WHOLE) - 1))
    client = captured.audit.wrap(openai_client(provider, max_retries=0))
    stream = client.chat.completions.create(**CHAT, stream=True)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the SDK's or its HTTP client's
        list(stream)
    assert told(captured)[0] == "failed"
    assert affidavit.call_id(raised.value) == affidavit.call_id(stream)


def test_tool_calls_that_share_an_index_stay_apart(provider: Provider, captured: Captured) -> None:
    """Another id is another call."""

    def part(arguments: str, **more: Any) -> bytes:
        call = {"index": 0, "function": {"arguments": arguments, "name": more.pop("name", None)}}
        return event({"index": 0, "delta": {"tool_calls": [call | more]}, "finish_reason": None})

    read(
        provider,
        captured,
        part('{"a":', id="1", name="one", type="function"),
        part("1}"),
        part('{"b": 2}', id="2", name="two", type="function"),
        event(end()),
        DONE,
    )
    _, outcome = only_call(captured)
    assert outcome["response_data"]["tool_calls"] == [
        {"id": "1", "name": "one", "arguments": {"a": 1}},
        {"id": "2", "name": "two", "arguments": {"b": 2}},
    ]


def test_content_in_parts_is_read(provider: Provider, captured: Captured) -> None:
    """Some providers answer with a list of texts and thoughts."""
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "he"},
        {"type": "text", "text": "llo"},
    ]
    answer = body()
    answer["choices"][0]["message"]["content"] = parts
    provider.script(Raw(json.dumps(answer).encode()))
    captured.audit.wrap(openai_client(provider)).chat.completions.create(**CHAT)
    _, outcome = only_call(captured)
    assert outcome["response_data"]["text"] == "hello"
    assert outcome["response_data"]["reasoning"] == "hm"
    assert "parts" not in outcome["response_data"]


def test_raw_bytes_of_a_stream_are_read(provider: Provider, captured: Captured) -> None:
    """An application may read its response below the SDK."""
    client = captured.audit.wrap(openai_client(provider))
    for how in ("iter_raw", "iter_bytes"):
        provider.script(Raw(events=WHOLE))
        asked = client.chat.completions.with_streaming_response
        with asked.create(**CHAT, stream=True) as response:
            assert b"".join(getattr(response.http_response, how)()) == b"".join(WHOLE)
    for _, outcome in calls(captured):
        assert (outcome["status"], outcome["response_data"]["text"]) == ("completed", "hello")


async def test_raw_bytes_of_an_asynchronous_stream_are_read(
    provider: Provider, captured: Captured
) -> None:
    """The same of an asynchronous client, and of a compressed stream."""
    client = captured.audit.wrap(async_openai_client(provider))
    packed = gzip.compress(b"".join(WHOLE))
    provider.script(Raw(events=WHOLE))
    provider.script(Raw(events=(packed[:50], packed[50:]), headers={"content-encoding": "gzip"}))
    for expected in (b"".join(WHOLE), packed):
        asked = client.chat.completions.with_streaming_response
        async with asked.create(**CHAT, stream=True) as response:
            got = [piece async for piece in response.http_response.aiter_raw()]
            assert b"".join(got) == expected
    for _, outcome in calls(captured):
        assert (outcome["status"], outcome["response_data"]["text"]) == ("completed", "hello")
    await client.close()


def test_a_stream_closed_by_another_thread_is_aborted(
    provider: Provider, captured: Captured
) -> None:
    """Who closes it is the application, also while a read waits."""
    client = captured.audit.wrap(openai_client(provider, max_retries=0, timeout=1.0))
    provider.script(Fault("hang-in-stream", after=2))
    stream = client.chat.completions.create(**CHAT, stream=True)
    threading.Timer(0.3, stream.close).start()
    with contextlib.suppress(Exception):
        list(stream)
    assert told(captured)[0] == "aborted"


def test_an_answer_in_one_piece_has_no_first_token(provider: Provider, captured: Captured) -> None:
    """Nor has it one when the application asks for its bytes one by one."""
    client = captured.audit.wrap(openai_client(provider))
    with client.chat.completions.with_streaming_response.create(**CHAT) as response:
        assert response.parse().choices
    _, outcome = only_call(captured)
    assert outcome.get("time_to_first_token_ms") is None


# -- from what was given back to its call ----------------------------------------------------------


@pytest.mark.parametrize("fault", ["error-in-stream", "hang-in-stream", "cut"])
def test_an_exception_in_a_stream_tells_its_call(
    provider: Provider, captured: Captured, fault: str
) -> None:
    """Whatever breaks a stream off, its exception has the id of the call."""
    client = captured.audit.wrap(openai_client(provider, max_retries=0, timeout=0.5))
    provider.script(fault)
    stream = client.chat.completions.create(**CHAT, stream=True)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the SDK's or its HTTP client's
        list(stream)
    intent, _ = only_call(captured)
    assert affidavit.call_id(raised.value) == intent["call_id"]


async def test_a_refused_call_is_told_by_its_exception(provider: Provider) -> None:
    """AuditUnavailable has the id of the call that was not made."""
    with capture_events(on_failure="refuse", write_timeout=0.2) as captured:
        client = captured.audit.wrap(openai_client(provider))
        other = captured.audit.wrap(async_openai_client(provider))
        captured.store.unavailable = True
        with pytest.raises(affidavit.AuditUnavailable) as raised:
            client.chat.completions.create(**CHAT)
        assert len(affidavit.call_id(raised.value) or "") == 24
        with pytest.raises(affidavit.AuditUnavailable) as raised:
            await other.chat.completions.create(**CHAT)
        assert len(affidavit.call_id(raised.value) or "") == 24
        captured.store.unavailable = False
        assert not provider.requests


# -- pictures --------------------------------------------------------------------------------------

PICTURE = base64.b64encode(bytes(range(256)) * 4).decode()
SVG = "<svg xmlns='http://www.w3.org/2000/svg'><text>secret-shape</text></svg>"
PICTURES: dict[str, Any] = {
    "svg": [{"type": "image_url", "image_url": {"url": f"data:image/svg+xml;utf8,{SVG}"}}],
    "quoted svg": [{"type": "text", "text": f"![x](data:image/svg+xml,{quote(SVG)}) and on"}],
    "upper case": [{"type": "image_url", "image_url": {"url": f"DATA:image/png;BASE64,{PICTURE}"}}],
    "space": [{"type": "image_url", "image_url": {"url": f" data:image/png;base64,{PICTURE}"}}],
    "long head": [
        {
            "type": "image_url",
            "image_url": {"url": f"data:image/png;name={'x' * 300};base64,{PICTURE}"},
        }
    ],
    "plain": f"data:image/png;base64,{PICTURE}",
    "Markdown": f"see ![x](data:image/png;base64,{PICTURE}) and on",
    "JSON": json.dumps({"picture": f"data:image/png;base64,{PICTURE}"}).replace("/", "\\/"),
    "MCP": [{"type": "image", "data": PICTURE, "mimeType": "image/png"}],
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_never_kept_by_content(
    provider: Provider, captured: Captured, name: str
) -> None:
    """However it is written down, the record has its hash and size."""
    client = captured.audit.wrap(openai_client(provider))
    turn: Any = {"role": "user", "content": PICTURES[name]}
    client.chat.completions.create(model="m", messages=[turn])
    kept = json.dumps(only_call(captured)[0]["request_data"])
    assert "secret" not in kept
    assert PICTURE[:40] not in kept
    assert PICTURE[40:80] not in kept
    assert "sha256" in kept
    if "and on" in str(PICTURES[name]):
        assert "and on" in kept


def test_words_that_look_like_the_head_of_a_picture_are_kept(
    provider: Provider, captured: Captured
) -> None:
    """A sentence about data is a sentence."""
    said = "data: one, two. Data:text/plain,hello and DATA: three;base64, no."
    client = captured.audit.wrap(openai_client(provider))
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": said}])
    assert only_call(captured)[0]["request_data"]["messages"][0]["content"] == said


# -- functions, modules, the guard -----------------------------------------------------------------


async def test_a_plain_function_that_returns_a_coroutine_ends_with_it(captured: Captured) -> None:
    """Its call is over when the coroutine is, and fails as that does."""

    async def work(fails: bool) -> str:
        await asyncio.sleep(0)
        if fails:
            raise KeyError
        return "done"

    def start(*, fails: bool) -> Any:
        return work(fails)

    observed = captured.audit.observe(start)
    waiting = observed(fails=False)
    assert not [one for one in captured.records if one["event_type"] == "llm_response"]
    assert await waiting == "done"
    with pytest.raises(KeyError):
        await observed(fails=True)
    (_, good), (_, bad) = calls(captured)
    assert (good["status"], good["response_data"]["text"]) == ("completed", "done")
    assert bad["status"] == "failed"


async def test_an_object_whose_call_is_asynchronous_is_observed(captured: Captured) -> None:
    """The kind of its method is the kind of the object."""

    class Work:
        async def __call__(self) -> str:
            await asyncio.sleep(0)
            return "done"

    assert await captured.audit.observe(Work())() == "done"
    assert only_call(captured)[1]["response_data"]["text"] == "done"


def test_a_static_method_is_not_observed_from_above(captured: Captured) -> None:
    """The message tells the right order."""
    with pytest.raises(TypeError, match="@staticmethod above"):
        captured.audit.observe(staticmethod(len))


def test_a_module_is_not_wrapped(captured: Captured) -> None:
    """The message names what covers every client."""
    with pytest.raises(TypeError, match=r"affidavit\.instrument"):
        captured.audit.wrap(openai)


class Address(NamedTuple):
    """An address of an application's own."""

    host: str
    port: int


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f.0.0.1", "2130706433", b"localhost", bytearray(b"127.0.0.1"), "named"]
)
def test_the_guard_knows_an_address_however_it_is_written(provider: Provider, host: Any) -> None:
    """A socket takes more than four numbers in a text."""
    port = int(provider.openai_url.split(":")[2].split("/")[0])
    address = Address("127.0.0.1", port) if host == "named" else (host, port)
    with (
        capture_events(guard="refuse", guard_hosts=f"127.0.0.1:{port}, localhost:{port}"),
        socket.socket() as connection,
        pytest.raises(affidavit.UnauditedEgress),
    ):
        connection.connect(address)
