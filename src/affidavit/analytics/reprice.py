"""Pricing calls again that are stored: what would change, and corrections that say so.

Nothing that is stored is edited. A correction holds the signed difference between what a call
counts for now (its own cost, and corrections before) and its cost by another price book, at the
call's own time. Its ``_id`` is made of the call, the book and the number of corrections before it,
so the same run twice, also at the same moment, adds up to one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final, NamedTuple

from affidavit.event import DIMENSIONS, SCHEMA_VERSION, Document, EventType
from affidavit.pricing import REPORTED, UNPRICED, Book, Priced, price, usage_of
from affidavit.store.repricing import RepricingStore, Span
from affidavit.tally.facts import CONTENT, nano_of

PAGE: Final = 500
"""Calls that are read, priced and corrected together."""

_CARRIED: Final = (
    *DIMENSIONS,
    *("provider", "model", "status", "cost_status", "error_type", "finish_reason"),
)
_NO_KEYS: Final = frozenset({"message_length", "provider", "model"})


class Standing(NamedTuple):
    """What a call counts for now."""

    cost_nano: int | None
    status: str
    book: str | None
    corrections: int


class Written(NamedTuple):
    """What became of some corrections."""

    stored: int = 0
    waiting: int = 0
    """In the local spool: the database went away, and they reach it by themselves."""
    refused: int = 0
    """The database has another correction in their place, or refuses them: dead letters."""


Write = Callable[[Sequence[tuple[bytes, Document]]], Written]
"""Writes corrections, each with its id, and returns when it is known what became of them."""


@dataclass(slots=True)
class Repriced:
    """How a run went. Money in nano-dollars."""

    book: str
    looked_at: int = 0
    corrected: int = 0
    unchanged: int = 0
    unpriced: int = 0
    """Have no price in this book; what they counted for stays."""
    reported: int = 0
    """The application said the cost, which stands."""
    erased: int = 0
    """Their content was erased, and with it what their price depends on."""
    waiting: int = 0
    refused: int = 0
    cost_nano_diff: int = 0
    by_model: dict[tuple[str | None, str | None], tuple[int, int]] = field(default_factory=dict)
    """Provider and model → calls corrected, and their difference."""

    def add(self, made: Document) -> None:
        """Count a correction."""
        key, difference = (made.get("provider"), made.get("model")), _difference(made)
        calls, sum_nano = self.by_model.get(key, (0, 0))
        self.by_model[key] = (calls + 1, sum_nano + difference)
        self.corrected += 1
        self.cost_nano_diff += difference

    @property
    def cost_usd_diff(self) -> Decimal:
        """The difference in dollars."""
        return Decimal(f"{self.cost_nano_diff}E-9")


def reprice(
    store: RepricingStore,
    span: Span,
    book: Book,
    write: Write | None,
    progress: Callable[[Repriced, datetime], None] | None = None,
    into: Repriced | None = None,
) -> Repriced:
    """Price the calls of a span by a book, and correct those that cost something else by it.

    Without ``write`` nothing is written. ``progress`` is told the state and the time that was
    reached, after each page; ``into`` is where it is counted. Raises what the store raises: what
    was written until then stands and is counted, and the same run again goes on where it ended.
    """
    done = Repriced(book.name) if into is None else into
    for page in store.outcomes(span, PAGE):
        ids = [each["call_id"] for each in page if isinstance(each.get("call_id"), str)]
        before = store.corrections(ids)
        made: list[tuple[bytes, Document]] = []
        for outcome in page:
            found = _look(outcome, before.get(str(outcome.get("call_id")), ()), book, done)
            if found is not None:
                made.append(found)
        if made and write is not None:
            went = write(made)
            done.waiting += went.waiting
            done.refused += went.refused
        for _id, document in made:
            done.add(document)
        if progress is not None:
            progress(done, page[-1]["timestamp"])
    return done


def standing(outcome: Mapping[str, Any], corrections: Sequence[Mapping[str, Any]]) -> Standing:
    """Add up what a call counts for: its cost, and the corrections before, oldest first."""
    answer = outcome.get("response_data")
    nano = nano_of(answer.get("cost_usd")) if isinstance(answer, Mapping) else None
    status = outcome.get("cost_status") or (UNPRICED if nano is None else REPORTED)
    book = outcome.get("price_book")
    for each in corrections:
        details = each.get("details") or {}
        nano = (nano or 0) + int(details.get("cost_nano_diff", 0))
        status = details.get("cost_status_now", status)
        book = each.get("price_book", book)
    return Standing(nano, str(status), book, len(corrections))


def correction(
    outcome: Mapping[str, Any], before: Standing, after: Priced, now: datetime
) -> tuple[bytes, Document] | None:
    """Make the correction of a call, with its id; None where it would change nothing."""
    cost = after.cost_nano
    if cost is None or cost == before.cost_nano:
        return None
    made: Document = {
        "event_type": EventType.CORRECTION.value,
        "call_id": outcome["call_id"],
        "timestamp": round(now.timestamp() * 1000),
        "user_id": None,
        **{name: outcome[name] for name in _CARRIED if outcome.get(name) is not None},
        "schema_version": SCHEMA_VERSION,
        "effective_at": outcome["timestamp"],
        "price_book": after.book,
    }
    asked = outcome.get("request_data")
    if isinstance(asked, Mapping):
        keys = {k: v for k, v in asked.items() if k not in CONTENT | _NO_KEYS and v is not None}
        if keys:
            made["request_data"] = keys
    details = {
        "cost_nano_diff": cost - (before.cost_nano or 0),
        "cost_nano": cost,
        "cost_status_before": before.status,
        "cost_status_now": after.status,
        "price_book_before": before.book,
        "tokens": sum(_count(outcome.get(f"{name}_tokens")) for name in ("input", "output")),
    }
    made["details"] = {name: value for name, value in details.items() if value is not None}
    return _identity(outcome["call_id"], after.book, before.corrections), made


def _look(
    outcome: Document, corrections: Sequence[Document], book: Book, done: Repriced
) -> tuple[bytes, Document] | None:
    """Price one call, and count what came of it."""
    done.looked_at += 1
    before = standing(outcome, corrections)
    if before.status == REPORTED or not isinstance(outcome.get("call_id"), str):
        done.reported += 1
        return None
    if outcome.get("erased") is not None:
        done.erased += 1
        return None
    provider, model = (_text(outcome.get(name)) for name in ("provider", "model"))
    after = price(usage_of(outcome), provider, model, outcome["timestamp"], book)
    made = correction(outcome, before, after, datetime.now(UTC))
    if made is None:
        if after.cost_nano is None:
            done.unpriced += 1
        else:
            done.unchanged += 1
        return None
    return made


def _difference(made: Document) -> int:
    return int(made["details"]["cost_nano_diff"])


def _identity(call_id: str, book: str, corrections: int) -> bytes:
    said = f"affidavit correction\n{call_id}\n{book}\n{corrections}"
    return sha256(said.encode()).digest()[:12]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
