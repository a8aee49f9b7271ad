"""``affidavit reconcile``: what a provider bills beside what the log has."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from affidavit.cli import _common as common
from affidavit.errors import ConfigError

if TYPE_CHECKING:
    from affidavit.analytics.billing import Export
    from affidavit.analytics.reconcile import Reconciliation, Row

_WORDS = {
    "same": "same",
    "differs": "differs",
    "billed_not_logged": "billed, not logged",
    "logged_not_billed": "logged, not billed",
}


def reconcile(  # noqa: PLR0913 - one parameter for each option
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="The provider's exports, as CSV.")
    ],
    *,
    provider: Annotated[str, typer.Option("--provider", help="openai or anthropic.")],
    tolerance: Annotated[
        str, typer.Option("--tolerance", help="Percent by which numbers may differ.")
    ] = "0",
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            help="Take only rows of the export with this: project_id=proj_1.",
            show_default=False,
        ),
    ] = None,
    service: Annotated[
        str | None,
        typer.Option("--service", help="Take only calls of this service.", show_default=False),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", help="First day (UTC) that the export covers.", show_default=False),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", help="Day after the last that it covers.", show_default=False),
    ] = None,
    all_rows: Annotated[bool, typer.Option("--all", help="Show rows that are the same too.")] = (
        False
    ),
    uri: common.Uri = None,
    collection: common.Collection = None,
    legacy_timezone: common.Timezone = None,
    json: common.Json = False,
) -> None:
    """Compare a provider's usage or cost export with the log, by day (UTC) and model.

    Exits with 1 where they differ. The reading is noted in the ledger.
    """
    from affidavit.analytics import reconcile as compare
    from affidavit.cli import _output as output
    from affidavit.cli._errors import FOUND_WRONG

    percent = _percent(tolerance)
    export = _export(files, provider, only or [])
    _cover(export, since, until)
    config = common.settings(collection, legacy_timezone)
    asked = compare.question(export, {} if service is None else {"service": service})
    with common.reading(uri, config) as log:
        sums = log.calls.sums(asked)
        found = compare.reconcile(export, sums, percent, datetime.now(UTC), config.ttl_days)
        if export.unmatched:
            found = replace(found, notes=(_unmatched(export, only or []), *found.notes))
        told = {"provider": provider, "since": asked.since, "until": asked.until}
        noted = told if service is None else {**told, "service": service}
        log.note_access("reconcile", noted, len(found.rows))
    if json:
        output.as_json({"clean": found.clean, **_as_dict(found)})
    else:
        _print(found, all_rows=all_rows)
    if not found.clean:
        raise typer.Exit(FOUND_WRONG)


def _as_dict(found: Reconciliation) -> dict[str, object]:
    """Give it for JSON; money as plain decimals, never with an exponent."""
    from dataclasses import asdict

    def plain(pairs: list[tuple[str, object]]) -> dict[str, object]:
        return {k: f"{v:f}" if isinstance(v, Decimal) else v for k, v in pairs}

    return asdict(found, dict_factory=plain)


def _percent(text: str) -> Decimal:
    try:
        percent = Decimal(text.strip().removesuffix("%"))
        if percent.is_finite() and 0 <= percent <= 100:  # noqa: PLR2004 - percent
            return percent
    except InvalidOperation:
        pass
    msg = f"--tolerance {text!r} is no percentage. Write 0.5 or 2%."
    raise ConfigError(msg)


def _export(files: list[Path], provider: str, only: list[str]) -> Export:
    from affidavit.analytics.billing import MOST_BYTES, PROVIDERS, Export, read_export

    name = next((known for known in PROVIDERS if known == provider), None)
    if name is None:
        msg = f"--provider {provider!r} is unknown. Use one of {', '.join(PROVIDERS)}."
        raise ConfigError(msg)
    chosen = {}
    for each in only:
        column, sign, value = each.partition("=")
        if not sign or not column:
            msg = f"--only {each!r} names no column and value. Write --only project_id=proj_1."
            raise ConfigError(msg)
        chosen[column.strip().lower()] = value
    export = Export(name)
    for path in files:
        try:
            with path.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except OSError as error:
            msg = f"{path} cannot be read ({error.strerror})."
            raise ConfigError(msg) from error
        read_export(export, path.name, data, chosen)
    return export


def _unmatched(export: Export, only: list[str]) -> str:
    """Say that what was chosen is not there: most often it is mistyped."""
    where, chosen = ", ".join(export.unmatched), " and ".join(only)
    return (
        f"No row of {where} has {chosen}, so nothing of it counts as billed. Look whether --only "
        "names the column's value as the export writes it."
    )


def _cover(export: Export, since: str | None, until: str | None) -> None:
    first, last = (common.when(text, f"--{n}") for text, n in ((since, "since"), (until, "until")))
    days = [_day(first)] if first else []
    days += [_day(last) - timedelta(days=1)] if last else []
    for day in days:
        export.covers(day)
    if first and last and first >= last:
        msg = "--since does not lie before --until."
        raise ConfigError(msg)
    outside = [d for d in export.days if (first and d < _day(first)) or (last and d > days[-1])]
    if outside:
        msg = f"The export tells of {min(outside)}, which --since and --until leave out."
        raise ConfigError(msg)


def _day(at: datetime) -> date:
    return at.astimezone(UTC).date()


def _print(found: Reconciliation, *, all_rows: bool) -> None:
    from affidavit.cli import _output as output

    rows = [row for row in found.rows if all_rows or row.verdict != "same"]
    if rows:
        output.table(_COLUMNS, map(_line, rows))
        output.say("")
    billed, logged, off = found.billed, found.logged, found.difference
    output.say(f"{found.provider}, {found.first} to {found.last} (UTC days)")
    output.say(
        f"billed   {_count(billed.requests)} requests, "
        f"{_both(billed.input_tokens, billed.output_tokens)}, {_usd(billed.cost_usd)}"
    )
    output.say(
        f"logged   {_count(logged.calls - logged.failed)} calls and {_count(logged.failed)} "
        f"failed, {_both(logged.input_tokens, logged.output_tokens)}, {_usd(logged.cost_usd)}"
    )
    output.say(
        f"differs  {_count(off.requests)} requests, "
        f"{_both(off.input_tokens, off.output_tokens)}, {_usd(off.cost_usd)} (billed less logged)"
    )
    told = "; ".join(f"{count} {_WORDS[verdict]}" for verdict, count in found.verdicts.items())
    output.say(f"rows     {told}")
    for remark in found.notes:
        output.note(remark)


_COLUMNS = (
    "day",
    "model",
    "",
    "billed requests",
    "logged calls",
    "billed tokens",
    "logged tokens",
    "billed cost USD",
    "logged cost USD",
    "difference USD",
)


def _line(row: Row) -> tuple[object, ...]:
    billed, logged = row.billed, row.logged
    return (
        str(row.day),
        row.model,
        _WORDS[row.verdict],
        billed and billed.requests,
        logged and logged.calls - logged.failed,
        billed and _tokens(billed.input_tokens, billed.output_tokens),
        logged and _tokens(logged.input_tokens, logged.output_tokens),
        billed and billed.cost_usd,
        logged and logged.cost_usd,
        row.difference.cost_usd,
    )


def _tokens(came: int | None, went: int | None) -> str | None:
    return None if came is None and went is None else f"{came or 0:,} + {went or 0:,}"


def _both(came: int | None, went: int | None) -> str:
    return f"{_count(came)} input and {_count(went)} output tokens"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _usd(amount: Decimal | None) -> str:
    from affidavit.cli import _output as output

    return f"{output.cell(amount)} USD"
