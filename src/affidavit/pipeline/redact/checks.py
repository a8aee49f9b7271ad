# ruff: noqa: SIM905 - long lists of words read better as text
"""Check digits and letters: arithmetic on texts that already have the right shape."""

from __future__ import annotations

import re
from typing import Final

_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_ISSUERS: Final = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"  # Visa
    r"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]"
    r"|2720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|3(?:0[0-59]|[689][0-9])[0-9]{11,13}"  # Diners
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2})[0-9]{12,15}"  # Discover
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12,15}"  # JCB
    r"|62[0-9]{14,17}|81[0-9]{14}"  # UnionPay
    r"|(?:50[0-9]{2}|5[6-8][0-9]{2}|6[0-9]{3})[0-9]{9,15}"  # Maestro
    r"|220[0-4][0-9]{12,15}|9792[0-9]{12}"  # Mir, Troy
)
_NIR_SIZE: Final = 15
_DNI: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
_NIE: Final = {"X": "0", "Y": "1", "Z": "2"}
_CF_ODD: Final = {
    **dict(zip("0123456789", (1, 0, 5, 7, 9, 13, 15, 17, 19, 21), strict=True)),
    **dict(
        zip(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
            b"\1\0\5\7\11\15\17\21\23\25\2\4\22\24\13\3\6\10\14\16\20\12\26\31\30\27",
            strict=True,
        )
    ),
}

IBAN_LENGTHS: Final[dict[str, int]] = {
    code: int(length)
    for code, length in (
        entry.split(":")
        for entry in (
            "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22"
            " CY:28 CZ:24 DE:22 DJ:27 DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22"
            " GE:22 GI:23 GL:18 GR:27 GT:28 HN:28 HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30"
            " KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MN:20"
            " MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24 PL:28 PS:29 PT:25 QA:29 RO:24 RS:22"
            " RU:33 SA:24 SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25 SV:28 TL:23 TN:24 TR:26"
            " UA:29 VA:22 VG:24 XK:20 YE:30"
        ).split()
    )
}
"""Country to length, from the public IBAN registry."""


def luhn(digits: str) -> bool:
    """Whether the last digit is right by Luhn's rule."""
    total = sum(map(int, digits[-1::-2]))
    return (total + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])) % 10 == 0


def card(digits: str) -> bool:
    """Whether a number has the prefix and length of an issuer, and passes Luhn."""
    return _ISSUERS.fullmatch(digits) is not None and luhn(digits)


def iban(compact: str) -> bool:
    """Whether an account in capitals without spaces has its country's length and mod 97."""
    if IBAN_LENGTHS.get(compact[:2]) != len(compact) or not compact.isascii():
        return False
    if not (compact.isalnum() and compact[2:4].isdigit()):
        return False
    return int("".join(str(int(place, 36)) for place in compact[4:] + compact[:4])) % 97 == 1


def dni(digits: str, letter: str) -> bool:
    """Spain: eight digits and their letter."""
    return _DNI[int(digits) % 23] == letter.upper()


def nie(first: str, digits: str, letter: str) -> bool:
    """Spain, foreigners: X, Y or Z, seven digits and their letter."""
    return dni(_NIE[first.upper()] + digits, letter)


def steuer_id(digits: str) -> bool:
    """Germany: of the first ten digits one comes two or three times; ISO 7064 mod 11, 10."""
    first = digits[:10]
    counts = sorted(first.count(digit) for digit in set(first))
    if digits[0] == "0" or counts[-1] not in {2, 3} or (len(counts) > 1 and counts[-2] > 1):
        return False
    product = 10
    for digit in first:
        total = (int(digit) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def nir(number: str) -> bool:
    """France: thirteen places (2A and 2B for Corsica) and two check digits."""
    body = number[:13].upper().replace("2A", "19").replace("2B", "18")
    if len(number) != _NIR_SIZE or not body.isdigit() or body[0] not in "123478":
        return False
    month = int(body[3:5])
    if not (1 <= month <= 12 or 20 <= month <= 42 or month >= 50):  # noqa: PLR2004 - as assigned
        return False
    return 97 - int(body) % 97 == int(number[13:])


def codice_fiscale(code: str) -> bool:
    """Italy: sixteen places in capitals, the last one computed from the others."""
    total = sum(_CF_ODD[character] for character in code[0:15:2])
    total += sum(
        int(character) if character.isdigit() else ord(character) - 65 for character in code[1:15:2]
    )
    return chr(65 + total % 26) == code[15]


def nif(digits: str) -> bool:
    """Portugal: nine digits, the last by weights 9 to 2, mod 11."""
    rest = sum(int(digit) * weight for digit, weight in zip(digits, range(9, 1, -1), strict=False))
    check = 11 - rest % 11
    return (0 if check > 9 else check) == int(digits[8]) and digits[0] in "1235689"  # noqa: PLR2004


def nhs(digits: str) -> bool:
    """United Kingdom, health: ten digits, the last by weights 10 to 2, mod 11."""
    rest = sum(int(digit) * weight for digit, weight in zip(digits, range(10, 1, -1), strict=False))
    return (11 - rest % 11) % 11 == int(digits[9])


def nino(letters: str) -> bool:
    """United Kingdom: whether a National Insurance number may begin with these two letters."""
    first, second = letters[0].upper(), letters[1].upper()
    return (
        first not in "DFIQUV"
        and second not in "DFIOQUV"
        and first + second not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}
    )


def ssn(digits: str) -> bool:
    """United States: nine digits that may have been given as SSN, or as ITIN (9xx)."""
    area, group, serial = digits[:3], int(digits[3:5]), digits[5:]
    if area in {"000", "666"} or group == 0 or serial == "0000":
        return False
    if area[0] == "9":
        return 50 <= group <= 99 and group not in {66, 67, 68, 69, 89, 93}  # noqa: PLR2004 - ITIN
    return True
