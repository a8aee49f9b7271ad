"""Looking at a request and saying who sent it.

What a token or cookie stands for is remembered for five seconds, and its last answer for an hour in
case the store does not answer: applications go on writing, into the spool, while the database is
away. An end made in this process counts at once, elsewhere within those seconds.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from affidavit.console.auth import secret
from affidavit.console.auth.sessions import Session, Sessions
from affidavit.console.auth.throttle import Attempts, Buckets
from affidavit.console.auth.tokens import Token, Tokens
from affidavit.console.config import ServeConfig
from affidavit.console.doors import Refusal
from affidavit.console.pulse import Pulse
from affidavit.console.threads import run
from affidavit.console.visitor import Visitor
from affidavit.errors import StoreUnavailable
from affidavit.store.serving import ServiceStore

if TYPE_CHECKING:
    from fastapi import Request

REMEMBERED_S: Final = 5.0
TRUSTED_S: Final = 3600.0
"""How long the last answer counts while the store does not give another."""

_MOST: Final = 10_000
_CSRF: Final = "affidavit csrf"
_NO_USE: Final = frozenset({"/live"})
"""Paths that a page asks for by itself, for as long as it is open."""

T = TypeVar("T")


class _Known(Generic[T]):
    """Answers of the store by the hash of what was asked; a bounded number, for any threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def keep(self, text: str, found: T | None) -> None:
        """Remember an answer; what is not there is not remembered."""
        key = secret.hashed(text)
        with self._lock:
            self._held.pop(key, None)
            if found is not None:
                self._held[key] = (time.monotonic(), found)
            while len(self._held) > _MOST:
                self._held.popitem(last=False)

    def fresh(self, text: str) -> T | None:
        """Give an answer of the last seconds."""
        return self._within(text, REMEMBERED_S)

    def last(self, text: str) -> T | None:
        """Give the last answer, while there is no other to be had."""
        return self._within(text, TRUSTED_S)

    def drop(self, is_meant: Callable[[T], bool]) -> None:
        """Forget some."""
        with self._lock:
            for key in [key for key, (_, found) in self._held.items() if is_meant(found)]:
                del self._held[key]

    def _within(self, text: str, age_s: float) -> T | None:
        found = self._held.get(secret.hashed(text))
        return None if found is None or time.monotonic() - found[0] > age_s else found[1]


class Doorman:
    """Knows tokens and sessions, and who tries too often."""

    def __init__(self, serve: ServeConfig, store: ServiceStore, pulse: Pulse) -> None:
        self._pulse = pulse
        self.tokens = Tokens(store)
        self.sessions = Sessions(
            store, idle_s=serve.session_idle_s, longest_s=serve.session_longest_s
        )
        self.attempts = Attempts()
        self.begins = Buckets(60, 1)
        """Log-ins at an issuer that an address begins: each is kept for ten minutes."""
        self.cookie = "__Host-affidavit" if serve.secure else "affidavit"
        """Name of the session's cookie."""
        self._known_tokens: _Known[Token] = _Known()
        self._known_sessions: _Known[Session] = _Known()
        self._away_until_s = float("-inf")
        self._asked = Buckets(serve.requests_per_minute, serve.requests_per_minute / 60)

    async def visitor(self, request: Request) -> Visitor:
        """Give who sent it. Raises Refusal: 401, 429, or 503 where that cannot be known now."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme:
            if scheme.lower() != "bearer":
                raise _nobody("Only `Authorization: Bearer <token>` is understood.")
            visitor = await self._by_token(given.strip(), address_of(request))
        else:
            uses = request.url.path not in _NO_USE
            visitor = await self._by_cookie(request.cookies.get(self.cookie, ""), uses=uses)
        wait_s = self._asked.take(visitor.id)
        if wait_s:
            raise Refusal(
                429,
                "Too many requests",
                f"This {visitor.how} asks too often. Wait {wait_s} s.",
                {"Retry-After": str(wait_s)},
            )
        return visitor

    async def still(self, request: Request, visitor: Visitor) -> bool:
        """Whether somebody who was let in would be let in as the same now, for long answers.

        It is no use of a session, nor an attempt to come in.
        """
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        now, found = datetime.now(UTC), None
        try:
            if scheme:
                text = given.strip()
                token = await self._find(self._known_tokens, text, self.tokens.find)
                if token is not None and token.works(now):
                    found = (token.id, token.role, token.scope)
            else:
                cookie = request.cookies.get(self.cookie, "")
                session = await self._find(self._known_sessions, cookie, self.sessions.find)
                if session is not None and now < session.until:
                    found = (session.id, session.role, session.scope)
        except Refusal:
            return False  # nobody can say, for an hour by now
        return found == (visitor.id, visitor.role, visitor.scope)

    async def _by_token(self, text: str, address: str) -> Visitor:
        if self._known_tokens.last(text) is None:
            # Who fails from an address holds up nobody there whose token is known.
            self.check_attempts(address)
        token = await self._find(self._known_tokens, text, partial(_used, self.tokens))
        if token is None or not token.works(datetime.now(UTC)):
            self.attempts.failed(address)
            raise _nobody("The token is unknown, has expired, or was ended. Ask for a new one.")
        return Visitor(token.name, token.role, token.scope, "token", token.id, f"token:{token.id}")

    async def _by_cookie(self, cookie: str, *, uses: bool) -> Visitor:
        if not cookie:
            raise _nobody("Log in, or send `Authorization: Bearer <token>`.")
        ask = partial(_seen, self.sessions) if uses else self.sessions.find
        session = await self._find(self._known_sessions, cookie, ask)
        if session is None or datetime.now(UTC) >= session.until:
            raise _nobody("The session has ended. Log in again.")
        csrf = secret.derived(cookie, _CSRF)
        return Visitor(
            session.who,
            session.role,
            session.scope,
            "session",
            session.id,
            session.account,
            csrf,
        )

    async def _find(self, known: _Known[T], text: str, ask: Callable[[str], T | None]) -> T | None:
        """Give what a text stands for: as known of the last seconds, else as the store says."""
        fresh = known.fresh(text)
        if fresh is not None:
            return fresh
        last = known.last(text)
        if last is not None and time.monotonic() < self._away_until_s:
            return last  # it did not answer a moment ago: nobody waits for that again
        try:
            self._pulse.check()
            found = await run(ask, text)
        except StoreUnavailable as error:
            self._away_until_s = time.monotonic() + REMEMBERED_S
            last = known.last(text)
            if last is not None:
                return last
            raise Refusal(
                503,
                "Nobody can be let in at the moment",
                "The database does not answer, so tokens and sessions cannot be looked up. "
                "Try again in a few seconds; `affidavit doctor` looks closer.",
                {"Retry-After": "5"},
            ) from error
        known.keep(text, found)
        return found

    def check_attempts(self, address: str) -> None:
        """Raise Refusal where an address has failed too often to try again now."""
        wait_s = self.attempts.wait_s(address)
        if wait_s:
            raise Refusal(
                429,
                "Too many attempts",
                f"Too many log-ins from here have failed. Wait {wait_s} s.",
                {"Retry-After": str(wait_s)},
            )

    def check_begins(self, address: str) -> None:
        """Raise Refusal where an address begins to log in at an issuer too often; counts it."""
        wait_s = self.begins.take(address)
        if wait_s:
            raise Refusal(
                429,
                "Too many attempts",
                f"Too many log-ins were begun from here. Wait {wait_s} s.",
                {"Retry-After": str(wait_s)},
            )

    def forget_token(self, public: str) -> None:
        """Forget a token that was ended, and the sessions it opened."""
        self._known_tokens.drop(lambda token: token.id == public)
        self._known_sessions.drop(lambda session: session.by == f"token:{public}")

    def forget_session(self, public: str) -> None:
        """Forget a session that was ended."""
        self._known_sessions.drop(lambda session: session.id == public)


def _used(tokens: Tokens, text: str) -> Token | None:
    token = tokens.find(text)
    if token is not None:
        tokens.used(token)
    return token


def _seen(sessions: Sessions, cookie: str) -> Session | None:
    session = sessions.find(cookie)
    if session is not None:
        sessions.seen(session)
    return session


def _nobody(detail: str) -> Refusal:
    return Refusal(401, "Log in", detail, {"WWW-Authenticate": 'Bearer realm="affidavit"'})


def address_of(request: Request) -> str:
    """Give where a request came from; of an IPv6 address its network, which one person may have."""
    host = request.client.host if request.client is not None else "unknown"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6:  # noqa: PLR2004 - of the Internet Protocol
        return str(ipaddress.ip_network(f"{host}/64", strict=False))
    return host
