"""``affidavit report``: a month, to be handed over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from affidavit.cli import _common as common
from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from affidavit.analytics.month import Integrity
    from affidavit.config import AuditConfig
    from affidavit.store.mongo.log import MongoLog

FORMATS = ("md", "html")
_SHOWN = 100


def report(  # noqa: PLR0913 - one parameter for each option
    *,
    month: Annotated[str, typer.Option("--month", help="2026-11, this or last.")] = "last",
    format_: Annotated[str, typer.Option("--format", help="md or html.")] = "md",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="A folder that does not exist yet, for files and a manifest.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Verify the whole log first, and say what came of it.")
    ] = False,
    check: Annotated[
        Path | None,
        typer.Option(
            "--check",
            help="Check the files of a report that was written; no database.",
            show_default=False,
        ),
    ] = None,
    vkey: Annotated[
        str | None,
        typer.Option(
            "--vkey", help="The log's key, as it is known beforehand.", show_default=False
        ),
    ] = None,
    uri: common.Uri = None,
    collection: common.Collection = None,
    legacy_timezone: common.Timezone = None,
    json: common.Json = False,
) -> None:
    """Write a month's costs, use, performance, incidents, losses and integrity.

    Without --out it is printed. With --out the manifest is signed where the log's key is on this
    host. Exits with 1 where --verify or --check found something. The reading is noted in the
    ledger.
    """
    from affidavit.cli._errors import FOUND_WRONG

    common.checked(format_, "--format", FORMATS)
    config = common.settings(collection, legacy_timezone)
    known = vkey or config.seal_vkey
    if check is not None:
        if not _check(check, known, json=json):
            raise typer.Exit(FOUND_WRONG)
        return
    with common.opened(uri, config) as log:
        pinned_by = "vkey" if vkey else "configuration"
        trusted = (known, pinned_by) if verify else None
        integrity = _write(log, config, month, format_, out, trusted, json=json)
    if integrity.verified is not None and not integrity.verified["clean"]:
        raise typer.Exit(FOUND_WRONG)


def _write(
    log: MongoLog,
    config: AuditConfig,
    month: str,
    format_: str,
    out: Path | None,
    trusted: tuple[str | None, str] | None,
    *,
    json: bool,
) -> Integrity:
    from affidavit.analytics import month as months
    from affidavit.analytics import rendering
    from affidavit.analytics.questions import month_span
    from affidavit.cli import _output as output
    from affidavit.evidence.monthly import handed_over, written
    from affidavit.evidence.report import write_report

    now = datetime.now(UTC)
    chosen = months.month_of(month, log.reporting_timezone, now)
    if month_span(chosen, ZoneInfo(log.reporting_timezone)).since > now:
        msg = f"{chosen} has not begun, so there is nothing to report. Write this or last."
        raise ConfigError(msg)
    asked = {"month": chosen, "format": format_, "verify": trusted is not None}
    log.note_access("report", asked, None)
    integrity = _integrity(log, config, trusted, now)
    made = written(log, config, chosen, [format_], integrity, now)
    if out is None:
        if json:
            output.as_json(rendering.as_dict(made.report))
        else:
            typer.echo(made.texts[format_], nl=False)
        return integrity
    files = handed_over(log, config, made)
    write_report(out, files)
    if json:
        output.as_json(files.manifest)
    else:
        output.say(f"The report of {chosen} is in {out}.")
    if not files.signed:
        output.note("The log's key is not on this host, so the manifest is not signed.")
    return integrity


def _integrity(
    log: MongoLog, config: AuditConfig, trusted: tuple[str | None, str] | None, now: datetime
) -> Integrity:
    from affidavit.anchors.health import words
    from affidavit.cli._anchors import states
    from affidavit.evidence.report import integrity_of

    anchors = tuple(f"{each.anchor}: {words(each)}" for each in states(config, log) or ())
    found = integrity_of(log.seals, now, anchors, config.seal_vkey)
    return found if trusted is None else replace(found, verified=_verified(log, config, trusted))


def _verified(
    log: MongoLog, config: AuditConfig, trusted: tuple[str | None, str]
) -> dict[str, Any]:
    from affidavit.anchors.attest import hold_against_anchors
    from affidavit.integrity.errors import IntegrityError
    from affidavit.integrity.trust import Trust
    from affidavit.integrity.verify import verify

    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    try:
        found = verify(log.seals, Trust(*trusted), now_ms=now_ms)
    except IntegrityError as error:  # the key that was given is none
        raise ConfigError(str(error)) from error
    hold_against_anchors(log.seals, config, found)
    return {
        "clean": found.clean,
        "verdict": found.verdict.value,
        "says": found.says,
        "level": found.level.value,
        "pinned_by": found.pinned_by,
        "size": found.size,
        "counts": dict(found.counts),
        "kinds": {kind.value: count for kind, count in found.kinds.items()},
        "findings": [finding.text for finding in found.findings[:_SHOWN]],
        "excuses": [str(each) for each in found.excuses[:_SHOWN]],
        "limits": list(found.limits),
    }


def _check(path: Path, known: str | None, *, json: bool) -> bool:
    from affidavit.cli import _output as output
    from affidavit.evidence.report import check_report

    found = check_report(path, known)
    good = not found.problems
    if json:
        output.as_json(found)
        return good
    output.say(f"report   {found.month}, of {found.origin or 'a log that nobody has sealed'}")
    for problem in found.problems:
        output.say(f"WRONG    {problem}")
    if found.signed:
        pinned = "as given" if found.pinned else "as found in the folder: compare it"
        output.say(f"signed   by the log's key, {pinned}")
    elif good:
        output.note("The manifest is not signed: nobody can tell who made these files.")
    if good:
        output.say("The files are those that were written.")
    return good
