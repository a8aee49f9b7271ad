"""Headers of every answer, and what a request's own headers must say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from affidavit.console.config import ServeConfig

POLICY: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'"
)
"""Nothing inline, nothing from elsewhere, no frames."""

_ALWAYS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

_BY_TLS: Final[Mapping[str, str]] = {"strict-transport-security": "max-age=31536000"}

_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")


def of_answers(serve: ServeConfig) -> list[tuple[bytes, bytes]]:
    """Give what is added to every answer."""
    named = {**_ALWAYS, **(_BY_TLS if serve.secure else {})}
    return [(name.encode(), value.encode()) for name, value in named.items()]


def hosts_of(serve: ServeConfig) -> frozenset[str] | None:
    """Name the hosts that a request may be for; None: any.

    On loopback, a page elsewhere could have its own name lead here; its requests would be answered
    as if they were the user's own. Elsewhere TLS holds names and certificates together.
    """
    public = urlsplit(serve.public_url or "").hostname
    if public is None and not serve.is_loopback:
        return None
    named = {serve.host.lower(), *_LOCAL_NAMES} if serve.is_loopback else {serve.host.lower()}
    return frozenset(named if public is None else {*named, public})


def host_in(header: str) -> str:
    """Give the host's name of a ``Host`` header or an origin, in small letters."""
    text = header if "//" in header else f"//{header}"
    try:
        return (urlsplit(text).hostname or "").lower()
    except ValueError:
        return ""


def is_forged(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that another site made it send this.

    Programs say nothing of the kind. Tokens against forged requests stand behind this one.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        # With its port: another program of this machine is another site.
        return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
    except ValueError:
        return True  # no browser writes such an address
