"""Redacting whole records: every text, nothing else, and what is noted about it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from affidavit.pipeline.redact import Policy, Redactor
from affidavit.pipeline.redact.record import FAILED

pytestmark = pytest.mark.requirement("R21")

CARD = "4111 1111 1111 1111"
MAIL = "ana@example.com"


def redacted(document: dict[str, Any], rules: object = "default", **more: Any) -> dict[str, Any]:
    """Redact a copy."""
    document = copy.deepcopy(document)
    Redactor(Policy.read(rules, **more)).redact(document)  # type: ignore[arg-type]
    return document


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("request_data", {"message": MAIL}, "request_data.message"),
        (
            "request_data",
            {"messages": [{"role": "user", "content": MAIL}]},
            "request_data.messages.0.content",
        ),
        (
            "request_data",
            {"messages": [{"content": [{"type": "text", "text": MAIL}]}]},
            "request_data.messages.0.content.0.text",
        ),
        (
            "request_data",
            {"parameters": {"tools": [{"description": MAIL}]}},
            "request_data.parameters.tools.0.description",
        ),
        ("response_data", {"text": MAIL}, "response_data.text"),
        (
            "response_data",
            {"tool_calls": [{"function": {"arguments": f'{{"to": "{MAIL}"}}'}}]},
            "response_data.tool_calls.0.function.arguments",
        ),
        ("error_message", f"cannot parse {MAIL}", "error_message"),
        ("error_type", MAIL, "error_type"),
        ("details", {"note": MAIL}, "details.note"),
        ("details", {"kind": "score", "value": MAIL}, "details.value"),
        ("model", f"custom/{MAIL}", "model"),
        ("truncated", [{"path": f"request_data.{MAIL}", "bytes": 3}], "truncated.0.path"),
    ],
)
def test_every_text_is_searched(field: str, value: Any, path: str) -> None:
    """Messages, answers, tools, errors, details, the application's fields."""
    stored = redacted({field: value})
    assert MAIL not in repr(stored)
    assert stored["redactions"] == [{"kind": "email", "count": 1, "path": path, "action": "remove"}]


def test_identity_is_never_searched() -> None:
    """Who and where stay as they are, whatever they look like."""
    identity = {
        "user_id": MAIL,
        "session_id": CARD,
        "conversation_id": "612345678",
        "department": MAIL,
        "tenant": MAIL,
        "environment": MAIL,
        "service": MAIL,
        "client_info": {"ip_address": "203.0.113.7", "user_agent": f"x {MAIL}"},
        "call_id": "4111111111111111" + "00000000",
        "timestamp": 1_700_000_000_123,
        "event_type": "llm_request",
    }
    assert redacted(identity) == identity


def test_keyed_identity_is_linkable_and_not_readable() -> None:
    """The same person gives the same letters; without the key nobody can tell who it is."""
    document = {"user_id": "ana", "session_id": "s1", "client_info": {"ip_address": "203.0.113.7"}}
    one = redacted(document, identity="keyed", key=b"k" * 32)
    two = redacted(document, identity="keyed", key=b"k" * 32)
    other = redacted(document, identity="keyed", key=b"x" * 32)
    assert one == two
    assert one["user_id"].startswith("keyed:")
    assert len({one["user_id"], one["session_id"], other["user_id"]}) == 3
    assert "203.0" not in repr(one)


def test_a_name_of_a_field_can_hold_a_value_itself() -> None:
    """It is replaced, its values stay, and no note shows it."""
    stored = redacted({"details": {MAIL: {"a": CARD, "b": 1}, "bob@example.com": 2, "c": 3}})
    assert list(stored["details"]) == ["[email]", "[email]_", "c"]
    assert stored["details"]["[email]"]["b"] == 1
    assert "example.com" not in repr(stored)
    assert {"kind": "card", "count": 1, "path": "details.[email].a", "action": "mask"} in stored[
        "redactions"
    ]


def test_a_clean_record_is_not_changed() -> None:
    """And gets no note."""
    document = {
        "request_data": {"message": "hello", "n": 3, "x": [1.5, None, True]},
        "success": True,
    }
    assert redacted(document) == document


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer abc", "X-Api-Key": "abc"},
        [["authorization", "Bearer abc"], ["x-api-key", "abc"]],
        [{"name": "Authorization", "value": "abc"}, {"key": "cookie", "value": "abc"}],
    ],
)
def test_fields_named_like_secrets_are_withheld_whole(headers: Any) -> None:
    """Whatever the value looks like, and in each shape headers come in."""
    assert "abc" not in repr(redacted({"details": {"headers": headers}}))


@pytest.mark.parametrize("name", ["password", "db_password", "clientSecret", "API-KEY", "apiKey"])
@pytest.mark.parametrize("value", ["swordfish", 123456, ["swordfish", "x1"]])
def test_values_of_such_fields_may_be_of_any_type(name: str, value: Any) -> None:
    """Texts, numbers and lists of them."""
    stored = repr(redacted({"details": {name: value}}))
    assert "swordfish" not in stored
    assert "123456" not in stored


def test_a_token_can_be_a_coin() -> None:
    """Doubtful names count only where the value looks like a secret."""
    fields = {"token": "BTC", "secret": False, "key": "level"}
    assert redacted({"details": fields})["details"] == fields
    assert redacted({"details": {"token": "a1b2c3d4e5f6a7b8"}})["details"]["token"] == "[api_key]"


def test_the_name_of_a_field_says_what_a_number_is() -> None:
    """In words, with humps and underscores."""
    fields = {"steuer_id": "86095742719", "phoneNumber": "612345678", "order_id": "612345678"}
    assert redacted({"details": fields})["details"] == {
        "steuer_id": "[national_id_de]",
        "phoneNumber": "[phone]",
        "order_id": "612345678",
    }


def test_numbers_and_bytes_are_searched_as_well() -> None:
    """A card can be an integer, and a mail a byte string."""
    stored = redacted(
        {"details": {"card": 4111111111111111, "f": 4111111111111111.0, "raw": MAIL.encode()}}
    )
    assert stored["details"]["raw"] == b"[email]"
    assert "4111111111111111" not in repr(stored)


def test_words_of_one_text_say_nothing_about_another() -> None:
    """Context ends where the text ends."""
    fields = {"a": "my phone is broken", "b": "612345678"}
    assert redacted({"details": fields})["details"] == fields


def test_no_find_reaches_over_two_texts() -> None:
    """Half a card in each of two fields is no card."""
    fields = {"a": "4111 1111", "b": "1111 1111"}
    assert redacted({"details": fields})["details"] == fields


def test_equal_finds_are_counted() -> None:
    """By kind, path and action."""
    stored = redacted({"details": {"note": f"{MAIL}, bob@example.com and {CARD}"}})
    assert stored["redactions"] == [
        {"kind": "email", "count": 2, "path": "details.note", "action": "remove"},
        {"kind": "card", "count": 1, "path": "details.note", "action": "mask"},
    ]


def test_the_notes_are_bounded() -> None:
    """A hundred entries; the rest is summed up."""
    notes = redacted({"details": {f"f{i}": MAIL for i in range(500)}})["redactions"]
    assert len(notes) == 101
    assert notes[-1] == {"kind": "email", "count": 400, "path": "*", "action": "remove"}


# -- actions -------------------------------------------------------------------------------------


def test_masks_keep_a_little() -> None:
    """The last four of a card, and nothing of a secret."""
    rules = {"kinds": {"all": "mask"}}
    text = f"{MAIL} {CARD} 203.0.113.7 +34 612 345 678 password=hunter2"
    stored = redacted({"details": {"n": text}}, rules)["details"]["n"]
    assert (
        stored
        == "[email a\u2026] [card \u20261111] [ip 203.0\u2026] [phone \u202678] password=[password]"
    )


def test_pseudonyms_link_however_a_value_is_written() -> None:
    """Letter case and separators do not count; another key gives another token."""
    rules = {"kinds": {"all": "pseudonymize"}}
    text = f"{MAIL} ANA@example.com {CARD} 4111-1111-1111-1111"
    mail, upper, card, hyphens = redacted({"t": text}, rules, key=b"k" * 32)["t"].split()
    assert mail == upper
    assert card == hyphens
    assert mail.startswith("<email:")
    assert redacted({"t": MAIL}, rules, key=b"x" * 32)["t"] != mail


def test_what_is_kept_is_still_noted() -> None:
    """So that a reader knows that it is there."""
    stored = redacted({"t": f"from {MAIL}"}, {"kinds": {"email": "keep"}})
    assert stored["t"] == f"from {MAIL}"
    assert stored["redactions"][0]["action"] == "keep"


def test_a_kept_kind_does_not_save_what_it_overlaps() -> None:
    """An address as a password is a password."""
    stored = redacted({"t": f"password: {MAIL}"}, {"kinds": {"email": "keep"}})
    assert MAIL not in stored["t"]


def test_fields_have_their_own_rules() -> None:
    """By path, with * for one step; the last one that fits decides."""
    rules = {
        "fields": {
            "request_data": {"email": "keep"},
            "request_data.messages.*.content": "remove",
            "details.raw": "withhold",
            "details.text": "withhold",
        }
    }
    stored = redacted(
        {
            "request_data": {"message": MAIL, "messages": [{"content": MAIL}]},
            "details": {"raw": {"deep": ["anything"]}, "text": "y", "note": "x"},
        },
        rules,
    )
    assert stored["request_data"]["message"] == MAIL
    assert stored["request_data"]["messages"] == [{"content": "[email]"}]
    assert stored["details"] == {"raw": {"withheld": True}, "text": "[withheld]", "note": "x"}


def test_off_stores_everything() -> None:
    """And notes nothing."""
    document = {"details": {"password": "hunter2", "n": CARD}}
    assert redacted(document, "off") == document


# -- own rules -----------------------------------------------------------------------------------


def test_own_patterns_and_functions() -> None:
    """A pattern with a name, a function that gives places, one that gives the text."""

    def places(text: str) -> list[tuple[int, int, str]]:
        at = text.find("Projekt X")
        return [(at, at + 9, "project")] if at >= 0 else []

    def whole(text: str) -> str:
        return text.replace("Atlantis", "[place]")

    rules = {
        "patterns": {"staff": r"EMP-\d{6}"},
        "kinds": {"staff": "mask"},
        "finders": [places, whole],
    }
    text = "EMP-123456 works on Projekt X"
    stored = redacted({"a": text, "b": "in Atlantis"}, rules)
    assert stored["a"] == "[staff] works on [project]"
    assert stored["b"] == "in [place]"


@pytest.mark.parametrize("answer", [[(0, 99, "x")], [(3, 3, "x")], [(0, 1)], 7])
def test_a_function_that_gives_nonsense_withholds_its_text(answer: Any) -> None:
    """Only that text, and the record says so."""
    rules = {"finders": [lambda text: answer if text == "bad" else None]}
    stored = redacted({"a": "bad", "b": "good"}, rules)
    assert (stored["a"], stored["b"], stored["odd"]) == ("[withheld]", "good", [FAILED])


def test_a_function_that_raises_withholds_its_text() -> None:
    """The error's own text could hold the value, and is not kept."""

    def broken(text: str) -> None:
        raise RuntimeError(text)

    stored = redacted({"details": {"n": "secret words"}}, {"finders": [broken]})
    assert "secret words" not in repr(stored)
    assert stored["odd"] == [FAILED]
    assert stored["redactions"][0]["action"] == "withheld"


def test_a_search_that_breaks_withholds_what_it_was_about() -> None:
    """First all texts are tried one by one; only those that break are lost."""
    redactor = Redactor(Policy.read("default"))
    find = redactor._scanner.find_common

    def fragile(text: str) -> Any:
        if "boom" in text:
            raise MemoryError
        return find(text)

    redactor._scanner.find_common = fragile  # type: ignore[method-assign]
    document = {"a": f"hello {MAIL}", "b": "boom"}
    redactor.redact(document)
    assert (document["a"], document["b"]) == ("hello [email]", "[withheld]")


@pytest.mark.parametrize("walk", ["joined", "gather"])
def test_a_walk_that_breaks_keeps_only_what_happened(
    walk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Identity and kind of the event stay; content goes; the record says so."""

    def broken(document: object) -> None:
        raise RecursionError

    document: dict[str, Any] = {
        "user_id": "ana",
        "event_type": "llm_request",
        "request_data": {"message": "text"},
        "error_message": "text",
        "truncated": [{"path": "x"}],
        "success": True,
    }
    redactor = Redactor(Policy.read("default"))
    if walk == "gather":
        monkeypatch.setattr(redactor._gatherer, "joined", lambda _document: None)
    monkeypatch.setattr(redactor._gatherer, walk, broken)
    redactor.redact(document)
    assert document == {
        "user_id": "ana",
        "event_type": "llm_request",
        "request_data": {"withheld": True},
        "error_message": "[withheld]",
        "truncated": [],
        "success": True,
        "odd": [FAILED],
        "redactions": [{"kind": "text", "count": 1, "path": "*", "action": "withheld"}],
    }
