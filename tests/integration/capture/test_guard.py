"""The guard, with real SDK clients on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import socket
import subprocess
import sys
import threading
import urllib.request
from typing import TYPE_CHECKING, Any

import openai
import pytest

from affidavit import (
    AsyncAuditLogger,
    AuditLogger,
    ConfigError,
    UnauditedEgress,
    instrument,
    uninstrument,
)
from affidavit.capture import guard
from affidavit.testing import MemoryStore, capture_events
from tests.support.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.requirement("R1", "R19")

PROMPT = "a sentence that no security event may hold"


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A model on loopback."""
    with Provider() as started:
        yield started


def place(provider: Provider, name: str = "127.0.0.1") -> str:
    """Host and port, as `guard_hosts` takes them."""
    return f"{name}:{port_of(provider)}"


def port_of(provider: Provider) -> int:
    """The port it listens on."""
    return int(provider.openai_url.split(":")[2].partition("/")[0])


def client(provider: Provider, name: str = "127.0.0.1") -> openai.OpenAI:
    """An SDK client that nobody wrapped."""
    url = provider.openai_url.replace("127.0.0.1", name)
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


def async_client(provider: Provider, name: str = "127.0.0.1") -> openai.AsyncOpenAI:
    """The same, asynchronous."""
    url = provider.openai_url.replace("127.0.0.1", name)
    return openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)


def asked() -> dict[str, Any]:
    """What the clients ask."""
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}]}


def egress(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events that the guard left."""
    return [r for r in records if r.get("details", {}).get("kind") == "unaudited_egress"]


def chain(error: BaseException | None) -> list[type[BaseException]]:
    """The types of an error and of its causes."""
    found = []
    while error is not None:
        found.append(type(error))
        error = error.__cause__ or error.__context__
    return found


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_connection_outside_a_call_leaves_an_event(provider: Provider, name: str) -> None:
    """By address and by name; it says where to and from which line, and nothing of the content."""
    with capture_events(guard="record", guard_hosts=place(provider, name)) as captured:
        with captured.audit.context(user_id="ana"), client(provider, name) as model:
            model.chat.completions.create(**asked())
        (event,) = egress(captured.records)
    assert (event["event_type"], event["user_id"]) == ("security_event", "ana")
    details = event["details"]["details"]
    assert event["details"]["severity"] == "high"
    assert (details["host"], details["port"]) == (name, port_of(provider))
    assert (details["provider"], details["stopped"]) == ("own", False)
    assert details["program"]
    assert "test_a_connection_outside_a_call" in details["source"]
    assert PROMPT not in str(event)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_under_refuse_an_unwrapped_client_is_stopped(provider: Provider, name: str) -> None:
    """Before anything is sent; the SDK's own error has ours as its cause."""
    with capture_events(guard="refuse", guard_hosts=place(provider, name)) as captured:
        with client(provider, name) as model, pytest.raises(openai.APIConnectionError) as raised:
            model.chat.completions.create(**asked())
        (event,) = egress(captured.records)
    assert UnauditedEgress in chain(raised.value)
    assert event["details"]["details"]["stopped"] is True
    assert provider.requests == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_under_refuse_an_unwrapped_asynchronous_client_is_stopped(
    provider: Provider, name: str
) -> None:
    """Although its name look-up runs in another thread."""
    with capture_events(guard="refuse", guard_hosts=place(provider, name)) as captured:
        async with async_client(provider, name) as model:
            with pytest.raises(openai.APIConnectionError):
                await model.chat.completions.create(**asked())
        assert egress(captured.records)
    assert provider.requests == []


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_under_refuse_an_audited_call_goes_through(provider: Provider, name: str) -> None:
    """Synchronous and asynchronous clients inside their blocks, and observed functions."""
    async with AsyncAuditLogger(
        MemoryStore(), guard="refuse", guard_hosts=place(provider, name)
    ) as audit:

        @audit.observe
        async def ask(model: openai.AsyncOpenAI) -> str:
            return (await model.chat.completions.create(**asked())).id

        async with async_client(provider, name) as model, audit.call(provider="openai") as call:
            await model.chat.completions.create(**asked())
            call.complete()
        async with async_client(provider, name) as model:
            await ask(model)
        with client(provider, name) as plain:
            async with audit.call(provider="openai") as call:
                plain.chat.completions.create(**asked())
                call.complete()
    assert len(provider.requests) == 3


async def test_a_call_of_another_task_does_not_excuse_this_one(provider: Provider) -> None:
    """What counts is the context of whoever connects."""
    store = MemoryStore()
    async with AsyncAuditLogger(store, guard="record", guard_hosts=place(provider)) as audit:
        inside, done = asyncio.Event(), asyncio.Event()

        async def audited() -> None:
            async with audit.call(provider="openai") as call:
                inside.set()
                await done.wait()
                call.complete()

        task = asyncio.create_task(audited())
        await inside.wait()
        async with async_client(provider) as model:
            await model.chat.completions.create(**asked())
        done.set()
        await task
        await audit.flush()
        assert len(egress(store.documents("records"))) == 1


def test_a_generator_excuses_its_own_steps_only(provider: Provider) -> None:
    """Between two items of an observed generator the consumer's connections count."""
    with capture_events(guard="record", guard_hosts=place(provider)) as captured:

        def fetch() -> None:
            with client(provider) as model:
                model.models.list()

        @captured.audit.observe
        def items() -> Iterator[int]:
            fetch()
            yield 1
            fetch()
            yield 2

        for item in items():
            if item == 1:
                fetch()
        assert len(egress(captured.records)) == 1


def test_any_library_is_seen(provider: Provider) -> None:
    """The guard stands at the socket, not at an SDK."""
    with capture_events(guard="refuse", guard_hosts=place(provider)) as captured:
        request = urllib.request.Request(provider.openai_url + "/models")  # noqa: S310 - loopback
        with pytest.raises(OSError, match=r"audit\.wrap") as raised:
            urllib.request.urlopen(request)  # noqa: S310 - loopback
        assert "guard='refuse'" in str(raised.value)
        assert egress(captured.records)


def test_connect_ex_is_stopped_too(provider: Provider) -> None:
    """The other way to connect."""
    with (
        capture_events(guard="refuse", guard_hosts=place(provider)),
        socket.socket() as plain,
        pytest.raises(UnauditedEgress) as raised,
    ):
        plain.connect_ex(("127.0.0.1", port_of(provider)))
    assert (raised.value.host, raised.value.port) == ("127.0.0.1", port_of(provider))


def test_other_hosts_and_ports_are_left_alone(provider: Provider) -> None:
    """A port that was named does not speak for its neighbours; nor do Unix sockets count."""
    with (
        Provider() as neighbour,
        capture_events(guard="refuse", guard_hosts=place(neighbour)) as captured,
    ):
        with client(provider) as model:
            model.chat.completions.create(**asked())
        with socket.socket(socket.AF_UNIX) as plain, pytest.raises(FileNotFoundError):
            plain.connect("/tmp/no-such-socket")  # noqa: S108 - it must not exist
        assert not egress(captured.records)


def test_the_addresses_of_a_provider_are_known_by_its_name(provider: Provider) -> None:
    """An address that a provider's name led to is its own, until another name leads there."""
    with capture_events(guard="record") as captured:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))]
        guard._learn("API.OpenAI.com.", found)
        with client(provider) as model:
            model.chat.completions.create(**asked())
        guard._learn("other.example", found)
        with client(provider) as model:
            model.chat.completions.create(**asked())
        (event,) = egress(captured.records)
    details = event["details"]["details"]
    assert (details["provider"], details["host"]) == ("openai", "api.openai.com")


def test_a_look_up_past_the_wrapper_is_noticed(provider: Provider) -> None:
    """A library that imported ``getaddrinfo`` by name, before the guard, teaches it too."""
    from socket import getaddrinfo as imported_early

    with capture_events(guard="record", guard_hosts=place(provider, "localhost")) as captured:
        assert socket.getaddrinfo is not imported_early
        found = imported_early("localhost", port_of(provider), socket.AF_INET, socket.SOCK_STREAM)
        with socket.socket() as plain:
            plain.connect(found[0][4])
        (event,) = egress(captured.records)
    assert event["details"]["details"]["host"] == "localhost"


def test_a_name_given_to_connect_itself_is_judged(provider: Provider) -> None:
    """``connect(("localhost", …))`` asks for no address that could be seen."""
    with (
        capture_events(guard="refuse", guard_hosts="localhost"),
        socket.socket() as plain,
        pytest.raises(UnauditedEgress),
    ):
        plain.connect(("localhost", port_of(provider)))


def test_ipv6_addresses_are_judged() -> None:
    """With brackets and a port in the setting."""
    with socket.socket(socket.AF_INET6) as server:
        server.bind(("::1", 0))
        server.listen()
        port = server.getsockname()[1]
        with (
            capture_events(guard="refuse", guard_hosts=f"[::1]:{port}"),
            pytest.raises(UnauditedEgress),
            socket.create_connection(("::1", port)),
        ):
            pass


def test_the_logs_own_connections_are_not_recorded(mongodb_uri: str) -> None:
    """A database on a guarded host is written to as ever, and nothing goes round in circles."""
    with AuditLogger(mongodb_uri, guard="refuse", guard_hosts="127.0.0.1, localhost") as audit:
        with audit.call(provider="p") as call:
            call.complete()
        assert audit.flush()
        assert (audit.stats().stored, audit.stats().recorded) == (2, 2)


def test_closing_the_logger_switches_the_guard_off(provider: Provider) -> None:
    """And puts the name look-up back in its place."""
    before = socket.getaddrinfo
    with capture_events(guard="refuse", guard_hosts=place(provider)):
        assert guard.mode() == "refuse"
        assert socket.getaddrinfo is not before
    assert guard.mode() == "off"
    assert socket.getaddrinfo is before
    with client(provider) as model:
        model.chat.completions.create(**asked())


def test_the_newest_activation_counts(provider: Provider) -> None:
    """When it ends, the one before it counts again."""
    with capture_events(guard="refuse", guard_hosts=place(provider)) as outer:
        with capture_events(guard="record", guard_hosts=place(provider)) as inner:
            with client(provider) as model:
                model.chat.completions.create(**asked())
            assert egress(inner.records)
            assert not egress(outer.records)
        assert guard.mode() == "refuse"


def test_a_switched_off_logger_guards_nothing() -> None:
    """``enabled=False`` records nothing at all."""
    with capture_events(guard="refuse", enabled=False):
        assert guard.mode() == "off"


def test_recording_does_not_wait_for_room(provider: Provider) -> None:
    """A full queue counts the event as lost; the connection does not wait for it."""
    with capture_events(guard="record", guard_hosts=place(provider), queue_wait=5.0) as captured:
        engine = captured.audit._engine
        assert engine._running is not None
        engine._running.core.inbox.shut()
        before = captured.audit.stats().lost
        with socket.create_connection(("127.0.0.1", port_of(provider)), timeout=2):
            pass
        assert captured.audit.stats().lost == before + 1


def test_a_thread_does_not_inherit_the_call(provider: Provider) -> None:
    """As with every context variable: the page of the guard says so."""
    with capture_events(guard="record", guard_hosts=place(provider)) as captured:

        def fetch() -> None:
            with client(provider) as model:
                model.models.list()

        with captured.audit.call(provider="openai") as call:
            thread = threading.Thread(target=fetch)
            thread.start()
            thread.join()
            call.complete()
        assert len(egress(captured.records)) == 1


def test_a_forked_child_is_guarded_and_records(provider: Provider, tmp_path: Path) -> None:
    """With a writer of its own, as for every other record."""
    program = f"""
import os, socket, sys
from affidavit.testing import capture_events
with capture_events(guard="refuse", guard_hosts="{place(provider)}") as captured:
    child = os.fork()
    if child == 0:
        try:
            socket.create_connection(("127.0.0.1", {port_of(provider)}))
        except OSError as error:
            captured.audit.flush()
            print(type(error).__name__, captured.audit.stats().recorded, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.stdout.split() == ["UnauditedEgress", "1"], ran.stderr


async def test_under_refuse_instrumented_and_wrapped_clients_work(provider: Provider) -> None:
    """AsyncOpenAI and OpenAI, by name and by address; what nobody covers is stopped."""
    hosts = f"{place(provider)}, {place(provider, 'localhost')}"
    store = MemoryStore()
    done = instrument(store, guard="refuse", guard_hosts=hosts)
    try:
        for name in ("127.0.0.1", "localhost"):
            async with async_client(provider, name) as model:
                await model.chat.completions.create(**asked())
                stream = await model.chat.completions.create(**asked(), stream=True)
                assert [chunk async for chunk in stream]
            with client(provider, name) as plain:
                plain.chat.completions.create(**asked())
        with pytest.raises(OSError, match="stopped"):
            urllib.request.urlopen(provider.openai_url + "/models")  # noqa: S310, ASYNC210 - loopback
        assert done.audit._engine.flush(10)
    finally:
        uninstrument()
    assert len(egress(store.documents("records"))) == 1
    with capture_events(guard="refuse", guard_hosts=hosts) as captured:
        async with async_client(provider) as model:
            captured.audit.wrap(model)
            await model.chat.completions.create(**asked())
        assert not egress(captured.records)


def test_instrumenting_switches_the_guard_on_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who instruments a process wants to miss nothing; a setting goes over it."""
    store = MemoryStore()
    try:
        instrument(store)
        assert guard.mode() == "record"
        instrument(store, guard="off")
        assert guard.mode() == "off"
        monkeypatch.setenv("AFFIDAVIT_GUARD", "off")
        instrument(store, service="other")
        assert guard.mode() == "off"
        monkeypatch.delenv("AFFIDAVIT_GUARD")
        with AuditLogger(store) as audit:
            assert guard.mode() == "off"
            instrument(audit)
            assert guard.mode() == "record"
            uninstrument()
            assert guard.mode() == "off"
    finally:
        uninstrument()
    assert guard.mode() == "off"


@pytest.mark.parametrize(
    "hosts", ["http://llm.internal", "llm.internal:http", ":8000", "user@host", "a/b"]
)
def test_a_wrong_host_is_an_error_of_configuration(hosts: str) -> None:
    """Before anything is recorded or guarded."""
    with pytest.raises(ConfigError, match="guard_hosts"):
        AuditLogger(MemoryStore(), guard="record", guard_hosts=hosts)
    assert guard.mode() == "off"


def test_the_error_can_be_pickled() -> None:
    """As errors of worker processes are."""
    error = pickle.loads(pickle.dumps(UnauditedEgress("api.openai.com", 443)))  # noqa: S301 - ours
    assert (error.host, error.port) == ("api.openai.com", 443)
    assert isinstance(error, OSError)


def test_a_fault_of_the_guard_stops_nobody(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be judged goes through."""
    asked: list[object] = []

    def broken(*_: object) -> None:
        asked.append(_)
        raise ZeroDivisionError

    with capture_events(guard="refuse", guard_hosts=place(provider)):
        monkeypatch.setattr(guard, "_number", broken)
        with contextlib.closing(
            socket.create_connection(("127.0.0.1", port_of(provider)))
        ) as connection:
            assert connection.getpeername()[1] == port_of(provider)
    assert asked


@pytest.mark.serial
def test_the_hook_costs_less_than_a_microsecond_an_event() -> None:
    """Every audited event of the interpreter passes it; the best of several runs."""
    program = """
import sys, timeit
from affidavit.capture import guard
from affidavit.testing import capture_events
def best():
    return min(timeit.repeat('audit("affidavit.test", 1)', globals={"audit": sys.audit},
               number=20_000, repeat=7)) / 20_000
bare = best()
with capture_events(guard="record"):
    watching = best()
off = best()
print(watching - bare, off - bare)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    watching_s, off_s = map(float, ran.stdout.split())
    assert watching_s < 1e-6
    assert off_s < 1e-6
