# ruff: noqa: SIM905 - long lists of words read better as text
"""Names of fields: what they say about their values, and which of them announce a secret."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from affidavit.pipeline.redact import context, kinds
from affidavit.pipeline.redact.secretive import is_key, is_secret, is_token

_PASSWORDS: Final = (
    "password passwd passphrase passcode pwd passwort kennwort contrasena contrase\xf1a senha "
    "motdepasse userpass dbpass pswd passw parole wachtwoord securityanswer pincode"
).split()
_PASSWORD_WORDS: Final = frozenset(
    "password passwords passwd passphrase passcode pwd pswd passwort kennwort contrasena "
    "contrase\xf1a senha wachtwoord".split()
)
_PASSWORD_OF: Final = frozenset(
    "smtp imap pop mail email db database sql mysql pg postgres redis mongo mongodb rabbit amqp "
    "root admin user ftp sftp ssh ldap proxy wifi wlan auth login sudo app service basic bot sys "
    "vpn rdp vault store keystore truststore key cert my old new".split()
)
"""What stands before ``pass`` and ``pw``, which are words of their own in many names."""

_SAYS_ABOUT: Final = frozenset(
    "length len policy policies reset resets changed change required requires requirement expires "
    "expired expiry expiration at strength attempts attempt count set enabled disabled min max "
    "minimum maximum rule rules manager type kind format url uri link id ids error errors hint "
    "date age status state ok valid invalid verified updated created forgotten forgot less "
    "protected incorrect days ttl provider prompt tries retries score page form label message "
    "file path dir env var version algorithm algo method protection leak leaked breach generator "
    "validator validation regex pattern complexity login recovery reuse history exists matches "
    "match wrong mismatch budget limit usage name names ref arn".split()
)
"""Words after which a name is about a secret and does not hold one: ``password_length``."""

_KEYS: Final = (
    "apikey secretkey accesskey accesstoken refreshtoken idtoken authtoken bearertoken "
    "sessiontoken csrftoken xsrftoken apitoken bottoken clientsecret apisecret webhooksecret "
    "signingsecret sharedsecret signingkey encryptionkey accountkey authorization cookie setcookie "
    "authkey credentials secretaccesskey jwt connectionstring sastoken githubtoken gitlabtoken "
    "vaulttoken devicetoken securitytoken pushtoken logintoken personaltoken deploytoken "
    "registrationtoken resettoken npmtoken slacktoken jwtsecret appsecret hmackey hmacsecret "
    "openaikey anthropickey masterkey servicekey functionkey subscriptionkey licensekey sshkey "
    "secretkeybase consumersecret oauthsecret totpsecret otpsecret mfasecret totpseed otpseed "
    "sessioncookie authcookie storagekey exchangesecret tradingsecret brokersecret apitokensecret "
    "tokensecret usersecret rootsecret adminsecret servicesecret cookiesecret tokenvalue"
).split()
_WALLET: Final = "privatekey mnemonic seedphrase recoveryphrase privkey walletseed hdseed".split()
_ENDINGS: Final = tuple(
    (kind, (*endings, *(f"{ending}s" for ending in endings)))
    for kind, endings in (
        (kinds.API_KEY, _KEYS),
        (kinds.PRIVATE_KEY, _WALLET),
        (kinds.PASSWORD, _PASSWORDS),
    )
)
_PERHAPS: Final = {
    **dict.fromkeys("secret secrets auth credential sessionid sid bearer".split(), is_secret),
    **dict.fromkeys(("token", "tokens"), is_token),
    "session": is_key,
}
"""Also names of harmless things (a coin is a token): the value decides."""

_CODES: Final = frozenset(
    "cvv cvc cvv2 cvc2 cvn csc cvvcode cvccode cardcvv cardcvc cardcode cardsecuritycode "
    "cardverificationvalue cardverificationcode cardcvv2 cvvcvc securitycode".split()
)
_PINS: Final = frozenset(
    "pin pins cardpin atmpin userpin newpin oldpin otp otps otpcode totp totpcode mfacode smscode "
    "onetimecode verificationcode authcode twofactorcode".split()
)
_EXACTLY: Final = {"pass": kinds.PASSWORD, "pw": kinds.PASSWORD, "clave": kinds.PASSWORD}
_TAILS: Final = frozenset(
    "value base pem old new prod production dev test staging current live raw text b64 base64 hex "
    "string str plain encrypted primary secondary backup previous next confirmation confirm again "
    "repeat hash hashed default".split()
)
"""Words that may end a name without changing what it holds."""

_GENERAL: Final = frozenset(
    "text texts call calls message messages content contents line lines message_id reach signal"
    " note request response time open close high low price amount size value data title".split()
)
"""Names of fields that hold anything: they say nothing about a number in a long text."""

_HUMPS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_NAME: Final = re.compile(r"[\[<@:=]")
"""A sentence, or a name that was redacted itself."""

_LONGEST: Final = 64
_MOST_WORDS: Final = 8
_SHORT_CODE: Final = re.compile(r"[0-9]{3,4}")
_PIN: Final = re.compile(r"[0-9]{3,12}|(?=.*[0-9])[A-Za-z0-9]{4,10}")
_NO_LETTER: Final = re.compile(r"[^a-z\xf1]+")
_NO_CODE_LETTER: Final = re.compile(r"[^a-z0-9]+")


class Name(NamedTuple):
    """What is known about a field's name."""

    spoken: str
    """The words to put before the value, or nothing."""
    secret: str | None
    """The kind its values are, if it announces a secret."""
    perhaps: bool
    """Whether only a value that looks like a secret is one."""
    looks: Callable[[str], bool] | None = None
    """Whether a value looks like one, where that is asked."""


_SILENT: Final = Name("", None, perhaps=False)


def look(name: str) -> Name:
    """Look at a name such as ``steuer_id``, ``clientSecret`` or ``X-Api-Key``."""
    if len(name) > _LONGEST or _NO_NAME.search(name):
        return _SILENT
    words = _HUMPS.sub(" ", name).lower()
    told = words if words not in _GENERAL and context.tells(words) else ""
    letters = _NO_LETTER.sub("", words)
    code = _NO_CODE_LETTER.sub("", words)
    if code in _CODES:
        return Name(told, kinds.CARD_CODE, perhaps=True, looks=_is_short_code)
    if letters in _PINS:
        return Name(told, kinds.PASSWORD, perhaps=True, looks=_is_pin)
    looks = _PERHAPS.get(letters)
    if looks is not None:
        return Name(told, kinds.API_KEY, perhaps=True, looks=looks)
    return Name(told, _secret(letters, _NO_LETTER.split(words)), perhaps=False)


def _secret(letters: str, words: list[str]) -> str | None:
    """Give the kind that a name announces for sure."""
    parts = [word for word in words if word]
    while len(parts) > 1 and parts[-1] in _TAILS:
        parts.pop()
    if len(parts) < len(words):
        letters = "".join(parts)
    if parts and parts[-1] in _SAYS_ABOUT:
        return None
    if letters in _EXACTLY:
        return _EXACTLY[letters]
    for kind, endings in _ENDINGS:
        if letters.endswith(endings):
            return kind
    return kinds.PASSWORD if _is_password(parts) else None


def _is_password(parts: list[str]) -> bool:
    """Whether a word in the middle of a name, or a short one at its end, says it."""
    if not 1 < len(parts) <= _MOST_WORDS or parts[0] in {"is", "has"}:
        return False
    if parts[-1] in {"pass", "pw"}:
        return parts[-2] in _PASSWORD_OF
    at = next((i for i, word in enumerate(parts) if word in _PASSWORD_WORDS), len(parts))
    return at < len(parts) and not any(word in _SAYS_ABOUT for word in parts[at:])


def _is_short_code(value: str) -> bool:
    return _SHORT_CODE.fullmatch(value.strip()) is not None


def _is_pin(value: str) -> bool:
    return _PIN.fullmatch(value.strip()) is not None
