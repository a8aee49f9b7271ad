"""The auditor's room: the log's key and checkpoints, verifying, losses, readings, evidence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from starlette.datastructures import UploadFile

from affidavit.anchors.configured import anchors_of
from affidavit.anchors.health import look as look_at_anchors
from affidavit.console import evidencing
from affidavit.console.api import problems
from affidavit.console.doors import Allowed, Refusal
from affidavit.console.forms import form_of
from affidavit.console.jobs import Job, jobs_of
from affidavit.console.pages.call import reason_problem
from affidavit.console.ranges import read_range
from affidavit.console.render import render, wants_partial, words_of
from affidavit.console.roles import Right, may
from affidavit.console.seeing import records_of
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor
from affidavit.errors import AffidavitError, ConfigError, StoreUnavailable
from affidavit.integrity.checkpoint import open_checkpoint
from affidavit.integrity.errors import IntegrityError
from affidavit.integrity.note import VerifierKey
from affidavit.integrity.verify import Scope as Part
from affidavit.sealer.health import look as look_at_sealing
from affidavit.store import audit_of
from affidavit.store.auditing import ReadingsWanted

if TYPE_CHECKING:
    from affidavit.console.backend import Backend
    from affidavit.store.questions import LogStatus
    from affidavit.store.sealing import SealStore

router = APIRouter(include_in_schema=False)

VIEWS: Final = ("log", "verify", "losses", "readings", "evidence")
_SHOWN: Final = 50
_LONGEST: Final = 500
_CHOSEN: Final = ("who", "command", "text")
_SAMPLES: Final = {"": None, "1000": 1000, "10000": 10_000}


@router.get("/integrity")
async def page(request: Request, visitor: Visitor = Allowed(Right.INTEGRITY)) -> Response:
    """Show one view of the room."""
    return await _page(request, visitor)


async def _page(
    request: Request, visitor: Visitor, status_code: int = 200, view: str = "", **more: Any
) -> Response:
    backend = cast("Backend", request.app.state.backend)
    wanted = view or request.query_params.get("view", "")
    chosen = wanted if wanted in VIEWS else "log"
    found = await run(_SHOWS[chosen], request, backend, visitor)
    known = {"typed": {}, "wrong": None, "range": None, **found, **more}
    return render(
        request,
        "integrity.html",
        visitor=visitor,
        status_code=status_code,
        view=chosen,
        views=VIEWS,
        **known,
    )


class _Parts:
    """Gathers what a page shows; a part that cannot be had is said, and the rest goes on."""

    def __init__(self) -> None:
        self.missing: list[str] = []
        self._away = False

    def get(self, ask: Callable[[], Any], otherwise: Any = None) -> Any:
        """Ask; what is withheld or away is noted once, and one that is away is asked no more."""
        if self._away:
            return otherwise
        try:
            return ask()
        except (AffidavitError, IntegrityError) as error:
            self._away = isinstance(error, StoreUnavailable)
            if str(error) not in self.missing:
                self.missing.append(str(error))
            return otherwise


# -- what is shown ---------------------------------------------------------------------------------


def _log(request: Request, backend: Backend, visitor: Visitor) -> dict[str, Any]:
    """Ask for the log's identity, its newest checkpoint, who seals, and the anchors."""
    del request, visitor
    parts, now, config = _Parts(), datetime.now(UTC), backend.config
    seals = parts.get(partial(_seals, backend))
    if seals is None:
        empty = dict.fromkeys(("identity", "health", "last", "checkpoint"))
        return {**empty, "anchors": [], "pinned": config.seal_vkey, "missing": parts.missing}
    last = parts.get(seals.last_seal)
    return {
        "identity": parts.get(seals.identity),
        "health": parts.get(lambda: look_at_sealing(seals, now, config.seal_vkey)),
        "last": last,
        "checkpoint": parts.get(lambda: _opened(last)),
        "anchors": parts.get(
            lambda: look_at_anchors(seals, anchors_of(config), config.anchor_every_s, now), []
        ),
        "pinned": config.seal_vkey,
        "missing": parts.missing,
    }


def _seals(backend: Backend) -> SealStore:
    """Give the log's own collections; at first it is looked whether the database answers."""
    return backend.log.seals


def _status(backend: Backend) -> LogStatus:
    return backend.log.reader.status()


def _opened(last: dict[str, Any] | None) -> Any:
    """Open the newest checkpoint by the key that its seal names."""
    if last is None:
        return None
    try:
        return open_checkpoint(last["cp"], VerifierKey.parse(last["vkey"])).checkpoint
    except (KeyError, TypeError) as error:
        msg = "The newest seal is damaged: it lacks a checkpoint. Verify the log."
        raise ConfigError(msg) from error


def _verify(request: Request, backend: Backend, visitor: Visitor) -> dict[str, Any]:
    """List the verifications, and show one of them."""
    del visitor
    parts, jobs = _Parts(), jobs_of(request)
    found = parts.get(lambda: jobs.newest(evidencing.VERIFICATION), [])
    name = request.query_params.get("job")
    shown = next((job for job in found if job.name == name), None)
    if name and shown is None:
        shown = parts.get(lambda: jobs.find(evidencing.VERIFICATION, name[:_LONGEST]))
    now, vkey = datetime.now(UTC), backend.config.seal_vkey
    health = (
        None if shown is None else parts.get(lambda: look_at_sealing(_seals(backend), now, vkey))
    )
    return {
        "jobs": found,
        "job": shown,
        "page_level": None if health is None else health.level,
        "pinned": vkey,
        "missing": parts.missing,
    }


def _losses(request: Request, backend: Backend, visitor: Visitor) -> dict[str, Any]:
    """Ask what was lost or never came, and what happened to the log."""
    del visitor
    parts, span = _Parts(), read_range(request.query_params, "30d")
    noted = parts.get(lambda: audit_of(backend.log).noted(span.since, span.until), [])
    gaps = parts.get(lambda: audit_of(backend.log).gaps(span.since, span.until), [])
    totals = parts.get(partial(_status, backend))
    return {
        "range": span,
        "noted": noted,
        "gaps": gaps,
        "lost": sum(each.lost for each in noted),
        "never": sum(each.count for each in gaps),
        "now_lost": None if totals is None else totals.totals.get("lost", 0),
        "missing": parts.missing,
    }


def _readings(request: Request, backend: Backend, visitor: Visitor) -> dict[str, Any]:
    """Ask who has read what. Whoever may not see every department sees their own readings."""
    parts, query = _Parts(), request.query_params
    span = read_range(query, "30d")
    typed = {name: text for name in _CHOSEN if (text := query.get(name, "")[:_LONGEST].strip())}
    wanted = ReadingsWanted(
        span.since, span.until, typed.get("who"), typed.get("command"), typed.get("text")
    )
    if not visitor.scope.everything:
        wanted = replace(wanted, who=None, by=visitor.ids)
    cursor = query.get("cursor") or None
    found = parts.get(lambda: audit_of(backend.log).readings(wanted, _SHOWN, cursor))
    if found is not None:
        asked = {"since": span.since, "until": span.until, **typed}
        if parts.get(lambda: _noted(backend, visitor, asked, len(found.rows)), False) is False:
            found = None
    more = None
    if found is not None and found.next:
        more = "/integrity?" + urlencode(
            {"view": "readings", **typed, **span.query, "cursor": found.next}
        )
    first = "/integrity?" + urlencode({"view": "readings", **typed, **span.query})
    return {
        "range": span,
        "found": found,
        "next": more,
        "first": first if cursor else None,
        "typed": typed,
        "own_only": not visitor.scope.everything,
        "said": _said,
        "missing": parts.missing,
    }


def _said(value: Any) -> Any:
    """Write what somebody looked for as people read it; a time stays one."""
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value[:_SHOWN])[:_LONGEST]
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())[:_LONGEST]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, datetime) else str(value)[:_LONGEST]


def _noted(backend: Backend, visitor: Visitor, asked: dict[str, Any], count: int) -> bool:
    backend.note(visitor, "who read what", asked, count)
    return True


def _evidence(request: Request, backend: Backend, visitor: Visitor) -> dict[str, Any]:
    """List what was packed, and say how evidence is checked elsewhere."""
    del visitor
    parts, jobs = _Parts(), jobs_of(request)
    found = parts.get(lambda: jobs.newest(evidencing.PACKAGE, 10), [])
    identity = parts.get(lambda: _seals(backend).identity())
    here = {job.name for job in found if _file_of(backend, job) is not None}
    return {
        "jobs": found,
        "here": here,
        "identity": identity,
        "has_verifier": evidencing.verifier() is not None,
        "call_id": request.query_params.get("call_id", "")[:_LONGEST],
        "missing": parts.missing,
    }


def _file_of(backend: Backend, job: Job) -> Any:
    if job.state != "done" or job.result is None:
        return None
    return evidencing.packed(backend, str(job.result.get("file", "")))


_SHOWS: Final[dict[str, Callable[[Request, Any, Visitor], dict[str, Any]]]] = {
    "log": _log,
    "verify": _verify,
    "losses": _losses,
    "readings": _readings,
    "evidence": _evidence,
}


# -- verifying -------------------------------------------------------------------------------------


@router.post("/integrity/verify")
async def begin(request: Request, visitor: Visitor = Allowed(Right.INTEGRITY)) -> Response:
    """Begin a verification, against a checkpoint that was saved elsewhere if one is given."""
    backend = cast("Backend", request.app.state.backend)
    typed: dict[str, str] = {}
    try:
        async with request.form(max_files=1, max_fields=20) as form:
            typed = {
                name: value[: evidencing.LARGEST_CHECKPOINT].strip()
                for name, value in form.multi_items()
                if isinstance(value, str)
            }
            saved = await _saved(form.get("checkpoint"), typed.get("pasted", ""))
        trust = evidencing.trust_of(backend, saved, typed.get("vkey"))
        sample = _SAMPLES.get(typed.get("sample", ""))
        if typed.get("part") == "after" and trust.saved is None:
            raise ConfigError(words_of(request)("integrity.verify.needs_saved"))
        part = Part(sample=sample, from_saved=typed.get("part") == "after")
        wanted = {
            "saved_size": None if trust.saved is None else trust.saved.size,
            "key": "given" if typed.get("vkey") else "configured" if trust.key else "of the log",
            "sample": sample,
            "after_saved": part.from_saved,
        }
        await run(backend.note, visitor, "verify", wanted, None)
        vkey = typed.get("vkey")
        work = evidencing.verification(
            backend, visitor, lambda: evidencing.trust_of(backend, saved, vkey), part
        )
        by = (visitor.name, visitor.account)
        job = await run(jobs_of(request).begin, evidencing.VERIFICATION, by, wanted, work)
    except (AffidavitError, IntegrityError) as error:
        more = {"typed": typed, "wrong": str(error)}
        return await _page(request, visitor, 400, "verify", **more)
    return RedirectResponse(f"/integrity?view=verify&job={job.name}", 303)


async def _saved(given: object, pasted: str) -> str | None:
    """Read the checkpoint that was uploaded, or pasted. Raises ConfigError."""
    if isinstance(given, UploadFile) and given.filename:
        data = await given.read(evidencing.LARGEST_CHECKPOINT + 1)
        if len(data) > evidencing.LARGEST_CHECKPOINT:
            msg = "The file is larger than any checkpoint. Choose the file that was saved."
            raise ConfigError(msg)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            msg = "The file is no text, so it is no checkpoint. Choose the file that was saved."
            raise ConfigError(msg) from error
    if not pasted:
        return None
    lines = pasted.replace("\r\n", "\n")  # as browsers send what was pasted
    return lines if lines.endswith("\n") else f"{lines}\n"


@router.get("/integrity/verify/{name}")
async def progress(
    request: Request, name: str, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """Show how far one verification is: the part of the page that asks again by itself."""
    job = await _job(request, evidencing.VERIFICATION, name)
    whole = f"/integrity?view=verify&job={job.name}"
    if not wants_partial(request):
        return RedirectResponse(whole, 303)
    # At its end the whole page changes: the list of verifications has one more.
    ended = {} if job.state == "running" else {"HX-Redirect": whole}
    return render(request, "_integrity_job.html", visitor=visitor, headers=ended, job=job)


@router.get("/integrity/verify/{name}/result.json")
async def result(
    request: Request, name: str, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """Give what a verification found as JSON, as `affidavit verify --json` prints it."""
    del visitor
    job = await _job(request, evidencing.VERIFICATION, name)
    if job.result is None:
        raise problems.not_found("This verification has no result.")
    told = {"by": job.by, "began_at": job.made_at, "ended_at": job.ended_at, **job.result}
    return _attached(json.dumps(told, indent=2, default=str), f"verification-{job.name}.json")


@router.post("/integrity/verify/{name}/cancel")
async def cancel(
    request: Request, name: str, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """End a verification before it is done: whoever began it, or who sees the whole log."""
    job = await _job(request, evidencing.VERIFICATION, name)
    if not job.may_be_ended_by(visitor):
        raise Refusal(403, "Not allowed", words_of(request)("integrity.not_yours", by=job.by))
    await run(jobs_of(request).cancel, evidencing.VERIFICATION, job.name)
    return RedirectResponse(f"/integrity?view=verify&job={job.name}", 303)


async def _job(request: Request, kind: str, name: str) -> Job:
    try:
        job = await run(jobs_of(request).find, kind, name[:_LONGEST])
    except AffidavitError as error:
        raise problems.refusal_of(error) from error
    if job is None:
        raise problems.not_found("There is no such work, or it was too long ago.")
    return job


# -- evidence --------------------------------------------------------------------------------------


@router.get("/integrity/checkpoint")
async def checkpoint(request: Request, visitor: Visitor = Allowed(Right.INTEGRITY)) -> Response:
    """Give the newest signed checkpoint, to be kept outside."""
    del visitor
    backend = cast("Backend", request.app.state.backend)
    try:
        last = await run(lambda: _seals(backend).last_seal())
    except AffidavitError as error:
        raise problems.refusal_of(error) from error
    if last is None:
        raise problems.not_found("This log has no checkpoint yet. Seal it: `affidavit seal`.")
    return _attached(str(last["cp"]), f"log-{last['size']}.checkpoint", "text/plain; charset=utf-8")


@router.get("/integrity/verifier")
async def verifier(visitor: Visitor = Allowed(Right.INTEGRITY)) -> Response:
    """Give the small verifier, to check evidence without this program."""
    del visitor
    text = await run(evidencing.verifier)
    if text is None:
        raise problems.not_found("This installation lacks it; the sources have it in verifier/.")
    return _attached(text, "affidavit_verify.py", "text/x-python; charset=utf-8")


@router.post("/integrity/bundle")
async def bundle(request: Request, visitor: Visitor = Allowed(Right.EXPORT)) -> Response:
    """Give the evidence of one call, with its content: noted with the reason before."""
    backend = cast("Backend", request.app.state.backend)
    typed = {name: text[:_LONGEST].strip() for name, text in (await form_of(request)).items()}
    call_id, reason = typed.get("call_id", ""), typed.get("reason", "")
    t = words_of(request)
    if not may(visitor.role, Right.CONTENT):
        raise Refusal(403, "Not allowed", "Evidence of a call holds what was said in it.")
    wrong = None
    if not call_id or not reason:
        wrong = t("integrity.evidence.needs")
    elif problem := reason_problem(reason):
        wrong = t(f"reason.{problem}")
    else:
        try:
            data = await run(_bundle, backend, visitor, call_id, reason)
            if data is not None:
                name = call_id if call_id.isascii() and call_id.isalnum() else "call"
                return _attached(data, f"evidence-{name}.zip", "application/zip")
            wrong = t("integrity.evidence.no_call")
        except (AffidavitError, IntegrityError) as error:
            wrong = str(error)
    return await _page(request, visitor, 400, "evidence", typed=typed, wrong=wrong)


def _bundle(backend: Backend, visitor: Visitor, call_id: str, reason: str) -> bytes | None:
    seals = backend.log.seals
    records = records_of(seals, call_id, visitor.scope)
    told = [doc for _, doc in records if doc.get("event_type") in {"llm_request", "llm_response"}]
    if not told:
        return None
    backend.note(visitor, "prove", {"call_id": call_id, "reason": reason}, len(records))
    return evidencing.bundle(seals, call_id, records, evidencing.packages(backend))


@router.post("/integrity/package")
async def package(request: Request, visitor: Visitor = Allowed(Right.EXPORT)) -> Response:
    """Begin to pack the whole log, for somebody who verifies it elsewhere."""
    backend = cast("Backend", request.app.state.backend)
    typed = {name: text[:_LONGEST].strip() for name, text in (await form_of(request)).items()}
    t, wrong = words_of(request), None
    if not may(visitor.role, Right.CONTENT) or not visitor.scope.everything:
        raise Refusal(403, "Not allowed", t("integrity.evidence.everything"))
    if not typed.get("reason"):
        wrong = t("integrity.evidence.needs_reason")
    elif problem := reason_problem(typed["reason"]):
        wrong = t(f"reason.{problem}")
    else:
        try:
            wanted = {"reason": typed["reason"]}
            await run(backend.note, visitor, "export", wanted, None)
            by = (visitor.name, visitor.account)
            work = evidencing.package(backend)
            await run(jobs_of(request).begin, evidencing.PACKAGE, by, wanted, work)
        except AffidavitError as error:
            wrong = str(error)
    if wrong is not None:
        return await _page(request, visitor, 400, "evidence", typed=typed, wrong=wrong)
    return RedirectResponse("/integrity?view=evidence#packages", 303)


@router.get("/integrity/package/{name}")
async def packed(request: Request, name: str, visitor: Visitor = Allowed(Right.EXPORT)) -> Response:
    """Give a package that is ready."""
    backend = cast("Backend", request.app.state.backend)
    if not may(visitor.role, Right.CONTENT) or not visitor.scope.everything:
        raise Refusal(403, "Not allowed", words_of(request)("integrity.evidence.everything"))
    job = await _job(request, evidencing.PACKAGE, name)
    if not job.is_of(visitor):
        detail = f"It was packed for the reason that {job.by} gave. Pack it yourself, with yours."
        raise Refusal(403, "Not allowed", detail)
    path = _file_of(backend, job)
    if path is None:
        raise problems.not_found("It is not here: it is older than a day, or on another host.")
    await run(backend.note, visitor, "export download", {"job": job.name}, None)
    headers = {"Cache-Control": "private, no-store"}
    return FileResponse(path, 200, headers, "application/zip", filename="affidavit-export.zip")


def _attached(data: str | bytes, name: str, kind: str = "application/json") -> Response:
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "private, no-store",
    }
    return Response(data, 200, headers, kind)
