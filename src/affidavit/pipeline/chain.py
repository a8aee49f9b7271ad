"""The steps in order: decode, build, redact, clean and cut, price, commit, compress, encode.

One :class:`Chain` belongs to one writer thread. A record that breaks a step is not lost: its
envelope is stored with the content withheld and the reason in ``odd``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, NamedTuple

import bson
import msgspec
from bson.objectid import ObjectId

from affidavit import canonical
from affidavit.event import Dest, Document, utc_from_ms
from affidavit.pipeline import build
from affidavit.pipeline.clean import Cleaner, money
from affidavit.pipeline.compress import compress_fields
from affidavit.pipeline.price import Pricer
from affidavit.pipeline.redact import Redactor
from affidavit.pipeline.said import FIELD, Fingerprints

_decode = msgspec.msgpack.Decoder().decode
_bson_encode = bson.encode

_CONTENT: Final = ("request_data", "response_data", "details")
_IMPOSSIBLE_USD: Final = Decimal(10**12)
"""Sums take a cost from there on for an error; see :mod:`affidavit.tally.facts`."""


class Finished(NamedTuple):
    """A record as it is stored, and what proves it."""

    body: bytes
    """The whole document as BSON."""
    leaf: bytes
    """The hash of its entry; see :mod:`affidavit.canonical`."""
    time_ms: int
    """Its time, milliseconds since 1970."""


class Chain:
    """Turns snapshots into the bytes that are stored."""

    def __init__(
        self,
        writer: str,
        max_field_size: int,
        compression_level: int | None,
        redactor: Redactor | None = None,
        fingerprints: Fingerprints | None = None,
        pricer: Pricer | None = None,
    ) -> None:
        """``compression_level`` is None where single fields are not compressed.

        Without a ``redactor`` texts are stored as they are; ``fingerprints`` makes the keyed hashes
        of what was sent; without a ``pricer`` a cost is what the application says.
        """
        self.writer = writer
        self._pricer = pricer
        self._redactor = redactor
        self._fingerprints = fingerprints
        self.compression_level = compression_level
        self._cleaner = Cleaner(max_field_size)

    def finish(self, dest: Dest, record_id: bytes, snapshot: bytes, seq: int) -> Finished:
        """Return the whole record as BSON, with its leaf. Never raises on odd content."""
        try:
            said = _decode(snapshot)
            document = said if type(said) is dict else build.document(said)
            return self._finish(dest, record_id, document, seq)
        except Exception as error:
            envelope = _envelope(_decode(snapshot))
            for name in _CONTENT:
                envelope.pop(name, None)
            safe: Document = {k: v for k, v in envelope.items() if isinstance(v, str | int | bool)}
            safe["odd"] = [f"withheld_{type(error).__name__}"]
            return self._finish(dest, record_id, safe, seq)

    def _finish(self, dest: Dest, record_id: bytes, document: Document, seq: int) -> Finished:
        epoch_ms, salt = document["timestamp"], canonical.new_salt()
        said = self._fingerprints.of_record(document) if self._fingerprints is not None else None
        box = self._redactor.redact(document, record_id) if self._redactor is not None else None
        self._cleaner.clean(document, salt)
        if box is not None:
            document["sealed"] = box
        if said is not None:
            document[FIELD] = said
        document["timestamp"] = utc_from_ms(epoch_ms)
        if dest == Dest.RECORDS:
            _quantise(document)
            if self._pricer is not None:
                self._pricer.price(document, epoch_ms)
        whole = {
            "_id": ObjectId(record_id),
            **document,
            "writer": self.writer,
            "seq": seq,
            "salt": salt,
        }
        leaf = canonical.leaf_of(whole, dest.value)  # of the plain texts, whatever they become
        if dest == Dest.RECORDS and self.compression_level is not None:
            for name in _CONTENT:
                if name in whole:
                    whole[name] = compress_fields(whole[name], self.compression_level)
        return Finished(_bson_encode(whole), leaf, epoch_ms)


def _quantise(document: Document) -> None:
    response = document.get("response_data")
    if response is None or "cost_usd" not in response:
        return
    cost = response["cost_usd"]
    response["cost_usd"] = money(cost) if type(cost) is str else None
    if cost is None:
        return
    if response["cost_usd"] is None:
        _mark(document, "cost_not_a_number")
    elif Decimal(cost).copy_abs() >= _IMPOSSIBLE_USD:
        _mark(document, "cost_out_of_range")


def _mark(document: Document, odd: str) -> None:
    document["odd"] = sorted({*document.get("odd", ()), odd})


def _envelope(said: Any) -> Document:
    """Give what can be kept in any case of a record that broke a step."""
    if type(said) is dict:
        return said
    try:
        return build.document(said)
    except Exception:
        return build.withheld(said)
