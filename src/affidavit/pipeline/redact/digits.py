"""Numbers: cards, accounts, national identifiers, telephone numbers and IPv4 addresses.

One scan that begins at digits (which the regular expression engine finds fastest) gathers
clusters of digits; nearly all numbers of ordinary text fail there. What a cluster can be depends
on its shape alone, its digits read as zeros: ``0000-00-00 00``. Shapes are remembered, so that
the dates of a log file cost one look-up each. Only then come check digits and context.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from affidavit.pipeline.redact import addresses, checks, context, kinds
from affidavit.pipeline.redact.context import FAR
from affidavit.pipeline.redact.kinds import Span
from affidavit.pipeline.redact.phones import WRITTEN, Weight, national
from affidavit.pipeline.redact.place import Place

# It looks at the shape of the text. It cannot be driven: each repeat is of one set of characters,
# and what follows is one of its own members, so a place that fails costs the run it stands in, and
# only the last places of a run fail.
_CLUSTER: Final = re.compile(
    rb"0(?<!00)"
    rb"(?:(?<!0\.0)[0 ()/-]{4,}0(?!\.?0)"  # digits with separators, no decimals
    rb"|(?<!\.0)0{0,3}\.0{1,4}\.0[0.-]*)"  # two dots: addresses, dotted groups
)
_SHAPE: Final = bytes(
    0x30 if code in b"0123456789" else code if code in b" ()/.-" else 0x78 for code in range(256)
)
_LONGEST_SHAPE: Final = 64
_SHAPES_KEPT: Final = 4096

_IBAN_LEFT: Final = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{2}(?:[0-9]{2}[ -]?(?:[A-Za-z0-9]{4}[ -]?){0,2}[A-Za-z0-9]{0,3})?\Z"
)
_IBAN_REACH: Final = 16
_NIR_SHORT: Final = re.compile(r"[12][0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[1-8][0-9]|9[0-8])")
_CORSICA: Final = re.compile(r"(?<![0-9])[1-478] ?[0-9]{2} ?[0-9]{2} ?2[ABab] ?\Z")
_NINO_LEFT: Final = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})[ -]?\Z")
_NINO_RIGHT: Final = re.compile(r"[ -]?[A-D](?![A-Za-z0-9])", re.IGNORECASE)
_DNI_RIGHT: Final = re.compile(r"(-| )?([A-HJ-NP-TV-Za-hj-np-tv-z])(?![A-Za-z0-9])")
_NIE_LEFT: Final = re.compile(r"(?<![A-Za-z0-9])([XYZxyz])[ -]?\Z")
_PT_LEFT: Final = re.compile(r"(?<![A-Za-z0-9])(?:PT|pt) ?\Z")
_WITH_CODE: Final = 19
_LAST_THREE: Final = re.compile(r"[ -]{1,2}[0-9]{3}\Z")
_GLUED: Final = re.compile(
    r"(?:(?<![A-Za-z0-9])(?:pan|card|cardno|cc|visa|amex|tarjeta|karte|carte)[_-]?|%[Bb]|;)\Z",
    re.IGNORECASE,
)
"""What touches a card's number on the left and belongs to it: a name, the start of a track."""

_PAID_WITH: Final = re.compile(r"\b(?:paid|pays?|paying|charged?) (?:with|by|using|on) ?\Z")
_IN_JSON: Final = re.compile(r"[\"'][A-Za-z][\"'] ?: ?\Z")
"""A name of one letter, as exchanges have them for their numbers: it is no card's."""

_TRACK: Final = re.compile(
    r"\^[^^\n\x1d-\x1f]{2,26}\^([0-9]{4,}[^?\s\x1d-\x1f]{0,60})|=([0-9]{7,30})"
)
_EXPIRY: Final = (
    r"(?:(?:exp\w*|valid\w*|cad\w*|g\xfcltig\w*|scad\w*)?[:. ]{0,2}(?:thru |until |bis )?"
)
_SPACE: Final = r"[ \t]{0,3}[,;/|(-]?[ \t]{0,3}"
_BEHIND: Final = re.compile(
    rf"{_SPACE}{_EXPIRY}(?:0[1-9]|1[0-2]) ?[/-] ?(?:20)?[2-4][0-9](?![0-9]){_SPACE})?"
    r"(?<![0-9])([0-9]{3,4})(?=[ \t]{0,2}(?:[,;.)\]\n\r\"'|]|\Z|\x1e|(?:0[1-9]|1[0-2]) ?[/-]|exp))"
    r"(?![.,][0-9])",
    re.IGNORECASE,
)
_MY_NUMBER: Final = re.compile(
    r"\b(?:my|his|her|our|their|your|mi|su|nuestro|meine?|seine?|ihre?|unsere?|mon|son|notre|mio"
    r"|suo|meu|seu)"
    r" (?:number|n\xfamero|numero|nummer|num\xe9ro)\b[^0-9]{0,16}\Z|\b[tmpf][:.] ?\(?\Z"
    r"|\btext (?:me|us|him|her|them)(?: (?:at|on))? ?\Z"
)

CARD: Final = kinds.CARD
SSN: Final = "ssn"
DNI: Final = "dni"
NIE: Final = "nie"
STEUER: Final = "steuer"
NIR: Final = "nir"
NIR_TAIL: Final = "nir_tail"
NIF: Final = "nif"
NHS: Final = "nhs"
NINO: Final = "nino"
PHONE: Final = kinds.PHONE
IBAN: Final = kinds.IBAN

_STRUCTURES: Final = tuple(
    (name, re.compile(rf"(?<!0)(?:{shape})(?!0)".encode()))
    for name, shape in (
        (CARD, r"0{4}[ -]{0,2}0{4}[ -]{0,2}0{4}[ -]{0,2}0{4}(?:[ -]{0,2}000)?"),
        (CARD, r"0{4}[ -]?0{6}[ -]?0{4,5}"),
        (CARD, r"0{13,19}"),
        (SSN, r"000([ -]?)00\1 ?0000"),
        (DNI, r"0{8}|00[ -]?000[ -]?000"),
        (NIE, r"0{7}|0[ -]000[ -]000"),
        (STEUER, r"0{11}|00([ /-])000(?:\1)000(?:\1)000|000 000 000 00"),
        (NIR, r"0 ?00 ?00 ?00 ?000 ?000(?: ?00|/00|-00| - 00)?"),
        (NIR_TAIL, r"000 ?000 ?00"),
        (NIF, r"000([ -]?)000\1 ?000"),
        (NHS, r"000([ -]?)000\1 ?0000"),
        (NINO, r"00([ -]?)00\1[ -]?00"),
        (IBAN, r"0{1,4}[ -]0{3,4}|0000[ -]0{1,4}"),
    )
)
# How their digits begin; most times and ids are sorted out here, before anything is cut out.
_BEGINS: Final = {
    CARD: re.compile(r"[45689]|3[04-9]|2[2-7]"),
    NIR: re.compile(r"[1-478] ?[0-9]{2} ?(?:0[1-9]|1[0-2]|[2-9][0-9])"),
    PHONE: re.compile(r"[02-9]|1[ -]?\(?[2-9][0-9]{2}\)?[ -]?[2-9][0-9]{2}[ -]?[0-9]{4}(?![0-9])"),
    STEUER: re.compile(r"[1-9]"),
}
_DATE: Final = re.compile(
    rb"(?<!0)(?<!0[-/])(?:0{4}-00-00(?: 00)?|00?/00?/0{4}(?: 00)?|00-00-0{4}(?: 00)?"
    rb"|0{4}/00/00(?: 00)?)"
    rb"(?!0)(?![-/]0)"
)


class Piece(NamedTuple):
    """A part of a cluster that has the shape of something."""

    name: str
    start: int
    end: int


_shapes: dict[bytes, tuple[Piece, ...]] = {}


def _pieces(shape: bytes) -> tuple[Piece, ...]:
    whole = shape
    shape = _DATE.sub(_blank, shape)
    found = [
        Piece(name, *match.span())
        for name, pattern in _STRUCTURES
        for match in pattern.finditer(shape)
    ]
    found += (Piece(PHONE, *match.span()) for match in WRITTEN.finditer(shape))
    pieces = tuple(found)
    if len(whole) <= _LONGEST_SHAPE and len(_shapes) < _SHAPES_KEPT:
        _shapes[whole] = pieces
    return pieces


def _blank(match: re.Match[bytes]) -> bytes:
    return b"_" * len(match[0])


def _behind(text: str, end: int, found: list[Span]) -> None:
    """Add what stands behind a card's number: its security code, or the rest of its track."""
    match = _TRACK.match(text, end) or _BEHIND.match(text, end)
    if match is not None:
        found.append((*match.span(match.lastindex or 0), kinds.CARD_CODE))


class Numbers:
    """Finds numbers; ``bold`` takes weak shapes without a word for them, ``shy`` wants more."""

    def __init__(self, *, bold: bool = False, shy: bool = False) -> None:
        self._bold = bold
        self._shy = shy

    def find(self, text: str, data: bytes, found: list[Span]) -> None:
        """Add what is found in the text; ``data`` is the same as Latin-1."""
        low = ""
        for match in _CLUSTER.finditer(data.translate(_SHAPE)):
            shape = match[0]
            pieces = _shapes.get(shape)
            if pieces is None:
                if b"." in shape:
                    low = low or data.lower().decode("latin-1")
                    if addresses.version_4(text, low, *match.span(), found, shy=self._shy):
                        continue
                    shape = shape.replace(b".", b"-")
                pieces = _shapes.get(shape) or _pieces(shape)
            if pieces:
                low = low or data.lower().decode("latin-1")
                self._judge(text, low, match.start(), pieces, found)

    def _judge(
        self, text: str, low: str, at: int, pieces: tuple[Piece, ...], found: list[Span]
    ) -> None:
        for name, start, end in pieces:
            if (quick := _BEGINS.get(name)) is not None and quick.match(text, at + start) is None:
                continue
            place = Place(text, low, at + start, at + end)
            kind = _JUDGES[name](self, place)
            if kind is not None:
                found.append((place.start, place.end, kind))
                if kind == kinds.CARD:
                    _behind(text, place.end, found)

    # -- what a piece is: the kind, or None ------------------------------------------------------

    def card(self, place: Place) -> str | None:
        """Issuer and Luhn; bare digits also by the words around."""
        digits = place.digits
        if len(digits) == _WITH_CODE and not checks.card(digits):
            shorter = _LAST_THREE.search(place.text, place.start, place.end)
            if shorter is not None:  # the security code stands behind the number
                place.end = shorter.start()
                digits = place.digits
        if not checks.card(digits) or not place.alone_right:
            return None
        if _GLUED.search(place.text, max(0, place.start - 12), place.start) is not None:
            return kinds.CARD
        bare = len(digits) == place.end - place.start  # ids and times look the same
        return kinds.CARD if place.alone_left and not (bare and self._is_id(place)) else None

    def _is_id(self, place: Place) -> bool:
        """Whether bare digits that could be a card's are something else."""
        if place.in_identifier:
            return True
        if place.follows(_PAID_WITH):
            return False
        spoken, denied = place.words(kinds.CARD)
        if spoken < FAR:
            return spoken > denied + 2
        size = place.end - place.start
        usual = size in {15, 16} and place.text[place.start] != "6" and not self._shy
        in_json = _IN_JSON.search(place.text, max(0, place.start - 8), place.start) is not None
        return denied < FAR or not usual or place.is_amount or in_json

    def ssn(self, place: Place) -> str | None:
        """United States: the usual hyphens, or a word for it."""
        if not checks.ssn(place.digits) or not place.alone or place.is_amount:
            return None
        spoken, denied = place.words(kinds.ID_US)
        hyphens = place.text[place.start : place.end].count("-") == 2  # noqa: PLR2004 - 3-2-4
        usual = hyphens and denied == FAR and not place.in_identifier
        return kinds.ID_US if spoken < FAR or usual else None

    def dni(self, place: Place) -> str | None:
        """Spain: eight digits and their letter."""
        match = _DNI_RIGHT.match(place.text, place.end)
        if match is None or not checks.dni(place.digits, match[2]) or not place.alone_left:
            return None
        spoken, denied = place.words(kinds.ID_ES)
        sure = match[2].isupper() and match[1] != " " and denied == FAR
        if not sure and spoken == FAR:
            return None
        place.end = match.end()
        return kinds.ID_ES

    def nie(self, place: Place) -> str | None:
        """Spain, foreigners: a letter, seven digits and a letter."""
        left = _NIE_LEFT.search(place.text, max(0, place.start - 3), place.start)
        right = _DNI_RIGHT.match(place.text, place.end)
        if left is None or right is None or not checks.nie(left[1], place.digits, right[2]):
            return None
        place.start, place.end = left.start(), right.end()
        return kinds.ID_ES

    def steuer(self, place: Place) -> str | None:
        """Germany: eleven digits; bare ones only after a word."""
        if not checks.steuer_id(place.digits) or not place.alone:
            return None
        spoken, denied = place.words(kinds.ID_DE)
        if spoken < FAR:
            return kinds.ID_DE
        bare = len(place.digits) == place.end - place.start
        sure = not bare and not self._shy and not place.is_amount
        return kinds.ID_DE if (sure or self._bold) and denied == FAR else None

    def nir(self, place: Place) -> str | None:
        """France: fifteen digits by their own mod 97; thirteen only after a word."""
        digits = place.digits
        short = len(digits) == 13  # noqa: PLR2004 - without its check digits
        fits = _NIR_SHORT.match(digits) is not None if short else checks.nir(digits)
        if not fits or not place.alone:
            return None
        spoken, denied = place.words(kinds.ID_FR)
        return kinds.ID_FR if spoken < FAR or (denied == FAR and not short) else None

    def nir_tail(self, place: Place) -> str | None:
        """France, Corsica: 2A or 2B stands inside."""
        left = _CORSICA.search(place.text, max(0, place.start - 14), place.start)
        if left is None or not checks.nir(left[0].replace(" ", "") + place.digits):
            return None
        place.start = left.start()
        return kinds.ID_FR

    def nif(self, place: Place) -> str | None:
        """Portugal: nine digits after a word for it, or the country's letters."""
        if not checks.nif(place.digits):
            return None
        left = _PT_LEFT.search(place.text, max(0, place.start - 4), place.start)
        if left is not None and place.alone_right:
            place.start = left.start()
            return kinds.ID_PT
        return kinds.ID_PT if place.alone and place.words(kinds.ID_PT)[0] < FAR else None

    def nhs(self, place: Place) -> str | None:
        """United Kingdom, health: ten digits after a word for it."""
        if not checks.nhs(place.digits) or not place.alone:
            return None
        return kinds.ID_UK if place.words(kinds.ID_UK)[0] < FAR else None

    def nino(self, place: Place) -> str | None:
        """United Kingdom: two letters, six digits and a letter."""
        left = _NINO_LEFT.search(place.text, max(0, place.start - 4), place.start)
        if left is None:
            return None
        right = _NINO_RIGHT.match(place.text, place.end)
        if right is None or not checks.nino(left[1]):
            return None
        spoken, denied = place.words(kinds.ID_UK)
        if spoken == FAR and (not left[1].isupper() or denied < FAR):
            return None
        place.start, place.end = left.start(1), right.end()
        return kinds.ID_UK

    def iban(self, place: Place) -> str | None:
        """Accounts in groups: the country's letters stand before, and letters may stand between."""
        text, start = place.text, place.start
        if not (text[start - 1 : start].isalpha() or text[start - 2 : start - 1].isalpha()):
            return None
        left = _IBAN_LEFT.search(text, max(0, start - _IBAN_REACH), start)
        if left is None:
            return None
        at, missing = left.start(), checks.IBAN_LENGTHS.get(left[0][:2].upper(), 0)
        end, compact = at, ""
        while len(compact) < missing and end < len(text):
            character = text[end]
            if character.isalnum():
                compact += character
            elif character not in " -." or not text[end - 1].isalnum():
                return None
            end += 1
        if text[end : end + 1].isalnum() or not checks.iban(compact.upper()):
            return None
        place.start, place.end = at, end
        return kinds.IBAN

    def phone(self, place: Place) -> str | None:
        """National numbers: by their grouping, or after a word for it."""
        if place.text[place.start - 1 : place.start] == "(":
            place.start -= ")" in place.text[place.start : place.end]
        written = place.text[place.start : place.end]
        weight = national(written, place.digits, shy=self._shy)
        if weight is Weight.NONE or not place.alone or place.is_amount or place.in_identifier:
            return None
        spoken, denied = place.words(kinds.PHONE)
        if self._shy and weight is Weight.WEAK and written.isdigit() and place.in_trading:
            return None
        if weight is Weight.SURE or (weight is Weight.STRONG and denied == FAR):
            return kinds.PHONE
        if place.follows(_MY_NUMBER):
            return kinds.PHONE
        if spoken == FAR:
            late = context.distances(kinds.PHONE, place.after)[0] < FAR
            return kinds.PHONE if late and denied == FAR else None
        return kinds.PHONE if spoken < denied else None


_JUDGES: Final = {
    CARD: Numbers.card,
    SSN: Numbers.ssn,
    DNI: Numbers.dni,
    NIE: Numbers.nie,
    STEUER: Numbers.steuer,
    NIR: Numbers.nir,
    NIR_TAIL: Numbers.nir_tail,
    NIF: Numbers.nif,
    NHS: Numbers.nhs,
    NINO: Numbers.nino,
    IBAN: Numbers.iban,
    PHONE: Numbers.phone,
}
