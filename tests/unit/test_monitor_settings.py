"""Thresholds as the document prints them, budgets, and what is never shown of a setting."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from affidavit import AuditConfig
from affidavit._monitor_settings import THRESHOLDS, read_budgets, read_thresholds
from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

MONITORING_THRESHOLDS: dict[str, Any] = {
    "daily_requests": {
        "warning": 300,
        "critical": 500,
    },
    "audit_collection_size": {
        "warning": "500MB",
        "critical": "1GB",
    },
    "write_latency_p95": {
        "warning": 20,
        "critical": 50,
    },
    "storage_growth_rate": {
        "warning": "100MB/mes",
        "critical": "200MB/mes",
    },
}
"""As the analysis document prints it."""


@pytest.mark.requirement("R23")
def test_the_documents_thresholds_are_accepted_as_pasted_and_are_the_defaults() -> None:
    """Pasting them changes nothing, because they hold anyway."""
    config = AuditConfig(monitoring_thresholds=MONITORING_THRESHOLDS)
    assert read_thresholds(config.monitoring_thresholds) == THRESHOLDS
    held = {n: (t.warning, t.critical) for n, t in THRESHOLDS.items() if n in MONITORING_THRESHOLDS}
    mib = 1024**2
    assert held == {
        "daily_requests": (300, 500),
        "audit_collection_size": (500 * mib, 1024 * mib),
        "write_latency_p95": (20, 50),
        "storage_growth_rate": (100 * mib, 200 * mib),
    }


@pytest.mark.requirement("R23")
def test_thresholds_stand_in_the_file_and_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As tables in TOML, as JSON in a variable; the variable wins."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "affidavit.toml").write_text(
        "[monitoring_thresholds.daily_requests]\nwarning = 7\n"
    )
    found = read_thresholds(AuditConfig.load().monitoring_thresholds)
    assert (found["daily_requests"].warning, found["daily_requests"].critical) == (7, 500)
    monkeypatch.setenv("AFFIDAVIT_MONITORING_THRESHOLDS", '{"pool_use": {"off": true}}')
    assert read_thresholds(AuditConfig.load().monitoring_thresholds)["pool_use"].off


PASTED = """
# Métricas críticas a monitorear
MONITORING_THRESHOLDS = {
    'daily_requests': {
        'warning': 300,    # Empezar a monitorear
        'critical': 500    # Considerar separación
    },
    'audit_collection_size': {
        'warning': '500MB',   # Revisar retention
        'critical': '1GB'     # Acción inmediata
    },
    'write_latency_p95': {
        'warning': 20,     # ms
        'critical': 50     # ms
    },
    'storage_growth_rate': {
        'warning': '100MB/mes',
        'critical': '200MB/mes'
    }
}
"""
"""The block of the document, comments and all."""


@pytest.mark.requirement("R23")
def test_the_documents_block_is_accepted_as_pasted_into_a_file_and_a_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Between three quotes in TOML, and in the environment; also without its name."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "affidavit.toml"
    for text in (PASTED, PASTED.partition("=")[2]):
        file.write_text(f"monitoring_thresholds = '''{text}'''\n", encoding="utf-8")
        assert AuditConfig.load().monitoring_thresholds == MONITORING_THRESHOLDS
    file.unlink()
    monkeypatch.setenv("AFFIDAVIT_MONITORING_THRESHOLDS", PASTED)
    assert AuditConfig.load().monitoring_thresholds == MONITORING_THRESHOLDS


@pytest.mark.parametrize(
    "text", ["", "{", "daily_requests", "[1]", "f()", "{'a': __import__('os')}", "x = y = 1", "5"]
)
def test_a_text_that_holds_no_table_is_an_error_and_is_not_run(text: str) -> None:
    """Whatever it is; the error names the setting."""
    given: Any = {"monitoring_thresholds": text}
    with pytest.raises(ConfigError, match="monitoring_thresholds"):
        AuditConfig(**given)


@pytest.mark.requirement("R23")
@pytest.mark.parametrize(
    ("text", "a_month"),
    [("100MB/mes", 100), ("100MB/month", 100), ("10MB / día", 300), ("7 MB/week", 30),
     ("1GB/day", 30720)],
)  # fmt: skip
def test_growth_is_read_for_thirty_days(text: str, a_month: int) -> None:
    """In the document's Spanish and in English."""
    given = {"storage_growth_rate": {"warning": text, "critical": None}}
    assert read_thresholds(given)["storage_growth_rate"].warning == a_month * 1024**2


@pytest.mark.requirement("R23")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"daily_request": {"warning": 1}}, "Did you mean daily_requests"),
        ({"daily_requests": {"warn": 1}}, "Did you mean warning"),
        ({"daily_requests": 300}, "must be a table"),
        ({"daily_requests": {"warning": 600}}, "lies above critical"),
        ({"daily_requests": {"warning": "many"}}, "must be a number"),
        ({"daily_requests": {"warning": float("nan")}}, "0 or more"),
        ({"storage_growth_rate": {"warning": "100MB"}}, "is no growth"),
        ({"audit_collection_size": {"warning": "big"}}, "is not a size"),
        ({"pool_use": {"off": 1}}, "True or False"),
    ],
)
def test_a_threshold_that_cannot_be_meant_is_an_error(given: dict[str, Any], said: str) -> None:
    """When the settings are read, not when an alert should have come."""
    with pytest.raises(ConfigError, match=said):
        AuditConfig(monitoring_thresholds=given)


def test_budgets_are_exact_dollars() -> None:
    """A number is read as it is printed."""
    given = {"user": {"*": 10, "ana": 25.1}, "department": {"research": "500.50"}}
    assert read_budgets(AuditConfig(budgets=given).budgets) == {
        "user": {"*": Decimal(10), "ana": Decimal("25.1")},
        "department": {"research": Decimal("500.50")},
    }


@pytest.mark.parametrize(
    "given", [{"users": {}}, {"user": 5}, {"user": {"ana": 0}}, {"user": {"ana": "nan"}}]
)
def test_a_budget_that_cannot_be_meant_is_an_error(given: dict[str, Any]) -> None:
    """Unknown group, no table, nothing to spend."""
    with pytest.raises(ConfigError, match="budgets"):
        AuditConfig(budgets=given)


def test_no_secret_of_an_alerts_target_is_shown() -> None:
    """Nor who has a budget: settings are noted in the ledger, which never expires."""
    config = AuditConfig(
        alert_webhooks="https://user:pa55@hooks.test/services/T0K3N https://two.test?key=T0K3N",
        alert_webhook_secret="whsec_T0K3N",
        alert_smtp="smtp://me:T0K3N@mail.test:587",
        alert_apprise="slack://T0K3N",
        budgets={"user": {"ana": 5}},
    )
    shown = repr(config) + str(config.public())
    assert not any(secret in shown for secret in ("T0K3N", "pa55", "ana"))
    assert config.public()["alert_webhooks"] == "https://hooks.test/*** https://two.test/***"
    assert config.public()["alert_smtp"] == "smtp://me:***@mail.test:587"
