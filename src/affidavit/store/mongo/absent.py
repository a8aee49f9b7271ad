"""Whether there is a log at all where an address points, and where else one might be.

A mistyped name of a database is no error to MongoDB: it is empty, and made by the first write.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import PyMongoError

from affidavit.errors import ConfigError
from affidavit.store.mongo.connect import Location
from affidavit.store.mongo.driver import translated
from affidavit.store.mongo.names import Names

if TYPE_CHECKING:
    from pymongo.database import Database

_OWN: Final = frozenset({"admin", "config", "local"})
_LOOKED_AT: Final = 50
"""Databases that are looked into, those with the most similar names first."""
_SHOWN: Final = 5
_LEDGER: Final = "_ledger"
_APART: Final = "_audit"


def check(location: Location) -> None:
    """Raise ConfigError where no collection of the log exists; nothing is written.

    The text names databases that hold a log, as far as whoever asks may see them. Raises
    StoreRefused for whoever may not read there, StoreUnavailable without an answer.
    """
    names, database = location.names, location.database
    with translated("list the collections"):
        held = _collections(database)
        if held & {names.records, names.ledger, names.seals, names.writers}:
            return
        # Without any right one sees no collection either, and that is another error.
        database[names.records].find_one({}, {"_id": 1}, max_time_ms=5000)
    raise ConfigError(_told(location, held))


def _told(location: Location, held: set[str]) -> str:
    name, records = location.database.name, location.names.records
    found = [(name, other) for other in _logs(held)]
    found += list(_elsewhere(location)) if not found else []
    said = f"There is no log in the database {name!r}: it has no collection {records}. "
    if not found:
        said += "No other database that can be seen with this address looks like a log. "
    else:
        listed = ", ".join(f"{at} (collection {which})" for at, which in found[:_SHOWN])
        said += f"What looks like a log: {listed}. "
    apart = (f"{name}{_APART}", Names("llm_logs").records)
    if apart in found:
        said += f"For {apart[0]} set AFFIDAVIT_SEPARATE_DATABASE=true, as the application has it. "
    elif (name.removesuffix(_APART), "llm_audit") in found and name.endswith(_APART):
        said += "AFFIDAVIT_SEPARATE_DATABASE looks in a database beside; does the application? "
    return (
        f"{said}Correct the database in the address, or --collection; `affidavit setup` makes a "
        "new log. Nothing was written."
    )


def _elsewhere(location: Location) -> Iterator[tuple[str, str]]:
    """Find logs in the databases that can be seen, those with similar names first."""
    here = location.database.name
    try:
        seen = location.client.list_database_names()
        others = [name for name in seen if name != here and name not in _OWN]
        others.sort(key=lambda name: (-SequenceMatcher(None, here, name).ratio(), name))
        for name in others[:_LOOKED_AT]:
            for records in _logs(_collections(location.client[name])):
                yield name, records
    except PyMongoError:
        return  # it is only a hint


def _collections(database: Database[dict[str, Any]]) -> set[str]:
    return set(database.list_collection_names(authorizedCollections=True))


def _logs(held: set[str]) -> list[str]:
    """Name the records collections beside which a ledger stands."""
    bases = (each.removesuffix(_LEDGER) for each in held if each.endswith(_LEDGER))
    return sorted(base for base in bases if base in held)
