"""The HTTP API, ``/api/v1`` and the OTLP receiver ``/v1/traces``.

Lives here: reading requests, checking them, and writing answers; one file for each kind of thing.
Does not live here: who may do what (:mod:`affidavit.console.roles`), and what the answers are: that
is asked of the same functions as the command line asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import APIRouter


def routers() -> list[APIRouter]:
    """Give every router of the API, in the order of the reference."""
    from affidavit.console.api import (
        alerts,
        calls,
        exports,
        ingest,
        integrity,
        otlp,
        questions,
        reports,
        tokens,
    )

    parts = (ingest, otlp, calls, questions, alerts, integrity, exports, reports, tokens)
    return [part.router for part in parts]
