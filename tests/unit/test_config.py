"""Settings: what is accepted as pasted, what is refused with a remedy, and who wins."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditConfig, ConfigError
from affidavit.config import (
    SETTINGS,
    Settings,
    mongodb_uri,
    parse_bytes,
    without_password,
    without_secrets,
)

if TYPE_CHECKING:
    from pathlib import Path

AUDIT_CONFIG = {
    "enabled": True,
    "ttl_days": 90,
    "batch_writes": False,
    "compress_large_fields": True,
    "max_field_size": 10240,
    "index_optimization": True,
    "slow_query_threshold": 50,
}
AUDIT_CONFIG_HIGH_VOLUME = {
    "enabled": True,
    "ttl_days": 30,
    "batch_writes": True,
    "batch_size": 10,
    "flush_interval": 30,
    "separate_database": True,
    "compression_level": 9,
    "async_writes": True,
}
OPTIMIZATION_STRATEGIES = {
    "batch_writes": {"buffer_size": 10, "flush_interval": 30, "benefit": "60% write reduction"},
    "compression": {"field_compression": True, "benefit": "40% storage reduction"},
    "selective_logging": {
        "skip_successful": False,
        "truncate_large": True,
        "benefit": "30% storage reduction",
    },
}


@pytest.mark.requirement("R7")
def test_the_documents_dictionary_is_accepted_as_pasted() -> None:
    """The compliance profile sets direct writes, 90 days and 10 KB fields."""
    config = AuditConfig(**AUDIT_CONFIG)
    assert (config.mode, config.ttl_days, config.max_field_size) == ("direct", 90, 10240)


@pytest.mark.requirement("R7")
def test_the_high_volume_dictionary_equals_the_profile() -> None:
    """The document's second dictionary and ``high_volume()`` are the same settings."""
    assert AuditConfig(**AUDIT_CONFIG_HIGH_VOLUME) == AuditConfig.high_volume()
    assert AuditConfig.high_volume().mode == "high_volume"


@pytest.mark.requirement("R7", "R9", "R10", "R11")
def test_the_optimization_groups_become_settings() -> None:
    """OPTIMIZATION_STRATEGIES with its nested groups is accepted as pasted."""
    config = AuditConfig(**OPTIMIZATION_STRATEGIES)
    assert (config.batch_writes, config.batch_size, config.flush_interval) == (True, 10, 30)
    assert (config.compress_large_fields, config.max_field_size) == (True, 10240)


@pytest.mark.requirement("R11")
def test_skipping_successful_calls_is_refused() -> None:
    """An audit log never skips a record, so the document's switch can only be False."""
    with pytest.raises(ConfigError, match="skip_successful=True would leave calls unrecorded"):
        AuditConfig(selective_logging={"skip_successful": True})


@pytest.mark.requirement("R7")
@pytest.mark.parametrize(
    ("settings", "named", "remedy"),
    [
        ({"ttl_days": 0}, "ttl_days", "Use 1 or more"),
        ({"ttl_dayz": 30}, "ttl_dayz", "Did you mean ttl_days"),
        ({"enabled": "yes"}, "enabled", "True or False"),
        ({"batch_size": 1.5}, "batch_size", "whole number"),
        ({"batch_size": True}, "batch_size", "whole number"),
        ({"on_failure": "explode"}, "on_failure", "'spool', 'refuse'"),
        ({"flush_interval": float("nan")}, "flush_interval", "a number"),
        ({"max_spool_bytes": "many"}, "max_spool_bytes", "500MB"),
        ({"compression_level": 12}, "compression_level", "at most 9"),
        ({"max_field_size": 10**9}, "max_field_size", "at most 8388608 bytes (8 MiB)"),
        ({"max_field_size": 1}, "max_field_size", "at least 256 bytes and"),
        ({"max_queue_bytes": 1}, "max_queue_bytes", "at least 1048576 bytes (1 MiB)"),
        ({"max_spool_bytes": "1KB"}, "max_spool_bytes", "at least 1048576 bytes (1 MiB)."),
        ({"flush_interval": 0}, "flush_interval", "at least 0.05 and at most 3600"),
        ({"legacy_timezone": "Mars/Base"}, "legacy_timezone", "Europe/Madrid"),
        ({"collection": " "}, "collection", "non-empty"),
        ({"batch_writes": {"buffr": 3}}, "batch_writes.buffr", "batch_writes.buffer_size"),
        ({"on_failure": "refuse", "async_writes": True}, "on_failure", "async_writes=False"),
        ({"on_failure": "refuse", "batch_writes": True}, "batch_writes", "durable='spool'"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_and_a_remedy(
    settings: dict[str, Any], named: str, remedy: str
) -> None:
    """The text names the setting and says what to write instead."""
    with pytest.raises(ConfigError) as caught:
        AuditConfig(**settings)
    assert named in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.requirement("R7")
def test_arguments_go_over_environment_over_toml_over_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each layer shows where a value came from."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "affidavit.toml").write_text(
        'ttl_days = 7\nbatch_size = 20\nservice = "toml"\nmongodb_uri = "mongodb://toml/db"\n'
    )
    monkeypatch.setenv("AFFIDAVIT_BATCH_SIZE", "30")
    monkeypatch.setenv("AFFIDAVIT_SERVICE", "environment")
    config = AuditConfig.load(AuditConfig(service="argument"))
    assert (config.ttl_days, config.batch_size, config.service) == (7, 30, "argument")
    assert [config.source(n) for n in ("ttl_days", "batch_size", "service", "enabled")] == [
        "affidavit.toml",
        "AFFIDAVIT_BATCH_SIZE",
        "argument",
        "default",
    ]
    assert mongodb_uri() == "mongodb://toml/db"
    monkeypatch.setenv("AFFIDAVIT_MONGODB_URI", "mongodb://environment/db")
    assert mongodb_uri() == "mongodb://environment/db"
    assert mongodb_uri("mongodb://argument/db") == "mongodb://argument/db"


@pytest.mark.requirement("R7")
def test_an_unknown_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped variable is not silently ignored."""
    monkeypatch.setenv("AFFIDAVIT_TTL_DAY", "3")
    with pytest.raises(ConfigError, match="Did you mean AFFIDAVIT_TTL_DAYS"):
        AuditConfig.load()


@pytest.mark.parametrize(("text", "value"), [("true", True), ("OFF", False), ("1", True)])
def test_a_switch_in_the_environment_reads_as_people_write_it(
    monkeypatch: pytest.MonkeyPatch, text: str, value: bool
) -> None:
    """True, off, 1 and their kin."""
    monkeypatch.setenv("AFFIDAVIT_ASYNC_WRITES", text)
    assert AuditConfig.load().async_writes is value


def test_a_broken_toml_file_names_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The text says which file to correct."""
    path = tmp_path / "mine.toml"
    path.write_text("ttl_days = = 3")
    monkeypatch.setenv("AFFIDAVIT_CONFIG", str(path))
    with pytest.raises(ConfigError, match=r"mine\.toml cannot be read as TOML"):
        AuditConfig.load()


def test_a_configuration_is_immutable_hashable_and_survives_pickling() -> None:
    """It can be shared between threads and sent to workers."""
    config = AuditConfig(ttl_days=5)
    with pytest.raises(AttributeError, match="immutable"):
        config.ttl_days = 6
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - our own bytes
    assert hash(config) == hash(AuditConfig(ttl_days=5))


def test_a_password_is_never_shown() -> None:
    """Neither in repr() nor in public()."""
    config = AuditConfig(audit_uri="mongodb://me:s3cr%40t@host/db")
    assert "s3cr" not in repr(config) + str(config.public())
    assert without_password("mongodb://me:x@y@host/db") == "mongodb://me:***@host/db"


def test_secret_options_of_an_address_are_not_shown() -> None:
    """Only options known to be harmless keep their values; a driver's text loses the secrets."""
    uri = "mongodb://h/d?w=majority&tlsCertificateKeyFilePassword=k3y&authMechanismProperties=T:t0k"
    shown = "mongodb://h/d?w=majority&tlsCertificateKeyFilePassword=***&authMechanismProperties=***"
    assert without_password(uri) == shown
    assert without_secrets("bad option T:t0k or t0k, k3y", uri) == "bad option *** or ***, ***"


@pytest.mark.requirement("R7")
def test_unknown_names_are_errors_wherever_they_stand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As an argument of a logger and in the file, as in the environment."""
    with pytest.raises(ConfigError, match="Did you mean ttl_days"):
        AuditConfig.load(ttl_day=3)
    monkeypatch.chdir(tmp_path)
    for text in ("ttl_day = 3", "[section]\nx = 1"):
        (tmp_path / "affidavit.toml").write_text(text)
        with pytest.raises(ConfigError, match=r"affidavit\.toml"):
            AuditConfig.load()


def test_every_setting_is_typed_and_explained() -> None:
    """The table, the keyword types and the attributes name the same settings."""
    groups = {"compression", "selective_logging"}
    assert set(Settings.__annotations__) - groups == set(SETTINGS)
    assert set(SETTINGS) == {n for n in AuditConfig.__annotations__ if not n.startswith("_")}
    assert all(len(setting.effect) > 20 for setting in SETTINGS.values())


@pytest.mark.parametrize(
    ("text", "size"), [(5, 5), ("500MB", 500 * 1024**2), ("1 GB", 1024**3), ("1.5kb", 1536)]
)
def test_sizes_read_as_people_write_them(text: int | str, size: int) -> None:
    """Numbers are bytes; units are powers of 1024."""
    assert parse_bytes(text, "") == size
