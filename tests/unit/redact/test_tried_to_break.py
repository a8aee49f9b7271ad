"""What somebody tried who wanted to get a secret in, or the logger down."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

import bson
import pytest

from affidavit.event import Dest
from affidavit.logger import AuditLogger
from affidavit.pipeline.chain import Chain
from affidavit.pipeline.redact import Policy, Redactor, own
from affidavit.pipeline.snapshot import take
from affidavit.store.memory import MemoryStore
from affidavit.testing import capture_events

pytestmark = pytest.mark.requirement("R21", "R7")

MAIL = "ana@example.com"


def redacted(document: dict[str, Any], rules: object = "default", **more: Any) -> dict[str, Any]:
    """Redact a copy."""
    document = copy.deepcopy(document)
    Redactor(Policy.read(rules, **more)).redact(document)  # type: ignore[arg-type]
    return document


# -- rules that break things ---------------------------------------------------------------------


def _boom(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize(
    "rules",
    [
        {"finders": [_boom]},
        {"patterns": {"w": "details"}},
        {"patterns": {"w": "(?i)model|message|config|request_data|[a-z_]+"}},
    ],
)
def test_no_rule_keeps_a_later_logger_from_starting(rules: Any, tmp_path: Any) -> None:
    """The names of our own fields stay, in records and in the ledger."""
    store = MemoryStore("memory:broken-rules")
    for redaction in (rules, "default"):
        with (
            AuditLogger(store, spool_dir=str(tmp_path), redaction=redaction) as audit,
            audit.call(provider="p", model="m", message="one") as call,
        ):
            call.complete(text="two")
    records, ledger = store.documents(), store.documents(Dest.LEDGER)
    assert len(records) == 4
    assert all(record.keys() <= own.TOP for record in (*records, *ledger))
    for record in records:
        assert record.get("request_data", {}).keys() <= own.INNER
        assert record.get("response_data", {}).keys() <= own.INNER
    starts = [r["details"] for r in ledger if r["event_type"] == "writer_start"]
    assert all({"config", "leaf_key"} <= start.keys() for start in starts)
    assert all("[" not in start["leaf_key"] for start in starts)


@pytest.mark.parametrize("details", [None, {}, {"withheld": True}, {"config": "[w]"}, "x"])
def test_an_odd_start_record_is_no_reason_not_to_start(details: Any, tmp_path: Any) -> None:
    """Of an older release, or one that a rule has taken apart."""
    store = MemoryStore("memory:odd-start")
    store.last_start = lambda *_: {"details": details}  # type: ignore[method-assign]
    with AuditLogger(store, spool_dir=str(tmp_path)) as audit:
        audit.security_event(kind="x")
        assert audit.flush(5)
    assert len(store.documents()) == 1


def test_the_ledger_is_not_touched_by_the_usual_rules() -> None:
    """Names of settings have words such as "key" in them, and their values are paths."""
    with capture_events(redaction="strict", redaction_key="hex:" + "ab" * 32) as captured:
        captured.audit.security_event(kind="x")
        assert captured.records
        (start,) = (r for r in captured.ledger if r["event_type"] == "writer_start")
    assert "redactions" not in start
    assert start["details"]["config"]["redaction_key"] == "hex:***"


def test_our_names_are_those_that_records_have() -> None:
    """What an entry has a place for is never renamed."""
    from affidavit.canonical import record

    known = {*record._CLEAR, *record._GROUPED, *record.PARTS, *record.EXEMPT}
    assert known - {"salts", "erased"} <= own.NAMES
    assert {*record._REQUEST_OWN, *record._RESPONSE_OWN, *record._RESPONSE_CLEAR} <= own.NAMES


def test_a_broken_function_costs_only_the_text_it_was_given() -> None:
    """Not the names of our fields around it."""

    def fragile(text: str) -> None:
        if "bad" in text:
            raise ValueError

    stored = redacted({"request_data": {"message": "bad", "note": "good"}}, {"finders": [fragile]})
    assert stored["request_data"] == {"message": "[withheld]", "note": "good"}


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_a_function_cannot_stop_the_writer(error: type[BaseException]) -> None:
    """Whatever it raises is its own failure, and costs the text."""

    def leaving(text: str) -> None:
        if text == "stop":
            raise error

    with capture_events(redaction={"finders": [leaving]}) as captured:
        for number in range(3):
            captured.audit.security_event(kind="x", details={"n": number, "note": "stop"})
        records = captured.records
        assert captured.audit.stats().writer_restarts == 0
    assert [record["details"]["details"]["note"] for record in records] == ["[withheld]"] * 3


def test_two_functions_do_not_undo_each_other() -> None:
    """One gives places, the other a text: both hold."""

    def places(text: str) -> list[tuple[int, int, str]]:
        at = text.find("Atlantis")
        return [(at, at + 8, "project")] if at >= 0 else []

    def whole(text: str) -> str:
        return text.replace("Fafnir", "[dragon]")

    text = f"Atlantis and Fafnir, {MAIL}"
    for finders in ([places, whole], [whole, places]):
        stored = redacted({"t": text}, {"finders": finders})
        assert stored["t"] == "[project] and [dragon], [email]"


# -- own patterns --------------------------------------------------------------------------------


def test_a_pattern_sees_each_text_by_itself() -> None:
    """One that takes all there is ends with its text, and the next text is searched as well."""
    fields = {"a": "internal: beta-2", "b": "x internal: gamma-3", "c": "fine"}
    for pattern in ("internal:.*", "internal:[^#]+", "(?s)internal:.+"):
        stored = redacted({"request_data": dict(fields)}, {"patterns": {"own": pattern}})
        assert stored["request_data"] == {"a": "[own]", "b": "x [own]", "c": "fine"}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^EMP-\d{6}$", "EMP-123456"),
        (r"^EMP-\d{6}", "EMP-123456"),
        (r"EMP-\d{6}$", "EMP-123456"),
        (r"\AEMP-\d{6}\Z", "EMP-123456"),
        ("\u041f\u0440\u043e\u0435\u043a\u0442-[0-9]+", "\u041f\u0440\u043e\u0435\u043a\u0442-42"),
        ("\u0141\u00f3d\u017a", "\u0141\u00f3d\u017a"),
        ("\u6771\u4eac", "\u6771\u4eac"),
        (r"EMP-\d{6}", "EMP-\uff11\u200b23456"),
    ],
)
def test_anchors_and_letters_of_other_scripts_match(pattern: str, text: str) -> None:
    """A pattern works as it does in Python, and with tricks undone as well."""
    assert redacted({"request_data": {"n": text}}, {"patterns": {"own": pattern}})[
        "request_data"
    ] == {"n": "[own]"}


def test_a_greedy_pattern_does_not_count_what_redaction_wrote() -> None:
    """What stands instead is not found again."""
    stored = redacted({"text": f"{MAIL} text"}, {"patterns": {"own": r"[^#]+"}})
    assert stored["text"] == "[own]"
    assert redacted({"text": "[own]"}, {"patterns": {"own": r"[^#]+"}}) == {"text": "[own]"}
    assert {note["count"] for note in stored["redactions"]} == {1}


# -- rules for fields ----------------------------------------------------------------------------


def test_a_name_that_is_kept_in_one_place_goes_in_another() -> None:
    """The exception is for its path, not for the life of the process."""
    redactor = Redactor(Policy.read({"fields": {"details.details.contacts": "keep"}}))
    kept: dict[str, Any] = {"details": {"details": {"contacts": {MAIL: 1}}}}
    redactor.redact(kept)
    assert kept["details"]["details"]["contacts"] == {MAIL: 1}
    other: dict[str, Any] = {"request_data": {"people": {MAIL: "boss"}}}
    redactor.redact(other)
    assert other["request_data"]["people"] == {"[email]": "boss"}


@pytest.mark.parametrize(
    ("path", "tags"),
    [
        ("request_data.tags.*", ["[withheld]", "[withheld]"]),
        ("request_data.tags.0", ["[withheld]", "betaX"]),
        ("request_data.*.1", ["alphaX", "[withheld]"]),
        ("request_data.tags", []),
    ],
)
def test_elements_of_lists_are_withheld(path: str, tags: list[str]) -> None:
    """By a star or by their number."""
    stored = redacted(
        {"request_data": {"tags": ["alphaX", "betaX"]}}, {"fields": {path: "withhold"}}
    )
    assert stored["request_data"]["tags"] == tags


def test_elements_of_lists_in_lists_are_withheld() -> None:
    """A star for each step."""
    rules = {"fields": {"request_data.t.*.*": "withhold"}}
    stored = redacted({"request_data": {"t": [["alphaX"], ["betaX", {"c": 1}]]}}, rules)
    assert stored["request_data"]["t"] == [["[withheld]"], ["[withheld]", {"withheld": True}]]


# -- secrets in fields ---------------------------------------------------------------------------

WEAK = "Zq9xK7pp"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "$uperS3cret!99"),
        ("db_password", "my-S3cret-Pa55!"),
        ("api_key", "the_key_9f8e7d6c"),
        ("pwd", "@dmin"),
        ("client_secret", "{9f8e7d6c5b4a}"),
        ("password", "secret"),
        ("password", "x"),
        *(
            (name, WEAK)
            for name in [
                "password_confirmation",
                "smtp_pass",
                "root_pw",
                "db_password_old",
                "PASSWORD_PROD",
                "openai_key",
                "password_hash",
                "github_token",
                "x-vault-token",
                "device_token",
                "xsrf-token",
                "hmac_key",
                "jwt_secret",
                "app_secret",
                "secret_key_base",
                "client_secret_value",
                "private_key_pem",
                "totp_seed",
                "security_answer",
                "newPassword",
                "password1",
            ]
        ),
        ("session", "9f86d081884c7d659a2feaa0c55ad015"),
        ("cvv", "737"),
        ("cvv", 737),
        ("card_cvc", "7373"),
        ("pin", "4821"),
        ("pin", 4821),
        ("otp", "482913"),
        ("otp_code", 482913),
        ("passcode", "open-sesame"),
        ("one_time_password", "ab-cd-ef"),
        ("password", {"current": WEAK, "new": "other1"}),
        ("credentials", {"user": "ana", "value": WEAK}),
        ("passwords", [WEAK]),
        ("passwords", {"a": [WEAK, {"b": WEAK}]}),
        ("api_keys", {"prod": WEAK}),
        ("headers", [(b"x-api-key", WEAK.encode())]),
        ("headers", [(b"cookie", b"sid=" + WEAK.encode())]),
        ("headers", [(b"authorization", b"Basic YW5hOlpxOXhLN3Bw")]),
        ("headers", [["x-api-key", WEAK.encode()]]),
        ("pan", Decimal(4111111111111111)),
        ("pan", -4111111111111111),
        ("pan", 4111111111111111),
        (
            "lines",
            ["-----BEGIN PRIVATE KEY-----", WEAK * 8, WEAK * 8, "-----END PRIVATE KEY-----"],
        ),
    ],
)
def test_a_value_goes_whose_field_says_that_it_is_secret(name: str, value: Any) -> None:
    """Whatever it looks like, in each type, and below the field as well."""
    document = {"timestamp": 1_700_000_000_123, "request_data": {name: value}}
    chain = Chain("w", 10_240, None, Redactor(Policy.read("default")))
    body = chain.finish(Dest.RECORDS, b"r" * 12, take(document, plain=False), 1).body
    stored = bson.decode(body)
    assert stored["redactions"]
    shown = repr(stored["request_data"]) + repr(stored["redactions"])
    for secret in (WEAK, "Basic", "4111", *([value] if isinstance(value, str) else [])):
        assert secret not in shown.replace(name, "").replace("secret']", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("password", "***"),
        ("password", "<password>"),
        ("password", "${DB_PASSWORD}"),
        ("api_key", "{{ api_key }}"),
        ("password", "%(password)s"),
        ("password", "xxxx"),
        ("password", "none"),
        ("password", ""),
        ("password_length", "12 characters"),
        ("password_policy", "strong"),
        ("password_reset_url", "https://example.com/reset"),
        ("is_password_set", "yes"),
        ("pin", "bar"),
        ("cvv", "not given"),
        ("session", "London"),
        ("seed", 42),
        ("public_key", "ed25519:AAAA"),
        ("first_pass", "momentum"),
        ("password", {"type": "string", "description": "The user's password."}),
        ("signature", "def f(x: int) -> int"),
        ("max_tokens", 1500),
        ("token", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"),
        ("account_id", 12345),
    ],
)
def test_a_stand_in_and_what_is_said_about_a_secret_stay(name: str, value: Any) -> None:
    """Templates, masks, lengths, policies, schemas."""
    assert redacted({"request_data": {name: value}}) == {"request_data": {name: value}}
