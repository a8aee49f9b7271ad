"""The stage of a fault campaign: servers, a line, workers, fresh databases, and the count."""

from __future__ import annotations

import random
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pymongo import MongoClient

from affidavit.demo.mongod import Mongod
from affidavit.demo.replica_set import ReplicaSet
from tests.support.accounts import Account, Returned, read_acks, take_account
from tests.support.processes import WorkerProcess, Zygote
from tests.support.proxy import Proxy
from tests.support.worker import Job

if TYPE_CHECKING:
    from types import TracebackType

THREADS = 2
ADOPTION_TIMEOUT_S = 90.0


@dataclass
class Row:
    """One line of the table: a kind of fault in one mode."""

    kind: str
    mode: str
    faults: int = 0
    kills: int = 0
    returned: int = 0
    promised: int = 0
    present: int = 0
    duplicates: int = 0
    lost_promised: int = 0
    lost: int = 0
    worst_loss: int = 0
    """Most records that one killed process lost."""
    oldest_lost_ms: float = 0.0
    """How long before the kill the oldest lost call had returned."""
    longest_wait_ms: float = 0.0
    """Longest time a caller waited for one call's auditing."""
    p95_wait_ms: float = 0.0
    errors: list[str] = field(default_factory=list)

    def add(self, account: Account, calls: list[Returned]) -> None:
        """Add what one round counted."""
        self.returned += account.returned
        self.promised += account.promised
        self.present += account.present
        self.duplicates += account.duplicates
        self.lost_promised += len(account.missing_promised)
        self.lost += account.lost
        self.worst_loss = max([self.worst_loss, *account.losses])
        self.errors += account.wrong()
        waits = sorted(call.waited_ms for call in calls)
        if waits:
            self.longest_wait_ms = max(self.longest_wait_ms, waits[-1])
            self.p95_wait_ms = max(self.p95_wait_ms, statistics.quantiles([*waits, 0], n=20)[-1])


class Stage:
    """Servers, a proxy, a process that forks workers, and fresh databases: for a whole campaign."""

    def __init__(self, seed: int) -> None:
        """``seed`` makes the moments of the faults repeatable (as far as clocks are)."""
        self.random = random.Random(seed)
        self.folder = Path(tempfile.mkdtemp(prefix="affidavit-faults-"))
        self._number = 0
        self._mongod: Mongod | None = None
        self._set: ReplicaSet | None = None
        self._proxy: Proxy | None = None
        self._zygote: Zygote | None = None
        self._client: MongoClient[dict[str, Any]] | None = None

    @property
    def mongod(self) -> Mongod:
        """A standalone server."""
        if self._mongod is None:
            self._mongod = Mongod.start()
        return self._mongod

    @property
    def three(self) -> ReplicaSet:
        """A replica set of three."""
        if self._set is None:
            self._set = ReplicaSet.start()
        return self._set

    @property
    def proxy(self) -> Proxy:
        """The line to :attr:`mongod`."""
        if self._proxy is None:
            self._proxy = Proxy(self.mongod.port)
        return self._proxy

    @property
    def zygote(self) -> Zygote:
        """Forks workers."""
        if self._zygote is None:
            self._zygote = Zygote(self.folder / "workers.log")
        return self._zygote

    @property
    def client(self) -> MongoClient[dict[str, Any]]:
        """A client of our own to :attr:`mongod`, past the proxy."""
        if self._client is None:
            self._client = MongoClient(self.mongod.uri, tz_aware=True)
        return self._client

    def stop(self) -> None:
        """Stop what was started, and remove the files."""
        if self._client is not None:
            self._client.close()  # while there is a server: it says good-bye to it
        for thing in (self._zygote, self._proxy, self._mongod, self._set):
            if thing is not None:
                thing.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def drop_set(self) -> None:
        """Stop the replica set: three servers take a good part of two cores."""
        if self._set is not None:
            self._set.stop()
            self._set = None

    def __enter__(self) -> Self:
        """The stage."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything."""
        self.stop()

    def round(self, row: Row, uri: str | None = None) -> Round:
        """A database and a spool directory of one's own."""
        self._number += 1
        name = f"faults_{self._number}"
        if uri is None:
            uri = f"mongodb://127.0.0.1:{self.proxy.port}/{name}"
        return Round(self, row, name, uri.replace("DATABASE", name))


class Round:
    """One database, the workers that wrote to it, and the count at the end."""

    def __init__(self, stage: Stage, row: Row, name: str, uri: str) -> None:
        """Use :meth:`Stage.round`."""
        self.stage = stage
        self.row = row
        self.name = name
        self.uri = uri
        self.folder = stage.folder / name
        self.folder.mkdir()
        self.killed: list[tuple[Path, float]] = []
        self._jobs = 0

    def job(self, **what: Any) -> Job:
        """A job on this database in the row's mode."""
        self._jobs += 1
        given: dict[str, Any] = {
            "uri": self.uri,
            "spool_dir": str(self.folder / "spool"),
            "acks": str(self.folder / f"{self._jobs}.acks"),
            "mode": self.row.mode,
            "threads": THREADS,
            "seed": self._jobs,
            **what,
        }
        return Job(**given)

    def worker(self, **what: Any) -> WorkerProcess:
        """A worker that obeys."""
        return WorkerProcess(self.job(**what))

    def calls(self) -> list[Returned]:
        """Every call that returned in this round."""
        return [call for path in self.folder.glob("*.acks") for call in read_acks(path)]

    def count(self, client: MongoClient[dict[str, Any]] | None = None) -> Account:
        """Count, add the result to the row, drop the database."""
        client = client or self.stage.client
        calls = self.calls()
        account = take_account(
            client[self.name],
            calls,
            folder=self.spool_folder(),
            in_flight=THREADS * (len(self.killed) + 1),
        )
        lost = {call.call_id for call in account.missing}
        for path, at_s in self.killed:
            ages = [at_s - call.at_s for call in read_acks(path) if call.call_id in lost]
            self.row.oldest_lost_ms = max([self.row.oldest_lost_ms, *(age * 1000 for age in ages)])
        if not calls:
            account.errors.append("no call returned")
        self.row.add(account, calls)
        if not account.wrong():
            client.drop_database(self.name)
            shutil.rmtree(self.folder)
        return account

    def spool_folder(self) -> Path | None:
        """The dataset's folder, if the spool was ever made."""
        base = self.folder / "spool"
        found = [path for path in base.iterdir() if path.is_dir()] if base.is_dir() else []
        return found[0] if found else None

    def wait_for_adoption(self, worker: WorkerProcess) -> None:
        """Wait until the worker's spool is the only one left."""
        folder, end_s = self.spool_folder(), time.monotonic() + ADOPTION_TIMEOUT_S
        assert folder is not None
        while {path.stem for path in folder.glob("*.lock")} - {worker.writer}:
            if time.monotonic() > end_s:
                self.row.errors.append("spools were left over that nobody took over")
                return
            time.sleep(0.05)
