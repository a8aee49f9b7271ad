"""The state of the anchors, for ``status`` and ``doctor``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from affidavit.anchors.health import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from affidavit.anchors.health import AnchorState
    from affidavit.config import AuditConfig
    from affidavit.store.findings import Finding
    from affidavit.store.mongo.log import MongoLog


def states(config: AuditConfig, log: MongoLog) -> list[AnchorState] | None:
    """Look at the anchors that are configured here; None where this user may not.

    Raises ConfigError where their settings are wrong.
    """
    from affidavit.anchors.configured import anchors_of
    from affidavit.anchors.health import look
    from affidavit.errors import StoreRefused

    anchors = anchors_of(config)
    try:
        return look(log.seals, anchors, config.anchor_every_s, datetime.now(UTC))
    except StoreRefused:
        return None


def findings(config: AuditConfig, log: MongoLog) -> Iterator[Finding]:
    """Check that somebody outside knows how large the log is."""
    from affidavit.errors import ConfigError, StoreError
    from affidavit.store.findings import Finding, Level

    try:
        found = states(config, log)
    except ConfigError as error:
        yield Finding("anchors", Level.WRONG, str(error), "docs/how-to/anchors.md.")
        return
    except StoreError:
        return  # the connection is a finding of its own
    if found is None:
        yield Finding("anchors", Level.NOTE, "not looked at: this user may not read the seals")
    elif not found:
        yield Finding(
            "anchors",
            Level.NOTE,
            "no anchor is configured here: a tail that is cut off is noticed only by whoever "
            "saved a checkpoint outside",
            "Set anchor_directory, anchor_witnesses or anchor_tsa; docs/how-to/anchors.md.",
        )
    for each in found or ():
        level = Level.WRONG if each.wrong else Level.OK if each.size is not None else Level.NOTE
        remedy = "`affidavit anchor` tries again; docs/how-to/anchors.md."
        yield Finding("anchors", level, f"{each.anchor}: {words(each)}", remedy)
