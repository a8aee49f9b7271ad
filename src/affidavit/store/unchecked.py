"""Outcomes of calls of which nobody could tell whose they are, when they were taken in.

The service takes in whole calls while the database is away, under ids that clients choose. One may
be another department's call: then its intent is refused, and its outcome must not become that
call's. Such an outcome begins with a mark, and a store looks at the call before it takes it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument

from affidavit.event import CALL_UNCHECKED
from affidavit.store.base import Encoded, Outcome, Verdict

OF_ANOTHER: Final = Verdict(Outcome.REJECTED, "call_conflict")
"""What an outcome is answered whose call is another department's or tenant's."""

_AT: Final = 4 + len(b"\x07_id\0") + 12
"""Where the first field after the ``_id`` begins."""

_MARK: Final = b"\x08" + CALL_UNCHECKED.encode() + b"\0\x01"


class Claim(NamedTuple):
    """The call that an outcome is about, and whose it says that it is."""

    call: bytes
    whose: tuple[object, object]
    """The department and the tenant."""


def is_unchecked(record: Encoded) -> bool:
    """Whether it has the mark. Cheap: this is asked of every record that is sent."""
    return record.body.startswith(_MARK, _AT)


def claim_of(record: Encoded) -> Claim | None:
    """Read what a marked record says; None if that is about no call."""
    said = RawBSONDocument(record.body)
    call = said.get("call_id")
    if not ObjectId.is_valid(call):
        return None
    return Claim(ObjectId(call).binary, (said.get("department"), said.get("tenant")))
