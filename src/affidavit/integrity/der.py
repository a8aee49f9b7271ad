"""The little of DER that timestamps need: reading and writing values of ASN.1.

Only definite lengths in their shortest form, and tags of one byte: the one form that DER allows.
Certificates are left to ``cryptography``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from affidavit.integrity.errors import FormatError

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
OCTETS: Final = 0x04
NULL: Final = 0x05
OID: Final = 0x06
UTF8: Final = 0x0C
TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

_LONG: Final = 0x80
_LONGEST_LENGTH: Final = 4
_MANY_TAGS: Final = 0x1F


def context(number: int, *, constructed: bool = True) -> int:
    """Give the tag ``[number]``."""
    return (0xA0 if constructed else 0x80) | number


class Value(NamedTuple):
    """One value: its tag, what it holds, and both as they stand in the data."""

    tag: int
    body: bytes
    raw: bytes

    def expect(self, tag: int, what: str) -> Value:
        """Give the value itself. Raises FormatError where it has another tag."""
        if self.tag != tag:
            msg = f"{what} is expected, and there is a value of tag {self.tag:#04x}."
            raise FormatError(msg)
        return self

    def parts(self, tag: int, what: str) -> list[Value]:
        """Read the values inside one of this tag. Raises FormatError."""
        found, rest = [], self.expect(tag, what).body
        while rest:
            value, rest = _first(rest, what)
            found.append(value)
        return found

    def only(self, tag: int, what: str) -> Value:
        """Read the one value inside. Raises FormatError where there are more, or none."""
        found = self.parts(tag, what)
        if len(found) != 1:
            msg = f"{what} holds one value, and there are {len(found)}."
            raise FormatError(msg)
        return found[0]

    def integer(self, what: str) -> int:
        """Read a whole number. Raises FormatError, also where it is not in its shortest form."""
        body = self.expect(INTEGER, what).body
        number = int.from_bytes(body, "big", signed=True)
        if not body or integer(number) != self.raw:
            msg = f"{what} is no number in its shortest form."
            raise FormatError(msg)
        return number

    def oid(self, what: str) -> str:
        """Read an object identifier, as numbers with dots. Raises FormatError."""
        body = self.expect(OID, what).body
        arcs, value = list[int](), 0
        for byte in body:
            value = value << 7 | byte & 0x7F
            if byte < _LONG:
                arcs.append(value)
                value = 0
        if not arcs or body[-1] >= _LONG:
            msg = f"{what} is no object identifier."
            raise FormatError(msg)
        first = min(arcs[0] // 40, 2)
        return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def read(data: bytes, what: str) -> Value:
    """Read the one value that the data is. Raises FormatError where anything follows it."""
    value, rest = _first(data, what)
    if rest:
        msg = f"{what} has {len(rest)} bytes after its end."
        raise FormatError(msg)
    return value


def write(tag: int, *parts: bytes) -> bytes:
    """Write a value of what its parts hold, one after the other."""
    body = b"".join(parts)
    size = len(body)
    if size < _LONG:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, _LONG | len(length)]) + length + body


def integer(number: int) -> bytes:
    """Write a whole number."""
    size = (number if number >= 0 else ~number).bit_length() // 8 + 1
    return write(INTEGER, number.to_bytes(size, "big", signed=True))


def oid(dotted: str) -> bytes:
    """Write an object identifier that is given as numbers with dots."""
    first, second, *rest = map(int, dotted.split("."))
    body = bytearray()
    for arc in (40 * first + second, *rest):
        group = [arc & 0x7F]
        while arc := arc >> 7:
            group.append(arc & 0x7F | _LONG)
        body += bytes(reversed(group))
    return write(OID, bytes(body))


def _first(data: bytes, what: str) -> tuple[Value, bytes]:
    """Read the first value of the data; give what follows it too."""
    if len(data) < 2 or data[0] & _MANY_TAGS == _MANY_TAGS:  # noqa: PLR2004 - tag and length
        raise _broken(what)
    size, start = data[1], 2
    if size >= _LONG:
        count = size & 0x7F
        start += count
        size = int.from_bytes(data[2:start], "big")
        shortest = size >= _LONG and count <= _LONGEST_LENGTH and data[2] != 0
        if not count or len(data) < start or not shortest:
            raise _broken(what)
    end = start + size
    if len(data) < end:
        raise _broken(what)
    return Value(data[0], data[start:end], data[:end]), data[end:]


def _broken(what: str) -> FormatError:
    return FormatError(f"{what} is not written as DER demands, or it is cut off.")
