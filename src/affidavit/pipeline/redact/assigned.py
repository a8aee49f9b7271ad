"""Secrets told by the words before them: ``password=``, ``"api_key": "…"``, ``Authorization:``.

The words are looked for in the text without its vowels and spaces, which is half as long: a text
of 4 KB is searched for a dozen of them in about 15 µs. Where one stands, the pattern of an
assignment is tried at that place only, and then whether the value looks like a secret at all:
most texts that say "token" or "key" hold none.
"""

from __future__ import annotations

import re
from typing import Final

from affidavit.pipeline.redact import kinds
from affidavit.pipeline.redact.kinds import Span

_SQUEEZED_OUT: Final = b" \n\taeiou0123456789.,;:()'\""
_LONGEST: Final = 512

_GAP: Final = r"[\"'`\\\])*]{0,3}[ \t]{0,4}"
_SIGN: Final = r"(?::=|=>|==?|:|\xbb|->)[ \t]{0,4}(?:\r?\n)?\*{0,2}[ \t]?"
_VERB: Final = (
    r"[ \t](?:is|was|are|es|era|ist|lautet|war|est|\xe8|\xe9|equals|(?:set|changed|reset) to)"
    r"(?: now| still| ahora| jetzt)?:?[ \t]{1,2}"
)
_ASSIGNS: Final = rf"{_GAP}(?:(?P<sign>{_SIGN})|(?P<verb>{_VERB}))"


def _compiled(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{words})(?:{_ASSIGNS})", re.IGNORECASE)


_PASSWORD: Final = _compiled(
    r"(?:pass(?:wor[dt]e?s?|wd|phrase|code|e)?|pwd|contrase(?:\xf1|n)a|clave|senha|kennwort)"
    r"(?:[_ -](?:value|actual|de acceso|current|new|old))?(?:[ ](?:for|de|del|f\xfcr|pour|per|para) [^\s:=]{1,40}){0,2}"
)
_SECRET: Final = _compiled(r"secret(?:[_ -]?(?:access)?[_ -]?(?:key|token|value))?")
_TOKEN: Final = _compiled(r"token(?:[_ -]?(?:value|secret))?")
_KEY: Final = _compiled(r"key(?:[_ -]?(?:value|secret))?")
_KEY_OF: Final = tuple(
    (
        "api access secret private priv auth account shared signing encryption master client"
        " service admin consumer app session storage deploy webhook subscription license hmac ssh"
        " function host"
    ).split()
)
_AUTHORIZATION: Final = re.compile(
    rf"authorization{_GAP}{_SIGN}[\"'\\]{{0,2}}(?P<scheme>[A-Za-z0-9-]{{3,20}})?[ ]{{1,2}}", re.IGNORECASE
)
_BEARER: Final = re.compile(r"bearer[ ]{1,2}([A-Za-z0-9._~+/=-]{12,})", re.IGNORECASE)
_HEADER_VALUE: Final = re.compile(r"[^\s\"'`\\,;<>\[\]]{6,4096}")
_SEED: Final = re.compile(
    r"(?:phrases?|mnemonic|semilla)[^\n:=\"]{0,40}[:=\"][ \t\n\"'\\]{0,4}"
    r"((?:[0-9]{0,2}\.?[ ]?[a-z]{3,8}[ ,]{1,2}){11,23}[a-z]{3,8})(?![a-z])",
    re.IGNORECASE,
)

_BARE: Final = re.compile(
    r"[^\s\"'`<>,;&|(){}\[\]\\](?:[^\s\"'`<>,;&|\\]|[,;](?![\s\"']|\Z|[A-Za-z_]{1,32}[=:])){0,510}"
)
_PLACEHOLDER: Final = re.compile(
    r"\[(?:sealed )?[a-z_0-9]{2,40}(?: [^\]\s]{1,5}| \S at [^\]\s]{1,80})?\]|<[A-Za-z_ :-]{1,60}>"  # ours
    r"|\*{3,}.*|.*\*{4,}.*|[xX]{3,}|\.{3,}|\$.*|\{.*|%[({s].*|@.*|#+|-+|_+|\?+"
    r"|(?:your|my|the|some|change|insert|enter|put)[_ -].*|.{0,20}(?:_here|-here|placeholder).{0,20}",
    re.IGNORECASE,
)
_CODE: Final = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*[(\[].*"
    r"|(?:self|cls|os|env|config|cfg|settings|args|params|process|this|options|request|data|ctx|secrets|vault)[.\[].*",
)
_WORD: Final = re.compile(r"[a-z\xdf-\xff]+|[A-Z]?[a-z\xdf-\xff]+[.!?:]?")
_NOT_SECRET: Final = frozenset(
    (
        "required optional string str text none null nil true false undefined hidden redacted"
        " masked empty missing invalid incorrect wrong expired changed reset forgotten protected"
        " correct valid varchar char bytes any int integer number boolean bool object type field"
        " input value default self not and the for you your must should needed unknown n/a na tbd"
        " todo expires secret password token key secretstr strong weak encrypted hashed stored"
        " sent shared securely visible accepted rejected rotated disabled enabled public private"
        " bearer basic"
    ).split()
)
_ENDS: Final = re.compile(r"[ \t]{0,8}(?:\Z|[\n\r,;.&)\x1e])")
_TRAILING: Final = ".,:?"
_CLOSERS: Final = {")": "(", "]": "[", "}": "{"}


def find(text: str, data: bytes, found: list[Span]) -> None:
    """Add the values; ``data`` is the text as Latin-1."""
    low = data.lower()
    squeezed = low.translate(None, _SQUEEZED_OUT)
    for hint, stem, look in _STEMS:
        if hint in squeezed:
            at = low.find(stem)
            while at >= 0:
                look(text, at, found)
                at = low.find(stem, at + len(stem))


def _password(text: str, at: int, found: list[Span]) -> None:
    match = _PASSWORD.match(text, at)
    if match is not None:
        value = _value(text, match.end())
        if value is not None and _is_password(text, *value, natural=match["verb"] is not None):
            found.append((value[0], value[1], kinds.PASSWORD))


def _keyed(pattern: re.Pattern[str], text: str, at: int, found: list[Span]) -> None:
    match = pattern.match(text, at)
    if match is not None:
        value = _value(text, match.end())
        if value is not None and is_secret(text[value[0] : value[1]]):
            found.append((value[0], value[1], kinds.API_KEY))


def _secret(text: str, at: int, found: list[Span]) -> None:
    _keyed(_SECRET, text, at, found)


def _token(text: str, at: int, found: list[Span]) -> None:
    _keyed(_TOKEN, text, at, found)


def _key(text: str, at: int, found: list[Span]) -> None:
    left = text[max(0, at - 16) : at].rstrip(" _-").lower()
    if not left.endswith(_KEY_OF):
        return
    if left.endswith(("private", "priv")):
        match = _KEY.match(text, at)
        value = _value(text, match.end()) if match is not None else None
        if value is not None and is_secret(text[value[0] : value[1]]):
            found.append((value[0], value[1], kinds.PRIVATE_KEY))
        return
    _keyed(_KEY, text, at, found)


def _authorization(text: str, at: int, found: list[Span]) -> None:
    match = _AUTHORIZATION.match(text, at)
    if match is None:
        return
    value = _HEADER_VALUE.match(text, match.end())
    if value is not None:
        basic = (match["scheme"] or "").lower() == "basic"
        found.append((*value.span(), kinds.PASSWORD if basic else kinds.API_KEY))


def _bearer(text: str, at: int, found: list[Span]) -> None:
    match = _BEARER.match(text, at)
    if match is not None and is_secret(match[1]):
        found.append((*match.span(1), kinds.API_KEY))


def _seed(text: str, at: int, found: list[Span]) -> None:
    match = _SEED.match(text, at)
    if match is not None:
        found.append((*match.span(1), kinds.PRIVATE_KEY))


_STEMS: Final = (
    (b"pss", b"pass", _password),
    (b"pwd", b"pwd", _password),
    (b"cntrs", b"contrase", _password),
    (b"clv", b"clave", _password),
    (b"snh", b"senha", _password),
    (b"knnw", b"kennwort", _password),
    (b"scrt", b"secret", _secret),
    (b"tkn", b"token", _token),
    (b"ky", b"key", _key),
    (b"thrz", b"authorization", _authorization),
    (b"brr", b"bearer", _bearer),
    (b"phrs", b"phrase", _seed),
    (b"mnmnc", b"mnemonic", _seed),
)


def _value(text: str, at: int) -> tuple[int, int, bool] | None:
    """Find the value that begins here: start, end and whether it stands in quotes."""
    if text[at : at + 1] == "\\":
        at += 1
    quote = text[at : at + 1]
    if quote and quote in "\"'`":
        end = text.find(quote, at + 1, at + 1 + _LONGEST)
        if end > at + 1 and "\n" not in text[at + 1 : end]:
            while text[end - 1] == "\\":
                end -= 1
            return (at + 1, end, True) if end > at + 1 else None
        at += 1
    match = _BARE.match(text, at)
    if match is None:
        return None
    value = match[0].rstrip(_TRAILING)
    while value and value[-1] in _CLOSERS and value.count(_CLOSERS[value[-1]]) < value.count(value[-1]):
        value = value[:-1].rstrip(_TRAILING)
    return (at, at + len(value), False) if value else None


def is_placeholder(value: str) -> bool:
    """Whether a value stands for another, or for nothing."""
    return value.lower() in _NOT_SECRET or _PLACEHOLDER.fullmatch(value) is not None


def _is_password(text: str, start: int, end: int, quoted: bool, *, natural: bool) -> bool:
    value = text[start:end]
    if len(value) < 3 or is_placeholder(value):  # noqa: PLR2004 - shorter ones are hardly passwords
        return False
    if quoted:
        return len(value) <= 128 and value.count(" ") < 6  # noqa: PLR2004 - longer is a sentence
    if _CODE.fullmatch(value) is not None:
        return False
    if _WORD.fullmatch(value) is None:
        return not natural or any(not character.isalpha() for character in value.strip(_TRAILING))
    # A plain word: only where the statement ends with it, as in "password: swordfish".
    return not natural and _ENDS.match(text, end) is not None


def is_secret(value: str) -> bool:
    """Whether a value looks like a key: long enough, and not a word or a small number."""
    size = len(value)
    if size < 8 or size > 4096 or " " in value or is_placeholder(value):  # noqa: PLR2004 - bounds of keys
        return False
    if _CODE.fullmatch(value) is not None or "://" in value:
        return False
    digits = sum(character.isdigit() for character in value)
    if digits == size:
        return size >= 16  # noqa: PLR2004 - shorter ones are counts and ids
    if digits == 0:
        return size >= 20 and _WORD.fullmatch(value) is None and "_" not in value  # noqa: PLR2004
    return True
