"""Affidavit: the audit log for calls to language models.

Everything public is here, and loads when it is first used: importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affidavit._capture.ids import call_id
    from affidavit._instrument import Instrumentation, instrument, uninstrument
    from affidavit.aio import AsyncAuditLogger
    from affidavit.capture.asgi import AuditMiddleware
    from affidavit.config import AuditConfig
    from affidavit.errors import (
        AffidavitError,
        AuditUnavailable,
        ConfigError,
        MissingExtra,
        SealError,
        SetupClash,
        SpoolError,
        SpoolFull,
        StoreError,
        StoreRefused,
        StoreUnavailable,
        UnauditedEgress,
    )
    from affidavit.logger import AuditLogger

__version__ = "0.1.0"

__all__ = [
    "AffidavitError",
    "AsyncAuditLogger",
    "AuditConfig",
    "AuditLogger",
    "AuditMiddleware",
    "AuditUnavailable",
    "ConfigError",
    "Instrumentation",
    "MissingExtra",
    "SealError",
    "SetupClash",
    "SpoolError",
    "SpoolFull",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "UnauditedEgress",
    "__version__",
    "call_id",
    "instrument",
    "uninstrument",
]

_HOMES = {
    "AsyncAuditLogger": "affidavit.aio",
    "AuditConfig": "affidavit.config",
    "AuditLogger": "affidavit.logger",
    "AuditMiddleware": "affidavit.capture.asgi",
    "Instrumentation": "affidavit._instrument",
    "call_id": "affidavit._capture.ids",
    "instrument": "affidavit._instrument",
    "uninstrument": "affidavit._instrument",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        msg = f"module 'affidavit' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(_HOMES.get(name, "affidavit.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
