"""What is asked after an incident, and what is made of what the store finds: pure functions.

The store gives records (:class:`affidavit.store.forensics.Forensics`); here a question gets its
bounds, a text becomes what is looked for, and requests are judged by how much of it they had.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Literal, get_args

from affidavit.errors import ConfigError
from affidavit.event import Document
from affidavit.pipeline.said import FIELD, FOUND, Fingerprints, Wanted
from affidavit.store.forensics import Forensics, Trail

UNINDEXED: Final = timedelta(days=7)
"""How far back a question reaches that no index serves, unless it says."""

LONGEST_WINDOW: Final = timedelta(days=7)
MOST_MATCHES: Final = 200
_CANDIDATES: Final = 1000
LONGEST_TEXT: Final = 4096
"""Characters of a text that is looked for without a key, as it is stored."""

Verdict = Literal["whole", "passages", "lines"]


@dataclass(frozen=True, slots=True)
class Match:
    """A request that had some of the text."""

    verdict: Verdict
    """``whole``: the text was a text, or a line, of the request. ``passages``: words in a row are
    in both. ``lines``: only a line or paragraph of the text was a text, or a line, of it.
    """
    numbers: int
    """Hashes that are alike; of a text of this length the request can have few in common by chance.
    """
    request: Document


@dataclass(frozen=True, slots=True)
class Said:
    """Where a text was found, and how it was looked for."""

    by: Literal["hash", "text"]
    matches: tuple[Match, ...]
    notes: tuple[str, ...]


def bounded(trail: Trail, now: datetime) -> tuple[Trail, str | None]:
    """Give a question that no index serves a beginning; say so."""
    if trail.indexed:
        return trail, None
    since = trail.since or (trail.until or now) - UNINDEXED
    what = "a session" if trail.session_id is not None else "an address"
    span = "" if trail.since else f", and without --since {UNINDEXED.days} days of them"
    note = f"No index leads to {what}: records are read one by one{span}. --user makes it quick."
    return replace(trail, since=since), note


def around(at: datetime, window: timedelta) -> Trail:
    """Ask for everything within a window around a time.

    Raises ConfigError for a window that is empty or too long, or leaves the calendar.
    """
    if not timedelta(0) < window <= LONGEST_WINDOW:
        msg = f"--window must be longer than nothing and at most {LONGEST_WINDOW.days} days."
        raise ConfigError(msg)
    # The end is not included, and times are kept in milliseconds.
    try:
        return Trail(since=at - window, until=at + window + timedelta(milliseconds=1))
    except OverflowError as error:
        msg = f"--around {at:%Y-%m-%d} is at an end of the calendar. Ask for a time of this log."
        raise ConfigError(msg) from error


def asked_of(text: str, prints: Fingerprints | None) -> dict[str, Any]:
    """Say for the ledger which text was looked for, without it: its hash and its length.

    With the key the hash is keyed, and nobody without it can test guesses. Without, it is salted:
    whoever has the text can show that it was this one, and guesses of a short text can be tested.
    """
    if prints is not None:
        return {"text_hmac": prints.of_text_itself(text), "text_length": len(text)}
    salt = secrets.token_hex(16)
    digest = sha256(bytes.fromhex(salt) + text.encode("utf-8", "replace")).hexdigest()
    return {"text_sha256": digest, "text_salt": salt, "text_length": len(text)}


def said(
    store: Forensics,
    text: str,
    prints: Fingerprints | None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Said:
    """Look for requests that had a text: by keyed hashes where there is a key, else as it stands.

    Raises ConfigError for a text that cannot be looked for, StoreError.
    """
    if prints is None:
        return _by_text(store, text, since, until)
    try:
        wanted = prints.of_question(text)
    except ValueError as error:
        msg = f"The text cannot be looked for: {error}."
        raise ConfigError(msg) from error
    found = store.requests_by_hash(wanted.numbers, since, until, _CANDIDATES)
    notes = []
    if wanted.words < FOUND:
        notes.append(
            f"The text has {wanted.words} words. Within a longer one it is sure to be found from "
            f"{FOUND} words on; a shorter one where it was a text, or a line, by itself."
        )
    if not found:
        notes.append(
            "Requests of before said_key was set have no hashes: --stored searches their texts."
        )
    if len(found) == _CANDIDATES:
        notes.append(f"Only the newest {_CANDIDATES:,} requests were compared: use --until.")
    return Said("hash", judged(found, wanted), tuple(notes))


def judged(requests: Sequence[Mapping[str, Any]], wanted: Wanted) -> tuple[Match, ...]:
    """Order requests by how much of the text they had, whole ones first; then newest first."""
    matches = []
    for request in requests:
        field = request.get(FIELD)
        held = field.get("h") if isinstance(field, Mapping) else None
        numbers = {n for n in held if isinstance(n, int)} if isinstance(held, list) else set()
        passages, lines = numbers & wanted.passages, numbers & wanted.lines
        whole = wanted.whole in numbers
        if whole or passages or lines:
            verdict: Verdict = "whole" if whole else "passages" if passages else "lines"
            count = whole + len(passages) + len(lines)
            shown = {name: value for name, value in request.items() if name != FIELD}
            matches.append(Match(verdict, count, shown))
    ranks = {verdict: rank for rank, verdict in enumerate(get_args(Verdict))}
    matches.sort(key=lambda match: (ranks[match.verdict], -match.numbers))
    return tuple(matches[:MOST_MATCHES])


def _by_text(store: Forensics, text: str, since: datetime | None, until: datetime | None) -> Said:
    if not text.strip() or len(text) > LONGEST_TEXT:
        msg = (
            f"Without hashes a text of 1 to {LONGEST_TEXT:,} characters is looked for, and this "
            f"one has {len(text):,}. Choose a passage of it."
        )
        raise ConfigError(msg)
    found = store.requests_by_text(text, since, until, MOST_MATCHES)
    limit = (
        "The stored texts were searched, and no hashes: what redaction took out, what was cut off, "
        "and other line breaks or spaces are not found."
    )
    notes = [limit]
    if len(found) == MOST_MATCHES:
        notes.append(f"There may be more than these newest {MOST_MATCHES}: use --until.")
    return Said("text", tuple(Match("whole", 1, dict(request)) for request in found), tuple(notes))
