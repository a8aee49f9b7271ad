"""Where records are kept.

Lives here: the contract (:mod:`.base`), a store in memory (:mod:`.memory`) and MongoDB
(:mod:`.mongo`). :func:`connect` for writing, :func:`connect_seals` for sealing and verifying, and
:func:`open_log` for reading and administration are the only ways in: nobody outside
names a concrete store.
Does not live here: queues, retries, and how answers are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from affidavit.config import AuditConfig
from affidavit.errors import ConfigError
from affidavit.store.base import Store

if TYPE_CHECKING:
    from affidavit.event import Document
    from affidavit.store.alerting import AlertStore
    from affidavit.store.analytics import Engine
    from affidavit.store.auditing import AuditStore
    from affidavit.store.intervals import Interval
    from affidavit.store.mongo.log import MongoLog
    from affidavit.store.monitoring import MonitorStore
    from affidavit.store.questions import SearchFilter
    from affidavit.store.repricing import RepricingStore
    from affidavit.store.rollups import RollupStore
    from affidavit.store.sealing import SealStore
    from affidavit.store.serving import ServiceStore

__all__ = [
    "Store",
    "alerts_of",
    "audit_of",
    "calls_of",
    "connect",
    "connect_seals",
    "histogram_of",
    "metadata_of",
    "monitor_of",
    "open_log",
    "prices_of",
    "rollups_sharing",
    "scratch_of",
    "seals_beside",
    "seals_sharing",
    "service_of",
]

ALERTS_TIMEOUT_S: Final = 10.0
AUDIT_TIMEOUT_S: Final = 10.0
SERVICE_TIMEOUT_S: Final = 5.0
CALLS_TIMEOUT_S: Final = 60.0
"""Seconds that one answer may take; sums of a month read for long, on a large log."""


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


def open_log(
    target: Any, config: AuditConfig, uri: str | None = None, *, connections: int = 2
) -> MongoLog:
    """Open a log for reading and administration; takes what :func:`connect` takes.

    ``connections`` is how many are opened at most, where they are not the target's own.
    No network traffic happens here. Raises ConfigError for a target that cannot be used.
    """
    _check_scheme(target)
    from affidavit.store.mongo.log import MongoLog

    return MongoLog(target, config, uri, connections)


def connect_seals(target: Any, config: AuditConfig, uri: str | None = None) -> SealStore:
    """Open the log's own collections, for sealing and verifying; takes what :func:`connect` takes.

    No network traffic happens here. Raises ConfigError for a target that cannot be used.
    """
    if isinstance(target, str) and target.startswith("memory:"):
        from affidavit.store.memory import MemoryStore

        target = MemoryStore.named(target)
    if not isinstance(target, str):
        beside = seals_beside(target)
        if beside is not None:
            return beside
    _check_scheme(target)
    from affidavit.store.mongo.connect import locate
    from affidavit.store.mongo.sealing import MongoSeals

    return MongoSeals(locate(target, config, uri))


def alerts_of(log: MongoLog) -> AlertStore:
    """Give what alerts need of an open log, over the same connections; no wait is for ever."""
    from affidavit.store.mongo.alerting import MongoAlerts
    from affidavit.store.mongo.patient import Patient

    return cast("AlertStore", Patient(MongoAlerts(log.location), ALERTS_TIMEOUT_S))


def audit_of(log: MongoLog) -> AuditStore:
    """Give what an auditor looks up beside the proofs; no wait is for ever."""
    from affidavit.store.mongo.auditing import MongoAudit
    from affidavit.store.mongo.patient import Patient

    return cast("AuditStore", Patient(MongoAudit(log.location), AUDIT_TIMEOUT_S))


def scratch_of(log: MongoLog, name: str) -> AbstractContextManager[Callable[[], None]]:
    """Give an operation to measure, in collections of its own that are dropped afterwards."""
    from affidavit.store.mongo.scratch import scratch

    return scratch(log.location, name)


def metadata_of(record: Document) -> Document:
    """Keep of a call or record what holds no content; see :mod:`affidavit.store.mongo.read`."""
    from affidavit.store.mongo.read import metadata

    return metadata(record)


def histogram_of(log: MongoLog, wanted: SearchFilter, step: timedelta) -> list[Interval]:
    """Count what a search finds by intervals of time.

    Raises ConfigError for what cannot be counted, StoreUnavailable when it takes over five seconds.
    """
    from affidavit.store.mongo.histogram import histogram

    return histogram(log.location, log.config.legacy_timezone, wanted, step)


def monitor_of(log: MongoLog, answer_s: float | None = None) -> MonitorStore:
    """Give what monitoring needs of an open log, over the same connections.

    With ``answer_s`` no answer is waited for longer than that.
    """
    from affidavit.store.mongo.monitoring import MongoMonitor
    from affidavit.store.mongo.patient import Patient

    made = MongoMonitor(log.location)
    return made if answer_s is None else cast("MonitorStore", Patient(made, answer_s))


def calls_of(log: MongoLog) -> Engine:
    """Give what answers questions about finished calls; no wait is for ever."""
    from affidavit.store.mongo.patient import Patient

    return cast("Engine", Patient(log.calls, CALLS_TIMEOUT_S))


def prices_of(log: MongoLog) -> RepricingStore:
    """Give what pricing asks of an open log, over the same connections."""
    from affidavit.store.mongo.repricing import MongoRepricing

    return MongoRepricing(log.location)


def service_of(log: MongoLog) -> ServiceStore:
    """Give what the HTTP service keeps, over the same connections; no wait is for ever."""
    from affidavit.store.mongo.patient import Patient
    from affidavit.store.mongo.serving import MongoService

    return cast("ServiceStore", Patient(MongoService(log.location), SERVICE_TIMEOUT_S))


def seals_beside(store: object) -> SealStore | None:
    """Give the log's own collections beside a store that is open, over the same connections.

    None where that store has none.
    """
    from affidavit.store.memory import MemoryStore

    if isinstance(store, MemoryStore):
        from affidavit.store.memory_sealing import MemorySeals

        return MemorySeals.beside(store)
    from affidavit.store.mongo import MongoStore

    if isinstance(store, MongoStore):
        from affidavit.store.mongo.sealing import MongoSeals

        return MongoSeals(store.location)
    return None


def seals_sharing(
    store: object, lock: AbstractContextManager[Any], timeout_s: float
) -> SealStore | None:
    """Give the log's own collections over a writer's second connection, whose lock this is.

    None where the store is not of a kind that is sealed from inside an application.
    """
    from affidavit.store.mongo import MongoStore

    if isinstance(store, MongoStore):
        from affidavit.store.mongo.patient import PatientSeals

        return PatientSeals.over(store.location, timeout_s, lock)
    return None


def rollups_sharing(
    store: object, config: AuditConfig, lock: AbstractContextManager[Any], timeout_s: float
) -> RollupStore | None:
    """Give what keeps rollups over a writer's second connection; None as :func:`seals_sharing`."""
    from affidavit.store.mongo import MongoStore

    if isinstance(store, MongoStore):
        from affidavit.store.mongo.patient import PatientRollups

        return PatientRollups.over(store.location, config, timeout_s, lock)
    return None


def _check_scheme(target: object) -> None:
    if isinstance(target, str) and not target.startswith(("mongodb://", "mongodb+srv://")):
        scheme = target.partition(":")[0]
        msg = f"{scheme!r} is no known store address. Use mongodb://host/database."
        raise ConfigError(msg)
