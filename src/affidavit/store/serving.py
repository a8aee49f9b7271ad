"""What the HTTP service keeps: small documents of some kinds, by name. Plain data and a Protocol.

Contract
--------
A document has a ``kind`` (token, session, view, job, …) and a name that is unique within it; who
keeps a kind says what is in it. ``until`` is when it ends: nothing gives it out from then on, and
it is removed some time later. None: never. ``made_at`` is added.

:meth:`ServiceStore.change` and :meth:`ServiceStore.remove` are atomic: of several that try to take
the same thing once, exactly one gets it. Nothing here is a record, and nothing of it is sealed.

Errors are :class:`~affidavit.errors.StoreRefused` and :class:`~affidavit.errors.StoreUnavailable`.
Each question has a limit on its time. Any number of threads may ask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from affidavit.event import Document


class ServiceStore(Protocol):
    """Small documents of the service; see the module for the contract.

    A document that is given out has ``kind``, ``name``, ``made_at`` and ``until`` besides its own
    fields. Fields of ``where`` are compared for equality with plain values.
    """

    def add(
        self, kind: str, name: str, document: Mapping[str, Any], until: datetime | None = None
    ) -> bool:
        """Keep a new one; False where there is one of that name."""

    def put(
        self, kind: str, name: str, document: Mapping[str, Any], until: datetime | None = None
    ) -> None:
        """Keep one instead of what there was."""

    def get(self, kind: str, name: str) -> Document | None:
        """Give one; None where there is none, or it has ended."""

    def all(
        self, kind: str, where: Mapping[str, Any] | None = None, limit: int = 200
    ) -> Sequence[Document]:
        """Give those of a kind, newest first."""

    def change(
        self,
        kind: str,
        name: str,
        fields: Mapping[str, Any],
        where: Mapping[str, Any] | None = None,
    ) -> Document | None:
        """Set fields of one, if it is as ``where`` says; gives it as it is then, else None."""

    def remove(self, kind: str, name: str) -> Document | None:
        """Remove one; gives what it was, to one asker only."""

    def clear(self, kind: str, where: Mapping[str, Any] | None = None) -> int:
        """Remove all of a kind; says how many."""

    def take(self, name: str, holder: str, for_s: float) -> bool:
        """Take or keep the right to act on something, by the store's clock; False: another has."""

    def release(self, name: str, holder: str) -> None:
        """Give that right back."""
