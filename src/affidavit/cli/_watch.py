"""``affidavit status --watch`` on a terminal: one screen, drawn again each second."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from affidavit.cli._metrics import answered, value

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console, RenderableType

    from affidavit.config import AuditConfig
    from affidavit.monitor.reading import Readings
    from affidavit.store.mongo.log import MongoLog

EVERY_S: Final = 1.0
_READINGS: Final = 30
"""Shares of the server's work are over the last half minute or so."""

_SHOWN: Final = (
    "audit_writes_per_minute",
    "audit_collection_size_gb",
    "audit_write_latency_p95",
    "main_db_impact_percentage",
    "storage_growth_rate_mb_per_day",
    "affidavit_records_queued",
    "affidavit_records_spooled",
    "affidavit_records_dead_lettered",
    "affidavit_records_lost_total",
    "affidavit_writers_alive",
    "affidavit_writers_silent",
    "affidavit_sealer_lag_seconds",
    "affidavit_anchor_age_seconds",
    "affidavit_requests_last_day",
    "affidavit_cost_last_day_dollars",
)


def watch(
    config: AuditConfig,
    log: MongoLog,
    console: Console,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Draw until Ctrl-C, which ends it like any other end.

    While the database does not answer, that is shown, with what was known last. Raises
    StoreUnavailable where it does not answer at the start.
    """
    from rich.live import Live

    from affidavit.monitor.configured import looker_of

    looker = looker_of(config, log)
    readings: deque[Readings] = deque(maxlen=_READINGS)
    readings.append(answered(looker.take()))
    name = looker.store.log
    try:
        with Live(
            _screen(readings, name), console=console, auto_refresh=False, screen=True
        ) as live:
            while True:
                sleep(EVERY_S)
                newest = looker.take()
                if newest.answered:
                    readings.append(newest)
                live.update(_screen(readings, name, away=not newest.answered), refresh=True)
    except KeyboardInterrupt:
        return


def _screen(readings: deque[Readings], log: str, *, away: bool = False) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from affidavit.cli._text import escape
    from affidavit.monitor.metrics import METRICS
    from affidavit.monitor.reading import Unknown
    from affidavit.monitor.sample import sample

    now = readings[-1]
    made = sample(readings[0] if len(readings) > 1 else None, now)
    values = Table(box=None, pad_edge=False, show_header=False)
    for name in _SHOWN:
        why = made.why(name) or made.notes.get(name, "")
        values.add_row(Text(name), Text(value(made.one(name), METRICS[name].unit)), Text(why))
    writers = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("writer", "service", "host", "state", "seen", "stored", "spooled", "lost"):
        writers.add_column(column, no_wrap=True)
    if not isinstance(now.heartbeats, Unknown):
        for beat in sorted(now.heartbeats, key=lambda each: each.newest["at"], reverse=True):
            newest = beat.newest
            counters = newest.get("counters", {})
            age_s = max(0.0, (now.at - newest["at"]).total_seconds())
            cells = (
                newest.get("writer"),
                newest.get("service") or newest.get("program"),
                newest.get("host"),
                *(newest.get("state"), f"{age_s:.0f} s ago"),
                *(counters.get(name, 0) for name in ("stored", "spooled", "lost")),
            )
            writers.add_row(*(Text(escape(str("-" if c is None else c))) for c in cells))
    head = f"{escape(log)}  {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  (Ctrl-C ends this)"
    known = f"The database does not answer. What was known at {now.at:%H:%M:%S} UTC:"
    return Group(Text(head, style="bold"), Text(known if away else ""), values, Text(""), writers)
