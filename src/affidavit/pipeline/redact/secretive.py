# ruff: noqa: SIM905 - long lists of words read better as text
"""Values of assignments: where they begin and end, and whether they look like a secret."""

from __future__ import annotations

import re
from typing import Final

from affidavit.pipeline.redact.shadow import BLANK, SEPARATORS

_LONGEST: Final = 512
_BARE: Final = re.compile(
    r"[^\s\"'`<>,;&|(){}\[\]\\](?:[^\s\"'`<>,;&|\\]|[,;](?![\s\"']|\Z|[A-Za-z_]{1,32}[=:])"
    # These separate values, unless they go on at once with what is no name of another one.
    r"|[&|](?![\s\"'&|]|\Z|[A-Za-z0-9_.%-]{1,32}=)|'(?=[A-Za-z0-9])(?![a-z]{1,2}\b)"
    r"|<(?![/!A-Za-z][^<>\n]{0,60}>|[\s\"'=]|\Z)|\\(?=[A-Za-z0-9])(?![nrtbfu])){0,510}"
)
_WRAPPED: Final = re.compile(r"\{[^\s{}\"'`<>,:=]{4,128}\}")
_PLACEHOLDER: Final = re.compile(
    r"<[A-Za-z_ :-]{1,60}>|(?:[a-z]{1,20}_){1,3}(?:pass|pwd|passwd|password|getpass)"
    r"|\*{3,}|[xX]{3,}|\.{3,}|#+|-+|_+|\?+|\x95{3,}"
    # Variables: of a shell, PHP, a template, a format, SQL.
    r"|\$(?:[A-Z_][A-Z0-9_]*|[a-z_]+(?:[A-Z][a-z]+)*|[0-9]|(?i:env):[A-Za-z_]+)"
    r"|\$[A-Za-z_]+(?:\[|->).*|\$\$?[{(].*"
    r"|\{{1,3}[^{}0-9!#$%&?@^~]{0,80}\}{0,3}|%(?:[({].*|[sdrv])"
    r"|[@:][a-z_]*(?:pass|pass[a-z]*|pwd?|user|secret|token|key|param|value)"
    r"|(?:your|my|the|some|change|insert|enter|put|example)(?:[_ -][A-Za-z]{1,20}){1,6}[!.]?"
    r"|your(?:[_ -][A-Za-z]{1,20}){1,6}[_ -]?[0-9]{0,3}"
    r"|(?:[A-Za-z]{1,20}[_ -]){1,4}here[!.]?|[A-Za-z_ -]{0,20}placeholder[A-Za-z_ -]{0,20}",
    re.IGNORECASE,
)
_EXACT: Final = re.compile(
    r"\*{3,}|[xX]{3,}|\.{3,}|#{3,}|-{2,}|_{2,}|\?{2,}|\u2022{3,}|<[A-Za-z_ :-]{1,60}>"
    r"|\$\{[A-Za-z_][A-Za-z0-9_.:-]{0,80}\}|\{\{ ?[A-Za-z_][A-Za-z0-9_. -]{0,80}\}\}"
    r"|%\([A-Za-z_]{1,40}\)s|%s|changeme|change[_-]me"
    r"|(?:none|null|nil|undefined|true|false|n/a|na|tbd|todo|string|redacted|masked|hidden|removed"
    r"|withheld|required|optional|secretstr|\[redacted\]|\[filtered\]|\(redacted\)|<redacted>)",
    re.IGNORECASE,
)
"""Of a field whose name says that it is secret, nothing but these well-known forms is kept."""

_MASKED: Final = re.compile(r"[^*]{0,12}\*{3,}[^*]{0,8}")
_PREFIXES: Final = frozenset("bBrRuUfFnNeE")
_BROKEN: Final = re.compile(f"[\n{SEPARATORS}{BLANK}]")
"""What no quoted value has inside: a line's end, another text, something redacted already."""

_CODE: Final = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*[(\[](?:[^)\]]*|.*[)\]])"
    r"|[A-Za-z_][A-Za-z0-9_]*[(\[][^)\]]{0,80}[)\]]\.[A-Za-z_].*"
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
    r"sha[0-9]?-?[0-9]{0,3}(?:/[0-9]{3})?|md[0-9]|(?:aes|rsa|dsa|ec)-?[0-9]{0,4}(?:-?[a-z]{3})?"
    r"|(?:hmac|pbkdf2?)[-_]?(?:sha[0-9-]{0,5}|md5)?|(?:hs|rs|es|ps)[0-9]{3}|ed[0-9]{3,5}"
    r"|(?:base|utf)-?[0-9]{1,2}(?:url|le|be)?|bcrypt[0-9]?|argon2?(?:id|i|d)?|scrypt"
    r"|oauth-?[0-9](?:\.[0-9])?a?|web-?[0-9]|ip-?v[46]"
    r"|v?[0-9]+(?:[.,:/-][0-9]+)*[a-z%]{0,3}|[0-9]+-?[a-z]+|[a-z]+-[0-9]{1,2}",
    re.IGNORECASE,
)
_MAIL: Final = re.compile(r"[^@]@[^@]+\.[A-Za-z]{2,}\Z")
_ENDS: Final = re.compile(r"[ \t]{0,8}(?:\Z|[\n\r,;.&)\x1e])")
_CONTRACT: Final = re.compile(r"0x[0-9a-fA-F]{40}|G[A-Z2-7]{55}")
"""Addresses anybody may know: a contract's, an account's at Stellar."""

_COIN: Final = re.compile(
    r"(?P<key>[1-9A-HJ-NP-Za-km-z]{43,44})|T[1-9A-HJ-NP-Za-km-z]{33}|[A-Z]{8,}[0-9]{0,2}"
)
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_KEY_BITS: Final = 256
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
    first = at
    while text[at : at + 1] == "\\":
        at += 1
    if text[at : at + 1] in _PREFIXES and text[at + 1 : at + 2] in {'"', "'"}:
        at += 1  # N'...' of SQL, b"..." of Python
        first = at
    quote = text[at : at + 1]
    if quote and quote in "\"'`":
        end = _closing(text, at + 1, quote, at - first)
        if end > at + 1 and not _BROKEN.search(text, at + 1, end):
            while text[end - 1] == "\\":
                end -= 1
            return (at + 1, end, True) if end > at + 1 else None
        at += 1
    elif quote == "{" and (wrapped := _WRAPPED.match(text, at)) is not None:
        return at, wrapped.end(), False
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


def _closing(text: str, at: int, quote: str, escapes: int) -> int:
    """Find the quote that closes; one with more backslashes than the opening one is inside."""
    stop, first = at + _LONGEST, -1
    end = text.find(quote, at, stop)
    while end >= 0:
        first = end if first < 0 else first
        slashes = 0
        while text[end - slashes - 1] == "\\" and end - slashes > at:
            slashes += 1
        if slashes <= escapes or (slashes - escapes) % (2 * escapes + 2) != escapes + 1:
            return end
        end = text.find(quote, end + 1, stop)
    return first


def is_nothing(value: str) -> bool:
    """Whether a value, in a field that is surely secret, is one of the well-known stand-ins."""
    return _EXACT.fullmatch(value.strip()) is not None


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


def is_token(value: str) -> bool:
    """Whether a value called a token, and no more, is a secret: a coin is a token, too."""
    if not is_secret(value):
        return False
    coin = _COIN.fullmatch(value)
    if coin is None or coin["key"] is None:
        return coin is None
    number = 0
    for character in value:
        number = number * 58 + _BASE58.index(character)
    return number.bit_length() > _KEY_BITS


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
    if "***" in value and _MASKED.fullmatch(value) is not None:
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
