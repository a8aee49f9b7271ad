"""The canary campaign: ``python -m tests.faults.canary``; is any secret left anywhere?

Secrets that are known go through every field and path of the product: in each mode, stored at
once, spooled while the database is dead and replayed by another process, refused and dead-lettered,
failed, aborted, streamed in part, crashed. Then everything that was written is searched for them:
database files, all documents read through a client, spool files, logs, crash reports, and what each
command prints. The same search is first shown to find them where redaction is off.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from affidavit.demo.mongod import Mongod
from affidavit.pipeline.compress import expand
from tests.corpora.values import Values

ROOT: Final = Path(__file__).resolve().parents[2]
MODES: Final[dict[str, dict[str, Any]]] = {
    "direct": {},
    "batch": {"batch_writes": True, "flush_interval": 0.5},
    "async": {"async_writes": True},
    "high_volume": {"batch_writes": True, "async_writes": True, "flush_interval": 0.5},
}
PHRASES: Final = {
    "email": "write to {} today",
    "phone_es_intl": "call {} after five",
    "card_spaced": "pay with {} please",
    "card": "card {} was declined",
    "iban_spaced": "transfer to {} now",
    "iban": "IBAN: {}",
    "dni": "mi DNI es {}",
    "steuer_spaced": "Steuer-ID {}",
    "nir_spaced": "sécu {}",
    "codice": "codice fiscale {}",
    "nif": "NIF {}",
    "nino_spaced": "NI number {}",
    "ssn": "SSN: {}",
    "ip": "client {} connected",
    "ip6": "from {} over IPv6",
    "openai": "OPENAI_API_KEY={}",
    "anthropic": "key {} works",
    "aws_id": "aws_access_key_id = {}",
    "github": "remote token {}",
    "slack": "bot {}",
    "stripe": "stripe.api_key = '{}'",
    "telegram": "bot token {}",
    "sendgrid": "sendgrid {}",
    "secret": "api_secret: {}",
    "jwt": "Authorization: Bearer {}",
    "pem": "{}",
    "wif": "import {} into the wallet",
    "seed": "seed phrase: {}",
    "password": "password: {}",
}
_COMMANDS: Final = (
    ("tail", "-n", "50"),
    ("search", "--json", "-n", "500"),
    ("search", "-n", "500"),
    ("status", "--json"),
    ("stats", "--json"),
    ("doctor", "--json"),
    ("config", "--json"),
    ("dead-letters", "list", "--json"),
)
_APP_TIMEOUT_S: Final = 120.0


@dataclass
class Found:
    """One secret in one place."""

    kind: str
    place: str


@dataclass
class Outcome:
    """What one mode left behind."""

    mode: str
    records: int = 0
    spooled_files: int = 0
    dead_letters: int = 0
    bytes_searched: int = 0
    places: dict[str, int] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)


class Canaries:
    """The secrets of one run: what is pushed, and what is searched for."""

    def __init__(self, seed: int) -> None:
        values = Values(seed)
        self.values = {name: values.make(name) for name in PHRASES}
        self.texts = [PHRASES[name].format(value) for name, value in self.values.items()]

    def needles(self) -> Iterator[tuple[str, bytes]]:
        """Give what must not be found: each value as written, compact, and parts of long ones."""
        for name, value in self.values.items():
            forms = {value, value.replace(" ", ""), value.replace("-", "")}
            if name == "pem":
                forms = set(value.splitlines()[1:-1])
            if name == "seed":
                forms = {value, " ".join(value.split()[:6])}
            for form in forms:
                yield name, form.encode()

    def look(self, where: str, content: bytes, outcome: Outcome) -> None:
        """Search one place."""
        outcome.bytes_searched += len(content)
        kind = where.split(":", maxsplit=1)[0]
        outcome.places[kind] = outcome.places.get(kind, 0) + 1
        for name, needle in self.needles():
            if needle in content:
                outcome.found.append(Found(name, where))


class Round:
    """One mode, from the first record to the search."""

    def __init__(self, mode: str, seed: int, *, redaction: str = "default") -> None:
        self.mode = mode
        self.folder = Path(tempfile.mkdtemp(prefix="affidavit-canary-"))
        self.outside = Path(tempfile.mkdtemp(prefix="affidavit-canary-given-"))
        self.canaries = Canaries(seed)
        self.redaction = redaction
        self.texts = self.outside / "texts.json"
        self.texts.write_text(json.dumps(self.canaries.texts), "utf-8")
        self.outcome = Outcome(mode)

    def run(self) -> Outcome:
        """Push, break, repair, and search."""
        with Mongod.start(directory=self.folder / "mongod") as mongod:
            uri = mongod.database_uri("canary")
            self.app(uri, "close")
            self.app(uri, "crash")
            self.dead_letters(mongod, uri)
            mongod.kill()
            self.app(uri, "kill")
            self.spool_files()
            mongod.restart()
            self.app(uri, "close")  # adopts the spool of the killed one
            self.commands(uri)
            self.documents(mongod)
        self.files()
        return self.outcome

    def app(self, uri: str, end: str) -> None:
        """Run the application; what it prints is searched with the other files."""
        settings = MODES[self.mode] | {
            "spool_dir": str(self.folder / "spool"),
            "redaction": self.redaction,
            "max_field_size": 2**20 if end == "close" else 10_240,
            "write_timeout": 2.0,
        }
        job = {"uri": uri, "settings": settings, "texts": str(self.texts), "end": end}
        with (self.folder / f"app-{end}-{time.time_ns()}.log").open("wb") as log:
            program = [sys.executable, "-X", "faulthandler", "-m", "tests.faults.canary_app"]
            ended = subprocess.run(
                [*program, json.dumps(job)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                check=False,
                timeout=_APP_TIMEOUT_S,
            )
        wanted = {"close": 0, "kill": -signal.SIGKILL, "crash": -signal.SIGABRT}[end]
        if ended.returncode != wanted:
            msg = f"the application ended with {ended.returncode}, not {wanted}: see {self.folder}"
            raise RuntimeError(msg)

    def dead_letters(self, mongod: Mongod, uri: str) -> None:
        """Let the database refuse everything for a while."""
        with mongod.client() as client:
            database = client["canary"]
            before = database.command("listCollections", filter={"name": "llm_audit"})
            options = before["cursor"]["firstBatch"][0]["options"]
            refuse = {"$jsonSchema": {"required": ["no_record_has_this"]}}
            database.command("collMod", "llm_audit", validator=refuse, validationLevel="strict")
            self.app(uri, "close")
            database.command(
                "collMod",
                "llm_audit",
                validator=options.get("validator", {}),
                validationLevel=options.get("validationLevel", "strict"),
            )
        listed = self.command("dead-letters", "list", "--json", uri=uri)
        letters = json.loads(listed)
        self.outcome.dead_letters = len(letters)
        for letter in letters[:6]:
            self.command("dead-letters", "show", letter["id"], uri=uri)

    def command(self, *arguments: str, uri: str) -> bytes:
        """Run a command; what it prints is kept as a file, to be searched."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AFFIDAVIT_")}
        environment |= {
            "AFFIDAVIT_SPOOL_DIR": str(self.folder / "spool"),
            "AFFIDAVIT_MONGODB_URI": uri,
        }
        ended = subprocess.run(
            [sys.executable, "-m", "affidavit.cli", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            check=False,
            timeout=_APP_TIMEOUT_S,
        )
        name = "-".join(arguments)[:40].replace("/", "_")
        (self.folder / f"command-{name}-{time.time_ns()}.out").write_bytes(
            ended.stdout + ended.stderr
        )
        return ended.stdout

    def commands(self, uri: str) -> None:
        """Print everything that can be printed."""
        for arguments in _COMMANDS:
            self.command(*arguments, uri=uri)
        rows = json.loads(self.command("search", "--json", "-n", "300", uri=uri))["rows"]
        for call_id in sorted({row.get("call_id") for row in rows if row.get("call_id")})[:6]:
            self.command("show", call_id, uri=uri)
            self.command("show", call_id, "--json", uri=uri)
        self.command("search", self.canaries.texts[0], uri=uri)  # and the search itself is noted
        self.command("dead-letters", "retry", uri=uri)

    def spool_files(self) -> None:
        """Search the spool of the killed process while the database is away."""
        files = [path for path in (self.folder / "spool").rglob("*") if path.is_file()]
        self.outcome.spooled_files = len(files)
        for path in files:
            self.canaries.look(f"spool: {path.name}", path.read_bytes(), self.outcome)

    def documents(self, mongod: Mongod) -> None:
        """Search every document, as a client sees it."""
        import bson

        with mongod.client() as client:
            for database in client.list_database_names():
                for name in client[database].list_collection_names():
                    for document in client[database][name].find():
                        content = bson.encode(expand(document)) + repr(document).encode()
                        self.canaries.look(f"documents: {database}.{name}", content, self.outcome)
                        self.outcome.records += name == "llm_audit"
            client.admin.command("fsync")

    def files(self) -> None:
        """Search every file that is left."""
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                kind = path.relative_to(self.folder).parts[0].split("-")[0].split(".")[0]
                self.canaries.look(f"{kind}: {path.name}", path.read_bytes(), self.outcome)

    def clean(self) -> None:
        """Remove the folders."""
        import shutil

        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.outside, ignore_errors=True)


def control(seed: int) -> list[str]:
    """Name the secrets that the search does not find where redaction is off: there must be none."""
    round_ = Round("batch", seed, redaction="off")
    outcome = round_.run()
    round_.clean()
    seen = {(found.kind, found.place.split(":")[0]) for found in outcome.found}
    return [
        f"{name} in {place}"
        for name in PHRASES
        for place in ("spool", "documents", "command")
        if (name, place) not in seen
    ]


_HEAD: Final = """\
# Canary campaign

Known secrets went through every field and path: messages, conversations, parameters, tool calls,
answers, the application's fields in every shape and as names of fields, errors, calls that were
aborted or streamed in part, events and annotations. They were stored, spooled while the database
was dead and replayed by another process, refused and dead-lettered, in an application that was
killed and in one that crashed. Then every document was read through a client, and every file
searched: database files and logs, spools, the application's log at DEBUG with the crash report, and
the output of each command.

`make campaign-canary` repeats it.
"""


def table(outcomes: list[Outcome], seed: int) -> str:
    """Write the result."""
    rows = [
        "| mode | records | spool files | dead letters | places | MB searched | secrets found |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {o.mode} | {o.records} | {o.spooled_files} | {o.dead_letters}"
        f" | {sum(o.places.values())} | {o.bytes_searched / 2**20:.0f} | {len(o.found)} |"
        for o in outcomes
    ]
    kinds = f"{len(PHRASES)} secrets, seed {seed}"
    return "\n".join([f"{datetime.now(UTC):%Y-%m-%d}, {kinds}:", "", *rows, ""])


def main(arguments: list[str] | None = None) -> int:
    """Run the campaign; 1 if a secret was found or the control failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--out", type=Path, help="write the table to this file as well")
    options = parser.parse_args(arguments)
    blind = control(options.seed)
    shown = "every secret is found" if not blind else f"NOT SEEN: {', '.join(blind)}"
    control_line = f"Control, with redaction off: {shown}."
    print(f"{control_line}\n")
    outcomes = []
    for number, mode in enumerate(MODES, 1):
        round_ = Round(mode, options.seed + number)
        outcome = round_.run()
        outcomes.append(outcome)
        for found in outcome.found[:40]:
            print(f"{mode}: {found.kind} in {found.place}")
        if outcome.found:
            print(f"kept for a look: {round_.folder}")
        else:
            round_.clean()
    result = table(outcomes, options.seed)
    print(result)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(f"{_HEAD}\n{control_line}\n\n{result}", "utf-8")
    return 1 if blind or any(outcome.found for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
