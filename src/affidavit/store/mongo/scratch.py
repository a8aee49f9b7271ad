"""Collections of a measurement's own, dropped at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated

MARK: Final = "_baseline_"


@contextlib.contextmanager
def scratch(location: Location, name: str) -> Iterator[Callable[[], None]]:
    """Give an operation on a collection of its own: one write that the database confirms.

    On leaving, every collection and view that begins with ``name`` is dropped; it must hold the
    mark of a measurement, so that nothing else can be meant. Raises StoreRefused without the right.
    """
    if MARK not in name:
        msg = f"{name!r} is no name of a measurement's own collection."
        raise ValueError(msg)
    database = location.database
    collection = database[f"{name}_operation"]

    def operation() -> None:
        with translated("write to a collection of the measurement's own"):
            collection.insert_one({"at": datetime.now(UTC), "text": "x" * 500})

    try:
        operation()
        yield operation
    finally:
        with translated("drop the measurement's own collections"):
            found = database.list_collection_names(filter={"name": {"$regex": f"^{name}"}})
            for each in sorted(found):
                database.drop_collection(each)
