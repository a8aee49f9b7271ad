# ruff: noqa: SIM905 - long lists of words read better as text
"""Secrets told by the words before them: ``password=``, ``"api_key": "…"``, ``Authorization:``.

Where one of the words stands, the pattern of an assignment is tried at that place only, and then
whether the value looks like a secret at all (:mod:`.secretive`): most texts that say "token" or
"key" hold none.

Longer than most files here: one table of words at its end, and what is looked at for each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from affidavit.pipeline.redact import checks, kinds
from affidavit.pipeline.redact.kinds import Span
from affidavit.pipeline.redact.secretive import (
    is_key,
    is_password,
    is_placeholder,
    is_random,
    is_secret,
    is_strong,
    is_token,
    value_at,
)

Look: TypeAlias = Callable[[str, int, list[Span]], int]
"""Looks at the place of a word; says from where to go on."""

_GAP: Final = r"[\"'`\\\])*]{0,9}[ \t]{0,4}"
_SIGN: Final = r"(?::=|=>|==?|:|\xbb|->)[ \t]{0,4}(?:\r?\n)?\*{0,2}[ \t]?"
_VERB: Final = (
    r"[ \t](?:is|was|are|es|era|ser\xe1|ist|lautet|war|est|\xe8|\xe9|equals|to|a|auf|to be)"
    r"(?: now| still| ahora| jetzt)?:?[ \t]{1,2}"
)
_ASSIGNS: Final = rf"{_GAP}(?:(?P<sign>{_SIGN})|(?P<verb>{_VERB}))"
# A few words between, as in "password for the laptop (temporary): ...".
_WORDS: Final = r"(?:[ ]\(?[A-Za-z\xc0-\xff0-9.'@_-]{1,20}\)?,?){1,6}?"


def _compiled(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{words}){_ASSIGNS}", re.IGNORECASE)


_PASSWORD: Final = re.compile(
    r"(?:pass(?:wor[dt]e?s?|wd?|[ -]?phrase|code|e)?|ps?wd?|contrase(?:\xf1|n|ny)a|clave|senha"
    r"|kennwort)(?:[_ -]?(?:value|actual|de acceso|current|new|old|confirm(?:ation)?|again|repeat"
    r"|prod|production|staging|dev|test|[0-9]{1,2})(?=[\"'`\\\] \t:=>-]))?"
    r"(?![A-Za-z\xc0-\xff])",
    re.IGNORECASE,
)
_ASSIGNMENT: Final = re.compile(_ASSIGNS, re.IGNORECASE)
_LATER: Final = re.compile(rf"{_WORDS}[ ]?(?:[:=]|{_VERB})[ \t]{{0,2}}", re.IGNORECASE)
_QUOTED: Final = re.compile(r"[\"'`]?[ ]{1,2}")
_WORDS_ALONE: Final = re.compile(
    r"[\"']?((?:[A-Za-z]{2,12}[ ]){2,9}[A-Za-z]{2,12})(?=[ \t]{0,4}(?:[\n\r.,;\"']|\Z))"
)
_SECRET: Final = _compiled(r"secret(?:[_ -]?(?:access)?[_ -]?(?:key|token|value))?")
_TOKEN: Final = _compiled(r"token(?:[_ -]?(?:value|secret))?")
_KEY: Final = _compiled(r"key(?:[_ -]?(?:value|secret))?")
# A word or two between, as in "API key (read only): ...".
_KEY_LATER: Final = re.compile(
    r"(?:key|secret|token)s?(?:[ ]\(?[A-Za-z\xc0-\xff0-9.'_/-]{1,20}\)?,?){1,4}?[ ]?(?:[:=]"
    r"|[ ]is)[ \t\"']{1,3}",
    re.IGNORECASE,
)
_NEXT: Final = re.compile(r"[a-z]{3,6}[ ]{1,2}", re.IGNORECASE)
_KEY_OF: Final = tuple(
    (
        "api access secret private priv auth account shared signing encryption master client "
        "service admin consumer app session storage deploy webhook subscription license hmac ssh "
        "function application dd host wallet signer deployer owner operator relayer validator "
        "listen hd exchange "
        "bot trading broker rpc node binance kraken bybit okx kucoin bitfinex bitget coinbase "
        "deribit gate huobi mexc bitstamp alpaca polygon finnhub vantage tiingo infura alchemy "
        "etherscan quicknode openai anthropic azure google gemini mistral cohere stripe aws "
        "github gitlab slack twilio sendgrid datadog cloudflare"
    ).split()
)
_NOTHING_FOLLOWS: Final = frozenset((".", ",", ";", "!", "?", "\n", ""))
_AFTER_KEY: Final = frozenset(" :=_-\"'`\\])*sSvV\t\xbb>")
_TOKEN_OF: Final = ("api", "access", "auth", "bot", "refresh", "session", "bearer", "secret")
_AUTHORIZATION: Final = re.compile(
    rf"authorization{_GAP}{_SIGN}[\"'\\]{{0,2}}(?:(?P<scheme>[A-Za-z0-9-]{{3,20}})[ ]{{1,2}})?",
    re.IGNORECASE,
)
_SCHEMES: Final = frozenset(
    "basic bearer digest negotiate ntlm token apikey api-key hawk mac key oauth sso-key ldap "
    "zoho-oauthtoken aws4-hmac-sha256 genie snowflake splunk jwt dpop privatetoken bot".split()
)
_BEARER: Final = re.compile(r"bearer[ ]{1,2}([A-Za-z0-9._~+/=-]{12,4096})", re.IGNORECASE)
_HEADER_VALUE: Final = re.compile(r"[^\s\"'`\\,;<>\[\]]{6,4096}")
_SEED: Final = re.compile(
    r"(?:phrases?|mnemonic|semilla)(?:[^\n:=\"]{0,40}[:=\"])?[ \t\n\"'\\]{0,4}"
    r"((?:[0-9]{0,2}\.?[ ]?[a-z]{3,8}[ ,]{1,2}){11,23}[a-z]{3,8})(?![a-z])",
    re.IGNORECASE,
)
_SEED_WORD: Final = re.compile(r"[a-z]{3,8}", re.IGNORECASE)
_PROSE: Final = re.compile(
    r"(?:the|and|for|are|was|were|your|from|can|not|los|las|que|der|die|und)", re.IGNORECASE
)
_LEAST_SEED: Final = 12
"""Words of the shortest phrase; the others have three more each."""
_FOREIGN_KEY: Final = re.compile(
    r"(?:schl\xfcssel|cl\xe9s?|chi?ave)"
    r"(?: (?:d'|de |di |da |do )?(?:api|secr\xe8te|secreta|segreta|priv\xe9e|privata|privada"
    r"|acc\xe8s|accesso|acesso))?"
    rf"{_ASSIGNS}",
    re.IGNORECASE,
)
_FIX: Final = re.compile(r"[|^;](?:554|925)=([^|^;\n\x1d-\x1f]{1,128})")
_FIX_REACH: Final = 2048
_CURL: Final = re.compile(
    r"curl[^\n]{0,120}?[ ](?:-u|--user)[ =]?[\"']?[^\s:\"']{1,64}:([^\s\"']{1,128})", re.IGNORECASE
)


_GLUED: Final = frozenset("_-.")
_SHARE: Final = re.compile(r"[0-9.,/]{1,12}%?|[0-9]{1,4}(?:st|nd|rd|th|ms|s|x|/[0-9]+)?")
_LOGIN: Final = re.compile(
    r"user|login|usuario|utente|utilisateur|benutzer|account|admin|root|ssh|ftp|wifi|credential"
    r"|db|database|sudo",
    re.IGNORECASE,
)
_OR: Final = re.compile(
    r"[\"'`]?,?[ ](?:or|oder|o|ou|and|und|y|et|e|then)[ ](?=[\"'`]?[^\s])", re.IGNORECASE
)
_CARD_CODE: Final = re.compile(
    r"(?:c(?:vv|vc|vn)2?|code|c[o\xf3]digo de seguridad)(?: ?\(?(?:cvv|cvc)2?\)?)?"
    r"(?: ?(?:code|number|is|es|ist|:|=|-|n[\xb0o]\.?))?"
    rf"{_GAP}[ :=(/\"'\[>-]{{0,6}}([0-9]{{3,4}})(?![0-9.%,][0-9]|[0-9A-Za-z%])",
    re.IGNORECASE,
)
_COOKIE: Final = re.compile(
    r"cookies?[\"' ]{0,2}:[ ]{0,2}[\"'\\]{0,2}([A-Za-z0-9_.-]{1,64}=[^\n\r\"'\\\x1d-\x1f]{6,4096})",
    re.IGNORECASE,
)
_ELEMENT: Final = re.compile(r"</?[A-Za-z0-9_:.-]{0,32}\Z")
_INSIDE: Final = re.compile(
    r"[A-Za-z0-9_.-]{0,24}(?:[ ][^<>\n]{0,200})?>[ ]{0,2}(?:<!\[CDATA\[)?([^<>\n\x1d-\x1f]{3,256}?)"
    r"[ ]{0,2}(?:\]\]>)?</"
)
_ATTRIBUTE: Final = re.compile(
    r"[A-Za-z0-9_.-]{0,24}[\"'][ ]{1,4}value[ ]?=[ ]?([\"'])([^\"'<>\n]{3,256})\1", re.IGNORECASE
)
_ABOUT: Final = re.compile(
    r"polic|len|rule|reset|expir|hint|strength|chang|requir|format", re.IGNORECASE
)
_SSHPASS: Final = re.compile(r"pass[ ]{1,2}-p[ ]?[\"']?([^\s\"'$][^\s\"']{2,127})", re.IGNORECASE)
_PIN: Final = re.compile(
    r"(?:pin|otp)(?:[ _-](?:code|number|is|es|ist|de acceso|passcode))?"
    rf"(?:{_GAP}(?:[:=]|->)[ \t\"']{{0,4}}|[\"']?[ ](?:is|es|ist|code|code is)?[: ]{{0,2}})"
    r"([0-9]{4,8})(?![0-9.,%/:-][0-9]|[0-9A-Za-z%])",
    re.IGNORECASE,
)
_CARD_GROUPS: Final = re.compile(
    r"(?:card|carta|carte)s?(?:[ _-]?(?:no|nr|num|number|n\xfamero|numero|num\xe9ro)\b\.?)?"
    r"[^A-Za-z0-9]{1,12}([0-9]{4}(?:[ \t\r\n_/,+.|:-]{0,4}[0-9]{4}){3}"
    r"|[0-9]{4}[ \t\r\n_/,+.|:-]{1,4}[0-9]{6}[ \t\r\n_/,+.|:-]{1,4}[0-9]{5})(?![0-9])",
    re.IGNORECASE,
)
_NO_DIGITS: Final = re.compile(r"[^0-9]")


def find(text: str, data: bytes, found: list[Span]) -> None:
    """Add the values; ``data`` is the text as Latin-1."""
    low = data.lower()
    searches = _WORDS_OF_ALL if data.isascii() else _WORDS_BEYOND_ASCII
    if b"|" in data or b"^" in data:
        searches = (*searches, _WORDS_WITH_BARS)
    for search in searches:
        match = search(low)
        done = 0
        while match is not None:
            size, look = _LOOKS[match[0]]
            end = match.end()
            if end - size >= done:
                done = look(text, end - size, found)
            match = search(low, end)


def _password(text: str, at: int, found: list[Span]) -> int:
    word = _PASSWORD.match(text, at)
    if word is None or text[word.end() : word.end() + 1] in _NOTHING_FOLLOWS:
        return at
    if "<" in text[max(0, at - 34) : at]:
        inside = _element(text, at, found, kinds.PASSWORD)
        if inside > at:
            return inside
    if text[at - 3 : at].lower() == "ssh" and (option := _SSHPASS.match(text, at)) is not None:
        found.append((*option.span(1), kinds.PASSWORD))
        return option.end()
    doubtful = word[0].lower() in {"pass", "pw"}
    match = _ASSIGNMENT.match(text, word.end())
    if match is not None and not (doubtful and match["verb"]):
        value = value_at(text, match.end())
        natural = match["verb"] is not None
        if (
            value is not None
            and is_password(text, *value, natural=natural)
            and not (doubtful and _is_a_pass(text, at, *value))
        ):
            found.append((value[0], value[1], kinds.PASSWORD))
            return _another(text, value[1], found)
        words = _WORDS_ALONE.match(text, match.end()) if match["sign"] is not None else None
        if words is not None and word[0].lower().startswith("passphrase"):
            found.append((*words.span(1), kinds.PASSWORD))
            return words.end()
    return _password_later(text, at, word.end(), found, doubtful=doubtful)


def _element(text: str, at: int, found: list[Span], kind: str) -> int:
    """The value of an XML element or attribute whose name has the word in it."""
    match, group = None, 1
    if _ELEMENT.search(text, max(0, at - 34), at) is not None:
        match = _INSIDE.match(text, at)
    if match is None and (match := _ATTRIBUTE.match(text, at)) is not None:
        group = 2
    if match is None:
        return at
    value = match[group]
    if kind == kinds.PASSWORD and _ABOUT.search(match[0], 0, match.start(group) - at) is not None:
        return at
    if is_placeholder(value) or (kind != kinds.PASSWORD and not is_secret(value)):
        return at
    found.append((*match.span(group), kind))
    return match.end(group)


def _is_a_pass(text: str, at: int, start: int, end: int, quoted: bool) -> bool:
    """Whether ``pass`` is what it mostly is: one of several, a share, a test's result."""
    value = text[start:end]
    if quoted or text[at - 1 : at] in _GLUED or is_random(value):
        return False
    plain = value.isalpha() and (value.islower() or value.istitle())
    return _SHARE.fullmatch(value) is not None or (
        plain and _LOGIN.search(text, max(0, at - 40), at) is None
    )


def _another(text: str, end: int, found: list[Span]) -> int:
    """Add the second of two passwords, as in "A or B"."""
    match = _OR.match(text, end)
    value = value_at(text, match.end()) if match is not None else None
    if value is None or not is_random(text[value[0] : value[1]]):
        return end
    found.append((value[0], value[1], kinds.PASSWORD))
    return value[1]


def _code(text: str, at: int, found: list[Span]) -> int:
    """CVV and CVC; the digits after the word, and a sign or a few words."""
    match = _CARD_CODE.match(text, at) if not text[at - 1 : at].isalnum() else None
    if match is None:
        return at
    found.append((*match.span(1), kinds.CARD_CODE))
    return match.end()


def _cookie(text: str, at: int, found: list[Span]) -> int:
    """A header of cookies: all of it."""
    match = _COOKIE.match(text, at)
    if match is None:
        return at
    found.append((*match.span(1), kinds.API_KEY))
    return match.end()


def _pin(text: str, at: int, found: list[Span]) -> int:
    """A PIN or a code that is used once: digits alone, and no price."""
    match = _PIN.match(text, at) if not text[at - 1 : at].isalnum() else None
    if match is None:
        return at
    found.append((*match.span(1), kinds.PASSWORD))
    return match.end()


def _card(text: str, at: int, found: list[Span]) -> int:
    """A card's number after the word, in groups that only a table or a list has otherwise."""
    match = _CARD_GROUPS.match(text, at)
    if match is None:
        return at
    if checks.card(_NO_DIGITS.sub("", match[1])):
        found.append((*match.span(1), kinds.CARD))
    return match.end()


def _password_later(text: str, at: int, end: int, found: list[Span], *, doubtful: bool) -> int:
    """A password that does not follow at once: after a few words, in quotes, as an option."""
    match = _QUOTED.match(text, end)
    value = value_at(text, match.end()) if match is not None else None
    if value is not None:
        option = text[max(0, at - 24) : at].rpartition(" ")[2].startswith("-")
        plain = option or (value[2] and not doubtful)
        if is_random(text[value[0] : value[1]]) or (
            plain
            and " " not in text[value[0] : value[1]]
            and is_password(text, value[0], value[1], quoted=True, natural=False)
        ):
            found.append((value[0], value[1], kinds.PASSWORD))
            return value[1]
    match = _LATER.match(text, end) if not doubtful else None
    value = value_at(text, match.end()) if match is not None else None
    if value is not None and is_strong(text[value[0] : value[1]]):
        found.append((value[0], value[1], kinds.PASSWORD))
        return value[1]
    return at


def _keyed(
    pattern: re.Pattern[str],
    kind: str,
    text: str,
    at: int,
    found: list[Span],
    looks: Callable[[str], bool] = is_secret,
) -> int:
    match = pattern.match(text, at)
    if match is None:
        return at
    value = value_at(text, match.end())
    if value is None or not looks(text[value[0] : value[1]]):
        return at
    found.append((value[0], value[1], kind))
    return value[1]


def _loosely(text: str, at: int, found: list[Span], kind: str = kinds.API_KEY) -> int:
    """A key that does not follow its name at once, or without a sign: ``api key 7f3a...``."""
    for pattern in (_NEXT, _KEY_LATER):
        match = pattern.match(text, at)
        value = value_at(text, match.end()) if match is not None else None
        if value is not None and is_key(text[value[0] : value[1]]):
            found.append((value[0], value[1], kind))
            return value[1]
    return at


def _left(text: str, at: int) -> str:
    return text[max(0, at - 16) : at].rstrip(" _-").lower()


def _secret(text: str, at: int, found: list[Span]) -> int:
    if (
        text[at + 6 : at + 7] in {">", '"'}
        and (end := _element(text, at, found, kinds.API_KEY)) > at
    ):
        return end
    end = _keyed(_SECRET, kinds.API_KEY, text, at, found)
    return end if end > at else _loosely(text, at, found)


def _token(text: str, at: int, found: list[Span]) -> int:
    if (
        text[at + 5 : at + 6] in {">", '"'}
        and (end := _element(text, at, found, kinds.API_KEY)) > at
    ):
        return end
    known = _left(text, at).endswith(_TOKEN_OF)
    end = _keyed(_TOKEN, kinds.API_KEY, text, at, found, is_secret if known else is_token)
    return end if end > at or not known else _loosely(text, at, found)


def _key(text: str, at: int, found: list[Span]) -> int:
    if (
        text[at + 3 : at + 4] in {">", '"'}
        and (end := _element(text, at, found, kinds.API_KEY)) > at
    ):
        return end
    if text[at + 3 : at + 4] not in _AFTER_KEY:  # keyword, "the key, the value"
        return at
    left = _left(text, at)
    if not left.endswith(_KEY_OF):
        return at
    kind = kinds.PRIVATE_KEY if left.endswith(("private", "priv")) else kinds.API_KEY
    end = _keyed(_KEY, kind, text, at, found)
    return end if end > at else _loosely(text, at, found, kind)


def _foreign_key(text: str, at: int, found: list[Span]) -> int:
    return _keyed(_FOREIGN_KEY, kinds.API_KEY, text, at, found)


def _clave(text: str, at: int, found: list[Span]) -> int:
    """Spanish ``clave``, Portuguese ``chave`` and Italian ``chiave`` all end alike."""
    if text[at : at + 1] in {"c", "C"} and text[at + 1 : at + 2] in {"l", "L"}:
        return _password(text, at, found)
    return _foreign_key(text, at - (text[at : at + 1] in {"h", "H"}), found)


def _authorization(text: str, at: int, found: list[Span]) -> int:
    match = _AUTHORIZATION.match(text, at)
    value = _HEADER_VALUE.match(text, match.end()) if match is not None else None
    if match is None or value is None:
        return at
    scheme = (match["scheme"] or "").lower()
    if scheme not in _SCHEMES and not is_secret(value[0]):  # "authorization: pending"
        return at
    basic = scheme == "basic"
    found.append((*value.span(), kinds.PASSWORD if basic else kinds.API_KEY))
    return value.end()


def _bearer(text: str, at: int, found: list[Span]) -> int:
    match = _BEARER.match(text, at)
    if match is None or not is_secret(match[1]):
        return at
    found.append((*match.span(1), kinds.API_KEY))
    return match.end()


def _seed(text: str, at: int, found: list[Span]) -> int:
    match = _SEED.match(text, at)
    if match is None:
        return at
    words = list(_SEED_WORD.finditer(text, *match.span(1)))
    common = next((i for i, word in enumerate(words) if _PROSE.fullmatch(word[0])), len(words))
    size = common - common % 3
    if size < _LEAST_SEED:
        return at
    found.append((match.start(1), words[size - 1].end(), kinds.PRIVATE_KEY))
    return match.end()


def _fix(text: str, at: int, found: list[Span]) -> int:
    """A FIX message: tags 554 and 925 are passwords."""
    end = text.find("\n", at, at + _FIX_REACH)
    end = end if end >= 0 else min(len(text), at + _FIX_REACH)
    found += ((*match.span(1), kinds.PASSWORD) for match in _FIX.finditer(text, at, end))
    return end


def _curl(text: str, at: int, found: list[Span]) -> int:
    match = _CURL.match(text, at)
    if match is None or match[1][0] in "$[<{":
        return at
    found.append((*match.span(1), kinds.PASSWORD))
    return match.end()


_LOOKS: Final[dict[bytes, tuple[int, Look]]] = {
    b"pass": (4, _password),
    b"pw": (2, _password),
    b"phrase": (6, _seed),
    b"key": (3, _key),
    b"kennwort": (8, _password),
    b"ken": (5, _token),
    b"contrase": (8, _password),
    b"cret": (6, _secret),
    b"curl": (4, _curl),
    b"card": (4, _card),
    b"carta": (5, _card),
    b"carte": (5, _card),
    b"cvv": (3, _code),
    b"cvc": (3, _code),
    b"cvn": (3, _code),
    b"code": (4, _code),
    b"cookie": (6, _cookie),
    b"cookies": (7, _cookie),
    b"psw": (3, _password),
    b"codigo de seg": (13, _code),
    b"c\xf3digo de seg": (13, _code),
    b"pin": (3, _pin),
    **{b"p" + bytes((code,)): (4, _pin) for code in b' _:="-'},
    b"ve": (5, _clave),
    b"senha": (5, _password),
    b"mnemonic": (8, _seed),
    b"milla": (7, _seed),
    b"bearer": (6, _bearer),
    b"=fix": (5, _fix),
    b"zation": (13, _authorization),
    b"cl\xe9": (3, _foreign_key),
    b"schl\xfcssel": (9, _foreign_key),
}
"""What is matched of a word, the size of the whole word, and who looks at the place."""

# The engine finds one letter fastest, so each search begins at a letter, a rare one where it can,
# and words that have it are searched for together: 0.5 to 1.5 us each for 1.3 KB. Asking for the
# first place, and then for the next, is cheaper than an iterator: nearly always there is none.
_WORDS_OF_ALL: Final = tuple(
    re.compile(words).search
    for words in (
        rb"p(?:ass|w|sw|hrase|in(?![a-z])|[ _:=\"-](?<=otp.))",
        rb"k(?:ey|ennwort|(?<=tok)en)",
        (
            rb"c(?:o(?:ntrase|d(?:e(?<=urity code)|igo de seg)|okies?(?=[\"' ]{0,2}:))|url"
            rb"|ar(?:d|t[ae])|v[vcn]|ret(?<=secret)|\xf3digo de seg)"
        ),
        rb"ve(?<=ave)(?:(?<=clave)|(?<=chave)|(?<=hiave))",
        rb"senha",
        rb"m(?:nemonic|(?<=sem)illa)",
        rb"bearer",
        rb"z(?<=authoriz)ation",
    )
)
_WORDS_WITH_BARS: Final = re.compile(rb"=(?<=8=)fix").search
_WORDS_BEYOND_ASCII: Final = (
    *_WORDS_OF_ALL,
    re.compile(rb"cl\xe9|schl\xfcssel").search,
)
