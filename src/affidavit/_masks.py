"""Showing settings without what is secret in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

_HARMLESS: Final = frozenset(
    {
        "appname", "authmechanism", "authsource", "connecttimeoutms", "directconnection", "j",
        "journal", "loadbalanced", "maxpoolsize", "minpoolsize", "readconcernlevel",
        "readpreference", "replicaset", "retryreads", "retrywrites", "serverselectiontimeoutms",
        "sockettimeoutms", "ssl", "tls", "tlsallowinvalidcertificates", "tlscafile",
        "tlscertificatekeyfile", "tlsinsecure", "w", "wtimeout", "wtimeoutms",
    }
)  # fmt: skip
"""Options of an address whose values may be shown; all others could be secrets."""


def without_password(uri: str) -> str:
    """Replace what is secret in a URI by ``***``, in the login and in the options."""
    scheme, sep, rest = uri.partition("://")
    address, mark, query = rest.partition("?")
    userinfo, at, host = address.rpartition("@")
    if at:
        user, colon, _password = userinfo.partition(":")
        address = f"{user}{':***' if colon else ''}@{host}"
    shown = []
    for option in query.split("&") if query else ():
        name, equals, value = option.partition("=")
        shown.append(f"{name}{equals}{value if name.lower() in _HARMLESS else '***'}")
    return f"{scheme}{sep}{address}{mark}{'&'.join(shown)}"


def masked(value: Any, how: str) -> Any:
    """Hide what a setting holds as secret; ``how`` is its ``Setting.hidden``."""
    if how == "users":  # who has a budget is nothing for a ledger that never expires
        users = value.get("user", {})
        return {**value, "user": f"{len(users)} limits"} if isinstance(users, Mapping) else "***"
    if how == "all":
        return "***"
    if how == "login":
        return without_password(value)
    shown = []
    for address in value.split():
        scheme, sep, rest = address.partition("://")
        host = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
        shown.append(f"{scheme}{sep}{host}/***" if sep else "***")
    return " ".join(shown)


def without_secrets(text: str, uri: str) -> str:
    """Remove from a text, such as the driver's own error, what the URI holds as secret."""
    rest = uri.partition("://")[2]
    address, _, query = rest.partition("?")
    secrets = [address.rpartition("@")[0].partition(":")[2]]
    for option in query.split("&"):
        name, _, value = option.partition("=")
        if name.lower() not in _HARMLESS:
            secrets += [value, *re.split(r"[:,]", value)]
    for secret in sorted(filter(None, {*secrets, *map(unquote_plus, secrets)}), key=len)[::-1]:
        text = text.replace(secret, "***")
    return text
