# ruff: noqa: SIM905 - long lists of words read better as text
"""What is told by punctuation: e-mail addresses, private keys, URLs with a password, IPv6.

Each search begins at a character that ordinary text has rarely, and looks a bounded way around.
"""

from __future__ import annotations

import re
from typing import Final

from affidavit.pipeline.redact import kinds
from affidavit.pipeline.redact.kinds import Span
from affidavit.pipeline.redact.secretive import is_secret

_LOCAL: Final = re.compile(r"[A-Za-z0-9._%+'\xc0-\u052f-]{1,64}")  # also Greek and Cyrillic
_DOMAIN: Final = re.compile(
    r"(?:[A-Za-z0-9\xc0-\xff](?:[A-Za-z0-9\xc0-\xff-]{0,61}[A-Za-z0-9\xc0-\xff])?\.){1,8}"
    r"([A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,40})(?![A-Za-z0-9])"
)
_AT: Final = re.compile(r"@|%40| ?[\[(] ?(?:at|arroba) ?[\])] ?", re.IGNORECASE)
_NO_DOMAIN: Final = frozenset(
    (
        "png jpg jpeg gif svg webp css js ts py json html htm md txt yaml yml toml lock whl exe dll"
    ).split()
)

_COUNTRY: Final = re.compile(r"\.(?:com|org|net|gov|gob|edu|mil|coop|co)\.(?:py|md)\Z")
"""Endings of files that are countries as well: with ``.com`` before them they are."""

_SIGNED: Final = re.compile(
    r"[?&](?:sig|signature|X-(?:Amz|Goog)-(?:Signature|Security-Token)|code|key|access_token)="
    r"([A-Za-z0-9%+/_=.~-]{20,2048})",
    re.IGNORECASE,
)

_BEGIN: Final = "-----BEGIN "
KEY_ENDS: Final = "-----END "
_END: Final = KEY_ENDS
_KEY_TITLE: Final = re.compile(r"(?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_CLOSING: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}-----")
_SOME_BODY: Final = re.compile(r"[A-Za-z0-9+/=]{16}")
_HEADERS: Final = 1000
_LONGEST_BLOCK: Final = 20_000
_BODY: Final = re.compile(r"[A-Za-z0-9+/= \t\r\n\\:,.<>#-]{0,16000}")  # also quoted, or with <br>

_SIGN: Final = re.compile(r":(?=//)")
_USERINFO: Final = re.compile(r"://([^\s/?#:@\"'<>\[\]]{0,128}):([^\s/\"'<>]{1,256})@(?=[^\s@])")
# A slash in the password, as people write it who should have escaped it; no port before a path.
_USERINFO_LOOSE: Final = re.compile(
    r"://([^\s/?#:@\"'<>\[\]]{1,128}):(?![0-9]{1,5}/)([^\s@\"<>\x1d-\x1f]{1,128})@(?=[A-Za-z0-9])"
)
_TOKEN_INFO: Final = re.compile(r"://([A-Za-z0-9_.~%-]{16,256})@(?=[A-Za-z0-9])")

_HOOK: Final = re.compile(
    r"://(?:hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,}"
    r"|(?:[a-z]{2,8}\.)?discord(?:app)?\.com/api/(?:v[0-9]{1,2}/)?webhooks/[0-9]{15,21}"
    r"/[A-Za-z0-9_-]{30,}"
    r"|[A-Za-z0-9-]{1,63}\.webhook\.office\.com/webhookb2/[A-Za-z0-9@/-]{30,}"
    r"|[a-z0-9-]{1,40}\.infura\.io/(?:ws/)?v3/[a-f0-9]{32}"
    r"|[a-z0-9-]{1,40}\.(?:g\.)?alchemy(?:api)?\.(?:com|io)/v2/[A-Za-z0-9_-]{20,}"
    r"|[a-z0-9.-]{1,80}\.quiknode\.pro/[a-f0-9]{30,}"
    r"|hooks\.zapier\.com/hooks/catch/[0-9]{4,12}/[A-Za-z0-9/]{5,}"
    r"|chat\.googleapis\.com/v1/spaces/[A-Za-z0-9_-]{5,40}/messages\?key=[^\s\"'<>]{20,}"
    r"|api\.telegram\.org/bot[0-9]{8,10}:[A-Za-z0-9_-]{35})"
)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}\Z")
# A wallet as its file has it: an array of 64 bytes.
_BYTES: Final = re.compile(r"\[ ?[0-9]{1,3}(?:, ?[0-9]{1,3}){63} ?\]")


def emails(text: str, found: list[Span], visible: str = "") -> None:
    """Add e-mail addresses; ``%40`` and ``(at)`` stand for the sign as well.

    ``visible`` is the text with the letters of all scripts, where it has others than Latin-1.
    """
    whole = visible or text
    if "@" not in text and not _written_out(text):
        return
    for sign in _AT.finditer(text):
        at, after = sign.span()
        domain = _DOMAIN.match(text, after)
        if domain is None:
            continue
        local = _LOCAL.match(whole[max(0, at - 64) : at][::-1])
        if local is None:
            continue
        name = local[0][::-1]
        name = name.lstrip(".'%-")
        start = at - len(name)
        last = domain[1].lower()
        if last in _NO_DOMAIN and _COUNTRY.search(domain[0]) is None:
            continue
        if not name or (name == "git" and text[domain.end() : domain.end() + 1] == ":"):
            continue
        found.append((start, domain.end(), kinds.EMAIL))


def _written_out(text: str) -> bool:
    # One character is found ten times faster than three.
    return (
        ("%" in text and "%40" in text)
        or ("[" in text and "[at]" in text)
        or ("(" in text and "(at)" in text)
    )


def private_keys(text: str, found: list[Span]) -> None:
    """Add PEM blocks; one without an end goes as far as it looks like a key."""
    at = text.find(_BEGIN)
    ends = True
    while at >= 0:
        title = _KEY_TITLE.match(text, at + len(_BEGIN))
        if title is None:
            at = text.find(_BEGIN, at + len(_BEGIN))
            continue
        stop = text.find(_END, title.end()) if ends else -1
        ends = stop >= 0
        closing = _CLOSING.match(text, stop) if ends else None
        body = _BODY.match(text, title.end())
        end = body.end() if body is not None else title.end()
        if closing is not None and closing.end() - at <= _LONGEST_BLOCK:
            end = max(end if end < stop else 0, closing.end())
        if _SOME_BODY.search(text, title.end(), min(end, title.end() + _HEADERS)) is not None:
            found.append((at, end, kinds.PRIVATE_KEY))
        at = text.find(_BEGIN, end)


def key_begins(line: str) -> bool:
    """Whether a line is the first one of a private key."""
    return line.startswith(_BEGIN) and _KEY_TITLE.match(line, len(_BEGIN)) is not None


def signed(text: str, found: list[Span]) -> None:
    """Add what a URL is signed with, or a key in its query."""
    found += (
        (*match.span(1), kinds.API_KEY) for match in _SIGNED.finditer(text) if is_secret(match[1])
    )


def wallets(text: str, found: list[Span]) -> None:
    """Add wallets written as an array of bytes."""
    found += ((*match.span(), kinds.PRIVATE_KEY) for match in _BYTES.finditer(text))


def urls(text: str, found: list[Span]) -> None:
    """Add the password of an address such as ``scheme://user:password@host``."""
    for sign in _SIGN.finditer(text):
        at = sign.start()
        match = _USERINFO.match(text, at) or _USERINFO_LOOSE.match(text, at)
        if (hook := _HOOK.match(text, at)) is not None:  # the address itself is the secret
            scheme = _SCHEME.search(text, max(0, at - 16), at)
            start = scheme.start() if scheme is not None else at
            found.append((start, hook.end(), kinds.API_KEY))
        elif match is not None and match[2][0] != "[":
            found.append((*match.span(2), kinds.PASSWORD))
        elif (match := _TOKEN_INFO.match(text, at)) is not None:
            found.append((*match.span(1), kinds.API_KEY))
