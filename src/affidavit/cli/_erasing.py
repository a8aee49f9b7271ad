"""Erasures that were interrupted, for ``doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.store.findings import Finding
    from affidavit.store.mongo.log import MongoLog


def findings(log: MongoLog) -> Iterator[Finding]:
    """Name erasures that were announced and have no receipt."""
    from affidavit.errors import StoreError
    from affidavit.lifecycle.erasure import unfinished
    from affidavit.store.findings import Finding, Level

    try:
        waiting = unfinished(log.erasing)
    except StoreError as error:
        yield Finding("erasure", Level.NOTE, f"not looked at: {error}")
        return
    for begun in waiting:
        yield Finding(
            "erasure",
            Level.WRONG,
            f"{begun.erasure} of {len(begun.ids)} records was announced and not finished",
            "`affidavit erase --finish` shows who announced it, asks, and finishes it.",
        )
