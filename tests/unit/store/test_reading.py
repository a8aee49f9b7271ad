"""The pure parts of reading: cursors, old shapes, command lines, index comparison."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from affidavit.store.mongo import indexes, legacy
from affidavit.store.mongo.filters import Cursor, advance
from affidavit.store.mongo.shape import contains
from affidavit.store.mongo.shell import command_line, literal
from tests.support.documents import START, old_call, old_security

pytestmark = pytest.mark.requirement("R20", "R35")

MADRID = ZoneInfo("Europe/Madrid")
_TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)).map(  # noqa: DTZ001 - made aware next
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
)
_IDS = st.one_of(st.text(), st.integers(-(2**31), 2**31), st.builds(ObjectId))


@given(_TIMES, st.lists(_IDS, max_size=5))
def test_a_cursor_survives_its_text(at: datetime, shown: list[Any]) -> None:
    """Whatever the kinds of the ids."""
    text = Cursor(at, shown).encode()
    assert Cursor.decode(text) == Cursor(at, shown)
    assert text.isascii()


def test_a_cursor_remembers_the_ids_of_its_own_time_only() -> None:
    """They add up while the time stays the same, and start anew when it moves."""
    later = START.replace(minute=5)
    first = advance(None, [{"_id": 1, "timestamp": later}, {"_id": 2, "timestamp": START}])
    assert first == Cursor(START, [2])
    second = advance(first, [{"_id": 3, "timestamp": START}])
    assert second == Cursor(START, [2, 3])
    earlier = START.replace(hour=1)
    assert advance(second, [{"_id": 4, "timestamp": earlier}]) == Cursor(earlier, [4])


def test_an_old_document_is_not_changed_by_reading() -> None:
    """Reading gives another document."""
    stored = old_security()
    before = dict(stored)
    shown = legacy.read(stored, None)
    assert stored == before
    assert shown["details"] == {"kind": "prompt_injection", "pattern": "ignore all"}


def test_summer_and_winter_time_are_told_apart() -> None:
    """Two hours in July, one in November."""
    july = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert legacy.to_utc(july, MADRID) == july.replace(hour=10)
    assert legacy.to_utc(START, MADRID) == START.replace(hour=11)
    assert legacy.as_stored(july.replace(hour=10), MADRID) == july


def test_a_record_of_ours_is_read_as_it_is() -> None:
    """Only documents without a schema version are somebody else's."""
    ours = {"schema_version": 1, "timestamp": START, "event_type": "security_event"}
    assert legacy.read(ours, MADRID) is ours
    assert legacy.read(old_call(), None)["schema_version"] == 0


def test_commands_are_written_as_mongosh_reads_them() -> None:
    """Plain names without quotes, others with."""
    command = {"createIndexes": "c", "indexes": [{"key": {"a.b": -1}, "unique": True}]}
    assert command_line("w", command) == (
        'db.getSiblingDB("w").runCommand('
        '{createIndexes: "c", indexes: [{key: {"a.b": -1}, unique: true}]})'
    )
    assert literal({"$exists": None, "at": START}) == (
        '{$exists: null, at: ISODate("2026-11-01T12:00:00+00:00")}'
    )


def test_an_index_with_other_options_does_not_serve() -> None:
    """Partial, sparse, unique or of another order of keys."""
    wanted = indexes.of_records(90)[0]
    plain: dict[str, Any] = {"key": {"user_id": 1, "timestamp": -1}}
    assert wanted.matches(plain)
    for other in (
        {"sparse": True},
        {"unique": True},
        {"partialFilterExpression": {"a": 1}},
        {"collation": {"locale": "es"}},
        {"key": {"timestamp": -1, "user_id": 1}},
    ):
        assert not wanted.matches({**plain, **other})


def test_a_text_is_found_at_any_depth() -> None:
    """In lists and in mappings, whatever the case."""
    assert contains({"a": [{"b": "The NEEDLE"}]}, "needle")
    assert not contains({"a": [1, None, {"b": b"needle"}]}, "needle")
