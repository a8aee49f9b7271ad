"""Where records are kept.

Lives here: the contract (:mod:`.base`), a store in memory (:mod:`.memory`) and MongoDB
(:mod:`.mongo`). :func:`connect` is the only way in: nobody outside names a concrete store.
Does not live here: queues, retries, and what questions mean.
"""

from __future__ import annotations

from typing import Any

from affidavit.config import AuditConfig
from affidavit.errors import ConfigError
from affidavit.store.base import Store

__all__ = ["Store", "connect"]


def connect(target: Any, config: AuditConfig, uri: str | None = None) -> Store:
    """Open the store for a target: a URI, or an existing client, database or collection.

    No network traffic happens here. Raises ConfigError for a target that cannot be used.
    """
    if isinstance(target, str) and target.startswith("memory:"):
        from affidavit.store.memory import MemoryStore

        return MemoryStore.named(target)
    if not isinstance(target, str) and isinstance(target, Store):
        return target
    if isinstance(target, str) and not target.startswith(("mongodb://", "mongodb+srv://")):
        scheme = target.partition(":")[0]
        msg = f"{scheme!r} is no known store address. Use mongodb://host/database."
        raise ConfigError(msg)
    from affidavit.store.mongo import MongoStore

    return MongoStore(target, config, uri)
