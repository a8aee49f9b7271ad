"""Monthly reports of the service: made by the clock or on demand, kept, and handed out.

A few hours after a month has ended, one of the instances makes its report: they take turns by a
lease, and a month's report has a name that only one of them can give it. What was made is kept as
it was, signed where the log's key is on the host that made it, so that each instance hands out the
same bytes; records that arrive later are in a report that somebody makes anew, beside the first.
"""

from __future__ import annotations

import dataclasses
import io
import secrets
import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from starlette.responses import Response

from affidavit.analytics.month import month_of
from affidavit.analytics.questions import month_span
from affidavit.anchors.configured import anchors_of
from affidavit.anchors.health import look, words
from affidavit.console.api.problems import not_found
from affidavit.console.doors import Refusal
from affidavit.errors import ConfigError, StoreRefused
from affidavit.evidence.monthly import FORMS, Written, handed_over, written
from affidavit.evidence.report import integrity_of
from affidavit.store.questions import SearchFilter

if TYPE_CHECKING:
    from affidavit.analytics.report import Table
    from affidavit.config import AuditConfig
    from affidavit.console.backend import Backend
    from affidavit.console.jobs import Job, Tell, Work
    from affidavit.console.visitor import Visitor
    from affidavit.event import Document
    from affidavit.store.mongo.log import MongoLog
    from affidavit.store.serving import ServiceStore

KIND: Final = "report"
_BODY: Final = "report body"
"""What a report says and its files lie apart, so that a list does not read them."""

JOB: Final = "report being made"
KEPT: Final = timedelta(days=730)
GRACE: Final = timedelta(hours=6)
"""After a month's end, for what waits in spools."""

LISTED: Final = 60
_TOLD: Final = ("month", "by", "signed", "whole", "timezone", "origin", "bytes")
CLOCK: Final = "the service, by the clock"
_LEASE: Final = "monthly report"
_LEASE_S: Final = 1800.0


def make_due(
    log: MongoLog, config: AuditConfig, service: ServiceStore, holder: str, now: datetime
) -> str | None:
    """Make the report of the month that ended, unless there is one; gives its name.

    None too where another instance makes it, and where the log had no record by then. ``holder``
    names this process. Raises StoreError and ConfigError.
    """
    month = month_of("last", log.reporting_timezone, now - GRACE)
    if service.get(KIND, month) is not None or not _had_records(log, month):
        return None
    if not service.take(_LEASE, holder, _LEASE_S):
        return None
    try:
        by = {"visitor": CLOCK, "how": "schedule"}
        keep(service, month, made(log, config, month, by, now))
    finally:
        service.release(_LEASE, holder)
    return month


def made(
    log: MongoLog, config: AuditConfig, month: str, by: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """Make a month's report, as it is kept. Noted in the ledger before; StoreError, ConfigError."""
    log.note_access("report", {"month": month, "format": "all", "verify": False}, None, by)
    states = look(log.seals, anchors_of(config), config.anchor_every_s, now)
    anchors = tuple(f"{each.anchor}: {words(each)}" for each in states)
    proofs = integrity_of(log.seals, now, anchors, config.seal_vkey)
    report = written(log, config, month, list(FORMS), proofs, now)
    packed = handed_over(log, config, report)
    return {
        "month": month,
        "by": by["visitor"],
        "signed": packed.signed,
        "whole": report.report.whole,
        "timezone": report.report.timezone,
        "origin": report.report.origin,
        "sections": _sections(report),
        "files": dict(packed.files),
        "bytes": sum(map(len, packed.files.values())),
    }


def whole_log_only(
    visitor: Visitor,
    detail: str = "A report is of the whole log, and this token sees a part of it.",
) -> None:
    """Raise Refusal where somebody sees a part of the log only."""
    if not visitor.scope.everything:
        raise Refusal(403, "Not allowed", detail)


def begin_work(backend: Backend, visitor: Visitor, month: str) -> Work:
    """Give the work of a report on demand. Raises ConfigError for a month that is none."""
    chosen = checked_month(backend.log, month, datetime.now(UTC))
    by = visitor.as_actor()

    def work(tell: Tell) -> Mapping[str, Any]:
        tell("asking", 0, 0)
        document = made(backend.log, backend.config, chosen, by, datetime.now(UTC))
        tell("keeping", 0, 0)
        name = f"{chosen}-{secrets.token_hex(4)}"
        keep(backend.service, name, document)
        return {"report": name, "month": chosen}

    return work


def read(backend: Backend, visitor: Visitor, name: str) -> Document:
    """Give a report to read. Noted in the ledger before; raises Problem and StoreError."""
    service = backend.service
    document = service.get(KIND, name)
    body = None if document is None else service.get(_BODY, str(document["body"]))
    if document is None or body is None:
        raise not_found("There is no report of that name. Reports are kept for two years.")
    backend.note(visitor, "report", {"report": name}, None)
    return {**document, "sections": body["sections"], "files": body["files"]}


def download(backend: Backend, visitor: Visitor, name: str) -> Response:
    """Give a report's files. Noted in the ledger before; raises Problem and StoreError."""
    document = read(backend, visitor, name)
    headers = {
        "Content-Disposition": f'attachment; filename="affidavit-report-{document["name"]}.zip"',
        "Cache-Control": "private, no-store",
    }
    return Response(as_zip(document), 200, headers, "application/zip")


def checked_month(log: MongoLog, month: str, now: datetime) -> str:
    """Read a month that can have a report. Raises ConfigError for others, and StoreError."""
    chosen = month_of(month, log.reporting_timezone, now)
    if month_span(chosen, ZoneInfo(log.reporting_timezone)).since > now:
        msg = f"{chosen} has not begun. Write this, last, or a month that has, as 2026-11."
        raise ConfigError(msg)
    if not _had_records(log, chosen):
        msg = f"The log has no record from before the end of {chosen}, so there is no report of it."
        raise ConfigError(msg)
    return chosen


def listed(backend: Backend) -> list[dict[str, Any]]:
    """List the reports there are, newest first, without their texts. Raises StoreError."""
    return [shown(document) for document in backend.service.all(KIND, limit=LISTED)]


def shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a report is, as plain values."""
    return {name: document.get(name) for name in ("name", "made_at", *_TOLD)}


def job_shown(job: Job) -> dict[str, Any]:
    """Give the making of a report as plain values."""
    return {
        "job": job.name,
        "month": job.wanted.get("month"),
        "state": job.state.replace(" ", "_"),
        "by": job.by,
        "error": job.error,
        "report": (job.result or {}).get("report"),
    }


def as_zip(document: Mapping[str, Any]) -> bytes:
    """Pack the files of a report: those that ``affidavit report --check`` takes."""
    out = io.BytesIO()
    at = document["made_at"].astimezone(UTC)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in sorted(document["files"].items()):
            entry = zipfile.ZipInfo(f"report-{document['month']}/{name}", at.timetuple()[:6])
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
            packed.writestr(entry, bytes(data))
    return out.getvalue()


def keep(service: ServiceStore, name: str, document: Mapping[str, Any]) -> None:
    """Keep what it says, then what it is: one that is listed can be read."""
    until, body = datetime.now(UTC) + KEPT, secrets.token_hex(16)
    parts = {part: document[part] for part in ("sections", "files")}
    service.put(_BODY, body, parts, until)
    told = {part: document[part] for part in _TOLD}
    if not service.add(KIND, name, {**told, "body": body}, until):
        service.remove(_BODY, body)
        msg = f"There is a report {name} already: another process was quicker."
        raise StoreRefused(msg)


def _had_records(log: MongoLog, month: str) -> bool:
    until = month_span(month, ZoneInfo(log.reporting_timezone)).until
    return bool(log.reader.search(SearchFilter(until=until), 1).rows)


def _sections(report: Written) -> Sequence[Mapping[str, Any]]:
    return [
        {
            "title": section.title,
            "lines": list(section.lines),
            "tables": [_table(table) for table in section.tables],
        }
        for section in report.report.sections
    ]


def _table(table: Table) -> dict[str, Any]:
    told = dataclasses.asdict(table)
    rows = [list(row) for row in table.rows]
    return told | {"columns": list(table.columns), "rows": rows, "numbers": sorted(table.numbers)}
