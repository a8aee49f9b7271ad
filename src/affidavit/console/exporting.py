"""Exports: what a search finds, as a file with a manifest, made in the background.

Work and its progress are those of :mod:`affidavit.console.jobs`: every process of the service sees
them, and says of one whose process is gone that it was cut off. The file lies on the host that made
it, for a day, readable by the service's user only.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal
from uuid import uuid4

from affidavit.analytics.answers import FORMULA
from affidavit.console.api.paging import read_filter
from affidavit.console.api.problems import Problem, busy, not_found
from affidavit.console.api.writing import encode
from affidavit.console.visitor import Scope, Visitor
from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from affidavit.console.backend import Backend
    from affidavit.console.jobs import Job, Jobs, Tell, Work
    from affidavit.event import Document
    from affidavit.store.questions import Page

Format = Literal["jsonl", "csv"]
Where = Literal["here", "elsewhere", "gone"]
"""Of an export's file: with this instance, with the one that made it, or nowhere any more."""

KIND: Final = "export"
KEPT_S: Final = 24 * 3600.0
PAGE: Final = 500
MOST_ROWS: Final = 1_000_000
"""Rows of one export; where there are more, the manifest says so, with where to go on."""

_FORMAT: Final = "affidavit calls v1"
_MEDIA: Final[Mapping[str, str]] = {".jsonl": "application/x-ndjson", ".csv": "text/csv"}
_COLUMNS: Final = (
    *("timestamp", "call_id", "_id", "event_type", "status", "user_id", "department", "tenant"),
    *("environment", "service", "session_id", "conversation_id", "provider", "model"),
    *("error_type", "finish_reason", "input_tokens", "output_tokens", "cached_tokens"),
    *("response_data.tokens_used", "response_data.cost_usd"),
    *("response_data.processing_time_ms", "cost_status"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be exported."""

    given: Mapping[str, str]
    """Parameters of a search, as :func:`affidavit.console.api.paging.read_filter` takes them."""
    format: Format = "jsonl"
    reason: str | None = None
    """Why content is read; None: metadata only."""


def begin(backend: Backend, jobs: Jobs, visitor: Visitor, wanted: Wanted) -> Job:
    """Note who exports what, and begin. Raises Problem, ConfigError, StoreError.

    Where no end of the time is given it ends now, so that the file is of one moment.
    """
    given = dict(wanted.given)
    given.setdefault("until", datetime.now(UTC).isoformat())
    asked = Wanted(given, wanted.format, wanted.reason)
    told: dict[str, Any] = {
        "filter": [[name, value] for name, value in given.items()],
        "format": wanted.format,
        "content": wanted.reason is not None,
        "scope": visitor.scope.as_document(),
        "host": socket.gethostname(),
        "instance": backend.address,
        "place": _mark(backend),
    }
    noted = read_filter(given, visitor.scope).as_details() | {"format": wanted.format}
    if wanted.reason is not None:
        noted |= {"content": True, "reason": wanted.reason}
    backend.note(visitor, "export", noted, None)
    try:
        return jobs.begin(
            KIND, (visitor.name, visitor.account), told, _work(backend, visitor, asked)
        )
    except ConfigError as error:
        msg = "An export is being made here already. Try again when it is done."
        raise busy(msg, 10) from error


def again(backend: Backend, jobs: Jobs, visitor: Visitor, job: Job, reason: str | None) -> Job:
    """Make an export once more, here, of the same filter and time, as this visitor sees it.

    ``reason`` is that of this visitor, where it has content. Raises as :func:`begin`.
    """
    kind: Format = "csv" if job.wanted.get("format") == "csv" else "jsonl"
    return begin(backend, jobs, visitor, Wanted(dict(job.wanted.get("filter", ())), kind, reason))


def listed(backend: Backend, jobs: Jobs, visitor: Visitor) -> list[dict[str, Any]]:
    """Give the exports of what a visitor may see, newest first. Raises StoreError."""
    return [
        {**shown(backend, job), "may_cancel": job.may_be_ended_by(visitor)}
        for job in jobs.newest(KIND)
        if _may_see(visitor, job)
    ]


def found(jobs: Jobs, visitor: Visitor, name: str) -> Job:
    """Give one. Raises Problem where there is none for this visitor; StoreError."""
    job = jobs.find(KIND, name)
    if job is None or not _may_see(visitor, job):
        raise not_found("There is no export of that name here.")
    return job


def cancel(jobs: Jobs, visitor: Visitor, name: str) -> None:
    """Ask that one ends. Raises Problem for whoever may not; StoreError."""
    job = found(jobs, visitor, name)
    if not job.may_be_ended_by(visitor):
        detail = f"{job.by} began it. Ask them, or an auditor without limits, to end it."
        raise Problem(403, "Not allowed", detail)
    jobs.cancel(KIND, job.name)


def shown(backend: Backend, job: Job) -> dict[str, Any]:
    """Give an export as plain values; ``file`` says where its file is once it is done."""
    result = job.result or {}
    return {
        "name": job.name,
        "state": job.state.replace(" ", "_"),
        "by": job.by,
        "made_at": job.made_at,
        "ended_at": job.ended_at,
        "rows": result.get("rows", job.done),
        "bytes": result.get("bytes"),
        "sha256": result.get("sha256"),
        "complete": result.get("complete"),
        "error": job.error,
        "format": job.wanted.get("format"),
        "content": job.wanted.get("content"),
        "filter": dict(job.wanted.get("filter", ())),
        "host": job.wanted.get("host"),
        "instance": job.wanted.get("instance"),
        "file": _where(backend, job),
    }


def _where(backend: Backend, job: Job) -> Where | None:
    """Tell where the file of an export is; None before it is done."""
    if job.state != "done" or job.result is None:
        return None
    if _path(backend, job, "data").is_file():
        return "here"
    ended = job.ended_at or job.made_at
    if job.wanted.get("place") == _mark(backend):
        return "gone"
    return "gone" if (datetime.now(UTC) - ended).total_seconds() > KEPT_S else "elsewhere"


def _path(backend: Backend, job: Job, what: Literal["manifest", "data"]) -> Path:
    result = job.result or {}
    folder = _place(backend) / Path(str(result["folder"])).name
    return folder / ("manifest.json" if what == "manifest" else Path(str(result["file"])).name)


def file(backend: Backend, visitor: Visitor, job: Job, what: Literal["manifest", "data"]) -> Path:
    """Give the place of a finished export's file. A reading of data is noted before.

    Raises Problem where there is none, or it lies elsewhere; StoreError.
    """
    result = job.result
    if job.state != "done" or result is None:
        raise Problem(409, "Not done", f"The export is {job.state}, so there is no file.")
    if what == "data" and job.wanted.get("content") and not job.is_of(visitor):
        detail = (
            f"It holds requests and answers, for the reason that {job.by} gave. "
            "Export them yourself, with your reason."
        )
        raise Problem(403, "Not allowed", detail)
    path = _path(backend, job, what)
    if not path.is_file() and _where(backend, job) == "gone":
        detail = "The file is gone: files are kept for a day. Export it again."
        raise Problem(409, "Gone", detail)
    if not path.is_file():
        host, by = str(job.wanted.get("host")), str(job.wanted.get("instance") or "an instance")
        detail = (
            f"The file was made by {by} on {host}, and is kept there for a day. Fetch it there, "
            "or export it again here."
        )
        raise Problem(409, "Elsewhere", detail, more={"host": host})
    if what == "data":
        backend.note(visitor, "export download", {"export": job.name}, result.get("rows"))
    return path


def media_type(path: Path) -> str:
    """Tell the media type of a file of an export."""
    return _MEDIA.get(path.suffix, "application/json")


# -- the work --------------------------------------------------------------------------------------


def _work(backend: Backend, visitor: Visitor, wanted: Wanted) -> Work:
    def work(tell: Tell) -> Mapping[str, Any]:
        _clear(_place(backend))
        folder = _place(backend) / uuid4().hex
        folder.mkdir(mode=0o700)
        try:
            return _write(backend, visitor, wanted, folder, tell)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    return work


def _write(
    backend: Backend, visitor: Visitor, wanted: Wanted, folder: Path, tell: Tell
) -> dict[str, Any]:
    path = folder / f"calls.{wanted.format}"
    rows, size, digest = 0, 0, sha256()
    cut: str | None = None
    with _private(path) as out:
        for page in _pages(backend, visitor, wanted):
            for line in _lines(page.rows, wanted.format, first=rows == 0):
                out.write(line)
                digest.update(line)
                size += len(line)
            rows += len(page.rows)
            tell("calls", rows, 0)
            if rows >= MOST_ROWS and page.next is not None:
                cut = page.next
                break
    told = {"rows": rows, "bytes": size, "sha256": digest.hexdigest()}
    manifest = {
        "format": _FORMAT,
        "log": backend.log.dataset,
        "made": datetime.now(UTC),
        "by": visitor.name,
        "filter": read_filter(wanted.given, visitor.scope).as_details(),
        "content": wanted.reason is not None,
        "complete": cut is None,
        "next": cut,
        "files": {path.name: told},
    }
    with _private(folder / "manifest.json") as out:
        out.write(encode(manifest) + b"\n")
    return {"folder": folder.name, "file": path.name, "complete": cut is None, **told}


def _pages(backend: Backend, visitor: Visitor, wanted: Wanted) -> Iterator[Page]:
    filter_ = read_filter(wanted.given, visitor.scope)
    content, cursor = wanted.reason is not None, None
    while True:
        page = backend.log.reader.search(filter_, PAGE, cursor, content=content)
        yield page
        cursor = page.next
        if cursor is None:
            return


def _lines(rows: tuple[Document, ...], format_: str, *, first: bool) -> Iterator[bytes]:
    if format_ == "jsonl":
        yield from (encode(row) + b"\n" for row in rows)
        return
    out = io.StringIO()
    written = csv.writer(out)
    if first:
        written.writerow(_COLUMNS)
    written.writerows([_cell(_at(row, place)) for place in _COLUMNS] for row in rows)
    yield out.getvalue().encode()


def _at(row: Mapping[str, Any], place: str) -> Any:
    value: Any = row
    for name in place.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _cell(value: Any) -> Any:
    """Write a value so that no spreadsheet takes it for a formula."""
    if value is None:
        return ""
    if isinstance(value, str):
        printable = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in value)
        return f"'{printable}" if value.startswith(FORMULA) else printable
    plain = json.loads(encode(value))
    return plain if isinstance(plain, str | int | float) else json.dumps(plain)


# -- files -----------------------------------------------------------------------------------------


def _place(backend: Backend) -> Path:
    folder = backend.state_dir / "exports"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _mark(backend: Backend) -> str:
    """Tell the folder of one host from that of another without naming it."""
    return sha256(f"{socket.gethostname()}\n{_place(backend).resolve()}".encode()).hexdigest()[:16]


def _clear(place: Path) -> None:
    """Remove the files of exports that are older than a day."""
    for folder in place.iterdir():
        if time.time() - folder.stat().st_mtime > KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)


def _private(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _may_see(visitor: Visitor, job: Job) -> bool:
    """Whether an export shows nothing that a visitor may not see."""
    return visitor.scope.covers(Scope.read(job.wanted.get("scope") or {}))
