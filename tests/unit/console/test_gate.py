"""Brakes, hosts and headers, without a server."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from affidavit.console.auth import headers, secret
from affidavit.console.auth.throttle import Attempts, Buckets
from affidavit.console.config import ServeConfig
from affidavit.console.gate import Gate
from affidavit.console.pages.login import local

if TYPE_CHECKING:
    from collections.abc import Sequence


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Tell the time, in seconds."""
        return self.now_s


@pytest.mark.requirement("R13")
def test_a_bucket_gives_its_burst_and_then_so_many_a_second() -> None:
    """Who is told to wait is told how long, and is let in then."""
    clock = Clock()
    bucket = Buckets(3, 0.5, clock)
    assert [bucket.take("a") for _ in range(4)] == [0, 0, 0, 2]
    assert bucket.take("b") == 0
    clock.now_s = 2
    assert [bucket.take("a"), bucket.take("a")] == [0, 2]


@pytest.mark.requirement("R13")
def test_attempts_from_many_addresses_are_braked_together() -> None:
    """An address for each try does not help."""
    attempts = Attempts(Clock())
    for number in range(300):
        assert attempts.wait_s(f"10.0.0.{number}") == 0
        attempts.failed(f"10.0.0.{number}")
    assert attempts.wait_s("never seen") > 0


def test_a_bucket_holds_a_bounded_number_of_keys() -> None:
    """Memory does not grow with the addresses that come."""
    bucket = Buckets(1, 1, Clock())
    for number in range(12_000):
        bucket.take(str(number))
    assert len(bucket._held) <= 10_000


@pytest.mark.requirement("R13")
@pytest.mark.parametrize(
    ("given", "forged"),
    [
        ({}, False),
        ({"sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"host": "127.0.0.1:8787", "origin": "http://127.0.0.1:8787"}, False),
        ({"host": "127.0.0.1:8787", "origin": "http://127.0.0.1:9999"}, True),
        ({"host": "127.0.0.1:8787", "origin": "null"}, True),
        ({"host": "127.0.0.1:8787", "origin": "https://evil.example"}, True),
        ({"host": "127.0.0.1:8787", "origin": "http://[127"}, True),
    ],
)
def test_a_browser_that_says_another_site_sent_it_is_believed(
    given: dict[str, str], forged: bool
) -> None:
    """Fetch metadata first, else the origin with its port."""
    assert headers.is_forged(given) is forged


@pytest.mark.requirement("R13")
def test_on_loopback_only_names_of_this_machine_are_served() -> None:
    """A name elsewhere that leads to 127.0.0.1 is no way in."""
    hosts = headers.hosts_of(ServeConfig())
    assert hosts is not None
    assert headers.host_in("127.0.0.1:8787") in hosts
    assert headers.host_in("[::1]:8787") in hosts
    assert headers.host_in("rebind.evil.example:8787") not in hosts
    public = headers.hosts_of(ServeConfig(public_url="https://audit.example.org"))
    assert public is not None
    assert headers.host_in("Audit.Example.org") in public


@pytest.mark.requirement("R13")
@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: x=y",
        "evil",
        "",
        "/" + "a" * 3000,
    ],
)
def test_nobody_is_sent_elsewhere_after_the_log_in(target: str) -> None:
    """What is no path of this service becomes the first page."""
    assert local(target) == "/"


def test_a_path_of_the_service_stays_as_it_is() -> None:
    """With its query."""
    assert local("/calls?user=a&since=24h") == "/calls?user=a&since=24h"


async def reading(_scope: Any, receive: Any, send: Any) -> None:
    """An application that reads all of a body, and stumbles over one that breaks off."""
    size, more = 0, True
    with contextlib.suppress(Exception):
        while more:
            message = await receive()
            size, more = size + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


async def answer_of(
    application: Any,
    serve: ServeConfig,
    parts: list[bytes],
    more: Sequence[tuple[bytes, bytes]] = (),
) -> tuple[int, bytes]:
    """What comes out of the gate: status and body."""
    waiting, sent = list(parts), []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(b"host", b"localhost"), *more],
    }
    await Gate(application, serve)(scope, receive, send)
    assert [each["type"] for each in sent] == ["http.response.start", "http.response.body"]
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.requirement("R13")
async def test_a_body_without_an_announced_length_is_cut_off_at_the_limit() -> None:
    """Whatever the application makes of what it got: the answer says what happened."""
    serve = ServeConfig(max_body_bytes=100)
    assert await answer_of(reading, serve, [b"x" * 50] * 2) == (200, b"100")
    status, body = await answer_of(reading, serve, [b"x" * 50] * 3)
    assert status == 413
    assert b"Too large" in body
    assert json.loads(body)["limit_bytes"] == 100


@pytest.mark.requirement("R13")
@pytest.mark.parametrize("length", ["101", "9" * 30, "9" * 5000, "-1", "x", "\u0663"])
async def test_a_body_that_is_announced_too_large_is_told_the_limit(length: str) -> None:
    """Programs read it in the same member that the API has, and nothing is received."""
    asked = [(b"content-length", length.encode("latin-1", "replace") or b"?")]
    status, body = await answer_of(reading, ServeConfig(max_body_bytes=100), [b""], asked)
    assert status == 413
    assert json.loads(body)["limit_bytes"] == 100
    assert "100 bytes" in json.loads(body)["detail"]


@pytest.mark.requirement("R13")
async def test_an_answer_that_does_not_begin_in_time_is_given_up() -> None:
    """Whoever asks hears of it."""

    async def slow(_scope: Any, _receive: Any, _send: Any) -> None:
        await anyio.sleep(30)

    status, body = await answer_of(slow, ServeConfig(request_timeout_s=0.05), [b""])
    assert status == 503
    assert b"Too slow" in body


@pytest.mark.requirement("R13")
async def test_the_text_of_an_error_stays_inside() -> None:
    """It could hold anything."""

    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("the prompt of somebody")

    status, body = await answer_of(broken, ServeConfig(), [b""])
    assert status == 500
    assert b"somebody" not in body


@pytest.mark.requirement("R13")
def test_what_is_derived_of_a_secret_is_another_for_each_purpose() -> None:
    """The token against forged requests says nothing of the cookie."""
    one = secret.made()
    assert len(one) == 43
    assert len({one, secret.hashed(one), secret.derived(one, "a"), secret.derived(one, "b")}) == 4
