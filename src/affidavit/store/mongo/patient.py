"""The log's own collections over connections that others need too, with a limit on each wait.

Every question takes a lock first, and gives it back before the answer is worked on; long answers
are fetched in parts. So a sealer inside an application never holds the second connection longer
than one round trip, and a server that hangs does not hold up anybody for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

import pymongo

from affidavit.config import AuditConfig
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.rollups import MongoRollups
from affidavit.store.mongo.sealing import MongoSeals

if TYPE_CHECKING:
    from affidavit.store.rollups import RollupStore
    from affidavit.store.sealing import SealStore

_PART: Final = 100
"""Documents fetched at a time; as many as the driver asks for at first."""


class Patient:
    """Stands for a store, such as a :class:`MongoSeals`; has each of its methods."""

    def __init__(
        self,
        store: object,
        timeout_s: float,
        lock: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._store = store
        self._lock = lock or nullcontext()
        self.timeout_s = timeout_s
        """Seconds that one question may take."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return self._asked(found) if callable(found) else found

    def _asked(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def ask(*arguments: Any, **named: Any) -> Any:
            with self._lock, pymongo.timeout(self.timeout_s):
                answer = method(*arguments, **named)
            return self._in_parts(answer) if isinstance(answer, Iterator) else answer

        return ask

    def _in_parts(self, answer: Iterator[Any]) -> Iterator[Any]:
        while True:
            with self._lock, pymongo.timeout(self.timeout_s):
                part = list(islice(answer, _PART))
            yield from part
            if len(part) < _PART:
                return


class PatientSeals:
    """Makes such a stand-in of what seals and verifies."""

    @staticmethod
    def over(
        location: Location,
        timeout_s: float,
        lock: AbstractContextManager[Any] | None = None,
    ) -> SealStore:
        """Make one, as the store it stands for."""
        return cast("SealStore", Patient(MongoSeals(location), timeout_s, lock))


class PatientRollups:
    """Makes such a stand-in of what keeps rollups."""

    @staticmethod
    def over(
        location: Location,
        config: AuditConfig,
        timeout_s: float,
        lock: AbstractContextManager[Any] | None = None,
    ) -> RollupStore:
        """Make one, as the store it stands for."""
        return cast("RollupStore", Patient(MongoRollups(location, config), timeout_s, lock))
