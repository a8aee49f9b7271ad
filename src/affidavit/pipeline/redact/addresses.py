"""IP addresses: numbers with dots, which versions have too, and with colons, as times have."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from affidavit.pipeline.redact import context, kinds
from affidavit.pipeline.redact.kinds import Span

_IPV4: Final = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.(?!\Z)|\Z)){4}")
_NO_ADDRESS: Final = re.compile(
    r"(?:versi(?:on|\xf3n|one|\xe3o)|release|build|firmware|driver|section|secci\xf3n|chapter"
    r"|clause|article"
    r"|\bv|\xa7|kapitel|abschnitt|\bver\.?|upgraded? to|updated? to|[a-z]/) ?[:=]? ?[\"']?\Z"
)
_ADDRESS_WORDS: Final = re.compile(
    r"\bip|addr|host|server|client|\bfrom\b|dns|ping|gateway|peer|connect|log(?:in|ged)|direcci"
    r"|proxy|resolv"
    r"|subnet|\bvia\b|\bat\b|@|//|\bssh|remote|\bnet|source|src|\bdst|forward|block|ban|firewall"
    r"|user|route|node"
)
_LIKE_A_VERSION: Final = 30
"""Four numbers all below this are as often a version as an address."""
_COLONS: Final = re.compile(r":(?::|[0-9A-Fa-f]{1,4}:(?::|[0-9A-Fa-f]{1,4}:))")
_SIX: Final = re.compile(r"[0-9A-Fa-f:]{2,39}(?:(?<=:)[0-9]{1,3}(?:\.[0-9]{1,3}){3})?")
_WIDEST_SIX: Final = 39


def version_4(text: str, low: str, at: int, stop: int, found: list[Span], *, shy: bool) -> bool:
    """Add an IPv4 address; versions and numbered sections have the same shape."""
    plain = text[at:stop].rstrip(".-")
    if _IPV4.fullmatch(plain) is None:
        return False
    end = at + len(plain)
    if text[at - 1 : at].isalnum():
        return True
    if text[end : end + 1].isalnum() or _NO_ADDRESS.search(low, max(0, at - 24), at):
        return True
    octets = [int(octet) for octet in plain.split(".")]
    if octets[0] in {0, 127, 255} or plain.endswith(".0.0.0"):  # nobody's: any, itself, masks
        return True
    if (shy or max(octets) < _LIKE_A_VERSION) and not _ADDRESS_WORDS.search(
        context.before(low, at)
    ):
        return True
    found.append((at, end, kinds.IP))
    return True


def version_6(text: str, found: list[Span]) -> None:
    """Add IPv6 addresses; times and C++ names have colons, too."""
    reach = 0
    for match in _COLONS.finditer(text):
        if match.start() < reach:
            continue
        start = match.start()
        floor = max(reach, start - _WIDEST_SIX)
        while start > floor and text[start - 1] in "0123456789abcdefABCDEF:":
            start -= 1
        six = _SIX.match(text, start)
        if six is None:
            continue
        reach = six.end()
        written = six[0].rstrip(":") if not six[0].endswith("::") else six[0]
        end = start + len(written)
        if text[start - 1 : start].isalnum() or text[end : end + 1].isalnum():
            continue
        if not any(character.isdigit() for character in written):
            continue
        try:
            if ipaddress.IPv6Address(written).is_loopback:
                continue
        except ValueError:
            continue
        found.append((start, end, kinds.IP))
