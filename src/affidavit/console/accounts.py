"""Who may come in, as a visitor sees and changes it: for the page of settings and the HTTP API.

A visitor with limits sees tokens and sessions within these, makes such, and ends such. All of it is
noted in the ledger before it is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affidavit.console.auth import granting
from affidavit.console.auth.granting import Grant, NoSuchToken, NotYours
from affidavit.console.doors import Refusal

if TYPE_CHECKING:
    from affidavit.console.auth.sessions import Session
    from affidavit.console.auth.tokens import Token
    from affidavit.console.backend import Backend
    from affidavit.console.visitor import Visitor


@dataclass(frozen=True, slots=True)
class Accounts:
    """Tokens and sessions, newest first."""

    tokens: Sequence[Token] = ()
    sessions: Sequence[Session] = ()


def accounts(backend: Backend, visitor: Visitor) -> Accounts:
    """Give those that see nothing which the visitor does not. Raises StoreError."""
    backend.pulse.check()  # the doorman's own questions do not look at it
    doorman, scope = backend.doorman, visitor.scope
    return Accounts(
        [each for each in doorman.tokens.all() if scope.covers(each.scope)],
        [each for each in doorman.sessions.all() if scope.covers(each.scope)],
    )


def make(backend: Backend, visitor: Visitor, wanted: Grant) -> tuple[str, Token]:
    """Make a token; gives its text, told this once. Raises ConfigError, StoreError."""
    backend.pulse.check()
    return granting.grant(
        backend.doorman.tokens,
        wanted,
        by=visitor.name,
        within=visitor.scope,
        note=_note(backend, visitor),
    )


def end(backend: Backend, visitor: Visitor, public: str) -> Token:
    """End a token, and the sessions that it opened. Raises Refusal, StoreError."""
    backend.pulse.check()
    doorman = backend.doorman
    try:
        ended = granting.revoke(
            doorman.tokens,
            doorman.sessions,
            public,
            by=visitor.name,
            within=visitor.scope,
            note=_note(backend, visitor),
        )
    except NotYours as error:
        raise Refusal(403, "Not allowed", str(error)) from error
    except NoSuchToken as error:
        raise Refusal(404, "Not found", str(error)) from error
    doorman.forget_token(public)
    return ended


def end_session(backend: Backend, visitor: Visitor, public: str) -> None:
    """End somebody's session. Raises Refusal, StoreError."""
    backend.pulse.check()
    sessions = backend.doorman.sessions
    for each in sessions.all():
        if each.id == public and not visitor.scope.covers(each.scope):
            raise Refusal(403, "Not allowed", granting.WIDER)
    backend.note(visitor, "session end", {"id": public[:40]}, 1)
    if sessions.end_by_id(public) is None:
        raise Refusal(404, "Not found", "There is no session of this id any more.")
    backend.doorman.forget_session(public)


def _note(backend: Backend, visitor: Visitor) -> Any:
    def note(command: str, wanted: Mapping[str, Any], count: int) -> None:
        backend.note(visitor, command, wanted, count)

    return note
