"""The demonstration from start to end: servers, load, outage, comparison, tampering."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec

from affidavit.config import AuditConfig
from affidavit.demo import check, tamper
from affidavit.demo.canned import MODELS, CannedEndpoint
from affidavit.demo.child import Child, ChildFailed, announced, wait_until
from affidavit.demo.drive import Answer, Driver, get_json
from affidavit.demo.overhead import Overhead
from affidavit.demo.real_model import MODEL, RealModel
from affidavit.demo.settings import (
    ANTHROPIC_PRICE,
    CANNED_PRICE,
    REAL_PRICE,
    VARIABLE,
    Provider,
    Settings,
    encode,
)
from affidavit.demo.target import GivenServer, OwnServer, Target
from affidavit.store import open_log

if TYPE_CHECKING:
    from collections.abc import Callable

Llm = Literal["canned", "real"]

_FAULTS = ["fault-error", "fault-rate-limit", "fault-drop", "fault-hang"]
_ANTHROPIC_MODELS = ["canned-opus", "canned-haiku"]
_CANNED_LATENCY_MS = 300.0
_REQUESTS_PER_MINUTE = {"intern": 12}
_CANNED_TIMEOUT_S = 2.0  # what the fault "hang" waits for
_START_TIMEOUT_S = 60.0
_ARRIVAL_TIMEOUT_S = 60.0
_CONSOLE_PORT = 8787


class Options(msgspec.Struct, frozen=True):
    """How to run the demonstration.

    Attributes:
        uri: the user's MongoDB; None starts one.
        llm: the model that answers most questions; faults always come from the canned one.
        audit: settings of ``AuditConfig`` beside the demo's own.
        pairs: pairs of calls in the measurement of the overhead; 0 leaves it out.
        quiet_s: seconds of load before the outage, and again after it.
        outage_s: seconds without a database.
    """

    uri: str | None = None
    llm: Llm = "canned"
    audit: dict[str, Any] = {}
    pairs: int = 60
    quiet_s: float = 8.0
    outage_s: float = 5.0


class Report(msgspec.Struct):
    """What the demonstration showed; ``ok`` is whether all of it matched."""

    ok: bool
    problems: list[str]
    called: dict[str, int]
    stored: check.Stored
    audit: dict[str, Any]
    outage: dict[str, Any]
    by_model: list[check.ByModel]
    overhead: Overhead | None
    last_calls: list[dict[str, Any]]
    mongodb: str
    own_server: bool
    environment: str
    llm: str
    seconds: float
    tampering: tamper.Tampering | None = None


class Demo:
    """A running demonstration; :meth:`close` stops everything it started.

    Attributes:
        address: the assistant's, once it runs.
        target: the database.
    """

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        """Prepare; ``say`` gets a line of text at each step."""
        self._options = options
        self._say = say
        self._stack = ExitStack()
        self._begun = time.monotonic()
        self._since_ms = int(time.time() * 1000)
        self._directory = Path(tempfile.mkdtemp(prefix="affidavit-demo-"))
        self._kept = False
        self._stack.callback(self._remove)
        self.environment = f"demo-{secrets.token_hex(4)}"
        self.address = ""
        self.target: Target

    def close(self) -> None:
        """Stop what runs, newest first; also after an error, and twice does no harm."""
        self._stack.close()

    def keep(self) -> Path:
        """Keep the run's directory (logs, spool) after :meth:`close`; returns where it is."""
        self._kept = True
        return self._directory

    def _remove(self) -> None:
        if not self._kept:
            shutil.rmtree(self._directory, ignore_errors=True)

    def run(self) -> Report:
        """Do all of it and return what was found.

        Raises:
            AffidavitError: a server cannot be found or started, or does not answer.
        """
        self._start_database()
        settings = self._start_models()
        overhead = self._measure(settings) if self._options.pairs else None
        self._start_assistant(settings)
        driver = Driver(self.address, settings)
        outage = self._load(driver)
        problems, stored = self._arrive(driver)
        database = self.target.database()
        audit = self._counters()
        problems += _own_problems(audit, stored.records)
        by_model = check.by_model(database, self.environment, settings.prices)
        last_calls = check.last_calls(database, self.environment, settings.prices)
        tampering = self._tamper(settings)
        problems += tampering.problems
        return Report(
            ok=not problems,
            problems=problems,
            called={
                "requests": len(driver.account),
                "model_calls": len(driver.account.calls()),
                **driver.account.count(),
            },
            stored=stored,
            audit=audit,
            outage=outage,
            by_model=by_model,
            overhead=overhead,
            last_calls=last_calls,
            mongodb=self.target.shown,
            own_server=not self._options.uri,
            environment=self.environment,
            llm=self._options.llm,
            seconds=round(time.monotonic() - self._begun, 1),
            tampering=tampering,
        )

    # -- the servers --------------------------------------------------------------------------

    def _start_database(self) -> None:
        if self._options.uri:
            self._say("Connecting to your MongoDB")
            self.target = GivenServer(self._options.uri)
        else:
            self._say("Starting MongoDB on 127.0.0.1")
            self.target = OwnServer()
        self._stack.callback(self.target.stop)
        self._say(f"Records go to {self.target.shown}")

    def _start_models(self) -> Settings:
        canned = CannedEndpoint.start(latency_ms=_CANNED_LATENCY_MS)
        self._stack.callback(canned.stop)
        providers = {
            "canned-openai": Provider(
                canned.base_url, [*MODELS, *_FAULTS], CANNED_PRICE, _CANNED_TIMEOUT_S
            ),
            "canned-anthropic": Provider(
                canned.anthropic_url,
                [*_ANTHROPIC_MODELS, *_FAULTS],
                ANTHROPIC_PRICE,
                _CANNED_TIMEOUT_S,
                api="anthropic",
            ),
        }
        if self._options.llm == "real":
            self._say(f"Loading {MODEL}, a real model, on 127.0.0.1")
            model = RealModel.start()
            self._stack.callback(model.stop)
            real = Provider(model.base_url, [MODEL], REAL_PRICE)
            providers = {"llama.cpp": real, **providers}
        audit = {
            "spool_dir": str(self._directory / "spool"),
            # A log that ends with this run leaves no key behind; a user's must outlive it.
            **({} if self._options.uri else {"seal_key_file": str(self._directory / "log.key")}),
            **self._options.audit,
            "environment": self.environment,
            "service": "trading-assistant",
            # The addresses of real providers are known; that of the demo's own is not.
            "guard": "record",
            "guard_hosts": urlsplit(canned.base_url).netloc,
        }
        return Settings(
            mongodb_uri=self.target.uri,
            audit=audit,
            providers=providers,
            requests_per_minute=_REQUESTS_PER_MINUTE,
        )

    def _start_assistant(self, settings: Settings) -> None:
        self._say("Starting the trading assistant (FastAPI, openai and anthropic SDKs)")
        self._assistant, path = self._child("app", settings)
        self.address = announced(
            path, child=self._assistant, timeout_s=_START_TIMEOUT_S, what="the trading assistant"
        )
        self._say(f"The assistant listens on {self.address}")

    def _child(self, module: str, settings: Settings, *arguments: str) -> tuple[Child, Path]:
        """Run a module of the demo in a process of its own, which announces to the path."""
        path = self._directory / f"{module}.says"
        child = Child(
            [sys.executable, "-m", f"affidavit.demo.{module}", str(path), *arguments],
            log=self._directory / f"{module}.log",
            env={**self._surroundings(), VARIABLE: encode(settings)},
            directory=self._directory,
        )
        self._stack.callback(child.stop)
        return child, path

    def _surroundings(self) -> dict[str, str]:
        """Give the environment of a child: its settings are complete, nothing of the user's own."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("AFFIDAVIT_")
        }
        if not self._options.uri:  # what a sealer has seen of this log is of no use afterwards
            environment["XDG_STATE_HOME"] = str(self._directory / "state")
        return environment

    def open_console(self) -> str:
        """Start the console beside what runs, and give a link into it, which works once.

        Raises:
            ChildFailed: it did not start.
        """
        self._say("Starting the console (affidavit serve)")
        own = not self._options.uri
        environment = {
            **self._surroundings(),
            "AFFIDAVIT_MONGODB_URI": self.target.uri,
            "AFFIDAVIT_SPOOL_DIR": str(self._directory / "console-spool"),
        }
        if own:
            environment["AFFIDAVIT_SEAL_KEY_FILE"] = str(self._directory / "log.key")
        child = Child(
            [
                *(sys.executable, "-c", "from affidavit.cli import main; main()"),
                *("serve", "--new-link", "--port", str(_console_port())),
                *("--state-dir", self._directory / "console"),
                # A user's log is sealed and watched by whom they have chosen.
                "--schedules" if own else "--no-schedules",
            ],
            log=self._directory / "console.log",
            env=environment,
            directory=self._directory,
        )
        self._stack.callback(child.stop)

        def link() -> str:
            found = re.search(r"^(http\S+/login/first\?key=\S+)$", child.tail(), re.MULTILINE)
            return found[1] if found else ""

        wait_until(link, child=child, timeout_s=_START_TIMEOUT_S, what="the console")
        return link()

    # -- the work -----------------------------------------------------------------------------

    def _measure(self, settings: Settings) -> Overhead:
        pairs = self._options.pairs
        self._say(f"Measuring what auditing adds to a call ({pairs} pairs, plain and audited)")
        # The plain calls of the pairs are no alarm.
        own = {**settings.audit, "environment": f"{self.environment}-overhead", "guard": "off"}
        canned = {"canned": settings.providers["canned-openai"]}
        settings = msgspec.structs.replace(settings, audit=own, providers=canned)
        child, path = self._child("overhead", settings, str(pairs))
        timeout_s = _START_TIMEOUT_S + pairs
        text = announced(path, child=child, timeout_s=timeout_s, what="the measurement")
        child.wait(10)
        return msgspec.json.decode(text, type=Overhead)

    def _load(self, driver: Driver) -> dict[str, Any]:
        options = self._options
        self._say(
            "Six users go to work: failures, limits, an injection, streams that nobody reads to "
            "the end, and calls past the SDKs"
        )
        driver.start()
        try:
            time.sleep(options.quiet_s)
            if not self.target.outage:
                self._say("No outage: no proxy can stand between this URI and its servers")
                time.sleep(options.outage_s + options.quiet_s)
                return {"what": "", "seconds": 0.0}
            self._say(f"The crime: {self.target.outage}. {len(driver.account)} requests so far")
            cut_at = driver.clock
            self.target.cut()
            time.sleep(options.outage_s)
            spooled = self._counters().get("spooled", 0)
            self.target.restore()
            back_at = driver.clock
            self._say(f"MongoDB is back after {back_at - cut_at:.1f} s. The users never stopped")
            time.sleep(options.quiet_s)
        finally:
            driver.stop()
        during = driver.account.between(cut_at, back_at)
        return {
            "what": self.target.outage,
            "seconds": round(back_at - cut_at, 1),
            "requests_meanwhile": len(during),
            "answered_meanwhile": sum(answer.status != 0 for answer in during),
            "slowest_canned_ms": _slowest(during),
            "spooled_at_the_end": spooled,
        }

    def _arrive(self, driver: Driver) -> tuple[list[str], check.Stored]:
        """Wait until everything called is stored; what is still wrong then, in words."""
        self._say("Waiting until the spool is replayed")
        deadline = time.monotonic() + _ARRIVAL_TIMEOUT_S
        while True:
            stored = check.compare(self.target.database(), self.environment, driver.account)
            problems = stored.problems(driver.account)
            if not problems or time.monotonic() > deadline:
                return problems, stored
            time.sleep(0.5)

    def _tamper(self, settings: Settings) -> tamper.Tampering:
        """Let an administrator change the log, and see whether that is found."""
        own = not self._options.uri
        name = f"affidavit-{self.environment}.checkpoint"
        folder = self._directory if own else self._directory.parent
        run = tamper.Run(
            environment=self.environment,
            prices=settings.prices,
            since_ms=None if own else self._since_ms,
            checkpoint_file=folder / name,
            seen=self._directory / "state" / "affidavit" / "keys" if own else None,
            put_back=not own,
        )
        with open_log(settings.mongodb_uri, AuditConfig(**settings.audit)) as log:
            found = tamper.commit(log, self.target.database(), run, self._say)
        if found.left_out:
            self._say(f"Nothing is tampered with: {found.left_out}")
            if own:
                found.problems.append(f"the second half was left out: {found.left_out}")
        return found

    def _counters(self) -> dict[str, Any]:
        try:
            return get_json(self.address, "/audit")
        except OSError as error:
            msg = (
                f"the assistant at {self.address} does not say what it recorded: {error}. "
                f"Its log ends with:\n{self._assistant.tail()}"
            )
            raise ChildFailed(msg) from None


def _console_port() -> int:
    """Give the port that the console has by default, or 0 for any where that is taken."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", _CONSOLE_PORT))
        except OSError:
            return 0
    return _CONSOLE_PORT


def _own_problems(audit: dict[str, Any], records: int) -> list[str]:
    """Where the audit log's own account does not add up, or differs from the database."""
    left = {"lost": "lost", "dead_lettered": "dead letters", "spooled": "still in the spool"}
    found = [
        f"the audit log counts {audit[name]} records as {left[name]}"
        for name in left
        if audit[name]
    ]
    parts = ("queued", "stored", "spooled", "dead_lettered", "lost")
    if audit["recorded"] != sum(audit[name] for name in parts):
        found.append("recorded is not queued + stored + spooled + dead letters + lost")
    if audit["recorded"] != records:
        found.append(f"the audit log recorded {audit['recorded']}, the database holds {records}")
    return found


def _slowest(answers: list[Answer]) -> float | None:
    """The longest a completed call of the canned endpoint took, whose own latency is fixed."""
    done = (a for a in answers if a.status == HTTPStatus.OK)
    times = [a.took_ms for a in done if a.provider.startswith("canned")]
    return round(max(times), 1) if times else None
