"""What an erasure takes from a record, and what it leaves: rules without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from affidavit.canonical import CONTENT, entry_of, new_salt
from affidavit.config import AuditConfig
from affidavit.errors import ConfigError
from affidavit.lifecycle import asked, holds
from affidavit.lifecycle.erasure import _left, going_from
from tests.support.documents import old_call, old_security

pytestmark = pytest.mark.requirement("R21")

SECRET = "what nobody may know"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.just(SECRET)
    | st.just(Decimal128("0.1")) | st.just(datetime(2026, 1, 1, tzinfo=UTC)),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["a", "b", "\u00df", "~c", "$d"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
NAMES = st.sampled_from([
    "user_id", "session_id", "client_ip", "user_agent", "client_info", "request_data", "details",
    "response_data", "error_message", "prompt", "whatever", "sealed", "said", "odd",
])  # fmt: skip
PARTS = st.dictionaries(
    st.sampled_from(["message", "text", "tokens_used", "symbol", "cost_usd", "~x"]), VALUES
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A document as an older logger, or anything else, may have left it."""
    made = draw(st.dictionaries(NAMES, VALUES, max_size=8))
    for part in ("request_data", "response_data"):
        if draw(st.booleans()):
            made[part] = draw(PARTS)
    return {"_id": ObjectId(), "event_type": "llm_request", **made}


def holds_secret(value: Any) -> bool:
    """Whether the text is in there somewhere."""
    if isinstance(value, dict):
        return any(map(holds_secret, value.values()))
    return any(map(holds_secret, value)) if isinstance(value, list) else value == SECRET


@given(documents())
def test_nothing_is_left_of_what_an_older_logger_wrote(document: dict[str, Any]) -> None:
    """Known fields and unknown ones; the second time there is nothing to take."""
    left = _left(document, CONTENT)
    assert not holds_secret(left)
    assert (left["_id"], left["event_type"]) == (document["_id"], "llm_request")
    assert going_from(left, CONTENT) == frozenset()


@given(documents())
def test_nothing_is_left_of_what_was_proved_but_its_entry(document: dict[str, Any]) -> None:
    """The same documents with a salt: every proof is as it was."""
    document |= {"writer": "w", "seq": 1, "salt": new_salt()}
    left = _left(document, CONTENT)
    assert not holds_secret(left)
    assert entry_of(left, "records") == entry_of(document, "records")
    assert going_from(left, CONTENT) == frozenset()


@given(documents(), st.sets(st.sampled_from(sorted(CONTENT))))
def test_groups_can_go_one_by_one(document: dict[str, Any], groups: set[str]) -> None:
    """In any order, to the same end; what is not meant stays."""
    document |= {"writer": "w", "seq": 1, "salt": new_salt()}
    left = document
    for group in sorted(groups):
        left = _left(left, [group])
    assert going_from(left, groups) == frozenset()
    assert going_from(left, CONTENT) == going_from(document, CONTENT) - groups
    assert left.get("erased", {}) == _left(document, groups).get("erased", {})


def test_the_figures_of_an_older_logger_stay() -> None:
    """What it cost and how long it took, of floats too; a security event keeps its kind."""
    left = _left(old_call(user_id="ana"), CONTENT)
    assert left["response_data"]["cost_usd"] == 0.045
    assert left["completed_at"]
    assert left["success"] is True
    assert not {"user_id", "client_ip", "request_data"} & left.keys()
    assert _left(old_security(), CONTENT)["event_type"] == "security_prompt_injection"


def test_flags_and_corrections_keep_what_others_go_by() -> None:
    """They hold nothing of a person; without them calls would be flagged and priced again."""
    record = {"_id": ObjectId(), "writer": "w", "seq": 1, "salt": new_salt(), "user_id": "u"}
    flag = {**record, "event_type": "annotation", "kind": "no_outcome", "details": {"kind": "x"}}
    assert going_from(flag, CONTENT) == {"subject"}
    correction = {**record, "event_type": "correction", "details": {"cost_nano_diff": 5}}
    assert going_from(correction, CONTENT) == {"subject"}


def test_a_hold_knows_its_own() -> None:
    """By the keyed hash of the name, which another hold of the same name does not share."""
    noted: list[dict[str, Any]] = []

    class Kept:
        def ledger(self, event: Any) -> Any:
            return iter(noted)

        def note(self, event: Any, details: Any) -> None:
            noted.append({"details": details, "timestamp": datetime.now(UTC)})

    store = Kept()
    first = holds.add(store, "user", ["ana", "keyed:x"], "case")
    holds.add(store, "user", ["ana"], "case")
    held = holds.in_force(store.ledger(None))
    assert [hold.covers({"user_id": "ana"}) for hold in held] == [True, True]
    assert [hold.covers({"user_id": "keyed:x"}) for hold in held] == [True, False]
    assert not any(hold.covers({"user_id": "bob", "call_id": "ana"}) for hold in held)
    assert held[0].marks.isdisjoint(held[1].marks)
    holds.release(store, first, "over")
    assert len(holds.in_force(store.ledger(None))) == 1


@pytest.mark.parametrize("reason", [None, "", "  ", "x" * 501])
def test_a_reason_is_needed(reason: str | None) -> None:
    """And it is short."""
    with pytest.raises(ConfigError, match="reason"):
        asked.reason_of(reason)


def test_groups_are_known_ones() -> None:
    """``actor`` is the ledger's, which is never erased."""
    assert asked.groups_of(None) == CONTENT
    assert asked.groups_of("request, response") == {"request", "response"}
    for text in ("actor", "requests", ","):
        with pytest.raises(ConfigError, match="Groups are"):
            asked.groups_of(text)
    assert asked.forms_of("ana", AuditConfig()) == ("ana",)
