# ruff: noqa: SIM905 - long lists of words read better as text
"""Values of assignments: where they begin and end, and whether they look like a secret."""

from __future__ import annotations

import re
from typing import Final

from affidavit.pipeline.redact.shadow import BLANK, SEPARATORS

_LONGEST: Final = 512
_BARE: Final = re.compile(
    r"[^\s\"'`<>,;&|(){}\[\]\\](?:[^\s\"'`<>,;&|\\]|[,;](?![\s\"']|\Z|[A-Za-z_]{1,32}[=:])){0,510}"
)
_PLACEHOLDER: Final = re.compile(
    r"<[A-Za-z_ :-]{1,60}>|(?:[a-z]{1,20}_){1,3}(?:pass|pwd|passwd|password|getpass)"
    r"|\*{3,}.*|.*\*{4,}.*|[xX]{3,}|\.{3,}|\$.*|\{.*|%[({s].*|@[a-z]+|#+|-+|_+|\?+"
    r"|(?:your|my|the|some|change|insert|enter|put)[_ -].*|.{0,20}(?:_here|-here"
    r"|placeholder).{0,20}",
    re.IGNORECASE,
)
_BROKEN: Final = re.compile(f"[\n{SEPARATORS}{BLANK}]")
"""What no quoted value has inside: a line's end, another text, something redacted already."""

_CODE: Final = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*[(\[].*"
    r"|(?:self|cls|os|env|config|cfg|settings|args|params|process|this|options|request|data|ctx"
    r"|secrets|vault)[.\[].*"
)
_WORD: Final = re.compile(r"[a-z\xdf-\xff]+|[A-Z]?[a-z\xdf-\xff]+[.!?:]?|[A-Z]{2,12}")
_NOT_SECRET: Final = frozenset(
    (
        "required optional string str text none null nil true false undefined hidden redacted "
        "masked empty missing invalid incorrect wrong expired changed reset forgotten protected "
        "correct valid varchar char bytes any int integer number boolean bool object type field "
        "input value default self user username pwd passwd not and the for you your must should "
        "needed unknown n/a na tbd todo expires secret password token key secretstr strong weak "
        "encrypted hashed stored sent shared securely visible accepted rejected rotated disabled "
        "enabled public private bearer basic"
    ).split()
)
_ALGORITHM: Final = re.compile(
    r"(?:sha|md|aes|rsa|hmac|pbkdf|hs|rs|es|ed|base|utf|bcrypt|argon|scrypt|oauth|web"
    r"|ipv)-?[0-9/a-z]{1,12}"
    r"|v?[0-9]+(?:[.,:/-][0-9]+)*[a-z%]{0,3}|[0-9]+-?[a-z]+|[a-z]+-[0-9]{1,2}",
    re.IGNORECASE,
)
_MAIL: Final = re.compile(r"[^@]@[^@]+\.[A-Za-z]{2,}\Z")
_ENDS: Final = re.compile(r"[ \t]{0,8}(?:\Z|[\n\r,;.&)\x1e])")
_CONTRACT: Final = re.compile(r"0x[0-9a-fA-F]{40}")
_TRAILING: Final = ".,:?"
_CLOSERS: Final = {")": "(", "]": "[", "}": "{"}
_LEAST_PASSWORD: Final = 3
_LEAST_STRONG: Final = 6
_LEAST_KEY: Final = 8
_LEAST_NUMBER: Final = 16
_LEAST_LETTERS: Final = 20
_LONGEST_PASSWORD: Final = 128
_LONGEST_KEY: Final = 4096
_MOST_SPACES: Final = 5


def value_at(text: str, at: int) -> tuple[int, int, bool] | None:
    """Find the value that begins here: start, end and whether it stands in quotes."""
    while text[at : at + 1] == "\\":
        at += 1
    quote = text[at : at + 1]
    if quote and quote in "\"'`":
        end = text.find(quote, at + 1, at + 1 + _LONGEST)
        if end > at + 1 and not _BROKEN.search(text, at + 1, end):
            while text[end - 1] == "\\":
                end -= 1
            return (at + 1, end, True) if end > at + 1 else None
        at += 1
    match = _BARE.match(text, at)
    if match is None:
        return None
    value = match[0].rstrip(_TRAILING)
    while (
        value
        and value[-1] in _CLOSERS
        and value.count(_CLOSERS[value[-1]]) < value.count(value[-1])
    ):
        value = value[:-1].rstrip(_TRAILING)
    return (at, at + len(value), False) if value else None


def is_placeholder(value: str) -> bool:
    """Whether a value stands for another, or for nothing."""
    return value.lower() in _NOT_SECRET or _PLACEHOLDER.fullmatch(value) is not None


def is_password(text: str, start: int, end: int, quoted: bool, *, natural: bool) -> bool:
    """Whether what was assigned to a password is one; ``natural``: in a sentence, not by a sign."""
    value = text[start:end]
    if len(value) < _LEAST_PASSWORD or is_placeholder(value):
        return False
    if quoted:
        return len(value) <= _LONGEST_PASSWORD and value.count(" ") <= _MOST_SPACES
    if _CODE.fullmatch(value) is not None:
        return False
    if natural:
        return is_strong(value) or (value.isdigit() and len(value) >= _LEAST_STRONG)
    # A plain word: only where the statement ends with it, as in "password: swordfish".
    return _WORD.fullmatch(value) is None or _ENDS.match(text, end) is not None


def is_strong(value: str) -> bool:
    """Whether a value is no word of a language: letters, and digits or signs among them."""
    if len(value) < _LEAST_STRONG or is_placeholder(value) or _CODE.fullmatch(value) is not None:
        return False
    if _ALGORITHM.fullmatch(value) is not None or "://" in value or _MAIL.search(value):
        return False
    digits = _digits(value)
    letters = sum(map(str.isalpha, value))
    signs = len(value) - letters - digits - sum(value.count(sign) for sign in "-'.,/")
    return letters > 0 and digits + signs > 0


def is_random(value: str) -> bool:
    """Whether a value can stand alone as a secret: strong, with digits, and long or with signs."""
    digits = _digits(value)
    mixed = not value.isalnum() or (len(value) >= _LEAST_KEY and value != value.upper())
    return digits > 0 and mixed and is_strong(value)


def _digits(value: str) -> int:
    return len(value) - len(value.encode("latin-1", "replace").translate(None, b"0123456789"))


def is_key(value: str) -> bool:
    """Whether a value that nothing assigns looks like a key: long, with digits and letters."""
    if len(value) < _LEAST_NUMBER or value.isdigit() or not any(map(str.isdigit, value)):
        return False
    return _ALGORITHM.fullmatch(value) is None and is_secret(value)


def is_secret(value: str) -> bool:
    """Whether a value looks like a key: long enough, and not a word or a small number."""
    size = len(value)
    if not _LEAST_KEY <= size <= _LONGEST_KEY or " " in value or is_placeholder(value):
        return False
    if (
        _CODE.fullmatch(value) is not None
        or "://" in value
        or _CONTRACT.fullmatch(value) is not None
    ):
        return False
    digits = _digits(value)
    if digits == size:
        return size >= _LEAST_NUMBER
    if digits == 0:
        return size >= _LEAST_LETTERS and _WORD.fullmatch(value) is None and "_" not in value
    return True
