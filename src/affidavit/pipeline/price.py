"""Pricing an outcome, on the writer's thread: its cost, where that is from, and by which book.

What the application says a call cost stands. Else tokens and the price book give it, and where
they do not, the cost stays null. Nothing here can lose a record: a price list that cannot be read
leaves calls unpriced, with a mark in ``odd``.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from bson.decimal128 import Decimal128

from affidavit.config import AuditConfig
from affidavit.event import Document, EventType
from affidavit.pricing import (
    ESTIMATED,
    PRICED,
    REPORTED,
    UNPRICED,
    Book,
    BookError,
    Overrides,
    load,
    read_overrides,
    usage_of,
)

UNREADABLE: Final = "price_book_unreadable"
"""In ``odd``: the price list could not be read, or could not be used for this call."""

_OUTCOME: Final = EventType.LLM_RESPONSE.value
_EXPONENT_BITS: Final = (6176 - 9) << 49
_BID: Final = struct.Struct("<QQ")
_UINT64: Final = 2**64
_logger: Final = logging.getLogger("affidavit")


class Pricer:
    """Prices outcomes one at a time; owned by the writer's thread."""

    def __init__(self, opened: Callable[[], Book]) -> None:
        """``opened`` reads the price book; it is called once, at the first call without a cost."""
        self._opened = opened
        self._book: Book | None = None
        self._warned = False

    def price(self, document: Document, at_ms: int) -> None:
        """Add cost, ``cost_status`` and ``price_book`` to a cleaned outcome. Never raises."""
        answer = document.get("response_data")
        if type(answer) is not dict or document.get("event_type") != _OUTCOME:
            return
        if answer.get("cost_usd") is not None:
            document["cost_status"] = REPORTED
            return
        document["cost_status"] = UNPRICED
        try:
            self._add(document, answer, at_ms)
        except Exception as error:
            document["odd"] = sorted({*document.get("odd", ()), UNREADABLE})
            if not self._warned:
                self._warned = True
                # The text of another's error could hold content of the record: its kind must do.
                why = str(error) if isinstance(error, BookError) else type(error).__name__
                _logger.warning("affidavit: calls stay unpriced: %s", why)

    def _add(self, document: Document, answer: dict[str, Any], at_ms: int) -> None:
        book = self._book
        if book is None:
            book = self._book = self._opened()
        usage = usage_of(document)
        provider, model = document.get("provider"), document.get("model")
        nano, _reason = book.price(
            usage,
            provider if type(provider) is str else None,
            model if type(model) is str else None,
            at_ms,
        )
        document["price_book"] = book.name
        if nano is not None:
            answer["cost_usd"] = dollars(nano)
            document["cost_status"] = ESTIMATED if usage.is_estimated else PRICED


def dollars(nano: int) -> Decimal128:
    """Write nano-dollars as dollars with nine decimals, as they are stored."""
    if 0 <= nano < _UINT64:
        return Decimal128.from_bid(_BID.pack(nano, _EXPONENT_BITS))
    return Decimal128(Decimal(f"{nano}E-9"))


def pricer_of(config: AuditConfig) -> Pricer | None:
    """Make the pricer of one thread; None with ``pricing="off"``.

    The file of ``price_overrides`` is read now: raises ConfigError, with the place, where it is
    wrong. The list in the package is read when it is first needed.
    """
    own: Overrides | None = read_overrides(config.price_overrides)
    if config.pricing == "off":
        return None
    return Pricer(lambda: load(own))
