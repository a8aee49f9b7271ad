# ruff: noqa: SIM905 - long lists of words read better as text
"""Names of fields: what they say about their values, and which of them announce a secret."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from affidavit.pipeline.redact import context, kinds

_PASSWORDS: Final = (
    "password passwd passphrase passcode pwd passwort kennwort contrasena contraseña senha "
    "motdepasse userpass dbpass"
).split()
_KEYS: Final = (
    "apikey secretkey accesskey accesstoken refreshtoken idtoken authtoken bearertoken "
    "sessiontoken csrftoken apitoken bottoken clientsecret apisecret webhooksecret signingsecret "
    "sharedsecret signingkey encryptionkey accountkey authorization cookie setcookie authkey "
    "credentials secretaccesskey jwt connectionstring sastoken"
).split()
_WALLET: Final = ["privatekey", "mnemonic", "seedphrase", "recoveryphrase", "privkey"]
_PERHAPS: Final = frozenset(
    ("token", "secret", "secrets", "auth", "credential", "sessionid", "sid")
)
"""Also names of harmless things (a coin is a token): the value decides."""

_EXACTLY: Final = {"pass": kinds.PASSWORD, "pw": kinds.PASSWORD, "clave": kinds.PASSWORD}
_GENERAL: Final = frozenset(
    "text texts call calls message messages content contents line lines message_id reach signal"
    " note request response time open close high low price amount size value data title".split()
)
"""Names of fields that hold anything: they say nothing about a number in a long text."""

_HUMPS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_NAME: Final = re.compile(r"[\[<@:=]")
"""A sentence, or a name that was redacted itself."""

_LONGEST: Final = 64
_NO_LETTER: Final = re.compile(r"[^a-z\xf1]+")


class Name(NamedTuple):
    """What is known about a field's name."""

    spoken: str
    """The words to put before the value, or nothing."""
    secret: str | None
    """The kind its values are, if it announces a secret."""
    perhaps: bool
    """Whether only a value that looks like a secret is one."""


_SILENT: Final = Name("", None, perhaps=False)


def look(name: str) -> Name:
    """Look at a name such as ``steuer_id``, ``clientSecret`` or ``X-Api-Key``."""
    if len(name) > _LONGEST or _NO_NAME.search(name):
        return _SILENT
    words = _HUMPS.sub(" ", name).lower()
    letters = _NO_LETTER.sub("", words)
    secret = _EXACTLY.get(letters)
    perhaps = letters in _PERHAPS
    if perhaps or letters.endswith(tuple(_KEYS)):
        secret = kinds.API_KEY
    elif letters.endswith(tuple(_WALLET)):
        secret = kinds.PRIVATE_KEY
    elif letters.endswith(tuple(_PASSWORDS)):
        secret = kinds.PASSWORD
    told = words not in _GENERAL and context.tells(words)
    return Name(words if told else "", secret, perhaps)
