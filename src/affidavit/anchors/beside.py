"""What works beside a sealer inside an application: anchors, and slow verification of the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from affidavit.config import AuditConfig
from affidavit.errors import ConfigError
from affidavit.sealer.inprocess import WHERE, Beside
from affidavit.sealer.rolling import Rolling
from affidavit.store.sealing import SealStore

if TYPE_CHECKING:
    from affidavit.anchors.run import Outcome
    from affidavit.integrity.findings import Report

_log: Final = logging.getLogger("affidavit")

Make = Callable[[Callable[[], str]], list[Beside]]
"""Makes what is to be started, with a function that tells the log's key."""


def beside_sealing(store: SealStore, config: AuditConfig) -> Make:
    """Say what to start when this process begins to seal.

    What that needs is imported here, on the application's thread. Wrong settings of anchors stop no
    logger: they are told to the Python log.
    """
    schedule, hold = _anchoring(store, config)

    def make(vkey: Callable[[], str]) -> list[Beside]:
        found = [] if schedule is None else [schedule()]
        if config.rolling_percent:
            found.append(
                Rolling(store, vkey, config.rolling_percent, where=WHERE, tell=_alarm, hold=hold)
            )
        return found

    return make


def _anchoring(
    store: SealStore, config: AuditConfig
) -> tuple[Callable[[], Beside] | None, Callable[[Report], None] | None]:
    """Give what anchors on a schedule, and what holds a verified log against the anchors."""
    if not (config.anchor_directory or config.anchor_witnesses or config.anchor_tsa):
        return None, None
    from affidavit.anchors.attest import hold_against_anchors
    from affidavit.anchors.configured import anchors_of
    from affidavit.anchors.schedule import Schedule

    try:
        anchors = anchors_of(config)
    except ConfigError as error:
        _complain(str(error))
        return None, None

    def tell(done: Outcome) -> None:
        if done.failure is not None:
            _complain(f"{done.anchor}: {done.failure}")

    def schedule() -> Beside:
        return Schedule(store, anchors, config.anchor_every_s, tell, _complain)

    return schedule, lambda report: hold_against_anchors(store, config, report)


def _complain(why: str) -> None:
    _log.warning("affidavit: the log is not anchored. %s", why)


def _alarm(text: str) -> None:
    _log.error("affidavit: %s", text)
