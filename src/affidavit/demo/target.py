"""The database of the demo, and the way its outage is made.

A server that the demo started is killed with SIGKILL. A server that the user named is never
touched: the line to it is cut by a small proxy, or, where a proxy cannot stand between (several
hosts, TLS, ``mongodb+srv``), the outage is left out and the report says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from affidavit.config import without_secrets
from affidavit.demo.mongod import Mongod
from affidavit.demo.proxy import Proxy
from affidavit.errors import ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.database import Database

DATABASE = "affidavit_demo"
"""The database that is used when the URI names none."""


class DatabaseUnreachable(StoreUnavailable):
    """The MongoDB at the given URI does not answer; the text says why."""


class Target(Protocol):
    """Where the demo's records go.

    Attributes:
        uri: for the application; goes through the proxy, if there is one.
        shown: for people: without a password.
        outage: in words, how :meth:`cut` interrupts the database; empty when it cannot.
    """

    uri: str
    shown: str
    outage: str

    def cut(self) -> None:
        """Begin the outage."""

    def restore(self) -> None:
        """End the outage."""

    def database(self) -> Database[dict[str, Any]]:
        """The database as the report reads it, on a line of its own."""

    def stop(self) -> None:
        """Stop what was started here."""


class OwnServer:
    """A ``mongod`` that the demo starts, kills and restarts."""

    def __init__(self) -> None:
        """Start it.

        Raises:
            MongodNotFound: there is no binary.
            MongodFailed: it does not come up.
        """
        self._server = Mongod.start()
        self.uri = self._server.database_uri(DATABASE)
        self.shown = self.uri
        self.outage = "mongod is killed (SIGKILL) and started again"
        self._client: MongoClient[dict[str, Any]] | None = None

    def cut(self) -> None:
        """Kill the server."""
        self._server.kill()

    def restore(self) -> None:
        """Start it again, with its port and its data."""
        self._server.restart()

    def database(self) -> Database[dict[str, Any]]:
        """The demo's database."""
        if self._client is None:
            self._client = self._server.client(tz_aware=True, serverSelectionTimeoutMS=20_000)
        return self._client[DATABASE]

    def stop(self) -> None:
        """Stop the server and remove its data."""
        if self._client is not None:
            self._client.close()
        self._server.stop()


class GivenServer:
    """A MongoDB of the user's, behind a proxy where that is possible."""

    def __init__(self, uri: str) -> None:
        """Connect to it.

        Raises:
            ConfigError: the URI is wrong.
            DatabaseUnreachable: the server does not answer.
        """
        from pymongo import MongoClient
        from pymongo.errors import ConfigurationError, InvalidURI, PyMongoError

        try:
            self._client: MongoClient[dict[str, Any]] = MongoClient(
                with_database(uri, DATABASE), tz_aware=True, serverSelectionTimeoutMS=5000
            )
        except (InvalidURI, ConfigurationError, ValueError) as error:
            why = without_secrets(str(error), uri).rstrip(".")
            msg = f"the MongoDB URI cannot be used: {why}. Write mongodb://HOST:PORT/DATABASE."
            raise ConfigError(msg) from None
        try:
            self._client.admin.command("ping")
        except PyMongoError as error:
            self._client.close()
            msg = (
                f"{shown(uri)} does not answer ({type(error).__name__}). Start the server, or "
                "correct the address, the user or the password."
            )
            raise DatabaseUnreachable(msg) from None
        self._name = self._client.get_default_database().name
        full = with_database(uri, self._name)
        self.shown = shown(full)
        self._proxy = _proxy_for(uri)
        self.uri, self.outage = full, ""
        if self._proxy is not None:
            self.uri = _through(full, self._proxy.port)
            self.outage = "the line to your MongoDB is cut and joined again; the server runs on"

    def cut(self) -> None:
        """Cut the line; the server itself is left alone."""
        if self._proxy is not None:
            self._proxy.cut()

    def restore(self) -> None:
        """Join the line."""
        if self._proxy is not None:
            self._proxy.restore()

    def database(self) -> Database[dict[str, Any]]:
        """The database that the URI names, else :data:`DATABASE`."""
        return self._client[self._name]

    def stop(self) -> None:
        """Close the connections; the server and the records stay."""
        if self._proxy is not None:
            self._proxy.stop()
        self._client.close()


def shown(uri: str) -> str:
    """The URI as people may see it: a password becomes ``***``."""
    scheme, mark, rest = uri.partition("://")
    login, at, address = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{scheme}{mark}{user}{colon and ':***'}{at}{address}"


def with_database(uri: str, name: str) -> str:
    """The URI with ``name`` as its database, unless it names one.

    A login without ``authSource`` is looked up in the URI's database, and in ``admin`` when
    there is none: the same place stays named.
    """
    scheme, mark, rest = uri.partition("://")
    login, at, address = rest.rpartition("@")
    address, _, query = address.partition("?")
    hosts, _, database = address.partition("/")
    if database:
        return uri
    if at and "authsource=" not in query.lower():
        query = "&".join(filter(None, [query, "authSource=admin"]))
    return f"{scheme}{mark}{login}{at}{hosts}/{name}" + (f"?{query}" if query else "")


def _proxy_for(uri: str) -> Proxy | None:
    """A proxy to the URI's server, or None where none can stand between."""
    from pymongo.uri_parser import parse_uri

    if uri.startswith("mongodb+srv:"):
        return None
    parsed = parse_uri(uri)
    options = parsed["options"]
    if len(parsed["nodelist"]) != 1 or options.get("tls") or options.get("loadBalanced"):
        return None
    host, port = parsed["nodelist"][0]
    if port is None or host.endswith(".sock"):
        return None
    return Proxy(host, port)


def _through(uri: str, port: int) -> str:
    """The URI with the proxy's address; its clients must not look for the set's other names."""
    scheme, mark, rest = uri.partition("://")
    login, at, address = rest.rpartition("@")
    address, _, query = address.partition("?")
    database = address.partition("/")[2]
    dropped = ("replicaset=", "directconnection=")
    options = [option for option in query.split("&") if option]
    kept = [option for option in options if not option.lower().startswith(dropped)]
    kept.append("directConnection=true")
    return f"{scheme}{mark}{login}{at}127.0.0.1:{port}/{database}?{'&'.join(kept)}"
