"""Where records are kept.

Lives here: the contract (:mod:`.base`), a store in memory (:mod:`.memory`) and MongoDB
(:mod:`.mongo`). :func:`connect` for writing and :func:`open_log` for reading and administration
are the only ways in: nobody outside names a concrete store.
Does not live here: queues, retries, and how answers are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from affidavit.config import AuditConfig
from affidavit.errors import ConfigError
from affidavit.store.base import Store

if TYPE_CHECKING:
    from affidavit.store.mongo.log import MongoLog

__all__ = ["Store", "connect", "open_log"]


def connect(target: Any, config: AuditConfig, uri: str | None = None) -> Store:
    """Open the store for a target: a URI, or an existing client, database or collection.

    No network traffic happens here. Raises ConfigError for a target that cannot be used.
    """
    if isinstance(target, str) and target.startswith("memory:"):
        from affidavit.store.memory import MemoryStore

        return MemoryStore.named(target)
    # Asked of the class: an instance of PyMongo's Database has every attribute one asks for.
    if all(hasattr(type(target), verb) for verb in ("prepare", "append", "present")):
        return cast("Store", target)
    _check_scheme(target)
    from affidavit.store.mongo import MongoStore

    return MongoStore(target, config, uri)


def open_log(target: Any, config: AuditConfig, uri: str | None = None) -> MongoLog:
    """Open a log for reading and administration; takes what :func:`connect` takes.

    No network traffic happens here. Raises ConfigError for a target that cannot be used.
    """
    _check_scheme(target)
    from affidavit.store.mongo.log import MongoLog

    return MongoLog(target, config, uri)


def _check_scheme(target: object) -> None:
    if isinstance(target, str) and not target.startswith(("mongodb://", "mongodb+srv://")):
        scheme = target.partition(":")[0]
        msg = f"{scheme!r} is no known store address. Use mongodb://host/database."
        raise ConfigError(msg)
