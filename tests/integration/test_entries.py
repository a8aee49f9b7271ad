"""Entries through a real MongoDB: what is stored has the entry of what was to be stored."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from bson.codec_options import CodecOptions
from hypothesis import HealthCheck, given, settings

from affidavit import canonical
from tests.unit.canonical.test_record import SEED, stored
from tests.unit.canonical.test_values import DOCUMENTS

if TYPE_CHECKING:
    from pymongo.database import Database

pytestmark = pytest.mark.requirement("R20")

AWARE = CodecOptions[dict[str, Any]](tz_aware=True, tzinfo=timezone(timedelta(hours=2)))


def test_real_records_have_the_same_entry_in_the_store(database: Database[dict[str, Any]]) -> None:
    """Of every type, read with times of any zone or none."""
    for dest, document in stored():
        made = canonical.entry(document, dest)
        database[dest].insert_one(document)
        for options in (CodecOptions[dict[str, Any]](), AWARE):
            collection = database.get_collection(dest, options)
            found = collection.find_one({"_id": document["_id"]})
            assert found is not None
            assert canonical.entry_of(found, dest) == made


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DOCUMENTS.filter(lambda content: "$" not in repr(content)))
def test_any_content_has_the_same_form_in_the_store(
    database: Database[dict[str, Any]], content: dict[str, Any]
) -> None:
    """Whatever an application's fields hold, but for names that the server keeps for itself."""
    document = {"details": list(content.values()), "request_data": content, "salt": SEED}
    made = canonical.entry(document, "records")
    inserted = database["any"].insert_one(dict(document)).inserted_id
    found = database["any"].find_one({"_id": inserted}, {"_id": False})
    assert found is not None
    assert canonical.entry_of(found, "records") == made


def test_erased_records_have_the_same_entry_in_the_store(
    database: Database[dict[str, Any]],
) -> None:
    """The marks of an erasure are stored like everything else."""
    for dest, document in stored():
        made = canonical.entry(document, dest)
        database["erased"].insert_one(canonical.erase(document, dest, canonical.GROUPS))
        found = database["erased"].find_one({"_id": document["_id"]})
        assert found is not None
        assert canonical.entry_of(found, dest) == made
