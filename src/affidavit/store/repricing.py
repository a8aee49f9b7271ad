"""What pricing asks of the records: finished calls with what they used, and which have no cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from affidavit.event import Document


@dataclass(frozen=True, slots=True)
class Span:
    """Finished calls of a time, and perhaps of one provider or model only.

    ``since`` is included, ``until`` is not; both aware. Names are those in the records.
    """

    since: datetime
    until: datetime
    provider: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Calls of one provider and model that have no cost, corrections counted in."""

    provider: str | None
    model: str | None
    calls: int
    with_tokens: int
    """Of these calls, those whose tokens are known: a price would give them a cost."""
    whole: int
    """Of these calls, those of which both input and output are told."""
    tokens: int
    first: datetime | None
    last: datetime | None


class RepricingStore(Protocol):
    """Reads only. Raises StoreUnavailable without an answer in time, StoreRefused without rights.

    Documents of older loggers are passed over: they do not tell input from output.
    """

    def outcomes(self, span: Span, page: int) -> Iterator[Sequence[Document]]:
        """Give outcomes, oldest first, in lists of up to ``page``, without texts."""

    def corrections(self, call_ids: Sequence[str]) -> Mapping[str, Sequence[Document]]:
        """Give the corrections of these calls, oldest first; calls that have none are absent."""

    def unpriced(self, span: Span) -> Sequence[Unpriced]:
        """Add up calls without a cost, the most frequent first.

        Calls that failed without having used tokens are no part of it: nothing was to be paid.
        """
