"""Turning what the driver raises into our errors, for everything but the write path.

Texts hold a cause and a next step, and neither a password nor content of a record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from pymongo.errors import (
    ConnectionFailure,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from affidavit.errors import AffidavitError, StoreError, StoreRefused, StoreUnavailable

UNAUTHORIZED: Final = 13
_LOGIN: Final = frozenset({18, 8000})
_TIME: Final = frozenset({50, 262})


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Translate the driver's errors. ``doing`` completes "MongoDB refuses to …"."""
    try:
        yield
    except AffidavitError:
        raise
    except OperationFailure as error:
        raise _refusal(error, doing) from error
    except PyMongoError as error:
        msg = (
            f"MongoDB does not answer ({cause(error)}), so it could not {doing}. "
            "Check the address and that the server runs; `affidavit doctor` looks closer."
        )
        raise StoreUnavailable(msg) from error


def cause(error: PyMongoError) -> str:
    """Say what went wrong between driver and server in words of ours, to stand in brackets."""
    if isinstance(error, ServerSelectionTimeoutError):
        return "no server was found in time"
    if isinstance(error, NetworkTimeout) or error.timeout:
        return "the answer took too long"
    if isinstance(error, ConnectionFailure):
        return "the connection broke"
    return "the driver could not ask"


def code_name(error: OperationFailure) -> str:
    """Return MongoDB's name for an error code."""
    details = error.details or {}
    return str(details.get("codeName", "unnamed"))


def _refusal(error: OperationFailure, doing: str) -> StoreError:
    if error.code == UNAUTHORIZED:
        return StoreRefused(
            f"The database user has no right to {doing} (code 13). An administrator can grant a "
            "role: `affidavit setup --roles` makes them, `affidavit doctor` shows what is missing."
        )
    if error.code in _LOGIN:
        return StoreRefused(
            f"MongoDB refuses the login (code {error.code}). Correct user, password or "
            "authSource in the address."
        )
    if error.code in _TIME:
        return StoreUnavailable(
            f"MongoDB did not finish in time when asked to {doing} (code {error.code}). "
            "Ask for a shorter time range, or try again."
        )
    return StoreUnavailable(
        f"MongoDB could not {doing} (code {error.code}, {code_name(error)}). "
        "`affidavit doctor` looks closer."
    )
