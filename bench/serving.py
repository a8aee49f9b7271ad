"""Recording over HTTP: records a second in batches, and what a single record takes longer.

The service runs in a process of its own, as users run it, beside the database and the client on
the same cores. A batch is 100 calls, each two records, acknowledged when all of it is stored
(journaled; by a majority on the replica set of one). A single call over HTTP is measured in turn
with the same call by the library, both to the same server.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from affidavit import AuditLogger
from bench.measure import Effort, interleaved, percentile
from bench.report import Figure
from bench.servers import Helper, config, server, spool_folder
from bench.workload import ANSWER, PROMPT, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH: Final = 100
CLIENTS: Final = 2
TARGET: Final = 3000
"""Records a second."""

LONGER_MS: Final = 5.0
OURS: Final = "over HTTP"
LIBRARY: Final = "direct"
_SHORT: Final = 150


class Client:
    """One connection to the service that stays open."""

    def __init__(self, service: dict[str, str]) -> None:
        parts = urlsplit(service["url"])
        self.spooled = 0
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self._headers = {
            "Authorization": f"Bearer {service['token']}",
            "Content-Type": "application/json",
        }

    def send(self, body: bytes) -> None:
        """Record; what is not kept is an error. Counts what went to the spool instead."""
        self._connection.request("POST", "/api/v1/records", body, self._headers)
        answer = self._connection.getresponse()
        told = answer.read()
        if answer.status == http.client.ACCEPTED and json.loads(told)["stored"] == "spooled":
            self.spooled += 1
        elif answer.status != http.client.CREATED:
            msg = f"the service answered {answer.status}: {told[:300]!r}"
            raise RuntimeError(msg)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def document(load: Workload) -> dict[str, Any]:
    """Make the next call as a client sends it: the same as the library's in this benchmark."""
    prompt, answer = load.texts()
    return {
        "type": "call",
        "provider": "anthropic",
        "model": "claude-sonnet",
        "message": prompt,
        "user_id": "user_123",
        "fields": {"symbol": "BTCUSDT", "include_indicators": True, "include_market_data": True},
        "answer": {
            "text": answer,
            "input_tokens": 500,
            "output_tokens": 750,
            "cost_usd": "0.045",
            "fields": {"context_symbols": ["BTCUSDT"]},
        },
    }


def run(effort: Effort) -> list[Figure]:
    """Measure with long and short texts, and one call at a time."""
    figures: list[Figure] = []
    with contextlib.ExitStack() as stack:
        mongod = stack.enter_context(server(replica_set=True))
        spool = stack.enter_context(spool_folder())
        uri = mongod.database_uri("wadm")
        service = stack.enter_context(served(uri, spool))
        usual = Workload()
        for name, load in (
            ("usual", usual),
            ("short", Workload(prompt=_SHORT, answer=_SHORT)),
        ):
            rounds = [_batches(service, load, effort) for _ in range(effort.of(3, 2, 1))]
            rate, spooled = max(rounds)
            went = f"; {spooled} batches went by the spool" if spooled else ""
            texts = f"{PROMPT + ANSWER:,}" if name == "usual" else f"{2 * _SHORT}"
            figures.append(
                Figure(
                    f"serving.batch.{name}",
                    f"HTTP, batches of {BATCH} calls of {texts} characters, acknowledged stored",
                    rate,
                    "records/s",
                    target=f"≥ {TARGET:,}",
                    met=rate >= TARGET,
                    note=f"{CLIENTS} clients; the best of its rounds{went}",
                )
            )
        audit = AuditLogger(mongod.database_uri("library"), config("direct", spool))
        stack.callback(audit.close)
        figures.append(_single(service, audit, usual, effort))
    return figures


@contextlib.contextmanager
def served(uri: str, spool: str) -> Iterator[dict[str, str]]:
    """Run the service in a process of its own; gives its address and a token."""
    with Helper("bench.serving", uri, spool) as helper:
        yield helper.hello


def _batches(service: dict[str, str], load: Workload, effort: Effort) -> tuple[float, int]:
    """Records a second of some clients that send one batch after the other; what was spooled."""
    seconds = effort.of(5.0, 2.0, 0.3)
    bodies = [json.dumps([document(load) for _ in range(BATCH)]).encode() for _ in range(8)]
    counts, spooled, errors = [0] * CLIENTS, [0] * CLIENTS, []
    start_s = time.perf_counter()

    def work(place: int) -> None:
        client = Client(service)
        try:
            number = place
            while time.perf_counter() - start_s < seconds:
                client.send(bodies[number % len(bodies)])
                counts[place] += 2 * BATCH
                number += 1
        except (RuntimeError, OSError) as error:
            errors.append(error)
        finally:
            spooled[place] = client.spooled
            client.close()

    threads = [threading.Thread(target=work, args=(place,)) for place in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sum(counts) / (time.perf_counter() - start_s), sum(spooled)


def _single(service: dict[str, str], audit: AuditLogger, load: Workload, effort: Effort) -> Figure:
    count = effort.of(200, 60, 8)
    client = Client(service)
    client.send(json.dumps(document(load)).encode())
    load.call(audit)

    def over_http() -> list[float]:
        return [
            _timed_ms(lambda: client.send(json.dumps(document(load)).encode()))
            for _ in range(count)
        ]

    def by_library() -> list[float]:
        return [_timed_ms(lambda: load.call(audit)) for _ in range(count)]

    runs = interleaved({OURS: over_http, LIBRARY: by_library}, effort.of(5, 3, 1), label="single")
    client.close()
    p95 = {
        name: percentile([ms for part in took for ms in part], 95) for name, took in runs.items()
    }
    p50 = {
        name: percentile([ms for part in took for ms in part], 50) for name, took in runs.items()
    }
    longer_ms = p95[OURS] - p95[LIBRARY]
    return Figure(
        "serving.single",
        "HTTP, one call at a time, p95, longer than the library",
        longer_ms,
        "ms",
        "the library's p95",
        p95[LIBRARY],
        p95[OURS] / p95[LIBRARY],
        f"≤ {LONGER_MS:g} ms",
        longer_ms <= LONGER_MS,
        f"p50 {p50[OURS]:.2f} ms over HTTP, {p50[LIBRARY]:.2f} ms by the library",
    )


def _timed_ms(act: Any) -> float:
    start_s = time.perf_counter()
    act()
    return (time.perf_counter() - start_s) * 1000


# -- in the other process --------------------------------------------------------------------------


def _serve(uri: str, spool: str) -> None:
    """Be the service, until standard input ends."""
    from affidavit.console.app import create_app
    from affidavit.console.config import ServeConfig
    from affidavit.console.listen import address_of, listening, server_of
    from affidavit.console.visitor import Role, Scope

    serve = ServeConfig(port=0, requests_per_minute=10_000_000)
    sock = listening(serve)
    app = create_app(serve, config("direct", spool), uri)
    running = server_of(serve, app)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    backend = app.state.backend
    token, _ = backend.doorman.tokens.make("bench", Role.WRITER, Scope(), by="bench")
    backend.audit.security_event(kind="bench", severity="low")  # the store is set up with it
    while not (backend.audit.flush(30) and backend.audit.stats().store == "up"):
        time.sleep(0.1)
    print(json.dumps({"url": address_of(serve, sock), "token": token}), flush=True)
    sys.stdin.read()
    running.should_exit = True
    thread.join(30)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
