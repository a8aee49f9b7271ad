"""One call: what is known of it, its content to whoever says why, and the proof of it.

Content is read by a request that changes something (a POST with a reason and the form's token), and
only once the reading stands in the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from affidavit.console import reasons
from affidavit.console.conversation import conversation
from affidavit.console.doors import Allowed, Refusal
from affidavit.console.filtering import Narrowed, read_narrowed
from affidavit.console.forms import form_of
from affidavit.console.glance import Glance, glance, linked
from affidavit.console.holding import CallProof, hold
from affidavit.console.render import render, words_of
from affidavit.console.roles import Right
from affidavit.console.rows import Row, row
from affidavit.console.seeing import records_of
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor
from affidavit.errors import SealError, StoreError
from affidavit.store import audit_of
from affidavit.store.auditing import ReadingsPage, ReadingsWanted
from affidavit.store.questions import CallRecords, SearchFilter

if TYPE_CHECKING:
    from affidavit.console.backend import Backend

router = APIRouter(include_in_schema=False)

_LONGEST_ID: Final = 200
_LINKED: Final = 20
_READERS: Final = 50


@router.get("/calls/{call_id}")
async def page(
    request: Request, call_id: str, visitor: Visitor = Allowed(Right.METADATA)
) -> Response:
    """Show a call without its content."""
    found = await run(look, _backend(request), visitor, call_id)
    if found is None:
        raise _missing(request)
    return _page(request, visitor, glance(found))


@router.get("/calls/{call_id}/glance")
async def panel(
    request: Request, call_id: str, visitor: Visitor = Allowed(Right.METADATA)
) -> Response:
    """Show a call in the panel beside the list whose filters the address holds."""
    asked = read_narrowed(request.query_params, visitor.scope)
    found = await run(look, _backend(request), visitor, call_id)
    return render(
        request,
        "_call_panel.html",
        visitor=visitor,
        opened=None if found is None else glance(found),
        chosen=call_id[:_LONGEST_ID],
        asked=asked,
    )


@router.post("/calls/{call_id}")
async def reveal(
    request: Request, call_id: str, visitor: Visitor = Allowed(Right.CONTENT)
) -> Response:
    """Show a call with its content, once who reads it and why stands in the ledger."""
    backend = _backend(request)
    reason = (await form_of(request)).get("reason", "")
    problem = reason_problem(reason)
    if problem is not None:
        found = await run(look, backend, visitor, call_id)
        if found is None:
            raise _missing(request)
        about = {"reason": reason, "reason_problem": problem}
        return _page(request, visitor, glance(found), status_code=400, **about)
    found = await run(read, backend, visitor, call_id, reasons.told(reason))
    if found is None:
        raise _missing(request)
    said = conversation(found)
    return _page(request, visitor, glance(found), said=said, revealed=found)


@router.get("/calls/{call_id}/proof")
async def proof(
    request: Request, call_id: str, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """Verify a call now, and show the proof."""
    made, found = await run(_proved, _backend(request), visitor, call_id)
    if found is None or made is None:
        raise _missing(request)
    shown = glance(found)
    if request.headers.get("HX-Request") == "true":
        return render(request, "_call_proof.html", visitor=visitor, proof=made, glance=shown)
    return _page(request, visitor, shown, proof=made)


@router.get("/calls/{call_id}/proof/{number}")
async def proof_file(
    request: Request, call_id: str, number: int, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """Give the proof of one record as a file that other tools read; it holds no content."""
    made, _found = await run(_proved, _backend(request), visitor, call_id)
    rows = () if made is None else made.records
    if not 1 <= number <= len(rows) or not rows[number - 1].text:
        raise _missing(request)
    name = f"{_file_name(call_id)}-{number}.tlog-proof"
    return _download(rows[number - 1].text.encode(), name, "text/plain; charset=utf-8")


@router.post("/calls/{call_id}/evidence")
async def evidence(
    request: Request, call_id: str, visitor: Visitor = Allowed(Right.EXPORT)
) -> Response:
    """Give the evidence of a call, content and proofs, as a ZIP file, to whoever says why."""
    backend = _backend(request)
    reason = (await form_of(request)).get("reason", "")
    problem = reason_problem(reason)
    if problem is None:
        try:
            packed = await run(_packed, backend, visitor, call_id, reasons.told(reason))
        except SealError as error:
            problem = str(error)
        else:
            if packed is None:
                raise _missing(request)
            return _download(packed, f"evidence-{_file_name(call_id)}.zip", "application/zip")
    found = await run(look, backend, visitor, call_id)
    if found is None:
        raise _missing(request)
    about = {"evidence_reason": reason, "evidence_problem": problem}
    return _page(request, visitor, glance(found), status_code=400, **about)


@router.get("/calls/{call_id}/readers")
async def readers(
    request: Request, call_id: str, visitor: Visitor = Allowed(Right.INTEGRITY)
) -> Response:
    """List who has read of a call, and why."""
    page, found = await run(_readers, _backend(request), visitor, call_id)
    if found is None:
        raise _missing(request)
    if request.headers.get("HX-Request") == "true":
        return render(request, "_call_readers.html", visitor=visitor, readers=page)
    return _page(request, visitor, glance(found), readers=page)


@router.get("/calls/{call_id}/linked")
async def together(
    request: Request, call_id: str, visitor: Visitor = Allowed(Right.METADATA)
) -> Response:
    """List other calls of the same conversation or session."""
    rows, found = await run(_linked, _backend(request), visitor, call_id)
    if found is None:
        raise _missing(request)
    if request.headers.get("HX-Request") == "true":
        context: dict[str, Any] = {"linked": rows, "glance": glance(found)}
        return render(request, "_call_linked.html", visitor=visitor, **context)
    return _page(request, visitor, glance(found), linked=rows)


# -- asking ----------------------------------------------------------------------------------------


def look(backend: Backend, visitor: Visitor, call_id: str) -> CallRecords | None:
    """Give a call's metadata, noted; None where there is none that this visitor may see."""
    found = backend.log.reader.call(call_id[:_LONGEST_ID], _within(visitor), content=False)
    if found is not None:
        backend.note(visitor, "console call", {"call_id": call_id}, 1)
    return found


def read(backend: Backend, visitor: Visitor, call_id: str, reason: str) -> CallRecords | None:
    """Give a call with its content; who reads it, and why, is stored before anything is given."""
    found = backend.log.reader.call(call_id[:_LONGEST_ID], _within(visitor))
    if found is None:
        return None
    count = len(found.outcomes) + len(found.annotations) + (found.intent is not None)
    backend.note(visitor, "console reveal", {"call_id": call_id, "reason": reason}, count)
    return found


def beside(backend: Backend, visitor: Visitor, call_id: str) -> Glance | None:
    """Give what the panel shows of a call; None where it cannot be had."""
    try:
        found = look(backend, visitor, call_id)
    except StoreError:
        return None  # the list says that the database does not answer
    return None if found is None else glance(found)


def reason_problem(reason: str) -> str | None:
    """Say what is wrong with a stated reason: a word below ``reason.``; None where nothing is."""
    return reasons.problem(reason)


def _proved(
    backend: Backend, visitor: Visitor, call_id: str
) -> tuple[CallProof | None, CallRecords | None]:
    found = backend.log.reader.call(call_id[:_LONGEST_ID], _within(visitor), content=False)
    if found is None:
        return None, None
    made = hold(backend.log.seals, _stored_id(found, call_id), visitor.scope)
    backend.note(visitor, "console proof", {"call_id": call_id}, len(made.records) if made else 0)
    return made, found


def _packed(backend: Backend, visitor: Visitor, call_id: str, reason: str) -> bytes | None:
    from affidavit.console.evidencing import bundle

    found = backend.log.reader.call(call_id[:_LONGEST_ID], _within(visitor), content=False)
    if found is None:
        return None
    seals, name = backend.log.seals, _stored_id(found, call_id)
    records = records_of(seals, name, visitor.scope)
    wanted = {"call_id": call_id, "reason": reason}
    backend.note(visitor, "console evidence", wanted, len(records))
    return bundle(seals, name, records, backend.state_dir)


def _readers(
    backend: Backend, visitor: Visitor, call_id: str
) -> tuple[ReadingsPage | None, CallRecords | None]:
    found = backend.log.reader.call(call_id[:_LONGEST_ID], _within(visitor), content=False)
    if found is None:
        return None, None
    read = audit_of(backend.log).readings(ReadingsWanted(text=call_id), _READERS)
    backend.note(visitor, "console readers", {"call_id": call_id}, len(read.rows))
    return read, found


def _linked(
    backend: Backend, visitor: Visitor, call_id: str
) -> tuple[tuple[Row, ...], CallRecords | None]:
    scope = _within(visitor)
    found = backend.log.reader.call(call_id[:_LONGEST_ID], scope, content=False)
    if found is None:
        return (), None
    wanted = linked(found.call, scope)
    if wanted is None:
        backend.note(visitor, "console linked", {"call_id": call_id}, 0)
        return (), found
    page = backend.log.reader.search(wanted, _LINKED, content=False)
    backend.note(visitor, "console linked", wanted.as_details(), len(page.rows))
    return tuple(map(row, page.rows)), found


def _within(visitor: Visitor) -> SearchFilter:
    return SearchFilter(departments=visitor.scope.departments, tenants=visitor.scope.tenants)


def _stored_id(found: CallRecords, call_id: str) -> str:
    """Give the id that ties a call's records; an event has its own."""
    return str(found.call.get("call_id") or found.call.get("_id") or call_id)


# -- answering -------------------------------------------------------------------------------------


def _page(
    request: Request,
    visitor: Visitor,
    shown: Glance,
    *,
    status_code: int = 200,
    **about: Any,
) -> Response:
    asked: Narrowed = read_narrowed({}, visitor.scope)
    known: dict[str, Any] = {
        "said": None,
        "revealed": None,
        "reason": "",
        "reason_problem": None,
        "evidence_reason": "",
        "evidence_problem": None,
        "proof": None,
        "readers": None,
        "linked": None,
    }
    return render(
        request,
        "call.html",
        visitor=visitor,
        status_code=status_code,
        glance=shown,
        here_path=f"/calls/{quote(shown.id, safe='')}",
        asked=asked,
        **{**known, **about},
    )


def _missing(request: Request) -> Refusal:
    return Refusal(404, "Not found", words_of(request)("call.missing"))


def _download(data: bytes, name: str, media_type: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(data, 200, headers, media_type)


def _file_name(call_id: str) -> str:
    return "".join(c for c in call_id if c.isascii() and (c.isalnum() or c in "-_"))[:60] or "call"


def _backend(request: Request) -> Backend:
    return cast("Backend", request.app.state.backend)
