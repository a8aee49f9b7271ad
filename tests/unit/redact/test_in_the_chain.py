"""Redaction as a step of the pipeline, and as the settings ask for it."""

from __future__ import annotations

import hashlib
import hmac
import logging
from typing import TYPE_CHECKING, Any

import bson
import pytest

from affidavit import AuditConfig, ConfigError
from affidavit.event import Dest
from affidavit.pipeline.chain import Chain
from affidavit.pipeline.redact import seal
from affidavit.pipeline.redact.configured import policy_of, redactor_of
from affidavit.pipeline.snapshot import take
from affidavit.testing import capture_events

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.requirement("R21", "R7")

MAIL = "ana@example.com"
RECORD = b"r" * 12


def stored(document: dict[str, Any], config: AuditConfig, limit: int = 10_240) -> dict[str, Any]:
    """Run a record through snapshot and chain."""
    chain = Chain("w", limit, None, redactor_of(config))
    snapshot = take({"timestamp": 1_700_000_000_123, **document}, plain=False)
    return bson.decode(chain.finish(Dest.RECORDS, RECORD, snapshot, 1).body)


def test_a_text_is_redacted_before_it_is_cut() -> None:
    """A value on the cut is gone, and the noted length is that of the redacted text."""
    text = f"{'x ' * 495}{MAIL} and {'y ' * 2000}"
    record = stored({"details": {"note": text}}, AuditConfig(), limit=1000)
    assert "example" not in repr(record)
    (cut,) = record["truncated"]
    redacted = text.replace(MAIL, "[email]").encode()
    assert cut["bytes"] == len(redacted)
    salt = hmac.digest(record["salt"], b"truncated", "sha256")
    assert cut["sha256"] == hashlib.sha256(salt + redacted).hexdigest()


def test_a_sealed_box_travels_with_its_record() -> None:
    """It is no odd content, is not cut, and opens with the record's id."""
    private, public = seal.keypair()
    config = AuditConfig(redaction={"kinds": {"email": "seal"}}, seal_public_key=public.hex())
    record = stored({"details": {"note": MAIL * 1}}, config, limit=16)
    assert record["details"]["note"] == "[sealed email 1]"
    assert "odd" not in record
    assert seal.open_box(private, record["sealed"], RECORD) == {"1": MAIL}


def test_a_record_that_breaks_another_step_is_redacted_all_the_same() -> None:
    """What is kept of it passes the redactor, too."""
    chain = Chain("w", 10_240, None, redactor_of(AuditConfig()))
    chain._cleaner.clean = _fail_once(chain._cleaner.clean)  # type: ignore[method-assign]
    snapshot = take({"timestamp": 1_700_000_000_123, "error_message": MAIL}, plain=True)
    record = bson.decode(chain.finish(Dest.RECORDS, RECORD, snapshot, 1).body)
    assert record["error_message"] == "[email]"
    assert record["odd"] == ["withheld_ValueError"]


def _fail_once(clean: Any) -> Any:
    calls: list[None] = []

    def failing(document: Any, salt: bytes) -> None:
        calls.append(None)
        if len(calls) == 1:
            raise ValueError
        clean(document, salt)

    return failing


def test_off_and_plain_cost_nothing() -> None:
    """No redactor is made at all."""
    assert redactor_of(AuditConfig(redaction="off")) is None
    assert redactor_of(AuditConfig()) is not None


@pytest.mark.parametrize("written", ["file", "inline"])
def test_a_key_comes_from_a_file_or_from_the_setting(written: str, tmp_path: Path) -> None:
    """A file's path can be shown; a key itself never is."""
    path = tmp_path / "key"
    path.write_text("ab" * 32 + "\n")
    given = str(path) if written == "file" else "hex:" + "ab" * 32
    config = AuditConfig(redaction_key=given, identity="keyed")
    assert policy_of(config).keyed_identity
    assert "abab" not in repr(config)
    assert "abab" not in str(config.public())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"redaction": "defualt"}, "'trading'"),
        ({"redaction": 3}, "redaction must be one of"),
        ({"redaction": {"kinds": {"mail": "keep"}}}, "email"),
        ({"redaction_key": "/no/such/file", "identity": "keyed"}, "affidavit redact key"),
        ({"redaction_key": "hex:abcd", "identity": "keyed"}, "32 bytes"),
        ({"seal_public_key": "nonsense"}, "affidavit redact keypair"),
        ({"identity": "hashed"}, "'keyed'"),
    ],
)
def test_wrong_settings_are_refused_with_the_remedy(settings: Any, says: str) -> None:
    """When the logger is made, not when the first record comes."""
    with pytest.raises(ConfigError, match=says):
        policy_of(AuditConfig(**settings))


def test_rules_come_from_the_environment_and_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A preset's name, JSON, or a table."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFFIDAVIT_REDACTION", "strict")
    assert policy_of(AuditConfig.load()).preset == "strict"
    monkeypatch.setenv("AFFIDAVIT_REDACTION", '{"kinds": {"ip": "keep"}}')
    assert policy_of(AuditConfig.load()).action("ip", ()) == "keep"
    monkeypatch.delenv("AFFIDAVIT_REDACTION")
    (tmp_path / "affidavit.toml").write_text('[redaction]\npreset = "trading"\n')
    assert policy_of(AuditConfig.load()).preset == "trading"


def test_functions_are_shown_by_name() -> None:
    """The ledger notes the configuration, and a function is no value of BSON."""
    config = AuditConfig(redaction={"finders": [_fail_once]})
    assert config.public()["redaction"] == {"finders": ["_fail_once"]}


def test_storing_plain_text_is_said_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    """With the page that shows the choices."""
    caplog.set_level(logging.WARNING, logger="affidavit")
    with capture_events(redaction="off") as captured:
        captured.audit.security_event(kind="x", details={"note": MAIL})
        assert captured.records[0]["details"]["details"]["note"] == MAIL
    assert "docs/how-to/redaction.md" in caplog.text
    caplog.clear()
    with capture_events() as captured:
        captured.audit.security_event(kind="x", details={"note": MAIL})
        assert captured.records[0]["details"]["details"]["note"] == "[email]"
    assert "redaction" not in caplog.text


def test_a_search_is_noted_without_the_secret_that_was_searched_for() -> None:
    """The ledger never expires; who was looked up stays, whatever the name looks like."""
    from affidavit.store.mongo.log import _redacted

    noted = _redacted({"text": f"mail of {MAIL}", "user_id": MAIL, "since": None})
    assert noted == {"text": "mail of [email]", "user_id": MAIL, "since": None}


def test_who_was_looked_for_is_noted_as_a_token_where_identity_is_keyed() -> None:
    """The ledger holds no more of a person than the records do."""
    from affidavit.store.mongo.log import _redacted

    config = AuditConfig(identity="keyed", redaction_key="hex:" + "ab" * 32)
    noted = _redacted({"user_id": MAIL, "session_id": "keyed:abc", "event_type": "x"}, config)
    assert noted["user_id"].startswith("keyed:")
    assert noted["session_id"] == "keyed:abc"
    assert noted["event_type"] == "x"


@pytest.mark.parametrize(
    ("setting", "says"),
    [("hex:zz" + "ab" * 31, "hexadecimal"), ("hex:ab", "these are 1")],
)
def test_what_is_wrong_with_a_key_is_said(setting: str, says: str) -> None:
    """And the key itself is not."""
    with pytest.raises(ConfigError, match=says):
        policy_of(AuditConfig(redaction_key=setting, identity="keyed"))


def test_an_id_of_a_call_that_is_none_is_searched() -> None:
    """An application gives it, and could give anything."""
    key = "ghp_" + "a1B2" * 9
    record = stored({"event_type": "annotation", "call_id": key, "details": {}}, AuditConfig())
    assert record["call_id"] == "[api_key]"
    record = stored({"event_type": "annotation", "call_id": "4" * 24}, AuditConfig())
    assert record["call_id"] == "4" * 24


def test_a_path_that_is_nearly_one_of_ours_is_doubted(caplog: pytest.LogCaptureFixture) -> None:
    """It may be a field of the application's, so it is no error."""
    fields = {"request_data.massage": "withhold", "request_data.symbol": "keep"}
    redactor_of(AuditConfig(redaction={"fields": fields}))
    assert "Did you mean request_data.message?" in caplog.text
    assert "symbol" not in caplog.text


def test_a_slow_function_is_told_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers wait for it, and would not know why."""
    from affidavit.pipeline.redact import record

    def slow(text: str) -> None:
        del text

    monkeypatch.setattr(record, "_SLOW_S", 0.0)
    config = AuditConfig(redaction={"finders": [slow]})
    stored({"details": {"a": "one text", "b": "two texts"}}, config)
    assert caplog.text.count("took") == 1
