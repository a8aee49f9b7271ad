"""Finding the database a target means, and opening clients with safe settings.

A target is a URI or an existing ``MongoClient``, ``Database`` or ``Collection``, whose pool is then
shared (never more than two of its connections are used at a time). No I/O happens here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_plus

from bson.codec_options import CodecOptions
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import ConfigurationError, InvalidName, InvalidURI, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from affidavit.config import AuditConfig, without_password, without_secrets
from affidavit.errors import ConfigError
from affidavit.store.mongo.driver import cause
from affidavit.store.mongo.names import Names

WRITE_CONCERN: Final = WriteConcern(w="majority", j=True)
"""Majority and journaled. A standalone server counts as its own majority, at the same latency."""

_CODEC: Final[CodecOptions[dict[str, Any]]] = CodecOptions(tz_aware=True)

_TIMEOUTS: Final = ("serverSelectionTimeoutMS", "connectTimeoutMS")
"""Shorter than the driver's 30 s, unless the address says otherwise."""

POOL_SIZE: Final = 2
"""Connections of a pool of our own: the writer's and the shipper's."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where the log lives."""

    client: MongoClient[dict[str, Any]]
    database: Database[dict[str, Any]]
    names: Names
    shared: bool
    """Whether the client was passed in, and so stays open when the logger closes."""
    dataset: str
    """A stable name without secrets: replica set (else hosts), database and collection."""
    seeds: frozenset[str]
    """The hosts that were known on opening."""
    apart: bool = False
    """Whether the log has servers of its own: none of them is one of the application's."""

    def is_same_log(self, dataset: str) -> bool:
        """Whether a dataset's name, perhaps of another host list, means this very log.

        It does if the collection is the same, and the replica set or one of the hosts. Members of
        a replica set are known once it has answered.
        """
        tail = f"/{self.database.name}.{self.names.records}"
        if not dataset.endswith(tail):
            return False
        place = dataset.removesuffix(tail)
        found = self.client.topology_description
        hosts = self.seeds | _named(found.server_descriptions())
        return place == found.replica_set_name or not hosts.isdisjoint(place.split(","))

    def close(self) -> None:
        """Close the client if it is ours."""
        if not self.shared:
            self.client.close()


def locate(
    target: object, config: AuditConfig, uri: str | None = None, connections: int = POOL_SIZE
) -> Location:
    """Work out client, database and collection names; raises ConfigError with the remedy.

    ``connections`` is the size of a pool of our own.
    ``uri`` is the address to use where the target itself cannot be used from a thread
    (an ``AsyncMongoClient``) or to open a pool of its own.
    """
    client, database, collection = _unfold(target, uri, connections)
    shared = not isinstance(target, str) and not _is_async(target)
    name = config.collection or collection
    main = client.topology_description.server_descriptions()
    if config.separate_database:
        if config.audit_uri is not None:
            if not shared:  # it was opened for the address's sake, and nobody would close it
                client.close()
            opened_here = _open(config.audit_uri, f"{database}_audit", connections)
            client, database, shared = *opened_here, False
        elif not shared:
            database = f"{database}_audit"
        elif uri is not None:
            client = _open(uri, database, connections)[0]
            database, shared = f"{database}_audit", False
        else:
            # The same server, but no address to open a second pool with: share the one we got.
            database = f"{database}_audit"
        name = config.collection or "llm_logs"
    names = Names(name or "llm_audit")
    try:
        opened = client.get_database(
            database,
            codec_options=_CODEC,
            write_concern=WRITE_CONCERN,
            read_concern=ReadConcern("majority"),
        )
        opened.get_collection(names.records)
    except InvalidName as error:
        why = str(error).rstrip(".")
        msg = f"The database or collection name is not allowed by MongoDB: {why}."
        raise ConfigError(msg) from error
    seeds = _named(client.topology_description.server_descriptions())
    # A replica set keeps its name when its members change; hosts name what has no other name.
    place = client.topology_description.replica_set_name or ",".join(sorted(seeds))
    dataset = f"{place}/{database}.{names.records}"
    apart = config.audit_uri is not None and seeds.isdisjoint(_named(main))
    return Location(client, opened, names, shared, dataset, seeds, apart)


def _named(addresses: Iterable[tuple[str, int | None]]) -> frozenset[str]:
    return frozenset(f"{host}:{port}" for host, port in addresses)


def _is_async(target: object) -> bool:
    return type(target).__name__.startswith("Async")


def _unfold(
    target: object, uri: str | None, connections: int
) -> tuple[MongoClient[dict[str, Any]], str, str | None]:
    """Return client, database name, and the collection name if the target names one."""
    if isinstance(target, str):
        return (*_open(target, None, connections), None)
    if isinstance(target, MongoClient):
        return target, _default_database(target), None
    if isinstance(target, Database):
        return target.client, target.name, None
    if isinstance(target, Collection):
        return target.database.client, target.database.name, target.name
    if _is_async(target) and uri is not None:
        database, collection = _names_of_async(target)
        client, from_uri = _open(uri, database, connections)
        return client, database or from_uri, collection
    if _is_async(target):
        msg = (
            f"An existing {type(target).__name__} cannot be used: records are written by a thread, "
            "and PyMongo gives no public access to the credentials a second client would need. "
            "Pass the address beside it: uri='mongodb://…'."
        )
        raise ConfigError(msg)
    msg = (
        f"{type(target).__name__} is no target for the log. Pass a URI (mongodb://host/database), "
        "or a MongoClient, Database or Collection."
    )
    raise ConfigError(msg)


def _names_of_async(target: object) -> tuple[str | None, str | None]:
    kind = type(target).__name__
    if kind == "AsyncCollection":
        return target.database.name, target.name  # type: ignore[attr-defined]
    if kind == "AsyncDatabase":
        return target.name, None  # type: ignore[attr-defined]
    return None, None


def _default_database(client: MongoClient[dict[str, Any]]) -> str:
    try:
        return client.get_default_database().name
    except ConfigurationError:
        msg = (
            "The client's address names no database. Pass the database itself: "
            "AuditLogger(client['name'])."
        )
        raise ConfigError(msg) from None


def _open(
    uri: str, database: str | None, connections: int
) -> tuple[MongoClient[dict[str, Any]], str]:
    shown = without_password(uri)
    named = database or _database_in(uri)
    if named is None:
        msg = f"{shown!r} names no database. Add it: mongodb://host/wadm."
        raise ConfigError(msg)
    login = uri.partition("://")[2].rpartition("@")[0]
    if set(login) & set("/?#[]@"):
        # The driver would take a part of the password for a host or a database, and print it.
        msg = (
            f"{shown!r}: user and password must be percent-encoded where they hold one of "
            "/ ? # [ ] @ (urllib.parse.quote_plus does it)."
        )
        raise ConfigError(msg)
    try:
        options = parse_uri(uri, validate=True, warn=False) if "+srv" not in uri else {}
        given = options.get("options", {})
        _refuse_unsafe(given, shown)
        patience_ms: dict[str, Any] = {name: 5000 for name in _TIMEOUTS if name not in given}
        client: MongoClient[dict[str, Any]] = MongoClient(
            uri,
            tz_aware=True,
            maxPoolSize=connections,
            **patience_ms,
            # Our own appends are idempotent by _id; the driver need not send twice.
            retryWrites=False,
            appname="affidavit",
        )
    except OSError as error:
        named_file = f": {error.filename}" if error.filename else ""
        msg = f"{shown!r} names a file that cannot be read ({error.strerror}{named_file})."
        raise ConfigError(msg) from error
    except (InvalidURI, ConfigurationError, ValueError, TypeError) as error:
        why = without_secrets(str(error), uri).rstrip(".")
        msg = f"{shown!r} is no usable MongoDB address: {why}."
        raise ConfigError(msg) from None  # the driver's own text could hold a secret
    except PyMongoError as error:
        msg = f"{shown!r} cannot be opened: {cause(error)}."
        raise ConfigError(msg) from error
    return client, named


def _database_in(uri: str) -> str | None:
    """The database an address names, if any; the driver would connect to tell."""
    path = uri.partition("://")[2].partition("/")[2].partition("?")[0]
    return unquote_plus(path) or None


def _refuse_unsafe(options: Any, shown: str) -> None:
    """Refuse a write concern under which acknowledged records are lost, or take 100 ms each."""
    journal = options.get("journal", options.get("j"))
    if journal is False:
        msg = (
            f"{shown!r} switches journaling off: acknowledged records would be lost when the "
            "server is killed (and with w=majority each write waits 100 ms). "
            "Remove journal=false from the address."
        )
        raise ConfigError(msg)
    if options.get("w") == 0:
        msg = f"{shown!r} asks for unacknowledged writes. Remove w=0 from the address."
        raise ConfigError(msg)
