"""What the quick ways leave out could not have been found: they give what the long ways give."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affidavit.pipeline.redact import Policy, Redactor, assigned, own, seal
from affidavit.pipeline.redact.kinds import Span
from affidavit.pipeline.redact.scan import Scanner
from affidavit.pipeline.redact.shadow import Shadow
from affidavit.pipeline.redact.walk import Gatherer, joined
from bench.redaction import items

pytestmark = pytest.mark.requirement("R21")

TEXTS = [item["text"] for name in ("general", "trading") for item in items(name)]
HOSTILE = (
    *(
        "pass",
        "PASS",
        "p",
        "w",
        "sw",
        "phrase",
        "pin",
        "otp",
        "otp:",
        "key",
        "tok",
        "en",
        "ennwort",
    ),
    *(
        "contrase",
        "cURL -u a:",
        "card",
        "carta",
        "cvv",
        "cvc",
        "c",
        "lave",
        "clave",
        "cHave",
        "hiave",
    ),
    *(
        "chiave: ",
        "secret",
        "urity code 123",
        "c\u00f3digo de seg",
        "cookie",
        "cookies",
        ": ",
        "av",
    ),
    *("senha", "mnemonic", "semilla", "bearer ", "authorization", "zation: ", "8=fix", "|554=a|"),
    *(
        "cl\u00e9",
        "schl\u00fcssel",
        "Zq9xK7ppQw3e",
        "hunter2!",
        "@example.com",
        "ana",
        "%40",
        "(at)",
    ),
    *("\u200b", "\u200d", "\u00ad", "\ufeff", "\u034f", "\u2028", "\x00", "\x1d", "\x1e", "\x1f"),
    *("\uff14\uff11\uff11\uff11", "\u0661\u0662", "\u041e", "\u0406", "\u0417", "\u0455", "\u212a"),
    *(
        "4111 1111 1111 1111",
        "+34 612 345 678",
        "=",
        "&quot;",
        "\\u0040",
        "\\n",
        "[email]",
        "\ud83d",
    ),
    *("eyJhbGciOiJIUzI1NiJ9.", "sk-ant-api03-", "a" * 20, "-----BEGIN PRIVATE KEY-----", "://u:p@"),
)


def piece(number: int) -> str:
    """Give a text of the corpora, or a hostile part, by its number."""
    return (*HOSTILE, *TEXTS)[number]


parts = st.integers(0, len(HOSTILE) - 1).map(piece)
whole = st.integers(0, len(HOSTILE) + len(TEXTS) - 1).map(piece)
texts = st.lists(parts | parts | whole | st.text(max_size=6), max_size=8).map("".join)

WORDS = (
    re.compile(rb"p(?:ass|w|sw|hrase|in(?![a-z])|[ _:=\"-](?<=otp.))"),
    re.compile(rb"key|kennwort|k(?<=tok)en"),
    re.compile(
        rb"contrase|curl|card|cart[ae]|cv[vcn]|c(?<=sec)ret|code(?<=urity code)|codigo de seg"
        rb"|c\xf3digo de seg|cookies?(?=[\"' ]{0,2}:)"
    ),
    re.compile(rb"v(?:(?<=clav)|(?<=chav)|(?<=hiav))e"),
    re.compile(rb"senha"),
    re.compile(rb"mnemonic|m(?<=sem)illa"),
    re.compile(rb"bearer"),
    re.compile(rb"z(?<=authoriz)ation"),
    re.compile(rb"=(?<=8=)fix"),
    re.compile(rb"cl\xe9|schl\xfcssel"),
)
"""The words written plainly, each set apart."""


def plainly(text: str, data: bytes) -> list[Span]:
    """Look at each place of each word."""
    found: list[Span] = []
    low = data.lower()
    for words in WORDS:
        if words is WORDS[-2] and not (b"|" in data or b"^" in data):
            continue
        done = 0
        for match in words.finditer(low):
            size, look = assigned._LOOKS[match[0]]
            if match.end() - size >= done:
                done = look(text, match.end() - size, found)
    return found


@given(texts)
@settings(max_examples=200)
def test_every_word_of_an_assignment_is_looked_at(text: str) -> None:
    """The searches for words find what the words written plainly find."""
    shadow = Shadow(text)
    found: list[Span] = []
    assigned.find(shadow.latin, shadow.data, found)
    assert sorted(found) == sorted(plainly(shadow.latin, shadow.data))


names = st.sampled_from(
    (
        *(
            "message",
            "text",
            "symbol",
            "user_id",
            "call_id",
            "phone",
            "steuer_id",
            "password",
            "token",
        ),
        *(
            "value",
            "name",
            "messages",
            "content",
            "client_info",
            "event_type",
            "x-api-key",
            "tel.",
            "o",
        ),
    )
)
lines = st.sampled_from(
    ("-----BEGIN PRIVATE KEY-----", "MIIabcdefghijklmnop", "x-api-key", "cookie")
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | texts
    | lines
    | st.binary(max_size=8)
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(names | texts, values, max_size=8)
POLICY = Policy.read("default")


@given(st.lists(documents, min_size=1, max_size=3))
@settings(max_examples=150)
def test_what_is_joined_quickly_is_what_is_gathered(several: list[dict[str, Any]]) -> None:
    """Wherever the quick way gives a text, it is the text of the long way, and nothing is special.

    Also for names learned before, as those of an application are.
    """
    gatherer = Gatherer(POLICY)
    for name in ("tel.", "o", "phone", "x-api-key", "symbol"):
        gatherer.learn(name)
    for document in several:
        quick = gatherer.joined(document)
        leaves = gatherer.gather(document)
        if quick is not None:
            assert quick == joined(leaves)[0]
            assert not gatherer.special
            assert not gatherer.withheld


@given(
    st.lists(documents, min_size=1, max_size=4), st.sampled_from(("default", "strict", "trading"))
)
@settings(max_examples=150)
def test_records_are_the_same_without_the_quick_way(
    several: list[dict[str, Any]], preset: str
) -> None:
    """What is stored and noted of records one after the other does not tell which way they went."""
    policy = Policy.read(preset)
    quick, slow = Redactor(policy), Redactor(policy)
    slow._gatherer._plain = False
    for document in several:
        other = copy.deepcopy(document)
        quick.redact(document)
        slow.redact(other)
        assert repr(document) == repr(other)


def test_a_usual_record_goes_the_quick_way() -> None:
    """Both records of a call, once the application's names are known."""
    redactor = Redactor(POLICY)
    asked = {
        "message": "Analyze BTCUSDT",
        "message_length": 15,
        "provider": "p",
        "symbol": "BTCUSDT",
    }
    record = {
        "event_type": "llm_request",
        "call_id": "0" * 24,
        "timestamp": 1_700_000_000_000,
        "user_id": "u",
        "client_info": {"ip_address": "203.0.113.9"},
        "request_data": asked,
        "response_data": {"text": "x", "processing_time_ms": 1.5, "tools": ["a", "b", "c"]},
    }
    assert redactor._gatherer.joined(record) is None
    redactor.redact(record)
    assert redactor._gatherer.joined(record) is not None


@pytest.mark.parametrize(
    "rules",
    [
        {"patterns": {"note": "internal"}},
        {"finders": [lambda _text: None]},
        {"fields": {"request_data.message": "withhold"}},
    ],
)
def test_rules_that_look_at_each_text_shut_the_quick_way(rules: dict[str, Any]) -> None:
    """Own patterns, own functions, and fields of which nothing is stored."""
    gatherer = Gatherer(Policy.read({"preset": "default", **rules}))
    assert gatherer.joined({"request_data": {"message": "internal"}}) is None


def test_names_of_the_ledger_go_the_long_way() -> None:
    """There the program's own names stand for other things."""
    event = min(own._EVENTS)
    assert Gatherer(POLICY).joined({"event_type": event, "details": {}}) is None


def test_a_search_that_breaks_withholds_one_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it broke on the quick way."""

    def broken(self: Scanner, text: str) -> list[Span]:
        if "boom" in text:
            raise RuntimeError
        return []

    monkeypatch.setattr(Scanner, "find_common", broken)
    record: dict[str, Any] = {"request_data": {"message": "boom", "model": "kept"}}
    Redactor(POLICY).redact(record)
    assert record["request_data"] == {"message": "[withheld]", "model": "kept"}
    assert record["odd"] == ["redaction_failed"]


@pytest.mark.parametrize(
    "rules", ["default", {"fields": {"request_data.note": "withhold"}}, {"kinds": {"all": "seal"}}]
)
def test_no_text_stays_in_memory_after_its_record(rules: str | dict[str, Any]) -> None:
    """Whichever way it went, and if it failed: a record may be the last one for hours."""
    _private, public = seal.keypair()
    redactor = Redactor(Policy.read(rules, seal_to=public))
    record = {"request_data": {"message": "write to ana@example.com", "note": "ana@example.com"}}
    for ids in ({}, {}, {"call_id": 0}, {"call_id": "ana@example.com"}):
        redactor.redact(copy.deepcopy({**record, **ids}), bytes(12))
        kept = [vars(redactor), vars(redactor._gatherer), vars(redactor._gatherer._quick)]
        assert "ana@" not in repr(kept)
