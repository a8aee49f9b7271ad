"""The settings of monitoring: thresholds, budgets, and where alerts go.

Thresholds have the shape of the analysis document's ``MONITORING_THRESHOLDS``, which is accepted as
pasted: a name, and under it ``warning`` and ``critical``. What the document does not name (a spool
that stays full, a silent writer, …) is set under further names in the same shape.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from affidavit._settings import Setting, parse_bytes
from affidavit.errors import ConfigError

DAYS_A_MONTH: Final = 30
"""What ``'100MB/mes'`` means: so much in thirty days."""

Kind = Literal["number", "size", "growth"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Above which value an alert fires; None leaves that level out."""

    kind: Kind
    """``size`` is bytes, ``growth`` bytes in thirty days."""
    warning: float | None
    critical: float | None
    for_s: float = 0.0
    """So many seconds without a break it must be above before it fires."""
    off: bool = False


THRESHOLDS: Final[dict[str, Threshold]] = {
    # The document's own four.
    "daily_requests": Threshold("number", 300, 500),
    "audit_collection_size": Threshold("size", 500 * 1024**2, 1024**3, 120),
    "write_latency_p95": Threshold("number", 20, 50, 120),
    "storage_growth_rate": Threshold("growth", 100 * 1024**2, 200 * 1024**2, 120),
    # The document's "Alertas Automáticas", as far as they are not among the four.
    "slow_writes": Threshold("number", 0, None),
    "slow_operations": Threshold("number", 0, None),
    "pool_use": Threshold("number", 80, 95, 120),
    "query_plans": Threshold("number", 0, None),
    # What can go wrong with an audit log besides.
    "records_spooled": Threshold("number", 60, 3600),
    "records_lost": Threshold("number", None, 0),
    "dead_letters": Threshold("number", 0, None),
    # After an outage of the database neither has been seen for long: until the next look they are.
    "writers_silent": Threshold("number", 0, None, 30),
    "sealer_stopped": Threshold("number", 120, 900, 30),
    "anchor_age": Threshold("number", 3, 12),
    "anchor_failing": Threshold("number", 0, None, 600),
    "verification_failed": Threshold("number", None, 0),
    "clock_offset": Threshold("number", 1, 10, 120),
    "budget_user": Threshold("number", 80, 100),
    "budget_department": Threshold("number", 80, 100),
    "security_events": Threshold("number", None, 0),
    "store_unreachable": Threshold("number", None, 0, 60),
    "no_data": Threshold("number", 600, None),
}
"""Every threshold by its name, with its default."""

_KEYS: Final = ("warning", "critical", "for_s", "off")
_GROWTH: Final = re.compile(
    r"(?P<size>[^/]+?)\s*/\s*(?P<per>mes|month|d[ií]a|day|semana|week)", re.IGNORECASE
)
_DAYS: Final = {"mes": 30, "month": 30, "semana": 7, "week": 7}
_WHO: Final = ("user", "department")


def read_thresholds(setting: Mapping[str, Any] | None) -> dict[str, Threshold]:
    """Lay a pasted ``MONITORING_THRESHOLDS`` over the defaults.

    What it does not name keeps its default; a level that is None is left out. Raises ConfigError.
    """
    found = dict(THRESHOLDS)
    for name, given in (setting or {}).items():
        if name not in found:
            raise ConfigError(_unknown("monitoring_thresholds", name, list(found)))
        found[name] = _threshold(f"monitoring_thresholds.{name}", given, found[name])
    return found


def read_budgets(setting: Mapping[str, Any] | None) -> dict[str, dict[str, Decimal]]:
    """Read the budgets: ``{"user": {"*": 10, "ana": "25.50"}, "department": {"research": 500}}``.

    US dollars for each calendar month of the reporting time zone; ``*`` is whoever is not named.
    Raises ConfigError.
    """
    found: dict[str, dict[str, Decimal]] = {name: {} for name in _WHO}
    for name, given in (setting or {}).items():
        if name not in found:
            raise ConfigError(_unknown("budgets", name, list(found)))
        if not isinstance(given, Mapping):
            msg = f"budgets.{name} must be a table: who, and US dollars a month."
            raise ConfigError(msg)
        found[name] = {str(who): _dollars(name, who, amount) for who, amount in given.items()}
    return found


def _threshold(where: str, given: object, default: Threshold) -> Threshold:
    if not isinstance(given, Mapping):
        msg = f"{where} must be a table such as {{'warning': 300, 'critical': 500}}."
        raise ConfigError(msg)
    for key in given:
        if key not in _KEYS:
            raise ConfigError(_unknown(where, key, list(_KEYS)))
    levels: Any = {
        key: None if given[key] is None else _level(f"{where}.{key}", given[key], default.kind)
        for key in ("warning", "critical")
        if key in given
    }
    made = replace(default, **levels)
    if "for_s" in given:
        made = replace(made, for_s=_plain(f"{where}.for_s", given["for_s"]))
    if "off" in given:
        if not isinstance(given["off"], bool):
            msg = f"{where}.off must be True or False."
            raise ConfigError(msg)
        made = replace(made, off=given["off"])
    if made.warning is not None and made.critical is not None and made.warning > made.critical:
        msg = (
            f"{where}: warning ({given.get('warning', made.warning)}) lies above critical "
            f"({given.get('critical', made.critical)}). Set both, the lower one as warning."
        )
        raise ConfigError(msg)
    return made


def _level(where: str, value: object, kind: Kind) -> float:
    if kind == "number" or (isinstance(value, int | float) and not isinstance(value, bool)):
        return _plain(where, value)
    if not isinstance(value, str):
        msg = f"{where} must be a number of bytes, or a text such as '500MB'."
        raise ConfigError(msg)
    if kind == "size":
        return float(parse_bytes(value, f"{where}="))
    match = _GROWTH.fullmatch(value.strip())
    if match is None:
        msg = (
            f"{where}={value!r} is no growth. Write it as '100MB/mes', '100MB/month' or '3MB/day'."
        )
        raise ConfigError(msg)
    days = _DAYS.get(match["per"].lower(), 1)
    return parse_bytes(match["size"], f"{where}=") * DAYS_A_MONTH / days


def _plain(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{where} must be a number."
        raise ConfigError(msg)
    if not math.isfinite(value) or value < 0:
        msg = f"{where}={value} must be 0 or more."
        raise ConfigError(msg)
    return float(value)


def _dollars(name: str, who: object, amount: object) -> Decimal:
    try:
        found = Decimal(0) if isinstance(amount, bool) else Decimal(str(amount))
    except InvalidOperation:
        found = Decimal(0)
    if not found.is_finite() or found <= 0:
        msg = f"budgets.{name}.{who} must be more than 0 US dollars a month, such as 25 or '25.50'."
        raise ConfigError(msg)
    return found


def _unknown(where: str, name: object, known: list[str]) -> str:
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(known)}."
    return f"{where}: {name!r} is unknown. {hint}"


def check(thresholds: Mapping[str, Any] | None, budgets: Mapping[str, Any] | None) -> None:
    """Check both tables. Raises ConfigError."""
    read_thresholds(thresholds)
    read_budgets(budgets)


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "monitoring_thresholds",
        "table",
        None,
        "Thresholds of alerts, as the document's MONITORING_THRESHOLDS: for each name `warning` "
        "and `critical`, and here also `for_s` and `off`. What is not named keeps its default; "
        "docs/how-to/alerts.md lists them. A text may hold the document's dictionary as it stands.",
        remedy="docs/how-to/alerts.md shows one.",
    ),
    Setting(
        "budgets",
        "table",
        None,
        "US dollars a calendar month (of reporting_timezone) for users and departments: "
        '`{"user": {"*": 10, "ana": 25}, "department": {"research": 500}}`. `*` is whoever is not '
        "named. Alerts come at 80 and 100 %.",
        hidden="users",
        remedy="docs/how-to/alerts.md shows one.",
    ),
    Setting(
        "monitor_every_s",
        "int",
        30,
        "Seconds between two looks of `affidavit monitor`.",
        low=5,
        high=3600,
    ),
    Setting(
        "alert_repeat_s",
        "int",
        14_400,
        "While an alert goes on, it is told again after so many seconds; 0 tells it once.",
        low=0,
        high=30 * 86_400,
    ),
    Setting(
        "alert_webhooks",
        "str",
        None,
        "Addresses to which each alert is posted as JSON, separated by spaces. Shown without "
        "their path, which often holds a token. Needs alert_webhook_secret.",
        hidden="paths",
        remedy="docs/how-to/alerts.md shows one.",
    ),
    Setting(
        "alert_webhook_secret",
        "str",
        None,
        "Key with which posted alerts are signed (HMAC-SHA-256, standardwebhooks.com): `whsec_` "
        "and base64, or the path of a file with that. Never shown.",
        hidden="all",
        remedy="docs/how-to/alerts.md says how to make one.",
    ),
    Setting(
        "alert_private_addresses",
        "bool",
        False,
        "True allows webhooks to private and loopback addresses, and plain http to them. False "
        "refuses those, whatever a name resolves to. Link-local addresses and those of clouds' "
        "metadata services are always refused.",
    ),
    Setting(
        "alert_smtp",
        "str",
        None,
        "Mail server: `smtp://user:password@host:587` (STARTTLS is demanded, except on loopback) "
        "or `smtps://…`. The password is never shown. Needs alert_email_to and alert_email_from.",
        hidden="login",
        remedy="docs/how-to/alerts.md shows one.",
    ),
    Setting("alert_email_to", "str", None, "Who gets alerts by mail; several by commas."),
    Setting("alert_email_from", "str", None, "Sender of alerts by mail."),
    Setting(
        "alert_apprise",
        "str",
        None,
        "Addresses of Apprise (chat, push, SMS), separated by spaces; needs the extra "
        "`affidavit[apprise]`. Never shown.",
        hidden="all",
    ),
)
