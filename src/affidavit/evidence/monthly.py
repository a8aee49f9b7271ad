"""A month's report, made of a log: asked, written in each form, and packed with its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from affidavit._monitor_settings import read_budgets
from affidavit.analytics import month as months
from affidavit.analytics import rendering
from affidavit.analytics.report import Report, build
from affidavit.errors import SealError
from affidavit.evidence.report import Packed, packed
from affidavit.sealer.keys import open_key

if TYPE_CHECKING:
    from affidavit.analytics.month import Integrity
    from affidavit.config import AuditConfig
    from affidavit.integrity.note import Signs
    from affidavit.store.mongo.log import MongoLog

FORMS: Final = {"md": rendering.as_markdown, "html": rendering.as_html}
"""How a report can be written."""


@dataclass(frozen=True, slots=True)
class Written:
    """A report: what it says, and its texts by form."""

    report: Report
    texts: Mapping[str, str]


def written(
    log: MongoLog,
    config: AuditConfig,
    month: str,
    forms: Sequence[str],
    integrity: Integrity,
    now: datetime,
) -> Written:
    """Ask a month's questions, and write the answers. Raises ConfigError and StoreError.

    ``month`` is like 2026-11, ``forms`` are of :data:`FORMS`. Whoever calls this has noted it in
    the ledger.
    """
    budgets = read_budgets(config.budgets)
    zone = log.reporting_timezone
    found = months.gather(log.calls, log.forensics, month, zone, budgets, now)
    report = build(found, integrity)
    return Written(report, {form: FORMS[form](report) for form in forms})


def handed_over(log: MongoLog, config: AuditConfig, made: Written) -> Packed:
    """Put the files together, signed where the log's key is on this host. Raises StoreError."""
    texts = {f"report.{form}": text for form, text in made.texts.items()}
    texts["report.json"] = rendering.as_json(made.report)
    about = {
        "month": made.report.month,
        "timezone": made.report.timezone,
        "made": f"{made.report.made_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
    }
    return packed(texts, about, log.seals, _signer(log, config))


def _signer(log: MongoLog, config: AuditConfig) -> Signs | None:
    try:
        return open_key(log.seals, config, create=False).signer
    except SealError:
        return None
