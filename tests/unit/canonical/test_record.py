"""The entry of a record: every stored field is in it once, and it survives storing and erasing."""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import bson
import pytest
import rfc8785
from bson.binary import Binary
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from affidavit import canonical
from affidavit.canonical import EntryError, record
from affidavit.event import Dest, EventType, LedgerEvent
from affidavit.pipeline.compress import compress_fields
from affidavit.pipeline.redact.seal import keypair
from affidavit.pipeline.snapshot import take
from affidavit.testing import capture_events
from tests.unit.canonical.test_values import NAMES, READERS, VALUES

pytestmark = pytest.mark.requirement("R20", "R21")

SEED = bytes(range(16))
FIXTURE = Path(__file__).parents[2] / "fixtures" / "v1" / "entries.jsonl"


@cache
def stored() -> list[tuple[str, dict[str, Any]]]:
    """Records of every type, with every field we have, as the real pipeline stores them."""
    found: list[tuple[str, dict[str, Any]]] = []
    public = keypair()[1]
    with capture_events(
        service="assistant",
        environment="test",
        max_field_size=1024,
        redaction={"kinds": {"email": "seal"}},
        seal_public_key=public.hex(),
    ) as captured:
        audit = captured.audit
        who = {"user_id": "u", "department": "d", "tenant": "t", "session_id": "s"}
        with audit.context(conversation_id="c", ip_address="192.0.2.1", user_agent="a", **who):
            with audit.call(
                provider="p", model="m", message="x" * 3000,
                messages=[{"role": "user", "content": b"x"}], parameters={"temperature": 0.5},
                fields={"symbol": "BTCUSDT", "größe": 1, "~odd": [1, None, {"a": 2.5}]},
            ) as call:  # fmt: skip
                call.complete(
                    text="mail me: someone@example.com", input_tokens=1, output_tokens=1,
                    cached_tokens=0, reasoning_tokens=0, cost_usd="0.1", finish_reason="stop",
                    time_to_first_token_ms=1.0, tool_calls=[{"name": "n"}],
                    fields={"context_symbols": ["BTCUSDT"], "at": datetime(2026, 1, 1, tzinfo=UTC)},
                )  # fmt: skip
            with audit.call(provider="p") as failed:
                failed.fail(ValueError("no"))
            audit.rate_limit_exceeded(limit_type="l", current_usage={"n": 1}, details={"n": 1})
            audit.security_event(kind="k", details={"n": 1})
            audit.annotate(call.call_id, kind="score", name="n", value=1, ref="r", note="n")
            corrected = take({
                "event_type": EventType.CORRECTION.value, "call_id": call.call_id,
                "timestamp": 1_800_000_000_000, "user_id": "u", "schema_version": 1,
                "effective_at": datetime(2026, 1, 1, tzinfo=UTC), "price_book": "1-00000000",
                "details": {"cost_nano_diff": -1, "cost_status_before": "reported"},
            }, plain=False)  # fmt: skip
            ticket = audit._engine.submit(Dest.RECORDS, b"correction..", corrected, wait=True)
            assert ticket is not None
            ticket.wait(5.0)
        records = captured.records
    found += [("records", document) for document in records]
    found += [("ledger", document) for document in captured.store.documents(Dest.LEDGER)]
    return [(dest, {**document, "salt": SEED}) for dest, document in found]


def of(dest: str, kind: str, index: int = 0) -> dict[str, Any]:
    """One of them, to change."""
    return copy.deepcopy([d for c, d in stored() if c == dest and d["event_type"] == kind][index])


def entry(document: dict[str, Any], dest: str = "records") -> dict[str, Any]:
    """The entry of a stored record, read."""
    made = canonical.entry_of(document, dest)
    assert made is not None
    read: dict[str, Any] = json.loads(made)
    return read


def test_the_sample_has_every_type_and_every_kind_of_field() -> None:
    """Else the tests below would show less than they say."""
    kinds = {d["event_type"] for _, d in stored()}
    assert kinds >= {*map(str, EventType), LedgerEvent.WRITER_START, LedgerEvent.WRITER_STOP}
    fields = {name for _, d in stored() for name in d}
    assert fields >= {"odd", "truncated", "redactions", "client_info", "actor", "error_message"}
    groups = {name for dest, d in stored() for name in entry(d, dest)["c"]}
    assert groups >= canonical.GROUPS - {"other"}


# -- every stored path -----------------------------------------------------------------------------


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every path of a document: of its mappings, lists and values."""
    found = [at] if at else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += paths(item, (*at, index))
    return found


def flipped(value: Any) -> Any:  # noqa: PLR0911 - a dispatch over types
    """Another value of the same type."""
    if value is None:
        return "not null"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return round(value + 1, 3)
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:] if value else b"x"
    if isinstance(value, ObjectId):
        return ObjectId(flipped(value.binary))
    if isinstance(value, Decimal128):
        high, low = value.bid[8:], int.from_bytes(value.bid[:8], "little") + 1
        return Decimal128.from_bid(low.to_bytes(8, "little") + high)
    if isinstance(value, datetime):
        return value + timedelta(milliseconds=1)
    if isinstance(value, list):
        return [*value, "one more"]
    assert isinstance(value, dict)
    return {**value, "one_more": 1}


def put(
    document: dict[str, Any], path: tuple[Any, ...], value: Any, *, delete: bool = False
) -> Any:
    """A copy with one path changed."""
    changed = copy.deepcopy(document)
    holder: Any = changed
    for step in path[:-1]:
        holder = holder[step]
    if delete:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return changed


def get(document: Any, path: tuple[Any, ...]) -> Any:
    """What stands at a path."""
    for step in path:
        document = document[step]
    return document


def places(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Names of the entry's parts that differ."""
    clear = {n for n in before.keys() | after.keys() if n != "c" and before.get(n) != after.get(n)}
    one, other = before["c"], after["c"]
    return clear | {f"c.{n}" for n in one.keys() | other.keys() if one.get(n) != other.get(n)}


@pytest.mark.parametrize("number", range(12))
def test_every_stored_path_is_in_exactly_one_place(number: int) -> None:
    """Changing any value, at any depth, of any type of record changes the leaf, in one place."""
    for dest, document in stored()[number::12]:
        before = entry(document, dest)
        for path in paths(document):
            if path[0] in canonical.EXEMPT:
                continue
            after = entry(put(document, path, flipped(get(document, path))), dest)
            assert len(places(before, after)) == 1, path


@pytest.mark.parametrize("number", range(12))
def test_taking_away_any_stored_path_changes_the_leaf(number: int) -> None:
    """But for nulls in mappings: null and absent are the same."""
    for dest, document in stored()[number::12]:
        before = canonical.entry_of(document, dest)
        for path in paths(document):
            if path[0] in canonical.EXEMPT:
                continue
            after = canonical.entry_of(put(document, path, None, delete=True), dest)
            null = get(document, path) is None and isinstance(path[-1], str)
            assert (after == before) is null, path


@given(NAMES.filter(lambda name: name not in canonical.EXEMPT), VALUES)
def test_a_new_field_changes_the_leaf(name: str, value: object) -> None:
    """At the top, and in the parts."""
    document = of("records", "llm_response")
    before = canonical.entry_of(document, "records")
    for changed in (
        {**document, name: value},
        {**document, "request_data": {**document["request_data"], name: value}},
        {**document, "response_data": {**document["response_data"], name: value}},
        {**document, "details": {name: value}},
    ):
        same = canonical.normalise(changed) == canonical.normalise(document)
        assert (canonical.entry_of(changed, "records") == before) is same


def test_the_collection_is_part_of_the_entry() -> None:
    """A record that is moved to the ledger is not the same record."""
    document = of("records", "annotation")
    assert canonical.entry_of(document, "records") != canonical.entry_of(document, "ledger")


def test_another_salt_is_another_leaf() -> None:
    """The seed needs no place of its own: every commitment depends on it."""
    document = of("records", "llm_request")
    assert places(entry(document), entry({**document, "salt": bytes(16)})) == {
        f"c.{name}" for name in entry(document)["c"]
    }


# -- the same entry everywhere ---------------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS)
def test_the_entry_survives_storing(reader: str) -> None:
    """Made before it is stored, of what the database gives back, and of an export."""
    for dest, document in stored():
        made = canonical.entry(document, dest)
        again = bson.decode(bson.encode(document), READERS[reader])
        assert canonical.entry_of(again, dest) == made
        assert canonical.entry_of(canonical.from_json(canonical.to_json(again)), dest) == made
        assert canonical.leaf_of(document, dest) == canonical.leaf_hash(made)


FIELDS = st.sampled_from(sorted({*record._CLEAR, *record._GROUPED, *record.PARTS, "anything"}))
INNER = st.sampled_from(sorted(record._REQUEST_OWN | record._RESPONSE_OWN)) | NAMES


@given(st.dictionaries(FIELDS, VALUES | st.dictionaries(INNER, VALUES, max_size=4), max_size=8))
def test_any_document_has_one_entry(document: dict[str, Any]) -> None:
    """Also one that nobody but an attacker would store: whatever the types of known fields."""
    document = {**document, "salt": SEED}
    made = canonical.entry_of(document, "records")
    assert made is not None
    assert len(made) < canonical.ENTRY_LIMIT
    assert made == rfc8785.dumps(json.loads(made))
    again = bson.encode(document)
    for options in READERS.values():
        assert canonical.entry_of(bson.decode(again, options), "records") == made
    assert canonical.entry_of(canonical.from_json(canonical.to_json(document)), "records") == made


def test_compressing_fields_does_not_change_the_entry() -> None:
    """A field counts as its text, whatever form it is stored in."""
    document = of("records", "llm_request")
    document["request_data"]["message"] = "Long. " * 2000
    packed = {**document, "request_data": compress_fields({**document["request_data"]}, 6)}
    assert isinstance(packed["request_data"]["message"], Binary)
    assert canonical.entry_of(packed, "records") == canonical.entry_of(document, "records")


def test_an_entry_is_what_the_page_says() -> None:
    """Made a second time, with the standard library alone."""
    document = of("records", "llm_response")
    response = document["response_data"]
    subject = {n: document[n] for n in
               ("user_id", "department", "tenant", "session_id", "conversation_id")}  # fmt: skip
    salt = hmac.new(SEED, b"subject", "sha256").digest()
    made = entry(document)
    assert made["c"]["subject"] == hashlib.sha256(salt + rfc8785.dumps(subject)).hexdigest()
    assert {n: v for n, v in made.items() if n != "c"} == {
        "v": 1, "col": "records", "id": str(document["_id"]), "w": document["writer"],
        "s": document["seq"],
        "t": round(document["timestamp"].replace(tzinfo=UTC).timestamp() * 1e3),
        "type": "llm_response", "call": document["call_id"], "status": "completed",
        "success": True, "provider": "p", "model": "m", "finish": "stop", "env": "test",
        "service": "assistant", "schema": 1, "in": 1, "out": 1, "cached": 0, "reasoning": 0,
        "used": 2, "by": "p", "cost_nano": 100_000_000, "ttft_us": 1000,
        "cost_status": "reported",
        "us": round(response["processing_time_ms"] * 1000),
    }  # fmt: skip
    plain = json.dumps(made)
    assert "someone" not in plain
    assert "BTCUSDT" not in plain


# -- odd values ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "group"),
    [
        ("status", 5, "other"),
        ("model", "x" * 513, "other"),
        ("success", 1, "other"),
        ("input_tokens", 1.0, "other"),
        ("input_tokens", True, "other"),
        ("input_tokens", 2**53, "other"),
        ("timestamp", 5, "other"),
        ("timestamp", "2026-01-01", "other"),
        ("_id", "text", "other"),
        ("time_to_first_token_ms", 5, "other"),
        ("time_to_first_token_ms", 0.0001, "other"),
        ("request_data", "text", "other"),
        ("request_data", {}, "other"),
        ("response_data", [1], "other"),
        ("client_info", "text", "client"),
        ("anything_else", False, "other"),
    ],
)
def test_a_field_of_an_unexpected_type_is_committed_to(name: str, value: Any, group: str) -> None:
    """It is in the entry all the same, never in clear, and an entry is always made."""
    made = entry({"salt": SEED, name: value})
    assert made.keys() == {"v", "col", "c"}
    assert made["c"].keys() == {group}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cost_usd", Decimal128("0.1")),
        ("cost_usd", Decimal128("-0E-9")),
        ("cost_usd", Decimal128("9007199.254740992")),
        ("cost_usd", 0.1),
        ("processing_time_ms", 1500),
        ("processing_time_ms", -0.0),
        ("processing_time_ms", -1.0),
        ("processing_time_ms", float("nan")),
        ("processing_time_ms", 0.12345),
        ("tokens_used", "5"),
        ("provider_used", "x" * 5000),
    ],
)
def test_an_answer_s_figure_of_another_form_stays_in_its_group(name: str, value: Any) -> None:
    """What whole numbers cannot say exactly is committed to instead, so nothing is rounded."""
    made = entry({"salt": SEED, "response_data": {name: value}})
    assert made.keys() == {"v", "col", "c"}
    assert made["c"].keys() == {"response"}


def test_figures_in_clear_are_exact() -> None:
    """Zero is written, a negative cost too, and 64-bit integers of BSON are like others."""
    made = entry(
        {
            "salt": SEED,
            "input_tokens": Int64(0),
            "response_data": {
                "cost_usd": Decimal128("-0.000000001"), "processing_time_ms": 0.0,
                "tokens_used": Int64(7),
            },
        }
    )  # fmt: skip
    assert (made["in"], made["cost_nano"], made["us"], made["used"]) == (0, -1, 0, 7)


def test_an_entry_is_never_large() -> None:
    """Not even with the longest clear texts, of characters that JSON writes as six."""
    texts = {
        name: "\x01" * 512 for name, (_, check) in record._CLEAR.items() if check is record._text
    }
    document = {**texts, "salt": SEED, "response_data": {"provider_used": "\x01" * 512}}
    for name in record._GROUPED:
        document[name] = "x" * 100_000
    made = canonical.entry_of(document, "records")
    assert made is not None
    assert 30_000 < len(made) < canonical.ENTRY_LIMIT


@pytest.mark.parametrize("salt", [None, b"short", "0123456789abcdef", bytes(17)])
def test_a_record_to_be_stored_needs_its_salt(salt: object) -> None:
    """Sixteen bytes."""
    with pytest.raises(EntryError, match="16 bytes"):
        canonical.entry({"salt": salt}, "records")
    assert len(canonical.new_salt()) == canonical.SALT_SIZE


def test_salts_are_never_drawn_twice() -> None:
    """Not within a process, and not by a child that was forked from it."""
    drawn = {canonical.new_salt() for _ in range(1000)}
    code = (
        "import os, sys\n"
        "from affidavit.canonical import new_salt\n"
        "new_salt()\n"
        "child = os.fork() == 0\n"
        "salts = b''.join(new_salt() for _ in range(300)).hex()\n"
        "os.write(1, salts.encode() + b'\\n')\n"
        "child or os.wait()\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    for line in said.stdout.splitlines():
        drawn |= {bytes.fromhex(line[at : at + 32].decode()) for at in range(0, len(line), 32)}
    assert len(drawn) == 1600


def test_a_record_without_salt_is_unproved() -> None:
    """Older loggers wrote such ones."""
    document = of("records", "llm_request")
    del document["salt"]
    assert canonical.entry_of(document, "records") is None


@pytest.mark.parametrize("value", [object(), "\ud800"])
def test_a_value_without_a_form_is_reported_without_its_content(value: object) -> None:
    """The chain withholds such a field."""
    with pytest.raises(EntryError, match="canonical form"):
        canonical.leaf_of({"salt": SEED, "details": {"x": value}}, "records")


def test_a_value_nested_too_deeply_is_reported() -> None:
    """An export could hold one, to break the verifier."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(EntryError, match="canonical form"):
        canonical.entry_of({"salt": SEED, "details": deep}, "records")


# -- erasing ---------------------------------------------------------------------------------------


def test_erasing_any_group_keeps_the_entry() -> None:
    """One after another, in either order: what is gone is gone, and the proof holds."""
    for dest, document in stored():
        made = canonical.entry_of(document, dest)
        names = sorted(entry(document, dest)["c"])
        for order in (names, names[::-1]):
            left = document
            for name in order:
                left = canonical.erase(left, dest, [name])
                again = bson.decode(bson.encode(left))
                assert canonical.entry_of(again, dest) == made
                assert "salt" not in left
                assert left["erased"].keys().isdisjoint(left["salts"])
        assert canonical.erase(document, dest, names)["erased"] == left["erased"]
        assert not left["salts"]
        assert not (left.keys() & record._GROUPED.keys()) or all(
            left[name] is None for name in left.keys() & record._GROUPED.keys()
        )


def test_erasing_a_person_leaves_the_figures() -> None:
    """Who, from where, what was said: gone. What it cost and when: still there."""
    document = of("records", "llm_response")
    gone = ["subject", "client", "request", "request_fields", "response", "response_fields"]
    left = canonical.erase(document, "records", [*gone, "sealed"])
    assert "someone" not in str(left)
    assert "request_data" not in left
    assert left["response_data"].keys() == {
        "provider_used", "tokens_used", "cost_usd", "processing_time_ms",
    }  # fmt: skip
    assert canonical.entry_of(left, "records") == canonical.entry_of(document, "records")


def test_erasing_what_is_not_there_changes_nothing() -> None:
    """The record keeps its seed."""
    document = of("records", "annotation")
    assert canonical.erase(document, "records", ["response", "sealed"]) == document
    del document["salt"]
    with pytest.raises(EntryError, match="without salts"):
        canonical.erase(document, "records", ["details"])


def test_nothing_can_be_put_where_something_was_erased() -> None:
    """Else a forger would erase first, and write what he likes under the old proof."""
    left = canonical.erase(of("records", "llm_request"), "records", ["request"])
    left["request_data"]["message"] = "something else"
    with pytest.raises(EntryError, match="salts that are left"):
        canonical.entry_of(left, "records")


@pytest.mark.parametrize(
    "marks",
    [
        {"salt": SEED, "erased": {"request": bytes(32)}},
        {"salt": SEED, "salts": {}},
        {"salts": {"details": bytes(32)}},
        {"salts": {"details": bytes(32)}, "erased": {}},
        {"salts": {"details": bytes(31)}, "erased": {"request": bytes(32)}},
        {"salts": {"details": bytes(32)}, "erased": {"nothing": bytes(32)}},
        {"salts": {"details": bytes(32)}, "erased": {"request": "text"}},
        {"salts": {"details": bytes(32)}, "erased": {"details": bytes(32)}},
        {"salts": {"details": bytes(32), "actor": bytes(32)}, "erased": {"request": bytes(32)}},
        {"salts": [], "erased": {"request": bytes(32)}},
        {"erased": {"request": bytes(32)}},
        {"erased": [1]},
    ],
)
def test_marks_of_an_erasure_that_do_not_fit_are_refused(marks: dict[str, Any]) -> None:
    """A record that has them was altered by something else than an erasure."""
    with pytest.raises(EntryError):
        canonical.entry_of({"details": {"n": 1}, **marks}, "records")


# -- version 1, for ever ---------------------------------------------------------------------------


def kept() -> list[dict[str, str]]:
    """Documents, entries and leaves as version 1 made them."""
    return [json.loads(line) for line in FIXTURE.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("kept_entry", kept(), ids=lambda k: k["name"])
def test_entries_of_version_1_stay_as_they_are(kept_entry: dict[str, str]) -> None:
    """Whoever changes this breaks every proof that was ever given: make a version 2 instead."""
    document = canonical.from_json(kept_entry["document"])
    made = canonical.entry_of(document, Dest(kept_entry["dest"]))
    assert made is not None
    assert made.decode() == kept_entry["entry"]
    assert canonical.leaf_hash(made).hex() == kept_entry["leaf"]


@pytest.mark.parametrize("dest", ["records", "ledger"])
def test_each_commitment_opens_with_its_salt_and_its_bytes(dest: str) -> None:
    """Whoever is given both can hash them by hand; of an erased group there is nothing to give."""
    for _, document in [each for each in stored() if each[0] == dest]:
        made = entry(document, dest)["c"]
        opened = canonical.openings(document, dest)
        assert {n: hashlib.sha256(s + b).hexdigest() for n, (s, b) in opened.items()} == made
        erased = canonical.erase(document, dest, ["request", "details"])
        assert canonical.openings(erased, dest).keys() == made.keys() - {"request", "details"}
